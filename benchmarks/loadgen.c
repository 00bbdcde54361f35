/* loadgen: a DHCPv4 load generator that acts as a relay agent, so that every server answers it by unicast to giaddr.
 *
 * One thread, one UDP socket bound to giaddr:67, up to --window exchanges in flight, packets by recvmmsg and sendmmsg.
 * It polls without ever sleeping: a generator that sleeps makes the server pay for waking it.
 *
 *   dora      a new client each time: DISCOVER, OFFER, REQUEST, ACK
 *   discover  a new client each time: DISCOVER, OFFER
 *   renew     lease to --clients clients first (not measured), then REQUEST with ciaddr, ACK, in random order
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
    uint64_t mac_base, seed, count, warmup;
    uint32_t clients, window, tries;
    double seconds, timeout, rate;
    bool client_id, host_name, sleep, sync;
} ask = {.mode = "dora", .mac_base = 0x020000000000, .seed = 1, .clients = 10000, .window = 64, .tries = 5, .seconds = 3,
         .timeout = 1, .client_id = true};

/* ---- latency: a histogram of nanoseconds with 128 steps to each power of two, so percentiles are exact to 0.8 % ---- */

enum { STEPS = 128, STEP_BITS = 7, BUCKETS = (64 - STEP_BITS + 1) * STEPS };

struct latency {
    uint64_t bucket[BUCKETS], total, max;
};

static void latency_add(struct latency *latency, int64_t nanoseconds)
{
    uint64_t value = nanoseconds > 0 ? (uint64_t)nanoseconds : 0;
    unsigned index = (unsigned)value;
    if (value >= STEPS) {
        unsigned shift = 63U - (unsigned)__builtin_clzll(value) - STEP_BITS;
        index = (shift + 1) * STEPS + ((unsigned)(value >> shift) - STEPS);
    }
    latency->bucket[index]++;
    latency->total++;
    if (value > latency->max)
        latency->max = value;
}

static double latency_at(const struct latency *latency, double share) /* µs, the upper edge of the bucket */
{
    uint64_t target = (uint64_t)(share * (double)latency->total), seen = 0;
    for (unsigned i = 0; i < BUCKETS; i++) {
        seen += latency->bucket[i];
        if (seen > target) {
            unsigned shift = i < STEPS ? 0 : i / STEPS - 1;
            uint64_t edge = i < STEPS ? i + 1 : (uint64_t)(i % STEPS + STEPS + 1) << shift;
            return (double)(edge < latency->max ? edge : latency->max) / 1e3;
        }
    }
    return 0;
}

static void latency_print(const char *name, const struct latency *latency, const char *after)
{
    if (latency->total == 0)
        printf("\"%s\": null%s", name, after);
    else
        printf("\"%s\": {\"p50\": %.1f, \"p90\": %.1f, \"p99\": %.1f, \"max\": %.1f}%s", name, latency_at(latency, .5),
               latency_at(latency, .9), latency_at(latency, .99), (double)latency->max / 1e3, after);
}

/* ---- one part of a run (leases taken beforehand, warm-up, the measured part) and what came of it ---- */

enum work_mode { DORA, RENEW, DISCOVER_ONLY };

struct work {
    enum work_mode mode;
    uint64_t count;      /* exchanges to start at most */
    int64_t nanoseconds; /* time to start them in; 0: no limit */
    double rate;         /* exchanges/s; 0: closed loop */
    bool keep;           /* remember the leases, to renew them */

    uint64_t started, timely, completed; /* timely: completed before the time was up */
    int64_t began, ended, finished, idle;
    uint64_t timeouts, retries, failed, naks, duplicates, wrong, stray, held_up, unextended;
    struct latency offer, ack, exchange;
};

struct slot {
    uint32_t client, xid; /* xid 0: free */
    uint32_t yiaddr, server_id, tries;
    uint8_t sent; /* DISCOVER or REQUEST */
    uint16_t generation;
    int64_t began, asked, resent; /* exchange, this message, its last copy */
    size_t length;
    uint8_t packet[PACKET_SIZE];
};

struct lease {
    uint32_t client, address;
    bool busy;
};

static int sock;
static struct slot *slots;
static uint32_t *free_slots, free_count;
static uint32_t *owner; /* last 24 bits of an address → client + 1 */
static uint32_t next_client;
static uint32_t full_lease; /* the longest lease time seen, seconds */
static struct lease *leases;
static uint32_t lease_count, *order, order_at;
static uint32_t *slot_lease; /* which lease a slot renews */
static volatile sig_atomic_t interrupted;

static int64_t clock_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static uint32_t random_below(uint32_t bound) /* splitmix64 */
{
    uint64_t mixed = (ask.seed += 0x9e3779b97f4a7c15ULL);
    mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9ULL;
    mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebULL;
    return (uint32_t)(((mixed ^ (mixed >> 31)) >> 32) * bound >> 32);
}

static void *allocate(size_t count, size_t size)
{
    void *memory = calloc(count, size);
    if (memory == NULL) {
        perror("loadgen: memory");
        exit(1);
    }
    return memory;
}

/* ---- packets: one template for each message, copied and patched ---- */

struct template {
    size_t length;
    size_t ciaddr, client_mac, host_name, requested, server_id; /* offsets; 0: absent */
    uint8_t packet[PACKET_SIZE];
};

static struct template discover_template, request_template, renew_template;

static void template_build(struct template *template, uint8_t type, bool selecting)
{
    static const uint8_t vendor[] = "MSFT 5.0";
    uint8_t *packet = template->packet, *at = packet + OPTIONS;
    packet[0] = 1; /* BOOTREQUEST, Ethernet, one hop */
    packet[1] = 1;
    packet[2] = 6;
    packet[3] = 1;
    memcpy(packet + GIADDR, &ask.giaddr, 4);
    memcpy(packet + COOKIE, cookie, 4);

    *at++ = 53, *at++ = 1, *at++ = type;
    if (ask.client_id) {
        *at++ = 61, *at++ = 7, *at++ = 1;
        template->client_mac = (size_t)(at - packet);
        at += 6;
    }
    if (selecting) {
        *at++ = 50, *at++ = 4;
        template->requested = (size_t)(at - packet);
        at += 4;
        *at++ = 54, *at++ = 4;
        template->server_id = (size_t)(at - packet);
        at += 4;
    }
    if (ask.host_name) {
        *at++ = 12, *at++ = 13;
        memcpy(at, "host-", 5);
        template->host_name = (size_t)(at + 5 - packet);
        at += 13;
    }
    *at++ = 57, *at++ = 2, *at++ = 1500 >> 8, *at++ = 1500 & 255;
    *at++ = 60, *at++ = sizeof vendor - 1;
    memcpy(at, vendor, sizeof vendor - 1);
    at += sizeof vendor - 1;
    *at++ = 55, *at++ = sizeof wanted;
    memcpy(at, wanted, sizeof wanted);
    at += sizeof wanted;
    *at++ = 255;
    template->length = (size_t)(at - packet) < MIN_PACKET ? MIN_PACKET : (size_t)(at - packet);
}

/* Unique, but in no order: dnsmasq hashes hardware addresses, and consecutive ones collide as those of a real network
 * do not. An odd factor permutes the last 32 bits. */
static void write_mac(uint8_t *at, uint32_t client)
{
    uint64_t mac = (ask.mac_base & ~0xffffffffULL) | (uint32_t)((uint32_t)ask.mac_base + client * 0x9e3779b1U);
    for (int i = 5; i >= 0; i--, mac >>= 8)
        at[i] = (uint8_t)mac;
}

static void write_packet(struct slot *slot, const struct template *template)
{
    static const char digits[] = "0123456789abcdef";
    uint8_t *packet = slot->packet;
    memcpy(packet, template->packet, template->length);
    memcpy(packet + XID, &slot->xid, 4);
    write_mac(packet + CHADDR, slot->client);
    if (template->ciaddr)
        memcpy(packet + template->ciaddr, &slot->yiaddr, 4);
    if (template->client_mac)
        memcpy(packet + template->client_mac, packet + CHADDR, 6);
    if (template->requested)
        memcpy(packet + template->requested, &slot->yiaddr, 4);
    if (template->server_id)
        memcpy(packet + template->server_id, &slot->server_id, 4);
    if (template->host_name)
        for (int i = 0; i < 8; i++)
            packet[template->host_name + (size_t)i] = (uint8_t)digits[slot->client >> (28 - 4 * i) & 15];
    slot->length = template->length;
}

struct reply {
    uint8_t type;
    uint32_t server_id, lease_time;
};

static bool read_options(const uint8_t *packet, size_t length, struct reply *reply)
{
    size_t at = OPTIONS;
    memset(reply, 0, sizeof *reply);
    while (at < length && packet[at] != 255) {
        if (packet[at] == 0) {
            at++;
            continue;
        }
        if (at + 2 > length || at + 2 + packet[at + 1] > length)
            return false;
        uint8_t size = packet[at + 1];
        if (packet[at] == 53 && size == 1)
            reply->type = packet[at + 2];
        else if (packet[at] == 54 && size == 4)
            memcpy(&reply->server_id, packet + at + 2, 4);
        else if (packet[at] == 51 && size == 4)
            memcpy(&reply->lease_time, packet + at + 2, 4);
        at += 2U + size;
    }
    reply->lease_time = ntohl(reply->lease_time);
    return at < length && reply->type != 0 && reply->server_id != 0;
}

/* ---- sending: a queue of slots, flushed once a round ---- */

static struct mmsghdr tx[TX_BATCH];
static struct iovec tx_data[TX_BATCH];
static unsigned tx_count;

static void flush(void)
{
    unsigned done = 0, refused = 0;
    while (done < tx_count) {
        int sent = sendmmsg(sock, tx + done, tx_count - done, 0);
        if (sent > 0)
            done += (unsigned)sent;
        else if (errno == ECONNREFUSED && ++refused < 100)
            continue; /* an earlier packet's: nobody listens (yet); it counts as a timeout */
        else if (errno != EINTR) {
            perror("loadgen: send");
            exit(1);
        }
    }
    tx_count = 0;
}

static void queue(struct slot *slot)
{
    if (tx_count == TX_BATCH)
        flush();
    tx_data[tx_count].iov_base = slot->packet;
    tx_data[tx_count].iov_len = slot->length;
    tx[tx_count].msg_hdr.msg_iov = &tx_data[tx_count];
    tx[tx_count].msg_hdr.msg_iovlen = 1;
    tx_count++;
}

/* ---- exchanges ---- */

static void new_xid(struct slot *slot)
{
    uint32_t index = (uint32_t)(slot - slots);
    do
        slot->xid = ((uint32_t)++slot->generation << 16 | index) ^ 0x5a000000U;
    while (slot->xid == 0);
}

static void send_message(struct slot *slot, uint8_t type, const struct template *template, int64_t asked, int64_t now)
{
    slot->sent = type;
    slot->asked = asked;
    slot->resent = now;
    slot->tries = 1;
    write_packet(slot, template);
    queue(slot);
}

static bool start_exchange(struct work *work, int64_t began, int64_t now)
{
    struct slot *slot = &slots[free_slots[free_count - 1]];
    if (work->mode == RENEW) {
        if (order_at == 0) { /* everyone once, then again in another order */
            for (uint32_t i = lease_count - 1; i > 0; i--) {
                uint32_t j = random_below(i + 1), swap = order[i];
                order[i] = order[j];
                order[j] = swap;
            }
        }
        uint32_t chosen = order[order_at];
        order_at = (order_at + 1) % lease_count;
        if (leases[chosen].busy)
            return false;
        leases[chosen].busy = true;
        slot_lease[slot - slots] = chosen;
        slot->client = leases[chosen].client;
        slot->yiaddr = leases[chosen].address;
    } else {
        slot->client = next_client++;
    }
    free_count--;
    new_xid(slot);
    slot->began = began;
    work->started++;
    if (work->mode == RENEW)
        send_message(slot, REQUEST, &renew_template, began, now);
    else
        send_message(slot, DISCOVER, &discover_template, began, now);
    return true;
}

static void end_exchange(struct work *work, struct slot *slot)
{
    if (work->mode == RENEW)
        leases[slot_lease[slot - slots]].busy = false;
    slot->xid = 0;
    free_slots[free_count++] = (uint32_t)(slot - slots);
}

static void complete(struct work *work, struct slot *slot, int64_t now)
{
    latency_add(&work->exchange, now - slot->began);
    work->completed++;
    if (work->nanoseconds == 0 || now - work->began <= work->nanoseconds) {
        work->timely++;
        work->ended = now;
    }
    end_exchange(work, slot);
}

static void receive(struct work *work, const uint8_t *packet, size_t length, int64_t now)
{
    uint32_t xid, yiaddr;
    struct reply reply;
    if (length < OPTIONS || packet[0] != 2) {
        work->wrong++;
        return;
    }
    memcpy(&xid, packet + XID, 4);
    memcpy(&yiaddr, packet + YIADDR, 4);
    uint32_t index = xid & 0xffff;
    if (index >= ask.window || slots[index].xid != xid || xid == 0) {
        work->stray++; /* an answer to a copy, or of an exchange given up */
        return;
    }
    struct slot *slot = &slots[index];
    if (memcmp(packet + CHADDR, slot->packet + CHADDR, 16) != 0 || memcmp(packet + COOKIE, cookie, 4) != 0 ||
        memcmp(packet + GIADDR, &ask.giaddr, 4) != 0 || !read_options(packet, length, &reply)) {
        work->wrong++;
        return;
    }
    if (reply.type == OFFER && slot->sent == REQUEST && work->mode == DORA) {
        work->stray++;
    } else if (reply.type == OFFER && slot->sent == DISCOVER && yiaddr != 0 && reply.lease_time != 0) {
        latency_add(&work->offer, now - slot->asked);
        if (work->mode == DISCOVER_ONLY) {
            complete(work, slot, now);
        } else {
            slot->yiaddr = yiaddr;
            slot->server_id = reply.server_id;
            send_message(slot, REQUEST, &request_template, now, now);
        }
    } else if (reply.type == ACK && slot->sent == REQUEST && yiaddr == slot->yiaddr && reply.lease_time != 0) {
        uint32_t *holder = &owner[ntohl(yiaddr) & 0xffffff];
        if (*holder != 0 && *holder != slot->client + 1)
            work->duplicates++;
        *holder = slot->client + 1;
        if (work->keep && lease_count < ask.clients)
            leases[lease_count++] = (struct lease){.client = slot->client, .address = yiaddr};
        if (reply.lease_time > full_lease)
            full_lease = reply.lease_time;
        work->unextended += work->mode == RENEW && reply.lease_time < full_lease;
        latency_add(&work->ack, now - slot->asked);
        complete(work, slot, now);
    } else if (reply.type == NAK && slot->sent == REQUEST) {
        work->naks++;
        if (work->mode == RENEW) {
            work->failed++;
            end_exchange(work, slot);
        } else { /* RFC 2131 §3.1 (5): the client starts again */
            new_xid(slot);
            send_message(slot, DISCOVER, &discover_template, now, now);
        }
    } else {
        work->wrong++;
    }
}

static void resend(struct work *work, int64_t now)
{
    int64_t patience = (int64_t)(ask.timeout * 1e9);
    for (uint32_t i = 0; i < ask.window; i++) {
        struct slot *slot = &slots[i];
        if (slot->xid == 0 || now - slot->resent < patience)
            continue;
        work->timeouts++;
        if (slot->tries >= ask.tries || interrupted) {
            work->failed++;
            end_exchange(work, slot);
        } else {
            work->retries++;
            slot->tries++;
            slot->resent = now;
            queue(slot);
        }
    }
}

static int64_t due(const struct work *work) /* when the next exchange of an open loop starts */
{
    return work->began + (int64_t)((double)work->started / work->rate * 1e9);
}

static void run(struct work *work)
{
    static uint8_t buffers[RX_BATCH][RX_SIZE];
    static struct iovec rx_data[RX_BATCH];
    static struct mmsghdr rx[RX_BATCH];
    for (int i = 0; i < RX_BATCH; i++) {
        rx_data[i] = (struct iovec){.iov_base = buffers[i], .iov_len = RX_SIZE};
        rx[i].msg_hdr = (struct msghdr){.msg_iov = &rx_data[i], .msg_iovlen = 1};
    }
    uint64_t held_up_at = UINT64_MAX;
    int64_t now = clock_now(), checked = now, before;
    work->began = work->ended = now;
    for (;;) {
        int received = recvmmsg(sock, rx, RX_BATCH, MSG_DONTWAIT, NULL);
        before = now;
        now = clock_now();
        if (received > 0)
            for (int i = 0; i < received; i++)
                receive(work, buffers[i], rx[i].msg_len, now);
        else
            work->idle += now - before;

        if (now - checked > 1000000) {
            checked = now;
            resend(work, now);
        }
        bool over = interrupted || work->started >= work->count ||
                    (work->nanoseconds != 0 && now - work->began >= work->nanoseconds);
        if (over && free_count == ask.window)
            break;
        for (uint32_t skipped = 0; !over && work->started < work->count;) {
            int64_t began = work->rate > 0 ? due(work) : now;
            if (began > now)
                break;
            if (free_count == 0) {
                if (work->rate > 0 && held_up_at != work->started) {
                    held_up_at = work->started;
                    work->held_up++;
                }
                break;
            }
            if (!start_exchange(work, began, now) && ++skipped > lease_count)
                break;
        }
        flush();
        if (ask.sleep && received <= 0) {
            int64_t until = checked + 1000001;
            if (work->rate > 0 && !over && free_count > 0 && due(work) < until)
                until = due(work);
            int64_t rest = until - clock_now();
            if (rest > 0) {
                struct pollfd readable = {.fd = sock, .events = POLLIN};
                struct timespec limit = {.tv_nsec = rest};
                ppoll(&readable, 1, &limit, NULL);
            }
        }
    }
    work->finished = now;
    if (work->nanoseconds != 0 && work->started < work->count && !interrupted)
        work->ended = work->began + work->nanoseconds; /* stopped by the time: that is what was measured */
}

/* ---- set-up ---- */

static void open_socket(void)
{
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons(67), .sin_addr = ask.giaddr};
    struct sockaddr_in there = {.sin_family = AF_INET, .sin_port = htons(67), .sin_addr = ask.server};
    int size = 8 << 20;
    sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (sock < 0 || bind(sock, (struct sockaddr *)&here, sizeof here) < 0 ||
        connect(sock, (struct sockaddr *)&there, sizeof there) < 0) {
        perror("loadgen: socket");
        exit(1);
    }
    if (setsockopt(sock, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size) < 0)
        setsockopt(sock, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
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
        {"sync", 0, NULL, 'y'},    {NULL, 0, NULL, 0}};
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
        case 'n': ask.tries = (uint32_t)number(optarg, 10, 1, 1000); break;
        case 'a': ask.mac_base = number(optarg, 16, 0, 0xffffffffffff); break;
        case 'e': ask.seed = number(optarg, 10, 0, UINT64_MAX); break;
        case 'h': ask.host_name = true; break;
        case 'i': ask.client_id = false; break;
        case 'p': ask.sleep = true; break;
        case 'y': ask.sync = true; break;
        default: usage();
        }
    }
    if (optind != argc || ask.server.s_addr == 0 || ask.giaddr.s_addr == 0)
        usage();
}

static void interrupt(int number_)
{
    (void)number_;
    interrupted = 1;
}

static void work_init(struct work *work, enum work_mode mode, uint64_t count)
{
    work->mode = mode;
    work->count = count;
    work->nanoseconds = SETUP_SECONDS * 1000000000LL;
}

static double cpu_seconds(void)
{
    struct rusage usage_;
    getrusage(RUSAGE_SELF, &usage_);
    return (double)(usage_.ru_utime.tv_sec + usage_.ru_stime.tv_sec) +
           (double)(usage_.ru_utime.tv_usec + usage_.ru_stime.tv_usec) / 1e6;
}

static void print_result(const struct work *work, double cpu)
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
    printf("\"generator_cpu_seconds\": %.3f, \"generator_idle\": %.3f, ", cpu,
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
    open_socket();
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
    if (mode == RENEW) {
        work_init(&leasing, DORA, ask.clients);
        leasing.keep = true;
        run(&leasing);
        if (lease_count < ask.clients && !interrupted) {
            fprintf(stderr, "loadgen: only %u of %u clients got a lease\n", lease_count, ask.clients);
            if (lease_count == 0)
                return 1;
        }
        for (uint32_t i = 0; i < lease_count; i++)
            order[i] = i;
    }
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
    double cpu = cpu_seconds();
    if (!interrupted)
        run(&measured);
    print_result(&measured, cpu_seconds() - cpu);
    return interrupted ? 130 : 0;
}
