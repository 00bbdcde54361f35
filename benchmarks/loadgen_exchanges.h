/* Part of loadgen.c. */

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

struct lease {
    uint32_t client, address;
    bool busy;
};

static int sock, replies;
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
        memcmp(packet + GIADDR, slot->packet + GIADDR, 4) != 0 || !read_options(packet, length, &reply)) {
        work->wrong++;
        return;
    }
    if (slot->agent && (reply.agent == NULL || memcmp(reply.agent, slot->packet + slot->agent, AGENT) != 0)) {
        work->wrong++; /* RFC 3046 §2.2: to be echoed as it came */
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
        int received = recvmmsg(replies, rx, RX_BATCH, MSG_DONTWAIT, NULL);
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
                struct pollfd readable = {.fd = replies, .events = POLLIN};
                struct timespec limit = {.tv_nsec = rest};
                ppoll(&readable, 1, &limit, NULL);
            }
        }
    }
    work->finished = now;
    if (work->nanoseconds != 0 && work->started < work->count && !interrupted)
        work->ended = work->began + work->nanoseconds; /* stopped by the time: that is what was measured */
}
