#include "api/codec.h"
#include "edge/acme.h"
#include "wire/json.h"

static const char *const op_names[] = {
#define X(name, text) text,
    ACME_OPS(X)
#undef X
};

static void member_open(struct strbuf *b, const char *key)
{
    if (b->n && b->p[b->n - 1] != '{')
        strbuf_addc(b, ',');
    json_add_string(b, str_of(key));
    strbuf_addc(b, ':');
}

static void text_add(struct strbuf *b, const char *key, struct str s)
{
    if (!s.n)
        return;
    member_open(b, key);
    json_add_string(b, s);
}

static void flag_add(struct strbuf *b, const char *key, bool on)
{
    if (!on)
        return;
    member_open(b, key);
    strbuf_addz(b, "true");
}

static void number_add(struct strbuf *b, const char *key, int64_t n)
{
    if (!n)
        return;
    member_open(b, key);
    json_add_int(b, n);
}

static struct str text_in(const struct val *v, const char *key)
{
    return val_text(val_get_str(v, str_of(key)));
}

static bool flag_in(const struct val *v, const char *key)
{
    return val_true(val_get_str(v, str_of(key)));
}

static int64_t number_in(const struct val *v, const char *key)
{
    return val_num(val_get_str(v, str_of(key)), 0);
}

void acme_request_encode(const struct acme_request *r, struct strbuf *out)
{
    strbuf_addc(out, '{');
    text_add(out, "op", str_of(op_names[r->op]));
#define X(name) text_add(out, #name, r->name);
    ACME_REQUEST_TEXTS(X)
#undef X
    flag_add(out, "insecure", r->insecure);
    flag_add(out, "existing", r->existing);
    flag_add(out, "look", r->look);
    flag_add(out, "follow", r->follow);
    flag_add(out, "tcp", r->tcp);
    number_add(out, "reason", r->reason);
    member_open(out, "identifiers");
    strbuf_addc(out, '[');
    for (size_t i = 0; i < r->nidentifiers; i++) {
        strbuf_addz(out, i ? ",{" : "{");
        text_add(out, "type", r->identifiers[i].ip ? S("ip") : S("dns"));
        text_add(out, "value", r->identifiers[i].value);
        strbuf_addc(out, '}');
    }
    strbuf_addz(out, "]}\n");
}

static struct acme_identifier identifier_in(const struct val *v)
{
    return (struct acme_identifier){.ip = str_eqz(text_in(v, "type"), "ip"), .value = text_in(v, "value")};
}

bool acme_request_decode(struct arena *a, struct str text, struct acme_request *out, struct err *err)
{
    struct val v;
    *out = (struct acme_request){0};
    if (!json_decode(a, text, &v, err))
        return err_wrap(err, "request");
    struct str op = text_in(&v, "op");
    size_t i = 0;
    while (i < countof(op_names) && !str_eqz(op, op_names[i]))
        i++;
    if (i == countof(op_names))
        return err_set(err, E_BAD_REQUEST, "request: no step is called \"" STR_FMT "\"", STR_ARG(op));
    out->op = (enum acme_op)i;
#define X(name) out->name = text_in(&v, #name);
    ACME_REQUEST_TEXTS(X)
#undef X
    out->insecure = flag_in(&v, "insecure");
    out->existing = flag_in(&v, "existing");
    out->look = flag_in(&v, "look");
    out->follow = flag_in(&v, "follow");
    out->tcp = flag_in(&v, "tcp");
    out->reason = number_in(&v, "reason");
    const struct val *list = val_get_str(&v, S("identifiers"));
    if (val_len(list) > ACME_IDENTIFIERS_MOST)
        return err_set(err, E_INVALID, "an order has at most %d names", ACME_IDENTIFIERS_MOST);
    out->identifiers = arena_alloc(a, (val_len(list) + 1) * sizeof *out->identifiers);
    val_each_item (item, list)
        out->identifiers[out->nidentifiers++] = identifier_in(item);
    return true;
}

static void challenge_add(struct strbuf *b, const struct acme_challenge *c)
{
    strbuf_addc(b, '{');
    text_add(b, "type", c->type);
    text_add(b, "url", c->url);
    text_add(b, "token", c->token);
    text_add(b, "status", c->status);
    text_add(b, "error", c->error);
    strbuf_addc(b, '}');
}

static void authorization_add(struct strbuf *b, const struct acme_authorization *z)
{
    strbuf_addc(b, '{');
    text_add(b, "url", z->url);
    text_add(b, "status", z->status);
    text_add(b, "type", z->identifier.ip ? S("ip") : S("dns"));
    text_add(b, "value", z->identifier.value);
    flag_add(b, "wildcard", z->wildcard);
    member_open(b, "challenges");
    strbuf_addc(b, '[');
    for (size_t i = 0; i < z->nchallenges; i++) {
        strbuf_addz(b, i ? "," : "");
        challenge_add(b, &z->challenges[i]);
    }
    strbuf_addz(b, "]}");
}

void acme_answer_encode(const struct acme_answer *r, struct strbuf *out)
{
    strbuf_addc(out, '{');
    if (r->err.kind) {
        text_add(out, "reason", str_of(err_reason(r->err.kind)));
        number_add(out, "code", err_http(r->err.kind));
        text_add(out, "message", r->err.text[0] ? str_of(r->err.text) : S("it failed"));
    }
#define X(name) text_add(out, #name, r->name);
    ACME_ANSWER_TEXTS(X)
#undef X
    number_add(out, "http", r->http);
    number_add(out, "retryAfter", r->retry_after_s);
    flag_add(out, "eabRequired", r->eab_required);
    flag_add(out, "ari", r->ari);
    member_open(out, "authorizations");
    strbuf_addc(out, '[');
    for (size_t i = 0; i < r->nauthorizations; i++) {
        strbuf_addz(out, i ? "," : "");
        authorization_add(out, &r->authorizations[i]);
    }
    strbuf_addz(out, "]}\n");
}

static void authorization_in(struct arena *a, const struct val *v, struct acme_authorization *z)
{
    const struct val *list = val_get_str(v, S("challenges"));
    *z = (struct acme_authorization){.url = text_in(v, "url"),
                                     .status = text_in(v, "status"),
                                     .identifier = identifier_in(v),
                                     .wildcard = flag_in(v, "wildcard"),
                                     .challenges = arena_alloc(a, (val_len(list) + 1) * sizeof *z->challenges)};
    val_each_item (item, list)
        z->challenges[z->nchallenges++] = (struct acme_challenge){.type = text_in(item, "type"),
                                                                  .url = text_in(item, "url"),
                                                                  .token = text_in(item, "token"),
                                                                  .status = text_in(item, "status"),
                                                                  .error = text_in(item, "error")};
}

void acme_answer_decode(struct arena *a, struct str text, struct acme_answer *out)
{
    struct val v;
    struct err bad = ERR;
    *out = (struct acme_answer){0};
    if (!text.n || text.p[text.n - 1] != '\n' || !json_decode(a, text, &v, &bad) || !val_is(&v, VAL_MAP)) {
        (void)err_set(&out->err, E_INTERNAL, "wherry-job ended without an answer");
        return;
    }
    struct str message = text_in(&v, "message");
    if (message.n)
        (void)err_set(&out->err, err_kind_of(text_in(&v, "reason"), (int)number_in(&v, "code")), STR_FMT,
                      STR_ARG(message));
#define X(name) out->name = text_in(&v, #name);
    ACME_ANSWER_TEXTS(X)
#undef X
    out->http = number_in(&v, "http");
    out->retry_after_s = number_in(&v, "retryAfter");
    out->eab_required = flag_in(&v, "eabRequired");
    out->ari = flag_in(&v, "ari");
    const struct val *list = val_get_str(&v, S("authorizations"));
    out->authorizations = arena_alloc(a, (val_len(list) + 1) * sizeof *out->authorizations);
    val_each_item (item, list)
        authorization_in(a, item, &out->authorizations[out->nauthorizations++]);
}
