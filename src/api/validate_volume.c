/* validate_volume.c - volumes of pods, sources of persistent volumes, claims (pkg/apis/core/validation of upstream).
 * One function a source; the rows say in which order upstream looks, as the first source that is set is checked and
 * every further one is only complained of. The rows of pods and of persistent volumes differ in order and in what
 * they hold.
 *
 * A volume without a complaint goes into pod_rules.volumes, so that mounts may name it; when errors are full nothing
 * more goes in. Sources that no kubelet can mount any more are still checked, as they are still stored. Complaints
 * about items of a downward API volume stand at the list, as upstream's do.
 */
#include "api/quantity.h"
#include "api/rules_int.h"

static void check_mode(ERRS, const struct val *mode)
{
    if (val_is(mode, VAL_INT) && (mode->i < 0 || mode->i > 0777))
        bad_num(e, at, mode->i, "must be a number between 0 and 0777 (octal), both inclusive");
}

/* Where files come to stand below a volume. */
static void check_file_path(ERRS, struct str path)
{
    if (path.n == 0)
        return bad_required(e, at, "");
    check_local_path(e, at, path);
    if (str_starts(path, S("..")) && !str_starts(path, S("../")))
        bad_text(e, at, path, "must not start with '..'");
}

static void check_items(ERRS, const struct val *items)
{
    each (item, items) {
        const struct at *here = ITEM(at, INDEX(items, item));
        REQUIRED(e, here, item, key);
        if (REQUIRED(e, here, item, path))
            check_file_path(e, AT(here, "path"), TEXT(item, path));
        check_mode(e, AT(here, "mode"), V(item, mode));
    }
}

static void check_downward_items(ERRS, const struct val *items)
{
    each (item, items) {
        check_file_path(e, AT(at, "path"), TEXT(item, path));
        bool field = HAS(item, fieldRef), resource = HAS(item, resourceFieldRef);
        if (field) {
            check_field_ref(e, AT(at, "fieldRef"), V(item, fieldRef), true);
            if (resource)
                bad_value(e, at, NULL, "fieldRef and resourceFieldRef can not be specified simultaneously");
        } else if (resource) {
            check_resource_field_ref(e, AT(at, "resourceFieldRef"), V(item, resourceFieldRef), true);
        } else {
            bad_required(e, at, "one of fieldRef and resourceFieldRef is required");
        }
        check_mode(e, AT(at, "mode"), V(item, mode));
    }
}

static void empty_dir_check(ERRS, const struct val *v)
{
    if (TEXT(v, sizeLimit).n > 0 && quantity_cmp(TEXT(v, sizeLimit), S("0")) < 0)
        bad_forbidden(e, AT(at, "sizeLimit"), "SizeLimit field must be a valid resource quantity");
}

static void host_path_check(ERRS, const struct val *v)
{
    if (!REQUIRED(e, at, v, path))
        return;
    check_no_backsteps(e, AT(at, "path"), TEXT(v, path));
    check_enum(e, AT(at, "type"), TEXT(v, type), "", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate",
               "File", "FileOrCreate", "Socket");
}

static void git_repo_check(ERRS, const struct val *v)
{
    REQUIRED(e, at, v, repository);
    check_local_path(e, AT(at, "directory"), TEXT(v, directory));
}

static void gce_disk_check(ERRS, const struct val *v)
{
    REQUIRED(e, at, v, pdName);
    if (NUM(v, partition) != 0)
        check_range(e, AT(at, "partition"), V(v, partition), 1, 255);
}

static void aws_disk_check(ERRS, const struct val *v)
{
    REQUIRED(e, at, v, volumeID);
    if (NUM(v, partition) != 0)
        check_range(e, AT(at, "partition"), V(v, partition), 1, 255);
}

static void secret_check(ERRS, const struct val *v)
{
    REQUIRED(e, at, v, secretName);
    check_mode(e, AT(at, "defaultMode"), V(v, defaultMode));
    check_items(e, AT(at, "items"), V(v, items));
}

static void config_map_check(ERRS, const struct val *v)
{
    REQUIRED(e, at, v, name);
    check_mode(e, AT(at, "defaultMode"), V(v, defaultMode));
    check_items(e, AT(at, "items"), V(v, items));
}

static void nfs_check(ERRS, const struct val *v)
{
    struct str path = TEXT(v, path);
    REQUIRED(e, at, v, server);
    REQUIRED(e, at, v, path);
    if (path.n == 0 || path.p[0] != '/')
        bad_text(e, AT(at, "path"), path, "must be an absolute path");
}

static void iscsi_check(ERRS, const struct val *v)
{
    struct str iqn = TEXT(v, iqn);
    REQUIRED(e, at, v, targetPortal);
    if (REQUIRED(e, at, v, iqn) && !str_starts(iqn, S("iqn.")) && !str_starts(iqn, S("eui.")) &&
        !str_starts(iqn, S("naa.")))
        bad_text(e, AT(at, "iqn"), iqn, "must be valid format starting with iqn, eui, or naa");
    check_range(e, AT(at, "lun"), V(v, lun), 0, 255);
    if ((val_true(V(v, chapAuthDiscovery)) || val_true(V(v, chapAuthSession))) && !HAS(v, secretRef))
        bad_required(e, AT(at, "secretRef"), "");
}

static void glusterfs_check(ERRS, const struct val *v)
{
    REQUIRED(e, at, v, endpoints);
    REQUIRED(e, at, v, path);
}

static void flocker_check(ERRS, const struct val *v)
{
    struct str name = TEXT(v, datasetName), uuid = TEXT(v, datasetUUID);
    if (name.n == 0 && uuid.n == 0)
        bad_required(e, at, "one of datasetName and datasetUUID is required");
    if (name.n > 0 && uuid.n > 0)
        bad_text(e, at, S("resource"), "datasetName and datasetUUID can not be specified simultaneously");
    if (str_find_char(name, '/') >= 0)
        bad_text(e, AT(at, "datasetName"), name, "must not contain '/'");
}

static void claim_check(ERRS, const struct val *v)
{
    REQUIRED(e, at, v, claimName);
}

static void rbd_check(ERRS, const struct val *v)
{
    if (val_len(V(v, monitors)) == 0)
        bad_required(e, AT(at, "monitors"), "");
    REQUIRED(e, at, v, image);
}

static void cinder_check(ERRS, const struct val *v)
{
    REQUIRED(e, at, v, volumeID);
    if (HAS(v, secretRef))
        REQUIRED(e, AT(at, "secretRef"), V(v, secretRef), name);
}

static void cephfs_check(ERRS, const struct val *v)
{
    if (val_len(V(v, monitors)) == 0)
        bad_required(e, AT(at, "monitors"), "");
}

static void quobyte_check(ERRS, const struct val *v)
{
    struct str rest = TEXT(v, registry), part;
    if (rest.n == 0)
        bad_required(e, AT(at, "registry"), "must be a host:port pair or multiple pairs separated by commas");
    else if (rest.n >= 65536)
        bad_text(e, AT(at, "registry"), rest, "must be a host:port pair or multiple pairs separated by commas");
    else
        while (str_cut(&rest, ',', &part))
            if (str_find_char(part, ':') < 0)
                bad_text(e, AT(at, "registry"), TEXT(v, registry),
                         "must be a host:port pair or multiple pairs separated by commas");
    REQUIRED(e, at, v, volume);
}

static void downward_check(ERRS, const struct val *v)
{
    check_mode(e, AT(at, "defaultMode"), V(v, defaultMode));
    check_downward_items(e, at, V(v, items));
}

static void fc_check(ERRS, const struct val *v)
{
    const struct val *targets = V(v, targetWWNs), *ids = V(v, wwids);
    if (val_len(targets) == 0 && val_len(ids) == 0)
        bad_required(e, AT(at, "targetWWNs"), "must specify either targetWWNs or wwids, but not both");
    if (val_len(targets) > 0 && val_len(ids) > 0)
        bad_value(e, AT(at, "targetWWNs"), targets, "targetWWNs and wwids can not be specified simultaneously");
    if (val_len(targets) > 0 && !HAS(v, lun))
        bad_required(e, AT(at, "lun"), "lun is required if targetWWNs is specified");
    else if (val_len(targets) > 0)
        check_range(e, AT(at, "lun"), V(v, lun), 0, 255);
}

static void flex_check(ERRS, const struct val *v)
{
    REQUIRED(e, at, v, driver);
    val_each_member (m, V(v, options)) {
        struct str domain, rest;
        str_split(m->name->s, '/', &domain, &rest);
        if (str_ends(domain, S("kubernetes.io")) || str_ends(domain, S("k8s.io")))
            bad_text(e, KEY(AT(at, "options"), m->name->s), m->name->s,
                     "kubernetes.io and k8s.io namespaces are reserved");
    }
}

static void azure_file_check(ERRS, const struct val *v)
{
    REQUIRED(e, at, v, secretName);
    REQUIRED(e, at, v, shareName);
}

static void vsphere_check(ERRS, const struct val *v)
{
    REQUIRED(e, at, v, volumePath);
}

static void photon_check(ERRS, const struct val *v)
{
    REQUIRED(e, at, v, pdID);
}

static void portworx_check(ERRS, const struct val *v)
{
    REQUIRED(e, at, v, volumeID);
}

static void azure_disk_check(ERRS, const struct val *v)
{
    struct str uri = TEXT(v, diskURI), kind = TEXT(v, kind);
    REQUIRED(e, at, v, diskName);
    REQUIRED(e, at, v, diskURI);
    if (HAS(v, cachingMode))
        check_enum(e, AT(at, "cachingMode"), TEXT(v, cachingMode), "None", "ReadOnly", "ReadWrite");
    if (HAS(v, kind))
        check_enum(e, AT(at, "kind"), kind, "Dedicated", "Managed", "Shared");
    if (str_eq(kind, S("Managed")) && !str_starts(uri, S("/subscriptions/")))
        bad_enum(
            e, AT(at, "diskURI"), uri,
            SET("/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}"));
    if (!str_eq(kind, S("Managed")) && !str_starts(uri, S("https://")))
        bad_enum(e, AT(at, "diskURI"), uri,
                 SET("https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd"));
}

static void storageos_check(ERRS, const struct val *v)
{
    FORMAT_IF_SET(e, at, v, volumeName, format_dns1123_label);
    FORMAT_IF_SET(e, at, v, volumeNamespace, format_dns1123_label);
    if (HAS(v, secretRef))
        REQUIRED(e, AT(at, "secretRef"), V(v, secretRef), name);
}

static void scale_io_check(ERRS, const struct val *v)
{
    REQUIRED(e, at, v, gateway);
    REQUIRED(e, at, v, system);
    REQUIRED(e, at, v, volumeName);
}

static void check_driver(ERRS, struct str driver)
{
    if (driver.n == 0)
        return bad_required(e, at, "");
    if (driver.n > 63)
        bad_too_long(e, at, 63);
    struct arena *a = e->arena;
    char *lower = arena_dup(a, driver.p, driver.n);
    for (size_t i = 0; i < driver.n; i++)
        lower[i] = lower[i] >= 'A' && lower[i] <= 'Z' ? (char)(lower[i] + 32) : lower[i];
    struct complaints c = COMPLAINTS(a);
    format_dns1123_subdomain(&c, (struct str){lower, driver.n});
    for (size_t i = 0; i < c.n; i++)
        bad_text(e, at, driver, STR_FMT, STR_ARG(c.texts[i]));
}

static void csi_check(ERRS, const struct val *v)
{
    check_driver(e, AT(at, "driver"), TEXT(v, driver));
    if (HAS(v, nodePublishSecretRef))
        REQUIRED(e, AT(at, "nodePublishSecretRef"), V(v, nodePublishSecretRef), name);
}

static void csi_persistent_check(ERRS, const struct val *v)
{
    check_driver(e, AT(at, "driver"), TEXT(v, driver));
    REQUIRED(e, at, v, volumeHandle);
}

static void local_check(ERRS, const struct val *v)
{
    if (REQUIRED(e, at, v, path))
        check_no_backsteps(e, AT(at, "path"), TEXT(v, path));
}

static void image_check(ERRS, const struct val *v)
{
    REQUIRED(e, at, v, reference);
    if (REQUIRED(e, at, v, pullPolicy))
        check_enum(e, AT(at, "pullPolicy"), TEXT(v, pullPolicy), "Always", "IfNotPresent", "Never");
}

static void check_projected_items(ERRS, const struct at *all, const struct val *source, struct seen *paths)
{
    const struct val *items = V(source, items);
    check_items(e, AT(at, "items"), items);
    each (item, items)
        if (TEXT(item, path).n > 0 && seen_before(paths, TEXT(item, path)))
            bad_text(e, all, TEXT(source, name), "conflicting duplicate paths");
}

static void projected_check(ERRS, const struct val *v)
{
    const struct val *sources = V(v, sources);
    AUTO(seen_fini) struct seen paths = SEEN;
    check_mode(e, AT(at, "defaultMode"), V(v, defaultMode));
    each (source, sources) {
        const struct at *here = ITEM(AT(at, "sources"), INDEX(sources, source));
        size_t n = 0;
#define FIRST(field)                                                                                                 \
    (HAS(source, field) &&                                                                                           \
     (++n == 1 || (bad_forbidden(e, here, "may not specify more than 1 volume type per source"), false)))
        if (FIRST(secret)) {
            REQUIRED(e, AT(here, "secret"), V(source, secret), name);
            check_projected_items(e, AT(here, "secret"), at, V(source, secret), &paths);
        }
        if (HAS(source, configMap) && n++ == 0) {
            REQUIRED(e, AT(here, "configMap"), V(source, configMap), name);
            check_projected_items(e, AT(here, "configMap"), at, V(source, configMap), &paths);
        } else if (HAS(source, configMap)) {
            bad_forbidden(e, here, "may not specify more than 1 volume type per source");
        }
        if (FIRST(downwardAPI)) {
            const struct val *items = V(V(source, downwardAPI), items);
            check_downward_items(e, AT(here, "downwardAPI"), items);
            each (item, items)
                if (TEXT(item, path).n > 0 && seen_before(&paths, TEXT(item, path)))
                    bad_text(e, at, TEXT(item, path), "conflicting duplicate paths");
        }
        if (FIRST(serviceAccountToken)) {
            const struct val *token = V(source, serviceAccountToken);
            int64_t seconds = NUM(token, expirationSeconds);
            const struct at *expiry = AT(AT(here, "serviceAccountToken"), "expirationSeconds");
            if (seconds < 600)
                bad_num(e, expiry, seconds, "may not specify a duration less than 10 minutes");
            if (seconds > 1LL << 32)
                bad_num(e, expiry, seconds, "may not specify a duration larger than 2^32 seconds");
            check_file_path(e, AT(at, "path"), TEXT(token, path));
            if (TEXT(token, path).n > 0 && seen_before(&paths, TEXT(token, path)))
                bad_text(e, at, TEXT(token, path), "conflicting duplicate paths");
        }
#undef FIRST
    }
}

struct source_row {
    const struct name *field;
    const char *path; /* of complaints inside, where it differs from the field */
    void (*check)(ERRS, const struct val *v);
};
static const struct source_row volume_sources[] = {
    {N(emptyDir), NULL, empty_dir_check},
    {N(hostPath), NULL, host_path_check},
    {N(gitRepo), NULL, git_repo_check},
    {N(gcePersistentDisk), "persistentDisk", gce_disk_check},
    {N(awsElasticBlockStore), NULL, aws_disk_check},
    {N(secret), NULL, secret_check},
    {N(nfs), NULL, nfs_check},
    {N(iscsi), NULL, iscsi_check},
    {N(glusterfs), NULL, glusterfs_check},
    {N(flocker), NULL, flocker_check},
    {N(persistentVolumeClaim), NULL, claim_check},
    {N(rbd), NULL, rbd_check},
    {N(cinder), NULL, cinder_check},
    {N(cephfs), NULL, cephfs_check},
    {N(quobyte), NULL, quobyte_check},
    {N(downwardAPI), NULL, downward_check},
    {N(fc), NULL, fc_check},
    {N(flexVolume), NULL, flex_check},
    {N(configMap), NULL, config_map_check},
    {N(azureFile), NULL, azure_file_check},
    {N(vsphereVolume), NULL, vsphere_check},
    {N(photonPersistentDisk), NULL, photon_check},
    {N(portworxVolume), NULL, portworx_check},
    {N(azureDisk), NULL, azure_disk_check},
    {N(storageos), NULL, storageos_check},
    {N(projected), NULL, projected_check},
    {N(scaleIO), NULL, scale_io_check},
    {N(csi), NULL, csi_check},
    {N(image), NULL, image_check},
};
static const struct source_row persistent_sources[] = {
    {N(hostPath), NULL, host_path_check},
    {N(gcePersistentDisk), "persistentDisk", gce_disk_check},
    {N(awsElasticBlockStore), NULL, aws_disk_check},
    {N(glusterfs), NULL, glusterfs_check},
    {N(flocker), NULL, flocker_check},
    {N(nfs), NULL, nfs_check},
    {N(rbd), NULL, rbd_check},
    {N(quobyte), NULL, quobyte_check},
    {N(cephfs), NULL, cephfs_check},
    {N(iscsi), NULL, iscsi_check},
    {N(cinder), NULL, cinder_check},
    {N(fc), NULL, fc_check},
    {N(flexVolume), NULL, flex_check},
    {N(azureFile), NULL, azure_file_check},
    {N(vsphereVolume), NULL, vsphere_check},
    {N(photonPersistentDisk), NULL, photon_check},
    {N(portworxVolume), NULL, portworx_check},
    {N(azureDisk), NULL, azure_disk_check},
    {N(scaleIO), NULL, scale_io_check},
    {N(local), NULL, local_check},
    {N(storageos), NULL, storageos_check},
    {N(csi), NULL, csi_persistent_check},
};

static size_t check_sources(ERRS, const struct source_row *rows, size_t nrows, const struct val *v)
{
    size_t n = 0;
    for (size_t i = 0; i < nrows; i++) {
        const struct val *source = val_get(v, rows[i].field);
        const char *name = rows[i].field->s.p;
        if (!is_set(source))
            continue;
        if (n++ > 0)
            bad_forbidden(e, AT(at, name), "may not specify more than 1 volume type");
        else
            rows[i].check(e, AT(at, rows[i].path ? rows[i].path : name), source);
    }
    return n;
}

static void check_ephemeral(ERRS, const struct val *v)
{
    const struct val *template = V(v, volumeClaimTemplate);
    const struct at *here = AT(at, "volumeClaimTemplate"), *meta_at = AT(here, "metadata");
    const struct val *meta = V(template, metadata);
    if (!is_set(template))
        return bad_required(e, here, "");
    check_annotations(e, AT(meta_at, "annotations"), V(meta, annotations));
    check_labels(e, AT(meta_at, "labels"), V(meta, labels));
    static const struct name *const forbidden[] = {N(name), N(generateName), N(namespace), N(finalizers),
                                                   N(ownerReferences)};
    for (size_t i = 0; i < countof(forbidden); i++)
        if (val_len(val_get(meta, forbidden[i])) + val_text(val_get(meta, forbidden[i])).n > 0)
            bad_forbidden(e, AT(meta_at, forbidden[i]->s.p), "cannot be set");
    check_claim_spec(e, AT(here, "spec"), V(template, spec), true);
}

void check_volumes(ERRS, struct pod_rules *p, const struct val *volumes)
{
    each (volume, volumes) {
        const struct at *here = ITEM(at, INDEX(volumes, volume));
        struct str name = TEXT(volume, name), pod = TEXT(p->meta, name);
        size_t before = e->list.n;
        size_t n = check_sources(e, here, volume_sources, countof(volume_sources), volume);
        if (HAS(volume, ephemeral)) {
            if (n++ > 0)
                bad_forbidden(e, AT(here, "ephemeral"), "may not specify more than 1 volume type");
            else
                check_ephemeral(e, AT(here, "ephemeral"), V(volume, ephemeral));
            if (pod.n > 0) {
                struct str full = arena_fmt(e->arena, STR_FMT "-" STR_FMT, STR_ARG(pod), STR_ARG(name));
                struct complaints c = COMPLAINTS(e->arena);
                format_dns1123_subdomain(&c, full);
                for (size_t i = 0; i < c.n; i++)
                    bad_text(e, AT(here, "name"), name, "PVC name \"" STR_FMT "\": " STR_FMT, STR_ARG(full),
                             STR_ARG(c.texts[i]));
            }
        }
        if (n == 0)
            bad_required(e, here, "must specify a volume type");
        if (REQUIRED(e, here, volume, name))
            check_format(e, AT(here, "name"), name, format_dns1123_label);
        if (map_get(&p->volumes, name))
            bad_duplicate(e, AT(here, "name"), name);
        if (e->list.n == before && !errors_full(e))
            (void)map_put(&p->volumes, name, (void *)(uintptr_t)volume);
    }
}

void check_persistent_source(ERRS, const struct val *spec, struct str volume)
{
    (void)volume;
    if (check_sources(e, at, persistent_sources, countof(persistent_sources), spec) == 0)
        bad_required(e, at, "must specify a volume type");
}

void check_access_modes(ERRS, const struct val *modes)
{
    bool alone = false, others = false;
    each (mode, modes) {
        check_enum(e, at, val_text(mode), "ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod");
        bool pod = str_eq(val_text(mode), S("ReadWriteOncePod"));
        alone |= pod;
        others |= !pod;
    }
    if (alone && others)
        bad_forbidden(e, at, "may not use ReadWriteOncePod with other access modes");
}

static void check_data_source(ERRS, const struct val *source)
{
    REQUIRED(e, at, source, name);
    REQUIRED(e, at, source, kind);
    if (TEXT(source, apiGroup).n == 0 && !str_eq(TEXT(source, kind), S("PersistentVolumeClaim")))
        bad_text(e, at, TEXT(source, kind), "must be 'PersistentVolumeClaim' when referencing the default apiGroup");
}

void check_claim_spec(ERRS, const struct val *spec, bool in_template)
{
    const struct val *modes = V(spec, accessModes),
                     *storage = val_get_str(V(V(spec, resources), requests), S("storage"));
    const struct at *size = KEY(AT(at, "resources"), S("storage"));
    if (val_len(modes) == 0)
        bad_required(e, AT(at, "accessModes"), "at least 1 access mode is required");
    if (HAS(spec, selector))
        check_label_selector(e, AT(at, "selector"), V(spec, selector));
    check_access_modes(e, AT(at, "accessModes"), modes);
    if (!storage)
        bad_required(e, size, "");
    else if (quantity_cmp(val_text(storage), S("0")) <= 0)
        bad_text(e, size, val_text(storage), "must be greater than zero");
    FORMAT_IF_SET(e, at, spec, storageClassName, format_dns1123_subdomain);
    if (HAS(spec, volumeMode))
        check_enum(e, AT(at, "volumeMode"), TEXT(spec, volumeMode), "Block", "Filesystem");
    const struct val *source = V(spec, dataSource), *ref = V(spec, dataSourceRef);
    if (is_set(source))
        check_data_source(e, AT(at, "dataSource"), source);
    if (is_set(ref))
        check_data_source(e, AT(at, "dataSourceRef"), ref);
    if (is_set(source) && is_set(ref) && TEXT(ref, namespace).n == 0 &&
        (!str_eq(TEXT(source, name), TEXT(ref, name)) || !str_eq(TEXT(source, kind), TEXT(ref, kind)) ||
         !str_eq(TEXT(source, apiGroup), TEXT(ref, apiGroup)))) {
        struct val nothing = val_map();
        bad_value(e, at, &nothing, "must match dataSourceRef");
    }
    if (!in_template || HAS(spec, volumeAttributesClassName))
        FORMAT_IF_SET(e, at, spec, volumeAttributesClassName, format_dns1123_subdomain);
}
