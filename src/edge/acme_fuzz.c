/* What an ACME server says, and what the job says of it: the first byte chooses who reads the rest. */
#include "edge/acme_wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void answer_again(struct arena *a, struct str text)
{
    struct acme_answer once, again;
    AUTO(strbuf_fini) struct strbuf b = STRBUF(8 << 20), c = STRBUF(8 << 20);
    acme_answer_decode(a, text, &once);
    acme_answer_encode(&once, &b);
    acme_answer_decode(a, strbuf_str(&b), &again);
    acme_answer_encode(&again, &c);
    ASSERT(b.over || str_eq(strbuf_str(&b), strbuf_str(&c))); /* what is written reads back */
}

static void order_look(struct arena *a, struct str text)
{
    struct acme_order o;
    struct err err = ERR;
    if (!acme_order_read(a, text, &o, &err))
        return;
    ASSERT(acme_url_ok(o.finalize) && o.nauthorizations <= ACME_IDENTIFIERS_MOST);
    for (size_t i = 0; i < o.nauthorizations; i++)
        ASSERT(acme_url_ok(o.authorizations[i]));
}

static void authorization_look(struct arena *a, struct str text)
{
    struct acme_authorization z;
    struct err err = ERR;
    if (!acme_authorization_read(a, text, &z, &err))
        return;
    for (size_t i = 0; i < z.nchallenges; i++) /* it becomes a part of a path */
        ASSERT(acme_base64url_ok(z.challenges[i].token) && acme_url_ok(z.challenges[i].url));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct err err = ERR;
    struct acme_answer answer = {0};
    struct acme_directory dir;
    struct acme_request request;
    struct str status, email;
    if (!size)
        return 0;
    struct str text = str_dup(&a, (struct str){(const char *)data + 1, size - 1});
    switch (data[0]) {
    case 'd': ASSERT(!acme_directory_read(&a, text, &dir, &err) || acme_url_ok(dir.newOrder)); break;
    case 'o': order_look(&a, text); break;
    case 'z': authorization_look(&a, text); break;
    case 'p':
        acme_problem_read(&a, text, 429, &answer);
        ASSERT(answer.err.kind && answer.err.text[0]);
        break;
    case 'a': ASSERT(acme_account_read(&a, text, &status, &email, &err) || err.kind); break;
    case 'r': ASSERT(!acme_renewal_read(&a, text, &answer, &err) || answer.start.n == answer.end.n); break;
    case 'l': ASSERT(acme_link(text, S("alternate")).n <= text.n); break;
    case 't': ASSERT(acme_retry_after(text, 1800000000LL * 1000000000) <= 31 * 86400); break;
    case 'c': ASSERT(acme_chain_check(&a, text) <= 16); break;
    case 'q': ASSERT(acme_request_decode(&a, text, &request, &err) || err.kind); break;
    default: answer_again(&a, text); break;
    }
    return 0;
}
