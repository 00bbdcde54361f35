/* option_editor: puts an option into every reply, in place of the one that is there.
 *
 * Which one says the environment variable CALLOUT_OPTION, a code and text: 15=lab.example. Where it can't be done, the
 * reply is left alone.
 */
#include "callout.h"

#include <stdlib.h>
#include <string.h>

static const BYTE cookie[] = {0x63, 0x82, 0x53, 0x63};
static BYTE option[2 + 255]; /* code, length, value */

/* The value of the environment variable, once it is known; FALSE where there is none. */
static BOOL read_option(void)
{
    const char *text = getenv("CALLOUT_OPTION");
    char *value;
    unsigned long code;
    size_t length;

    if (text == NULL)
        return FALSE;
    code = strtoul(text, &value, 10);
    if (code <= OPTION_PAD || code >= OPTION_END || *value++ != '=' || (length = strlen(value)) > 255)
        return FALSE;
    option[0] = (BYTE)code;
    option[1] = (BYTE)length;
    memcpy(option + 2, value, length);
    return TRUE;
}

static DWORD CALLBACK pkt_send(LPBYTE *Packet, DWORD *PacketSize, DWORD ControlCode, DWORD IpAddress, LPVOID Reserved,
                               LPVOID PktContext)
{
    BYTE edited[CALLOUT_BUFFER_SIZE];
    const BYTE *packet = *Packet;
    DWORD size = *PacketSize, at = OPTIONS, end = OPTIONS, need = 2 + option[1], length;

    if (size < OPTIONS || size > sizeof edited || memcmp(packet + COOKIE, cookie, sizeof cookie) != 0)
        return ERROR_SUCCESS;
    memcpy(edited, packet, OPTIONS);
    /* All options but that one, and no padding between them. */
    while (at < size && packet[at] != OPTION_END) {
        if (packet[at] == OPTION_PAD) {
            at++;
            continue;
        }
        if (at + 2 > size || at + 2 + packet[at + 1] > size)
            return ERROR_SUCCESS; /* malformed: not ours to mend */
        length = 2 + packet[at + 1];
        if (packet[at] != option[0]) {
            memcpy(edited + end, packet + at, length);
            end += length;
        }
        at += length;
    }
    if (end + need + 1 > sizeof edited)
        return ERROR_SUCCESS;
    memcpy(edited + end, option, need);
    end += need;
    edited[end++] = OPTION_END;
    /* Back into the server's buffer, which is larger than the reply; never shorter than it was. */
    memcpy(*Packet, edited, end);
    if (end < size)
        memset(*Packet + end, OPTION_PAD, size - end);
    else
        *PacketSize = end;
    return ERROR_SUCCESS;
}

DWORD CALLBACK DhcpServerCalloutEntry(LPWSTR ChainDlls, DWORD CalloutVersion, LPDHCP_CALLOUT_TABLE CalloutTbl)
{
    if (CalloutVersion != CALLOUT_VERSION)
        return ERROR_NOT_SUPPORTED;
    memset(CalloutTbl, 0, sizeof *CalloutTbl);
    if (read_option())
        CalloutTbl->DhcpPktSendHook = pkt_send;
    return ERROR_SUCCESS;
}
