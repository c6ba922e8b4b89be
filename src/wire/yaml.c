#include "wire/yaml.h"
#include "base/array.h"
#include "base/map.h"
#include "wire/json.h"
#include <math.h>
#include <yaml.h>

enum node_type { NODE_SCALAR, NODE_LIST, NODE_MAP, NODE_ALIAS };

struct yaml_node {
    enum node_type type;
    bool plain;     /* a scalar that may be more than a string */
    bool expanding; /* for anchors that hold themselves */
    size_t line;    /* from 0 */
    struct str text, tag;
    struct yaml_node *target;              /* of an alias */
    struct yaml_node *first, *last, *next; /* children; of a map key, value, key, value ... */
};

struct yaml_reader {
    yaml_parser_t parser;
    struct str text; /* borrowed */
    struct yaml_notes notes;
    int nodes_most; /* of a document */
    bool ended;
};

struct yaml_reader *yaml_open(struct str text, const struct yaml_notes *notes)
{
    struct yaml_reader *r = NEW(struct yaml_reader);
    r->text = text;
    r->nodes_most = YAML_MAX_NODES;
    ASSERT(yaml_parser_initialize(&r->parser));
    yaml_parser_set_input_string(&r->parser, (const unsigned char *)(text.p ? text.p : ""), text.n);
    if (notes)
        r->notes = *notes;
    return r;
}

void yaml_close(struct yaml_reader *r)
{
    yaml_parser_delete(&r->parser);
    mem_free(r);
}

/* --- one document into nodes --- */

static bool syntax_error(struct yaml_reader *r, struct err *err)
{
    const yaml_parser_t *p = &r->parser;
    size_t line = p->problem_mark.line;
    if (line)
        line += p->error == YAML_SCANNER_ERROR;
    else
        line = p->context_mark.line;
    const char *problem = p->problem ? p->problem : "unknown problem parsing YAML content";
    if (line)
        return err_set(err, E_BAD_REQUEST, "yaml: line %zu: %s", line, problem);
    return err_set(err, E_BAD_REQUEST, "yaml: %s", problem);
}

struct loader {
    struct yaml_reader *r;
    struct arena *a;
    struct map anchors;
    int nodes;
    ARRAY(struct yaml_node *) stack; /* open lists and maps */
    size_t work;
    struct err *err;
};

static struct str text_of(struct arena *a, const yaml_char_t *p, size_t n)
{
    return p ? str_dup(a, (struct str){(const char *)p, n}) : STR_NONE;
}

static struct str textz_of(struct arena *a, const yaml_char_t *p)
{
    return text_of(a, p, p ? strlen((const char *)p) : 0);
}

static void anchor_add(struct loader *l, struct yaml_node *n, const yaml_char_t *name)
{
    if (name)
        (void)map_put(&l->anchors, str_of((const char *)name), n);
}

static struct yaml_node *add_node(struct loader *l, enum node_type type, const yaml_event_t *e)
{
    struct yaml_node *n = ARENA_NEW(l->a, struct yaml_node);
    n->type = type;
    n->line = e->start_mark.line;
    if (l->stack.n) {
        struct yaml_node *up = l->stack.p[l->stack.n - 1];
        if (up->last)
            up->last->next = n;
        else
            up->first = n;
        up->last = n;
    }
    return n;
}

/* One event; *root is set by the first node, *done when it is complete. */
/* The bound on work is met long before YAML_MAX_DEPTH; where nothing but more levels comes, the depth is what is
 * wrong. */
static bool goes_on_too_deep(const struct loader *l, const yaml_event_t *e)
{
    size_t depth = l->stack.n;
    for (size_t i = e->end_mark.index; i < l->r->text.n && depth <= YAML_MAX_DEPTH; i++) {
        if (!strchr("[{ \n", l->r->text.p[i]))
            return false;
        depth += l->r->text.p[i] == '[' || l->r->text.p[i] == '{';
    }
    return depth > YAML_MAX_DEPTH;
}

static bool load_event(struct loader *l, const yaml_event_t *e, struct yaml_node **root, bool *done)
{
    struct yaml_node *n = NULL;
    l->work += l->stack.n;
    if (++l->nodes > l->r->nodes_most)
        return err_set(l->err, E_TOO_LARGE, "yaml: the document holds more than %d values", l->r->nodes_most);
    if (l->work > YAML_MAX_WORK)
        return goes_on_too_deep(l, e)
                   ? err_set(l->err, E_BAD_REQUEST, "yaml: exceeded max depth of %d", YAML_MAX_DEPTH)
                   : err_set(l->err, E_BAD_REQUEST, "yaml: too many values nested too deeply");
    switch (e->type) {
    case YAML_ALIAS_EVENT: {
        const char *name = (const char *)e->data.alias.anchor;
        struct yaml_node *target = map_get(&l->anchors, str_of(name));
        if (!target)
            return err_set(l->err, E_BAD_REQUEST, "yaml: unknown anchor '%s' referenced", name);
        n = add_node(l, NODE_ALIAS, e);
        n->target = target;
        n->text = str_dup(l->a, str_of(name));
        break;
    }
    case YAML_SCALAR_EVENT:
        n = add_node(l, NODE_SCALAR, e);
        n->text = text_of(l->a, e->data.scalar.value, e->data.scalar.length);
        n->tag = textz_of(l->a, e->data.scalar.tag);
        n->plain = e->data.scalar.plain_implicit;
        anchor_add(l, n, e->data.scalar.anchor);
        break;
    case YAML_SEQUENCE_START_EVENT:
    case YAML_MAPPING_START_EVENT: {
        bool list = e->type == YAML_SEQUENCE_START_EVENT;
        n = add_node(l, list ? NODE_LIST : NODE_MAP, e);
        anchor_add(l, n, list ? e->data.sequence_start.anchor : e->data.mapping_start.anchor);
        if (l->stack.n >= YAML_MAX_DEPTH)
            return err_set(l->err, E_BAD_REQUEST, "yaml: exceeded max depth of %d", YAML_MAX_DEPTH);
        array_push(&l->stack, n);
        break;
    }
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT: (void)array_pop(&l->stack); break;
    case YAML_NO_EVENT:
    case YAML_STREAM_START_EVENT:
    case YAML_STREAM_END_EVENT:
    case YAML_DOCUMENT_START_EVENT:
    case YAML_DOCUMENT_END_EVENT: return true;
    }
    if (!*root)
        *root = n;
    *done = l->stack.n == 0;
    return true;
}

/* The next document's root; NULL with true: the end of the stream. */
static bool document_load(struct yaml_reader *r, struct arena *a, struct yaml_node **root, struct err *err)
{
    struct loader l = {.r = r, .a = a, .err = err};
    bool done = false, ok = true;
    *root = NULL;
    while (ok && !done) {
        yaml_event_t e;
        if (!yaml_parser_parse(&r->parser, &e)) {
            ok = syntax_error(r, err);
            break;
        }
        if (e.type == YAML_STREAM_END_EVENT)
            done = r->ended = true;
        else
            ok = load_event(&l, &e, root, &done);
        yaml_event_delete(&e);
    }
    map_fini(&l.anchors);
    array_fini(&l.stack);
    return ok;
}

/* --- scalars --- */

enum scalar_type { SCALAR_NULL, SCALAR_BOOL, SCALAR_INT, SCALAR_DOUBLE, SCALAR_STRING };
struct scalar {
    enum scalar_type type;
    bool b, negative;
    uint64_t i; /* magnitude */
    double d;
};

static const struct {
    const char *words;
    enum scalar_type type;
    bool b;
    double d;
} words[] = {
    {" y Y yes Yes YES true True TRUE on On ON ", SCALAR_BOOL, true, 0},
    {" n N no No NO false False FALSE off Off OFF ", SCALAR_BOOL, false, 0},
    {" ~ null Null NULL ", SCALAR_NULL, false, 0},
    {" .inf .Inf .INF +.inf +.Inf +.INF ", SCALAR_DOUBLE, false, (double)INFINITY},
    {" -.inf -.Inf -.INF ", SCALAR_DOUBLE, false, -(double)INFINITY},
    {" .nan .NaN .NAN ", SCALAR_DOUBLE, false, (double)NAN},
};

/* strconv.ParseInt(s, 0, 64), and ParseUint where that is too small; underscores are gone already. */
static bool parse_int(const char *p, struct scalar *out)
{
    out->negative = *p == '-';
    bool sign = *p == '-' || *p == '+';
    p += sign;
    unsigned base = 10;
    if (p[0] == '0' && p[1]) {
        char c = (char)(p[1] | 0x20);
        base = c == 'x' ? 16 : c == 'b' ? 2 : 8;
        p += c == 'x' || c == 'b' || c == 'o' ? 2 : 1;
    }
    uint64_t v = 0;
    if (!*p)
        return false;
    for (; *p; p++) {
        unsigned d = *p >= '0' && *p <= '9'                     ? (unsigned)(*p - '0')
                     : (*p | 0x20) >= 'a' && (*p | 0x20) <= 'f' ? (unsigned)((*p | 0x20) - 'a' + 10)
                                                                : 99;
        if (d >= base || v > (UINT64_MAX - d) / base)
            return false;
        v = v * base + d;
    }
    uint64_t limit = out->negative ? (uint64_t)INT64_MAX + 1 : sign ? INT64_MAX : UINT64_MAX;
    out->i = v;
    return v <= limit;
}

/* ^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$ */
static bool is_float(const char *p)
{
    p += *p == '-' || *p == '+';
    size_t before = strspn(p, "0123456789"), after = 0;
    p += before;
    if (*p == '.') {
        after = strspn(++p, "0123456789");
        p += after;
    }
    if (!before && !after)
        return false;
    if (*p == 'e' || *p == 'E') {
        p++;
        p += *p == '-' || *p == '+';
        size_t n = strspn(p, "0123456789");
        if (!n)
            return false;
        p += n;
    }
    return !*p;
}

static void scalar_resolve(const struct yaml_node *n, struct scalar *out)
{
    static const struct str str_tag = S_INIT("tag:yaml.org,2002:str");
    *out = (struct scalar){.type = SCALAR_STRING};
    bool tagged = n->tag.n > 0;
    if ((!tagged && !n->plain) ||
        (tagged && (str_eq(n->tag, str_tag) || !str_starts(n->tag, S("tag:yaml.org,2002:")))))
        return;
    if (!n->text.n) {
        out->type = SCALAR_NULL;
        return;
    }
    if (n->text.n > 100 || memchr(n->text.p, 0, n->text.n) || memchr(n->text.p, ' ', n->text.n))
        return;
    for (size_t i = 0; i < countof(words); i++) {
        const char *at = strstr(words[i].words, n->text.p);
        if (at && at[-1] == ' ' && at[n->text.n] == ' ') {
            *out = (struct scalar){.type = words[i].type, .b = words[i].b, .d = words[i].d};
            return;
        }
    }
    char first = n->text.p[0], plain[101];
    if (!strchr("+-.0123456789", first))
        return;
    size_t len = 0;
    for (size_t i = 0; i < n->text.n; i++)
        if (n->text.p[i] != '_' || first == '.')
            plain[len++] = n->text.p[i];
    plain[len] = 0;
    if (first != '.' && parse_int(plain, out)) {
        out->type = SCALAR_INT;
    } else if (is_float(plain)) {
        out->type = SCALAR_DOUBLE;
        out->d = strtod(plain, NULL);
    }
}

/* --- nodes into JSON --- */

struct converter {
    struct arena *a;
    struct strbuf *b;
    const struct yaml_notes *notes;
    struct err *err;
    size_t depth, alias_depth, count, alias_count;
};

static bool node_convert(struct converter *c, struct yaml_node *n);

/* More of the output made by aliases than go-yaml allows. */
static bool aliases_excessive(const struct converter *c)
{
    double allowed = c->count <= 400000    ? 0.99
                     : c->count >= 4000000 ? 0.10
                                           : 0.99 - 0.89 * ((double)(c->count - 400000) / 3600000);
    return c->alias_count > 100 && c->count > 1000 && (double)c->alias_count / (double)c->count > allowed;
}

static bool convert_scalar(struct converter *c, const struct yaml_node *n)
{
    struct scalar s;
    scalar_resolve(n, &s);
    switch (s.type) {
    case SCALAR_NULL: strbuf_add(c->b, S("null")); return true;
    case SCALAR_BOOL: strbuf_addz(c->b, s.b ? "true" : "false"); return true;
    case SCALAR_INT: strbuf_addf(c->b, "%s%llu", s.negative && s.i ? "-" : "", (unsigned long long)s.i); return true;
    case SCALAR_DOUBLE:
        if (isinf(s.d) || isnan(s.d))
            return err_set(c->err, E_BAD_REQUEST, "json: unsupported value: %s",
                           isnan(s.d) ? "NaN"
                           : s.d > 0  ? "+Inf"
                                      : "-Inf");
        json_add_double(c->b, s.d);
        return true;
    case SCALAR_STRING: break;
    }
    if (str_eqz(n->tag, "tag:yaml.org,2002:binary")) {
        AUTO(strbuf_fini) struct strbuf bytes = STRBUF(n->text.n);
        if (!strbuf_add_unbase64(&bytes, n->text))
            return err_set(c->err, E_BAD_REQUEST, "yaml: !!binary value contains invalid base64 data");
        json_add_string(c->b, strbuf_str(&bytes));
        return true;
    }
    json_add_string(c->b, n->text);
    return true;
}

/* A key as JSON has it: text. *string: it is one in YAML, too. */
static bool key_text(struct converter *c, const struct yaml_node *n, struct str *out, bool *string)
{
    while (n->type == NODE_ALIAS)
        n = n->target;
    struct scalar s = {0};
    if (n->type == NODE_SCALAR)
        scalar_resolve(n, &s);
    *string = false;
    if (n->type != NODE_SCALAR || s.type == SCALAR_NULL)
        return err_set(c->err, E_BAD_REQUEST, "yaml: line %zu: a map key must be a text, a number or a boolean",
                       n->line + 1);
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    switch (s.type) {
    case SCALAR_BOOL: *out = s.b ? S("true") : S("false"); return true;
    case SCALAR_INT:
        *out = arena_fmt(c->a, "%s%llu", s.negative && s.i ? "-" : "", (unsigned long long)s.i);
        return true;
    case SCALAR_DOUBLE:
        json_add_double(&b, s.d);
        *out = isinf(s.d)   ? (s.d > 0 ? S(".inf") : S("-.inf"))
               : isnan(s.d) ? S(".nan")
                            : str_dup(c->a, strbuf_str(&b));
        return true;
    case SCALAR_NULL:
    case SCALAR_STRING: break;
    }
    *string = true;
    *out = n->text;
    return true;
}

struct yaml_entry {
    struct str key;
    struct yaml_node *value;
    size_t order;
};
struct entries {
    ARRAY(struct yaml_entry) list;
    struct map at; /* key -> index + 1 */
};

/* "<<" as it stands, or tagged to be one. */
static bool is_merge(const struct yaml_node *k)
{
    return k->type == NODE_SCALAR && str_eqz(k->text, "<<") &&
           (k->tag.n ? str_eqz(k->tag, "tag:yaml.org,2002:merge") : k->plain);
}

static bool entries_collect(struct converter *c, struct yaml_node *map, struct entries *e);

/* `<<`: the members of a map, or of each of a list of maps, the first of which wins. */
static bool entries_merge(struct converter *c, struct yaml_node *n, struct entries *e)
{
    while (n->type == NODE_ALIAS)
        n = n->target;
    if (n->type == NODE_MAP)
        return entries_collect(c, n, e);
    if (n->type != NODE_LIST)
        return err_set(c->err, E_BAD_REQUEST, "yaml: map merge requires map or sequence of maps as the value");
    ARRAY(struct yaml_node *) maps = {0};
    bool ok = true;
    for (struct yaml_node *it = n->first; it; it = it->next) {
        struct yaml_node *m = it;
        while (m->type == NODE_ALIAS)
            m = m->target;
        array_push(&maps, m);
    }
    while (ok && maps.n) {
        struct yaml_node *m = array_pop(&maps);
        ok = m->type == NODE_MAP
                 ? entries_collect(c, m, e)
                 : err_set(c->err, E_BAD_REQUEST, "yaml: map merge requires map or sequence of maps as the value");
    }
    array_fini(&maps);
    return ok;
}

static bool entries_collect(struct converter *c, struct yaml_node *map, struct entries *e)
{
    if (map->expanding)
        return err_set(c->err, E_BAD_REQUEST, "yaml: an anchor's value contains itself");
    map->expanding = true;
    bool ok = true;
    for (struct yaml_node *k = map->first; ok && k; k = k->next->next) {
        struct yaml_node *v = k->next;
        c->count++;
        if (c->alias_depth)
            c->alias_count++;
        if (aliases_excessive(c)) {
            ok = err_set(c->err, E_BAD_REQUEST, "yaml: document contains excessive aliasing");
        } else if (is_merge(k)) {
            c->alias_depth++;
            ok = entries_merge(c, v, e);
            c->alias_depth--;
        } else {
            struct yaml_entry fresh = {.value = v, .order = e->list.n};
            bool string;
            ok = key_text(c, k, &fresh.key, &string);
            if (!ok)
                break;
            uintptr_t at = (uintptr_t)map_get(&e->at, fresh.key);
            if (!at) {
                (void)map_put(&e->at, fresh.key, (void *)((uintptr_t)e->list.n + 1));
                array_push(&e->list, fresh);
                continue;
            }
            e->list.p[at - 1].value = v;
            if (c->notes && c->notes->note) {
                struct str text = arena_fmt(c->a, "line %zu: key %s" STR_FMT "%s already set in map", v->line + 1,
                                            string ? "\"" : "", STR_ARG(fresh.key), string ? "\"" : "");
                c->notes->note(c->notes->arg, text);
            }
        }
    }
    map->expanding = false;
    return ok;
}

static int by_key(const void *x, const void *y)
{
    return str_cmp(((const struct yaml_entry *)x)->key, ((const struct yaml_entry *)y)->key);
}

static bool convert_map(struct converter *c, struct yaml_node *n)
{
    struct entries e = {0};
    bool ok = entries_collect(c, n, &e);
    if (e.list.n)
        qsort(e.list.p, e.list.n, sizeof *e.list.p, by_key);
    strbuf_addc(c->b, '{');
    for (size_t i = 0; ok && i < e.list.n; i++) {
        if (i)
            strbuf_addc(c->b, ',');
        json_add_string(c->b, e.list.p[i].key);
        strbuf_addc(c->b, ':');
        ok = node_convert(c, e.list.p[i].value);
    }
    strbuf_addc(c->b, '}');
    array_fini(&e.list);
    map_fini(&e.at);
    return ok;
}

static bool node_convert(struct converter *c, struct yaml_node *n)
{
    c->count++;
    if (c->alias_depth)
        c->alias_count++;
    if (aliases_excessive(c))
        return err_set(c->err, E_BAD_REQUEST, "yaml: document contains excessive aliasing");
    if (c->b->over)
        return err_set(c->err, E_TOO_LARGE, "yaml: the document is over %zu bytes as JSON", c->b->max);
    if (++c->depth > YAML_MAX_DEPTH)
        return err_set(c->err, E_BAD_REQUEST, "yaml: exceeded max depth of %d", YAML_MAX_DEPTH);
    bool ok = true;
    switch (n->type) {
    case NODE_SCALAR: ok = convert_scalar(c, n); break;
    case NODE_ALIAS:
        if (n->target->expanding)
            return err_set(c->err, E_BAD_REQUEST, "yaml: anchor '" STR_FMT "' value contains itself",
                           STR_ARG(n->text));
        c->alias_depth++;
        ok = node_convert(c, n->target);
        c->alias_depth--;
        break;
    case NODE_LIST:
        if (n->expanding)
            return err_set(c->err, E_BAD_REQUEST, "yaml: an anchor's value contains itself");
        n->expanding = true;
        strbuf_addc(c->b, '[');
        for (struct yaml_node *it = n->first; ok && it; it = it->next) {
            if (it != n->first)
                strbuf_addc(c->b, ',');
            ok = node_convert(c, it);
        }
        strbuf_addc(c->b, ']');
        n->expanding = false;
        break;
    case NODE_MAP: ok = convert_map(c, n); break;
    }
    c->depth--;
    return ok;
}

int yaml_next(struct yaml_reader *r, struct strbuf *json, struct err *err)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct yaml_node *root;
    if (r->ended)
        return 0;
    if (!document_load(r, &a, &root, err))
        return -1;
    if (!root)
        return 0;
    struct converter c = {.a = &a, .b = json, .notes = &r->notes, .err = err};
    if (!node_convert(&c, root))
        return -1;
    if (json->over)
        return (void)err_set(err, E_TOO_LARGE, "yaml: the document is over %zu bytes as JSON", json->max), -1;
    return 1;
}

bool yaml_to_json(struct str text, const struct yaml_notes *notes, struct strbuf *json, struct err *err)
{
    AUTO(yaml_close) struct yaml_reader *r = yaml_open(text, notes);
    r->nodes_most = YAML_MAX_BODY_NODES;
    int got = yaml_next(r, json, err);
    if (got == 0)
        strbuf_add(json, S("null"));
    for (int n = 0; got > 0; n++) { /* what follows must not be lost; nothing may */
        if (n == YAML_MAX_EMPTY)
            return err_set(err, E_BAD_REQUEST, "yaml: over %d empty documents", YAML_MAX_EMPTY);
        AUTO(strbuf_fini) struct strbuf more = STRBUF(json->max);
        got = yaml_next(r, &more, err);
        if (got > 0 && !str_eqz(strbuf_str(&more), "null"))
            return err_set(err, E_BAD_REQUEST, "yaml: line %zu: another document ends here; only one can be taken",
                           r->parser.mark.line + 1);
    }
    return got >= 0;
}

/* --- writing --- */

struct yaml_emitter {
    yaml_emitter_t emitter;
    struct arena *a;
};

static int write_out(void *arg, unsigned char *p, size_t n)
{
    strbuf_add(arg, (struct str){(const char *)p, n});
    return 1;
}

static void event_emit(struct yaml_emitter *w, yaml_event_t *e)
{
    (void)yaml_emitter_emit(&w->emitter, e); /* fails on what is no UTF-8 only; the strings come from checked JSON */
}

static size_t digits_count(struct str s, size_t at, size_t most)
{
    size_t n = 0;
    while (n < most && at + n < s.n && s.p[at + n] >= '0' && s.p[at + n] <= '9')
        n++;
    return n;
}

/* Strings that other readers of YAML 1.1 take for something else, although resolve does not: dates and times
 * (2026-01-02, 2026-01-02T03:04:05Z) and numbers to the base of 60 (12:30:45). go-yaml quotes them too. */
static bool needs_quotes(struct str s)
{
    size_t at = 5, n;
    if (digits_count(s, 0, 5) == 4 && s.n > 4 && s.p[4] == '-' && (n = digits_count(s, at, 2)) > 0) {
        at += n;
        if (at < s.n && s.p[at] == '-' && (n = digits_count(s, at + 1, 2)) > 0) {
            at += 1 + n;
            if (at == s.n || strchr("Tt ", s.p[at]))
                return true;
        }
    }
    at = s.n && (s.p[0] == '-' || s.p[0] == '+') ? 1 : 0;
    if (!(n = digits_count(s, at, s.n)) || at + n == s.n || s.p[at + n] != ':')
        return false;
    for (at += n; at < s.n && s.p[at] == ':' && (n = digits_count(s, at + 1, 2)) > 0;)
        at += 1 + n;
    if (at < s.n && s.p[at] == '.')
        at += 1 + digits_count(s, at + 1, s.n);
    return at == s.n;
}

static void emit_text(struct yaml_emitter *w, struct str s, bool string)
{
    struct yaml_node n = {.plain = true, .text = s};
    struct scalar as;
    yaml_event_t e;
    yaml_scalar_style_t style = YAML_PLAIN_SCALAR_STYLE;
    if (string) {
        n.text = str_dup(w->a, s);
        scalar_resolve(&n, &as);
        if (as.type != SCALAR_STRING || str_eqz(s, "<<") || str_eqz(s, "=") || needs_quotes(s))
            style = YAML_DOUBLE_QUOTED_SCALAR_STYLE;
        else if (str_find_char(s, '\n') >= 0)
            style = YAML_LITERAL_SCALAR_STYLE;
    }
    yaml_scalar_event_initialize(&e, NULL, NULL, (const yaml_char_t *)s.p, (int)s.n, 1, 1, style);
    event_emit(w, &e);
}

struct yaml_pair {
    struct str key, value;
};

static int by_pair(const void *x, const void *y)
{
    return str_cmp(((const struct yaml_pair *)x)->key, ((const struct yaml_pair *)y)->key);
}

static void write_value(struct yaml_emitter *w, struct json *j)
{
    yaml_event_t e;
    switch (json_type(j)) {
    case JSON_NULL:
    case JSON_BOOL:
    case JSON_NUMBER: emit_text(w, json_skip(j), false); break;
    case JSON_STRING: emit_text(w, json_string(j, w->a), true); break;
    case JSON_ARRAY:
        yaml_sequence_start_event_initialize(&e, NULL, NULL, 1, YAML_BLOCK_SEQUENCE_STYLE);
        event_emit(w, &e);
        json_enter(j);
        while (json_more(j))
            write_value(w, j);
        yaml_sequence_end_event_initialize(&e);
        event_emit(w, &e);
        break;
    case JSON_OBJECT: {
        ARRAY(struct yaml_pair) pairs = {0};
        json_enter(j);
        while (json_more(j)) {
            struct yaml_pair p = {.key = json_key(j, w->a)};
            p.value = json_skip(j);
            array_push(&pairs, p);
        }
        if (pairs.n)
            qsort(pairs.p, pairs.n, sizeof *pairs.p, by_pair);
        yaml_mapping_start_event_initialize(&e, NULL, NULL, 1, YAML_BLOCK_MAPPING_STYLE);
        event_emit(w, &e);
        array_each (it, &pairs) {
            struct json inner = json_of(it->value);
            emit_text(w, it->key, true);
            write_value(w, &inner);
        }
        yaml_mapping_end_event_initialize(&e);
        event_emit(w, &e);
        array_fini(&pairs);
        break;
    }
    }
}

void yaml_add(struct strbuf *b, struct str checked_json)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct yaml_emitter w = {.a = &a};
    yaml_event_t e;
    struct json j = json_of(checked_json);
    ASSERT(yaml_emitter_initialize(&w.emitter));
    yaml_emitter_set_output(&w.emitter, write_out, b);
    yaml_emitter_set_width(&w.emitter, -1);
    yaml_emitter_set_unicode(&w.emitter, 1);
    yaml_stream_start_event_initialize(&e, YAML_UTF8_ENCODING);
    event_emit(&w, &e);
    yaml_document_start_event_initialize(&e, NULL, NULL, NULL, 1);
    event_emit(&w, &e);
    write_value(&w, &j);
    yaml_document_end_event_initialize(&e, 1);
    event_emit(&w, &e);
    yaml_stream_end_event_initialize(&e);
    event_emit(&w, &e);
    (void)yaml_emitter_flush(&w.emitter);
    yaml_emitter_delete(&w.emitter);
}
