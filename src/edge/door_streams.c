/* Streams: which backend a connection goes to, by the name that its TLS asks for, or by where it came in. */
#include "edge/door_state.h"

struct stream_entry { /* of a map; the oldest stream for a host has it */
    struct str map, key, value;
    const struct door_stream *stream;
};
struct stream_list {
    struct map known; /* "MAP KEY" -> entry */
    struct arena own;
};

static bool is_older(const struct door_stream *a, const struct door_stream *b)
{
    return a->created != b->created ? a->created < b->created : str_cmp(a->owner, b->owner) < 0;
}

static void entry_want(struct stream_list *l, struct str map, struct str key, struct str value,
                       const struct door_stream *s)
{
    struct str name = STR_JOIN(&l->own, map, S(" "), key);
    struct stream_entry *have = map_get(&l->known, name);
    if (have && have->stream && (!s || is_older(have->stream, s)))
        return;
    struct stream_entry *e = have ? have : ARENA_NEW(&l->own, struct stream_entry);
    *e = (struct stream_entry){map, key, str_dup(&l->own, value), s};
    map_put(&l->known, name, e);
}

/* maps: "s" where the name is read from outside, "t" where TLS has been ended. */
static void host_want(struct stream_list *l, const struct door_bind *b, const char *maps, struct door_host_name n,
                      struct str value, const struct door_stream *s)
{
    static const char letters[] = {
        [DOOR_HOST_EXACT] = 'h', [DOOR_HOST_ONE] = 'w', [DOOR_HOST_DEEP] = 'd', [DOOR_HOST_ALL] = 'a'};
    struct str map = arena_fmt(&l->own, "%s%c_%s", maps, letters[n.kind], b->name.z);
    struct str key = n.kind == DOOR_HOST_ALL ? S("any") : str_dup(&l->own, n.suffix);
    entry_want(l, map, key, value, s);
    if (n.kind == DOOR_HOST_DEEP)
        entry_want(l, arena_fmt(&l->own, "%sw_%s", maps, b->name.z), key, value, s);
}

static void stream_place(struct door *d, struct stream_list *l, struct door_source *from, const struct door_stream *s)
{
    struct err err = ERR;
    struct door_host_name n;
    const struct door_listener *at = door_listener_find(d, s->listener);
    if (!at)
        return; /* it comes with another source, or it was told of */
    const struct door_bind *b = &door_socket_of(d, at)->bind;
    if (at->protocol != DOOR_TLS && at->protocol != DOOR_TCP)
        err_set(&err, E_INVALID, "the listener " STR_FMT " takes requests, no streams", STR_ARG(s->listener));
    else if (door_host_within(at, at->protocol == DOOR_TCP ? S("") : s->host, s->host_deep, &n, &err)) {
        const char *backend = door_backend_for(d, s->pool, str_of(door_kind_stream));
        map_put(&d->stream_users, STR_JOIN(&l->own, str_of(door_kind_stream), S("\n\n"), s->pool), d);
        host_want(l, b, at->protocol == DOOR_TLS && at->terminate ? "t" : "s", n, str_of(backend), s);
        return;
    }
    if (d->events.refused)
        d->events.refused(d->arg, from->name, s->host, &err);
}

/* Where several are behind one socket, hosts of listeners lead to those that end TLS. */
static void inner_want(struct stream_list *l, const struct door_socket *s)
{
    const struct door_bind *b = &s->bind;
    array_each (x, &s->listeners) {
        bool ends = (*x)->protocol == DOOR_HTTPS || ((*x)->protocol == DOOR_TLS && (*x)->terminate);
        struct door_host_name n;
        struct err err = ERR;
        if (ends && door_host_within(*x, (*x)->hostname, true, &n, &err))
            host_want(l, b, "s", n, arena_fmt(&l->own, "i%c_%s", (*x)->protocol == DOOR_HTTPS ? 'h' : 't', b->name.z),
                      NULL);
    }
    if (b->has & DOOR_HAS_HTTPS)
        host_want(l, b, "s", (struct door_host_name){DOOR_HOST_ALL, S("")}, arena_fmt(&l->own, "ih_%s", b->name.z),
                  NULL);
}

void door_streams_put(struct door *d)
{
    struct stream_list l = {0};
    map_fini(&d->stream_users);
    d->stream_users = MAP;
    map_each (e, &d->sources) {
        struct door_source *s = e->value;
        array_each (x, &s->part.streams)
            stream_place(d, &l, s, x);
    }
    map_each (e, &d->sockets)
        inner_want(&l, e->value);
    map_each (e, &l.known) {
        const struct stream_entry *x = e->value;
        struct err err = ERR;
        char map[64];
        snprintf(map, sizeof map, STR_FMT, STR_ARG(x->map));
        if (!haproxy_map_put(d->proxy, map, x->key, x->value, &err) && d->events.failed)
            d->events.failed(d->arg, &err);
    }
    map_each (e, &d->streams) {
        struct str map, key;
        AUTO(arena_fini) struct arena a = ARENA;
        if (map_get(&l.known, e->key))
            continue;
        str_split(e->key, ' ', &map, &key);
        haproxy_map_del(d->proxy, arena_strz(&a, map), key);
        map_del(&d->streams, e->key);
    }
    map_each (e, &l.known)
        map_put(&d->streams, e->key, d);
    map_fini(&l.known);
    arena_fini(&l.own);
}

void door_streams_use(struct door *d)
{
    map_each (e, &d->stream_users) {
        struct door_backend *b = map_get(&d->backends, e->key);
        if (b)
            b->users++;
    }
}
