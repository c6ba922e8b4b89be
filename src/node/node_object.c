#include "api/formats.h"
#include "api/quantity.h"
#include "base/clock.h"
#include "base/log.h"
#include "net/vip.h"
#include "node/agent_int.h"
#include "node/condition.h"
#include "node/csi.h"
#include "node/node_facts.h"
#include "node/pressure_plan.h"
#include "node/shutdown.h"
#include "sys/file.h"
#include <fcntl.h>

#define LEASE_SECONDS 40
#define LEASE_EVERY   (10 * NS_PER_S)
#define STATUS_EVERY  (300 * NS_PER_S) /* heartbeat of the conditions, as upstream's nodeStatusReportFrequency */
#define RETRY         (NS_PER_S)
#define MEND          (NS_PER_S) /* what others say of this node is contradicted so long after */
#define IMAGES_SHOWN  50
#define EDGE_UID      64504 /* what the front door listens on is a Service's (cli/role.h) */
#define PODS_OF_PIDS  8     /* a pod may have this part of the processes that there can be; */
#define PIDS_LEAST    1024

/* The Node object and its Lease. Only fields that are this node's own are written, by merge patches: labels, taints
 * and extended resources of others survive. */
struct node_object {
    struct agent *agent;
    struct node_facts facts;
    struct arena arena;
    struct call node_call, look_call, lease_call;
    struct cache *own; /* this node alone: what others say of it is seen and, where it is wrong, mended */
    struct cache_handler on_own;
    struct timer status_timer, lease_timer;
    bool created, told_ready, lease_made;
    bool fresh, greeted; /* made by this process; told of its start */
    bool news;           /* since what is being written was gathered */
    bool looking;        /* at the images, to be shown in the status */
    int64_t lease_rev;   /* a lease is only written over the one that was seen; 0: not seen yet */
    struct str uid;
};

/* --- pieces of the object --- */

static void put_text(struct arena *a, struct val *m, const char *key, struct str text)
{
    val_set_str(a, m, str_of(key), val_str(a, text));
}

/* capacity, or what of it is for pods: without what is reserved, and without what hard thresholds of eviction keep.
 */
static struct val resources_val(struct node_object *n, struct arena *a, bool allocatable)
{
    struct node_facts *f = &n->facts;
    const struct reserved_rules *rules = n->agent->cfg.reserved;
    const struct pressure_rules *pressure = n->agent->cfg.pressure;
    const struct node_amounts none = {0},
                              thresholds = {.memory = pressure_reserved(pressure, SIGNAL_MEMORY, f->memory_bytes),
                                            .disk = pressure_reserved(pressure, SIGNAL_NODEFS, f->disk_bytes),
                                            .pids = pressure_reserved(pressure, SIGNAL_PIDS, f->pids)};
    struct node_amounts left = {f->cpus * 1000, f->memory_bytes, f->disk_bytes, f->pids};
    if (allocatable)
        left = reserved_allocatable(&n->agent->machine, rules ? &rules->kept : &none, &thresholds);
    struct val m = val_map();
    put_text(a, &m, "cpu", quantity_of_milli(a, left.cpu_milli));
    put_text(a, &m, "memory", arena_fmt(a, "%lldKi", (long long)left.memory / 1024));
    put_text(a, &m, "pods", arena_fmt(a, "%d", n->agent->cfg.max_pods));
    put_text(a, &m, "ephemeral-storage",
             arena_fmt(a, allocatable ? "%lld" : "%lldKi", (long long)left.disk / (allocatable ? 1 : 1024)));
    put_text(a, &m, "hugepages-1Gi", quantity_of_bytes(a, f->huge_1g_bytes));
    put_text(a, &m, "hugepages-2Mi", quantity_of_bytes(a, f->huge_2m_bytes));
    return m;
}

/* Resources of others: whoever brings them writes their capacity, and all of it can be given away. In a patch of the
 * status: allocatable as it is to be; null for what has no capacity any more. */
static void foreign_resources(struct arena *a, const struct obj *node, struct val *allocatable)
{
    if (!node)
        return;
    const struct val *capacity = val_get(obj_status(node), N(capacity));
    const struct val *now = val_get(obj_status(node), N(allocatable));
    val_each_member (it, capacity)
        if (is_extended_resource(it->name->s))
            val_set_str(a, allocatable, it->name->s, val_copy(a, &it->v));
    val_each_member (it, now)
        if (is_extended_resource(it->name->s) && !val_get_str(capacity, it->name->s))
            val_set_str(a, allocatable, it->name->s, VAL_NONE);
}

static bool foreign_differ(const struct obj *node)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct val want = val_map();
    const struct val *now = val_get(obj_status(node), N(allocatable));
    foreign_resources(&a, node, &want);
    val_each_member (it, &want)
        if (!str_eq(val_text(&it->v), val_text(val_get_str(now, it->name->s))) || val_is(&it->v, VAL_NULL))
            return true;
    return false;
}

/* `old`: what the Node says now, or NULL. */
static struct val conditions_val(const struct node_object *n, struct arena *a, const struct val *old)
{
    static const struct {
        unsigned pressure; /* 0: it is always so */
        struct status_condition well, short_of;
    } ours[] = {
        {PRESSURE_ON_MEMORY,
         {"MemoryPressure", false, "KubeletHasSufficientMemory", S_INIT("kubelet has sufficient memory available")},
         {"MemoryPressure", true, "KubeletHasInsufficientMemory",
          S_INIT("kubelet has insufficient memory available")}},
        {PRESSURE_ON_DISK,
         {"DiskPressure", false, "KubeletHasNoDiskPressure", S_INIT("kubelet has no disk pressure")},
         {"DiskPressure", true, "KubeletHasDiskPressure", S_INIT("kubelet has disk pressure")}},
        {PRESSURE_ON_PIDS,
         {"PIDPressure", false, "KubeletHasSufficientPID", S_INIT("kubelet has sufficient PID available")},
         {"PIDPressure", true, "KubeletHasInsufficientPID", S_INIT("kubelet has insufficient PID available")}},
        {0, {"Ready", true, "KubeletReady", S_INIT("kubelet is posting ready status")}, {0}},
    };
    struct val list = val_list();
    int64_t now = clock_real();
    unsigned pressure = pressure_conditions(n->agent->pressure);
    static const struct status_condition ends = {"Ready", false, "KubeletNotReady", S_INIT("node is shutting down")};
    for (size_t i = 0; i < countof(ours); i++) {
        bool ending = i == countof(ours) - 1 && shutdown_is_on(n->agent->shutdown);
        const struct status_condition *says = ours[i].pressure & pressure ? &ours[i].short_of : &ours[i].well;
        struct val c = condition_of(a, old, ending ? &ends : says, now);
        val_set(a, &c, N(lastHeartbeatTime), val_str(a, time_text(a, now)));
        val_add(a, &list, c);
    }
    return list;
}

static struct val node_info(struct node_object *n, struct arena *a)
{
    struct node_facts *f = &n->facts;
    struct val m = val_map();
    val_set_text(a, &m, N(machineID), f->machine_id);
    val_set_text(a, &m, N(systemUUID), f->system_uuid);
    val_set_text(a, &m, N(bootID), f->boot_id);
    val_set_text(a, &m, N(kernelVersion), f->kernel);
    val_set_text(a, &m, N(osImage), f->os_image);
    val_set(a, &m, N(containerRuntimeVersion), val_str(a, arena_fmt(a, "wherry://%s", n->agent->cfg.version)));
    val_set_text(a, &m, N(kubeletVersion), str_of(n->agent->cfg.version));
    val_set_text(a, &m, N(kubeProxyVersion), S(""));
    val_set_text(a, &m, N(operatingSystem), S("linux"));
    val_set_text(a, &m, N(architecture), f->arch);
    return m;
}

/* One status under way: which images there are is read from the store before, record by record. */
struct writing {
    struct job job;
    struct node_object *n;
    struct arena arena;
    struct image_rows rows;
    struct strbuf subnets, listening;
    int64_t services; /* the revision up to which they were known when that was looked at */
    bool ok, looked;
    struct err err, look_err;
};

static struct val images_val(struct writing *w)
{
    struct arena *a = &w->arena;
    struct val list = val_list();
    for (size_t i = 0; i < MIN(w->rows.list.n, IMAGES_SHOWN); i++) {
        struct val image = val_map(), called = val_list();
        const struct image_row *r = &w->rows.list.p[i];
        for (size_t k = 0; k < r->names.n; k++)
            val_add(a, &called, val_str(a, r->names.p[k]));
        val_set(a, &image, N(names), called);
        val_set_num(a, &image, N(sizeBytes), r->image.size);
        val_add(a, &list, image);
    }
    return list;
}

static struct val labels_val(struct node_object *n, struct arena *a)
{
    struct val m = val_map();
    struct str arch = n->facts.arch;
    put_text(a, &m, "beta.kubernetes.io/arch", arch);
    put_text(a, &m, "beta.kubernetes.io/os", S("linux"));
    put_text(a, &m, "kubernetes.io/arch", arch);
    put_text(a, &m, "kubernetes.io/hostname", str_of(n->agent->cfg.name));
    put_text(a, &m, "kubernetes.io/os", S("linux"));
    return m;
}

/* Read-only mounts with all below, and files under other ids, are made by the node itself, whatever runtime starts
 * the program. */
static struct val handler_val(struct node_object *n, struct arena *a, struct str name)
{
    struct val h = val_map();
    struct val *features = val_need_map(a, &h, N(features));
    val_set_text(a, &h, N(name), name);
    val_set_bool(a, features, N(recursiveReadOnlyMounts), true);
    val_set_bool(a, features, N(userNamespaces), n->agent->user_ids.n > 0);
    return h;
}

static struct val handlers_val(struct node_object *n, struct arena *a)
{
    struct val list = val_list();
    struct str rest = str_of(n->agent->cfg.runtimes ? n->agent->cfg.runtimes : ""), name, program;
    val_add(a, &list, handler_val(n, a, S("")));
    if (!runtimes_find(rest, S("crun"), &program) || !program.n)
        val_add(a, &list, handler_val(n, a, S("crun")));
    while (runtimes_next(&rest, &name, &program))
        val_add(a, &list, handler_val(n, a, name));
    return list;
}

static struct val status_val(struct writing *w)
{
    struct node_object *n = w->n;
    struct arena *a = &w->arena;
    struct agent *g = n->agent;
    const struct obj *known = cache_peek(g->nodes, S(""), str_of(g->cfg.name)),
                     *told = cache_peek(n->own, S(""), str_of(g->cfg.name)); /* by others, too */
    struct val s = val_map(), addresses = val_list(), ip = val_map(), host = val_map();
    val_set_text(a, &ip, N(type), S("InternalIP"));
    val_set_text(a, &ip, N(address), str_of(g->cfg.host_ip));
    val_set_text(a, &host, N(type), S("Hostname"));
    val_set_text(a, &host, N(address), str_of(g->cfg.name));
    val_add(a, &addresses, ip);
    val_add(a, &addresses, host);
    val_set(a, &s, N(addresses), addresses);
    val_set(a, &s, N(capacity), resources_val(n, a, false));
    foreign_resources(a, told, val_set(a, &s, N(allocatable), resources_val(n, a, true)));
    val_set(a, &s, N(conditions), conditions_val(n, a, known ? val_get(obj_status(known), N(conditions)) : NULL));
    val_set(a, &s, N(nodeInfo), node_info(n, a));
    val_set(a, &s, N(images), images_val(w));
    val_set_num(a, val_need_map(a, &s, N(daemonEndpoints), N(kubeletEndpoint)), N(Port), g->cfg.relay_port);
    val_set(a, &s, N(runtimeHandlers), handlers_val(n, a));
    val_set_bool(a, val_need_map(a, &s, N(features)), N(supplementalGroupsPolicy), true);
    struct val in_use = val_list();
    bool had = known && val_len(val_get(obj_status(known), N(volumesInUse)));
    if (csi_in_use(g->csi, a, &in_use) && (had || val_len(&in_use)))
        val_set(a, &s, N(volumesInUse), val_len(&in_use) ? in_use : VAL_NONE);
    return s;
}

/* Where addresses of load balancers can be answered for, and which ports are no Service's (control/loadbalancer). */
static void notes_set(struct writing *w, struct val *node)
{
    struct val *notes = val_need_map(&w->arena, node, N(metadata), N(annotations));
    if (!w->looked)
        return;
    put_text(&w->arena, notes, "wherry.dev/subnets", strbuf_str(&w->subnets));
    put_text(&w->arena, notes, "wherry.dev/listening", strbuf_str(&w->listening));
    put_text(&w->arena, notes, "wherry.dev/looked", arena_fmt(&w->arena, "%lld", (long long)w->services));
}

/* --- writing --- */

static void write_status(struct writing *w)
{
    struct node_object *n = w->n;
    struct val body = val_map();
    val_set(&w->arena, &body, N(status), status_val(w));
    notes_set(w, &body);
    call_start(&n->node_call, n->agent->cfg.transport,
               &CALL_OPTIONS(.verb = CALL_PATCH, .kind = K(Node), .name = str_of(n->agent->cfg.name),
                             .sub = S("status"), .patch = PATCH_STRATEGIC, .body = &body));
}

static void create_node(struct writing *w)
{
    struct node_object *n = w->n;
    struct agent *g = n->agent;
    struct arena *a = &w->arena;
    struct val body = val_map(), cidrs = val_list();
    struct str cidr = arena_fmt(a, CIDR_FMT, CIDR_ARG(g->cfg.node_pods));
    val_set_text(a, &body, N(apiVersion), S("v1"));
    val_set_text(a, &body, N(kind), S("Node"));
    struct val *meta = val_need_map(a, &body, N(metadata)), *spec;
    val_set_text(a, meta, N(name), str_of(g->cfg.name));
    val_set(a, meta, N(labels), labels_val(n, a));
    spec = val_need_map(a, &body, N(spec));
    val_set_text(a, spec, N(podCIDR), cidr);
    val_add(a, &cidrs, val_str(a, cidr));
    val_set(a, spec, N(podCIDRs), cidrs);
    val_set(a, &body, N(status), status_val(w));
    notes_set(w, &body);
    n->fresh = true;
    call_start(&n->node_call, g->cfg.transport, &CALL_OPTIONS(.verb = CALL_CREATE, .kind = K(Node), .body = &body));
}

static void node_known(struct node_object *n, struct obj *o)
{
    if (o && !n->uid.n)
        n->uid = str_dup(&n->arena, o->uid);
    n->created = true;
    timer_set(&n->status_timer, n->news ? 0 : STATUS_EVERY);
    n->news = false;
    timer_set(&n->lease_timer, 0);
    if (n->told_ready)
        return;
    n->told_ready = true;
    cache_start(n->own);
    log_info("node.ready", "node=%s", n->agent->cfg.name);
    if (n->agent->cfg.ready)
        n->agent->cfg.ready(n->agent->cfg.arg);
}

/* The Node as an earlier agent left it, before it is brought up to date: its boot id tells of a reboot in between. */
static void look_done(struct call *c)
{
    struct node_object *n = container_of(c, struct node_object, look_call);
    struct agent *g = n->agent;
    AUTO(arena_fini) struct arena a = ARENA;
    struct str was = c->ok && c->obj ? val_text_at(obj_status(c->obj), N(nodeInfo), N(bootID)) : STR_NONE;
    if (was.n && !str_eq(was, n->facts.boot_id))
        events_record(
            g->events, c->obj, S(""), "Warning", "Rebooted", NULL,
            arena_fmt(&a, "Node %s has been rebooted, boot id: " STR_FMT, g->cfg.name, STR_ARG(n->facts.boot_id)));
    if (c->ok && c->obj)
        pressure_restore(g->pressure, c->obj);
    timer_set(&n->status_timer, 0);
}

static void node_look(struct node_object *n)
{
    call_start(&n->look_call, n->agent->cfg.transport,
               &CALL_OPTIONS(.verb = CALL_GET, .kind = K(Node), .name = str_of(n->agent->cfg.name)));
}

static void node_done(struct call *c)
{
    struct node_object *n = container_of(c, struct node_object, node_call);
    if (c->ok) {
        csi_in_use_told(n->agent->csi, c->rev);
        node_known(n, c->obj);
    } else if (c->err.kind == E_ALREADY_EXISTS) {
        n->created = true; /* from before: bring it up to date */
        n->fresh = false;
        node_look(n);
    } else if (c->err.kind == E_NOT_FOUND) {
        n->created = false; /* deleted by somebody: it comes again, as a kubelet's does */
        timer_set(&n->status_timer, 0);
    } else {
        log_warn("node.write", "node=%s retry_s=1 error=\"%s\"", n->agent->cfg.name, c->err.text);
        timer_set(&n->status_timer, RETRY);
    }
}

/* Who did not hear of us for a while (we or they had been stopped) has made our conditions Unknown; somebody may have
 * taken one away. Our Services stand still until that is put right, so it is not left for the next heartbeat. */
static bool is_belied(const struct node_object *n, const struct obj *o)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct val ours = conditions_val(n, &a, NULL);
    val_each_item (it, &ours) {
        const struct val *c = val_find(val_get(obj_status(o), N(conditions)), N(type), val_text_at(it, N(type)));
        if (!str_eq(val_text_at(c, N(status)), val_text_at(it, N(status))))
            return true;
    }
    return false;
}

static void node_event(struct node_object *n, const struct obj *node, const char *reason)
{
    AUTO(arena_fini) struct arena a = ARENA;
    events_record(n->agent->events, node, S(""), "Normal", reason, NULL,
                  arena_fmt(&a, "Node %s status is now: %s", n->agent->cfg.name, reason));
}

static bool is_ready(const struct obj *node)
{
    const struct val *ready = val_find(val_get(obj_status(node), N(conditions)), N(type), S("Ready"));
    return str_eqz(val_text_at(ready, N(status)), "True");
}

/* What a kubelet tells of its node beside pressure (kubelet_node_status.go). */
static void changes_tell(struct node_object *n, const struct obj *was, const struct obj *now)
{
    bool closed = val_true(val_get(obj_spec(now), N(unschedulable)));
    if (!n->greeted)
        events_record(n->agent->events, now, S(""), "Normal", "Starting", NULL, S("Starting kubelet."));
    if (was ? !is_ready(was) && is_ready(now) : n->fresh && !n->greeted)
        node_event(n, now, "NodeReady");
    if (was && closed != val_true(val_get(obj_spec(was), N(unschedulable))))
        node_event(n, now, closed ? "NodeNotSchedulable" : "NodeSchedulable");
    n->greeted = true;
}

static void own_changed(struct cache_handler *h, struct obj *was, struct obj *now)
{
    struct node_object *n = container_of(h, struct node_object, on_own);
    if (now)
        changes_tell(n, was, now);
    if (!now || !n->told_ready || call_active(&n->node_call))
        return; /* the answer of the call under way is newer, and comes here again */
    if (foreign_differ(now))
        timer_set(&n->status_timer, 0);
    if (!is_belied(n, now))
        return;
    log_info("node.belied", "node=%s its conditions are not what it said: saying them again", n->agent->cfg.name);
    timer_set(&n->status_timer, MEND);
}

static void list_work(struct job *j)
{
    struct writing *w = container_of(j, struct writing, job);
    w->ok = image_list(runtime_content(w->n->agent->runtime), &w->arena, &w->rows, &w->err);
    w->subnets = w->listening = STRBUF(STRBUF_TEXT);
    w->looked = link_subnets(w->n->agent->cfg.instance, &w->subnets, &w->look_err) &&
                ports_listening(w->n->agent->cfg.cluster_pods, EDGE_UID, &w->listening, &w->look_err);
}

static void list_done(struct job *j)
{
    struct writing *w = container_of(j, struct writing, job);
    if (!w->looked)
        log_warn("node.network", "error=\"%s\"", w->look_err.text);
    if (!w->ok)
        log_warn("node.images", "error=\"%s\"", w->err.text);
    w->n->looking = false;
    if (w->n->created)
        write_status(w);
    else
        create_node(w);
    array_fini(&w->rows.list);
    strbuf_fini(&w->subnets);
    strbuf_fini(&w->listening);
    arena_fini(&w->arena);
    mem_free(w);
}

static void on_status_timer(struct timer *t)
{
    struct node_object *n = container_of(t, struct node_object, status_timer);
    if (n->looking || call_active(&n->node_call))
        return; /* what comes of it sets the timer again */
    struct writing *w = NEW(struct writing);
    w->n = n;
    w->services = cache_rev(n->agent->services);
    n->looking = true;
    lane_start(n->agent->files, &w->job, list_work, list_done);
}

static void write_lease(struct node_object *n)
{
    struct agent *g = n->agent;
    struct arena a = ARENA;
    struct val body = val_map();
    struct val *spec = val_need_map(&a, &body, N(spec));
    val_set(&a, spec, N(renewTime), val_str(&a, time_text_micro(&a, clock_real())));
    struct call_options o = CALL_OPTIONS(.verb = n->lease_rev ? CALL_PATCH : CALL_GET, .kind = K(Lease),
                                         .expect_rev = n->lease_rev, .ns = S("kube-node-lease"),
                                         .name = str_of(g->cfg.name), .patch = PATCH_MERGE,
                                         .body = n->lease_rev ? &body : NULL);
    if (!n->lease_made) {
        o.verb = CALL_CREATE;
        o.name = S("");
        o.body = &body;
        val_set_text(&a, &body, N(apiVersion), S("coordination.k8s.io/v1"));
        val_set_text(&a, &body, N(kind), S("Lease"));
        val_set_text(&a, spec, N(holderIdentity), str_of(g->cfg.name));
        val_set_num(&a, spec, N(leaseDurationSeconds), LEASE_SECONDS);
        struct val *meta = val_need_map(&a, &body, N(metadata));
        val_set_text(&a, meta, N(name), str_of(g->cfg.name));
        val_set_text(&a, meta, N(namespace), S("kube-node-lease"));
        if (n->uid.n) {
            struct val owners = val_list(), owner = val_map();
            val_set_text(&a, &owner, N(apiVersion), S("v1"));
            val_set_text(&a, &owner, N(kind), S("Node"));
            val_set_text(&a, &owner, N(name), str_of(g->cfg.name));
            val_set_text(&a, &owner, N(uid), n->uid);
            val_add(&a, &owners, owner);
            val_set(&a, meta, N(ownerReferences), owners);
        }
    }
    call_start(&n->lease_call, g->cfg.transport, &o);
    arena_fini(&a);
}

static void lease_done(struct call *c)
{
    struct node_object *n = container_of(c, struct node_object, lease_call);
    bool seen = n->lease_rev != 0;
    n->lease_rev = c->ok && c->obj ? c->obj->rev : 0;
    if (c->ok) {
        timer_set(&n->lease_timer, n->lease_made && !seen ? 0 : LEASE_EVERY); /* read first, then renewed */
        n->lease_made = true;
        return;
    }
    n->lease_made = c->err.kind != E_NOT_FOUND;
    bool again = c->err.kind == E_ALREADY_EXISTS || c->err.kind == E_CONFLICT || c->err.kind == E_NOT_FOUND;
    if (!again)
        log_warn("node.lease", "node=%s retry_s=1 error=\"%s\"", n->agent->cfg.name, c->err.text);
    timer_set(&n->lease_timer, again ? 0 : RETRY);
}

static void on_lease_timer(struct timer *t)
{
    struct node_object *n = container_of(t, struct node_object, lease_timer);
    if (!call_active(&n->lease_call))
        write_lease(n);
}

void node_object_news(struct node_object *n)
{
    if (!n)
        return;
    n->news = !n->told_ready || n->looking || call_active(&n->node_call); /* written after that */
    if (!n->news)
        timer_set(&n->status_timer, 0);
}

static struct str file_text(struct arena *a, const char *path)
{
    struct err ignored = ERR; /* not there: nobody has subordinate ids */
    AUTO(strbuf_fini) struct strbuf b = STRBUF(1 << 20);
    return file_read(AT_FDCWD, path, &b, &ignored) ? str_dup(a, strbuf_str(&b)) : S("");
}

static void users_look(struct agent *g, struct str kernel)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct err err = ERR; /* the setting was looked at when it was read */
    struct str most = str_trim(file_text(&a, "/proc/sys/user/max_user_namespaces"));
    if (!user_ids_read(str_of(g->cfg.pod_users ? g->cfg.pod_users : ""), file_text(&a, "/etc/subuid"),
                       file_text(&a, "/etc/subgid"), (unsigned)g->cfg.max_pods, &g->user_ids, &err))
        g->user_ids.why = "setting pod-users is none";
    if (!user_ids_kernel(kernel))
        g->user_ids = (struct user_ids){.why = "the kernel is older than 6.3"};
    else if (!most.n || str_eqz(most, "0"))
        g->user_ids = (struct user_ids){.why = "user.max_user_namespaces is 0"};
    if (g->user_ids.why)
        log_info("node.users", "pods with hostUsers: false cannot be had: %s", g->user_ids.why);
}

struct node_object *node_object_new(struct agent *g)
{
    struct node_object *n = NEW(struct node_object);
    n->agent = g;
    node_facts_read(&n->arena, g->cfg.data, &n->facts);
    g->pod_pids = n->facts.pids ? MAX(n->facts.pids / PODS_OF_PIDS, PIDS_LEAST) : 0;
    if (!g->cfg.max_pods)
        g->cfg.max_pods = 110;
    users_look(g, n->facts.kernel);
    if (!g->cfg.relay_port)
        g->cfg.relay_port = 10250;
    const struct node_facts *f = &n->facts;
    g->machine = (struct node_amounts){f->cpus * 1000, f->memory_bytes - f->huge_2m_bytes - f->huge_1g_bytes,
                                       f->disk_bytes, f->pids};
    g->allocatable = resources_val(n, &g->arena, true);
    g->capacity = resources_val(n, &g->arena, false);
    n->node_call.done = node_done;
    n->look_call.done = look_done;
    n->lease_call.done = lease_done;
    n->own = cache_new(g->cfg.transport,
                       &(struct cache_options){
                           .kind = K(Node), .field_selector = arena_fmt(&n->arena, "metadata.name=%s", g->cfg.name)});
    n->on_own.changed = own_changed;
    cache_handler_add(n->own, &n->on_own);
    timer_init(&n->status_timer, g->cfg.loop, on_status_timer);
    timer_init(&n->lease_timer, g->cfg.loop, on_lease_timer);
    timer_set(&n->status_timer, 0);
    return n;
}

void node_object_free(struct node_object *n)
{
    if (!n)
        return;
    timer_stop(&n->status_timer);
    timer_stop(&n->lease_timer);
    call_cancel(&n->node_call);
    call_cancel(&n->look_call);
    call_cancel(&n->lease_call);
    cache_free(n->own);
    arena_fini(&n->arena);
    mem_free(n);
}
