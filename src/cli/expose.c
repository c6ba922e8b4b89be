#include "cli/fields.h"
#include "cli/output.h"
#include "cli/resource.h"
#include "cli/verbs.h"

/* wherry expose: a Service and an Ingress for a workload, by server-side apply, so that saying it again changes what
 * it wrote and leaves alone what others did. A Service that leads to its pods already is used as it is. */
struct expose_command {
    struct connect_options to;
    struct words hosts;
    struct str path, name, class, secret, issuer, output, dry_run;
    int64_t port;
    bool tls;
    struct client *client;
    struct output form;
    struct str service;      /* its name */
    struct val service_port; /* as an Ingress names it: {number} or {name} */
};

#define AT(field) offsetof(struct expose_command, field)
static const struct arg_row rows[] = {
    {0, "host", ARG_TEXTS, AT(hosts), "NAME",
     "the host it is asked for by; may be given several times. None: all hosts"},
    {0, "path", ARG_TEXT, AT(path), "PATH", "what begins with it is served; / where it is not given"},
    {0, "port", ARG_NUM, AT(port), "PORT", "which of its ports, where it has several"},
    {0, "tls", ARG_FLAG, AT(tls), NULL, "over https, with the certificate of Secret NAME-tls"},
    {0, "secret", ARG_TEXT, AT(secret), "SECRET", "with --tls: the Secret with the certificate"},
    {0, "issuer", ARG_TEXT, AT(issuer), "ISSUER",
     "with --tls: the ClusterIssuer that certificates are asked of; the only one, where it is not given"},
    {0, "class", ARG_TEXT, AT(class), "CLASS", "the IngressClass; the default one where it is not given"},
    {0, "name", ARG_TEXT, AT(name), "NAME", "of the Service and the Ingress, instead of the workload's"},
    {'o', "output", ARG_TEXT, AT(output), "FORM", "show what was written: yaml, json or name"},
    {0, "dry-run", ARG_EITHER, AT(dry_run), "client",
     "nothing is written, only checked; =client: the server does not check"},
};
static const struct arg_spec spec = {
    .verb = "expose",
    .usage = "RESOURCE/NAME --host NAME",
    .summary = "Lets a workload be reached from outside: a Service for its pods and an Ingress for that, both by its "
               "name. Said again, it changes what it wrote.",
    .examples =
        "  wherry expose deploy/web --host web.example.org          http://web.example.org\n"
        "  wherry expose deploy/web --host web.example.org --tls    https, by a certificate that is asked for\n"
        "  wherry expose svc/web --host example.org --path /web     for a Service that there is\n",
    .rows = rows,
    .nrows = countof(rows),
    .connects = true,
};

static struct val document_begin(struct expose_command *x, const char *version, const char *kind)
{
    struct arena *a = &x->client->arena;
    struct val v = val_map();
    val_set_text(a, &v, N(apiVersion), str_of(version));
    val_set_text(a, &v, N(kind), str_of(kind));
    val_set(a, val_need_map(a, &v, N(metadata)), N(name), val_str(a, x->name));
    return v;
}

/* Writes one, and shows it as it was asked. */
static bool document_apply(struct expose_command *x, const struct val *v, const struct resource **r, struct val *out,
                           struct err *err)
{
    struct client *c = x->client;
    if (!resource_of_kind(c, val_text_at(v, N(apiVersion)), val_text_at(v, N(kind)), r, err))
        return false;
    struct ask q = {.method = "PATCH",
                    .path = resource_path(&c->arena, *r, c->ns, x->name, S("")),
                    .query = x->dry_run.p ? S("fieldManager=wherry-expose&fieldValidation=Strict&dryRun=All")
                                          : S("fieldManager=wherry-expose&fieldValidation=Strict"),
                    .content_type = S("application/apply-patch+yaml"),
                    .body = v};
    *out = *v;
    if (str_eqz(x->dry_run, "client") || client_ask(c, &q, out, err))
        return true;
    if (err->kind == E_CONFLICT)
        return err_wrap(err, STR_FMT " is somebody else's: --name gives it another name",
                        STR_ARG(resource_label(&c->arena, *r, x->name)));
    return false;
}

static void document_show(struct expose_command *x, const struct val *v, const struct resource *r, const char *done,
                          struct str more)
{
    struct arena *a = &x->client->arena;
    if (x->form.form != OUT_TABLE) {
        if (x->form.form == OUT_YAML)
            output_show(stdout, "---\n");
        output_print(x->client, &x->form, r, v);
        return;
    }
    output_show(stdout, STR_FMT " %s%s" STR_FMT "\n",
                STR_ARG(resource_label(a, r, val_text_at(v, N(metadata), N(name)))), done,
                x->dry_run.p ? " (dry run)" : "", STR_ARG(more));
}

/* ---- the Service ---- */

/* Whether all that the selector asks for is among the labels. */
static bool is_selected(const struct val *selector, const struct val *labels)
{
    val_each_member (it, selector)
        if (!str_eq(val_text(val_get_str(labels, it->name->s)), val_text(&it->v)))
            return false;
    return val_len(selector) > 0;
}

static struct val port_named(struct arena *a, const struct val *port)
{
    struct val p = val_map();
    val_set_num(a, &p, N(number), val_num_at(port, 0, N(port)));
    return p;
}

/* The port of a Service that is there: the one asked for, by number, or by where it leads. */
static bool port_choose(struct expose_command *x, const struct val *service, struct err *err)
{
    const struct val *ports = val_at(service, N(spec), N(ports)), *found = NULL;
    if (x->port <= 0 && val_len(ports) > 1)
        return err_set(err, E_INVALID, "Service " STR_FMT " has %zu ports: say which, by --port", STR_ARG(x->service),
                       val_len(ports));
    val_each_item (p, ports)
        if (!found && (x->port <= 0 || val_num_at(p, 0, N(port)) == x->port))
            found = p;
    val_each_item (p, ports)
        if (!found && val_num_at(p, 0, N(targetPort)) == x->port)
            found = p;
    if (!found)
        return err_set(err, E_INVALID, "Service " STR_FMT " has no port %lld", STR_ARG(x->service),
                       (long long)x->port);
    x->service_port = port_named(&x->client->arena, found);
    return true;
}

/* The port of the pods: the one asked for, or the only one that their containers declare. */
static bool container_port(struct expose_command *x, const struct val *pod, int64_t *port, struct err *err)
{
    size_t n = 0;
    *port = x->port;
    val_each_item (c, val_at(pod, N(spec), N(containers)))
        val_each_item (p, val_get(c, N(ports))) {
            n++;
            if (x->port <= 0)
                *port = val_num_at(p, 0, N(containerPort));
        }
    if (x->port > 0 || n == 1)
        return true;
    return err_set(err, E_INVALID, "its containers declare %s: say which it serves, by --port",
                   n ? "several ports" : "no port");
}

static bool service_make(struct expose_command *x, const struct val *pod, const struct val *selector, struct err *err)
{
    struct arena *a = &x->client->arena;
    int64_t number;
    if (!container_port(x, pod, &number, err))
        return false;
    struct val v = document_begin(x, "v1", "Service"), ports = val_list(), port = val_map(), out;
    val_set_text(a, &port, N(name), S("http"));
    val_set_num(a, &port, N(port), number);
    val_set_num(a, &port, N(targetPort), number);
    val_set_text(a, &port, N(protocol), S("TCP"));
    val_add(a, &ports, port);
    struct val *s = val_need_map(a, &v, N(spec));
    val_set(a, s, N(selector), val_copy(a, selector));
    val_set(a, s, N(ports), ports);
    const struct resource *r;
    if (!document_apply(x, &v, &r, &out, err))
        return false;
    x->service_port = port_named(a, &port);
    document_show(x, &out, r, "applied", S(""));
    return true;
}

static bool was_ours(const struct val *service)
{
    val_each_item (m, val_at(service, N(metadata), N(managedFields)))
        if (str_eqz(val_text_at(m, N(manager)), "wherry-expose"))
            return true;
    return false;
}

/* One that leads to the pods and is not ours is left as it is. */
static bool service_find(struct expose_command *x, const struct val *pod, const struct val *selector, struct err *err)
{
    struct client *c = x->client;
    const struct resource *r;
    struct val have;
    struct err absent = ERR;
    if (!resource_of_kind(c, S("v1"), S("Service"), &r, err))
        return false;
    x->service = x->name;
    if (!client_ask(c, &(struct ask){.path = resource_path(&c->arena, r, c->ns, x->name, S(""))}, &have, &absent)) {
        if (absent.kind == E_NOT_FOUND)
            return service_make(x, pod, selector, err);
        *err = absent;
        return false;
    }
    if (was_ours(&have))
        return service_make(x, pod, selector, err);
    if (!is_selected(val_at(&have, N(spec), N(selector)), val_at(pod, N(metadata), N(labels))))
        return err_set(err, E_CONFLICT,
                       "Service " STR_FMT " is there and leads to other pods: --name gives ours another name",
                       STR_ARG(x->name));
    if (!port_choose(x, &have, err))
        return false;
    if (x->form.form == OUT_TABLE)
        document_show(x, &have, r, "is there", S(""));
    return true;
}

/* What its pods are like: a workload's template, or a pod itself. */
static bool workload_read(struct expose_command *x, const struct target *t, struct err *err)
{
    struct client *c = x->client;
    struct val live;
    if (!client_ask(c, &(struct ask){.path = resource_path(&c->arena, t->resource, c->ns, t->name, S(""))}, &live,
                    err))
        return false;
    if (str_eqz(t->resource->kind, "Service")) {
        x->service = t->name;
        return port_choose(x, &live, err);
    }
    const struct val *pod = field_at(&live, "spec.template"),
                     *selector = field_at(&live, "spec.selector.matchLabels");
    if (!selector)
        selector = field_at(&live, "spec.selector"); /* of a ReplicationController */
    if (str_eqz(t->resource->kind, "Pod")) {
        pod = &live;
        selector = field_at(&live, "metadata.labels");
    }
    if (!pod || field_at(&live, "spec.selector.matchExpressions") || val_len(selector) == 0)
        return err_set(err, E_INVALID, STR_FMT " has no pods that a Service could select by labels",
                       STR_ARG(resource_label(&c->arena, t->resource, t->name)));
    return service_find(x, pod, selector, err);
}

/* ---- the Ingress ---- */

/* The only ClusterIssuer there is. Where nobody issues certificates, the Secret is the user's to make. */
static bool issuer_find(struct expose_command *x, struct err *err)
{
    struct client *c = x->client;
    struct val list;
    struct err absent = ERR;
    if (x->issuer.n > 0 || x->secret.n > 0)
        return true;
    struct ask q = {.path = S("/apis/cert-manager.io/v1/clusterissuers")};
    if (!client_ask(c, &q, &list, &absent)) {
        if (absent.kind != E_NOT_FOUND && absent.kind != E_FORBIDDEN) {
            *err = absent;
            return false;
        }
        return true;
    }
    const struct val *items = field_at(&list, "items");
    if (val_len(items) > 1)
        return err_set(err, E_INVALID, "there are %zu ClusterIssuers: say which, by --issuer", val_len(items));
    x->issuer = field_text(val_item(items, 0), "metadata.name");
    return true;
}

static struct val backend_make(struct expose_command *x)
{
    struct arena *a = &x->client->arena;
    struct val v = val_map();
    struct val *service = val_need_map(a, &v, N(service));
    val_set(a, service, N(name), val_str(a, x->service));
    val_set(a, val_need_map(a, &v, N(service)), N(port), val_copy(a, &x->service_port));
    return v;
}

static void rule_add(struct expose_command *x, struct val *rules, struct str host)
{
    struct arena *a = &x->client->arena;
    struct val rule = val_map(), paths = val_list(), path = val_map();
    if (host.n > 0)
        val_set(a, &rule, N(host), val_str(a, host));
    val_set(a, &path, N(path), val_str(a, x->path.n ? x->path : S("/")));
    val_set_text(a, &path, N(pathType), S("Prefix"));
    val_set(a, &path, N(backend), backend_make(x));
    val_add(a, &paths, path);
    val_set(a, val_need_map(a, &rule, N(http)), N(paths), paths);
    val_add(a, rules, rule);
}

static void tls_add(struct expose_command *x, struct val *v)
{
    struct arena *a = &x->client->arena;
    struct val list = val_list(), entry = val_map(), hosts = val_list();
    for (size_t i = 0; i < x->hosts.n; i++)
        val_add(a, &hosts, val_str(a, x->hosts.p[i]));
    if (x->secret.n == 0)
        x->secret = arena_fmt(a, STR_FMT "-tls", STR_ARG(x->name));
    if (x->hosts.n > 0)
        val_set(a, &entry, N(hosts), hosts);
    val_set(a, &entry, N(secretName), val_str(a, x->secret));
    val_add(a, &list, entry);
    val_set(a, val_need_map(a, v, N(spec)), N(tls), list);
    if (x->issuer.n > 0)
        val_set_str(a, val_need_map(a, v, N(metadata), N(annotations)), S("cert-manager.io/cluster-issuer"),
                    val_str(a, x->issuer));
}

static bool ingress_make(struct expose_command *x, struct err *err)
{
    struct client *c = x->client;
    struct arena *a = &c->arena;
    struct val v = document_begin(x, "networking.k8s.io/v1", "Ingress"), rules = val_list(), out;
    const struct resource *r;
    for (size_t i = 0; i < x->hosts.n; i++)
        rule_add(x, &rules, x->hosts.p[i]);
    if (x->hosts.n == 0)
        rule_add(x, &rules, S(""));
    if (x->class.n > 0)
        val_set(a, val_need_map(a, &v, N(spec)), N(ingressClassName), val_str(a, x->class));
    val_set(a, val_need_map(a, &v, N(spec)), N(rules), rules);
    if (x->tls && !issuer_find(x, err))
        return false;
    if (x->tls)
        tls_add(x, &v);
    if (!document_apply(x, &v, &r, &out, err))
        return false;
    struct str url = arena_fmt(a, ": %s://" STR_FMT STR_FMT, x->tls ? "https" : "http",
                               STR_ARG(x->hosts.n ? x->hosts.p[0] : S("ADDRESS")), STR_ARG(x->path));
    document_show(x, &out, r, "applied", url);
    if (x->tls && x->issuer.n == 0 && x->form.form == OUT_TABLE)
        output_show(stderr,
                    "wherry expose: no ClusterIssuer was found (wherry acme set --email ADDRESS makes one); its "
                    "certificate is to be in Secret " STR_FMT "\n",
                    STR_ARG(x->secret));
    return true;
}

int expose_main(int argc, char **argv)
{
    AUTO(client_fini) struct client c = {.verb = "expose"};
    struct expose_command x = {.client = &c};
    struct words words;
    struct targets t;
    struct err err = ERR;
    enum args_result r = args_read(&c.arena, &spec, argc, argv, &x, &words, NULL);
    if (r != ARGS_RUN)
        return r == ARGS_HELPED ? 0 : 2;
    if (!output_read(x.output, &x.form, &err))
        return client_failed(&c, &err);
    if (words.n == 0 || (x.path.n > 0 && x.path.p[0] != '/')) {
        output_show(stderr,
                    "wherry expose: say RESOURCE/NAME, and a path from the root; wherry expose --help shows how\n");
        return 2;
    }
    if (!client_open(&c, &x.to, &err) || !targets_read(&c, words, &t, &err))
        return client_failed(&c, &err);
    if (t.n != 1 || t.p[0].name.n == 0) {
        output_show(stderr, "wherry expose: name one workload or Service, such as deploy/web\n");
        return 2;
    }
    if (x.name.n == 0)
        x.name = t.p[0].name;
    if (!workload_read(&x, &t.p[0], &err) || !ingress_make(&x, &err))
        return client_failed(&c, &err);
    return 0;
}
