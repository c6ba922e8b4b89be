/* The list at rest: what entries say is interned, as the objects of one owner say the same. */
#include "api/managed.h"
#include "api/codec_int.h"
#include "base/clock.h"
#include "wire/json.h"
#include "wire/pb.h"
#include <pthread.h>
#include <stdlib.h>

/* --- what entries say, once --- */

static pthread_mutex_t words_lock = PTHREAD_MUTEX_INITIALIZER;
static struct managed_words **words_table; /* chains by hash */
static size_t words_n, words_room;

static uint64_t words_hash(bool apply, struct str manager, struct str api, struct str sub, struct str fields)
{
    uint64_t h = apply;
    const struct str parts[] = {manager, api, sub, fields};
    for (size_t i = 0; i < countof(parts); i++)
        h = (h ^ str_hash(parts[i])) * 0x9e3779b97f4a7c15ULL;
    return h ^ h >> 32;
}

static struct str words_manager(const struct managed_words *w)
{
    return (struct str){w->text, w->nmanager};
}

static struct str words_api(const struct managed_words *w)
{
    return (struct str){w->text + w->nmanager + 1, w->napi};
}

static struct str words_sub(const struct managed_words *w)
{
    return (struct str){w->text + w->nmanager + w->napi + 2, w->nsub};
}

static struct str words_fields(const struct managed_words *w)
{
    return (struct str){w->text + w->nmanager + w->napi + w->nsub + 3, w->nfields};
}

static size_t words_bytes(const struct managed_words *w)
{
    return sizeof *w + (size_t)w->nmanager + w->napi + w->nsub + w->nfields + 4;
}

static void table_grow(void) /* locked */
{
    size_t room = words_room ? words_room * 2 : 256;
    struct managed_words **table = mem_alloc(room * sizeof *table);
    for (size_t i = 0; i < words_room; i++)
        for (struct managed_words *w = words_table[i], *next; w; w = next) {
            next = w->next;
            w->next = table[w->hash & (room - 1)];
            table[w->hash & (room - 1)] = w;
        }
    mem_free(words_table);
    words_table = table;
    words_room = room;
}

static const struct managed_words *words_of(bool apply, struct str manager, struct str api, struct str sub,
                                            struct str fields)
{
    uint64_t hash = words_hash(apply, manager, api, sub, fields);
    pthread_mutex_lock(&words_lock);
    if (words_n >= words_room)
        table_grow();
    struct managed_words **slot = &words_table[hash & (words_room - 1)], *w = *slot;
    for (; w; w = w->next)
        if (w->hash == hash && w->apply == apply && str_eq(words_fields(w), fields) &&
            str_eq(words_manager(w), manager) && str_eq(words_api(w), api) && str_eq(words_sub(w), sub))
            break;
    if (!w) {
        const struct str parts[] = {manager, api, sub, fields};
        w = mem_alloc(sizeof *w + manager.n + api.n + sub.n + fields.n + countof(parts));
        *w = (struct managed_words){.apply = apply,
                                    .hash = hash,
                                    .nmanager = (uint32_t)manager.n,
                                    .napi = (uint32_t)api.n,
                                    .nsub = (uint32_t)sub.n,
                                    .nfields = (uint32_t)fields.n,
                                    .next = *slot};
        char *to = w->text;
        for (size_t i = 0; i < countof(parts); i++) {
            if (parts[i].n)
                memcpy(to, parts[i].p, parts[i].n);
            to += parts[i].n;
            *to++ = 0;
        }
        *slot = w;
        words_n++;
    }
    w->refs++;
    pthread_mutex_unlock(&words_lock);
    return w;
}

static const struct managed_words *words_ref(const struct managed_words *shared)
{
    struct managed_words *w = (struct managed_words *)shared;
    pthread_mutex_lock(&words_lock);
    w->refs++;
    pthread_mutex_unlock(&words_lock);
    return w;
}

static void words_unref(const struct managed_words *shared)
{
    struct managed_words *w = (struct managed_words *)shared;
    pthread_mutex_lock(&words_lock);
    bool last = --w->refs == 0;
    if (last) {
        struct managed_words **at = &words_table[w->hash & (words_room - 1)];
        while (*at != w)
            at = &(*at)->next;
        *at = w->next;
        words_n--;
        if (!words_n) {
            mem_free(TAKE(words_table));
            words_room = 0;
        }
    }
    pthread_mutex_unlock(&words_lock);
    if (last)
        mem_free(w);
}

size_t managed_words_alive(void)
{
    pthread_mutex_lock(&words_lock);
    size_t n = words_n;
    pthread_mutex_unlock(&words_lock);
    return n;
}

/* --- lists --- */

const struct managed *managed_ref(const struct managed *m)
{
    if (m)
        (void)__atomic_add_fetch(&((struct managed *)m)->refs, 1, __ATOMIC_RELAXED);
    return m;
}

void managed_unref(const struct managed *shared)
{
    struct managed *m = (struct managed *)shared;
    if (!m || __atomic_sub_fetch(&m->refs, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    for (uint32_t i = 0; i < m->n; i++)
        words_unref(m->e[i].words);
    mem_free(m);
}

bool managed_equal(const struct managed *a, const struct managed *b, bool times)
{
    if (a == b || !a || !b)
        return a == b;
    if (a->n != b->n)
        return false;
    for (uint32_t i = 0; i < a->n; i++) {
        if (times ? a->e[i].words != b->e[i].words || a->e[i].time != b->e[i].time : false)
            return false;
        bool found = false;
        for (uint32_t j = 0; j < b->n && !found; j++)
            found = a->e[i].words == b->e[j].words;
        if (!found)
            return false;
    }
    return true;
}

size_t managed_bytes(const struct managed *m)
{
    size_t n = m ? sizeof *m + m->n * sizeof *m->e : 0;
    for (uint32_t i = 0; m && i < m->n; i++)
        n += m->e[i].words->refs == 1 ? words_bytes(m->e[i].words) : 0;
    return n;
}

/* --- encodings --- */

void managed_json(struct strbuf *b, const struct managed *m)
{
    strbuf_addc(b, '[');
    for (uint32_t i = 0; m && i < m->n; i++) {
        const struct managed_words *w = m->e[i].words;
        strbuf_addz(b, i ? ",{\"manager\":" : "{\"manager\":");
        json_add_string(b, words_manager(w));
        strbuf_addz(b, w->apply ? ",\"operation\":\"Apply\",\"apiVersion\":"
                                : ",\"operation\":\"Update\",\"apiVersion\":");
        json_add_string(b, words_api(w));
        if (m->e[i].time != MANAGED_NO_TIME) {
            strbuf_addz(b, ",\"time\":\"");
            gotime_add(b, m->e[i].time, 0, false);
            strbuf_addc(b, '"');
        }
        strbuf_addz(b, ",\"fieldsType\":\"FieldsV1\",\"fieldsV1\":");
        strbuf_add(b, words_fields(w));
        if (w->nsub) {
            strbuf_addz(b, ",\"subresource\":");
            json_add_string(b, words_sub(w));
        }
        strbuf_addc(b, '}');
    }
    strbuf_addc(b, ']');
}

void managed_pb(struct strbuf *b, uint32_t number, const struct managed *m)
{
    for (uint32_t i = 0; m && i < m->n; i++) {
        const struct managed_words *w = m->e[i].words;
        size_t entry = pb_open(b, number);
        pb_add_bytes(b, 1, words_manager(w));
        pb_add_bytes(b, 2, w->apply ? S("Apply") : S("Update"));
        pb_add_bytes(b, 3, words_api(w));
        if (m->e[i].time != MANAGED_NO_TIME) {
            size_t at = pb_open(b, 4);
            pb_add_tag(b, 1, PB_VARINT);
            pb_add_varint(b, (uint64_t)m->e[i].time);
            pb_add_tag(b, 2, PB_VARINT);
            pb_add_varint(b, 0);
            pb_close(b, at);
        }
        pb_add_bytes(b, 6, S("FieldsV1"));
        size_t fields = pb_open(b, 7);
        pb_add_bytes(b, 1, words_fields(w));
        pb_close(b, fields);
        pb_add_bytes(b, 8, words_sub(w));
        pb_close(b, entry);
    }
}

struct val managed_val(struct arena *a, const struct managed *m)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(UINT32_MAX / 2);
    struct val out = val_list();
    struct err err = ERR;
    managed_json(&b, m);
    ASSERT(json_decode(a, strbuf_str(&b), &out, &err));
    return out;
}

/* --- opened --- */

static struct owner *owners_add(struct owners *m)
{
    if (m->n == m->room) {
        size_t room = m->room ? m->room * 2 : 8;
        struct owner *p = arena_alloc(m->a, room * sizeof *p);
        if (m->n)
            memcpy(p, m->p, m->n * sizeof *p);
        m->p = p;
        m->room = room;
    }
    m->p[m->n] = (struct owner){.time = MANAGED_NO_TIME};
    return &m->p[m->n++];
}

static struct owner *owners_find(struct owners *m, struct str name, bool apply, struct str api, struct str sub)
{
    for (size_t i = 0; i < m->n; i++) {
        struct owner *x = &m->p[i];
        if (x->apply == apply && str_eq(x->name, name) && str_eq(x->sub, sub) &&
            (apply || str_eq(x->api_version, api)))
            return x;
    }
    return NULL;
}

struct owners owners_open(struct arena *a, const struct managed *m)
{
    struct owners out = {.a = a};
    for (uint32_t i = 0; m && i < m->n; i++) {
        const struct managed_words *w = m->e[i].words;
        *owners_add(&out) = (struct owner){.name = words_manager(w),
                                           .api_version = words_api(w),
                                           .sub = words_sub(w),
                                           .apply = w->apply,
                                           .time = m->e[i].time,
                                           .words = w};
    }
    return out;
}

static struct fieldset *owner_set(struct owners *m, struct owner *x)
{
    struct err err = ERR;
    if (!x->read && x->words)
        ASSERT(fieldset_read(m->a, words_fields(x->words), &x->set, &err));
    x->read = true;
    return &x->set;
}

static void owner_set_to(struct owner *x, struct fieldset set)
{
    if (x->read && x->words && fieldset_equal(&x->set, &set))
        return;
    x->set = set;
    x->read = true;
    x->words = NULL;
}

bool owners_of_val(struct arena *a, const struct val *list, struct owners *out, struct err *err)
{
    *out = (struct owners){.a = a};
    size_t i = 0;
    val_each_item (it, list) {
        struct str operation = val_text_at(it, N(operation)), api = val_text_at(it, N(apiVersion));
        struct str type = val_text_at(it, N(fieldsType));
        const struct val *fields = val_get(it, N(fieldsV1));
        bool apply = str_eqz(operation, "Apply");
        if (!apply && !str_eqz(operation, "Update"))
            return err_set(err, E_BAD_REQUEST, "operation must be `Apply` or `Update`");
        if (!api.n)
            return err_set(err, E_BAD_REQUEST, "apiVersion must not be empty");
        if (!str_eqz(type, "FieldsV1"))
            return err_set(err, E_BAD_REQUEST, "%s fieldsType in managed fields entry %zu",
                           type.n ? "invalid" : "missing", i);
        AUTO(strbuf_fini) struct strbuf json = STRBUF(UINT32_MAX / 2);
        if (fields && fields->type != VAL_NULL)
            json_encode(&json, fields);
        else
            strbuf_addz(&json, "{}");
        struct fieldset set;
        if (!fieldset_read(a, str_dup(a, strbuf_str(&json)), &set, err))
            return false;
        struct str name = val_text_at(it, N(manager)), sub = val_text_at(it, N(subresource));
        struct owner *x = owners_find(out, name, apply, api, sub);
        if (!x)
            x = owners_add(out);
        int64_t seconds;
        int32_t nanos;
        struct str time = val_text_at(it, N(time));
        struct err no_time = ERR;
        if (!time.n || !gotime_parse(time, false, &seconds, &nanos, &no_time))
            seconds = MANAGED_NO_TIME;
        *x = (struct owner){
            .name = name, .api_version = api, .sub = sub, .apply = apply, .time = seconds, .read = true, .set = set};
        i++;
    }
    return true;
}

static int64_t owner_seconds(const struct owner *x)
{
    return x->time == MANAGED_NO_TIME ? 0 : x->time;
}

static int owner_cmp(const struct owner *a, const struct owner *b)
{
    int c = str_cmp(a->name, b->name);
    c = c ? c : str_cmp(a->api_version, b->api_version);
    return c ? c : str_cmp(a->sub, b->sub);
}

static int older_cmp(const struct owner *a, const struct owner *b)
{
    int64_t ta = owner_seconds(a), tb = owner_seconds(b);
    return ta != tb ? (ta > tb) - (ta < tb) : owner_cmp(a, b);
}

static int listed_cmp(const void *x, const void *y)
{
    const struct owner *a = x, *b = y;
    return a->apply != b->apply ? (a->apply ? -1 : 1) : older_cmp(a, b);
}

const struct managed *owners_close(struct owners *m)
{
    if (!m->n)
        return NULL;
    AUTO(strbuf_fini) struct strbuf fields = STRBUF(UINT32_MAX / 2);
    struct managed *out = mem_alloc(sizeof *out + m->n * sizeof *out->e);
    *out = (struct managed){.refs = 1, .n = (uint32_t)m->n};
    qsort(m->p, m->n, sizeof *m->p, listed_cmp);
    for (size_t i = 0; i < m->n; i++) {
        struct owner *x = &m->p[i];
        strbuf_reset(&fields);
        if (!x->words)
            fieldset_write(&fields, &x->set);
        out->e[i] = (struct managed_entry){
            x->time, x->words ? words_ref(x->words)
                              : words_of(x->apply, x->name, x->api_version, x->sub, strbuf_str(&fields))};
    }
    return out;
}

const struct managed *managed_of_val(const struct val *list)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct owners m;
    struct err err = ERR;
    return owners_of_val(&a, list, &m, &err) ? owners_close(&m) : NULL;
}

bool managed_parse(struct str json, const struct managed **own_out, struct err *err)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct val list;
    struct owners m;
    if (!json_decode(&a, json, &list, err) || !owners_of_val(&a, &list, &m, err))
        return false;
    *own_out = owners_close(&m);
    return true;
}

/* --- what a write changes --- */

/* What the server does not take from whoever writes counts for nothing. */
static struct fieldset fields_taken(struct arena *a, const struct fieldset *s, const char *const *path)
{
    struct fieldset out = {0};
    for (uint32_t i = 0; i < s->n; i++) {
        struct fieldset_node n = s->nodes[i];
        bool any = !strcmp(path[0], "*");
        if (!any && (n.step.kind != STEP_FIELD || !str_eqz((struct str){n.step.p, n.step.n}, path[0])))
            continue;
        if (path[1])
            n.below = fields_taken(a, &n.below, path + 1);
        *fieldset_step(a, &out, n.step) = n;
    }
    fieldset_done(a, &out);
    return out;
}

static struct fieldset fields_counted(const struct managing *g, const struct fieldset *s)
{
    struct fieldset out = g->resets ? fieldset_without_below(g->a, s, g->resets) : *s;
    if (!g->takes)
        return out;
    struct fieldset some = {0};
    for (const char *const *const *path = g->takes; *path; path++) {
        struct fieldset taken = fields_taken(g->a, &out, *path);
        some = fieldset_union(g->a, &some, &taken);
    }
    return some;
}

static struct apply_changes changes_counted(const struct managing *g, const struct apply_changes *c)
{
    return (struct apply_changes){fields_counted(g, &c->changed), fields_counted(g, &c->removed)};
}

/* What nobody owns. */
static struct fieldset fields_owned(struct arena *a, const struct fieldset *s)
{
    static const char *const bare[][2] = {
        {"apiVersion"},
        {"kind"},
        {"metadata"},
        {"metadata", "name"},
        {"metadata", "namespace"},
        {"metadata", "creationTimestamp"},
        {"metadata", "selfLink"},
        {"metadata", "uid"},
        {"metadata", "clusterName"},
        {"metadata", "generation"},
        {"metadata", "managedFields"},
        {"metadata", "resourceVersion"},
    };
    struct fieldset nobodys = {0};
    for (size_t i = 0; i < countof(bare); i++)
        fieldset_add_fields(a, &nobodys, bare[i], bare[i][1] ? 2 : 1);
    return fieldset_without(a, s, &nobodys);
}

/* The changes as another version tells them; false: there is none of that name. */
static bool changes_as(const struct managing *g, struct str api_version, const struct val *now, bool raw,
                       struct apply_changes *out)
{
    const struct type *t = NULL;
    const struct val *was = NULL, *then = g->versions ? g->versions->as(g->versions, api_version, now, &t) : NULL;
    if (!then)
        return false;
    if (g->was)
        was = g->versions->as(g->versions, api_version, g->was, &t);
    struct apply_changes c = apply_compare(g->a, t, was, then, raw);
    *out = changes_counted(g, &c);
    return true;
}

/* Changes by version: most writes know one. */
struct version_told {
    struct str api_version;
    bool known;
    struct apply_changes changes;
};
struct owners_telling {
    const struct managing *g;
    const struct val *now;
    bool raw;
    struct version_told told[8];
    size_t n;
};

static bool telling_as(struct owners_telling *t, struct str api_version, struct apply_changes *out)
{
    for (size_t i = 0; i < t->n; i++)
        if (str_eq(t->told[i].api_version, api_version)) {
            *out = t->told[i].changes;
            return t->told[i].known;
        }
    struct version_told now = {.api_version = api_version};
    now.known = changes_as(t->g, api_version, t->now, t->raw, &now.changes);
    if (t->n < countof(t->told))
        t->told[t->n++] = now;
    *out = now.changes;
    return now.known;
}

static struct owners_telling telling_of(const struct managing *g, const struct val *now, bool raw,
                                        struct apply_changes *all)
{
    *all = apply_compare(g->a, g->type, g->was, now, raw);
    struct owners_telling t = {.g = g, .now = now, .raw = raw, .n = 1};
    t.told[0] = (struct version_told){g->api_version, true, changes_counted(g, all)};
    return t;
}

/* Of all but `self`: what changed is not theirs any more, and what is not there is nobody's. */
static void owners_lose(struct owners *m, struct owners_telling *t, const struct owner *self)
{
    size_t keep = 0;
    for (size_t i = 0; i < m->n; i++) {
        struct owner x = m->p[i];
        struct apply_changes c;
        bool is_self = self == &m->p[i];
        if (!is_self) {
            if (!telling_as(t, x.api_version, &c))
                continue;
            if (c.changed.n || c.removed.n) {
                struct fieldset set = *owner_set(m, &x);
                set = fieldset_without(m->a, &set, &c.changed);
                owner_set_to(&x, fieldset_without(m->a, &set, &c.removed));
            }
        }
        if ((x.read && !x.words && fieldset_empty(&x.set)))
            continue;
        m->p[keep++] = x;
    }
    m->n = keep;
}

enum { UPDATERS_MOST = 10 };

static int updater_cmp(const void *x, const void *y)
{
    return older_cmp(*(struct owner *const *)x, *(struct owner *const *)y);
}

/* The oldest entries of updates become one, a version each, where there are too many. */
static void owners_cap(struct owners *m)
{
    size_t n = 0, first = 0;
    struct owner **old = arena_alloc(m->a, (m->n + 1) * sizeof *old);
    for (size_t i = 0; i < m->n; i++)
        if (!m->p[i].apply)
            old[n++] = &m->p[i];
    if (n <= UPDATERS_MOST)
        return;
    qsort(old, n, sizeof *old, updater_cmp);
    bool *gone = arena_alloc(m->a, m->n * sizeof *gone);
    size_t left = n;
    for (size_t i = 0; i < n && left > UPDATERS_MOST; i++) {
        struct owner *into = NULL;
        for (size_t k = first; k < i && !into; k++)
            if (!gone[old[k] - m->p] && str_eq(old[k]->api_version, old[i]->api_version))
                into = old[k];
        if (!into)
            continue;
        struct fieldset *a = owner_set(m, into), *b = owner_set(m, old[i]);
        struct fieldset both = fieldset_union(m->a, a, b);
        *into = (struct owner){.name = S("ancient-changes"),
                               .api_version = into->api_version,
                               .time = old[i]->time,
                               .read = true,
                               .set = both};
        gone[old[i] - m->p] = true;
        left--;
    }
    size_t keep = 0;
    for (size_t i = 0; i < m->n; i++)
        if (!gone[i])
            m->p[keep++] = m->p[i];
    m->n = keep;
}

/* The object was written by this manager: what it changed is its own. */
static void owners_gain(const struct managing *g, struct owners *m, struct str who, const struct fieldset *changed)
{
    struct fieldset set = fields_owned(g->a, changed);
    if (fieldset_empty(&set))
        return;
    struct owner *x = owners_find(m, who, false, g->api_version, g->sub);
    if (x) {
        set = fieldset_union(g->a, &set, owner_set(m, x));
        owner_set_to(x, set);
    } else {
        x = owners_add(m);
        *x = (struct owner){.name = who, .api_version = g->api_version, .sub = g->sub, .read = true, .set = set};
    }
    x->time = g->now;
}

static void owners_update(const struct managing *g, struct owners *m, const struct val *now, struct str who)
{
    struct apply_changes all;
    struct owners_telling t = telling_of(g, now, false, &all);
    struct apply_changes *mine = &t.told[0].changes;
    owners_lose(m, &t, NULL);
    owners_gain(g, m, who, &mine->changed);
    owners_cap(m);
}

static bool is_reset(const struct val *sent)
{
    if (!val_is(sent, VAL_LIST) || sent->n > 1)
        return false;
    if (sent->n == 0)
        return true;
    const struct val *one = &sent->list[0];
    val_each_member (x, one)
        if (x->v.type != VAL_NULL && (x->v.type != VAL_STRING || x->v.n))
            return false;
    return one->type == VAL_MAP || one->type == VAL_NULL;
}

static struct str owner_named(const struct managing *g)
{
    return g->manager.n ? g->manager : S("unknown");
}

void manage_update_open(const struct managing *g, const struct val *now, struct owners *m)
{
    if (!m->n && g->was)
        return; /* its fields are not tracked, until somebody applies */
    owners_update(g, m, now, owner_named(g));
}

void manage_update(const struct managing *g, const struct managed *have, const struct val *now,
                   const struct val *sent, struct owners *out)
{
    struct err err = ERR;
    *out = owners_open(g->a, have);
    if (!g->sub.n && is_reset(sent))
        *out = (struct owners){.a = g->a};
    else if (!g->sub.n && val_len(sent)) {
        struct owners said;
        if (owners_of_val(g->a, sent, &said, &err) && said.n)
            *out = said;
    }
    manage_update_open(g, now, out);
}

/* --- apply --- */

/* What only this manager applied, and applies no more, goes; but not what others, or the server, put below it. */
static struct val fields_pruned(const struct managing *g, struct owners *m, const struct val *merged,
                                const struct fieldset *last)
{
    struct arena *a = g->a;
    const struct type *t = g->type;
    struct fieldset owned = {0};
    for (size_t i = 0; i < m->n; i++)
        if (m->p[i].apply)
            owned = fieldset_union(a, &owned, owner_set(m, &m->p[i]));
    struct fieldset had = fieldset_with_fields(a, last, t);
    owned = fieldset_with_fields(a, &owned, t);
    struct fieldset given_up = fieldset_without(a, &had, &owned);
    if (fieldset_empty(&given_up))
        return *merged;
    struct fieldset all = apply_fields(a, t, merged);
    struct val some = apply_remove(a, t, merged, &had);
    struct fieldset left = apply_fields(a, t, &some);
    all = fieldset_with_fields(a, &all, t);
    left = fieldset_with_fields(a, &left, t);
    left = fieldset_union(a, &left, &owned);
    struct fieldset gone = fieldset_without(a, &all, &left);
    some = apply_remove(a, t, merged, &gone);
    left = apply_fields(a, t, &some);
    left = fieldset_with_fields(a, &left, t);
    gone = fieldset_without(a, &all, &left);
    gone = fieldset_common(a, &gone, &had);
    return apply_remove(a, t, merged, &gone);
}

struct conflicting {
    struct arena *a;
    ARRAY(struct conflict) list;
    const struct owner *with;
};

static void conflict_found(void *arg, struct str path)
{
    struct conflicting *c = arg;
    array_push(&c->list, ((struct conflict){c->with, str_dup(c->a, path), c->list.n}));
}

static int conflict_cmp(const void *x, const void *y)
{
    const struct conflict *cx = x, *cy = y;
    const struct owner *a = cx->with, *b = cy->with;
    if (a == b) /* as they came */
        return (cx->order > cy->order) - (cx->order < cy->order);
    int c = str_cmp(a->name, b->name);
    c = c ? c : (int)b->apply - (int)a->apply;
    return c ? c : owner_cmp(a, b);
}

static struct fieldset conflicts_find(const struct managing *g, struct owners *m, struct owners_telling *t,
                                      const struct owner *self, struct applying *done)
{
    struct conflicting c = {.a = g->a};
    struct fieldset all = {0};
    for (size_t i = 0; i < m->n; i++) {
        struct apply_changes changes;
        struct owner *x = &m->p[i];
        if (x == self || !telling_as(t, x->api_version, &changes) || !changes.changed.n)
            continue;
        struct fieldset both = fieldset_common(g->a, owner_set(m, x), &changes.changed);
        all = fieldset_union(g->a, &all, &both);
        c.with = arena_dup(g->a, x, sizeof *x);
        fieldset_each(&both, conflict_found, &c);
    }
    done->nconflicts = c.list.n;
    done->conflicts = arena_dup(g->a, c.list.p, c.list.n * sizeof *c.list.p);
    array_fini(&c.list);
    if (done->nconflicts)
        qsort(done->conflicts, done->nconflicts, sizeof *done->conflicts, conflict_cmp);
    return all;
}

#define LAST_APPLIED S("kubectl.kubernetes.io/last-applied-configuration")

static struct str last_applied_of(const struct val *tree)
{
    return val_text(val_get_str(val_at(tree, N(metadata), N(annotations)), LAST_APPLIED));
}

/* What the client applied by itself before, and is still so: it may take that over. */
static bool last_applied_fields(const struct managing *g, struct fieldset *out)
{
    struct val last;
    struct err err = ERR;
    struct str text = last_applied_of(g->was);
    if (!text.n || !json_decode(g->a, text, &last, &err) ||
        !str_eq(val_text_at(&last, N(apiVersion)), g->api_version) || !apply_check(g->a, g->type, &last, &err))
        return false;
    struct fieldset set = apply_fields(g->a, g->type, &last);
    struct apply_changes c = apply_compare(g->a, g->type, g->was, &last, true);
    set = fieldset_without(g->a, &set, &c.changed);
    *out = fieldset_without(g->a, &set, &c.removed);
    return true;
}

static bool conflicts_forgiven(const struct managing *g, const struct fieldset *conflicts, struct applying *done)
{
    struct fieldset mine;
    if (!str_eqz(g->manager, "kubectl") || !last_applied_fields(g, &mine))
        return false;
    struct fieldset rest = fieldset_without(g->a, conflicts, &mine);
    if (fieldset_empty(&rest))
        return true;
    struct applying others = {0};
    struct conflicting c = {.a = g->a};
    for (size_t i = 0; i < done->nconflicts;) {
        const struct owner *with = done->conflicts[i].with;
        struct owners none = {.a = g->a};
        struct owner copy = *with;
        struct fieldset left = fieldset_common(g->a, owner_set(&none, &copy), &rest);
        c.with = with;
        fieldset_each(&left, conflict_found, &c);
        while (i < done->nconflicts && done->conflicts[i].with == with)
            i++;
    }
    others.nconflicts = c.list.n;
    others.conflicts = arena_dup(g->a, c.list.p, c.list.n * sizeof *c.list.p);
    array_fini(&c.list);
    done->conflicts = others.conflicts;
    done->nconflicts = others.nconflicts;
    return false;
}

static void json_sorted(struct strbuf *b, const struct val *v)
{
    if (val_is(v, VAL_LIST)) {
        strbuf_addc(b, '[');
        for (uint32_t i = 0; i < v->n; i++) {
            strbuf_addz(b, i ? "," : "");
            json_sorted(b, &v->list[i]);
        }
        strbuf_addc(b, ']');
    } else if (val_is(v, VAL_MAP)) {
        AUTO_FREE uint32_t *order = sorted_members(v);
        strbuf_addc(b, '{');
        for (uint32_t i = 0; i < v->n; i++) {
            const struct member *m = &v->map[order ? order[i] : i];
            strbuf_addz(b, i ? "," : "");
            json_add_string(b, m->name->s);
            strbuf_addc(b, ':');
            json_sorted(b, &m->v);
        }
        strbuf_addc(b, '}');
    } else {
        json_encode(b, v);
    }
}

/* The annotation of a client that applied by itself is kept right, so that it may go back. */
static void last_applied_say(const struct managing *g, const struct val *config, struct applying *done)
{
    if (!str_eqz(g->manager, "kubectl") || !last_applied_of(&done->merged).n)
        return;
    struct val plain = val_copy(g->a, config);
    struct val *meta = val_get_mut(&plain, N(metadata));
    struct val *annotations = meta ? val_get_mut(meta, N(annotations)) : NULL;
    if (val_is(annotations, VAL_MAP)) {
        (void)val_del_str(annotations, LAST_APPLIED);
        if (!annotations->n)
            (void)val_del(meta, N(annotations));
    }
    AUTO(strbuf_fini) struct strbuf b = STRBUF(UINT32_MAX / 2);
    json_sorted(&b, &plain);
    strbuf_addc(&b, '\n');
    done->last_applied = str_dup(g->a, strbuf_str(&b));
}

enum managed_apply manage_apply_open(const struct managing *g, const struct val *config, bool force, struct owners *m,
                                     struct applying *done, struct err *err)
{
    *done = (struct applying){.self = -1};
    if (!m->n && g->was) {
        struct managing before = *g;
        before.was = NULL;
        owners_update(&before, m, g->was, S("before-first-apply"));
    }
    if (!apply_check(g->a, g->type, config, err))
        return APPLY_WRONG;
    struct val none = val_map();
    done->merged = apply_merge(g->a, g->type, g->was ? g->was : &none, config);
    struct fieldset set = apply_fields(g->a, g->type, config), last = {0};
    set = fields_counted(g, &set);
    struct owner *self = owners_find(m, g->manager, true, g->api_version, g->sub);
    if (self) {
        struct str last_version = self->api_version;
        last = *owner_set(m, self);
        owner_set_to(self, set);
        if (!str_eq(last_version, g->api_version)) {
            self->api_version = g->api_version;
            self->words = NULL;
        }
    } else {
        self = owners_add(m);
        *self = (struct owner){.name = g->manager,
                               .api_version = g->api_version,
                               .sub = g->sub,
                               .apply = true,
                               .time = MANAGED_NO_TIME,
                               .read = true,
                               .set = set};
    }
    if (!fieldset_empty(&last))
        done->merged = fields_pruned(g, m, &done->merged, &last);
    if (done->merged.type != VAL_MAP)
        done->merged = val_map();
    struct apply_changes all;
    struct owners_telling t = telling_of(g, &done->merged, true, &all);
    if (!force) {
        struct fieldset conflicts = conflicts_find(g, m, &t, self, done);
        if (done->nconflicts && !conflicts_forgiven(g, &conflicts, done))
            return APPLY_CONFLICTS;
    }
    struct fieldset own = fields_owned(g->a, &self->set);
    owner_set_to(self, own);
    owners_lose(m, &t, self);
    struct owner *now = owners_find(m, g->manager, true, g->api_version, g->sub);
    done->self = now ? now - m->p : -1;
    last_applied_say(g, config, done);
    return APPLY_DONE;
}

enum managed_apply manage_apply(const struct managing *g, const struct managed *have, const struct val *config,
                                bool force, struct owners *out, struct applying *done, struct err *err)
{
    *out = owners_open(g->a, have);
    return manage_apply_open(g, config, force, out, done, err);
}

void manage_applied(const struct managing *g, struct owners *m, const struct applying *done)
{
    if (done->self >= 0)
        m->p[done->self].time = g->now;
}

/* --- conflicts in words --- */

void owner_text(struct strbuf *b, const struct owner *m)
{
    json_add_string(b, m->name);
    if (m->sub.n) {
        strbuf_addz(b, " with subresource ");
        json_add_string(b, m->sub);
    }
    if (!m->apply)
        strbuf_addf(b, " using " STR_FMT, STR_ARG(m->api_version));
}

void conflicts_text(struct strbuf *b, const struct applying *done)
{
    if (done->nconflicts == 1) {
        strbuf_addz(b, "Apply failed with 1 conflict: conflict with ");
        owner_text(b, done->conflicts[0].with);
        strbuf_addf(b, ": " STR_FMT, STR_ARG(done->conflicts[0].path));
        return;
    }
    strbuf_addf(b, "Apply failed with %zu conflicts: ", done->nconflicts);
    for (size_t i = 0; i < done->nconflicts; i++) {
        const struct conflict *c = &done->conflicts[i];
        if (!i || c->with != done->conflicts[i - 1].with) {
            strbuf_addz(b, i ? "\nconflicts with " : "conflicts with ");
            owner_text(b, c->with);
            strbuf_addc(b, ':');
        }
        strbuf_addf(b, "\n- " STR_FMT, STR_ARG(c->path));
    }
}

/* --- scale --- */

static struct fieldset replicas_at(struct arena *a, const char *const *path)
{
    struct fieldset out = {0};
    size_t n = 0;
    while (path[n])
        n++;
    fieldset_add_fields(a, &out, path, n);
    return out;
}

static const char *const in_scale[] = {"spec", "replicas", NULL};
#define SCALE_VERSION S("autoscaling/v1")

struct owners owners_to_scale(struct arena *a, struct owners *m, const struct scale_paths *paths)
{
    struct owners out = {.a = a};
    for (size_t i = 0; i < m->n; i++) {
        struct owner *x = &m->p[i];
        const char *const *path = paths->path(paths, x->api_version);
        if (!path)
            continue;
        struct fieldset there = replicas_at(a, path), both = fieldset_common(a, owner_set(m, x), &there);
        if (fieldset_empty(&both))
            continue;
        *owners_add(&out) = (struct owner){.name = x->name,
                                           .api_version = SCALE_VERSION,
                                           .sub = x->sub,
                                           .apply = x->apply,
                                           .time = x->time,
                                           .read = true,
                                           .set = replicas_at(a, in_scale)};
    }
    return out;
}

/* An entry is known again by what names it in the object; that of an update which came through the scale names the
 * scale's version. */
static ptrdiff_t scale_find(const struct owners *scale, const bool *used, const struct owner *x)
{
    for (size_t i = 0; i < scale->n; i++)
        if (!used[i] && scale->p[i].apply == x->apply && str_eq(scale->p[i].name, x->name) &&
            str_eq(scale->p[i].sub, x->sub))
            return (ptrdiff_t)i;
    return -1;
}

struct owners owners_from_scale(struct arena *a, struct owners *parent, struct owners *scale,
                                const struct scale_paths *paths, struct str api_version)
{
    struct owners out = {.a = a};
    const char *const *own = paths->path(paths, api_version);
    struct fieldset inside = replicas_at(a, in_scale), here = own ? replicas_at(a, own) : (struct fieldset){0};
    bool *used = arena_alloc(a, scale->n + 1);
    for (size_t i = 0; i < parent->n; i++) {
        struct owner x = parent->p[i];
        const char *const *path = paths->path(paths, x.api_version);
        if (!path)
            continue;
        struct fieldset there = replicas_at(a, path), both = fieldset_common(a, owner_set(parent, &x), &there);
        if (!fieldset_empty(&both)) {
            ptrdiff_t at = scale_find(scale, used, &x);
            if (at >= 0)
                used[at] = true;
            else
                owner_set_to(&x, fieldset_without(a, &x.set, &there)); /* somebody took it */
        }
        if (x.words || !fieldset_empty(&x.set))
            *owners_add(&out) = x;
    }
    for (size_t i = 0; i < scale->n; i++) {
        struct owner x = scale->p[i];
        struct fieldset both = fieldset_common(a, owner_set(scale, &x), &inside);
        if (used[i] || fieldset_empty(&both))
            continue;
        struct owner *have = owners_find(&out, x.name, x.apply, api_version, x.sub);
        if (have) {
            owner_set_to(have, fieldset_union(a, owner_set(&out, have), &here));
            continue;
        }
        *owners_add(&out) = (struct owner){.name = x.name,
                                           .api_version = api_version,
                                           .sub = x.sub,
                                           .apply = x.apply,
                                           .time = MANAGED_NO_TIME,
                                           .read = true,
                                           .set = here};
    }
    return out;
}
