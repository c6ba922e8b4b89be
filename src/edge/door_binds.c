/* Ports that cannot be had. HAProxy takes all of a shape or nothing, so one port that somebody else listens on would
 * keep back all that everybody wants: such a socket is left out, told of, and tried again. */
#include "edge/door_state.h"
#include "sys/stream.h"
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>

#define AGAIN_NS (2 * NS_PER_S)

/* As HAProxy would do it, which shares its ports with itself (SO_REUSEPORT); nothing is listened on. An error that is
 * not about the port is left for HAProxy to find. */
static bool port_is_free(const struct addr *a)
{
    const int one = 1;
    int family = a->sa.sa_family;
    AUTO(fd_close) int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return true;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one); /* bind says */
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one); /* bind says */
    if (family == AF_INET6) {
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one);   /* bind says */
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_FREEBIND, &one, sizeof one); /* bind says */
    } else {
        (void)setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &one, sizeof one); /* bind says */
    }
    return bind(fd, &a->sa, a->n) == 0 || (errno != EADDRINUSE && errno != EACCES);
}

static bool bind_is_free(const struct door_bind *b, const char *address)
{
    AUTO(strbuf_fini) struct strbuf text = STRBUF(STRBUF_TEXT);
    struct err err = ERR;
    struct addr a;
    strbuf_addf(&text, strchr(address, ':') ? "[%s]:%u" : "%s:%u", address, b->port);
    return !addr_parse(strbuf_str(&text), &a, &err) || port_is_free(&a);
}

static bool socket_is_free(const struct door *d, const struct door_socket *s)
{
    AUTO(arena_fini) struct arena a = ARENA;
    if (s->bind.address.n)
        return bind_is_free(&s->bind, arena_fmt(&a, STR_FMT, STR_ARG(s->bind.address)).p);
    return bind_is_free(&s->bind, "0.0.0.0") && (!d->ipv6 || bind_is_free(&s->bind, "::"));
}

static void absence_tell(struct door *d, const struct door_socket *s)
{
    struct err err = ERR;
    (void)err_set(&err, E_CONFLICT, "port %u%s" STR_FMT " is taken by another program of this machine", s->bind.port,
                  s->bind.address.n ? " of " : "", STR_ARG(s->bind.address));
    map_each (e, &d->sources) {
        const struct door_source *source = e->value;
        array_each (l, &s->listeners)
            if (d->events.refused && *l >= source->part.listeners.p &&
                *l < source->part.listeners.p + source->part.listeners.n)
                d->events.refused(d->arg, source->name, (*l)->key, &err);
    }
}

bool door_socket_may(struct door *d, const struct door_socket *s)
{
    struct str key = DOOR_NAME(s->bind.name);
    if (socket_is_free(d, s)) {
        (void)map_del(&d->absent, key);
        return true;
    }
    if (!map_put(&d->absent, key, d)) /* once, until it can be had */
        absence_tell(d, s);
    timer_set(&d->binds, AGAIN_NS);
    return false;
}

static void binds_again(struct timer *t)
{
    struct door *d = container_of(t, struct door, binds);
    bool any = false, left = false;
    map_each (e, &d->sockets) {
        struct door_socket *s = e->value;
        bool absent = map_get(&d->absent, DOOR_NAME(s->bind.name)) != NULL, free_now = absent && socket_is_free(d, s);
        any |= free_now;
        left |= absent && !free_now;
    }
    if (any)
        door_shape_again(d);
    else if (left)
        timer_set(&d->binds, AGAIN_NS);
}

void door_binds_init(struct door *d)
{
    timer_init(&d->binds, d->loop, binds_again);
}

void door_binds_fini(struct door *d)
{
    timer_stop(&d->binds);
    map_fini(&d->absent);
}
