#include "api/openapi_remote.h"
#include "base/array.h"
#include "base/map.h"
#include "wire/json.h"
#include <string.h>

/* A member of the document, and whether what is kept speaks of it. */
struct candidate {
    struct str text; /* of the document */
    bool kept;
};
struct selection {
    struct arena arena;
    struct map paths, definitions, parameters; /* name -> struct candidate in the arena */
    ARRAY(struct candidate *) open;            /* kept, their references not looked at yet */
};

static void selection_fini(struct selection *s)
{
    array_fini(&s->open);
    map_fini(&s->paths);
    map_fini(&s->definitions);
    map_fini(&s->parameters);
    arena_fini(&s->arena);
}
AUTO_VALUE(selection_fini, struct selection);

/* --- references --- */

/* The end of the string that begins at i, behind its quote. */
static size_t string_end(struct str s, size_t i)
{
    for (i++; i < s.n && s.p[i] != '"'; i++)
        if (s.p[i] == '\\')
            i++;
    return i < s.n ? i + 1 : s.n;
}

static size_t space_end(struct str s, size_t i)
{
    while (i < s.n && (s.p[i] == ' ' || s.p[i] == '\t' || s.p[i] == '\n' || s.p[i] == '\r'))
        i++;
    return i;
}

static enum openapi_ref ref_of(struct str target, struct str *name)
{
    static const struct str prefixes[] = {
        [OPENAPI_NO_REF] = S_INIT(""),
        [OPENAPI_DEFINITION] = S_INIT("#/definitions/"),
        [OPENAPI_PARAMETER] = S_INIT("#/parameters/"),
    };
    for (enum openapi_ref kind = OPENAPI_DEFINITION; kind <= OPENAPI_PARAMETER; kind++)
        if (str_starts(target, prefixes[kind])) {
            *name = str_sub(target, prefixes[kind].n, target.n);
            return kind;
        }
    return OPENAPI_NO_REF;
}

enum openapi_ref openapi_ref_next(struct arena *a, struct str *rest, struct str *before, struct str *name)
{
    struct str s = *rest;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] != '"')
            continue;
        size_t end = string_end(s, i), colon = space_end(s, end);
        bool is_ref = str_eqz(str_sub(s, i, end), "\"$ref\"") && colon < s.n && s.p[colon] == ':';
        i = end - 1;
        size_t value = is_ref ? space_end(s, colon + 1) : s.n;
        if (value >= s.n || s.p[value] != '"')
            continue;
        size_t value_end = string_end(s, value);
        struct json j = json_of(str_sub(s, value, value_end));
        enum openapi_ref kind = ref_of(json_string(&j, a), name);
        i = value_end - 1;
        if (kind) {
            *before = str_sub(s, 0, value);
            *rest = str_sub(s, value_end, s.n);
            return kind;
        }
    }
    *before = s;
    *rest = S("");
    return OPENAPI_NO_REF;
}

/* --- what is kept --- */

/* Brackets within brackets, at most. */
static int text_depth(struct str s)
{
    int depth = 0, most = 0;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '"')
            i = string_end(s, i) - 1;
        else if (s.p[i] == '{' || s.p[i] == '[')
            most = MAX(most, ++depth);
        else if (s.p[i] == '}' || s.p[i] == ']')
            depth--;
    }
    return most;
}

static void members_read(struct selection *s, struct json *j, struct map *out)
{
    if (json_type(j) != JSON_OBJECT) {
        (void)json_skip(j);
        return;
    }
    json_enter(j);
    while (json_more(j)) {
        struct str name = json_key(j, &s->arena);
        bool is_object = json_type(j) == JSON_OBJECT;
        struct str text = json_skip(j);
        if (!is_object || text.n > OPENAPI_REMOTE_MEMBER || name.n > STRBUF_TEXT / 2)
            continue;
        struct candidate *c = ARENA_NEW(&s->arena, struct candidate);
        c->text = text;
        (void)map_put(out, name, c); /* of two the last one */
    }
}

static bool candidate_keep(struct selection *s, struct candidate *c, struct err *err)
{
    if (!c || c->kept)
        return true;
    if (text_depth(c->text) > OPENAPI_REMOTE_DEPTH)
        return err_set(err, E_BAD_REQUEST, "the document has more than %d levels", OPENAPI_REMOTE_DEPTH);
    c->kept = true;
    array_push(&s->open, c);
    return true;
}

static bool selection_follow(struct selection *s, struct err *err)
{
    while (s->open.n) {
        struct str rest = array_pop(&s->open)->text, before, name;
        enum openapi_ref kind;
        while ((kind = openapi_ref_next(&s->arena, &rest, &before, &name))) {
            struct candidate *c = map_get(kind == OPENAPI_DEFINITION ? &s->definitions : &s->parameters, name);
            if (!candidate_keep(s, c, err))
                return false;
        }
    }
    return true;
}

static void hash_text(uint64_t *hash, struct str s)
{
    for (size_t i = 0; i <= s.n; i++)
        *hash = (*hash ^ (i < s.n ? (unsigned char)s.p[i] : 0)) * 0x100000001b3u;
}

static void members_take(struct openapi_remote *r, const struct map *from, struct openapi_members *out)
{
    map_each (it, from)
        out->n += ((struct candidate *)it->value)->kept;
    out->list = arena_alloc(&r->arena, (out->n + 1) * sizeof *out->list);
    size_t n = 0;
    map_each (it, from) {
        const struct candidate *c = it->value;
        if (!c->kept)
            continue;
        struct openapi_member *m = &out->list[n++];
        *m = (struct openapi_member){str_dup(&r->arena, it->key), str_dup(&r->arena, c->text)};
        hash_text(&r->hash, m->name);
        hash_text(&r->hash, m->text);
    }
}

struct openapi_remote *openapi_remote_new(struct str json, struct str group, struct str version, struct err *err)
{
    AUTO(selection_fini) struct selection s = {.arena = ARENA};
    if (!json_check(json, err))
        return NULL;
    struct json j = json_of(json);
    if (json_type(&j) != JSON_OBJECT) {
        (void)err_set(err, E_BAD_REQUEST, "the document is no object");
        return NULL;
    }
    json_enter(&j);
    while (json_more(&j)) {
        struct str key = json_key(&j, &s.arena);
        if (str_eqz(key, "paths"))
            members_read(&s, &j, &s.paths);
        else if (str_eqz(key, "definitions"))
            members_read(&s, &j, &s.definitions);
        else if (str_eqz(key, "parameters"))
            members_read(&s, &j, &s.parameters);
        else
            (void)json_skip(&j);
    }
    struct str prefix = arena_fmt(&s.arena, "/apis/" STR_FMT "/" STR_FMT "/", STR_ARG(group), STR_ARG(version));
    map_each (it, &s.paths)
        if (str_starts(it->key, prefix) && !candidate_keep(&s, it->value, err))
            return NULL;
    if (!selection_follow(&s, err))
        return NULL;
    struct openapi_remote *r = NEW(struct openapi_remote);
    *r = (struct openapi_remote){.refs = 1, .arena = ARENA, .hash = 0xcbf29ce484222325u};
    r->group = str_dup(&r->arena, group);
    r->version = str_dup(&r->arena, version);
    members_take(r, &s.paths, &r->paths);
    members_take(r, &s.definitions, &r->definitions);
    members_take(r, &s.parameters, &r->parameters);
    return r;
}

struct openapi_remote *openapi_remote_ref(struct openapi_remote *r)
{
    (void)__atomic_add_fetch(&r->refs, 1, __ATOMIC_RELAXED);
    return r;
}

void openapi_remote_unref(struct openapi_remote *r)
{
    if (!r || __atomic_sub_fetch(&r->refs, 1, __ATOMIC_ACQ_REL))
        return;
    arena_fini(&r->arena);
    mem_free(r);
}
