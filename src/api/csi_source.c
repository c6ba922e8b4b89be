#include "api/csi_source.h"
#include "api/url.h"
#include "base/array.h"

#define ZONE        "topology.kubernetes.io/zone"
#define REGION      "topology.kubernetes.io/region"
#define ZONE_BETA   "failure-domain.beta.kubernetes.io/zone"
#define REGION_BETA "failure-domain.beta.kubernetes.io/region"
#define ZONES_END   "__" /* between zones in a label */
#define UNSPECIFIED "UNSPECIFIED"

/* What is translated: of a PersistentVolume (volume), or what stands in a pod. The translation fills the rest. */
struct translation {
    struct arena *a;
    const struct obj *volume; /* NULL: it stands in a pod */
    const struct val *from;   /* the source */
    struct str ns;            /* of the pod */
    struct str called;        /* the pod's name for it */
    struct val csi, attributes;
    struct str name;         /* of what stands in a pod */
    const char *access_mode; /* of the same */
};

/* ---- pieces */

static void csi_set(struct translation *x, const struct name *member, struct str text)
{
    if (text.n)
        val_set_text(x->a, &x->csi, member, text);
}

static void attribute_set(struct translation *x, struct str key, struct str text)
{
    val_set_str(x->a, &x->attributes, key, val_str(x->a, text));
}

static void read_only_set(struct translation *x)
{
    if (val_true(val_get(x->from, N(readOnly))))
        val_set_bool(x->a, &x->csi, N(readOnly), true);
}

static void name_set(struct translation *x, const char *driver, struct str id)
{
    x->name = STR_JOIN(x->a, str_of(driver), S("-"), id);
}

static void secret_set(struct translation *x, const struct name *member, struct str ns, struct str name)
{
    struct val *ref = val_need_map(x->a, &x->csi, member);
    val_set_text(x->a, ref, N(name), name);
    val_set_text(x->a, ref, N(namespace), ns);
}

/* What stands between labels' zones, or the whole: each once in *out. */
static size_t zones_split(struct arena *a, struct str label, struct str **out)
{
    size_t n = 0;
    *out = arena_alloc(a, (label.n + 1) * sizeof **out);
    for (ptrdiff_t at; (at = str_find(label, S(ZONES_END))) >= 0;) {
        (*out)[n++] = str_sub(label, 0, (size_t)at);
        label = str_sub(label, (size_t)at + strlen(ZONES_END), label.n);
    }
    (*out)[n++] = label;
    return n;
}

/* ---- one function a type */

#define NO_DISK "failed to translate Kubernetes ID to EBS Volume ID"

/* "aws://ZONE/vol-1", "aws:///vol-1" and "vol-1" are one disk. */
static bool aws_disk_id(struct arena *a, struct str id, struct str *out, struct err *err)
{
    struct url url;
    struct err bad = ERR;
    *out = id;
    if (!str_starts(id, S("aws://")))
        return true;
    if (!url_parse(a, id, &url, &bad))
        return err_set(err, E_INVALID, NO_DISK " Invalid disk name (" STR_FMT "): %s", STR_ARG(id), bad.text);
    while (url.path.n && url.path.p[0] == '/')
        url.path = str_sub(url.path, 1, url.path.n);
    while (str_ends(url.path, S("/")))
        url.path = str_sub(url.path, 0, url.path.n - 1);
    *out = url.path;
    return (str_starts(url.path, S("vol-")) && !str_has(url.path, S("/"))) ||
           err_set(err, E_INVALID, NO_DISK " Invalid format for AWS volume (" STR_FMT ")", STR_ARG(id));
}

static bool aws_translate(struct translation *x, struct err *err)
{
    struct str id;
    if (!aws_disk_id(x->a, val_text_at(x->from, N(volumeID)), &id, err))
        return false;
    csi_set(x, N(volumeHandle), id);
    read_only_set(x);
    csi_set(x, N(fsType), val_text_at(x->from, N(fsType)));
    attribute_set(x, S("partition"), arena_fmt(x->a, "%lld", (long long)val_num_at(x->from, 0, N(partition))));
    name_set(x, "ebs.csi.aws.com", id);
    x->access_mode = "ReadWriteOnce";
    return true;
}

/* "europe-west1-b" is in "europe-west1". */
static bool gce_region(struct arena *a, const struct str *zones, size_t n, struct str *out, struct err *err)
{
    *out = S("");
    for (size_t i = 0; i < n; i++) {
        struct str rest = zones[i], part[3] = {0}, p;
        size_t parts = 0;
        for (; str_cut(&rest, '-', &p); parts++)
            if (parts < countof(part))
                part[parts] = p;
        if (parts != countof(part))
            return err_set(err, E_INVALID,
                           "zone in unexpected format, expected: {locale}-{region}-{zone}, got: " STR_FMT,
                           STR_ARG(zones[i]));
        struct str region = STR_JOIN(a, part[0], S("-"), part[1]);
        if (out->n && !str_eq(*out, region))
            return err_set(err, E_INVALID, "multiple or no regions gotten from zones, got: " STR_FMT " and " STR_FMT,
                           STR_ARG(*out), STR_ARG(region));
        *out = region;
    }
    return true;
}

static bool gce_handle(struct translation *x, struct str *out, struct err *err)
{
    struct str disk = val_text_at(x->from, N(pdName)), *zones, region,
               label = x->volume ? val_text(val_get_str(obj_labels(x->volume), S(ZONE_BETA))) : S("");
    if (x->volume && !label.n)
        label = val_text(val_get_str(obj_labels(x->volume), S(ZONE)));
    size_t n = zones_split(x->a, label, &zones);
    if (n > 1 && !gce_region(x->a, zones, n, &region, err))
        return err_wrap(err, "failed to get region from zones");
    *out = n > 1 ? arena_fmt(x->a, "projects/" UNSPECIFIED "/regions/" STR_FMT "/disks/" STR_FMT, STR_ARG(region),
                             STR_ARG(disk))
                 : arena_fmt(x->a, "projects/" UNSPECIFIED "/zones/" STR_FMT "/disks/" STR_FMT,
                             STR_ARG(label.n ? label : S(UNSPECIFIED)), STR_ARG(disk));
    return true;
}

static bool gce_translate(struct translation *x, struct err *err)
{
    int64_t partition = val_num_at(x->from, 0, N(partition));
    struct str handle;
    if (!gce_handle(x, &handle, err))
        return false;
    csi_set(x, N(volumeHandle), handle);
    read_only_set(x);
    csi_set(x, N(fsType), val_text_at(x->from, N(fsType)));
    attribute_set(x, S("partition"), partition ? arena_fmt(x->a, "%lld", (long long)partition) : S(""));
    name_set(x, "pd.csi.storage.gke.io", val_text_at(x->from, N(pdName)));
    x->access_mode = val_true(val_get(x->from, N(readOnly))) ? "ReadOnlyMany" : "ReadWriteOnce";
    return true;
}

static bool cinder_translate(struct translation *x, struct err *err)
{
    (void)err;
    csi_set(x, N(volumeHandle), val_text_at(x->from, N(volumeID)));
    read_only_set(x);
    csi_set(x, N(fsType), val_text_at(x->from, N(fsType)));
    name_set(x, "cinder.csi.openstack.org", val_text_at(x->from, N(volumeID)));
    x->access_mode = "ReadWriteOnce";
    return true;
}

static bool azure_disk_translate(struct translation *x, struct err *err)
{
    struct str kind = val_text_at(x->from, N(kind)), caching = val_text_at(x->from, N(cachingMode)),
               fs = val_text_at(x->from, N(fsType));
    if (val_get(x->from, N(kind)) && !str_ieq(kind, S("Managed")))
        return err_set(err, E_INVALID, "kind(" STR_FMT ") is not supported in csi migration", STR_ARG(kind));
    csi_set(x, N(volumeHandle), val_text_at(x->from, N(diskURI)));
    read_only_set(x);
    csi_set(x, N(fsType), fs);
    attribute_set(x, S("kind"), S("Managed"));
    if (x->volume ? val_get(x->from, N(cachingMode)) != NULL : caching.n > 0)
        attribute_set(x, S("cachingmode"), caching);
    if (val_get(x->from, N(fsType)))
        attribute_set(x, S("fstype"), fs);
    x->name = val_text_at(x->from, N(diskURI));
    x->access_mode = "ReadWriteOnce";
    return true;
}

/* "azure-storage-account-NAME-secret", anywhere in the Secret's name; another name is the account's. */
static struct str azure_account(struct str secret)
{
    static const char before[] = "azure-storage-account-", after[] = "-secret";
    ptrdiff_t at = str_find(secret, str_of(before));
    if (at < 0)
        return secret;
    struct str rest = str_sub(secret, (size_t)at + strlen(before), secret.n);
    for (size_t n = rest.n; n > 0; n--)
        if (str_starts(str_sub(rest, n, rest.n), str_of(after)))
            return str_sub(rest, 0, n);
    return secret;
}

static bool azure_file_translate(struct translation *x, struct err *err)
{
    struct str secret = val_text_at(x->from, N(secretName)), share = val_text_at(x->from, N(shareName)),
               group = S(""), ns = x->ns.n ? x->ns : S("default"), called = x->called;
    if (x->volume) {
        const struct val *own = val_get(x->from, N(secretNamespace));
        ns = own ? val_text(own) : val_text_at(obj_spec(x->volume), N(claimRef), N(namespace));
        group = obj_note(x->volume, "kubernetes.io/azure-file-resource-group");
        called = x->volume->name;
    }
    if (!ns.n)
        return err_set(err, E_INVALID, "could not find a secret namespace in PersistentVolumeSource or ClaimRef");
    x->name = STR_JOIN(x->a, group, S("#"), azure_account(secret), S("#"), share, S("#"), called, S("#"), ns);
    csi_set(x, N(volumeHandle), x->name);
    read_only_set(x);
    attribute_set(x, S("sharename"), share);
    secret_set(x, N(nodeStageSecretRef), ns, secret);
    x->access_mode = "ReadWriteMany";
    return true;
}

static bool vsphere_translate(struct translation *x, struct err *err)
{
    struct str policy = val_text_at(x->from, N(storagePolicyName));
    (void)err;
    csi_set(x, N(volumeHandle), val_text_at(x->from, N(volumePath)));
    csi_set(x, N(fsType), val_text_at(x->from, N(fsType)));
    if (policy.n)
        attribute_set(x, S("storagepolicyname"), policy);
    name_set(x, "csi.vsphere.vmware.com", val_text_at(x->from, N(volumePath)));
    x->access_mode = "ReadWriteOnce";
    return true;
}

static bool portworx_translate(struct translation *x, struct err *err)
{
    static const struct name *const refs[] = {N(controllerPublishSecretRef), N(nodeStageSecretRef),
                                              N(nodePublishSecretRef), N(controllerExpandSecretRef),
                                              N(nodeExpandSecretRef)};
    static const char secret[] = "openstorage.io/auth-secret-name", ns[] = "openstorage.io/auth-secret-namespace";
    (void)err;
    csi_set(x, N(volumeHandle), val_text_at(x->from, N(volumeID)));
    csi_set(x, N(fsType), val_text_at(x->from, N(fsType)));
    if (x->volume && obj_has_note(x->volume, secret) && obj_has_note(x->volume, ns))
        for (size_t i = 0; i < countof(refs); i++)
            secret_set(x, refs[i], obj_note(x->volume, ns), obj_note(x->volume, secret));
    name_set(x, "pxd.portworx.com", val_text_at(x->from, N(volumeID)));
    x->access_mode = val_true(val_get(x->from, N(readOnly))) ? "ReadOnlyMany" : "ReadWriteOnce";
    return true;
}

/* ---- the types */

static const struct csi_taken {
    const struct name *source;
    const char *plugin, *driver;
    bool (*translate)(struct translation *x, struct err *err);
    /* Labels of nodes by which the driver places its volumes; region NULL: it stays as it is, and zone NULL: both */
    const char *zone, *region;
    bool scheduled; /* upstream's scheduler asks for the driver's words */
} taken[] = {
    {N(awsElasticBlockStore), "kubernetes.io/aws-ebs", "ebs.csi.aws.com", aws_translate,
     "topology.ebs.csi.aws.com/zone", NULL, true},
    {N(azureDisk), "kubernetes.io/azure-disk", "disk.csi.azure.com", azure_disk_translate, NULL, NULL, true},
    {N(azureFile), "kubernetes.io/azure-file", "file.csi.azure.com", azure_file_translate, NULL, NULL, false},
    {N(cinder), "kubernetes.io/cinder", "cinder.csi.openstack.org", cinder_translate,
     "topology.cinder.csi.openstack.org/zone", NULL, true},
    {N(gcePersistentDisk), "kubernetes.io/gce-pd", "pd.csi.storage.gke.io", gce_translate, "topology.gke.io/zone",
     NULL, true},
    {N(portworxVolume), "kubernetes.io/portworx-volume", "pxd.portworx.com", portworx_translate, NULL, NULL, true},
    {N(vsphereVolume), "kubernetes.io/vsphere-volume", "csi.vsphere.vmware.com", vsphere_translate,
     "topology.csi.vmware.com/zone", "topology.csi.vmware.com/region", false},
};

static const struct csi_taken *taken_of(const struct val *spec)
{
    for (size_t i = 0; i < countof(taken); i++)
        if (val_get(spec, taken[i].source))
            return &taken[i];
    return NULL;
}

static const struct csi_taken *taken_by_plugin(struct str plugin)
{
    for (size_t i = 0; i < countof(taken); i++)
        if (str_eqz(plugin, taken[i].plugin))
            return &taken[i];
    return NULL;
}

struct str csi_driver_of(const struct val *spec)
{
    struct str driver = val_text_at(spec, N(csi), N(driver));
    const struct csi_taken *t = driver.n ? NULL : taken_of(spec);
    return t ? str_of(t->driver) : driver;
}

struct str csi_plugin_before(const struct val *spec)
{
    const struct csi_taken *t = taken_of(spec);
    return t ? str_of(t->plugin) : S("");
}

bool csi_inline_reads_only(const struct val *volume)
{
    const struct csi_taken *t = taken_of(volume);
    return t && val_true(val_at(volume, t->source, N(readOnly)));
}

struct str csi_driver_after(struct str plugin)
{
    const struct csi_taken *t = taken_by_plugin(plugin);
    return t ? str_of(t->driver) : S("");
}

struct str csi_plugins_text(struct arena *a)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    for (size_t i = 0; i < countof(taken); i++) /* they stand in that order */
        strbuf_addf(&b, "%s%s", i ? "," : "", taken[i].plugin);
    return str_dup(a, strbuf_str(&b));
}

bool csi_plugin_is_scheduled(struct str plugin, const struct obj *csi_node)
{
    const struct csi_taken *t = taken_by_plugin(plugin);
    struct str rest = t && t->scheduled && csi_node ? obj_note(csi_node, ANN_MIGRATED_PLUGINS) : S(""), one;
    while (rest.n && str_cut(&rest, ',', &one))
        if (str_eq(one, plugin))
            return true;
    return false;
}

/* ---- where a volume may be used: the driver's own label of nodes takes the place of Kubernetes' */

struct placing {
    struct arena *a;
    const struct obj *volume;
    struct val *spec; /* of the translated one */
    bool copied;      /* its nodeAffinity is its own */
};

static const struct val *terms_of(const struct val *spec)
{
    return val_at(spec, N(nodeAffinity), N(required), N(nodeSelectorTerms));
}

static bool key_is_asked(const struct val *spec, const char *key, bool with_values)
{
    val_each_item (term, terms_of(spec))
        val_each_item (e, val_get(term, N(matchExpressions)))
            if (str_eqz(val_text_at(e, N(key)), key) && (!with_values || val_len(val_get(e, N(values)))))
                return true;
    return false;
}

static struct val *terms_own(struct placing *p)
{
    if (!p->copied) {
        struct val copy = val_copy(p->a, val_get(p->spec, N(nodeAffinity)));
        if (!val_is(&copy, VAL_MAP))
            copy = val_map();
        val_set(p->a, p->spec, N(nodeAffinity), copy);
        p->copied = true;
    }
    struct val *required = val_need_map(p->a, p->spec, N(nodeAffinity), N(required));
    struct val *terms = val_get_mut(required, N(nodeSelectorTerms));
    if (!terms) {
        terms = val_set(p->a, required, N(nodeSelectorTerms), val_list());
        (void)val_add(p->a, terms, val_map());
    }
    return terms;
}

static void key_replace(struct placing *p, const char *key, const char *with)
{
    struct val *terms = terms_own(p);
    for (size_t i = 0; i < val_len(terms); i++) {
        struct val *all = val_get_mut(&terms->list[i], N(matchExpressions));
        for (size_t k = 0; k < val_len(all); k++)
            if (str_eqz(val_text_at(&all->list[k], N(key)), key))
                val_set_text(p->a, &all->list[k], N(key), str_of(with));
    }
}

static int text_cmp(const void *x, const void *y)
{
    return str_cmp(*(const struct str *)x, *(const struct str *)y);
}

static void key_add(struct placing *p, const char *key, struct str *values, size_t n)
{
    struct val list = val_list(), *terms;
    for (size_t i = 0; i < n; i++)
        values[i] = str_trim(values[i]);
    qsort(values, n, sizeof *values, text_cmp);
    for (size_t i = 0; i < n; i++)
        if (values[i].n && !(i && str_eq(values[i], values[i - 1])))
            (void)val_add(p->a, &list, val_str(p->a, values[i]));
    if (!val_len(&list))
        return;
    terms = terms_own(p);
    for (size_t i = 0; i < val_len(terms); i++) {
        struct val e = val_map(), *all = val_get_mut(&terms->list[i], N(matchExpressions));
        val_set_text(p->a, &e, N(key), str_of(key));
        val_set_text(p->a, &e, N(operator), S("In"));
        val_set(p->a, &e, N(values), val_copy(p->a, &list));
        if (!all)
            all = val_set(p->a, &terms->list[i], N(matchExpressions), val_list());
        (void)val_add(p->a, all, e);
    }
}

/* Of one key: where the affinity asks for it, it asks for the driver's; else the volume's label says where it is. */
static void volume_place_by(struct placing *p, const char *key, const char *with, bool several)
{
    struct str label = val_text(val_get_str(obj_labels(p->volume), str_of(key))), *values = &label;
    if (key_is_asked(p->spec, key, true)) {
        key_replace(p, key, with);
        return;
    }
    if (!label.n)
        return;
    size_t n = several ? zones_split(p->a, label, &values) : 1;
    key_add(p, with, values, n);
}

static void volume_place(struct placing *p, const struct csi_taken *t)
{
    bool beta = !key_is_asked(p->spec, ZONE, false) &&
                (key_is_asked(p->spec, ZONE_BETA, false) ||
                 (!val_get_str(obj_labels(p->volume), S(ZONE)) && val_get_str(obj_labels(p->volume), S(ZONE_BETA))));
    if (!t->zone)
        return;
    volume_place_by(p, beta ? ZONE_BETA : ZONE, t->zone, !t->region);
    if (t->region)
        volume_place_by(p, beta ? REGION_BETA : REGION, t->region, false);
    else if (beta && key_is_asked(p->spec, REGION_BETA, true)) /* newer nodes have the other label only */
        key_replace(p, REGION_BETA, REGION);
}

/* ---- the whole */

/* A disk of Google is attached to be written by one node, whatever its volume promised: the driver refuses the rest.
 */
static struct val gce_modes(struct arena *a, const struct val *modes)
{
    struct val out = val_list();
    bool only_read = val_len(modes) > 0;
    val_each_item (m, modes)
        only_read = only_read && str_eqz(val_text(m), "ReadOnlyMany");
    (void)val_add(a, &out, val_str_borrowed(only_read ? S("ReadOnlyMany") : S("ReadWriteOnce")));
    return out;
}

/* The source alone. */
static bool source_translate(struct translation *x, const struct csi_taken *t, struct err *err)
{
    x->csi = val_map();
    x->attributes = val_map();
    val_set_text(x->a, &x->csi, N(driver), str_of(t->driver));
    if (!t->translate(x, err))
        return err_wrap(err, "failed to translate in-tree pv to CSI");
    if (val_len(&x->attributes))
        val_set(x->a, &x->csi, N(volumeAttributes), x->attributes);
    return true;
}

static bool volume_translate(struct arena *a, const struct obj *volume, const struct csi_taken *t, struct val *spec,
                             struct err *err)
{
    struct translation x = {.a = a, .volume = volume, .from = val_get(obj_spec(volume), t->source)};
    if (!source_translate(&x, t, err))
        return false;
    *spec = val_map();
    val_each_member (m, obj_spec(volume))
        if (m->name != t->source)
            (void)val_append(a, spec, m->name, m->v);
    struct placing p = {.a = a, .volume = volume, .spec = spec};
    volume_place(&p, t);
    const struct val *modes = val_get(spec, N(accessModes));
    if (t->translate == gce_translate && modes)
        val_set(a, spec, N(accessModes), gce_modes(a, modes));
    val_set(a, spec, N(csi), x.csi);
    return true;
}

static void source_read(struct csi_source *out)
{
    out->driver = val_text_at(out->spec, N(csi), N(driver));
    out->handle = val_text_at(out->spec, N(csi), N(volumeHandle));
}

bool csi_source_of(struct arena *a, const struct obj *volume, struct csi_source *out, struct err *err)
{
    const struct csi_taken *t = taken_of(obj_spec(volume));
    *out = (struct csi_source){.name = volume->name, .spec = obj_spec(volume)};
    if (t) {
        struct val *spec = arena_alloc(a, sizeof *spec);
        if (!volume_translate(a, volume, t, spec, err))
            return false;
        out->spec = spec;
    } else if (!val_get(out->spec, N(csi))) {
        return err_set(err, E_NOT_FOUND, "volume \"" STR_FMT "\" is no driver's", STR_ARG(volume->name));
    }
    source_read(out);
    return true;
}

bool csi_source_inline(struct arena *a, struct str ns, const struct val *volume, struct csi_source *out,
                       struct err *err)
{
    const struct csi_taken *t = taken_of(volume);
    struct val *spec = arena_alloc(a, sizeof *spec), modes = val_list();
    if (!t)
        return err_set(err, E_NOT_FOUND, "volume \"" STR_FMT "\" of a pod is no driver's",
                       STR_ARG(val_text_at(volume, N(name))));
    struct translation x = {.a = a, .from = val_get(volume, t->source), .ns = ns};
    x.called = val_text_at(volume, N(name));
    if (!source_translate(&x, t, err))
        return false;
    *spec = val_map();
    val_set(a, spec, N(csi), x.csi);
    (void)val_add(a, &modes, val_str_borrowed(str_of(x.access_mode)));
    val_set(a, spec, N(accessModes), modes);
    val_set_text(a, spec, N(volumeMode), S("Filesystem"));
    *out = (struct csi_source){.name = x.name, .spec = spec};
    source_read(out);
    return true;
}
