/* logger: a line for every call of every hook, to the file that the environment variable CALLOUT_LOG names, or stderr.
 *
 * It numbers the packets, and keeps the number as the context of each: so the lines of one packet can be told from
 * those of another. It changes nothing.
 */
#include "callout.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct {
    unsigned number;
} NUMBERED;

static FILE *output;
static unsigned packets;

/* Hooks should not block: where a disk may be slow, a thread of its own would have to write this. */
static void say(const char *format, ...)
{
    va_list arguments;
    const char *path;

    if (output == NULL) {
        path = getenv("CALLOUT_LOG");
        output = path != NULL && *path ? fopen(path, "a") : stderr;
        if (output == NULL)
            output = stderr;
    }
    va_start(arguments, format);
    vfprintf(output, format, arguments);
    va_end(arguments);
    fputc('\n', output);
    fflush(output);
}

/* An address, which is a number in host order, for people. */
static const char *dotted(DWORD address, char *text)
{
    snprintf(text, 16, "%u.%u.%u.%u", (unsigned)(address >> 24 & 255), (unsigned)(address >> 16 & 255),
             (unsigned)(address >> 8 & 255), (unsigned)(address & 255));
    return text;
}

static const char *hexadecimal(const BYTE *octets, unsigned length, char *text)
{
    unsigned i;

    text[0] = 0;
    for (i = 0; i < length && i < 16; i++)
        sprintf(text + 2 * i, "%02x", octets[i]);
    return text;
}

static const char *client(const BYTE *packet, char *text)
{
    return hexadecimal(packet + CHADDR, packet[HLEN], text);
}

/* 0: of a packet that DhcpNewPktHook wasn't told of. */
static unsigned number_of(LPVOID context)
{
    return context == NULL ? 0 : ((NUMBERED *)context)->number;
}

static DWORD CALLBACK control(DWORD dwControlCode, LPVOID lpReserved)
{
    static const char *names[] = {"?", "START", "STOP", "PAUSE", "CONTINUE"};

    say("control %s", names[dwControlCode <= DHCP_CONTROL_CONTINUE ? dwControlCode : 0]);
    if (dwControlCode == DHCP_CONTROL_STOP && output != NULL && output != stderr) {
        fclose(output);
        output = NULL;
    }
    return ERROR_SUCCESS;
}

static DWORD CALLBACK new_pkt(LPBYTE *Packet, DWORD *PacketSize, DWORD IpAddress, LPVOID Reserved, LPVOID *PktContext,
                              LPBOOL ProcessIt)
{
    char address[16], chaddr[33];
    NUMBERED *context = malloc(sizeof *context);

    if (context != NULL) {
        context->number = ++packets;
        *PktContext = context; /* freed at DHCP_DROP_PROCESSED, which comes for every packet */
    }
    say("new_pkt %u: %u octets at %s from %s", number_of(context), (unsigned)*PacketSize, dotted(IpAddress, address),
        client(*Packet, chaddr));
    return ERROR_SUCCESS;
}

static DWORD CALLBACK pkt_drop(LPBYTE *Packet, DWORD *PacketSize, DWORD ControlCode, DWORD IpAddress, LPVOID Reserved,
                               LPVOID PktContext)
{
    static const char *names[] = {"?",      "DUPLICATE",  "NOMEM",   "INTERNAL_ERROR", "TIMEOUT",   "UNAUTH",
                                  "PAUSED", "NO_SUBNETS", "INVALID", "WRONG_SERVER",   "NOADDRESS", "PROCESSED"};

    say("pkt_drop %u: %s", number_of(PktContext),
        ControlCode == DHCP_DROP_GEN_FAILURE  ? "GEN_FAILURE"
        : ControlCode <= DHCP_DROP_PROCESSED ? names[ControlCode]
                                              : names[0]);
    if (ControlCode == DHCP_DROP_PROCESSED)
        free(PktContext);
    return ERROR_SUCCESS;
}

static DWORD CALLBACK pkt_send(LPBYTE *Packet, DWORD *PacketSize, DWORD ControlCode, DWORD IpAddress, LPVOID Reserved,
                               LPVOID PktContext)
{
    const BYTE *yiaddr = *Packet + 16;
    char chaddr[33];

    say("pkt_send %u: %u octets to %s, %u.%u.%u.%u", number_of(PktContext), (unsigned)*PacketSize,
        client(*Packet, chaddr), yiaddr[0], yiaddr[1], yiaddr[2], yiaddr[3]);
    return ERROR_SUCCESS;
}

static DWORD CALLBACK address_del(LPBYTE Packet, DWORD PacketSize, DWORD ControlCode, DWORD IpAddress,
                                  DWORD AltAddress, LPVOID Reserved, LPVOID PktContext)
{
    static const char *names[] = {"?", "CONFLICT", "DECLINE", "RELEASE", "NACKED"};
    DWORD problem = ControlCode - DHCP_PROB_CONFLICT + 1;
    char address[16];

    say("address_del %u: %s %s", number_of(PktContext), names[problem <= 4 ? problem : 0],
        dotted(AltAddress, address));
    return ERROR_SUCCESS;
}

static DWORD CALLBACK address_offer(LPBYTE Packet, DWORD PacketSize, DWORD ControlCode, DWORD IpAddress,
                                    DWORD AltAddress, DWORD AddrType, DWORD LeaseTime, LPVOID Reserved,
                                    LPVOID PktContext)
{
    char address[16];

    say("address_offer %u: %s %s for %u s, %s", number_of(PktContext),
        ControlCode == DHCP_GIVE_ADDRESS_NEW ? "NEW" : "OLD", dotted(AltAddress, address), (unsigned)LeaseTime,
        AddrType == DHCP_CLIENT_BOOTP ? "BOOTP" : "DHCP");
    return ERROR_SUCCESS;
}

static DWORD CALLBACK handle_options(LPBYTE Packet, DWORD PacketSize, LPVOID Reserved, LPVOID PktContext,
                                     LPDHCP_SERVER_OPTIONS ServerOptions)
{
    say("handle_options %u: type %u, name \"%.*s\", vendor \"%.*s\"", number_of(PktContext),
        ServerOptions->MessageType != NULL ? *ServerOptions->MessageType : 0, (int)ServerOptions->MachineNameLength,
        ServerOptions->MachineName != NULL ? ServerOptions->MachineName : "", (int)ServerOptions->VendorClassLength,
        ServerOptions->VendorClass != NULL ? (const char *)ServerOptions->VendorClass : "");
    return ERROR_SUCCESS;
}

static DWORD CALLBACK delete_client(DWORD IpAddress, LPBYTE HwAddress, ULONG HwAddressLength, DWORD Reserved,
                                    DWORD ClientType)
{
    char address[16], octets[33];

    say("delete_client: %s of %s", dotted(IpAddress, address), hexadecimal(HwAddress, HwAddressLength, octets));
    return ERROR_SUCCESS;
}

DWORD CALLBACK DhcpServerCalloutEntry(LPWSTR ChainDlls, DWORD CalloutVersion, LPDHCP_CALLOUT_TABLE CalloutTbl)
{
    if (CalloutVersion != CALLOUT_VERSION)
        return ERROR_NOT_SUPPORTED;
    CalloutTbl->DhcpControlHook = control;
    CalloutTbl->DhcpNewPktHook = new_pkt;
    CalloutTbl->DhcpPktDropHook = pkt_drop;
    CalloutTbl->DhcpPktSendHook = pkt_send;
    CalloutTbl->DhcpAddressDelHook = address_del;
    CalloutTbl->DhcpAddressOfferHook = address_offer;
    CalloutTbl->DhcpHandleOptionsHook = handle_options;
    CalloutTbl->DhcpDeleteClientHook = delete_client;
    CalloutTbl->DhcpExtensionHook = NULL;
    CalloutTbl->DhcpReservedHook = NULL;
    return ERROR_SUCCESS;
}
