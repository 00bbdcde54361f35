/* A callout for tests. It appends a line for every call, with all that it is given, to the file that the environment
 * variable CALLOUT_TRAP_NOTES names, and does what CALLOUT_TRAP says, words with blanks between them. Both are read when
 * it is loaded.
 */
#include "callout.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static FILE *notes;
static uint32_t entries;
static uint32_t kept; /* contexts that were made and not freed */
static char trap[512];
static BYTE elsewhere[2 * CALLOUT_BUFFER_SIZE];
static volatile BYTE *volatile nowhere;

/* The value of an environment variable; empty where there is none. */
static void read_variable(const char *name, char *value, size_t size)
{
#ifdef _WIN32
    /* getenv has what was there when the process started, or what another C library has set. */
    DWORD length = GetEnvironmentVariableA(name, value, (DWORD)size);

    value[length < size ? length : 0] = 0;
#else
    const char *found = getenv(name);

    snprintf(value, size, "%s", found != NULL ? found : "");
#endif
}

static void open_notes(void)
{
    char path[1024];

    read_variable("CALLOUT_TRAP_NOTES", path, sizeof path);
    notes = *path ? fopen(path, "ab") : NULL;
    if (notes != NULL)
        setvbuf(notes, NULL, _IOFBF, 1 << 15);
}

__attribute__((destructor)) static void close_notes(void)
{
    if (notes != NULL)
        fclose(notes);
    notes = NULL;
}

/* A part of a line. */
static void note(const char *format, ...)
{
    va_list arguments;

    if (notes == NULL)
        return;
    va_start(arguments, format);
    vfprintf(notes, format, arguments);
    va_end(arguments);
}

static void note_octets(const void *octets, size_t size)
{
    size_t i;

    for (i = 0; i < size; i++)
        note("%02x", ((const BYTE *)octets)[i]);
}

/* The end of a line, which is there for whoever reads, whatever happens next. */
static void end_note(void)
{
    note("\n");
    if (notes != NULL)
        fflush(notes);
}

/* The end of a line: all that the buffer holds, also behind the packet, but for NULs at its end. */
static void look(const BYTE *packet)
{
    size_t size = CALLOUT_BUFFER_SIZE;

    while (size > 0 && packet[size - 1] == 0)
        size--;
    note(" packet=");
    note_octets(packet, size);
    end_note();
}

static void keep(int more)
{
    kept += more;
    note("kept=%u", kept);
    end_note();
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
    if (DOES("overrun"))
        packet[CALLOUT_BUFFER_SIZE] = 0xee;
    if (DOES("fault"))
        *nowhere = 0xee;
    if (DOES("exit"))
        exit(7);
    if (DOES("abort"))
        abort();
    while (DOES("hang"))
        ;
}

static DWORD CALLBACK control(DWORD dwControlCode, LPVOID lpReserved)
{
    note("control code=%x reserved=%d", dwControlCode, lpReserved != NULL);
    end_note();
    if (is("control:exit"))
        exit(7);
    return result();
}

static DWORD CALLBACK new_pkt(LPBYTE *Packet, DWORD *PacketSize, DWORD IpAddress, LPVOID Reserved, LPVOID *PktContext,
                              LPBOOL ProcessIt)
{
    note("new_pkt size=%u ip=%08x reserved=%d context=%d process=%d", *PacketSize, IpAddress, Reserved != NULL,
        *PktContext != NULL, *ProcessIt);
    look(*Packet);
    if (is("context")) {
        *PktContext = calloc(1, sizeof(uint32_t));
        keep(1);
        *(uint32_t *)*PktContext = kept << 8;
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
    note("pkt_drop code=%x size=%u ip=%08x reserved=%d context=%u", ControlCode, *PacketSize, IpAddress,
        Reserved != NULL, value_of(PktContext));
    look(*Packet);
    if (ControlCode == DHCP_DROP_PROCESSED && is("context") && PktContext != NULL) {
        free(PktContext);
        keep(-1);
    }
    change("pkt_drop", Packet, PacketSize);
    return result();
}

static DWORD CALLBACK pkt_send(LPBYTE *Packet, DWORD *PacketSize, DWORD ControlCode, DWORD IpAddress, LPVOID Reserved,
                               LPVOID PktContext)
{
    note("pkt_send code=%x size=%u ip=%08x reserved=%d context=%u", ControlCode, *PacketSize, IpAddress,
        Reserved != NULL, value_of(PktContext));
    look(*Packet);
    change("pkt_send", Packet, PacketSize);
    return result();
}

static DWORD CALLBACK address_del(LPBYTE Packet, DWORD PacketSize, DWORD ControlCode, DWORD IpAddress,
                                  DWORD AltAddress, LPVOID Reserved, LPVOID PktContext)
{
    note("address_del code=%x size=%u ip=%08x address=%08x reserved=%d context=%u", ControlCode, PacketSize, IpAddress,
        AltAddress, Reserved != NULL, value_of(PktContext));
    look(Packet);
    change("address_del", &Packet, &PacketSize);
    return result();
}

static DWORD CALLBACK address_offer(LPBYTE Packet, DWORD PacketSize, DWORD ControlCode, DWORD IpAddress,
                                    DWORD AltAddress, DWORD AddrType, DWORD LeaseTime, LPVOID Reserved,
                                    LPVOID PktContext)
{
    note("address_offer code=%x size=%u ip=%08x address=%08x type=%x time=%u reserved=%d context=%u", ControlCode,
        PacketSize, IpAddress, AltAddress, AddrType, LeaseTime, Reserved != NULL, value_of(PktContext));
    look(Packet);
    change("address_offer", &Packet, &PacketSize);
    return result();
}

static void note_text(const char *name, const void *octets, DWORD length)
{
    note("%s ", name);
    if (octets == NULL)
        note("NULL/%u", length);
    else
        note_octets(octets, length);
    end_note();
}

static void note_number(const char *name, DWORD number)
{
    note("%s %u", name, number);
    end_note();
}

static DWORD CALLBACK handle_options(LPBYTE Packet, DWORD PacketSize, LPVOID Reserved, LPVOID PktContext,
                                     LPDHCP_SERVER_OPTIONS o)
{
    note("handle_options size=%u reserved=%d context=%u", PacketSize, Reserved != NULL, value_of(PktContext));
    look(Packet);
    if (is("options")) {
        DWORD requested = 0;

        note_text("MessageType", o->MessageType, 1);
        note_text("SubnetMask", o->SubnetMask, 4);
        note_text("RequestedAddress", o->RequestedAddress, 4);
        note_text("RequestLeaseTime", o->RequestLeaseTime, 4);
        note_text("OverlayFields", o->OverlayFields, 1);
        note_text("RouterAddress", o->RouterAddress, 4);
        note_text("Server", o->Server, 4);
        note_text("ParameterRequestList", o->ParameterRequestList, o->ParameterRequestListLength);
        note_text("MachineName", o->MachineName, o->MachineNameLength);
        note_number("ClientHardwareAddressType", o->ClientHardwareAddressType);
        note_text("ClientHardwareAddress", o->ClientHardwareAddress, o->ClientHardwareAddressLength);
        note_text("ClassIdentifier", o->ClassIdentifier, o->ClassIdentifierLength);
        note_text("VendorClass", o->VendorClass, o->VendorClassLength);
        note_number("DNSFlags", o->DNSFlags);
        note_text("DNSName", o->DNSName, o->DNSNameLength);
        note_number("DSDomainNameRequested", o->DSDomainNameRequested);
        note_text("DSDomainName", o->DSDomainName, o->DSDomainNameLen);
        note_text("ScopeId", o->ScopeId, 4);
        if (o->RequestedAddress != NULL)
            memcpy(&requested, o->RequestedAddress, sizeof requested);
        note("number %08x inside=%d", requested,
             o->RequestedAddress == NULL || ((BYTE *)o->RequestedAddress >= Packet
                                             && (BYTE *)o->RequestedAddress + 4 <= Packet + PacketSize));
        end_note();
        note_text("structure", o, sizeof *o);
    }
    change("handle_options", &Packet, &PacketSize);
    return result();
}

static DWORD CALLBACK delete_client(DWORD IpAddress, LPBYTE HwAddress, ULONG HwAddressLength, DWORD Reserved,
                                    DWORD ClientType)
{
    note("delete_client ip=%08x length=%u reserved=%u type=%u", IpAddress, HwAddressLength, Reserved, ClientType);
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

    note("chain");
    if (chain == NULL)
        note(" NULL");
    for (i = 0; chain != NULL && (i < 2 || chain[i - 2] != 0 || chain[i - 1] != 0); i++)
        note(" %04x", chain[i]);
    end_note();
}

DWORD CALLBACK DhcpServerCalloutEntry(LPWSTR ChainDlls, DWORD CalloutVersion, LPDHCP_CALLOUT_TABLE CalloutTbl)
{
    read_variable("CALLOUT_TRAP", trap, sizeof trap);
    if (notes == NULL)
        open_notes();
    note("entry version=%u zeroed=%d entries=%u kept=%u", CalloutVersion, is_zero(CalloutTbl, sizeof *CalloutTbl),
         ++entries, kept);
    end_note();
    note_chain(ChainDlls);
    if (is("entry_fault"))
        *nowhere = 0xee;
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
