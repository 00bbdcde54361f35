/* A callout for tests that works for every client but those whose hardware address ends in ee:NN: NN says what happens
 * to the process when their packet is new. Replies get option 224, so that it is seen where it was asked.
 */
#include "callout.h"

#include <stdlib.h>
#include <string.h>

#ifdef _WIN32
#define SLEEP(milliseconds) Sleep(milliseconds)
#else
#include <time.h>
#define SLEEP(milliseconds) nanosleep(&(struct timespec){0, (milliseconds) * 1000000L}, NULL)
#endif

enum { NULL_WRITE = 1, OVERRUN, EXIT, ABORT, HANG, DIVIDE, SLOW, VETO };

static volatile int zero, one = 1;
static BYTE *volatile nowhere;

static void suffer(int what, BYTE *packet, LPBOOL ProcessIt)
{
    switch (what) {
    case NULL_WRITE:
        *nowhere = 1;
        break;
    case OVERRUN:
        memset(packet, 0xee, 70000);
        break;
    case EXIT:
        exit(7);
    case ABORT:
        abort();
    case HANG:
        for (;;)
            SLEEP(10);
    case DIVIDE:
        zero = one / zero;
        break;
    case SLOW:
        SLEEP(100);
        break;
    case VETO:
        *ProcessIt = FALSE;
        break;
    }
}

static DWORD CALLBACK new_pkt(LPBYTE *Packet, DWORD *PacketSize, DWORD IpAddress, LPVOID Reserved, LPVOID *PktContext,
                              LPBOOL ProcessIt)
{
    BYTE *chaddr = *Packet + CHADDR;

    *PktContext = malloc(16);
    if (chaddr[4] == 0xee)
        suffer(chaddr[5], *Packet, ProcessIt);
    return 0;
}

static DWORD CALLBACK pkt_send(LPBYTE *Packet, DWORD *PacketSize, DWORD ControlCode, DWORD IpAddress, LPVOID Reserved,
                               LPVOID PktContext)
{
    static const BYTE option[] = {224, 2, 'o', 'k', OPTION_END};
    DWORD at = OPTIONS;

    while (at < *PacketSize && (*Packet)[at] != OPTION_END)
        at += (*Packet)[at] == OPTION_PAD ? 1 : 2 + (*Packet)[at + 1];
    memcpy(*Packet + at, option, sizeof option);
    if (*PacketSize < at + sizeof option)
        *PacketSize = at + sizeof option;
    return 0;
}

static DWORD CALLBACK pkt_drop(LPBYTE *Packet, DWORD *PacketSize, DWORD ControlCode, DWORD IpAddress, LPVOID Reserved,
                               LPVOID PktContext)
{
    if (ControlCode == DHCP_DROP_PROCESSED)
        free(PktContext);
    return 0;
}

DWORD CALLBACK DhcpServerCalloutEntry(LPWSTR ChainDlls, DWORD CalloutVersion, LPDHCP_CALLOUT_TABLE CalloutTbl)
{
    if (CalloutVersion != CALLOUT_VERSION)
        return ERROR_NOT_SUPPORTED;
    CalloutTbl->DhcpNewPktHook = new_pkt;
    CalloutTbl->DhcpPktSendHook = pkt_send;
    CalloutTbl->DhcpPktDropHook = pkt_drop;
    return ERROR_SUCCESS;
}
