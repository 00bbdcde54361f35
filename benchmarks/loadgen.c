/* loadgen: a DHCPv4 load generator that acts as a relay agent, so that every server answers it by unicast to giaddr.
 *
 * One thread, up to --window exchanges in flight, packets by recvmmsg and sendmmsg. It polls without ever sleeping: a
 * generator that sleeps makes the server pay for waking it. With --relays it is as many relay agents, at --relay-step
 * from each other, and every client is behind one of them, always the same.
 *
 *   dora      a new client each time: DISCOVER, OFFER, REQUEST, ACK
 *   discover  a new client each time: DISCOVER, OFFER
 *   renew     lease to --clients clients first (not measured), then REQUEST with ciaddr, ACK, in random order
 *
 * With --held N the server has leases for the first N clients beforehand, at consecutive addresses from --held-from: they
 * are those that renew, and new clients come after them.
 *
 * Closed loop: the next exchange starts when one ends. Open loop (--rate): exchanges start on schedule, and latency
 * counts from the scheduled instant, so that a server which stalls is charged for those it kept waiting.
 *
 * With --sync it writes "ready" before the measured part and waits for a line on stdin. The result is one JSON object.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { DISCOVER = 1, OFFER, REQUEST, DECLINE, ACK, NAK };
enum { RX_BATCH = 64, RX_SIZE = 1536, TX_BATCH = 64, PACKET_SIZE = 384, MIN_PACKET = 300, WINDOW_MAX = 65536 };
enum { SETUP_SECONDS = 100 }; /* the most that leases to renew, and the warm-up, may take */
enum { XID = 4, CIADDR = 12, YIADDR = 16, GIADDR = 24, CHADDR = 28, COOKIE = 236, OPTIONS = 240 };

static const uint8_t cookie[4] = {99, 130, 83, 99};
/* What a desktop asks for: mask, routers, servers, names, NetBIOS, routes, search list, proxy. */
static const uint8_t wanted[] = {1, 3, 6, 15, 31, 33, 43, 44, 46, 47, 119, 121, 249, 252};

/* ---- what was asked for ---- */

static struct {
    const char *mode;
    struct in_addr server, giaddr;
    struct in_addr held_from;
    uint64_t mac_base, seed, count, warmup;
    uint32_t clients, window, tries, relays, relay_step, held;
    double seconds, timeout, rate;
    bool client_id, host_name, option_82, sleep, sync;
} ask = {.mode = "dora", .mac_base = 0x020000000000, .seed = 1, .clients = 10000, .window = 64, .tries = 5, .relays = 1,
         .relay_step = 256, .seconds = 3, .timeout = 1, .client_id = true};

#include "loadgen_latency.h"
#include "loadgen_packets.h"
#include "loadgen_exchanges.h"

/* ---- set-up ---- */

static int bound_socket(struct in_addr address)
{
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons(67), .sin_addr = address};
    int size = 8 << 20, yes = 1;
    int made = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (made < 0 || setsockopt(made, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) < 0 ||
        bind(made, (struct sockaddr *)&here, sizeof here) < 0) {
        perror("loadgen: socket");
        exit(1);
    }
    if (setsockopt(made, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size) < 0)
        setsockopt(made, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    return made;
}

/* One relay agent sends and receives at its address. Many send from whichever the route takes, and the replies to all of
 * their addresses come to a second socket: the first is connected, which is quicker, and so has but one address. */
static void open_sockets(void)
{
    struct in_addr any = {.s_addr = htonl(INADDR_ANY)};
    struct sockaddr_in there = {.sin_family = AF_INET, .sin_port = htons(67), .sin_addr = ask.server};
    sock = bound_socket(ask.relays > 1 ? any : ask.giaddr);
    if (connect(sock, (struct sockaddr *)&there, sizeof there) < 0) {
        perror("loadgen: connect");
        exit(1);
    }
    replies = ask.relays > 1 ? bound_socket(any) : sock;
}

static _Noreturn void usage(void)
{
    fputs("usage: loadgen --server ADDRESS --giaddr ADDRESS [options]\n"
          "  --mode dora|renew|discover  (dora)\n"
          "  --window N        exchanges in flight (64)\n"
          "  --rate R          open loop: exchanges/s (closed loop)\n"
          "  --count N         start at most N exchanges (no limit)\n"
          "  --seconds S       start exchanges for at most S seconds (3)\n"
          "  --warmup N        exchanges of the same kind beforehand, not measured (0)\n"
          "  --clients N       leases to renew (10000)\n"
          "  --timeout S       resend after S seconds (1), --tries N times in all (5)\n"
          "  --relays N        relay agents (1), the first at giaddr, --relay-step N addresses apart (256)\n"
          "  --option-82       they say which port and which relay agent it is\n"
          "  --held N          leases that the server has beforehand (0), their addresses from --held-from ADDRESS on\n"
          "  --mac HEX         first client's hardware address (020000000000)\n"
          "  --seed N          of the order of renewals (1)\n"
          "  --no-client-id    leave out option 61\n"
          "  --host-name       send option 12\n"
          "  --sleep           wait in poll() instead of polling\n"
          "  --sync            print \"ready\" and read a line before the measured part\n",
          stderr);
    exit(2);
}

static uint64_t number(const char *text, int base, uint64_t low, uint64_t high)
{
    char *end;
    errno = 0;
    uint64_t value = strtoull(text, &end, base);
    if (errno != 0 || *end != 0 || end == text || *text == '-' || value < low || value > high)
        usage();
    return value;
}

static double real(const char *text, double high)
{
    char *end;
    double value = strtod(text, &end);
    if (*end != 0 || end == text || !(value > 0 && value <= high))
        usage();
    return value;
}

static void parse(int argc, char **argv)
{
    static const struct option options[] = {
        {"server", 1, NULL, 's'},  {"giaddr", 1, NULL, 'g'},    {"mode", 1, NULL, 'm'},         {"window", 1, NULL, 'w'},
        {"rate", 1, NULL, 'r'},    {"count", 1, NULL, 'c'},     {"seconds", 1, NULL, 't'},      {"warmup", 1, NULL, 'u'},
        {"clients", 1, NULL, 'l'}, {"timeout", 1, NULL, 'o'},   {"tries", 1, NULL, 'n'},        {"mac", 1, NULL, 'a'},
        {"seed", 1, NULL, 'e'},    {"host-name", 0, NULL, 'h'}, {"no-client-id", 0, NULL, 'i'}, {"sleep", 0, NULL, 'p'},
        {"sync", 0, NULL, 'y'},    {"relays", 1, NULL, 'R'},    {"relay-step", 1, NULL, 'S'},   {"option-82", 0, NULL, 'O'},
        {"held", 1, NULL, 'H'},    {"held-from", 1, NULL, 'F'}, {NULL, 0, NULL, 0}};
    int option;
    ask.count = UINT32_MAX / 4;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case 's': if (inet_pton(AF_INET, optarg, &ask.server) != 1) usage(); break;
        case 'g': if (inet_pton(AF_INET, optarg, &ask.giaddr) != 1) usage(); break;
        case 'm': ask.mode = optarg; break;
        case 'w': ask.window = (uint32_t)number(optarg, 10, 1, WINDOW_MAX); break;
        case 'r': ask.rate = real(optarg, 1e7); break;
        case 'c': ask.count = number(optarg, 10, 1, UINT32_MAX / 4); break;
        case 't': ask.seconds = real(optarg, 3600); break;
        case 'u': ask.warmup = number(optarg, 10, 0, UINT32_MAX / 4); break;
        case 'l': ask.clients = (uint32_t)number(optarg, 10, 1, 1 << 24); break;
        case 'o': ask.timeout = real(optarg, 60); break;
        case 'n': ask.tries = (uint32_t)number(optarg, 10, 1, 1 << 20); break;
        case 'a': ask.mac_base = number(optarg, 16, 0, 0xffffffffffff); break;
        case 'e': ask.seed = number(optarg, 10, 0, UINT64_MAX); break;
        case 'h': ask.host_name = true; break;
        case 'i': ask.client_id = false; break;
        case 'p': ask.sleep = true; break;
        case 'y': ask.sync = true; break;
        case 'R': ask.relays = (uint32_t)number(optarg, 10, 1, 1 << 20); break;
        case 'S': ask.relay_step = (uint32_t)number(optarg, 10, 1, 1 << 24); break;
        case 'O': ask.option_82 = true; break;
        case 'H': ask.held = (uint32_t)number(optarg, 10, 0, 1 << 24); break;
        case 'F': if (inet_pton(AF_INET, optarg, &ask.held_from) != 1) usage(); break;
        default: usage();
        }
    }
    if (optind != argc || ask.server.s_addr == 0 || ask.giaddr.s_addr == 0 ||
        (ask.held != 0 && (ask.relays > 1 || ask.held_from.s_addr == 0)))
        usage();
    if (ask.held != 0)
        ask.clients = ask.held;
}

static void interrupt(int number_)
{
    (void)number_;
    interrupted = 1;
}

static void take_over(void) /* the leases that the server had beforehand */
{
    for (lease_count = 0; lease_count < ask.held; lease_count++) {
        uint32_t address = htonl(ntohl(ask.held_from.s_addr) + lease_count);
        leases[lease_count] = (struct lease){.client = lease_count, .address = address};
        owner[ntohl(address) & 0xffffff] = lease_count + 1;
    }
    next_client = ask.held;
}

static void work_init(struct work *work, enum work_mode mode, uint64_t count)
{
    work->mode = mode;
    work->count = count;
    work->nanoseconds = SETUP_SECONDS * 1000000000LL;
}

struct cpu {
    double user, kernel; /* seconds */
};

static double in_seconds(struct timeval time_)
{
    return (double)time_.tv_sec + (double)time_.tv_usec / 1e6;
}

static struct cpu cpu_now(void)
{
    struct rusage usage_;
    getrusage(RUSAGE_SELF, &usage_);
    return (struct cpu){in_seconds(usage_.ru_utime), in_seconds(usage_.ru_stime)};
}

static void print_result(const struct work *work, struct cpu before, struct cpu after)
{
    double seconds = (double)(work->ended - work->began) / 1e9;
    printf("{\"mode\": \"%s\", \"loop\": \"%s\", \"window\": %u, \"rate\": %g, ", ask.mode,
           work->rate > 0 ? "open" : "closed", ask.window, work->rate);
    printf("\"exchanges_per_second\": %.1f, \"seconds\": %.6f, \"count\": %" PRIu64 ", \"completed\": %" PRIu64 ", ",
           seconds > 0 ? (double)work->timely / seconds : 0.0, seconds, work->timely, work->completed);
    printf("\"started\": %" PRIu64 ", \"timeouts\": %" PRIu64 ", \"retries\": %" PRIu64 ", \"failed\": %" PRIu64 ", ",
           work->started, work->timeouts, work->retries, work->failed);
    printf("\"naks\": %" PRIu64 ", \"duplicates\": %" PRIu64 ", \"wrong\": %" PRIu64 ", \"stray\": %" PRIu64 ", ",
           work->naks, work->duplicates, work->wrong, work->stray);
    printf("\"unextended\": %" PRIu64 ", \"held_up\": %" PRIu64 ", \"leases\": %u, ", work->unextended, work->held_up,
           lease_count);
    double kernel = after.kernel - before.kernel, cpu = after.user - before.user + kernel;
    printf("\"generator_cpu_seconds\": %.3f, \"generator_kernel_seconds\": %.3f, ", cpu, kernel);
    printf("\"generator_idle\": %.3f, ",
           (double)work->idle / (double)(work->finished - work->began + 1));
    printf("\"latency_us\": {");
    latency_print("offer", &work->offer, ", ");
    latency_print("ack", &work->ack, ", ");
    latency_print("exchange", &work->exchange, "}}\n");
}

int main(int argc, char **argv)
{
    parse(argc, argv);
    enum work_mode mode;
    if (strcmp(ask.mode, "dora") == 0)
        mode = DORA;
    else if (strcmp(ask.mode, "renew") == 0)
        mode = RENEW;
    else if (strcmp(ask.mode, "discover") == 0)
        mode = DISCOVER_ONLY;
    else
        usage();
    signal(SIGINT, interrupt);
    signal(SIGTERM, interrupt);
    open_sockets();
    template_build(&discover_template, DISCOVER, false);
    template_build(&request_template, REQUEST, true);
    template_build(&renew_template, REQUEST, false);
    renew_template.ciaddr = CIADDR;
    slots = allocate(ask.window, sizeof *slots);
    free_slots = allocate(ask.window, sizeof *free_slots);
    slot_lease = allocate(ask.window, sizeof *slot_lease);
    owner = allocate(1 << 24, sizeof *owner);
    leases = allocate(ask.clients, sizeof *leases);
    order = allocate(ask.clients, sizeof *order);
    while (free_count < ask.window) {
        free_slots[free_count] = ask.window - 1 - free_count;
        slots[free_slots[free_count]].generation = (uint16_t)random_below(65536);
        free_count++;
    }

    static struct work leasing, warming, measured;
    if (ask.held != 0)
        take_over();
    if (mode == RENEW && ask.held == 0) {
        work_init(&leasing, DORA, ask.clients);
        leasing.keep = true;
        run(&leasing);
        if (lease_count < ask.clients && !interrupted) {
            fprintf(stderr, "loadgen: only %u of %u clients got a lease\n", lease_count, ask.clients);
            if (lease_count == 0)
                return 1;
        }
    }
    for (uint32_t i = 0; i < lease_count; i++)
        order[i] = i;
    if (ask.warmup > 0 && !interrupted) {
        work_init(&warming, mode, ask.warmup);
        run(&warming);
    }
    if (ask.sync && !interrupted) {
        char line[8];
        puts("ready");
        fflush(stdout);
        if (read(STDIN_FILENO, line, sizeof line) <= 0)
            return 1;
    }
    work_init(&measured, mode, ask.count);
    measured.rate = ask.rate;
    measured.nanoseconds = (int64_t)(ask.seconds * 1e9);
    measured.duplicates = leasing.duplicates + warming.duplicates; /* wrong whenever it happens */
    measured.wrong = leasing.wrong + warming.wrong;
    struct cpu before = cpu_now();
    if (!interrupted)
        run(&measured);
    print_result(&measured, before, cpu_now());
    return interrupted ? 130 : 0;
}
