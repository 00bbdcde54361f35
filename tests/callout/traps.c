/* A callout for tests: notes every call, with all it is given, and does what the environment variable CALLOUT_TRAP
 * says when it is loaded, words with blanks between them.
 */
#include "callout.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

CALLOUT_EXPORT char said[1 << 18];
CALLOUT_EXPORT uint32_t entries;
CALLOUT_EXPORT uint32_t kept; /* contexts that were made and not freed */
CALLOUT_EXPORT uint8_t seen[CALLOUT_BUFFER_SIZE]; /* the packet of the last call */
CALLOUT_EXPORT DHCP_SERVER_OPTIONS options;

static char trap[512];
static size_t used;
static BYTE elsewhere[2 * CALLOUT_BUFFER_SIZE];

static void say(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    used += vsnprintf(said + used, sizeof said - used, format, arguments);
    va_end(arguments);
    used += snprintf(said + used, sizeof said - used, "\n");
}

static BOOL is(const char *word)
{
    char padded[sizeof trap + 2], wanted[64];

    snprintf(padded, sizeof padded, " %s ", trap);
    snprintf(wanted, sizeof wanted, " %s ", word);
    return strstr(padded, wanted) != NULL;
}

static DWORD result(void)
{
    return is("nonzero") ? 7 : 0;
}

/* All that the buffer holds, also behind the packet. */
static void look(const BYTE *packet)
{
    memcpy(seen, packet, sizeof seen);
}

/* Where the End option is. */
static DWORD end_of(const BYTE *packet, DWORD size)
{
    DWORD at = OPTIONS;

    while (at < size && packet[at] != OPTION_END)
        at += packet[at] == OPTION_PAD ? 1 : 2 + packet[at + 1];
    return at;
}

/* Put option 224 at the end, and behind it so many others that the packet has `least` octets. */
static DWORD append(BYTE *packet, DWORD size, DWORD least)
{
    static const BYTE option[] = {224, 4, 't', 'r', 'a', 'p', OPTION_END};
    DWORD at = end_of(packet, size);

    memcpy(packet + at, option, sizeof option);
    at += sizeof option;
    if (at < least) {
        at--;
        while (least - at > 258) {
            packet[at] = 225;
            packet[at + 1] = 255;
            memset(packet + at + 2, 'x', 255);
            at += 257;
        }
        memset(packet + at, OPTION_PAD, least - at - 1);
        packet[least - 1] = OPTION_END;
        at = least;
    }
    return at < size ? size : at;
}

/* What the traps do to a packet that may be changed. */
static void change(const char *hook, LPBYTE *Packet, DWORD *PacketSize)
{
    char word[64];
    BYTE *packet = *Packet;
    DWORD size = *PacketSize;

#define DOES(what) (snprintf(word, sizeof word, "%s:%s", hook, what), is(word))
    if (DOES("append"))
        *PacketSize = append(packet, size, 0);
    if (DOES("full"))
        *PacketSize = append(packet, size, CALLOUT_BUFFER_SIZE);
    if (DOES("replace")) {
        memcpy(elsewhere, packet, size);
        *Packet = elsewhere;
        *PacketSize = append(elsewhere, size, 0);
    }
    if (DOES("huge"))
        *PacketSize = 70000;
    if (DOES("replace_huge")) {
        memcpy(elsewhere, packet, size);
        *Packet = elsewhere;
        *PacketSize = CALLOUT_BUFFER_SIZE + 1;
    }
    if (DOES("empty"))
        *PacketSize = 0;
    if (DOES("null"))
        *Packet = NULL;
    if (DOES("short"))
        *PacketSize = OPTIONS - 1;
    if (DOES("garbage"))
        memset(packet + COOKIE, 0xee, 4);
    if (DOES("scribble"))
        memset(packet, 0xee, CALLOUT_BUFFER_SIZE);
    if (DOES("spoil_replaced"))
        memset(elsewhere, 0xee, sizeof elsewhere);
}

static DWORD CALLBACK control(DWORD dwControlCode, LPVOID lpReserved)
{
    say("control %u reserved=%d", dwControlCode, lpReserved != NULL);
    return result();
}

static DWORD CALLBACK new_pkt(LPBYTE *Packet, DWORD *PacketSize, DWORD IpAddress, LPVOID Reserved, LPVOID *PktContext,
                              LPBOOL ProcessIt)
{
    say("new_pkt size=%u ip=%08x reserved=%d context=%d process=%d", *PacketSize, IpAddress, Reserved != NULL,
        *PktContext != NULL, *ProcessIt);
    look(*Packet);
    if (is("context")) {
        *PktContext = calloc(1, sizeof(uint32_t));
        *(uint32_t *)*PktContext = ++kept << 8;
    }
    if (is("wide_context"))
        *PktContext = (LPVOID)(uintptr_t)UINTPTR_MAX;
    if (is("veto"))
        *ProcessIt = FALSE;
    if (is("allow"))
        *ProcessIt = 2;
    change("new_pkt", Packet, PacketSize);
    return result();
}

static unsigned value_of(LPVOID context)
{
    return context == NULL ? 0 : is("wide_context") ? context == (LPVOID)UINTPTR_MAX : *(uint32_t *)context >> 8;
}

static DWORD CALLBACK pkt_drop(LPBYTE *Packet, DWORD *PacketSize, DWORD ControlCode, DWORD IpAddress, LPVOID Reserved,
                               LPVOID PktContext)
{
    say("pkt_drop code=%x size=%u ip=%08x reserved=%d context=%u", ControlCode, *PacketSize, IpAddress,
        Reserved != NULL, value_of(PktContext));
    look(*Packet);
    if (ControlCode == DHCP_DROP_PROCESSED && is("context") && PktContext != NULL) {
        free(PktContext);
        kept--;
    }
    change("pkt_drop", Packet, PacketSize);
    return result();
}

static DWORD CALLBACK pkt_send(LPBYTE *Packet, DWORD *PacketSize, DWORD ControlCode, DWORD IpAddress, LPVOID Reserved,
                               LPVOID PktContext)
{
    say("pkt_send code=%x size=%u ip=%08x reserved=%d context=%u", ControlCode, *PacketSize, IpAddress,
        Reserved != NULL, value_of(PktContext));
    look(*Packet);
    change("pkt_send", Packet, PacketSize);
    return result();
}

static DWORD CALLBACK address_del(LPBYTE Packet, DWORD PacketSize, DWORD ControlCode, DWORD IpAddress,
                                  DWORD AltAddress, LPVOID Reserved, LPVOID PktContext)
{
    say("address_del code=%x size=%u ip=%08x address=%08x reserved=%d context=%u", ControlCode, PacketSize, IpAddress,
        AltAddress, Reserved != NULL, value_of(PktContext));
    look(Packet);
    change("address_del", &Packet, &PacketSize);
    return result();
}

static DWORD CALLBACK address_offer(LPBYTE Packet, DWORD PacketSize, DWORD ControlCode, DWORD IpAddress,
                                    DWORD AltAddress, DWORD AddrType, DWORD LeaseTime, LPVOID Reserved,
                                    LPVOID PktContext)
{
    say("address_offer code=%x size=%u ip=%08x address=%08x type=%x time=%u reserved=%d context=%u", ControlCode,
        PacketSize, IpAddress, AltAddress, AddrType, LeaseTime, Reserved != NULL, value_of(PktContext));
    look(Packet);
    change("address_offer", &Packet, &PacketSize);
    return result();
}

static void text(const char *name, const void *octets, DWORD length)
{
    DWORD i;

    used += snprintf(said + used, sizeof said - used, "%s ", name);
    if (octets == NULL)
        used += snprintf(said + used, sizeof said - used, "NULL/%u", length);
    for (i = 0; octets != NULL && i < length; i++)
        used += snprintf(said + used, sizeof said - used, "%02x", ((const BYTE *)octets)[i]);
    say("");
}

static DWORD CALLBACK handle_options(LPBYTE Packet, DWORD PacketSize, LPVOID Reserved, LPVOID PktContext,
                                     LPDHCP_SERVER_OPTIONS o)
{
    say("handle_options size=%u reserved=%d context=%u", PacketSize, Reserved != NULL, value_of(PktContext));
    look(Packet);
    options = *o;
    if (is("options")) {
        DWORD requested = 0;

        text("MessageType", o->MessageType, 1);
        text("SubnetMask", o->SubnetMask, 4);
        text("RequestedAddress", o->RequestedAddress, 4);
        text("RequestLeaseTime", o->RequestLeaseTime, 4);
        text("OverlayFields", o->OverlayFields, 1);
        text("RouterAddress", o->RouterAddress, 4);
        text("Server", o->Server, 4);
        text("ParameterRequestList", o->ParameterRequestList, o->ParameterRequestListLength);
        text("MachineName", o->MachineName, o->MachineNameLength);
        say("ClientHardwareAddressType %u", o->ClientHardwareAddressType);
        text("ClientHardwareAddress", o->ClientHardwareAddress, o->ClientHardwareAddressLength);
        text("ClassIdentifier", o->ClassIdentifier, o->ClassIdentifierLength);
        text("VendorClass", o->VendorClass, o->VendorClassLength);
        say("DNSFlags %u", o->DNSFlags);
        text("DNSName", o->DNSName, o->DNSNameLength);
        say("DSDomainNameRequested %u", o->DSDomainNameRequested);
        text("DSDomainName", o->DSDomainName, o->DSDomainNameLen);
        text("ScopeId", o->ScopeId, 4);
        if (o->RequestedAddress != NULL)
            memcpy(&requested, o->RequestedAddress, sizeof requested);
        say("number %08x inside=%d", requested,
            o->RequestedAddress == NULL || ((BYTE *)o->RequestedAddress >= Packet
                                            && (BYTE *)o->RequestedAddress + 4 <= Packet + PacketSize));
    }
    change("handle_options", &Packet, &PacketSize);
    return result();
}

static DWORD CALLBACK delete_client(DWORD IpAddress, LPBYTE HwAddress, ULONG HwAddressLength, DWORD Reserved,
                                    DWORD ClientType)
{
    say("delete_client ip=%08x length=%u reserved=%u type=%u", IpAddress, HwAddressLength, Reserved, ClientType);
    look(HwAddress);
    return result();
}

static BOOL is_zero(const void *octets, size_t size)
{
    while (size-- > 0)
        if (((const BYTE *)octets)[size] != 0)
            return FALSE;
    return TRUE;
}

static void note_chain(const WCHAR *chain)
{
    int i;

    if (chain == NULL) {
        say("chain NULL");
        return;
    }
    used += snprintf(said + used, sizeof said - used, "chain");
    for (i = 0; i < 2 || chain[i - 2] != 0 || chain[i - 1] != 0; i++)
        used += snprintf(said + used, sizeof said - used, " %04x", chain[i]);
    say("");
}

DWORD CALLBACK DhcpServerCalloutEntry(LPWSTR ChainDlls, DWORD CalloutVersion, LPDHCP_CALLOUT_TABLE CalloutTbl)
{
    const char *words = getenv("CALLOUT_TRAP");

    snprintf(trap, sizeof trap, "%s", words != NULL ? words : "");
    entries++;
    say("entry version=%u zeroed=%d", CalloutVersion, is_zero(CalloutTbl, sizeof *CalloutTbl));
    note_chain(ChainDlls);
    if (is("dirty"))
        memset(CalloutTbl, 0xee, sizeof *CalloutTbl);
    if (is("refuse") || is("dirty") && CalloutVersion != CALLOUT_VERSION)
        return 5;
    if (CalloutVersion != CALLOUT_VERSION)
        return ERROR_NOT_SUPPORTED;
    if (is("only_send")) {
        CalloutTbl->DhcpPktSendHook = pkt_send;
        return ERROR_SUCCESS;
    }
    if (is("nothing"))
        return ERROR_SUCCESS;
    if (is("reserved")) {
        CalloutTbl->DhcpExtensionHook = elsewhere;
        CalloutTbl->DhcpReservedHook = elsewhere;
        return ERROR_SUCCESS;
    }
    CalloutTbl->DhcpControlHook = control;
    CalloutTbl->DhcpNewPktHook = new_pkt;
    CalloutTbl->DhcpPktDropHook = pkt_drop;
    CalloutTbl->DhcpPktSendHook = pkt_send;
    CalloutTbl->DhcpAddressDelHook = address_del;
    CalloutTbl->DhcpAddressOfferHook = address_offer;
    CalloutTbl->DhcpHandleOptionsHook = handle_options;
    CalloutTbl->DhcpDeleteClientHook = delete_client;
    return ERROR_SUCCESS;
}
