#include "base/test.h"
#include "node/relay_proto.h"
#include "sys/stream.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>

TEST(relay_messages_come_back_as_they_were)
{
    static struct relay_message m;
    AUTO(strbuf_fini) struct strbuf b = STRBUF(RELAY_MESSAGE_MOST);
    relay_add(&b, S("exec"));
    relay_addf(&b, "%d", 7);
    relay_add(&b, S(""));
    relay_add(&b, (struct str){"cut\0off", 7}); /* a NUL ends a text */
    CHECK(relay_parse(strbuf_str(&b), &m));
    CHECK_INT(m.n, 4);
    CHECK_STR(m.texts[0], S("exec"));
    CHECK_STR(m.texts[1], S("7"));
    CHECK_STR(m.texts[2], S(""));
    CHECK_STR(m.texts[3], S("cut"));
}

TEST(relay_messages_that_are_none)
{
    static struct relay_message m;
    static const struct str bad[] = {
        {"", 0},           /* nothing */
        {"probe", 5},      /* no end */
        {"probe\0007", 7}, /* no end of the id */
        {"probe\0", 6},    /* no id */
    };
    for (size_t i = 0; i < countof(bad); i++)
        CHECK(!relay_parse(bad[i], &m));
    AUTO(strbuf_fini) struct strbuf b = STRBUF(RELAY_MESSAGE_MOST + 2);
    for (int i = 0; i < RELAY_TEXTS_MOST; i++)
        relay_add(&b, S("x"));
    CHECK(relay_parse(strbuf_str(&b), &m) && relay_fits(&b));
    relay_add(&b, S("x"));
    CHECK(!relay_parse(strbuf_str(&b), &m) && !relay_fits(&b)); /* one text too many */
    strbuf_reset(&b);
    for (int i = 0; i < RELAY_MESSAGE_MOST; i++)
        strbuf_addc(&b, 'x');
    strbuf_addc(&b, 0);
    CHECK(!relay_parse(strbuf_str(&b), &m)); /* too long */
}

/* What a message says, and whether a descriptor came with it; -1: there is none now. */
static int message_take(int socket, bool *with_fd)
{
    static char bytes[RELAY_MESSAGE_MOST];
    struct err err = ERR;
    int fd = -1;
    size_t nfds = 1;
    struct stat st;
    ssize_t n = socket_recv_fds(socket, bytes, sizeof bytes, &fd, &nfds, &err);
    *with_fd = nfds == 1 && fstat(fd, &st) == 0 && S_ISCHR(st.st_mode);
    fd_close(fd);
    return n <= 0 ? -1 : (int)strtol(bytes, NULL, 10);
}

TEST(relay_messages_wait_for_who_is_slow_and_keep_their_order)
{
    enum { MANY = 100, SIZE = 60000 };
    static char bytes[SIZE];
    struct relay_queue q;
    struct err err = ERR;
    int ends[2], sent = 0, taken = 0;
    bool with_fd;
    AUTO(fd_close) int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    relay_queue_init(&q);
    CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0);
    for (; sent < MANY; sent++) {
        (void)snprintf(bytes, sizeof bytes, "%d", sent);
        CHECK_OK(relay_queue_send(&q, ends[0], (struct str){bytes, SIZE}, &null, sent % 2, &err), err);
    }
    CHECK(relay_queue_waits(&q));
    while (taken < MANY) {
        for (int n; (n = message_take(ends[1], &with_fd)) >= 0; taken++)
            CHECK(n == taken && with_fd == taken % 2);
        CHECK_OK(relay_queue_flush(&q, ends[0], &err), err);
    }
    CHECK(!relay_queue_waits(&q) && q.bytes == 0);
    while (
        relay_queue_send(&q, ends[0], (struct str){bytes, SIZE}, &null, 1, &err)) /* nobody reads: it has a bound */
        CHECK(++sent < 1000);
    CHECK(err.kind == E_TOO_LARGE && q.bytes <= RELAY_WAITING_MOST && relay_queue_waits(&q));
    fd_close(ends[1]);
    err = (struct err)ERR;
    CHECK(!relay_queue_flush(&q, ends[0], &err) && err.sys && err.sys != EAGAIN);
    relay_queue_fini(&q);
    CHECK(!relay_queue_waits(&q) && q.bytes == 0);
    fd_close(ends[0]);
}
