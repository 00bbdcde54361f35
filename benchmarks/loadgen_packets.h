/* Part of loadgen.c. */

struct slot { /* an exchange in flight */
    uint32_t client, xid; /* xid 0: free */
    uint32_t yiaddr, server_id, tries;
    uint8_t sent; /* DISCOVER or REQUEST */
    uint16_t generation;
    int64_t began, asked, resent; /* exchange, this message, its last copy */
    size_t length, agent; /* agent: where option 82 is; 0: nowhere */
    uint8_t packet[PACKET_SIZE];
};

/* ---- packets: one template for each message, copied and patched ---- */

enum { CIRCUIT = 13, AGENT = 2 + 2 + CIRCUIT + 2 + 4 }; /* octets of the circuit id, and of option 82 in all */

struct template {
    size_t length;
    size_t ciaddr, client_mac, host_name, requested, server_id, circuit, relay; /* offsets; 0: absent */
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
    if (ask.option_82) { /* RFC 3046: the circuit, and the relay agent; the last of all */
        *at++ = 82, *at++ = 2 + CIRCUIT + 2 + 4;
        *at++ = 1, *at++ = CIRCUIT;
        memcpy(at, "port-", 5);
        template->circuit = (size_t)(at + 5 - packet);
        at += CIRCUIT;
        *at++ = 2, *at++ = 4;
        template->relay = (size_t)(at - packet);
        at += 4;
    }
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

/* A client's relay agent; any order of clients spreads evenly over them. */
static uint32_t relay_of(uint32_t client)
{
    uint32_t chosen = (uint32_t)((uint64_t)(uint32_t)(client * 0x85ebca6bU) * ask.relays >> 32);
    return htonl(ntohl(ask.giaddr.s_addr) + chosen * ask.relay_step);
}

static void write_hex(uint8_t *at, uint32_t number_)
{
    static const char digits[] = "0123456789abcdef";
    for (int i = 0; i < 8; i++)
        at[i] = (uint8_t)digits[number_ >> (28 - 4 * i) & 15];
}

static void write_packet(struct slot *slot, const struct template *template)
{
    uint8_t *packet = slot->packet;
    uint32_t relay = relay_of(slot->client);
    memcpy(packet, template->packet, template->length);
    memcpy(packet + XID, &slot->xid, 4);
    memcpy(packet + GIADDR, &relay, 4);
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
        write_hex(packet + template->host_name, slot->client);
    slot->agent = template->circuit ? template->circuit - 9 : 0;
    if (slot->agent) {
        write_hex(packet + template->circuit, slot->client);
        memcpy(packet + template->relay, &relay, 4);
    }
    slot->length = template->length;
}

struct reply {
    uint8_t type;
    uint32_t server_id, lease_time;
    const uint8_t *agent; /* option 82 from its code on; NULL without */
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
        else if (packet[at] == 82)
            reply->agent = packet + at;
        at += 2U + size;
    }
    reply->lease_time = ntohl(reply->lease_time);
    return at < length && reply->type != 0 && reply->server_id != 0;
}
