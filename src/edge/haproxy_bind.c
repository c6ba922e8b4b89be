/* haproxy_bind.c - an address that cannot be bound keeps no other from being served. HAProxy does not start at all
 * where one of its sockets fails, and says which lines of its configuration they were; those are left out of the next
 * start, and tried by us until they can be bound. */
#include "base/log.h"
#include "edge/haproxy_int.h"
#include <netinet/in.h>
#include <unistd.h>

#define BIND_AGAIN (5 * NS_PER_S)

static struct str line_at(struct str text, uint64_t number)
{
    struct str line = STR_NONE;
    for (uint64_t i = 0; i < number; i++)
        if (!str_cut(&text, '\n', &line))
            return STR_NONE;
    return str_trim(line);
}

/* "[ALERT]    (7) : Binding [haproxy.cfg:13] for frontend f: cannot bind socket (Address already in use) for [...]"
 */
size_t bind_failures(struct haproxy *h, struct str config, struct str said)
{
    size_t found = 0;
    struct str line;
    while (str_cut(&said, '\n', &line)) {
        ptrdiff_t at = str_find(line, S("Binding [haproxy.cfg:"));
        uint64_t number;
        struct str text, rest;
        if (at < 0 || !str_has(line, S("cannot bind socket")) ||
            !str_split(str_sub(line, (size_t)at + 21, line.n), ']', &text, &rest) ||
            !str_to_u64(text, UINT32_MAX, &number))
            continue;
        struct str bind = line_at(config, number);
        if (!str_starts(bind, S("bind ")) || map_get(&h->unbound, bind))
            continue;
        (void)map_put(&h->unbound, bind, h); /* any value: it is a set */
        found++;
    }
    if (found)
        timer_set(&h->bind_timer, BIND_AGAIN);
    return found;
}

bool bind_left_out(const struct haproxy *h, struct str line)
{
    return map_len(&h->unbound) && map_get(&h->unbound, str_trim(line));
}

/* As HAProxy would; what cannot be read is left to it. */
static bool bind_works(struct str line)
{
    struct str address, rest;
    struct addr a;
    struct err ignored = ERR; /* it is tried by HAProxy */
    int on = 1;
    line = str_sub(line, 5, line.n);
    (void)str_split(line, ' ', &address, &rest);
    if (!addr_parse(address, &a, &ignored))
        return true;
    AUTO(fd_close) int fd = socket(a.sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return true;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on); /* of a socket of ours: cannot fail */
    if (a.sa.sa_family == AF_INET6)
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on); /* as above */
    if (str_has(rest, S("transparent")))
        (void)setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &on, sizeof on); /* as above */
    return bind(fd, &a.sa, a.n) == 0;
}

void bind_again(struct haproxy *h)
{
    struct str rest = buf_str(h->shape), line;
    AUTO(map_fini) struct map wanted = MAP;
    while (str_cut(&rest, '\n', &line))
        (void)map_put(&wanted, str_trim(line), h);
    map_each (e, &h->unbound) {
        bool gone = !map_get(&wanted, e->key);
        if (!gone && !bind_works(e->key))
            continue;
        if (!gone) {
            log_info("haproxy.bind", STR_FMT " can be bound", STR_ARG(str_sub(e->key, 5, e->key.n)));
            h->reload = true;
        }
        (void)map_del(&h->unbound, e->key);
    }
    if (map_len(&h->unbound))
        timer_set(&h->bind_timer, BIND_AGAIN);
    soon_set(&h->step);
}
