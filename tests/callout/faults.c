/* A callout for tests that fails: the environment variable CALLOUT_FAULT says where and how, words with blanks between
 * them: "new_pkt:null_write entry:exit". Every hook can, and "start", "stop", "entry", and "load" before that. With
 * "new_pkt:print" it prints and reads, which is to harm nothing; with "new_pkt:slow" it takes 50 ms.
 */
#include "callout.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef _WIN32
#define PAUSE() Sleep(10)
#else
#include <signal.h>
#include <time.h>
#define PAUSE() nanosleep(&(struct timespec){0, 10000000}, NULL)
#endif

static BYTE somewhere[CALLOUT_BUFFER_SIZE];
static volatile uint32_t zero;

static BOOL is(const char *hook, const char *what)
{
    const char *words = getenv("CALLOUT_FAULT");
    char padded[512], wanted[64];

    snprintf(padded, sizeof padded, " %s ", words != NULL ? words : "");
    snprintf(wanted, sizeof wanted, " %s:%s ", hook, what);
    return strstr(padded, wanted) != NULL;
}

static uint32_t deeper(volatile BYTE *above)
{
    volatile BYTE here[1024];

    here[0] = above != NULL ? above[0] : 1;
    return here[0] == 2 ? 0 : deeper(here) + here[0];
}

static void stop_here(void)
{
#ifdef _WIN32
    RaiseException(0xE0001234, 0, 0, NULL);
#else
    raise(SIGUSR1); /* which ends a process that doesn't expect it */
#endif
}

/* Fail. `octets` is where the packet is, or anything else that can be written to. */
static void fail(const char *hook, BYTE *octets)
{
    volatile BYTE *bytes = octets;
    DWORD i;

    if (is(hook, "null_write"))
        *(volatile BYTE *)(uintptr_t)zero = 1;
    if (is(hook, "overrun"))
        for (i = 0; i < 70000; i++)
            bytes[i] = 0xee;
    if (is(hook, "exit"))
        exit(7);
    if (is(hook, "abort"))
        abort();
    while (is(hook, "hang"))
        PAUSE();
    if (is(hook, "divide"))
        zero = 7 / zero; /* 1 / zero is no division to a compiler */
    if (is(hook, "stack"))
        zero = deeper(NULL) * 0;
    if (is(hook, "raise"))
        stop_here();
    if (is(hook, "slow"))
        for (i = 0; i < 5; i++)
            PAUSE();
    if (is(hook, "print")) {
        printf("%s prints\n", hook);
        fflush(stdout);
        if (getchar() != EOF)
            fprintf(stderr, "%s could read\n", hook);
    }
}

static DWORD CALLBACK control(DWORD dwControlCode, LPVOID lpReserved)
{
    fprintf(stderr, "control %u\n", (unsigned)dwControlCode);
    fail("control", somewhere);
    if (dwControlCode == DHCP_CONTROL_START)
        fail("start", somewhere);
    if (dwControlCode == DHCP_CONTROL_STOP)
        fail("stop", somewhere);
    return ERROR_SUCCESS;
}

static DWORD CALLBACK new_pkt(LPBYTE *Packet, DWORD *PacketSize, DWORD IpAddress, LPVOID Reserved, LPVOID *PktContext,
                              LPBOOL ProcessIt)
{
    fail("new_pkt", *Packet);
    if (is("new_pkt", "wild_pointer"))
        *Packet = (LPBYTE)(uintptr_t)16;
    return ERROR_SUCCESS;
}

static DWORD CALLBACK pkt_drop(LPBYTE *Packet, DWORD *PacketSize, DWORD ControlCode, DWORD IpAddress, LPVOID Reserved,
                               LPVOID PktContext)
{
    fail("pkt_drop", *Packet);
    return ERROR_SUCCESS;
}

static DWORD CALLBACK pkt_send(LPBYTE *Packet, DWORD *PacketSize, DWORD ControlCode, DWORD IpAddress, LPVOID Reserved,
                               LPVOID PktContext)
{
    fail("pkt_send", *Packet);
    return ERROR_SUCCESS;
}

static DWORD CALLBACK address_del(LPBYTE Packet, DWORD PacketSize, DWORD ControlCode, DWORD IpAddress,
                                  DWORD AltAddress, LPVOID Reserved, LPVOID PktContext)
{
    fail("address_del", Packet);
    return ERROR_SUCCESS;
}

static DWORD CALLBACK address_offer(LPBYTE Packet, DWORD PacketSize, DWORD ControlCode, DWORD IpAddress,
                                    DWORD AltAddress, DWORD AddrType, DWORD LeaseTime, LPVOID Reserved,
                                    LPVOID PktContext)
{
    fail("address_offer", Packet);
    return ERROR_SUCCESS;
}

static DWORD CALLBACK handle_options(LPBYTE Packet, DWORD PacketSize, LPVOID Reserved, LPVOID PktContext,
                                     LPDHCP_SERVER_OPTIONS ServerOptions)
{
    fail("handle_options", Packet);
    return ERROR_SUCCESS;
}

static DWORD CALLBACK delete_client(DWORD IpAddress, LPBYTE HwAddress, ULONG HwAddressLength, DWORD Reserved,
                                    DWORD ClientType)
{
    fail("delete_client", HwAddress);
    return ERROR_SUCCESS;
}

#ifdef _WIN32
BOOL WINAPI DllMain(HINSTANCE instance, DWORD reason, LPVOID reserved)
{
    if (reason == DLL_PROCESS_ATTACH)
        fail("load", somewhere);
    return TRUE;
}
#else
__attribute__((constructor)) static void loaded(void)
{
    fail("load", somewhere);
}
#endif

DWORD CALLBACK DhcpServerCalloutEntry(LPWSTR ChainDlls, DWORD CalloutVersion, LPDHCP_CALLOUT_TABLE CalloutTbl)
{
    fail("entry", somewhere);
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
    return ERROR_SUCCESS;
}
