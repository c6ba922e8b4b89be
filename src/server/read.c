#include "server/read.h"
#include "api/codec.h"
#include "api/custom.h"
#include "server/conversion.h"
#include "server/fail.h"
#include "server/fresh.h"
#include "server/int.h"
#include "server/limits.h"
#include "server/scan.h"
#include "server/watch.h"

/* --- selectors --- */

/* The three ways in which upstream's kinds refuse a field label: by the conversion function they have. */
static bool fail_field(struct request *r, struct str path)
{
    static const struct str with_own[] = {S_INIT("pods"),      S_INIT("nodes"),   S_INIT("replicationcontrollers"),
                                          S_INIT("events"),    S_INIT("secrets"), S_INIT("services"),
                                          S_INIT("namespaces")};
    if (!r->group.n || str_eq(r->group, S("events.k8s.io")))
        for (size_t i = 0; i < countof(with_own); i++)
            if (str_eq(with_own[i], r->resource))
                return fail_bad_request(r, "field label not supported: " STR_FMT, STR_ARG(path));
    if (r->kind->custom)
        return fail_bad_request(r, "field label not supported: " STR_FMT, STR_ARG(path));
    if (str_eq(r->resource, S("jobs")))
        return fail_bad_request(r, "field label \"" STR_FMT "\" not supported for " STR_FMT, STR_ARG(path),
                                STR_ARG(r->kind->kind));
    if (str_eq(r->resource, S("certificatesigningrequests")) || str_eq(r->resource, S("resourceslices")))
        return fail_bad_request(r, "field label not supported for " STR_FMT ": " STR_FMT, STR_ARG(r->kind->kind),
                                STR_ARG(path));
    return fail_bad_request(
        r, "\"" STR_FMT "\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"",
        STR_ARG(path));
}

/* The name for which a request was authorized - of its path or of its selector - is the one name that it reads: here,
 * for whatever lists, watches or deletes a collection. */
static bool name_is_selected(struct request *r, struct arena *a, struct filter *f)
{
    if (!r->name.n)
        return true;
    for (size_t i = 0; i < f->nterms; i++)
        if (f->terms[i].equal && str_eq(f->terms[i].path, S("metadata.name")) && str_eq(f->terms[i].value, r->name))
            return true;
    if (f->nterms)
        return fail_bad_request(r, "fieldSelector metadata.name doesn't match requested name");
    f->terms = ARENA_NEW(a, struct field_term);
    f->nterms = 1;
    *f->terms = (struct field_term){.path = S("metadata.name"), .value = str_dup(a, r->name), .equal = true};
    return true;
}

bool filter_parse(struct request *r, struct arena *a, struct str labels, struct str fields, struct filter *out)
{
    *out = (struct filter){0};
    struct err err = ERR;
    if (labels.n) {
        if (!selector_parse(a, labels, &out->labels, &err))
            return fail_bad_request(r, "%s", err.text);
        if (selector_is_everything(out->labels))
            out->labels = NULL;
    }
    if (fields.n && !field_selector_parse(a, fields, &out->terms, &out->nterms, &err))
        return fail_bad_request(r, "%s", err.text);
    if (!name_is_selected(r, a, out))
        return false;
    for (size_t i = 0; i < out->nterms; i++) {
        struct field_term *t = &out->terms[i];
        if (!kind_field_supported(r->kind, t->path))
            return fail_field(r, t->path);
        if (t->equal && str_eq(t->path, S("metadata.name")) && t->value.n)
            out->name = t->value;
    }
    return true;
}

bool filter_of(struct request *r, struct filter *out)
{
    return filter_parse(r, &r->arena, r->options.label_selector, r->options.field_selector, out);
}

bool filter_is_everything(const struct filter *f)
{
    return !f->labels && !f->nterms;
}

bool filter_matches(const struct filter *f, const struct kind *k, const struct obj *o)
{
    if (f->labels && !selector_matches(f->labels, obj_labels(o)))
        return false;
    if (!f->nterms)
        return true;
    AUTO(arena_fini) struct arena a = ARENA;
    for (size_t i = 0; i < f->nterms; i++) {
        const struct field_term *t = &f->terms[i];
        struct str have = str_eq(t->path, S("metadata.name"))        ? o->name
                          : str_eq(t->path, S("metadata.namespace")) ? o->ns
                                                                     : kind_field_value(&a, k, &o->tree, t->path);
        if (str_eq(have, t->value) != t->equal)
            return false;
    }
    return true;
}

bool revision_of(struct request *r, struct str text, int code, int64_t *out)
{
    *out = 0;
    if (!text.n || str_to_i64(text, 0, INT64_MAX, out))
        return true;
    bool digits = true;
    for (size_t i = 0; i < text.n; i++)
        digits &= text.p[i] >= '0' && text.p[i] <= '9';
    struct str why = arena_fmt(
        &r->arena, "resourceVersion: Invalid value: \"" STR_FMT "\": strconv.ParseUint: parsing \"" STR_FMT "\": %s",
        STR_ARG(text), STR_ARG(text), digits ? "value out of range" : "invalid syntax");
    if (code == 400)
        return fail_bad_request(r, "invalid resource version: " STR_FMT, STR_ARG(why));
    return fail_plain(r, code, STR_FMT, STR_ARG(why));
}

/* --- get --- */

struct object_read {
    struct obj *o; /* counted */
    void (*answer)(struct request *r, struct obj *o);
};

static void object_came(struct request *r)
{
    struct object_read *x = r->state;
    if (r->answer.type == ANSWER_NONE)
        x->answer(r, x->o);
    obj_unref(x->o);
    request_finish(r);
}

void read_object(struct request *r, void (*answer)(struct request *r, struct obj *o))
{
    AUTO(obj_unref) struct obj *o = object_get(r->server, r->kind, r->ns, r->name);
    if (!o) {
        fail_not_found(r);
        request_finish(r);
        return;
    }
    struct object_read *x = ARENA_NEW(&r->arena, struct object_read);
    *x = (struct object_read){.o = obj_ref(o), .answer = answer};
    r->state = x;
    if (conversion_of_items(r, &x->o, 1, object_came))
        return;
    x->o = object_as(r->kinds, r->kind, o);
    obj_unref(o); /* its place's */
    object_came(r);
}

static void get_answer(struct request *r, struct obj *o)
{
    answer_obj(r, 200, o);
}

void verb_get(struct request *r)
{
    int64_t rev;
    if (revision_of(r, r->options.resource_version, 500, &rev)) {
        int64_t have = revision_published(r->server);
        if (rev > have && fresh_wait(r, rev, verb_get))
            return;
        if (rev > have) {
            (void)fail_too_large_revision(r, rev, have);
            request_finish(r);
            return;
        }
        read_object(r, get_answer);
        return;
    }
    request_finish(r);
}

/* --- list --- */

/* Where a list goes on: upstream's token {"v":"meta.k8s.io/v1","rv":N,"start":"NS/NAME\0"}, as base64url. */
static struct str token_make(struct request *r, int64_t rev, struct str start)
{
    struct arena *a = &r->arena;
    struct val v = val_map();
    val_set_str(a, &v, S("v"), val_str_borrowed(S("meta.k8s.io/v1")));
    val_set_str(a, &v, S("rv"), val_int(rev));
    val_set_str(a, &v, S("start"), val_str(a, start));
    AUTO(strbuf_fini) struct strbuf json = STRBUF(STRBUF_TEXT), out = STRBUF(STRBUF_TEXT);
    json_encode(&json, &v);
    strbuf_add_base64url(&out, json.p, json.n);
    return str_dup(a, strbuf_str(&out));
}

static bool token_read(struct request *r, int64_t *rev, struct str *start)
{
    static const char *const bad = "invalid continue token: continue key is not valid";
    struct str token = r->options.continue_token;
    AUTO(strbuf_fini) struct strbuf json = STRBUF(STRBUF_TEXT);
    struct err err = ERR;
    if (!strbuf_add_unbase64url(&json, token)) {
        size_t at = 0;
        while (at < token.n &&
               (token.p[at] == '-' || token.p[at] == '_' || (token.p[at] >= '0' && token.p[at] <= '9') ||
                ((token.p[at] | 32) >= 'a' && (token.p[at] | 32) <= 'z')))
            at++;
        return fail_bad_request(r, "%s: illegal base64 data at input byte %zu", bad, at);
    }
    struct val v;
    if (!json_decode(&r->arena, strbuf_str(&json), &v, &err))
        return fail_bad_request(r, "%s: %s", bad, err.text);
    struct str version = val_text(val_get_str(&v, S("v")));
    if (!str_eq(version, S("meta.k8s.io/v1")))
        return fail_bad_request(r, "%s: server does not recognize this encoded version " STR_FMT, bad,
                                STR_ARG(version));
    *rev = val_num(val_get_str(&v, S("rv")), 0);
    *start = val_text(val_get_str(&v, S("start")));
    if (!*rev)
        return fail_bad_request(r, "%s: incorrect encoded start resourceVersion (version meta.k8s.io/v1)", bad);
    if (!start->n)
        return fail_bad_request(r, "%s: empty start key", bad);
    if (str_starts(*start, S("../")) || str_has(*start, S("/../")) || str_starts(*start, S("/")))
        return fail_bad_request(r, "%s: " STR_FMT, bad, STR_ARG(*start));
    return true;
}

/* --- walking: what matches, a portion a turn of the loop, however many objects are looked at in vain --- */

#define PORTION (2 * NS_PER_MS)
enum { UNTIMED = 64 }; /* objects between two looks at the clock */

/* What a webhook has to convert waits for it before it is looked at: as many as fill the answer, were all of them
 * good, and no more than PORTION_OBJECTS. */
enum { PORTION_OBJECTS = 1000, PORTION_SELECTED = 100 };

struct walk {
    struct request *request;
    struct published published; /* what is walked */
    struct filter filter;
    struct scan scan;
    struct store_entry *next; /* NULL: all is walked */
    ARRAY(struct obj *) items;
    void (*done)(struct request *r, struct walk *w);
    bool one;   /* it walks over one name */
    bool waits; /* for portions from a webhook */
    struct walk_portion *portion;
};
struct walk_portion {
    struct walk *walk;
    struct store_entry *of[PORTION_OBJECTS];
    struct obj *items[PORTION_OBJECTS];
    size_t n;
};

/* The request, in whose arena it is, may be over once it has been told. */
static void walk_end(struct walk *over)
{
    struct walk w = *over;
    w.done(w.request, &w);
    array_each (it, &w.items)
        obj_unref(*it);
    array_fini(&w.items);
    published_fini(&w.published);
}

static struct store_entry *walk_next(struct walk *w)
{
    return w->one ? NULL : scan_next(&w->scan);
}

static bool walk_full(const struct walk *w)
{
    int64_t limit = w->request->options.limit;
    return limit > 0 && w->items.n == (size_t)limit;
}

/* Until the time of a turn is over. True: it has ended; where as many are found as were asked for, at the next one.
 */
static bool walk_some(struct walk *w)
{
    struct request *r = w->request;
    int64_t end = clock_mono() + PORTION;
    for (int i = 1; w->next; i++) {
        struct obj *o = object_as(r->kinds, r->kind, object_of(w->next));
        bool good = filter_matches(&w->filter, r->kind, o);
        if (good && walk_full(w)) {
            obj_unref(o);
            return true;
        }
        if (good)
            array_push(&w->items, o);
        else
            obj_unref(o);
        w->next = walk_next(w);
        if (i % UNTIMED == 0 && clock_mono() > end)
            return !w->next;
    }
    return true;
}

static void walk_portion(struct walk *w);

static void walk_go_on(void *arg)
{
    struct walk *w = arg;
    if (w->waits)
        walk_portion(w);
    else if (walk_some(w))
        walk_end(w);
    else
        loop_post(w->request->loop, walk_go_on, w);
}

/* --- a portion that a webhook converts --- */

/* Until the answer is full. True: it has ended. */
static bool portion_take(struct walk *w)
{
    struct walk_portion *p = w->portion;
    struct request *r = w->request;
    for (size_t i = 0; i < p->n; i++) {
        if (filter_matches(&w->filter, r->kind, p->items[i])) {
            if (walk_full(w)) {
                w->next = p->of[i];
                return true;
            }
            array_push(&w->items, obj_ref(p->items[i]));
        }
    }
    return !w->next;
}

static void portion_drop(struct walk *w)
{
    while (w->portion->n)
        obj_unref(w->portion->items[--w->portion->n]);
    mem_free(TAKE(w->portion));
}

static void portion_came(struct request *r)
{
    struct walk *w = r->state;
    bool over = r->answer.type == ANSWER_FAILED || portion_take(w);
    portion_drop(w);
    if (over)
        walk_end(w);
    else
        loop_post(r->loop, walk_go_on, w);
}

static void walk_portion(struct walk *w)
{
    struct request *r = w->request;
    bool all = filter_is_everything(&w->filter);
    if (!w->next || (all && walk_full(w))) {
        walk_end(w);
        return;
    }
    size_t most = PORTION_OBJECTS, limit = (size_t)r->options.limit;
    if (r->options.limit > 0 && limit - w->items.n < most)
        most = all ? limit - w->items.n : MAX(limit - w->items.n + 1, PORTION_SELECTED);
    struct walk_portion *p = w->portion = NEW(struct walk_portion);
    for (; w->next && p->n < most; w->next = walk_next(w)) {
        p->of[p->n] = w->next;
        p->items[p->n++] = obj_ref(object_of(w->next));
    }
    r->state = w;
    if (conversion_of_items(r, p->items, p->n, portion_came))
        return;
    for (size_t i = 0; i < p->n; i++) {
        struct obj *o = p->items[i];
        p->items[i] = object_as(r->kinds, r->kind, o);
        obj_unref(o);
    }
    portion_came(r);
}

void walk_start(struct request *r, struct published *own_p, struct str start,
                void (*done)(struct request *r, struct walk *w))
{
    struct walk *w = ARENA_NEW(&r->arena, struct walk);
    w->request = r;
    w->published = *own_p;
    *own_p = (struct published){0};
    w->done = done;
    if (!filter_of(r, &w->filter)) {
        walk_end(w);
        return;
    }
    struct str name = w->filter.name;
    w->waits = r->kind->custom && r->kind->custom->webhook && !r->as_stored;
    if (name.n && (r->ns.n || !r->kind->namespaced)) {
        w->next = pmap_get(&w->published.objects.map, object_key(&r->arena, r->kind, r->ns, name));
        w->one = true;
    } else {
        w->next = scan_first(&w->scan, &r->arena, &w->published, r->kind, r->ns, &w->filter, start);
    }
    walk_go_on(w);
}

struct obj **walk_take(struct walk *w, size_t *n)
{
    struct obj **items = w->items.p;
    *n = w->items.n;
    w->items.p = NULL;
    w->items.n = w->items.cap = 0;
    return items;
}

int64_t walk_rev(const struct walk *w)
{
    return w->published.objects.rev;
}

/* Answers with what was found, and where it goes on. */
static void list_walked(struct request *r, struct walk *w)
{
    struct answer *out = &r->answer;
    const struct store_snapshot *snap = &w->published.objects;
    if (out->type == ANSWER_FAILED) {
        request_finish(r);
        return;
    }
    if (w->next) {
        size_t skip = object_prefix(&r->arena, r->kind).n;
        struct str key = store_entry_key(w->next);
        out->continued = token_make(r, snap->rev, str_sub(key, skip, key.n));
        if (filter_is_everything(&w->filter))
            out->remaining = (int64_t)store_count(snap, w->scan.prefix, key);
    }
    out->type = ANSWER_LIST;
    out->code = 200;
    out->items = walk_take(w, &out->n);
    out->rev = snap->rev;
    out->old = !w->published.fields.type;
    request_finish(r);
}

struct list_state {
    struct request *request;
    struct list node; /* in server->old_waiting */
    struct str start;
    int64_t rev;
};

static void read_old(struct request *r);

/* The first of somebody else: who asks a hundred times waits for himself. */
static struct list_state *old_first(struct server *s, struct str served)
{
    list_each (l, &s->old_waiting, struct list_state, node)
        if (!str_eq(user_share(l->request->user), served))
            return l;
    return list_first(&s->old_waiting, struct list_state, node);
}

/* Each holds the objects that it puts back, which nobody else does: the next one's turn has come. */
static void read_next(struct server *s, struct str served)
{
    s->old_reads--;
    for (struct list_state *l; (l = old_first(s, served));) {
        list_del(&l->node);
        if (!s->stopping) {
            read_old(l->request);
            return;
        }
        fail_unavailable(l->request, "the server is ending");
        request_finish(l->request);
    }
}

static void list_read_done(struct store_read *read)
{
    struct request *r = container_of(read, struct request, read);
    struct list_state *l = r->state;
    read_next(r->server, user_share(r->user));
    if (read->ok) {
        struct published then = {.objects = read->snap};
        walk_start(r, &then, l->start, list_walked);
        return;
    } else if (read->err.kind == E_EXPIRED || read->err.kind == E_GONE) {
        if (l->start.n) {
            struct str token = token_make(r, -1, l->start);
            fail_expired(r, "The provided continue parameter is too old to display a consistent list result. You can "
                            "start a new list without the continue parameter, or use the continue token in this "
                            "response to retrieve the remainder of the results. Continuing with the provided token "
                            "results in an inconsistent list - objects that were created, modified, or deleted "
                            "between the time the first chunk was returned and now may show up in the list.");
            r->answer.continued = token;
        } else {
            fail_expired(r, "The resourceVersion for the provided list is too old.");
        }
    } else {
        fail_err(r, &read->err);
    }
    request_finish(r);
}

static void read_old(struct request *r)
{
    struct list_state *l = r->state;
    struct str prefix = object_prefix(&r->arena, r->kind);
    if (r->kind->namespaced && r->ns.n)
        prefix = arena_fmt(&r->arena, STR_FMT STR_FMT "/", STR_ARG(prefix), STR_ARG(r->ns));
    r->server->old_reads++;
    r->read = (struct store_read){.rev = l->rev, .prefix = prefix, .done = list_read_done};
    store_read_at(r->server->store, &r->read);
}

/* In the store's loop. */
static void list_at_home(void *arg)
{
    struct request *r = arg;
    if (r->server->old_reads < LIMIT_OLD_READS)
        read_old(r);
    else
        list_add_tail(&r->server->old_waiting, &((struct list_state *)r->state)->node);
}

/* False: it goes on by itself, and answers then. */
static bool list_answer(struct request *r)
{
    struct request_options *o = &r->options;
    int64_t rev = 0;
    struct str start = STR_NONE;
    AUTO(published_fini) struct published now = published_take(r->server);
    const struct store_snapshot *snap = &now.objects;
    if (o->continue_token.n) {
        if (o->resource_version.n && !str_eq(o->resource_version, S("0"))) {
            fail_bad_request(r, "specifying resource version is not allowed when using continue");
            return true;
        }
        if (!token_read(r, &rev, &start))
            return true;
        if (rev < 0)
            rev = 0; /* inconsistent, as the client was told */
    } else {
        if (!revision_of(r, o->resource_version, 400, &rev))
            return true;
        if (rev > snap->rev && !str_eq(o->resource_version_match, S("Exact")) && fresh_wait(r, rev, verb_list))
            return false;
        if (rev > snap->rev) {
            fail_too_large_revision(r, rev, snap->rev);
            if (str_eq(o->resource_version_match, S("Exact")))
                r->answer.fail.message = arena_fmt(&r->arena, "Timeout: " STR_FMT, STR_ARG(r->answer.fail.message));
            return true;
        }
        if (!str_eq(o->resource_version_match, S("Exact")) && !(o->limit > 0 && !o->resource_version_match.n))
            rev = 0;
    }
    if (o->bookmarks) /* after the snapshot: they are as new */
        watches_mark(r);
    struct filter f;
    if (rev && rev != snap->rev) {
        if (!filter_of(r, &f))
            return true;
        struct list_state *l = ARENA_NEW(&r->arena, struct list_state);
        *l = (struct list_state){.request = r, .start = start, .rev = rev};
        r->state = l;
        if (r->loop == r->server->loop)
            list_at_home(r);
        else
            loop_post(r->server->loop, list_at_home, r);
        return false;
    }
    walk_start(r, &now, start, list_walked);
    return false;
}

void verb_list(struct request *r)
{
    if (list_answer(r))
        request_finish(r);
}
