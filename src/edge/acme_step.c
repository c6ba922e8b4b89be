#include "edge/acme_step.h"
#include "api/codec.h"
#include "base/clock.h"
#include <sys/wait.h>

#define JOB_MOST  (180 * NS_PER_S)
#define HOOK_MOST (120 * NS_PER_S)
#define HOOK_TEXT 4096
#define WEBHOOK   "webhook.acme.cert-manager.io/v1alpha1"

/* --- by the administrator's program --- */

static void hook_done(struct acme_child *c)
{
    struct acme_step *s = container_of(c, struct acme_step, child);
    struct str said = str_trim(strbuf_str(&c->output));
    ptrdiff_t line = str_rfind_char(said, '\n');
    said = line < 0 ? said : str_sub(said, (size_t)line + 1, said.n);
    if (c->err.kind)
        s->answer.err = c->err;
    else if (!WIFEXITED(c->status) || WEXITSTATUS(c->status) != 0)
        (void)err_set(&s->answer.err, E_UNAVAILABLE, "the program of the setting acme-dns-hook %s %d%s%.*s",
                      WIFEXITED(c->status) ? "ended with status" : "was ended by signal",
                      WIFEXITED(c->status) ? WEXITSTATUS(c->status) : WTERMSIG(c->status), said.n ? ": " : "",
                      (int)MIN(said.n, 300u), said.p ? said.p : "");
    s->done(s);
}

static void step_hook_start(struct acme_step *s, struct str fqdn)
{
    const struct acme_request *r = &s->todo->request;
    struct strbuf nothing = STRBUF(0);
    const char *const argv[] = {arena_strz(&s->arena, s->tools->hook),
                                r->op == ACME_DNS_PRESENT ? "present" : "cleanup", arena_strz(&s->arena, fqdn),
                                arena_strz(&s->arena, r->value), NULL};
    acme_child_start(&s->child, s->tools->loop, argv, &nothing, HOOK_TEXT, true, HOOK_MOST, hook_done);
}

/* --- by a webhook --- */

static void webhook_done(struct call *c)
{
    struct acme_step *s = container_of(c, struct acme_step, call);
    struct val v;
    struct err bad = ERR;
    struct str group = s->todo->group;
    if (!c->ok) {
        s->answer.err = c->err;
        if (c->http == 403)
            (void)err_wrap(&s->answer.err,
                           "bind the solver's ClusterRole (create in " STR_FMT ") to the User system:wherry-edge",
                           STR_ARG(group));
        else
            (void)err_wrap(&s->answer.err, "webhook of " STR_FMT, STR_ARG(group));
    } else if (!json_decode(&s->arena, str_dup(&s->arena, c->bytes), &v, &bad)) {
        (void)err_set(&s->answer.err, E_INVALID, "webhook of " STR_FMT ": answers no JSON", STR_ARG(group));
    } else {
        const struct val *response = val_get_str(&v, S("response"));
        struct str said = val_text(val_get_str(val_get_str(response, S("status")), S("message")));
        if (!val_true(val_get_str(response, S("success"))))
            (void)err_set(&s->answer.err, E_UNAVAILABLE, "webhook of " STR_FMT ": %.*s", STR_ARG(group),
                          (int)MIN(said.n, 500u), said.n ? said.p : "it has no success, and says nothing");
    }
    s->done(s);
}

static void text_set(struct arena *a, struct val *map, const char *name, struct str s)
{
    (void)val_set_str(a, map, str_of(name), val_str(a, s));
}

static void step_webhook_start(struct acme_step *s, struct str fqdn, struct str zone)
{
    const struct acme_todo *t = s->todo;
    struct arena *a = &s->arena;
    struct val payload = val_map(), request = val_map();
    AUTO(strbuf_fini) struct strbuf body = STRBUF(1 << 20);
    text_set(a, &payload, "apiVersion", S(WEBHOOK));
    text_set(a, &payload, "kind", S("ChallengePayload"));
    text_set(a, &request, "uid", t->uid);
    text_set(a, &request, "action", t->request.op == ACME_DNS_PRESENT ? S("Present") : S("CleanUp"));
    text_set(a, &request, "type", S("dns-01"));
    text_set(a, &request, "dnsName", t->dns_name);
    text_set(a, &request, "key", t->key);
    text_set(a, &request, "resourceNamespace", t->ns);
    text_set(a, &request, "resolvedFQDN", STR_JOIN(a, fqdn, S(".")));
    text_set(a, &request, "resolvedZone", STR_JOIN(a, zone, S(".")));
    (void)val_set_str(a, &request, S("allowAmbientCredentials"), val_bool(false));
    if (t->config)
        (void)val_set_str(a, &request, S("config"), val_copy(a, t->config));
    (void)val_set_str(a, &payload, S("request"), request);
    json_encode(&body, &payload);
    struct str path = arena_fmt(a, "/apis/" STR_FMT "/v1alpha1/" STR_FMT, STR_ARG(t->group), STR_ARG(t->solver));
    struct call_options o = CALL_OPTIONS(.verb = CALL_RAW, .method = "POST", .path = path,
                                         .content_type = S("application/json"), .accept = S("application/json"),
                                         .bytes = strbuf_str(&body));
    s->call = (struct call){.done = webhook_done, .max_bytes = ACME_TEXT_MOST};
    call_start(&s->call, s->tools->transport, &o);
}

/* --- by the job --- */

static void job_done(struct acme_child *c)
{
    struct acme_step *s = container_of(c, struct acme_step, child);
    acme_answer_decode(&s->arena, strbuf_str(&c->output), &s->answer);
    if (c->err.kind)
        s->answer.err = c->err;
    if (!s->asking || s->answer.err.kind) {
        s->done(s);
        return;
    }
    s->asking = false;
    struct str fqdn = s->answer.target, zone = s->answer.zone;
    acme_child_stop(&s->child);
    s->answer = (struct acme_answer){0};
    if (s->todo->how == ACME_BY_WEBHOOK)
        step_webhook_start(s, fqdn, zone);
    else
        step_hook_start(s, fqdn);
}

static void step_job_start(struct acme_step *s, const struct acme_request *r)
{
    struct strbuf input = STRBUF(ACME_LINE_MOST);
    const char *const argv[] = {arena_strz(&s->arena, s->tools->job), "acme", NULL};
    acme_request_encode(r, &input);
    acme_child_start(&s->child, s->tools->loop, argv, &input, ACME_LINE_MOST + 1, false, JOB_MOST, job_done);
}

void acme_step_start(struct acme_step *s, const struct acme_tools *t, const struct acme_todo *todo,
                     void (*done)(struct acme_step *s))
{
    const struct acme_request *r = &todo->request;
    *s = (struct acme_step){.tools = t, .todo = todo, .done = done};
    struct acme_request where = {.op = ACME_DNS_TARGET, .fqdn = r->fqdn, .follow = r->follow};
    s->asking = todo->how == ACME_BY_WEBHOOK || (todo->how == ACME_BY_HOOK && r->follow);
    if (s->asking)
        step_job_start(s, &where);
    else if (todo->how == ACME_BY_HOOK)
        step_hook_start(s, r->fqdn);
    else
        step_job_start(s, r);
}

void acme_step_fini(struct acme_step *s)
{
    call_cancel(&s->call);
    acme_child_stop(&s->child);
    arena_fini(&s->arena);
}
