/* host.exe: loads a callout DLL and makes the calls that it reads from standard input: the frames of frames.py.
 *
 *     host.exe VERSIONS PATH [CHAIN...]
 *
 * VERSIONS of the API are tried from left to right, "1,0", until the DLL takes one. PATH and CHAIN, the DLLs behind it
 * that it is told of, are paths of Windows.
 *
 * It ends with one of these codes, or with that of the DLL where that ends the process:
 */
#define EXIT_ENDED 0       /* the input ended; the DLL was told STOP */
#define EXIT_NOT_LOADED 1  /* the only return says why */
#define EXIT_USAGE 2       /* the arguments are wrong */
#define EXIT_FAULT 80      /* the DLL faulted; a line on stderr says where */
#define EXIT_ORPHAN 81     /* the input ended, and the DLL had not returned a while later */
#define EXIT_FRAME 82      /* what was read is no call */
#define EXIT_NO_MEMORY 83

#include <windows.h>

#include <dhcpssdk.h>
#include <fcntl.h>
#include <io.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ── what frames.py and abi.py say ── */

typedef struct {
    uint32_t length, hook, size, ip_address, code, address, client_type, lease_time;
    uint64_t context;
} CALL;

typedef struct {
    uint32_t length, state, result, process, size, zero;
    uint64_t context;
} RETURN;

enum { KEPT, CHANGED, IS_NULL, TOO_LONG, FAULT };
enum { CONTROL, NEW_PKT, PKT_DROP, PKT_SEND, ADDRESS_DEL, ADDRESS_OFFER, HANDLE_OPTIONS, DELETE_CLIENT, HOOKS };

static const char *const hook_names[HOOKS] = {"dhcp_control",     "dhcp_new_pkt",       "dhcp_pkt_drop",
                                              "dhcp_pkt_send",    "dhcp_address_del",   "dhcp_address_offer",
                                              "dhcp_handle_options", "dhcp_delete_client"};

#define NOWHERE 0xFFFFFFFFu /* instead of an offset: a NULL pointer */

/* size 0: a pointer. */
static const struct {
    size_t offset, size;
} fields[] = {
#define POINTER(name) {offsetof(DHCP_SERVER_OPTIONS, name), 0}
#define NUMBER(name) {offsetof(DHCP_SERVER_OPTIONS, name), sizeof(((DHCP_SERVER_OPTIONS *)0)->name)}
    POINTER(MessageType),
    POINTER(SubnetMask),
    POINTER(RequestedAddress),
    POINTER(RequestLeaseTime),
    POINTER(OverlayFields),
    POINTER(RouterAddress),
    POINTER(Server),
    POINTER(ParameterRequestList),
    NUMBER(ParameterRequestListLength),
    POINTER(MachineName),
    NUMBER(MachineNameLength),
    NUMBER(ClientHardwareAddressType),
    NUMBER(ClientHardwareAddressLength),
    POINTER(ClientHardwareAddress),
    POINTER(ClassIdentifier),
    NUMBER(ClassIdentifierLength),
    POINTER(VendorClass),
    NUMBER(VendorClassLength),
    NUMBER(DNSFlags),
    NUMBER(DNSNameLength),
    POINTER(DNSName),
    NUMBER(DSDomainNameRequested),
    POINTER(DSDomainName),
    NUMBER(DSDomainNameLen),
    POINTER(ScopeId),
};

#define FIELDS (sizeof fields / sizeof *fields)
#define OPTIONS_SIZE (FIELDS * sizeof(uint32_t))
#define BUFFER_SIZE 4096 /* what a callout may write to; also what a page has */
#define CALL_MAX (sizeof(CALL) + OPTIONS_SIZE + 2 * BUFFER_SIZE)

/* ── this process ── */

#define ORPHAN_MS 5000
#define LOOK_MS 1000
#define STACK_LEFT (8 * BUFFER_SIZE) /* for what says that there is no more */

static HANDLE calls, returns, errors;
static HMODULE callout;
static DHCP_CALLOUT_TABLE table;
static BOOL started;           /* it was told START, and not STOP */
static volatile LONG answered; /* whether the first return is written, or being written */
static const char *volatile doing = "LoadLibrary";
static DWORD main_thread;

static BYTE *buffer; /* the packet; a page that can't be accessed before and behind it */
static BYTE *pieces; /* likewise, for what lies behind the packet */

static BYTE input[1 << 18];
static DWORD input_begin;
static volatile DWORD input_end;
static CRITICAL_SECTION input_lock; /* held by who reads into it */

static BOOL put(const void *octets, DWORD size)
{
    const BYTE *at = octets;
    DWORD written;

    for (; size > 0; at += written, size -= written)
        if (!WriteFile(returns, at, size, &written, NULL) || written == 0)
            return FALSE;
    return TRUE;
}

/* The first return, where the DLL is not loaded. */
static void not_loaded(const char *words)
{
    struct {
        RETURN head;
        char words[1024];
    } frame;

    if (InterlockedExchange(&answered, TRUE))
        return;
    memset(&frame.head, 0, sizeof frame.head);
    frame.head.state = FAULT;
    frame.head.length = (uint32_t)strlen(words);
    if (frame.head.length > sizeof frame.words)
        frame.head.length = sizeof frame.words;
    memcpy(frame.words, words, frame.head.length);
    put(&frame, (DWORD)sizeof frame.head + frame.head.length);
}

/* ── faults ── */

static const char *fault_name(DWORD code)
{
    switch (code) {
    case EXCEPTION_ACCESS_VIOLATION:
        return "access violation";
    case EXCEPTION_GUARD_PAGE:
        return "guard page";
    case EXCEPTION_ILLEGAL_INSTRUCTION:
        return "illegal instruction";
    case EXCEPTION_PRIV_INSTRUCTION:
        return "privileged instruction";
    case EXCEPTION_INT_DIVIDE_BY_ZERO:
        return "division by zero";
    case EXCEPTION_INT_OVERFLOW:
        return "division overflow";
    case EXCEPTION_STACK_OVERFLOW:
        return "stack overflow";
    case EXCEPTION_BREAKPOINT:
        return "breakpoint";
    case 0xC0000374: /* STATUS_HEAP_CORRUPTION */
        return "heap corruption";
    default:
        return "exception";
    }
}

/* "callout.dll+0x1234"; empty where it is in no module. */
static void place_of(const void *address, char *place, int size)
{
    WCHAR path[MAX_PATH], *name;
    MEMORY_BASIC_INFORMATION memory;
    int length;

    place[0] = 0;
    if (!VirtualQuery(address, &memory, sizeof memory) || memory.Type != MEM_IMAGE)
        return;
    path[GetModuleFileNameW(memory.AllocationBase, path, MAX_PATH - 1)] = 0;
    name = wcsrchr(path, L'\\');
    name = name != NULL ? name + 1 : path;
    length = WideCharToMultiByte(CP_UTF8, 0, name, -1, place, size - 32, NULL, NULL);
    if (length > 0)
        sprintf(place + length - 1, "+0x%x", (unsigned)((const BYTE *)address - (BYTE *)memory.AllocationBase));
}

/* Nobody handled it. Wine would start a debugger, which takes seconds; a process in an unknown state does no good. */
static LONG CALLBACK faulted(EXCEPTION_POINTERS *exception)
{
    const EXCEPTION_RECORD *record = exception->ExceptionRecord;
    char line[1024], place[512], access[64] = "";
    DWORD written;

    if (record->ExceptionCode == EXCEPTION_ACCESS_VIOLATION && record->NumberParameters >= 2)
        sprintf(access, ", %s 0x%llx",
                record->ExceptionInformation[0] == 0   ? "reading"
                : record->ExceptionInformation[0] == 1 ? "writing"
                                                       : "executing",
                (unsigned long long)record->ExceptionInformation[1]);
    place_of(record->ExceptionAddress, place, sizeof place);
    snprintf(line, sizeof line, "%s (0x%08x)%s at 0x%llx%s%s%s in %s%s\n", fault_name(record->ExceptionCode),
             (unsigned)record->ExceptionCode, access, (unsigned long long)(uintptr_t)record->ExceptionAddress,
             *place ? " (" : "", place, *place ? ")" : "",
             doing, GetCurrentThreadId() == main_thread ? "" : ", on a thread of the callout");
    WriteFile(errors, line, (DWORD)strlen(line), &written, NULL);
    if (!answered) {
        line[strlen(line) - 1] = 0;
        not_loaded(line);
        TerminateProcess(GetCurrentProcess(), EXIT_NOT_LOADED);
    }
    TerminateProcess(GetCurrentProcess(), EXIT_FAULT);
    return EXCEPTION_EXECUTE_HANDLER;
}

/* ── input ── */

/* Read what is there, or wait for it. The lock is held. */
static BOOL read_more(void)
{
    DWORD count;

    if (!ReadFile(calls, input + input_end, (DWORD)sizeof input - input_end, &count, NULL) || count == 0)
        return FALSE;
    input_end += count;
    return TRUE;
}

/* The next so many octets, where they stay until the next call of this; NULL at the end of the input. */
static const BYTE *next(DWORD size)
{
    BOOL more = TRUE;

    while (more && input_end - input_begin < size) {
        EnterCriticalSection(&input_lock);
        if (input_begin == input_end || sizeof input - input_begin < CALL_MAX) {
            memmove(input, input + input_begin, input_end - input_begin);
            input_end -= input_begin;
            input_begin = 0;
        }
        more = input_end - input_begin >= size || read_more();
        LeaveCriticalSection(&input_lock);
    }
    return input_end - input_begin < size ? NULL : input + input_begin;
}

/* A thread: whether the other end is still there, which nobody looks at while the DLL doesn't return. */
static DWORD CALLBACK watch(LPVOID unused)
{
    static const char line[] = "the input ended, and the callout doesn't return\n";
    DWORD available, written;
    BOOL there = TRUE;

    (void)unused;
    while (there) {
        Sleep(LOOK_MS);
        if (!TryEnterCriticalSection(&input_lock))
            continue;
        there = PeekNamedPipe(calls, NULL, 0, NULL, &available, NULL);
        /* Whether it has ended shows only behind what is in it. */
        if (there && available > 0 && input_end < sizeof input)
            there = read_more();
        LeaveCriticalSection(&input_lock);
    }
    Sleep(ORPHAN_MS);
    WriteFile(errors, line, sizeof line - 1, &written, NULL);
    TerminateProcess(GetCurrentProcess(), EXIT_ORPHAN);
    return 0;
}

/* ── loading ── */

static void system_message(DWORD number, char *text, int size)
{
    WCHAR wide[512];
    DWORD length = FormatMessageW(FORMAT_MESSAGE_FROM_SYSTEM | FORMAT_MESSAGE_IGNORE_INSERTS, NULL, number, 0, wide,
                                  sizeof wide / sizeof *wide, NULL);

    while (length > 0 && (wide[length - 1] <= ' ' || wide[length - 1] == '.'))
        length--;
    length = WideCharToMultiByte(CP_UTF8, 0, wide, (int)length, text, size - 1, NULL, NULL);
    text[length] = 0;
}

static void say_why(const WCHAR *path, DWORD number)
{
    char text[600], words[800];
    const char *more = "";

    system_message(number, text, sizeof text);
    if (GetFileAttributesW(path) == INVALID_FILE_ATTRIBUTES)
        more = ": there is no such file";
    else if (number == ERROR_MOD_NOT_FOUND)
        more = ": a DLL that it needs is missing";
    else if (number == ERROR_BAD_EXE_FORMAT)
        strcpy(text, "it is no DLL for x86-64");
    snprintf(words, sizeof words, "can't be loaded: %s (%u)%s", text, (unsigned)number, more);
    not_loaded(words);
}

/* ChainDlls: each name with its NUL, and one more. It may keep the pointer: this is never freed. */
static WCHAR *chain_of(int count, WCHAR **names)
{
    size_t size = 2;
    WCHAR *chain, *at;
    int i;

    for (i = 0; i < count; i++)
        size += wcslen(names[i]) + 1;
    at = chain = calloc(size, sizeof *chain);
    if (chain == NULL)
        exit(EXIT_NO_MEMORY);
    for (i = 0; i < count; i++) {
        wcscpy(at, names[i]);
        at += wcslen(names[i]) + 1;
    }
    return chain;
}

static LPDHCP_ENTRY_POINT_FUNC find_entry(void)
{
    static const char *const names[] = {"DhcpServerCalloutEntry", "DhcpServerCalloutEntry@12",
                                        "_DhcpServerCalloutEntry@12"};
    size_t i;
    FARPROC found = NULL;

    for (i = 0; i < sizeof names / sizeof *names && found == NULL; i++)
        found = GetProcAddress(callout, names[i]);
    return (LPDHCP_ENTRY_POINT_FUNC)(void (*)(void))found;
}

static unsigned registered(void)
{
    const void *const functions[HOOKS] = {
        (void *)table.DhcpControlHook,    (void *)table.DhcpNewPktHook,       (void *)table.DhcpPktDropHook,
        (void *)table.DhcpPktSendHook,    (void *)table.DhcpAddressDelHook,   (void *)table.DhcpAddressOfferHook,
        (void *)table.DhcpHandleOptionsHook, (void *)table.DhcpDeleteClientHook};
    unsigned bits = 0, i;

    for (i = 0; i < HOOKS; i++)
        bits |= (unsigned)(functions[i] != NULL) << i;
    return bits;
}

/* Load the DLL, have it fill its table, and say so. */
static BOOL load(const WCHAR *versions, const WCHAR *path, int count, WCHAR **names)
{
    WCHAR *chain = chain_of(count, names), *end;
    LPDHCP_ENTRY_POINT_FUNC entry;
    char words[1024] = "refused: DhcpServerCalloutEntry returned";
    size_t used = strlen(words);
    RETURN first;
    DWORD version, result;

    /* So that DLLs that it needs are found beside it. */
    callout = LoadLibraryExW(path, NULL, LOAD_WITH_ALTERED_SEARCH_PATH);
    if (callout == NULL) {
        say_why(path, GetLastError());
        return FALSE;
    }
    entry = find_entry();
    if (entry == NULL) {
        not_loaded("doesn't export DhcpServerCalloutEntry: it is no callout");
        return FALSE;
    }
    doing = "DhcpServerCalloutEntry";
    for (;; versions = end + 1) {
        version = wcstoul(versions, &end, 10);
        memset(&table, 0, sizeof table);
        SetUnhandledExceptionFilter(faulted);
        result = entry(chain, version, &table);
        if (result == 0)
            break;
        if (used < sizeof words - 64)
            used += (size_t)sprintf(words + used, "%s %u for version %u", used > 40 ? "," : "", (unsigned)result,
                                    (unsigned)version);
        if (*end != L',') {
            not_loaded(words);
            return FALSE;
        }
    }
    memset(&first, 0, sizeof first);
    first.result = version;
    first.context = registered();
    return InterlockedExchange(&answered, TRUE) ? FALSE : put(&first, sizeof first);
}

/* ── calling ── */

/* DHCP_SERVER_OPTIONS of the offsets that the parent found. */
static void place_options(DHCP_SERVER_OPTIONS *options, const uint32_t *values, DWORD size)
{
    size_t i;

    memset(options, 0, sizeof *options);
    for (i = 0; i < FIELDS; i++) {
        BYTE *field = (BYTE *)options + fields[i].offset;

        if (fields[i].size != 0) {
            memcpy(field, &values[i], fields[i].size); /* little-endian: the low octets come first */
        } else if (values[i] != NOWHERE) {
            BYTE *at = values[i] < size ? buffer + values[i] : pieces + (values[i] - size);

            memcpy(field, &at, sizeof at);
        }
    }
}

static DWORD control(DWORD code)
{
    started = code == DHCP_CONTROL_START || (started && code != DHCP_CONTROL_STOP);
    doing = hook_names[CONTROL];
    return table.DhcpControlHook != NULL ? table.DhcpControlHook(code, NULL) : 0;
}

/* Make a call, and return what came of it. FALSE: nobody hears it. */
static BOOL serve(const CALL *call, const BYTE *octets)
{
    static struct {
        RETURN head;
        BYTE packet[BUFFER_SIZE];
    } answer;
    static DHCP_SERVER_OPTIONS options;
    static uint32_t values[FIELDS];
    const BYTE *given = octets;
    LPBYTE packet = buffer;
    LPVOID context = (LPVOID)(uintptr_t)call->context;
    BOOL process = TRUE;
    DWORD size = call->size, behind = call->length - call->size, result = 0;

    if (call->hook == HANDLE_OPTIONS) {
        memcpy(values, octets, OPTIONS_SIZE);
        given += OPTIONS_SIZE;
        behind -= OPTIONS_SIZE;
        memcpy(pieces, given + size, behind);
        memset(pieces + behind, 0, BUFFER_SIZE - behind);
        place_options(&options, values, size);
    }
    memcpy(buffer, given, size);
    memset(buffer + size, 0, BUFFER_SIZE - size);
    doing = hook_names[call->hook];
    /* Whatever the DLL made it in the meantime: a DLL may handle its exceptions, but not for the process. */
    SetUnhandledExceptionFilter(faulted);

    switch (call->hook) {
    case CONTROL:
        result = control(call->code);
        break;
    case NEW_PKT:
        context = NULL;
        if (table.DhcpNewPktHook != NULL)
            result = table.DhcpNewPktHook(&packet, &size, call->ip_address, NULL, &context, &process);
        break;
    case PKT_DROP:
        if (table.DhcpPktDropHook != NULL)
            result = table.DhcpPktDropHook(&packet, &size, call->code, call->ip_address, NULL, context);
        break;
    case PKT_SEND:
        if (table.DhcpPktSendHook != NULL)
            result = table.DhcpPktSendHook(&packet, &size, DHCP_SEND_PACKET, call->ip_address, NULL, context);
        break;
    case ADDRESS_DEL:
        if (table.DhcpAddressDelHook != NULL)
            result = table.DhcpAddressDelHook(packet, size, call->code, call->ip_address, call->address, NULL,
                                              context);
        break;
    case ADDRESS_OFFER:
        if (table.DhcpAddressOfferHook != NULL)
            result = table.DhcpAddressOfferHook(packet, size, call->code, call->ip_address, call->address,
                                                call->client_type, call->lease_time, NULL, context);
        break;
    case HANDLE_OPTIONS:
        if (table.DhcpHandleOptionsHook != NULL)
            result = table.DhcpHandleOptionsHook(packet, size, NULL, context, &options);
        break;
    case DELETE_CLIENT:
        if (table.DhcpDeleteClientHook != NULL)
            result = table.DhcpDeleteClientHook(call->ip_address, packet, size, 0, 0);
        break;
    }

    memset(&answer.head, 0, sizeof answer.head);
    answer.head.result = result;
    answer.head.process = process != FALSE;
    answer.head.context = (uintptr_t)context;
    answer.head.size = call->size;
    if (call->hook == NEW_PKT || call->hook == PKT_SEND) {
        answer.head.size = size;
        if (size > BUFFER_SIZE) {
            answer.head.state = TOO_LONG;
        } else if (packet == NULL) {
            answer.head.state = IS_NULL;
        } else if (size != call->size || memcmp(packet, given, size) != 0) {
            answer.head.state = CHANGED;
            answer.head.length = size;
            memcpy(answer.packet, packet, size);
        }
    }
    return put(&answer, (DWORD)sizeof answer.head + answer.head.length);
}

static BOOL is_call(const CALL *call)
{
    DWORD before = call->hook == HANDLE_OPTIONS ? OPTIONS_SIZE : 0;

    return call->hook < HOOKS && call->size <= BUFFER_SIZE && call->length >= before + call->size
           && call->length - before - call->size <= (before ? BUFFER_SIZE : 0);
}

static int serve_all(void)
{
    CALL call;
    const BYTE *at;

    while ((at = next(sizeof call)) != NULL) {
        memcpy(&call, at, sizeof call);
        if (!is_call(&call))
            return EXIT_FRAME;
        at = next((DWORD)sizeof call + call.length);
        if (at == NULL)
            break;
        input_begin += (DWORD)sizeof call + call.length;
        if (!serve(&call, at + sizeof call))
            break;
    }
    if (started) {
        SetUnhandledExceptionFilter(faulted);
        control(DHCP_CONTROL_STOP);
    }
    return EXIT_ENDED;
}

/* ── the process ── */

/* The DLL may read and print: it shall not meet the frames. */
static BOOL take_pipes(void)
{
    HANDLE self = GetCurrentProcess();
    int nothing;

    if (!DuplicateHandle(self, GetStdHandle(STD_INPUT_HANDLE), self, &calls, 0, FALSE, DUPLICATE_SAME_ACCESS)
        || !DuplicateHandle(self, GetStdHandle(STD_OUTPUT_HANDLE), self, &returns, 0, FALSE, DUPLICATE_SAME_ACCESS)
        || !DuplicateHandle(self, GetStdHandle(STD_ERROR_HANDLE), self, &errors, 0, FALSE, DUPLICATE_SAME_ACCESS))
        return FALSE;
    nothing = _open("NUL", _O_RDONLY);
    if (nothing < 0 || _dup2(nothing, 0) != 0 || _dup2(2, 1) != 0)
        return FALSE;
    _close(nothing);
    /* Also those that a runtime of the DLL's own looks at. */
    SetStdHandle(STD_INPUT_HANDLE, (HANDLE)_get_osfhandle(0));
    SetStdHandle(STD_OUTPUT_HANDLE, (HANDLE)_get_osfhandle(1));
    setvbuf(stdout, NULL, _IONBF, 0);
    return TRUE;
}

/* Five pages, of which the second and the fourth can be accessed. */
static BOOL make_buffers(void)
{
    BYTE *pages = VirtualAlloc(NULL, 5 * BUFFER_SIZE, MEM_RESERVE | MEM_COMMIT, PAGE_NOACCESS);
    DWORD before;

    if (pages == NULL)
        return FALSE;
    buffer = pages + BUFFER_SIZE;
    pieces = pages + 3 * BUFFER_SIZE;
    return VirtualProtect(buffer, BUFFER_SIZE, PAGE_READWRITE, &before)
           && VirtualProtect(pieces, BUFFER_SIZE, PAGE_READWRITE, &before);
}

/* Keep some of the stack for who handles that it ends. Wine keeps one page of a stack that is there from the beginning,
 * in which nothing can be handled: it gets a guard page where one would be on Windows, which has one there and says no.
 */
static void guard_stack(void)
{
    MEMORY_BASIC_INFORMATION stack;
    ULONG left = STACK_LEFT;
    DWORD before;

    if (SetThreadStackGuarantee(&left) && VirtualQuery(&stack, &stack, sizeof stack))
        VirtualProtect((BYTE *)stack.AllocationBase + STACK_LEFT, BUFFER_SIZE, PAGE_READWRITE | PAGE_GUARD, &before);
}

int wmain(int argc, WCHAR **argv)
{
    HANDLE watcher;

    if (argc < 3) {
        fputs("usage: host.exe VERSIONS PATH [CHAIN...]\n", stderr);
        return EXIT_USAGE;
    }
    main_thread = GetCurrentThreadId();
    SetErrorMode(SEM_FAILCRITICALERRORS | SEM_NOGPFAULTERRORBOX | SEM_NOOPENFILEERRORBOX);
    SetUnhandledExceptionFilter(faulted);
    guard_stack();
    InitializeCriticalSection(&input_lock);
    if (!take_pipes() || !make_buffers())
        return EXIT_NO_MEMORY;
    watcher = CreateThread(NULL, 0, watch, NULL, 0, NULL);
    if (watcher == NULL)
        return EXIT_NO_MEMORY;
    CloseHandle(watcher);
    return load(argv[1], argv[2], argc - 3, argv + 3) ? serve_all() : EXIT_NOT_LOADED;
}
