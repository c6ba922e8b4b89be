#include "oci/registry.h"
#include "wire/json.h"

static struct str token_cut(struct str *s) /* RFC 7230 token */
{
    size_t n = 0;
    while (n < s->n && !strchr(" \t,=\"", s->p[n]))
        n++;
    struct str t = str_sub(*s, 0, n);
    *s = str_sub(*s, n, s->n);
    return t;
}

static struct str quoted_cut(struct arena *a, struct str *s)
{
    if (!s->n || s->p[0] != '"')
        return str_dup(a, token_cut(s));
    char *out = arena_alloc(a, s->n);
    size_t n = 0, i = 1;
    for (; i < s->n && s->p[i] != '"'; i++) {
        if (s->p[i] == '\\' && i + 1 < s->n)
            i++;
        out[n++] = s->p[i];
    }
    *s = str_sub(*s, i + 1, s->n);
    return (struct str){out, n};
}

void challenge_parse(struct arena *a, struct str header, struct challenge *out)
{
    struct challenge c = {0}; /* the one being read */
    struct str s = header;
    *out = c;
    for (;;) {
        while (s.n && strchr(" \t,", s.p[0]))
            s = str_sub(s, 1, s.n);
        struct str word = token_cut(&s), after = s;
        while (after.n && strchr(" \t", after.p[0]))
            after = str_sub(after, 1, after.n);
        bool parameter = word.n && after.n && after.p[0] == '=';
        if (!parameter) { /* a new scheme, or the end */
            bool good = c.scheme == CHALLENGE_BASIC || (c.scheme == CHALLENGE_BEARER && c.realm.n);
            if (good && c.scheme > out->scheme)
                *out = c;
            if (!word.n)
                return; /* also at what is no list of challenges */
            c = (struct challenge){.scheme = str_ieq(word, S("Bearer"))  ? CHALLENGE_BEARER
                                             : str_ieq(word, S("Basic")) ? CHALLENGE_BASIC
                                                                         : CHALLENGE_NONE};
            continue;
        }
        s = str_sub(after, 1, after.n);
        while (s.n && strchr(" \t=", s.p[0])) /* "=" more: the end of a token68 */
            s = str_sub(s, 1, s.n);
        struct str value = quoted_cut(a, &s);
        if (str_ieq(word, S("realm")))
            c.realm = value;
        else if (str_ieq(word, S("service")))
            c.service = value;
        else if (str_ieq(word, S("scope")))
            c.scope = value;
    }
}

/* Four numbers, the first of them 127: a name that only begins like that is somebody else's. */
static bool is_loopback4(struct str host)
{
    struct str part;
    uint64_t v;
    int n = 0;
    for (; str_cut(&host, '.', &part); n++)
        if (part.n > 3 || (part.n > 1 && part.p[0] == '0') || !str_to_u64(part, 255, &v) || (n == 0 && v != 127))
            return false;
    return n == 4;
}

bool registry_is_local(struct str registry)
{
    struct str host, port;
    if (str_starts(registry, S("[::1]"))) {
        struct str after = str_sub(registry, 5, registry.n);
        return !after.n || after.p[0] == ':';
    }
    (void)str_split(registry, ':', &host, &port);
    return str_ieq(host, S("localhost")) || is_loopback4(host);
}

struct str registry_base(struct arena *a, struct str registry)
{
    if (str_eqz(registry, "docker.io"))
        return S("https://registry-1.docker.io");
    return arena_fmt(a, "%s://" STR_FMT, registry_is_local(registry) ? "http" : "https", STR_ARG(registry));
}

struct str registry_error(struct arena *a, struct str body)
{
    struct err ignored = ERR; /* no JSON: then there are no words to quote */
    struct str code = S(""), message = S("");
    body = str_trim(body);
    if (!body.n || body.p[0] != '{' || !json_check(body, &ignored))
        return S("");
    struct json j = json_of(body);
    json_enter(&j);
    while (json_more(&j)) {
        if (!str_eqz(json_key(&j, a), "errors") || json_type(&j) != JSON_ARRAY) {
            (void)json_skip(&j);
            continue;
        }
        json_enter(&j);
        while (json_more(&j)) {
            if (json_type(&j) != JSON_OBJECT || code.n) {
                (void)json_skip(&j);
                continue;
            }
            json_enter(&j);
            while (json_more(&j)) {
                struct str key = json_key(&j, a);
                if (json_type(&j) != JSON_STRING)
                    (void)json_skip(&j);
                else if (str_eqz(key, "code"))
                    code = json_string(&j, a);
                else if (str_eqz(key, "message"))
                    message = json_string(&j, a);
                else
                    (void)json_skip(&j);
            }
        }
    }
    if (!code.n)
        return str_sub(message, 0, 300);
    char *lower = arena_strz(a, code);
    for (char *c = lower; *c; c++)
        *c = *c >= 'A' && *c <= 'Z' ? (char)(*c + 32) : *c == '_' ? ' ' : *c;
    if (!message.n || str_eqz(message, lower))
        return str_sub(str_of(lower), 0, 300);
    return arena_fmt(a, "%.100s: " STR_FMT, lower, STR_ARG(str_sub(message, 0, 300)));
}
