/* A call in a straight line: a loop, a client and one call, until the answer is there. */
#include "wire/http_client.h"

struct fetch {
    struct loop *loop;
    struct arena *a;
    struct http_answer *out;
    struct err *err;
    bool ok;
};

static void fetch_done(struct http_call *k, const struct http_answer *a, struct err *err)
{
    struct fetch *f = http_call_arg(k);
    f->ok = a != NULL;
    if (a) {
        *f->out = (struct http_answer){.status = a->status, .body = str_dup(f->a, a->body)};
        for (size_t i = 0; i < a->headers.n; i++)
            http_header_add(f->a, &f->out->headers, a->headers.p[i].name, a->headers.p[i].value);
    } else {
        *f->err = *err;
    }
    loop_stop(f->loop);
}

bool http_fetch(const struct http_client_config *config, const struct http_outgoing *o, struct arena *a,
                struct http_answer *out, struct err *err)
{
    static const struct http_call_fns fns = {.done = fetch_done};
    AUTO(loop_free) struct loop *l = loop_new(err);
    if (!l)
        return false;
    struct http_client *c = http_client_new(l, config);
    struct fetch f = {l, a, out, err, false};
    (void)http_send(c, o, &fns, &f);
    loop_run(l);
    http_client_free(c);
    loop_run(l); /* what lingers */
    return f.ok;
}
