#include "server/room.h"
#include "base/map.h"

enum { LITTLE = 4096 }; /* bytes by which a small change may grow an object */

struct share {
    size_t bytes;
};
struct room {
    size_t objects, objects_most, bytes, bytes_most;
    struct map shares; /* namespace -> struct share; those that hold something */
};

struct room *room_new(size_t objects_most, size_t bytes_most)
{
    struct room *m = NEW(struct room);
    m->objects_most = objects_most;
    m->bytes_most = bytes_most;
    return m;
}

void room_free(struct room *m)
{
    if (!m)
        return;
    map_each (it, &m->shares)
        mem_free(it->value);
    map_fini(&m->shares);
    mem_free(m);
}

size_t room_bytes(const struct room *m)
{
    return m->bytes;
}

static void share_add(struct room *m, const struct obj *o)
{
    struct share *s = map_get(&m->shares, o->ns);
    if (!s) {
        s = NEW(struct share);
        (void)map_put(&m->shares, o->ns, s);
    }
    s->bytes += o->bytes;
    m->bytes += o->bytes;
    m->objects++;
}

static void share_take(struct room *m, const struct obj *o)
{
    struct share *s = map_get(&m->shares, o->ns);
    ASSERT(s && s->bytes >= o->bytes && m->objects);
    s->bytes -= o->bytes;
    m->bytes -= o->bytes;
    m->objects--;
    if (!s->bytes)
        mem_free(map_del(&m->shares, o->ns));
}

void room_changed(struct room *m, const struct obj *was, const struct obj *now)
{
    if (now && now->kind != K(Event))
        share_add(m, now);
    if (was && was->kind != K(Event))
        share_take(m, was);
}

enum room_use room_use_of(const struct obj *was, const struct obj *now, bool of_status)
{
    const struct kind *k = now->kind;
    bool small = now->bytes <= (was ? was->bytes : 0) + LITTLE;
    bool of_a_node = k == K(Node) || (k == K(Lease) && str_eqz(now->ns, "kube-node-lease") && small);
    bool told_to_go = was && small && obj_deleting(now) && !obj_deleting(was);
    if (k == K(Event) || of_a_node || told_to_go)
        return ROOM_DUTY;
    if (!was)
        return ROOM_ANY;
    return of_status ? ROOM_STATUS : small ? ROOM_SMALL : ROOM_ANY;
}

bool room_fits(const struct room *m, const struct obj *was, const struct obj *now, enum room_use use, struct err *err)
{
    if (use == ROOM_DUTY || (was && now->bytes <= was->bytes))
        return true;
    if (!was && m->objects >= m->objects_most)
        return err_set(err, E_UNAVAILABLE,
                       "%zu objects are stored, which is the bound (setting max-objects): delete some first",
                       m->objects);
    size_t growth = now->bytes - (was ? was->bytes : 0), half = m->bytes_most / 2;
    size_t more = use == ROOM_STATUS ? m->bytes_most / 8 : use == ROOM_SMALL ? m->bytes_most / 16 : 0;
    if (m->bytes + growth > m->bytes_most + more)
        return err_set(
            err, E_UNAVAILABLE,
            "%zu MiB of objects are stored, and the bound is %zu MiB (setting max-stored-mib): delete some "
            "first",
            m->bytes >> 20, m->bytes_most >> 20);
    const struct share *s = map_get(&m->shares, now->ns);
    if (now->ns.n && (s ? s->bytes : 0) + growth > half + more / 2)
        return err_set(err, E_FORBIDDEN,
                       "namespace " STR_FMT
                       " holds %zu MiB of objects, and one may hold %zu MiB (half of the setting "
                       "max-stored-mib): delete some first",
                       STR_ARG(now->ns), (s ? s->bytes : 0) >> 20, half >> 20);
    return true;
}
