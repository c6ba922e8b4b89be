/* Slots: backends of the shape that pools are put into. Some of the most usual kind stand ready, so that a new pool
 * needs no reload; another kind is made with the next shape. A slot that a pool has left is nobody's until everything
 * that led to it is gone from the proxy; and who starts anew finds every pool in the slot that it had, as the proxy's
 * maps still lead there. */
#include "base/log.h"
#include "edge/door_state.h"
#include "sys/file.h"
#include <fcntl.h>

#define SPARES     16
#define SPARES_LOW 4
#define FILE_MOST  (16 << 20)

struct door_slot *door_slot_of(struct door *d, size_t slot)
{
    return &d->slots.p[slot - 1];
}

static struct door_slot *slot_add(struct door *d, struct str kind)
{
    struct door_slot s = {.kind = str_dup(&d->own, kind)};
    snprintf(s.name, sizeof s.name, "b%zu", d->slots.n + 1);
    array_push(&d->slots, s);
    d->shape_changed = true;
    return &d->slots.p[d->slots.n - 1];
}

size_t door_slot_take(struct door *d, struct str key, struct str kind)
{
    struct door_name owner = door_name_of('p', key);
    struct door_slot *found = NULL;
    array_each (s, &d->slots) {
        bool had = !s->used && !strcmp(s->owner.z, owner.z), free = !s->used && !s->owner.z[0];
        if (!str_eq(s->kind, kind) || !(had || free))
            continue;
        if (had || !found)
            found = s;
        if (had)
            break;
    }
    if (!found)
        found = slot_add(d, kind);
    found->used = true;
    found->owner = owner;
    found->left = 0;
    d->slots_changed = true;
    return (size_t)(found - d->slots.p) + 1;
}

void door_slot_leave(struct door *d, size_t slot)
{
    struct door_slot *s = door_slot_of(d, slot);
    s->used = false;
    s->left = UINT64_MAX; /* with the commit that comes */
}

void door_spares_keep(struct door *d)
{
    size_t spare = 0, used = 0;
    array_each (s, &d->slots) {
        spare += !s->used && !s->owner.z[0] && str_eqz(s->kind, door_kind_plain);
        used += s->used;
    }
    if (spare >= SPARES_LOW)
        return;
    for (size_t want = SPARES + used / 4; spare < want; spare++)
        (void)slot_add(d, str_of(door_kind_plain));
    d->slots_changed = true;
}

void door_slots_committed(struct door *d, uint64_t revision)
{
    array_each (s, &d->slots)
        if (s->left == UINT64_MAX)
            s->left = revision;
}

void door_slots_applied(struct door *d, uint64_t revision)
{
    array_each (s, &d->slots)
        if (!s->used && s->owner.z[0] && s->left <= revision) {
            s->owner = (struct door_name){0};
            d->slots_changed = true;
        }
}

/* --- what outlives us: a line "OWNER LENGTH" a slot, then its kind --- */

void door_slots_keep(struct door *d)
{
    if (!d->slots_changed)
        return;
    AUTO(strbuf_fini) struct strbuf b = STRBUF(FILE_MOST);
    AUTO(arena_fini) struct arena a = ARENA;
    struct err err = ERR;
    array_each (s, &d->slots)
        strbuf_addf(&b, "%s %zu\n" STR_FMT, s->owner.z[0] ? s->owner.z : "-", s->kind.n, STR_ARG(s->kind));
    const char *path = arena_strz(&a, STR_JOIN(&a, d->config.run, S("/slots")));
    d->slots_changed = false;
    if (b.over || !file_replace(AT_FDCWD, path, strbuf_str(&b), 0600, &err))
        log_warn("door.slots", "after a restart pools change their places: error=\"%s\"", err.text);
}

void door_slots_load(struct door *d)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(FILE_MOST);
    AUTO(arena_fini) struct arena a = ARENA;
    struct err err = ERR;
    const char *path = arena_strz(&a, STR_JOIN(&a, d->config.run, S("/slots")));
    if (!file_read(AT_FDCWD, path, &b, &err))
        return; /* the first life */
    struct str rest = strbuf_str(&b), line, owner, length;
    int64_t n;
    while (rest.n && str_split(rest, '\n', &line, &rest) && str_split(line, ' ', &owner, &length) &&
           str_to_i64(length, 0, (int64_t)rest.n, &n) && owner.n <= DOOR_NAME_LEN) {
        struct door_slot *s = slot_add(d, str_sub(rest, 0, (size_t)n));
        if (!str_eqz(owner, "-"))
            memcpy(s->owner.z, owner.p, owner.n);
        s->left = UINT64_MAX;
        rest = str_sub(rest, (size_t)n, rest.n);
    }
}
