/* What is to be done for ACME's objects, and what follows from an answer: transcripts. The first lines say what is
 * asked:
 *   # acme orders.acme.cert-manager.io/default/web
 *   # fact solved, # fact tries 3, # fact hook /usr/local/bin/dns, # fact old-key K,
 *   # fact names {"dnsNames":["a"]}, # fact rest 2026-01-01T01:00:00Z
 *   # heard ORDER {"status":"pending", ...}      the answer to that step, as wherry-job gives it; "look", "replaces"
 *                                                before the answer are of the request */
#include "api/codec.h"
#include "base/test.h"
#include "control/acme.h"
#include "control/plan_test.h"

struct acme_story {
    struct fixture f;
    struct arena a;
    struct str definition, ns, name;
    struct acme_facts facts;
    bool heard;
    struct acme_todo did;
    struct acme_answer answer;
};

static void digest_of_test(struct str text, uint8_t out[32])
{
    for (size_t i = 0; i < 32; i++)
        out[i] = (uint8_t)(stable_hash(text, i) & 0xff);
}

static void names_read(struct acme_story *s, struct str json)
{
    struct err err = ERR;
    struct val *v = ARENA_NEW(&s->a, struct val);
    CHECK_OK(json_decode(&s->a, json, v, &err), err);
    s->facts.csr = v;
}

static void fact_read(struct acme_story *s, struct str line)
{
    struct str word = line, value = S("");
    uint64_t n = 0;
    (void)str_split(line, ' ', &word, &value); /* some have no value */
    if (str_eqz(word, "solved"))
        s->facts.solved = true;
    else if (str_eqz(word, "checked"))
        s->facts.checked = true;
    else if (str_eqz(word, "tries") && str_to_u64(value, 100, &n))
        s->facts.tries = (int)n;
    else if (str_eqz(word, "under-way") && str_to_u64(value, 100, &n))
        s->facts.under_way = n;
    else if (str_eqz(word, "hook"))
        s->facts.hook = value;
    else if (str_eqz(word, "old-key"))
        s->facts.old_key = value;
    else if (str_eqz(word, "new-key"))
        s->facts.new_key = value;
    else if (str_eqz(word, "replaces"))
        s->facts.replaces = value;
    else if (str_eqz(word, "ari"))
        s->facts.ari = value;
    else if (str_eqz(word, "names"))
        names_read(s, value);
    else
        CHECK(str_eqz(word, "rest") && time_parse(value, &s->facts.rest_until));
}

static void authorizations_read(struct acme_story *s, const struct val *list)
{
    s->answer.authorizations = arena_alloc(&s->a, (val_len(list) + 1) * sizeof *s->answer.authorizations);
    val_each_item (z, list) {
        const struct val *challenges = val_get_str(z, S("challenges"));
        struct acme_authorization *out = &s->answer.authorizations[s->answer.nauthorizations++];
        out->url = val_text(val_get_str(z, S("url")));
        out->status = val_text(val_get_str(z, S("status")));
        out->identifier.value = val_text(val_get_str(z, S("value")));
        out->wildcard = val_true(val_get_str(z, S("wildcard")));
        out->challenges = arena_alloc(&s->a, (val_len(challenges) + 1) * sizeof *out->challenges);
        val_each_item (c, challenges)
            out->challenges[out->nchallenges++] = (struct acme_challenge){
                .type = val_text(val_get_str(c, S("type"))),
                .url = val_text(val_get_str(c, S("url"))),
                .token = val_text(val_get_str(c, S("token")))};
    }
}

static void answer_read(struct acme_story *s, struct str line)
{
    static const char *const ops[] = {
#define X(name, text) #name,
        ACME_OPS(X)
#undef X
    };
    struct str word, rest = line;
    struct val v;
    struct err err = ERR;
    CHECK(str_split(line, ' ', &word, &rest));
    for (size_t i = 0; i < countof(ops); i++)
        if (str_eqz(word, ops[i]))
            s->did.request.op = (enum acme_op)i;
    if (str_starts(rest, S("look ")))
        s->did.request.url = S("https://ca.example/o/1");
    if (str_starts(rest, S("replaces ")))
        s->did.request.replaces = S("a.b");
    rest = str_sub(rest, (size_t)str_find_char(rest, '{'), rest.n);
    CHECK_OK(json_decode(&s->a, rest, &v, &err), err);
    struct str message = val_text(val_get_str(&v, S("message")));
    if (message.n)
        (void)err_set(&s->answer.err, E_UNAVAILABLE, STR_FMT, STR_ARG(message));
#define X(name) s->answer.name = val_text(val_get_str(&v, S(#name)));
    ACME_ANSWER_TEXTS(X)
#undef X
    s->answer.http = val_num(val_get_str(&v, S("http")), 0);
    s->answer.retry_after_s = val_num(val_get_str(&v, S("retryAfter")), 0);
    authorizations_read(s, val_get_str(&v, S("authorizations")));
    s->heard = true;
}

static void story_line(struct acme_story *s, struct str line)
{
    struct str word, rest, tail;
    if (!str_split(line, ' ', &word, &rest))
        return;
    if (str_eqz(word, "acme")) {
        CHECK(str_split(rest, '/', &s->definition, &tail) && str_split(tail, '/', &s->ns, &s->name));
    } else if (str_eqz(word, "fact")) {
        fact_read(s, rest);
    } else if (str_eqz(word, "heard")) {
        answer_read(s, rest);
    }
}

static void text_line(struct strbuf *out, const char *key, struct str s)
{
    if (s.n)
        strbuf_addf(out, " %s=" STR_FMT, key, STR_ARG(s));
}

static void todo_text(const struct acme_todo *t, struct strbuf *out)
{
    static const char *const hows[] = {"nothing", "job", "webhook", "hook"}, *const ops[] = {
#define X(name, text) text,
                                                                                 ACME_OPS(X)
#undef X
                                                                             };
    const struct acme_request *r = &t->request;
    strbuf_addf(out, "do %s %s", hows[t->how], ops[r->op]);
#define X(name) text_line(out, #name, r->name);
    ACME_REQUEST_TEXTS(X)
#undef X
    for (size_t i = 0; i < r->nidentifiers; i++)
        text_line(out, r->identifiers[i].ip ? "ip" : "dns", r->identifiers[i].value);
    strbuf_addz(out, r->look ? " look" : "");
    strbuf_addz(out, r->follow ? " follow" : "");
    text_line(out, "solver", t->solver);
    strbuf_addc(out, '\n');
}

static void acme_case(struct str input, struct strbuf *out)
{
    static const char *const defined[] = {"cert-manager.io/v1 Issuer issuers",
                                          "cert-manager.io/v1 ClusterIssuer clusterissuers cluster",
                                          "cert-manager.io/v1 Certificate certificates",
                                          "acme.cert-manager.io/v1 Order orders",
                                          "acme.cert-manager.io/v1 Challenge challenges",
                                          "cert-manager.io/v1 CertificateRequest certificaterequests"};
    struct acme_story s = {.facts = {.thumbprint = S("PRINT"), .key_hash = S("HASH"), .digest = digest_of_test}};
    AUTO(plan_fini) struct plan plan = {0};
    struct acme_todo todo = {0};
    struct str rest = input, line;
    fixture_init(&s.f);
    for (size_t i = 0; i < countof(defined); i++)
        fixture_define(&s.f, str_of(defined[i]));
    while (str_cut(&rest, '\n', &line))
        if (str_starts(line, S("# ")))
            story_line(&s, str_sub(line, 2, line.n));
    fixture_add(&s.f, input);
    const struct kind *k = view_defined(&s.f.view, arena_strz(&s.a, s.definition));
    struct obj *o = k ? view_get(&s.f.view, k, s.ns, s.name) : NULL;
    CHECK(o);
    if (s.heard)
        acme_heard(&s.f.view, o, &s.facts, &s.did, &s.answer, &plan);
    else
        acme_plan(&s.f.view, o, &s.facts, &plan, &todo);
    plan_text(&plan, out);
    if (todo.how != ACME_NOTHING)
        todo_text(&todo, out);
    if (!out->n)
        strbuf_addz(out, "nothing\n");
    fixture_fini(&s.f);
    arena_fini(&s.a);
}

TEST(acme_states)
{
    test_transcript("tests/control/acme.txt", acme_case);
}
