#include "cli/connect.h"
#include "api/codec.h"
#include "cli/output.h"
#include "sys/loop.h"
#include "wire/http.h"

#define AT(field) offsetof(struct connect_options, field)
const struct arg_row connect_rows[] = {
    {'n', "namespace", ARG_TEXT, AT(ns), "NAMESPACE", "the namespace, instead of the context's"},
    {0, "kubeconfig", ARG_TEXT, AT(kubeconfig), "FILE",
     "instead of $KUBECONFIG, /etc/wherry/admin.kubeconfig, ~/.kube/config"},
    {0, "context", ARG_TEXT, AT(context), "NAME", "the context of the kubeconfig to use"},
    {0, "root", ARG_TEXT, AT(root), "DIR", "use the cluster that wherry up --root DIR runs"},
    {0, "server", ARG_TEXT, AT(server), "URL", "the server, instead of the kubeconfig's"},
    {0, "token", ARG_TEXT, AT(token), "TOKEN", "a bearer token, instead of the kubeconfig's user"},
};
const size_t connect_nrows = countof(connect_rows);

bool client_open(struct client *c, const struct connect_options *o, struct err *err)
{
    struct kubeconfig_overrides over = {.context = o->context, .server = o->server, .ns = o->ns, .token = o->token};
    struct str path = o->kubeconfig;
    if (o->root.n && path.n)
        return err_set(err, E_INVALID, "--root and --kubeconfig: only one of them");
    if (o->root.n)
        path = arena_fmt(&c->arena, STR_FMT "/etc/wherry/admin.kubeconfig", STR_ARG(o->root));
    if (!kubeconfig_load(&c->arena, path.n ? arena_strz(&c->arena, path) : NULL, &over, &c->config, err))
        return o->root.n && err->kind == E_NOT_FOUND
                   ? err_set(err, E_NOT_FOUND,
                             STR_FMT " is not there: no cluster was started below " STR_FMT
                                     " (wherry up --root " STR_FMT " does)",
                             STR_ARG(path), STR_ARG(o->root), STR_ARG(o->root))
                   : false;
    c->ns = c->config.ns;
    c->ns_given = o->ns.n > 0;
    c->loop = loop_new(err);
    if (!c->loop)
        return false;
    c->transport = http_transport_of(c->loop, &c->config, err);
    return c->transport != NULL;
}

void client_fini(struct client *c)
{
    transport_free(c->transport);
    if (c->loop)
        loop_run(c->loop); /* connections say goodbye: at most 5 s, usually at once */
    loop_free(c->loop);
    mem_free(c->resources);
    arena_fini(&c->arena);
    *c = (struct client){0};
}

bool client_unreachable(const struct client *c, struct err *err)
{
    struct err why = *err;
    return err_set(err, why.kind,
                   "the server at " STR_FMT " cannot be reached: %s; is it up (wherry up), and is this "
                   "the right kubeconfig (--kubeconfig, --root)?",
                   STR_ARG(c->config.server), why.text);
}

bool client_ask_text(struct client *c, const struct ask *q, struct str *out, struct err *err)
{
    AUTO(call_fini) struct call call = {0};
    AUTO(strbuf_fini) struct strbuf body = STRBUF(64u << 20);
    if (q->body)
        json_encode(&body, q->body);
    struct call_options o = CALL_OPTIONS(.verb = CALL_RAW, .method = q->method, .path = q->path, .query = q->query,
                                         .accept = q->accept, .content_type = q->content_type,
                                         .bytes = strbuf_str(&body));
    if (q->body && !q->content_type.n)
        o.content_type = S("application/json");
    bool ok = call_run(&call, c->transport, &o, err);
    struct str warnings = call.warnings ? str_of(call.warnings) : STR_NONE, one;
    while (warnings.n && str_cut(&warnings, '\n', &one))
        output_show(stderr, "Warning: " STR_FMT "\n", STR_ARG(one));
    if (!ok)
        return call.http ? false : client_unreachable(c, err);
    *out = str_dup(&c->arena, call.bytes);
    return true;
}

bool client_ask(struct client *c, const struct ask *q, struct val *out, struct err *err)
{
    struct str text;
    struct val ignored;
    return client_ask_text(c, q, &text, err) && json_decode(&c->arena, text, out ? out : &ignored, err);
}

void query_put(struct strbuf *b, const char *name, struct str value)
{
    if (!value.n)
        return;
    strbuf_addf(b, "%s%s=", b->n ? "&" : "", name);
    http_escape(b, value);
}

int client_failed(const struct client *c, const struct err *err)
{
    output_show(stderr, "wherry %s: %s\n", c->verb, err->text);
    return 1;
}
