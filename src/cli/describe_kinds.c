/* describe_kinds.c - objects as text for people. A head that all share (name, labels, owner), then a block for kinds
 * that have one of their own (the table `rows`), and for any other kind every field under its name made readable.
 *
 * The layout is meant to be read, not parsed, and follows kubectl's where that helps: values stand in one column
 * (line_write), what repeats stands below. Of a Secret only the names and sizes are shown, as this is typed when
 * others look on.
 *
 * Pure: an object and the time go in, text comes out. Events are asked for by describe.c.
 */
#include "base/clock.h"
#include "cli/describe.h"
#include "cli/fields.h"

struct describe_text {
    struct arena *a;
    struct strbuf *out;
    int64_t now;
    const struct val *object;
};

/* "Name:" and its value, the values of one block below each other. */
static void line_write(struct describe_text *t, int indent, const char *name, struct str value)
{
    int width = 26 - indent;
    AUTO(strbuf_fini) struct strbuf key = STRBUF(STRBUF_TEXT);
    strbuf_addf(&key, "%s:", name);
    strbuf_addf(t->out, "%*s%-*s " STR_FMT "\n", indent, "", width, key.p, STR_ARG(value.n ? value : S("<none>")));
}

static void field_line(struct describe_text *t, int indent, const char *name, const struct val *v, const char *path)
{
    const struct val *found = field_at(v, path);
    if (found)
        line_write(t, indent, name, scalar_text(t->a, found));
}

static void map_lines(struct describe_text *t, const char *name, const struct val *map, const char *sep)
{
    const char *head = name;
    if (!val_len(map)) {
        line_write(t, 0, name, S(""));
        return;
    }
    val_each_member (it, map) {
        if (str_starts(it->name->s, S("kubectl.kubernetes.io/last-applied")))
            continue;
        struct str value = scalar_text(t->a, &it->v);
        struct str both = arena_fmt(t->a, STR_FMT "%s" STR_FMT, STR_ARG(it->name->s), sep, STR_ARG(value));
        if (head)
            line_write(t, 0, head, both);
        else
            strbuf_addf(t->out, "%27s" STR_FMT "\n", "", STR_ARG(both));
        head = NULL;
    }
    if (head)
        line_write(t, 0, name, S(""));
}

static struct str pairs_write(struct describe_text *t, const struct val *map)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    val_each_member (it, map)
        strbuf_addf(&b, "%s" STR_FMT "=" STR_FMT, b.n ? "," : "", STR_ARG(it->name->s),
                    STR_ARG(scalar_text(t->a, &it->v)));
    return str_dup(t->a, strbuf_str(&b));
}

static void head_write(struct describe_text *t)
{
    const struct val *meta = field_at(t->object, "metadata");
    struct str deleted = field_text(meta, "deletionTimestamp");
    line_write(t, 0, "Name", field_text(meta, "name"));
    field_line(t, 0, "Namespace", meta, "namespace");
    struct str made = field_text(meta, "creationTimestamp");
    line_write(t, 0, "Created",
               arena_fmt(t->a, STR_FMT " (" STR_FMT " ago)", STR_ARG(made), STR_ARG(age_text(t->a, made, t->now))));
    if (deleted.n)
        line_write(t, 0, "Terminating", arena_fmt(t->a, "since " STR_FMT, STR_ARG(deleted)));
    map_lines(t, "Labels", field_at(meta, "labels"), "=");
    map_lines(t, "Annotations", field_at(meta, "annotations"), ": ");
    val_each_item (it, field_at(meta, "ownerReferences"))
        if (val_true(field_at(it, "controller")))
            line_write(t, 0, "Controlled By",
                       arena_fmt(t->a, STR_FMT "/" STR_FMT, STR_ARG(field_text(it, "kind")),
                                 STR_ARG(field_text(it, "name"))));
}

static void conditions_write(struct describe_text *t)
{
    const struct val *list = field_at(t->object, "status.conditions");
    if (!val_len(list))
        return;
    strbuf_addz(t->out, "Conditions:\n");
    val_each_item (it, list) {
        struct str reason = field_text(it, "reason"), said = field_text(it, "message");
        strbuf_addf(t->out, "  %-24.*s " STR_FMT, STR_ARG(field_text(it, "type")), STR_ARG(field_text(it, "status")));
        if (reason.n || said.n)
            strbuf_addf(t->out, "%*s" STR_FMT "%s" STR_FMT, 8 - (int)MIN(field_text(it, "status").n, 7u), "",
                        STR_ARG(reason), reason.n && said.n ? ": " : "", STR_ARG(said));
        strbuf_addc(t->out, '\n');
    }
}

static void state_write(struct describe_text *t, int indent, const char *name, const struct val *v)
{
    val_each_member (it, v) {
        char *word = arena_strz(t->a, it->name->s);
        word[0] = (char)(word[0] & ~32);
        line_write(t, indent, name, str_of(word));
        field_line(t, indent + 2, "Reason", &it->v, "reason");
        field_line(t, indent + 2, "Message", &it->v, "message");
        field_line(t, indent + 2, "Exit Code", &it->v, "exitCode");
        field_line(t, indent + 2, "Started", &it->v, "startedAt");
        field_line(t, indent + 2, "Finished", &it->v, "finishedAt");
    }
}

static void probe_write(struct describe_text *t, const char *name, const struct val *p)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    const struct val *http = field_at(p, "httpGet"), *tcp = field_at(p, "tcpSocket"), *exec = field_at(p, "exec");
    if (!p)
        return;
    if (http)
        strbuf_addf(&b, "http-get :" STR_FMT STR_FMT, STR_ARG(scalar_text(t->a, field_at(http, "port"))),
                    STR_ARG(field_text(http, "path")));
    else if (tcp)
        strbuf_addf(&b, "tcp-socket :" STR_FMT, STR_ARG(scalar_text(t->a, field_at(tcp, "port"))));
    else if (exec)
        strbuf_addz(&b, "exec");
    strbuf_addf(&b, " delay=%llds timeout=%llds period=%llds failures=%lld",
                (long long)field_num(p, "initialDelaySeconds", 0), (long long)field_num(p, "timeoutSeconds", 1),
                (long long)field_num(p, "periodSeconds", 10), (long long)field_num(p, "failureThreshold", 3));
    line_write(t, 4, name, strbuf_str(&b));
}

static void words_write(struct describe_text *t, const char *name, const struct val *list)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    val_each_item (it, list)
        strbuf_addf(&b, "%s" STR_FMT, b.n ? " " : "", STR_ARG(val_text(it)));
    if (b.n)
        line_write(t, 4, name, strbuf_str(&b));
}

static void container_write(struct describe_text *t, const struct val *c, const struct val *statuses)
{
    const struct val *s = val_find(statuses, N(name), field_text(c, "name"));
    strbuf_addf(t->out, "  " STR_FMT ":\n", STR_ARG(field_text(c, "name")));
    field_line(t, 4, "Container ID", s, "containerID");
    field_line(t, 4, "Image", c, "image");
    val_each_item (it, field_at(c, "ports"))
        line_write(t, 4, "Port",
                   arena_fmt(t->a, "%lld/" STR_FMT, (long long)field_num(it, "containerPort", 0),
                             STR_ARG(field_text(it, "protocol"))));
    words_write(t, "Command", field_at(c, "command"));
    words_write(t, "Args", field_at(c, "args"));
    state_write(t, 4, "State", field_at(s, "state"));
    state_write(t, 4, "Last State", field_at(s, "lastState"));
    field_line(t, 4, "Ready", s, "ready");
    field_line(t, 4, "Restart Count", s, "restartCount");
    if (field_at(c, "resources.limits"))
        line_write(t, 4, "Limits", pairs_write(t, field_at(c, "resources.limits")));
    if (field_at(c, "resources.requests"))
        line_write(t, 4, "Requests", pairs_write(t, field_at(c, "resources.requests")));
    probe_write(t, "Liveness", field_at(c, "livenessProbe"));
    probe_write(t, "Readiness", field_at(c, "readinessProbe"));
    probe_write(t, "Startup", field_at(c, "startupProbe"));
    val_each_item (it, field_at(c, "env"))
        line_write(t, 4, "Env",
                   arena_fmt(t->a, STR_FMT "=" STR_FMT, STR_ARG(field_text(it, "name")),
                             STR_ARG(field_at(it, "valueFrom") ? S("<from elsewhere>") : field_text(it, "value"))));
    val_each_item (it, field_at(c, "volumeMounts"))
        line_write(t, 4, "Mount",
                   arena_fmt(t->a, STR_FMT " from " STR_FMT "%s", STR_ARG(field_text(it, "mountPath")),
                             STR_ARG(field_text(it, "name")), val_true(field_at(it, "readOnly")) ? " (ro)" : ""));
    val_each_item (it, field_at(c, "volumeDevices"))
        line_write(t, 4, "Device",
                   arena_fmt(t->a, STR_FMT " is " STR_FMT, STR_ARG(field_text(it, "devicePath")),
                             STR_ARG(field_text(it, "name"))));
}

static void containers_write(struct describe_text *t, const struct val *pod_spec, const struct val *status)
{
    static const struct {
        const char *title, *list, *statuses;
    } lists[] = {{"Init Containers", "initContainers", "initContainerStatuses"},
                 {"Containers", "containers", "containerStatuses"},
                 {"Ephemeral Containers", "ephemeralContainers", "ephemeralContainerStatuses"}};
    for (size_t i = 0; i < countof(lists); i++) {
        if (!val_len(field_at(pod_spec, lists[i].list)))
            continue;
        strbuf_addf(t->out, "%s:\n", lists[i].title);
        val_each_item (it, field_at(pod_spec, lists[i].list))
            container_write(t, it, field_at(status, lists[i].statuses));
    }
}

/* Each by its name, what sort it is, and what is behind it: the claim, the ConfigMap, the path ... */
static void volumes_write(struct describe_text *t, const struct val *pod_spec)
{
    static const char *const behind[] = {"claimName", "secretName", "name", "path", "server", "driver"};
    val_each_item (it, field_at(pod_spec, "volumes"))
        val_each_member (m, it) {
            struct str what = S("");
            if (m->name == N(name))
                continue;
            for (size_t i = 0; i < countof(behind) && !what.n; i++)
                what = field_text(&m->v, behind[i]);
            line_write(t, 0, "Volume",
                       arena_fmt(t->a, STR_FMT ": " STR_FMT "%s" STR_FMT, STR_ARG(field_text(it, "name")),
                                 STR_ARG(m->name->s), what.n ? " " : "", STR_ARG(what)));
        }
}

static void pod_write(struct describe_text *t)
{
    const struct val *s = field_at(t->object, "status"), *p = field_at(t->object, "spec");
    line_write(t, 0, "Node", field_text(p, "nodeName"));
    line_write(t, 0, "Status", field_text(s, "phase"));
    field_line(t, 0, "Reason", s, "reason");
    field_line(t, 0, "Message", s, "message");
    line_write(t, 0, "IP", field_text(s, "podIP"));
    field_line(t, 0, "QoS Class", s, "qosClass");
    field_line(t, 0, "Service Account", p, "serviceAccountName");
    containers_write(t, p, s);
    conditions_write(t);
    volumes_write(t, p);
    val_each_item (it, field_at(p, "tolerations"))
        line_write(t, 0, "Toleration",
                   arena_fmt(t->a, STR_FMT " " STR_FMT " " STR_FMT, STR_ARG(field_text(it, "key")),
                             STR_ARG(field_text(it, "operator")), STR_ARG(field_text(it, "effect"))));
}

static void template_write(struct describe_text *t)
{
    const struct val *spec = field_at(t->object, "spec.template.spec");
    strbuf_addz(t->out, "Pod Template:\n");
    containers_write(t, spec, NULL);
    volumes_write(t, spec);
    conditions_write(t);
}

static void deployment_write(struct describe_text *t)
{
    const struct val *o = t->object, *s = field_at(o, "status");
    line_write(t, 0, "Selector", pairs_write(t, field_at(o, "spec.selector.matchLabels")));
    line_write(t, 0, "Replicas",
               arena_fmt(t->a, "%lld desired, %lld updated, %lld total, %lld available, %lld unavailable",
                         (long long)field_num(o, "spec.replicas", 1), (long long)field_num(s, "updatedReplicas", 0),
                         (long long)field_num(s, "replicas", 0), (long long)field_num(s, "availableReplicas", 0),
                         (long long)field_num(s, "unavailableReplicas", 0)));
    field_line(t, 0, "Strategy", o, "spec.strategy.type");
    field_line(t, 2, "Max Unavailable", o, "spec.strategy.rollingUpdate.maxUnavailable");
    field_line(t, 2, "Max Surge", o, "spec.strategy.rollingUpdate.maxSurge");
    field_line(t, 0, "Min Ready Seconds", o, "spec.minReadySeconds");
    field_line(t, 0, "Paused", o, "spec.paused");
    template_write(t);
}

static void stateful_write(struct describe_text *t)
{
    const struct val *o = t->object, *s = field_at(o, "status");
    struct str current = field_text(s, "currentRevision"), newest = field_text(s, "updateRevision");
    line_write(t, 0, "Selector", pairs_write(t, field_at(o, "spec.selector.matchLabels")));
    line_write(t, 0, "Replicas",
               arena_fmt(t->a, "%lld desired, %lld updated, %lld total, %lld ready, %lld available",
                         (long long)field_num(o, "spec.replicas", 1), (long long)field_num(s, "updatedReplicas", 0),
                         (long long)field_num(s, "replicas", 0), (long long)field_num(s, "readyReplicas", 0),
                         (long long)field_num(s, "availableReplicas", 0)));
    field_line(t, 0, "Service Name", o, "spec.serviceName");
    field_line(t, 0, "Pod Management", o, "spec.podManagementPolicy");
    field_line(t, 0, "Update Strategy", o, "spec.updateStrategy.type");
    field_line(t, 2, "Partition", o, "spec.updateStrategy.rollingUpdate.partition");
    field_line(t, 2, "Max Unavailable", o, "spec.updateStrategy.rollingUpdate.maxUnavailable");
    if (str_eq(current, newest))
        line_write(t, 0, "Revision", current);
    else
        line_write(t, 0, "Revision",
                   arena_fmt(t->a, STR_FMT ", on its way to " STR_FMT, STR_ARG(current), STR_ARG(newest)));
    val_each_item (it, field_at(o, "spec.volumeClaimTemplates")) {
        struct str class = field_text(it, "spec.storageClassName");
        line_write(t, 0, "Volume Claim",
                   arena_fmt(t->a, STR_FMT ": " STR_FMT "%s" STR_FMT, STR_ARG(field_text(it, "metadata.name")),
                             STR_ARG(scalar_text(t->a, field_at(it, "spec.resources.requests.storage"))),
                             class.n ? ", class " : "", STR_ARG(class)));
    }
    field_line(t, 0, "Claims When Deleted", o, "spec.persistentVolumeClaimRetentionPolicy.whenDeleted");
    field_line(t, 0, "Claims When Scaled", o, "spec.persistentVolumeClaimRetentionPolicy.whenScaled");
    template_write(t);
}

static void daemons_write(struct describe_text *t)
{
    const struct val *o = t->object, *s = field_at(o, "status");
    line_write(t, 0, "Selector", pairs_write(t, field_at(o, "spec.selector.matchLabels")));
    line_write(t, 0, "Node Selector", pairs_write(t, field_at(o, "spec.template.spec.nodeSelector")));
    line_write(
        t, 0, "Nodes",
        arena_fmt(t->a, "%lld desired, %lld current, %lld updated, %lld ready, %lld available, %lld misscheduled",
                  (long long)field_num(s, "desiredNumberScheduled", 0),
                  (long long)field_num(s, "currentNumberScheduled", 0),
                  (long long)field_num(s, "updatedNumberScheduled", 0), (long long)field_num(s, "numberReady", 0),
                  (long long)field_num(s, "numberAvailable", 0), (long long)field_num(s, "numberMisscheduled", 0)));
    field_line(t, 0, "Update Strategy", o, "spec.updateStrategy.type");
    field_line(t, 2, "Max Unavailable", o, "spec.updateStrategy.rollingUpdate.maxUnavailable");
    field_line(t, 2, "Max Surge", o, "spec.updateStrategy.rollingUpdate.maxSurge");
    template_write(t);
}

static void node_write(struct describe_text *t)
{
    const struct val *o = t->object;
    line_write(t, 0, "Unschedulable", val_true(field_at(o, "spec.unschedulable")) ? S("true") : S("false"));
    val_each_item (it, field_at(o, "spec.taints"))
        line_write(t, 0, "Taint",
                   arena_fmt(t->a, STR_FMT "=" STR_FMT ":" STR_FMT, STR_ARG(field_text(it, "key")),
                             STR_ARG(field_text(it, "value")), STR_ARG(field_text(it, "effect"))));
    conditions_write(t);
    val_each_item (it, field_at(o, "status.addresses"))
        line_write(t, 0, arena_strz(t->a, field_text(it, "type")), field_text(it, "address"));
    map_lines(t, "Capacity", field_at(o, "status.capacity"), ": ");
    map_lines(t, "Allocatable", field_at(o, "status.allocatable"), ": ");
    map_lines(t, "System Info", field_at(o, "status.nodeInfo"), ": ");
    field_line(t, 0, "Pod CIDR", o, "spec.podCIDR");
}

static void service_write(struct describe_text *t)
{
    const struct val *s = field_at(t->object, "spec");
    line_write(t, 0, "Selector", pairs_write(t, field_at(s, "selector")));
    field_line(t, 0, "Type", s, "type");
    field_line(t, 0, "IP", s, "clusterIP");
    field_line(t, 0, "External Name", s, "externalName");
    val_each_item (it, field_at(s, "ports")) {
        struct str name = field_text(it, "name");
        line_write(t, 0, "Port",
                   arena_fmt(t->a, STR_FMT "%s%lld/" STR_FMT " -> " STR_FMT, STR_ARG(name), name.n ? " " : "",
                             (long long)field_num(it, "port", 0), STR_ARG(field_text(it, "protocol")),
                             STR_ARG(scalar_text(t->a, field_at(it, "targetPort")))));
        field_line(t, 2, "Node Port", it, "nodePort");
    }
    field_line(t, 0, "Session Affinity", s, "sessionAffinity");
}

/* "creationTimestamp" reads "Creation Timestamp". */
static struct str title_of(struct arena *a, struct str name)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];
        bool upper = c >= 'A' && c <= 'Z', before = i && name.p[i - 1] >= 'a' && name.p[i - 1] <= 'z';
        if (upper && before)
            strbuf_addc(&b, ' ');
        strbuf_addc(&b, !i && c >= 'a' && c <= 'z' ? (char)(c - 32) : c);
    }
    return str_dup(a, strbuf_str(&b));
}

/* What is below: a member of a struct by its field, those of lists and maps by what they hold. NULL: not known. */
static const struct type *type_below(const struct type *t, const struct name *name)
{
    const struct field *f = t && t->kind == TYPE_STRUCT ? type_field(t, name) : NULL;
    return f ? f->type : t && (t->kind == TYPE_LIST || t->kind == TYPE_MAP) ? t->of : NULL;
}

/* Names of fields are made readable. Keys that somebody chose (of maps, and of what has no type of its own) stay as
 * they are; so do, of custom resources, those below data. */
static void value_write(struct describe_text *t, int indent, struct str name, const struct val *v,
                        const struct type *type, bool own)
{
    struct str shown = own ? name : title_of(t->a, name);
    if (!val_is(v, VAL_MAP) && !val_is(v, VAL_LIST)) {
        line_write(t, indent, arena_strz(t->a, shown), scalar_text(t->a, v));
        return;
    }
    bool keys = type ? type->kind == TYPE_MAP || type->kind == TYPE_ANY
                     : own || (indent == 0 && (str_eqz(name, "data") || str_eqz(name, "binaryData")));
    strbuf_addf(t->out, "%*s" STR_FMT ":\n", indent, "", STR_ARG(shown));
    val_each_member (it, v)
        value_write(t, indent + 2, it->name->s, &it->v, type_below(type, it->name), keys);
    const struct type *of = type_below(type, NULL);
    val_each_item (it, v) {
        if (!val_is(it, VAL_MAP)) {
            strbuf_addf(t->out, "%*s- " STR_FMT "\n", indent + 2, "", STR_ARG(scalar_text(t->a, it)));
            continue;
        }
        strbuf_addf(t->out, "%*s-\n", indent + 2, "");
        val_each_member (m, it)
            value_write(t, indent + 4, m->name->s, &m->v, type_below(of, m->name),
                        of ? of->kind == TYPE_MAP || of->kind == TYPE_ANY : keys);
    }
}

static unsigned base64_bytes(struct str s)
{
    return (unsigned)(s.n / 4 * 3) - (str_ends(s, S("==")) ? 2 : str_ends(s, S("=")) ? 1 : 0);
}

static const struct {
    const char *kind;
    void (*fn)(struct describe_text *t);
} rows[] = {{"Pod", pod_write},
            {"Deployment", deployment_write},
            {"StatefulSet", stateful_write},
            {"DaemonSet", daemons_write},
            {"Node", node_write},
            {"Service", service_write}};

void describe_object(struct arena *a, struct str kind, const struct type *type, const struct val *object,
                     int64_t now_ns, struct strbuf *out)
{
    struct describe_text t = {a, out, now_ns, object};
    head_write(&t);
    for (size_t i = 0; i < countof(rows); i++)
        if (str_eqz(kind, rows[i].kind)) {
            rows[i].fn(&t);
            return;
        }
    bool secret = str_eqz(kind, "Secret");
    val_each_member (it, object) {
        if (it->name == N(metadata) || it->name == N(apiVersion) || it->name == N(kind))
            continue;
        if (!secret || it->name != N(data)) {
            value_write(&t, 0, it->name->s, &it->v, type_below(type, it->name), false);
            continue;
        }
        strbuf_addz(out, "Data:\n");
        val_each_member (m, &it->v) /* what is secret is not shown by the way */
            strbuf_addf(out, "  " STR_FMT ": %u bytes\n", STR_ARG(m->name->s), base64_bytes(val_text(&m->v)));
    }
}

/* The columns are as wide as what stands in them; the message is last and has no end. */
void describe_events(struct arena *a, const struct val *list, int64_t now_ns, struct strbuf *out)
{
    enum { COLUMNS = 4 };
    static const char *const heads[COLUMNS] = {"TYPE", "REASON", "AGE", "FROM"};
    const struct val *items = field_at(list, "items");
    size_t n = val_len(items), i = 0, wide[COLUMNS];
    if (!n) {
        strbuf_addz(out, "Events:                    <none>\n");
        return;
    }
    struct str(*cells)[COLUMNS] = arena_alloc(a, n * sizeof *cells);
    for (size_t k = 0; k < COLUMNS; k++)
        wide[k] = strlen(heads[k]);
    val_each_item (it, items) {
        struct str last = field_text(it, "lastTimestamp"), from = field_text(it, "source.component");
        struct str age = age_text(a, last.n ? last : field_text(it, "eventTime"), now_ns);
        int64_t count = field_num(it, "count", 1);
        cells[i][0] = field_text(it, "type");
        cells[i][1] = field_text(it, "reason");
        cells[i][2] = count > 1 ? arena_fmt(a, STR_FMT " (x%lld)", STR_ARG(age), (long long)count) : age;
        cells[i][3] = from.n ? from : field_text(it, "reportingComponent");
        for (size_t k = 0; k < COLUMNS; k++)
            wide[k] = MAX(wide[k], cells[i][k].n);
        i++;
    }
    strbuf_addz(out, "Events:\n ");
    for (size_t k = 0; k < COLUMNS; k++)
        strbuf_addf(out, " %-*s ", (int)wide[k], heads[k]);
    strbuf_addz(out, " MESSAGE\n");
    for (i = 0; i < n; i++) {
        strbuf_addc(out, ' ');
        for (size_t k = 0; k < COLUMNS; k++)
            strbuf_addf(out, " %-*.*s ", (int)wide[k], STR_ARG(cells[i][k]));
        strbuf_addf(out, " " STR_FMT "\n", STR_ARG(field_text(val_item(items, i), "message")));
    }
}
