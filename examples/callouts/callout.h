/* What a DHCP server callout needs to know: the same source becomes a DLL for Microsoft's DHCP server and a shared
 * library for aiodhcp.
 *
 * On Windows this is the SDK's own dhcpssdk.h. Elsewhere it is what follows, written after the public-domain header of
 * mingw-w64: names, types and order are the same, and all widths are fixed.
 */
#ifndef AIODHCP_CALLOUT_H
#define AIODHCP_CALLOUT_H

#ifdef _WIN32

#include <windows.h>

#include <dhcpssdk.h>

#define CALLOUT_EXPORT __declspec(dllexport)

#else

#include <stdint.h>

#define CALLOUT_EXPORT __attribute__((visibility("default")))
#define WINAPI
#define CALLBACK
#define UNALIGNED
#define TRUE 1
#define FALSE 0
#define ERROR_SUCCESS 0
#define ERROR_NOT_SUPPORTED 50

/* LPVOID is that of the SDK; a LONG has 32 bits there, and so has everything made of it. */
typedef void *LPVOID;
typedef char CHAR;
typedef uint8_t BYTE, BOOLEAN, *LPBYTE;
typedef uint32_t DWORD, ULONG;
typedef int32_t BOOL, *LPBOOL;
/* Strings are UTF-16, whatever wchar_t is. */
typedef uint16_t WCHAR, *LPWSTR;

typedef DWORD DHCP_IP_ADDRESS;

/* Valid during the call only. What a pointer points to is part of the packet, numbers in network order and at any
 * offset. NULL and length 0: the client didn't send it. Text doesn't end with a NUL. */
typedef struct _DHCP_SERVER_OPTIONS {
    BYTE *MessageType;
    DHCP_IP_ADDRESS UNALIGNED *SubnetMask;
    DHCP_IP_ADDRESS UNALIGNED *RequestedAddress;
    DWORD UNALIGNED *RequestLeaseTime;
    BYTE *OverlayFields;
    DHCP_IP_ADDRESS UNALIGNED *RouterAddress;
    DHCP_IP_ADDRESS UNALIGNED *Server;
    BYTE *ParameterRequestList;
    DWORD ParameterRequestListLength;
    CHAR *MachineName;
    DWORD MachineNameLength;
    BYTE ClientHardwareAddressType;
    BYTE ClientHardwareAddressLength;
    BYTE *ClientHardwareAddress;
    CHAR *ClassIdentifier;
    DWORD ClassIdentifierLength;
    BYTE *VendorClass;
    DWORD VendorClassLength;
    DWORD DNSFlags;
    DWORD DNSNameLength;
    LPBYTE DNSName;
    BOOLEAN DSDomainNameRequested;
    CHAR *DSDomainName;
    DWORD DSDomainNameLen;
    DWORD UNALIGNED *ScopeId;
} DHCP_SERVER_OPTIONS, *LPDHCP_SERVER_OPTIONS;

#define DHCP_CALLOUT_ENTRY_POINT "DhcpServerCalloutEntry"

#define DHCP_CONTROL_START 0x00000001
#define DHCP_CONTROL_STOP 0x00000002
#define DHCP_CONTROL_PAUSE 0x00000003
#define DHCP_CONTROL_CONTINUE 0x00000004

#define DHCP_DROP_DUPLICATE 0x00000001
#define DHCP_DROP_NOMEM 0x00000002
#define DHCP_DROP_INTERNAL_ERROR 0x00000003
#define DHCP_DROP_TIMEOUT 0x00000004
#define DHCP_DROP_UNAUTH 0x00000005
#define DHCP_DROP_PAUSED 0x00000006
#define DHCP_DROP_NO_SUBNETS 0x00000007
#define DHCP_DROP_INVALID 0x00000008
#define DHCP_DROP_WRONG_SERVER 0x00000009
#define DHCP_DROP_NOADDRESS 0x0000000A
#define DHCP_DROP_PROCESSED 0x0000000B
#define DHCP_DROP_GEN_FAILURE 0x00000100

#define DHCP_SEND_PACKET 0x10000000

#define DHCP_PROB_CONFLICT 0x20000001
#define DHCP_PROB_DECLINE 0x20000002
#define DHCP_PROB_RELEASE 0x20000003
#define DHCP_PROB_NACKED 0x20000004

#define DHCP_GIVE_ADDRESS_NEW 0x30000001
#define DHCP_GIVE_ADDRESS_OLD 0x30000002
#define DHCP_CLIENT_BOOTP 0x30000003
#define DHCP_CLIENT_DHCP 0x30000004

typedef DWORD(WINAPI *LPDHCP_CONTROL)(DWORD dwControlCode, LPVOID lpReserved);
typedef DWORD(WINAPI *LPDHCP_NEWPKT)(LPBYTE *Packet, DWORD *PacketSize, DWORD IpAddress, LPVOID Reserved,
                                     LPVOID *PktContext, LPBOOL ProcessIt);
typedef DWORD(WINAPI *LPDHCP_DROP_SEND)(LPBYTE *Packet, DWORD *PacketSize, DWORD ControlCode, DWORD IpAddress,
                                        LPVOID Reserved, LPVOID PktContext);
typedef DWORD(WINAPI *LPDHCP_PROB)(LPBYTE Packet, DWORD PacketSize, DWORD ControlCode, DWORD IpAddress,
                                   DWORD AltAddress, LPVOID Reserved, LPVOID PktContext);
typedef DWORD(WINAPI *LPDHCP_GIVE_ADDRESS)(LPBYTE Packet, DWORD PacketSize, DWORD ControlCode, DWORD IpAddress,
                                           DWORD AltAddress, DWORD AddrType, DWORD LeaseTime, LPVOID Reserved,
                                           LPVOID PktContext);
typedef DWORD(WINAPI *LPDHCP_HANDLE_OPTIONS)(LPBYTE Packet, DWORD PacketSize, LPVOID Reserved, LPVOID PktContext,
                                             LPDHCP_SERVER_OPTIONS ServerOptions);
typedef DWORD(WINAPI *LPDHCP_DELETE_CLIENT)(DWORD IpAddress, LPBYTE HwAddress, ULONG HwAddressLength, DWORD Reserved,
                                            DWORD ClientType);

/* NULL: not interested. */
typedef struct _DHCP_CALLOUT_TABLE {
    LPDHCP_CONTROL DhcpControlHook;
    LPDHCP_NEWPKT DhcpNewPktHook;
    LPDHCP_DROP_SEND DhcpPktDropHook;
    LPDHCP_DROP_SEND DhcpPktSendHook;
    LPDHCP_PROB DhcpAddressDelHook;
    LPDHCP_GIVE_ADDRESS DhcpAddressOfferHook;
    LPDHCP_HANDLE_OPTIONS DhcpHandleOptionsHook;
    LPDHCP_DELETE_CLIENT DhcpDeleteClientHook;
    LPVOID DhcpExtensionHook;
    LPVOID DhcpReservedHook;
} DHCP_CALLOUT_TABLE, *LPDHCP_CALLOUT_TABLE;

typedef DWORD(WINAPI *LPDHCP_ENTRY_POINT_FUNC)(LPWSTR ChainDlls, DWORD CalloutVersion,
                                               LPDHCP_CALLOUT_TABLE CalloutTbl);

#endif

/* What the API promises and neither header has a name for. */
#define CALLOUT_VERSION 0
#define CALLOUT_BUFFER_SIZE 4096 /* octets behind *Packet in DhcpNewPktHook and DhcpPktSendHook */

/* Offsets in a packet (RFC 2131, section 2). */
enum { OP = 0, HLEN = 2, XID = 4, CHADDR = 28, COOKIE = 236, OPTIONS = 240 };
enum { OPTION_PAD = 0, OPTION_END = 255 };

CALLOUT_EXPORT DWORD CALLBACK DhcpServerCalloutEntry(LPWSTR ChainDlls, DWORD CalloutVersion,
                                                     LPDHCP_CALLOUT_TABLE CalloutTbl);

#endif
