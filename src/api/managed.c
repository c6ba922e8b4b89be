/* The list at rest: what entries say is interned, as the objects of one owner say the same. */
#include "api/codec_int.h"
#include "api/managed_int.h"
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

struct owner *owners_add(struct owners *m)
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

struct owner *owners_find(struct owners *m, struct str name, bool apply, struct str api, struct str sub)
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

struct fieldset *owner_set(struct owners *m, struct owner *x)
{
    struct err err = ERR;
    if (!x->read && x->words)
        ASSERT(fieldset_read(m->a, words_fields(x->words), &x->set, &err));
    x->read = true;
    return &x->set;
}

void owner_set_to(struct owner *x, struct fieldset set)
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

int owner_cmp(const struct owner *a, const struct owner *b)
{
    int c = str_cmp(a->name, b->name);
    c = c ? c : str_cmp(a->api_version, b->api_version);
    return c ? c : str_cmp(a->sub, b->sub);
}

int owner_older_cmp(const struct owner *a, const struct owner *b)
{
    int64_t ta = owner_seconds(a), tb = owner_seconds(b);
    return ta != tb ? (ta > tb) - (ta < tb) : owner_cmp(a, b);
}

static int listed_cmp(const void *x, const void *y)
{
    const struct owner *a = x, *b = y;
    return a->apply != b->apply ? (a->apply ? -1 : 1) : owner_older_cmp(a, b);
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
