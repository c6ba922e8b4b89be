/* Explanations in transcripts: objects as YAML, "# why KIND NS/NAME" asks, "# line CONTAINER TEXT" is what a
 * container wrote last, "# throttled CONTAINER N" in how much of its time it is held back, "# unread KIND" what the
 * asker may not read; "# now TIME" as in plan_test.h. */
#include "base/test.h"
#include "control/plan_test.h"
#include "control/why.h"

struct told {
    struct str container, line;
    struct str slow; /* a container, and */
    int64_t percent; /* how much of its time it is held back */
};

static int throttled_of(void *arg, const struct obj *pod, struct str container)
{
    const struct told *t = arg;
    (void)pod;
    return str_eq(container, t->slow) ? (int)t->percent : -1;
}

static struct str line_of(void *arg, const struct obj *pod, struct str container, bool previous)
{
    const struct told *t = arg;
    (void)pod, (void)previous;
    return str_eq(container, t->container) ? t->line : S("");
}

static const struct kind *kind_named(struct str name)
{
    for (size_t i = 0; i < nkinds; i++)
        if (str_eq(kinds[i]->kind, name))
            return kinds[i];
    test_failed(__FILE__, __LINE__, "no kind " STR_FMT, STR_ARG(name));
}

/* Built in, or by a line "# kind" before it. */
static const struct kind *kind_of_fixture(const struct fixture *f, struct str name)
{
    for (size_t i = 0; i < f->ndefined; i++)
        if (str_eq(f->defined[i]->kind, name))
            return f->defined[i];
    return kind_named(name);
}

static void path_answer(const struct why_ask *q, const struct fixture *f, const struct obj *from, struct str to,
                        struct why *w)
{
    struct why_path p = {.from = from, .port = S(""), .proto = S("")};
    struct str word, ns, name;
    CHECK(str_split(to, ' ', &word, &to));
    if (str_eqz(word, "Pod") || str_eqz(word, "Service")) {
        CHECK(str_split(to, '/', &ns, &name));
        if (!str_split(name, ' ', &name, &p.port))
            p.port = S("");
        p.to = objset_get(f->sets[kind_named(word)->id], ns, name);
        CHECK(p.to);
    } else {
        p.address = word;
        p.port = to;
    }
    if (!str_split(p.port, '/', &p.port, &p.proto))
        p.proto = S("");
    why_reach(q, &p, w);
}

static void why_answer(struct str input, struct strbuf *out)
{
    static const char *const states[] = {"as declared", "on its way", "blocked"};
    struct fixture f;
    struct told told = {0};
    const struct kind *kind = NULL;
    struct key key = {0};
    fixture_init(&f);
    struct str rest = input, line, word, text, name, to = STR_NONE;
    while (str_cut(&rest, '\n', &line)) {
        if (!str_starts(line, S("# ")) || !str_split(str_sub(line, 2, line.n), ' ', &word, &text))
            continue;
        if (str_eqz(word, "why")) {
            CHECK(str_split(text, ' ', &name, &text));
            kind = kind_of_fixture(&f, name);
            CHECK(str_split(text, '/', &key.ns, &key.name));
        } else if (str_eqz(word,
                           "to")) { /* "# to Pod NS/NAME PORT[/PROTO]", "# to IP PORT": from the pod of "# why" */
            to = text;
        } else if (str_eqz(word, "kinds")) { /* "certs": all of cert-manager.io */
            for (const char *const *k = cert_kinds_of_test; *k; k++)
                fixture_define(&f, str_of(*k));
        } else if (str_eqz(word, "kind")) {
            fixture_define(&f, text);
        } else if (str_eqz(word, "line")) {
            CHECK(str_split(text, ' ', &told.container, &told.line));
        } else if (str_eqz(word, "throttled")) {
            CHECK(str_split(text, ' ', &told.slow, &text) && str_to_i64(text, 0, 100, &told.percent));
        } else if (str_eqz(word, "unread")) {
            f.view_sets[kind_named(text)->id] = NULL;
        } else if (str_eqz(word, "now")) {
            CHECK(time_parse(text, &f.view.now));
        }
    }
    fixture_add(&f, input);
    AUTO(why_fini) struct why w = {0};
    struct why_ask q = {.view = &f.view, .last_line = line_of, .throttled = throttled_of, .arg = &told};
    const struct obj *o = objset_get(f.sets[kind->id], key.ns, key.name);
    CHECK(o);
    if (to.n)
        path_answer(&q, &f, o, to, &w);
    else
        why_object(&q, o, &w);
    strbuf_addf(out, "%s%s%s: ", states[w.found.state], w.found.cause[0] ? ", " : "", w.found.cause);
    why_text(&w, out);
    strbuf_addc(out, '\n');
    array_each (it, &w.found.chain)
        strbuf_addf(out, "  " STR_FMT "\n", STR_ARG(*it));
    fixture_fini(&f);
}

TEST(explanations_are_as_in_their_transcript)
{
    test_transcript("tests/control/why.txt", why_answer);
    test_transcript("tests/control/why_claims.txt", why_answer);
    test_transcript("tests/control/why_ingress.txt", why_answer);
    test_transcript("tests/control/why_balancer.txt", why_answer);
    test_transcript("tests/control/why_csi.txt", why_answer);
    test_transcript("tests/control/why_disks.txt", why_answer);
    test_transcript("tests/control/why_acme.txt", why_answer);
    test_transcript("tests/control/why_gateway.txt", why_answer);
    test_transcript("tests/control/why_hpa.txt", why_answer);
    test_transcript("tests/control/why_policy.txt", why_answer);
}
