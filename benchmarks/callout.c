/* A callout for measuring: looks at every packet, changes none. DhcpNewPktHook and DhcpPktSendHook. */
#include "callout.h"

static volatile DWORD seen;

static DWORD CALLBACK new_pkt(LPBYTE *Packet, DWORD *PacketSize, DWORD IpAddress, LPVOID Reserved, LPVOID *PktContext,
                              LPBOOL ProcessIt)
{
    if ((*Packet)[CHADDR] == 0xde && (*Packet)[CHADDR + 1] == 0xad)
        *ProcessIt = FALSE;
    return ERROR_SUCCESS;
}

static DWORD CALLBACK pkt_send(LPBYTE *Packet, DWORD *PacketSize, DWORD ControlCode, DWORD IpAddress, LPVOID Reserved,
                               LPVOID PktContext)
{
    seen += (*Packet)[OP];
    return ERROR_SUCCESS;
}

DWORD CALLBACK DhcpServerCalloutEntry(LPWSTR ChainDlls, DWORD CalloutVersion, LPDHCP_CALLOUT_TABLE CalloutTbl)
{
    if (CalloutVersion != CALLOUT_VERSION)
        return ERROR_NOT_SUPPORTED;
    CalloutTbl->DhcpNewPktHook = new_pkt;
    CalloutTbl->DhcpPktSendHook = pkt_send;
    return ERROR_SUCCESS;
}
