#include "cli/fields.h"
#include "cli/output.h"
#include "cli/pods.h"
#include "cli/verbs.h"
#include "sys/loop.h"

/* wherry logs: what containers wrote. Several pods (-l, --all-pods) are followed side by side. */
struct logs {
    struct connect_options to;
    struct str container, selector;
    bool follow, previous, timestamps, prefix, all_containers, all_pods;
    int64_t tail, since_ns;
    struct client *client;
    size_t open; /* streams under way */
    int status;
};
struct log_stream {
    struct call call;
    struct logs *logs;
    struct str prefix; /* "[pod/NAME/CONTAINER] "; "" none */
    struct strbuf line;
};

#define AT(field) offsetof(struct logs, field)
static const struct arg_row rows[] = {
    {'f', "follow", ARG_FLAG, AT(follow), NULL, "keep printing what is written"},
    {'p', "previous", ARG_FLAG, AT(previous), NULL, "what the container wrote in its run before this one"},
    {'c', "container", ARG_TEXT, AT(container), "NAME", "which container"},
    {0, "all-containers", ARG_FLAG, AT(all_containers), NULL, "every container of the pod"},
    {0, "all-pods", ARG_FLAG, AT(all_pods), NULL, "every pod of a Deployment or the like, not just one"},
    {'l', "selector", ARG_TEXT, AT(selector), "LABELS", "the pods with these labels"},
    {0, "tail", ARG_NUM, AT(tail), "LINES", "only the last LINES lines; -1: all"},
    {0, "since", ARG_TIME, AT(since_ns), "TIME", "only what was written in the last 5m, 1h ..."},
    {0, "timestamps", ARG_FLAG, AT(timestamps), NULL, "print each line with its time"},
    {0, "prefix", ARG_FLAG, AT(prefix), NULL, "print each line with its pod and container"},
};
static const struct arg_spec spec = {
    .verb = "logs",
    .usage = "POD | RESOURCE/NAME | -l LABELS",
    .summary = "Prints what containers wrote.",
    .examples = "  wherry logs -f deploy/web             follow one of its pods\n"
                "  wherry logs -l app=web --tail 20 --prefix --since 10m\n",
    .rows = rows,
    .nrows = countof(rows),
    .connects = true,
};

static void line_print(struct log_stream *s, struct str line)
{
    fwrite(s->prefix.p ? s->prefix.p : "", 1, s->prefix.n, stdout);
    fwrite(line.p, 1, line.n, stdout);
}

static void stream_data(struct call *call, struct str bytes)
{
    struct log_stream *s = container_of(call, struct log_stream, call);
    if (!s->prefix.n) {
        fwrite(bytes.p, 1, bytes.n, stdout);
        fflush(stdout);
        return;
    }
    strbuf_add(&s->line, bytes);
    for (ptrdiff_t at; (at = str_find_char(strbuf_str(&s->line), '\n')) >= 0;) {
        line_print(s, str_sub(strbuf_str(&s->line), 0, (size_t)at + 1));
        strbuf_drop(&s->line, (size_t)at + 1);
    }
    if (s->line.over)
        strbuf_reset(&s->line);
    fflush(stdout);
}

static void stream_done(struct call *call)
{
    struct log_stream *s = container_of(call, struct log_stream, call);
    struct err err = call->err;
    if (s->line.n) {
        line_print(s, strbuf_str(&s->line));
        fputc('\n', stdout);
    }
    if (!call->ok) {
        if (!call->http)
            client_unreachable(s->logs->client, &err);
        s->logs->status = client_failed(s->logs->client, &err);
    }
    s->logs->open--;
    strbuf_fini(&s->line);
    mem_free(s);
}

static struct str query_of(const struct logs *l, struct str container)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    struct arena *a = &l->client->arena;
    query_put(&b, "container", container);
    query_put(&b, "follow", l->follow ? S("true") : S(""));
    query_put(&b, "previous", l->previous ? S("true") : S(""));
    query_put(&b, "timestamps", l->timestamps ? S("true") : S(""));
    if (l->tail >= 0)
        query_put(&b, "tailLines", arena_fmt(a, "%lld", (long long)l->tail));
    if (l->since_ns)
        query_put(&b, "sinceSeconds", arena_fmt(a, "%lld", (long long)MAX(l->since_ns / NS_PER_S, 1)));
    return str_dup(a, strbuf_str(&b));
}

static void stream_start(struct logs *l, const struct val *pod, struct str container)
{
    struct client *c = l->client;
    struct str name = field_text(pod, "metadata.name");
    struct log_stream *s = NEW(struct log_stream);
    *s = (struct log_stream){.logs = l, .line = STRBUF(1u << 20)};
    s->call.data = stream_data;
    s->call.done = stream_done;
    if (l->prefix)
        s->prefix = arena_fmt(&c->arena, "[pod/" STR_FMT "/" STR_FMT "] ", STR_ARG(name), STR_ARG(container));
    struct call_options o = CALL_OPTIONS(.verb = CALL_RAW,
                                         .path = arena_fmt(
                                             &c->arena, "/api/v1/namespaces/" STR_FMT "/pods/" STR_FMT "/log",
                                             STR_ARG(field_text(pod, "metadata.namespace")), STR_ARG(name)),
                                         .query = query_of(l, container), .accept = S("*/*"));
    l->open++;
    call_start(&s->call, c->transport, &o);
}

/* Without --follow one after another, so that lines of pods do not mix. */
static void logs_drain(struct logs *l, bool always)
{
    while (l->open && (always || !l->follow))
        loop_run_once(l->client->loop, NS_PER_S);
}

static bool pod_start(struct logs *l, const struct val *pod, struct err *err)
{
    static const char *const lists[] = {"initContainers", "containers"};
    struct str container;
    if (l->all_containers) {
        for (size_t i = 0; i < countof(lists); i++)
            val_each_item (it, field_at(field_at(pod, "spec"), lists[i])) {
                stream_start(l, pod, field_text(it, "name"));
                logs_drain(l, false);
            }
        return true;
    }
    if (!container_of_pod(l->client, pod, l->container, &container, err))
        return false;
    stream_start(l, pod, container);
    logs_drain(l, false);
    return true;
}

static bool logs_run(struct logs *l, struct words words, struct err *err)
{
    struct val pods;
    bool many = l->selector.n || l->all_pods;
    if (!(l->selector.n ? pods_selected(l->client, l->selector, &pods, err)
                        : pods_of(l->client, words.p[0], &pods, err)))
        return false;
    if (l->selector.n && !val_len(&pods))
        return err_set(err, E_NOT_FOUND, "no pod has the labels " STR_FMT " in namespace " STR_FMT,
                       STR_ARG(l->selector), STR_ARG(l->client->ns));
    if (!many && val_len(&pods) > 1)
        output_show(stderr, "Found %zu pods, using pod/" STR_FMT "\n", val_len(&pods),
                    STR_ARG(field_text(val_item(&pods, 0), "metadata.name")));
    for (size_t i = 0; i < (many ? val_len(&pods) : 1); i++)
        if (!pod_start(l, val_item(&pods, i), err))
            return false;
    return true;
}

int logs_main(int argc, char **argv)
{
    AUTO(client_fini) struct client c = {.verb = "logs"};
    struct logs l = {.client = &c, .tail = -2};
    struct words words;
    struct err err = ERR;
    enum args_result r = args_read(&c.arena, &spec, argc, argv, &l, &words, NULL);
    if (r != ARGS_RUN)
        return r == ARGS_HELPED ? 0 : 2;
    if (words.n == 2 && !l.container.n && !l.selector.n) {
        l.container = words.p[1]; /* logs POD CONTAINER */
        words.n = 1;
    }
    if (words.n != (l.selector.n ? 0 : 1)) {
        output_show(stderr, "wherry logs: name a pod, e.g. wherry logs deploy/web; wherry logs --help shows more\n");
        return 2;
    }
    if (l.tail == -2)
        l.tail = l.selector.n ? 10 : -1;
    if (!client_open(&c, &l.to, &err))
        return client_failed(&c, &err);
    bool ok = logs_run(&l, words, &err);
    logs_drain(&l, true);
    return ok ? l.status : client_failed(&c, &err);
}
