/* Probes: what is asked, what the last answer was, and whether the container was ended for it. */
#include "control/why_int.h"

static const struct {
    const struct name *field;
    const char *says, *word, *cause; /* says: how the node's event begins */
} kinds_of_probe[] = {
    {N(startupProbe), "Startup probe failed: ", "startup probe", "StartupProbe"},
    {N(livenessProbe), "Liveness probe failed: ", "liveness probe", "LivenessProbe"},
    {N(readinessProbe), "Readiness probe failed: ", "readiness probe", "ReadinessProbe"},
};

static struct str port_text(struct question *q, const struct val *port)
{
    return val_is(port, VAL_INT) ? arena_fmt(q->a, "%lld", (long long)val_num(port, 0)) : val_text(port);
}

/* "GET :8081/healthz", "TCP :9999", "gRPC :9000 ready", "exec cat /alive" */
static struct str probe_text(struct question *q, const struct val *probe)
{
    const struct val *http = val_get(probe, N(httpGet)), *tcp = val_get(probe, N(tcpSocket)),
                     *grpc = val_get(probe, N(grpc));
    if (http)
        return arena_fmt(q->a, "GET :" STR_FMT STR_FMT, STR_ARG(port_text(q, val_get(http, N(port)))),
                         STR_ARG(val_text_at(http, N(path))));
    if (tcp)
        return arena_fmt(q->a, "TCP :" STR_FMT, STR_ARG(port_text(q, val_get(tcp, N(port)))));
    struct str service = val_text_at(grpc, N(service));
    if (grpc)
        return arena_fmt(q->a, "gRPC :" STR_FMT "%s" STR_FMT, STR_ARG(port_text(q, val_get(grpc, N(port)))),
                         service.n ? " " : "", STR_ARG(service));
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    strbuf_addz(&b, "exec");
    val_each_item (w, val_at(probe, N(exec), N(command)))
        strbuf_addf(&b, " " STR_FMT, STR_ARG(val_text(w)));
    return str_dup(q->a, strbuf_str(&b));
}

static struct str ports_of(struct question *q, const struct val *container)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    val_each_item (p, val_get(container, N(ports)))
        strbuf_addf(&b, "%s%lld", b.n ? ", " : "", (long long)val_num_at(p, 0, N(containerPort)));
    return str_dup(q->a, strbuf_str(&b));
}

static const struct saying answers[] = {
    {"failed to connect service", "Refused",
     "nothing that speaks gRPC answers at port {port} in it{declared} within "
     "{timeout} s",
     "Set {field}'s port to its gRPC server's, or raise {field}.timeoutSeconds where it is slow: {edit}"},
    {"does not implement the grpc health protocol", "Unimplemented",
     "its gRPC server has no health service (grpc.health.v1)",
     "Add that to the program, or set {field} to tcpSocket: {edit}"},
    {"SERVICE_UNKNOWN", "Unknown", "its gRPC server knows no service of that name",
     "Mend {field}.grpc.service, or have the program tell of that name: {edit}"},
    {"connection refused", "Refused", "nothing listens on port {port} in it{declared}",
     "Set {field}'s port to one that it listens on: {edit}"},
    {"context deadline exceeded", "Slow", "no answer within {timeout} s",
     "Raise {field}.timeoutSeconds, or make it answer sooner: {edit}"},
    {"timed out", "Slow", "no answer within {timeout} s",
     "Raise {field}.timeoutSeconds, or make it answer sooner: {edit}"},
    {"i/o timeout", "Slow", "no answer within {timeout} s",
     "Raise {field}.timeoutSeconds, or make it answer sooner: {edit}"},
    {"statuscode: ", "Status", "it answers {status}",
     "Mend what {path} says, or ask another path in {field}: {edit}"},
    {"", "", "{answer}", "Mend what it reports, or mend {field}: {edit}"},
};

/* The clause about the last failure, and the way out. */
static struct str failure_text(struct question *q, const struct contained *c, size_t kind, struct str answer,
                               struct finding *f)
{
    const struct val *probe = val_get(c->spec, kinds_of_probe[kind].field), *port = NULL;
    const struct name *const askers[] = {N(httpGet), N(tcpSocket), N(grpc)};
    for (size_t i = 0; i < countof(askers) && !port; i++)
        port = val_at(probe, askers[i], N(port));
    struct str declared = ports_of(q, c->spec), status = answer;
    ptrdiff_t at = str_find(answer, S("statuscode: "));
    if (at >= 0)
        status = str_sub(answer, (size_t)at + 12, answer.n);
    const struct word words[] = {
        {"port", port_text(q, port)},
        {"declared", declared.n ? arena_fmt(q->a, " (it declares " STR_FMT ")", STR_ARG(declared)) : S("")},
        {"field", kinds_of_probe[kind].field->s},
        {"timeout", arena_fmt(q->a, "%lld", (long long)val_num_at(probe, 1, N(timeoutSeconds)))},
        {"status", status},
        {"path", val_text_at(probe, N(httpGet), N(path))},
        {"answer", answer.n ? why_quoted(q, answer) : S("it ends with an error and says nothing")}};
    const struct saying *row = answers;
    while (row->says[0] && !str_has(answer, str_of(row->says)))
        row++;
    why_way(q, f, STR_FMT, STR_ARG(why_fill(q, row->way, words, countof(words))));
    return why_fill(q, row->reason, words, countof(words));
}

static struct str field_path(struct question *q, const struct contained *c)
{
    bool init = str_starts(c->about, S("init "));
    return arena_fmt(q->a, "spec.%s{" STR_FMT "}", init ? "initContainers" : "containers", STR_ARG(c->name));
}

void why_probe(struct question *q, const struct contained *c, const struct name *probe, struct finding *f)
{
    for (size_t i = 0; i < countof(kinds_of_probe); i++) {
        if (kinds_of_probe[i].field != probe)
            continue;
        struct str begins = str_of(kinds_of_probe[i].says);
        const struct obj *e = why_event(q, c->pod, "Unhealthy", begins, field_path(q, c));
        struct str ask = probe_text(q, val_get(c->spec, probe));
        if (!e || why_event_time(e) + NS_PER_S < val_time(val_at(c->status, N(state), N(running), N(startedAt)))) {
            why_coming(q, f, kinds_of_probe[i].cause, "waits for the %s of its " STR_FMT " (" STR_FMT ")",
                       kinds_of_probe[i].word, STR_ARG(c->about), STR_ARG(ask));
            return;
        }
        struct str answer = str_trim(str_sub(why_event_text(e), begins.n, why_event_text(e).n));
        why_chain(q, f, "%s " STR_FMT ": " STR_FMT, kinds_of_probe[i].word, STR_ARG(ask), STR_ARG(answer));
        struct str what = failure_text(q, c, i, answer, f);
        why_found(q, f, kinds_of_probe[i].cause, "runs, but the %s of its " STR_FMT " (" STR_FMT ") fails: " STR_FMT,
                  kinds_of_probe[i].word, STR_ARG(c->about), STR_ARG(ask), STR_ARG(what));
    }
}

/* The run that ended was ended by the node, for a probe: its event says which, and the failure before it what. */
bool why_probe_killed(struct question *q, const struct contained *c, const struct val *ended, struct finding *f)
{
    struct str path = field_path(q, c);
    int64_t from = val_time(val_get(ended, N(startedAt)));
    for (size_t i = 0; i < countof(kinds_of_probe) - 1; i++) {
        struct str begins = arena_fmt(q->a, "Container " STR_FMT " failed %s", STR_ARG(c->name),
                                      kinds_of_probe[i].word);
        const struct obj *killing = why_event(q, c->pod, "Killing", begins, path);
        if (!killing || why_event_time(killing) + NS_PER_S < from)
            continue;
        struct str says = str_of(kinds_of_probe[i].says);
        struct str text = why_event_text(why_event(q, c->pod, "Unhealthy", says, path));
        struct str answer = str_trim(str_sub(text, says.n, text.n)),
                   ask = probe_text(q, val_get(c->spec, kinds_of_probe[i].field));
        why_chain(q, f, "%s " STR_FMT ": " STR_FMT, kinds_of_probe[i].word, STR_ARG(ask), STR_ARG(answer));
        struct str what = failure_text(q, c, i, answer, f);
        return why_found(q, f, kinds_of_probe[i].cause,
                         "has its " STR_FMT " restarted again and again, as its %s (" STR_FMT ") fails: " STR_FMT,
                         STR_ARG(c->about), kinds_of_probe[i].word, STR_ARG(ask), STR_ARG(what));
    }
    return false;
}
