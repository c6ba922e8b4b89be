/* What a container or a volume takes from other objects, and which of it is missing. */
#include "control/why_int.h"

/* Who names the object in the container's spec: "A" of env, "envFrom". */
static struct str env_of(struct question *q, const struct contained *c, const struct name *ref,
                         const struct name *from, struct str name, struct str key)
{
    val_each_item (e, val_get(c->spec, N(env))) {
        const struct val *r = val_at(e, N(valueFrom), ref);
        if (r && str_eq(val_text_at(r, N(name)), name) && (key.n == 0 || str_eq(val_text_at(r, N(key)), key)))
            return arena_fmt(q->a, "takes $" STR_FMT, STR_ARG(val_text_at(e, N(name))));
    }
    val_each_item (e, val_get(c->spec, N(envFrom)))
        if (str_eq(val_text_at(e, from, N(name)), name))
            return S("takes its environment");
    return S("takes something");
}

/* The first text in double quotes. */
static struct str in_quotes(struct str s)
{
    ptrdiff_t from = str_find_char(s, '"');
    if (from < 0)
        return S("");
    s = str_sub(s, (size_t)from + 1, s.n);
    ptrdiff_t to = str_find_char(s, '"');
    return to < 0 ? s : str_sub(s, 0, (size_t)to);
}

static struct str keys_of(struct question *q, const struct obj *o)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    const struct name *const lists[] = {N(data), N(binaryData)};
    for (size_t i = 0; i < countof(lists); i++)
        val_each_member (m, val_get(&o->tree, lists[i]))
            strbuf_addf(&b, "%s" STR_FMT, b.n ? ", " : "", STR_ARG(m->name->s));
    return b.n ? str_dup(q->a, strbuf_str(&b)) : S("none");
}

struct missing {
    const struct kind *kind;
    struct str name, key; /* key "": the object itself */
};

/* "configmap "x" not found", "couldn't find key a in ConfigMap ns/x", "references non-existent config key: a" */
static bool missing_of(struct str message, struct missing *m)
{
    *m = (struct missing){0};
    bool secret = str_has(message, S("secret \"")) || str_has(message, S("in Secret "));
    m->kind = secret ? K(Secret) : K(ConfigMap);
    if (str_has(message, S("\" not found"))) {
        ptrdiff_t at = str_find(message, secret ? S("secret \"") : S("configmap \""));
        m->name = at < 0 ? S("") : in_quotes(str_sub(message, (size_t)at, message.n));
        return at >= 0;
    }
    ptrdiff_t at = str_find(message, S("couldn't find key "));
    if (at < 0)
        return false;
    struct str rest = str_sub(message, (size_t)at + 18, message.n), ignored;
    if (!str_split(rest, ' ', &m->key, &rest))
        return false;
    return str_split(rest, '/', &ignored, &m->name);
}

static void say_missing(struct question *q, const struct obj *pod, struct str about, const struct missing *m,
                        struct finding *f)
{
    const struct objset *set = q->v->sets[m->kind->id];
    const struct obj *o = set ? objset_get(set, pod->ns, m->name) : NULL;
    struct str kind = m->kind->kind, flag = why_ns_flag(q, pod->ns), it = m->kind->singular;
    const char *verb = m->kind == K(Secret) ? "secret generic" : "configmap";
    if (m->key.n == 0) {
        struct nearest near = {.wanted = m->name};
        struct obj *other;
        for (struct objset_iter i = view_with(q->v, m->kind, &index_namespace, pod->ns); (other = objset_next(&i));)
            nearest_try(&near, other->name);
        why_chain(q, f, STR_FMT " " STR_FMT ": not there", STR_ARG(kind), STR_ARG(m->name));
        why_found(q, f, m->kind == K(Secret) ? "SecretMissing" : "ConfigMapMissing",
                  STR_FMT " from " STR_FMT " " STR_FMT ", which is not there%s" STR_FMT "%s", STR_ARG(about),
                  STR_ARG(kind), STR_ARG(m->name), near.best.n ? " (there is " : "", STR_ARG(near.best),
                  near.best.n ? ")" : "");
        why_way(q, f,
                "Create it: kubectl create %s " STR_FMT STR_FMT
                " --from-literal=KEY=VALUE, or name another: " STR_FMT,
                verb, STR_ARG(m->name), STR_ARG(flag), STR_ARG(why_edit(q)));
        return;
    }
    struct str keys = o ? keys_of(q, o) : S("");
    why_chain(q, f, STR_FMT " " STR_FMT ": keys " STR_FMT, STR_ARG(kind), STR_ARG(m->name),
              STR_ARG(o ? keys : S("may not be read")));
    why_found(q, f, m->kind == K(Secret) ? "SecretKeyMissing" : "ConfigMapKeyMissing",
              STR_FMT " from key " STR_FMT " of " STR_FMT " " STR_FMT ", which has no such key%s" STR_FMT "%s",
              STR_ARG(about), STR_ARG(m->key), STR_ARG(kind), STR_ARG(m->name), o ? " (it has " : "", STR_ARG(keys),
              o ? ")" : "");
    why_way(q, f, "Add the key: kubectl edit " STR_FMT "/" STR_FMT STR_FMT ", or name another: " STR_FMT, STR_ARG(it),
            STR_ARG(m->name), STR_ARG(flag), STR_ARG(why_edit(q)));
}

static const struct saying configs[] = {
    {"has runAsNonRoot and image will run as root", "RunsAsRoot",
     "may not start its {about}: runAsNonRoot is set, and the image's user is root",
     "Give it another user in {spec}securityContext.runAsUser: {edit}, or use an image with a USER"},
    {"has runAsNonRoot and image has non-numeric user", "UserNotNumeric",
     "may not start its {about}: runAsNonRoot is set, and the image names its user by a word, which cannot be told "
     "from "
     "root",
     "Give the number in {spec}securityContext.runAsUser: {edit}"},
    {"apparmor profile not found", "AppArmorProfile", "may not start its {about}: {message}",
     "Load that profile on the node (apparmor_parser -r FILE), or name another in appArmorProfile: {edit}"},
    {"the SELinux policy of this node has no context", "SELinuxContext", "may not start its {about}: {message}",
     "Load a policy module that has it (semodule -i FILE), or change seLinuxOptions: {edit}"},
    {"the SELinux policy that is loaded on this node knows no containers", "SELinuxContext",
     "may not start its {about}: {message}",
     "Load a policy module for containers and start Wherry anew, or take seLinuxOptions out: {edit}"},
    {"failed to set MOUNT_ATTR_IDMAP", "NotIdmapped",
     "cannot make its {about}, as hostUsers: false needs a file system that can be idmapped: {message}",
     "Put that volume on another file system, or leave {spec}hostUsers out: {edit}"},
    {"", "ContainerConfig", "cannot make its {about}: {message}", "Mend it: {edit}"},
};

void why_config(struct question *q, const struct contained *c, struct str message, struct finding *f)
{
    struct missing m;
    if (missing_of(message, &m)) {
        struct str who = env_of(q, c, m.kind == K(Secret) ? N(secretKeyRef) : N(configMapKeyRef),
                                m.kind == K(Secret) ? N(secretRef) : N(configMapRef), m.name, m.key);
        say_missing(q, c->pod,
                    arena_fmt(q->a, "cannot start its " STR_FMT ", which " STR_FMT, STR_ARG(c->about), STR_ARG(who)),
                    &m, f);
        return;
    }
    const struct word words[] = {{"about", c->about}, {"message", message}};
    why_saying(q, f, configs, message, words, countof(words));
}

/* ---- volumes ---- */

static const struct saying mounts[] = {
    {"hostPath type check failed", "HostPath", "cannot mount its volume {volume}: on node {node} {message}",
     "Make that path there, or mend {spec}volumes: {edit}"},
    {"No space left on device", "DiskFull", "cannot mount its volume {volume}: the disk of node {node} is full",
     "Make room there: df -h, wherry image ls"},
    {"", "VolumeMount", "cannot mount its volume {volume}: {message}", "Mend {spec}volumes: {edit}"},
};

/* The ConfigMap or Secret that the volume holds; of a projected one the first. */
static bool volume_source(const struct val *v, struct missing *m)
{
    const struct val *map = val_get(v, N(configMap)), *secret = val_get(v, N(secret));
    val_each_item (s, val_at(v, N(projected), N(sources)))
        if (!map && !secret) {
            map = val_get(s, N(configMap));
            secret = val_get(s, N(secret));
        }
    m->kind = secret ? K(Secret) : K(ConfigMap);
    m->name = !secret                 ? val_text_at(map, N(name))
              : val_get(v, N(secret)) ? val_text_at(secret, N(secretName))
                                      : val_text_at(secret, N(name));
    return m->name.n > 0;
}

bool why_mount(struct question *q, const struct obj *pod, struct str message, struct finding *f)
{
    if (why_volume_type(q, pod, message, f) || why_disk_mount(q, pod, message, f))
        return true;
    struct str volume = in_quotes(message);
    const struct val *v = val_find(val_get(obj_spec(pod), N(volumes)), N(name), volume);
    ptrdiff_t at = str_find(message, S("\" : "));
    struct str why = at >= 0 ? str_sub(message, (size_t)at + 4, message.n) : message;
    struct missing m = {0};
    ptrdiff_t key = str_find(message, S("references non-existent "));
    why_chain(q, f, "volume " STR_FMT ": " STR_FMT, STR_ARG(volume), STR_ARG(why));
    bool known = missing_of(message, &m);
    if (!known && key >= 0 && volume_source(v, &m)) {
        at = str_find(message, S(" key: "));
        m.key = at >= 0 ? str_sub(message, (size_t)at + 6, message.n) : S("");
        known = true;
    }
    if (known) {
        say_missing(q, pod, arena_fmt(q->a, "cannot start: its volume " STR_FMT " is made", STR_ARG(volume)), &m, f);
        return true;
    }
    ptrdiff_t colon = str_find(why, S("hostPath type check failed: "));
    if (colon >= 0)
        why = str_sub(why, (size_t)colon + 28, why.n);
    const struct word words[] = {{"volume", volume}, {"node", pod_node(pod)}, {"message", why}};
    why_saying(q, f, mounts, message, words, countof(words));
    return true;
}
