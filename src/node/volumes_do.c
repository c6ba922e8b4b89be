#include "api/csi_source.h"
#include "api/quantity.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "net/conntrack.h"
#include "net/podfiles.h"
#include "node/agent_int.h"
#include "node/claim.h"
#include "node/csi.h"
#include "node/fences.h"
#include "node/image_volumes.h"
#include "node/podspec.h"
#include "node/volume_mount.h"
#include "sys/file.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>

#define REFRESH_FIRST NS_PER_S
#define REFRESH_MOST  (120 * NS_PER_S)

struct failed_volume {
    struct str name, why; /* name empty: files of the pod itself */
    bool device;
};
struct warning {
    const char *reason;
    struct str text;
};
struct setup {
    struct job job;
    struct agent_pod *ap;
    struct arena arena;
    ARRAY(struct volume_work) work;
    bool refresh, waits; /* waits: for something that has not been heard of yet */
    /* files of the pod, and what they are made of */
    struct str dir, ip, dns_ip, domain;
    struct obj *pod;
    struct pod_hostname hostname;
    ARRAY(struct warning) warnings;
    ARRAY(struct failed_volume) failed;
};

static void setup_free(struct setup *s)
{
    array_each (w, &s->work)
        volume_files_fini(&w->files);
    array_fini(&s->work);
    array_fini(&s->warnings);
    array_fini(&s->failed);
    obj_unref(s->pod);
    arena_fini(&s->arena);
    mem_free(s);
}

static void setup_failed(struct setup *s, struct str name, const struct err *err)
{
    struct failed_volume f = {str_dup(&s->arena, name), str_dup(&s->arena, str_of(err->text)), false};
    array_push(&s->failed, f);
}

static void mount_failed(struct setup *s, const struct host_path *p)
{
    const struct volume_mount *m = &p->mount;
    setup_failed(s, m->target.n ? m->called : p->volume, &p->err);
    s->failed.p[s->failed.n - 1].device = m->block;
}

static struct str path_of(struct arena *a, struct agent_pod *ap, const struct val *volume, enum volume_place place)
{
    struct str name = val_text_at(volume, N(name));
    switch (place) {
    case VOLUME_HOST: return str_dup(a, val_text_at(volume, N(hostPath), N(path)));
    case VOLUME_TMPFS: return arena_fmt(a, STR_FMT "/" STR_FMT, STR_ARG(ap->tmpfs_dir), STR_ARG(name));
    case VOLUME_IMAGE:
    case VOLUME_MOUNT: return arena_fmt(a, STR_FMT "/" STR_FMT, STR_ARG(ap->mounts_dir), STR_ARG(name));
    case VOLUME_DATA:
    case VOLUME_MEMORY: break;
    }
    return arena_fmt(a, STR_FMT "/volumes/" STR_FMT, STR_ARG(ap->dir), STR_ARG(name));
}

bool volumes_path(struct agent_pod *ap, struct arena *a, struct str name, struct str *path, bool *read_only)
{
    struct err ignored = ERR; /* a volume of no known type has no path; that it cannot be, gather says */
    const struct val *v = val_find(val_get(obj_spec(ap->pod->obj), N(volumes)), N(name), name);
    const struct volume_type *type = v ? volume_type_of(v, &ignored) : NULL;
    if (!type)
        return false;
    *path = path_of(a, ap, v, type->place);
    *read_only = type->payload || /* its content is the server's */
                 type->place == VOLUME_IMAGE || val_true(val_at(v, N(persistentVolumeClaim), N(readOnly))) ||
                 val_true(val_at(v, N(nfs), N(readOnly))) || val_true(val_at(v, N(csi), N(readOnly))) ||
                 val_true(val_at(v, N(iscsi), N(readOnly))) || val_true(val_at(v, N(fc), N(readOnly))) ||
                 csi_inline_reads_only(v) || val_true(val_at(v, N(flexVolume), N(readOnly)));
    return true;
}

/* What each volume should hold, as data for the job. One that fails does not keep the others from being tried, so
 * that all of those that do are told; one that no container mounts may fail (kubelet: the populator passes it over).
 */
static void setup_gather(struct setup *s, const struct host_path *paths, size_t npaths)
{
    struct agent_pod *ap = s->ap;
    struct sources sources = configs_sources(ap);
    size_t used = 0;
    struct volume_input in = {&sources, ap->pod->obj, configs_token, ap, &used};
    const struct val *spec = obj_spec(ap->pod->obj);
    val_each_item (v, val_get(spec, N(volumes))) {
        struct err err = ERR;
        const struct volume_type *type = volume_type_of(v, &err);
        struct str name = str_dup(&s->arena, val_text_at(v, N(name)));
        bool mounted = claim_is_used(ap->pod->obj, name);
        if (!type) {
            setup_failed(s, name, &err);
            continue;
        }
        if (s->refresh && !type->payload)
            continue;
        if (type->place == VOLUME_IMAGE) /* it comes with the images of containers */
            continue;
        if (type->place == VOLUME_HOST || type->place == VOLUME_MOUNT) { /* looked at before */
            for (size_t i = 0; i < npaths; i++)
                if (str_eq(paths[i].volume, name) && !paths[i].ok && mounted)
                    mount_failed(s, &paths[i]);
            continue;
        }
        struct volume_work w = {.name = name, .place = type->place, .files = {.arena = &s->arena}};
        w.path = path_of(&s->arena, ap, v, type->place);
        w.mode = type->mode;
        w.read_only = type->payload != NULL;
        w.fs_group = val_num_at(spec, -1, N(securityContext), N(fsGroup));
        int64_t page;
        if (volume_page_size(spec, v, &page, &err) && volume_payload(&w.files, &in, v, &err)) {
            array_push(&s->work, w);
            continue;
        }
        volume_files_fini(&w.files);
        if (err.kind == E_UNAVAILABLE)
            s->waits = true;
        else if (mounted)
            setup_failed(s, name, &err);
    }
}

/* Empty where it cannot be read: err says why. */
static struct str text_of(struct arena *a, const char *path, struct err *err)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(1 << 20);
    return file_read(AT_FDCWD, path, &b, err) ? str_dup(a, strbuf_str(&b)) : S("");
}

static struct str *texts_of(struct arena *a, const struct val *list, size_t *n)
{
    struct str *p = arena_alloc(a, (val_len(list) + 1) * sizeof *p);
    *n = 0;
    val_each_item (v, list)
        p[(*n)++] = val_text(v);
    return p;
}

static enum dns_policy policy_of(struct str s)
{
    return str_eq(s, S("Default"))                   ? DNS_DEFAULT
           : str_eq(s, S("None"))                    ? DNS_NONE
           : str_eq(s, S("ClusterFirstWithHostNet")) ? DNS_CLUSTER_FIRST_WITH_HOST_NET
                                                     : DNS_CLUSTER_FIRST;
}

static void setup_warn(struct setup *s, const char *reason, struct str text)
{
    array_push(&s->warnings, ((struct warning){reason, text}));
}

/* STR_NONE, as of hosts: there is more of it than a pod may bring. */
static struct str resolv_conf(struct setup *s)
{
    struct arena *a = &s->arena;
    const struct val *spec = obj_spec(s->pod), *config = val_get(spec, N(dnsConfig)),
                     *options = val_get(config, N(options));
    struct pod_dns dns = {.policy = policy_of(val_text_at(spec, N(dnsPolicy))),
                          .host_network = val_true(val_get(spec, N(hostNetwork))),
                          .ns = s->pod->ns};
    struct err err = ERR, ignored = ERR; /* ignored: what is behind a stub, where there is one */
    struct node_dns node = {.cluster_ip = s->dns_ip,
                            .domain = s->domain,
                            .resolv_conf = text_of(a, "/etc/resolv.conf", &err),
                            .behind = text_of(a, "/run/systemd/resolve/resolv.conf", &ignored)};
    node.unread = str_of(err.text);
    struct dns_option *o = arena_alloc(a, (val_len(options) + 1) * sizeof *o);
    AUTO(strbuf_fini) struct strbuf out = STRBUF(65536), warning = STRBUF(4096);
    dns.nameservers = texts_of(a, val_get(config, N(nameservers)), &dns.nnameservers);
    dns.searches = texts_of(a, val_get(config, N(searches)), &dns.nsearches);
    dns.options = o;
    val_each_item (v, options) {
        const struct val *value = val_get(v, N(value));
        o[dns.noptions++] = (struct dns_option){val_text_at(v, N(name)), value ? val_text(value) : STR_NONE};
    }
    pod_resolv_conf(&dns, &node, &out, &warning);
    if (warning.n)
        setup_warn(s, "DNSConfigForming", str_dup(a, strbuf_str(&warning)));
    return out.over ? STR_NONE : str_dup(a, strbuf_str(&out));
}

static struct str hosts_text(struct setup *s)
{
    struct arena *a = &s->arena;
    const struct val *spec = obj_spec(s->pod), *list = val_get(spec, N(hostAliases));
    struct host_alias *aliases = arena_alloc(a, (val_len(list) + 1) * sizeof *aliases);
    AUTO(strbuf_fini) struct strbuf out = STRBUF(1 << 20);
    size_t n = 0;
    val_each_item (v, list) {
        aliases[n].ip = val_text_at(v, N(ip));
        aliases[n].hostnames = texts_of(a, val_get(v, N(hostnames)), &aliases[n].nhostnames);
        n++;
    }
    if (val_true(val_get(spec, N(hostNetwork)))) {
        struct err err = ERR;
        pod_hosts_of_node(text_of(a, "/etc/hosts", &err), aliases, n, &out);
        if (err.kind && err.sys != ENOENT)
            setup_warn(s, "HostsForming",
                       arena_fmt(a, "The node's hosts cannot be read, and the pod goes without them: %s", err.text));
    } else {
        pod_hosts(&s->ip, 1, s->hostname.name, s->hostname.domain, aliases, n, &out);
    }
    return out.over ? STR_NONE : str_dup(a, strbuf_str(&out));
}

static bool write_files(struct setup *s, struct err *err)
{
    const struct {
        const char *name;
        struct str text;
    } files[] = {{"hosts", hosts_text(s)},
                 {"hostname", arena_fmt(&s->arena, STR_FMT "\n", STR_ARG(s->hostname.kernel))},
                 {"resolv.conf", resolv_conf(s)}};
    if (!files[0].text.p || !files[2].text.p)
        return err_set(err, E_TOO_LARGE, "%s is more than %d KiB as a file",
                       files[0].text.p ? "spec.dnsConfig" : "spec.hostAliases", files[0].text.p ? 64 : 1024);
    if (!dir_make(s->dir.p, 0755, err))
        return false;
    for (size_t i = 0; i < countof(files); i++) {
        char path[700];
        (void)snprintf(path, sizeof path, STR_FMT "/%s", STR_ARG(s->dir), files[i].name);
        if (!file_replace(AT_FDCWD, path, files[i].text, 0644, err))
            return false;
    }
    return true;
}

static void setup_work(struct job *j)
{
    struct setup *s = container_of(j, struct setup, job);
    bool changed;
    array_each (w, &s->work) {
        struct err err = ERR;
        if (!(s->refresh ? volume_write(w, &changed, &err) : volume_setup(w, &err)))
            setup_failed(s, w->name, &err);
    }
    struct err err = ERR;
    if (!s->refresh && !write_files(s, &err))
        setup_failed(s, STR_NONE, &err);
}

/* Each in an event of its own; all of them in one text. */
static struct str tell_failed(struct setup *s)
{
    AUTO(strbuf_fini) struct strbuf all = STRBUF(STRBUF_TEXT);
    array_each (f, &s->failed) {
        struct str one = f->name.n ? arena_fmt(&s->arena, "%s failed for volume \"" STR_FMT "\" : " STR_FMT,
                                               f->device ? "MapVolume.SetUpDevice" : "MountVolume.SetUp",
                                               STR_ARG(f->name), STR_ARG(f->why))
                                   : f->why;
        agent_event(s->ap, -1, true, f->device ? "FailedMapVolume" : "FailedMount", one);
        if (all.n)
            strbuf_addz(&all, "; ");
        strbuf_add(&all, one);
    }
    return str_dup(&s->arena, strbuf_str(&all));
}

/* A refresh that could not be written (a full disk) leaves the files as they were; it is tried again. */
static void refresh_again(struct agent_pod *ap, bool ok)
{
    ap->refresh_gap = ok ? 0 : ap->refresh_gap ? MIN(2 * ap->refresh_gap, REFRESH_MOST) : REFRESH_FIRST;
    if (!ok)
        timer_set(&ap->refresh, ap->refresh_gap);
}

static void setup_done(struct job *j)
{
    fault_pass("node.saw.volumes");
    struct setup *s = container_of(j, struct setup, job);
    struct agent_pod *ap = s->ap;
    bool ok = s->failed.n == 0;
    array_each (w, &s->warnings)
        agent_event(ap, -1, true, w->reason, w->text);
    struct str message = tell_failed(s);
    if (s->refresh)
        refresh_again(ap, ok);
    else
        pod_saw_volumes(ap->facts, ok, message, clock_mono());
    if (!s->refresh)
        hostpaths_wait(ap, !ok);
    if (!s->refresh && ok)
        claims_mounted(ap);
    if (!s->refresh && !ok) { /* it is tried again later, and may be another one's meanwhile */
        ap->has_claims = false;
        claims_came_free(ap->agent);
    }
    setup_free(s);
    ap->volumes_busy = false;
    if (ap->teardown_waits)
        volumes_teardown(ap);
    else if (ap->volumes_stale) { /* news came after it was gathered: what failed for want of it is tried now */
        pod_retry(ap->facts);
        volumes_refresh(ap);
    }
    agent_pod_release(ap);
}

static struct setup *setup_new(struct agent_pod *ap, bool refresh)
{
    struct setup *s = NEW(struct setup);
    s->ap = ap;
    s->refresh = refresh;
    return s;
}

/* What is to be written is gathered only now: the look may have taken its time. */
static void host_looked(struct agent_pod *ap, const struct host_path *paths, size_t npaths)
{
    struct setup *s = setup_new(ap, false);
    struct agent *g = ap->agent;
    struct err err = ERR;
    setup_gather(s, paths, npaths);
    if (s->waits) { /* agent_config_news comes back here */
        ap->volumes_waiting = true;
        setup_free(s);
        return;
    }
    ap->wants_address = !ap->pod->host_network && !ap->ip && !ipam_take(&g->ipam, &ap->ip, &err);
    if (ap->wants_address) {
        agent_eventf(ap, -1, true, "FailedCreatePodSandBox", "Failed to create pod sandbox: %s", err.text);
        pod_saw_volumes(ap->facts, false, str_of(err.text), clock_mono());
        if (npaths) /* else this is the step that asked for it */
            agent_pod_kick(ap);
        setup_free(s);
        return;
    }
    agent_fence_expect(ap);
    s->pod = obj_ref(ap->pod->obj);
    s->dir = str_dup(&s->arena, ap->dir);
    s->ip = str_dup(&s->arena, str_of(agent_ip(ap).z));
    s->dns_ip = str_of(g->cfg.dns_ip);
    s->domain = str_of(g->cfg.domain);
    struct err later = ERR; /* said when the sandbox is made, which is what it is about */
    if (!podspec_hostname(&s->arena, s->pod, str_of(g->hostname), s->domain, &s->hostname, &later))
        s->hostname.kernel = s->hostname.name;
    ap->volumes_busy = true;
    ap->volumes_stale = false;
    ap->pending++;
    job_start(&s->job, g->cfg.loop, setup_work, setup_done);
}

static void drivers_ready(struct agent_pod *ap, bool ok, struct str message)
{
    if (ok) {
        volumes_setup(ap);
        return;
    }
    pod_saw_volumes(ap->facts, false, message, clock_mono());
    agent_pod_kick(ap);
}

/* What drivers of storage mount comes first: it is bound into the pod's places like what is on the host. */
void volumes_setup(struct agent_pod *ap)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct volume_mounts mounts = {0};
    struct str message;
    switch (claims_gather(ap, &a, &mounts, &message)) {
    case CLAIMS_READY:
        if (!csi_setup(ap, drivers_ready))
            hostpaths_check(ap, &mounts, host_looked);
        break;
    case CLAIMS_UNHEARD: ap->volumes_waiting = true; break;
    case CLAIMS_FAILED:
        pod_saw_volumes(ap->facts, false, message, clock_mono());
        agent_pod_kick(ap);
        break;
    }
}

bool volumes_let_go(struct agent_pod *ap)
{
    bool waited = ap->volumes_waiting;
    ap->volumes_waiting = false;
    return waited;
}

void volumes_refresh(struct agent_pod *ap)
{
    ap->volumes_stale =
        ap->volumes_busy; /* one writer a pod: what it gathered is old by now, so it is done once more */
    if (ap->volumes_busy || ap->pod->volumes != PART_READY || ap->pod->state >= POD_CLEANING)
        return;
    struct setup *s = setup_new(ap, true);
    setup_gather(s, NULL, 0); /* an object that went away leaves the files as they are */
    if (!s->work.n) {
        (void)tell_failed(s);
        setup_free(s);
        return;
    }
    ap->volumes_busy = true;
    ap->pending++;
    job_start(&s->job, ap->agent->cfg.loop, setup_work, setup_done);
}

/* --- going --- */

struct teardown {
    struct job job;
    struct agent_pod *ap;
    char dir[600], tmpfs[600], mounts[600], logs[700], links[600], claim[80];
    struct content *content;
    uint32_t ip; /* its address is given back: nothing is to remember it; 0: none */
    bool remove_logs;
    struct err err;
    bool ok;
};

/* LOG/containers/POD_NS_CONTAINER-ID.log of this pod's logs. */
static void remove_links(const struct teardown *t)
{
    DIR *dir = opendir(t->links);
    for (struct dirent *e; dir && (e = readdir(dir));) {
        char to[900];
        ssize_t n = readlinkat(dirfd(dir), e->d_name, to, sizeof to);
        if (n > 0 && str_starts((struct str){to, (size_t)n}, str_of(t->logs)))
            (void)unlinkat(dirfd(dir), e->d_name, 0); /* a link that leads nowhere */
    }
    if (dir)
        (void)closedir(dir);
}

static void teardown_work(struct job *j)
{
    struct teardown *t = container_of(j, struct teardown, job);
    struct err flows = ERR, logs = ERR;
    t->ok = volume_mounts_remove(t->mounts, &t->err) && tree_remove(AT_FDCWD, t->dir, &t->err) &&
            tree_remove(AT_FDCWD, t->tmpfs, &t->err);
    if (t->ok)
        content_unuse(t->content, str_of(t->claim));
    unsigned forgotten;
    if (t->ip && !conntrack_leave(t->ip, &forgotten, &flows))
        log_warn("pod.connections", "address=" IP4_FMT " error=\"%s\"", IP4_ARG(t->ip), flows.text);
    if (t->remove_logs)
        remove_links(t);
    if (t->remove_logs && !tree_remove(AT_FDCWD, t->logs, &logs))
        t->ok = t->ok && err_set(&t->err, logs.kind, "%s", logs.text); /* the first that failed is told */
}

/* Nor has a driver anything mounted for it any more. */
static void volumes_gone(struct agent_pod *ap)
{
    ap->has_claims = false;
    claims_came_free(ap->agent);
    pod_saw_volumes_removed(ap->facts);
    agent_pod_kick(ap);
}

static void teardown_done(struct job *j)
{
    fault_pass("node.saw.teardown");
    struct teardown *t = container_of(j, struct teardown, job);
    struct agent_pod *ap = t->ap;
    if (!t->ok)
        log_warn("pod.volumes", "pod=" NAMED_FMT " left behind: error=\"%s\"", NAMED_ARG(ap->pod), t->err.text);
    if (ap->ip) {
        agent_fence_gone(ap); /* before another pod can have it */
        ipam_give_back(&ap->agent->ipam, ap->ip);
        agent_address_came_back(ap->agent);
    }
    ap->ip = 0;
    ap->logs_removed = t->remove_logs;
    agent_pod_release(ap);
    mem_free(t);
    if (!csi_teardown(ap, volumes_gone))
        volumes_gone(ap);
}

void volumes_teardown(struct agent_pod *ap)
{
    ap->teardown_waits = ap->volumes_busy; /* what is being written would stay behind: secrets, in memory */
    array_each (ac, &ap->containers)
        ap->teardown_waits = ap->teardown_waits || (*ac)->start; /* one in a sandbox that was lost: its files */
    if (ap->teardown_waits)
        return; /* setup_done, or the end of that start, comes back here */
    struct teardown *t = NEW(struct teardown);
    t->ap = ap;
    t->ip = ap->ip;
    t->remove_logs = ap->pod->deleted; /* logs of a pod that ended stay until it is deleted */
    AUTO(arena_fini) struct arena a = ARENA;
    t->content = runtime_content(ap->agent->runtime);
    (void)snprintf(t->claim, sizeof t->claim, STR_FMT, STR_ARG(image_volumes_claim(&a, ap->pod->uid)));
    (void)snprintf(t->dir, sizeof t->dir, STR_FMT, STR_ARG(ap->dir));
    (void)snprintf(t->tmpfs, sizeof t->tmpfs, STR_FMT, STR_ARG(ap->tmpfs_dir));
    (void)snprintf(t->mounts, sizeof t->mounts, STR_FMT, STR_ARG(ap->mounts_dir));
    (void)snprintf(t->logs, sizeof t->logs, STR_FMT, STR_ARG(ap->log_dir));
    (void)snprintf(t->links, sizeof t->links, "%s/containers", ap->agent->cfg.log);
    ap->pending++;
    agent_job_long(ap->agent, &t->job, teardown_work, teardown_done);
}

/* --- memory: a tmpfs each, in the pod's mount namespace --- */

struct memory {
    struct agent_pod *ap;
    void (*done)(struct agent_pod *ap, const struct err *err);
    size_t next; /* volume of the list to look at */
};

static void memory_next(struct memory *m);

static void memory_mounted(struct sandbox *s, const struct err *err, void *arg)
{
    (void)s;
    struct memory *m = arg;
    if (!err) {
        memory_next(m);
        return;
    }
    m->done(m->ap, err);
    mem_free(m);
}

/* As large as the pod may become, or as the volume says where that is less; its files count as the pod's memory. */
static struct str memory_options(struct arena *a, const struct agent_pod *ap, const struct val *volume,
                                 const struct volume_type *type, int64_t page)
{
    const struct val *spec = obj_spec(ap->pod->obj);
    struct oci_limits limits;
    podspec_pod_limits(&ap->pod->obj->tree, &limits);
    int64_t most = quantity_value(val_text(val_get_str(&ap->agent->allocatable, S("memory"))));
    int64_t asked[] = {limits.memory, quantity_value(val_text_at(volume, N(emptyDir), N(sizeLimit)))};
    for (size_t i = 0; i < countof(asked); i++)
        if (asked[i] > 0 && asked[i] <= most)
            most = asked[i];
    int64_t fs_group = val_num_at(spec, -1, N(securityContext), N(fsGroup));
    if (page) /* the kernel counts them for the pod, and the node has no more */
        return arena_fmt(a, "mode=%o,pagesize=%lld,gid=%lld", volume_folder_mode(type->mode, false, fs_group),
                         (long long)page, (long long)MAX(fs_group, 0));
    return arena_fmt(a, "mode=%o,size=%lld,gid=%lld", volume_folder_mode(type->mode, false, fs_group),
                     (long long)most, (long long)MAX(fs_group, 0));
}

static void memory_next(struct memory *m)
{
    struct agent_pod *ap = m->ap;
    const struct val *volumes = val_get(obj_spec(ap->pod->obj), N(volumes));
    while (m->next < val_len(volumes)) {
        const struct val *v = val_item(volumes, m->next++);
        struct err ignored = ERR; /* gather has told of those that are of no type */
        const struct volume_type *type = volume_type_of(v, &ignored);
        if (!type || type->place != VOLUME_MEMORY)
            continue;
        struct arena a = ARENA;
        int64_t page;
        bool known = volume_page_size(obj_spec(ap->pod->obj), v, &page, &ignored); /* gather has told if not */
        const char *fs = known && !page ? "tmpfs" : "hugetlbfs";
        struct str path = path_of(&a, ap, v, VOLUME_MEMORY), data = memory_options(&a, ap, v, type, page);
        sandbox_mount(ap->sandbox, fs, fs, path.p, MS_NOSUID | MS_NODEV, data.p, memory_mounted, m);
        arena_fini(&a);
        return;
    }
    m->done(ap, NULL);
    mem_free(m);
}

void volumes_memory(struct agent_pod *ap, void (*done)(struct agent_pod *ap, const struct err *err))
{
    struct memory *m = NEW(struct memory);
    *m = (struct memory){ap, done, 0};
    memory_next(m);
}
