/* mac_filter: serves only the clients of a list, or all others.
 *
 * The list has the format of Microsoft's MAC filter callout of 2007. The environment variable CALLOUT_MAC_LIST names
 * the file; on Windows the value CalloutMACAddressListFile of the DHCP server's parameters does, as it did there.
 *
 *     MAC_ACTION = {ALLOW}     # or {DENY}: exactly one such line, the first
 *     000a0c0d1254             # twelve hexadecimal digits a line
 *
 * Without a list, or with a bad action, it filters nothing. A bad line is skipped. Both are said in the file that
 * CALLOUT_LOG names, or on stderr.
 */
#include "callout.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAC_SIZE 6

typedef BYTE MAC[MAC_SIZE];

static MAC *macs; /* sorted */
static size_t count;
static BOOL allow;

static void complain(const char *path, unsigned line, const char *words)
{
    const char *name = getenv("CALLOUT_LOG");
    FILE *file = name != NULL && *name ? fopen(name, "a") : NULL;

    fprintf(file != NULL ? file : stderr, "mac_filter: %s:%u: %s\n", path, line, words);
    if (file != NULL)
        fclose(file);
}

static int compare(const void *one, const void *other)
{
    return memcmp(one, other, MAC_SIZE);
}

static void list_path(char *path, DWORD size)
{
    const char *name = getenv("CALLOUT_MAC_LIST");

    path[0] = 0;
    if (name != NULL && strlen(name) < size)
        strcpy(path, name);
#ifdef _WIN32
    else
        RegGetValueA(HKEY_LOCAL_MACHINE, "System\\CurrentControlSet\\Services\\DHCPServer\\Parameters",
                     "CalloutMACAddressListFile", RRF_RT_REG_SZ, NULL, path, &size);
#endif
}

/* A line without its comment and the blanks around it. */
static char *bare(char *line)
{
    char *end;

    line[strcspn(line, "#\r\n")] = 0;
    while (isspace((unsigned char)*line))
        line++;
    for (end = line + strlen(line); end > line && isspace((unsigned char)end[-1]); end--)
        ;
    *end = 0;
    return line;
}

/* "MAC_ACTION = {ALLOW}": 1, {DENY}: 0, anything else: -1. */
static int action_of(const char *text)
{
    text += strlen("MAC_ACTION");
    text += strspn(text, " \t");
    if (*text++ != '=')
        return -1;
    text += strspn(text, " \t");
    return strcmp(text, "{ALLOW}") == 0 ? 1 : strcmp(text, "{DENY}") == 0 ? 0 : -1;
}

static BOOL mac_of(const char *text, BYTE *mac)
{
    unsigned octet;
    int i;

    if (strlen(text) != 2 * MAC_SIZE || strspn(text, "0123456789abcdefABCDEF") != 2 * MAC_SIZE)
        return FALSE;
    for (i = 0; i < MAC_SIZE; i++) {
        sscanf(text + 2 * i, "%2x", &octet);
        mac[i] = (BYTE)octet;
    }
    return TRUE;
}

/* Whether there is a list to filter by. */
static BOOL read_list(void)
{
    char path[1024], line[1024], *text;
    unsigned number = 0;
    int action = -1;
    size_t room = 0;
    FILE *file;

    free(macs);
    macs = NULL;
    count = 0;
    list_path(path, sizeof path);
    file = fopen(path, "r");
    if (file == NULL) {
        complain(path, 0, "can't be read: nothing is filtered");
        return FALSE;
    }
    while (fgets(line, sizeof line, file) != NULL) {
        number++;
        text = bare(line);
        if (*text == 0)
            continue;
        if (action < 0 || strncmp(text, "MAC_ACTION", strlen("MAC_ACTION")) == 0) {
            /* The first line is one, and no other is. */
            action = action < 0 && strncmp(text, "MAC_ACTION", strlen("MAC_ACTION")) == 0 ? action_of(text) : -1;
            if (action < 0)
                break;
            continue;
        }
        if (count == room) {
            MAC *more = realloc(macs, (room = room ? 2 * room : 64) * sizeof *macs);

            if (more == NULL) {
                action = -1;
                break;
            }
            macs = more;
        }
        if (mac_of(text, macs[count]))
            count++;
        else
            complain(path, number, "expected 12 hexadecimal digits: skipped");
    }
    fclose(file);
    if (action < 0) {
        complain(path, number, "expected one MAC_ACTION = {ALLOW} or {DENY}, first: nothing is filtered");
        return FALSE;
    }
    allow = action;
    if (count)
        qsort(macs, count, sizeof *macs, compare);
    return TRUE;
}

static DWORD CALLBACK new_pkt(LPBYTE *Packet, DWORD *PacketSize, DWORD IpAddress, LPVOID Reserved, LPVOID *PktContext,
                              LPBOOL ProcessIt)
{
    const BYTE *packet = *Packet;
    BOOL listed;

    if (*PacketSize < OPTIONS)
        return ERROR_SUCCESS;
    listed = packet[HLEN] == MAC_SIZE && count != 0 && bsearch(packet + CHADDR, macs, count, sizeof *macs, compare);
    if (listed != allow)
        *ProcessIt = FALSE;
    return ERROR_SUCCESS;
}

DWORD CALLBACK DhcpServerCalloutEntry(LPWSTR ChainDlls, DWORD CalloutVersion, LPDHCP_CALLOUT_TABLE CalloutTbl)
{
    if (CalloutVersion != CALLOUT_VERSION)
        return ERROR_NOT_SUPPORTED;
    memset(CalloutTbl, 0, sizeof *CalloutTbl);
    if (read_list())
        CalloutTbl->DhcpNewPktHook = new_pkt;
    return ERROR_SUCCESS;
}
