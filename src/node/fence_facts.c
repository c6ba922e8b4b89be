#include "node/fence_facts.h"
#include "net/service.h"

static uint8_t proto_of(const struct val *port)
{
    struct str s = val_text_at(port, N(protocol));
    return str_eq(s, S("UDP")) ? NET_UDP : str_eq(s, S("SCTP")) ? NET_SCTP : NET_TCP;
}

static void ports_add(const struct val *container, struct fence_port ports[FENCE_PORTS], size_t *n)
{
    val_each_item (p, val_get(container, N(ports))) {
        int64_t port = val_num_at(p, 0, N(containerPort));
        struct str name = val_text_at(p, N(name));
        if (name.n && port > 0 && port <= UINT16_MAX && *n < FENCE_PORTS)
            ports[(*n)++] = (struct fence_port){name, proto_of(p), (uint16_t)port};
    }
}

bool fence_facts_pod(const struct obj *pod, struct fence_port ports[FENCE_PORTS], struct fence_pod *out)
{
    const struct val *spec = obj_spec(pod), *status = obj_status(pod);
    struct str phase = val_text_at(status, N(phase));
    *out = (struct fence_pod){
        .uid = pod->uid, .ns = pod->ns, .name = pod->name, .labels = obj_labels(pod), .ports = ports};
    val_each_item (c, val_get(spec, N(containers)))
        ports_add(c, ports, &out->nports);
    val_each_item (c, val_get(spec, N(initContainers)))
        if (str_eqz(val_text_at(c, N(restartPolicy)), "Always"))
            ports_add(c, ports, &out->nports);
    bool has = ip4_parse(val_text_at(status, N(podIP)), &out->ip);
    if (!has)
        out->ip = 0;
    return has && !val_true(val_get(spec, N(hostNetwork))) && !str_eqz(phase, "Succeeded") &&
           !str_eqz(phase, "Failed");
}

static void copy_at(struct arena *a, struct val *to, const struct val *from, const struct name *name)
{
    const struct val *v = val_get(from, name);
    if (v)
        val_set(a, to, name, *v); /* borrowed: obj_new copies */
}

static struct val trimmed_containers(struct arena *a, const struct val *list)
{
    struct val out = val_list();
    val_each_item (c, list) {
        struct val one = val_map();
        if (!val_len(val_get(c, N(ports))))
            continue;
        copy_at(a, &one, c, N(ports));
        copy_at(a, &one, c, N(restartPolicy));
        val_add(a, &out, one);
    }
    return out;
}

struct obj *fence_facts_trim(const struct obj *o)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct val v = val_map(), meta = val_map(), spec = val_map(), status = val_map();
    static const struct name *const metas[] = {N(name), N(namespace), N(uid), N(labels)};
    for (size_t i = 0; i < countof(metas); i++)
        copy_at(&a, &meta, obj_meta(o), metas[i]);
    copy_at(&a, &v, &o->tree, N(apiVersion));
    copy_at(&a, &v, &o->tree, N(kind));
    val_set(&a, &v, N(metadata), meta);
    if (o->kind == K(Pod)) {
        copy_at(&a, &spec, obj_spec(o), N(hostNetwork));
        val_set(&a, &spec, N(containers), trimmed_containers(&a, val_get(obj_spec(o), N(containers))));
        val_set(&a, &spec, N(initContainers), trimmed_containers(&a, val_get(obj_spec(o), N(initContainers))));
        copy_at(&a, &status, obj_status(o), N(phase));
        copy_at(&a, &status, obj_status(o), N(podIP));
        val_set(&a, &v, N(spec), spec);
        val_set(&a, &v, N(status), status);
    }
    return obj_new(o->kind, &v, o->rev);
}

static void count_lines(struct strbuf *out, const char *what, const char *help, const struct fence_count *list,
                        size_t n, bool bytes)
{
    strbuf_addf(out,
                "# HELP wherry_network_policy_refused_%s_total %s\n"
                "# TYPE wherry_network_policy_refused_%s_total counter\n",
                what, help, what);
    for (size_t i = 0; i < n; i++) /* names of objects need no escapes */
        strbuf_addf(out,
                    "wherry_network_policy_refused_%s_total{namespace=\"" STR_FMT "\",policy=\"" STR_FMT
                    "\",direction=\"%s\"} %llu\n",
                    what, STR_ARG(list[i].ns), STR_ARG(list[i].policy), list[i].egress ? "egress" : "ingress",
                    (unsigned long long)(bytes ? list[i].bytes : list[i].packets));
}

void fence_facts_counts(struct strbuf *out, const struct fence_count *list, size_t n)
{
    if (!n)
        return;
    count_lines(out, "packets", "Packets of new connections that no policy of an isolated pod allowed.", list, n,
                false);
    count_lines(out, "bytes", "Bytes of these packets.", list, n, true);
}
