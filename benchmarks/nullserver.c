/* nullserver: answers every DISCOVER and REQUEST at once and remembers nothing. What is measured with it is the load
 * generator and the kernel: the most that any server could show here.
 *
 * A DISCOVER is offered the next address in turn; a REQUEST gets what it asks for.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { BATCH = 64, SIZE = 1536, CIADDR = 12, YIADDR = 16, GIADDR = 24, OPTIONS = 240, DISCOVER = 1, REQUEST = 3 };

static struct in_addr self;

static int answer(uint8_t *packet, size_t length) /* the length of the reply, 0 for none */
{
    static uint32_t next = 0x0a800000; /* 10.128.0.0 */
    uint32_t address;
    uint8_t type = 0;
    memcpy(&address, packet + CIADDR, 4);
    for (size_t at = OPTIONS; at + 2 < length && packet[at] != 255; at += packet[at] == 0 ? 1U : 2U + packet[at + 1]) {
        if (packet[at] == 53)
            type = packet[at + 2];
        else if (packet[at] == 50 && at + 6 <= length)
            memcpy(&address, packet + at + 2, 4);
    }
    if (length < OPTIONS || packet[0] != 1 || (type != DISCOVER && type != REQUEST))
        return 0;
    if (type == DISCOVER)
        address = htonl(next++);
    packet[0] = 2;
    memcpy(packet + YIADDR, &address, 4);
    uint8_t *at = packet + OPTIONS;
    *at++ = 53, *at++ = 1, *at++ = type == DISCOVER ? 2 : 5;
    *at++ = 54, *at++ = 4;
    memcpy(at, &self, 4);
    at += 4;
    *at++ = 51, *at++ = 4, *at++ = 0, *at++ = 0, *at++ = 3600 >> 8, *at++ = 3600 & 255;
    *at++ = 1, *at++ = 4, *at++ = 255, *at++ = 0, *at++ = 0, *at++ = 0;
    *at++ = 3, *at++ = 4;
    memcpy(at, &self, 4);
    at += 4;
    *at++ = 255;
    memset(at, 0, (size_t)(packet + 300 - at));
    return 300;
}

int main(int argc, char **argv)
{
    static uint8_t buffers[BATCH][SIZE];
    static struct sockaddr_in from[BATCH];
    static struct iovec data[BATCH];
    static struct mmsghdr messages[BATCH], replies[BATCH];
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons(67)};
    int sock = socket(AF_INET, SOCK_DGRAM, 0), size = 8 << 20;
    if (argc != 2 || inet_pton(AF_INET, argv[1], &self) != 1) {
        fputs("usage: nullserver ADDRESS\n", stderr);
        return 2;
    }
    here.sin_addr = self;
    if (sock < 0 || bind(sock, (struct sockaddr *)&here, sizeof here) < 0) {
        perror("nullserver");
        return 1;
    }
    setsockopt(sock, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size);
    for (;;) {
        int count = 0;
        for (int i = 0; i < BATCH; i++) {
            data[i] = (struct iovec){.iov_base = buffers[i], .iov_len = SIZE};
            messages[i].msg_hdr = (struct msghdr){
                .msg_name = &from[i], .msg_namelen = sizeof from[i], .msg_iov = &data[i], .msg_iovlen = 1};
        }
        int received = recvmmsg(sock, messages, BATCH, MSG_WAITFORONE, NULL);
        for (int i = 0; i < received; i++) {
            int length = answer(buffers[i], messages[i].msg_len);
            if (length > 0) {
                memcpy(&from[i].sin_addr, buffers[i] + GIADDR, 4); /* RFC 2131 §4.1 */
                data[i].iov_len = (size_t)length;
                replies[count++] = messages[i];
            }
        }
        for (int sent = 0; sent < count;) {
            int done = sendmmsg(sock, replies + sent, (unsigned)(count - sent), 0);
            if (done <= 0 && errno != EINTR && errno != ECONNREFUSED) {
                perror("nullserver: send");
                return 1;
            }
            sent += done > 0 ? done : 0;
        }
    }
}
