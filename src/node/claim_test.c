#include "api/codec.h"
#include "node/claim.h"
#include "node/test_world.h"

#define CLAIM(status)                                                                                                \
    "metadata: {name: c, namespace: ns, uid: u1}\nspec: {volumeName: pv1}\nstatus: {phase: " status "}"
#define PV(spec) "metadata: {name: pv1}\nspec: {" spec "}"
#define REF      "claimRef: {namespace: ns, name: c, uid: u1}, "
#define USES     "{name: v, persistentVolumeClaim: {claimName: c}}"
#define WRONG    "error processing PVC ns/c: "

TEST(a_volume_is_what_its_claim_is_bound_to)
{
    static const struct {
        const char *claim, *pv, *volume, *container, *want;
    } rows[] = {
        {NULL, NULL, "{name: v, nfs: {server: s, path: /p, readOnly: true}}", "", "nfs s:/p ro"},
        {NULL, NULL, USES, "", WRONG "failed to fetch PVC from API server: persistentvolumeclaims \"c\" not found"},
        {CLAIM("Pending"), NULL, USES, "", WRONG "PVC is not bound"},
        {CLAIM("Lost"), NULL, USES, "", WRONG "PVC is not bound"},
        {CLAIM("Bound"), NULL, USES, "",
         WRONG "failed to fetch PV pv1 from API server: persistentvolumes \"pv1\" not found"},
        {CLAIM("Bound"), PV("local: {path: /l}"), USES, "",
         WRONG "found PV object pv1 but it has a nil pv.Spec.ClaimRef indicating it is not yet bound to the claim"},
        {CLAIM("Bound"), PV("claimRef: {uid: u2}"), USES, "",
         WRONG "found PV object pv1 but its pv.Spec.ClaimRef.UID u2 does not point to claim.UID u1"},
        {CLAIM("Bound"), PV(REF "local: {path: /l, fsType: xfs}"), USES, "", "local /l xfs group 7"},
        {CLAIM("Bound"), PV(REF "mountOptions: [noatime, a=b], local: {path: /l}"), USES, "",
         "local /l group 7 noatime a=b"},
        {CLAIM("Bound"), PV(REF "volumeMode: Block, local: {path: /l}"), USES, "volumeDevices: [{name: v}]",
         "local /l block"},
        {CLAIM("Bound"), PV(REF "volumeMode: Block, local: {path: /l}"), USES, "volumeMounts: [{name: v}]",
         "volume v has volumeMode Block, but is specified in volumeMounts"},
        {CLAIM("Bound"), PV(REF "volumeMode: Block, nfs: {server: s, path: /p}"), USES, "",
         "volumeMode Block: nfs is no block device: use local"},
        {CLAIM("Bound"), PV(REF "local: {path: /l}"), USES, "volumeDevices: [{name: v}]",
         "volume v has volumeMode Filesystem, but is specified in volumeDevices"},
        {CLAIM("Bound"), PV(REF "hostPath: {path: /h, type: Directory}"),
         "{name: v, persistentVolumeClaim: {claimName: c, readOnly: true}}", "", "host /h ro Directory"},
        {CLAIM("Bound"), PV(REF "mountOptions: [ro], hostPath: {path: /h}"), USES, "",
         "Mount options are not supported for this volume type"},
        {CLAIM("Bound"), PV(REF "rbd: {}"), USES, "",
         "failed to get Plugin from volumeSpec for volume \"pv1\" err=no volume plugin matched"},
        {NULL, NULL, "{name: v, glusterfs: {endpoints: e, path: p}}", "",
         "failed to get Plugin from volumeSpec for volume \"v\" err=no volume plugin matched"},
        {"metadata: {name: p-v, namespace: ns, uid: u1}\nspec: {volumeName: pv1}\nstatus: {phase: Bound}", NULL,
         "{name: v, ephemeral: {}}", "",
         "error processing PVC ns/p-v: PVC ns/p-v was not created for pod ns/p (pod is not owner)"},
        {"metadata: {name: p-v, namespace: ns, uid: u1, ownerReferences: [{uid: up, controller: true}]}\nspec: "
         "{volumeName: pv1}\nstatus: {phase: Bound}",
         PV(REF "local: {path: /l}"), "{name: v, ephemeral: {}}", "", "local /l group 7"},
    };
    static const char *const hows[] = {[MOUNT_HOST] = "host", [MOUNT_LOCAL] = "local", [MOUNT_NFS] = "nfs"};
    for (size_t i = 0; i < countof(rows); i++) {
        struct world w = {0};
        struct sources sources = world_sources(&w);
        struct str yaml = arena_fmt(&w.arena,
                                    "metadata: {name: p, namespace: ns, uid: up}\nspec: {securityContext: {fsGroup: "
                                    "7}, containers: [{name: c, %s}], volumes: [%s]}",
                                    rows[i].container, rows[i].volume);
        const struct obj *pod = world_obj(&w, K(Pod), yaml.p);
        if (rows[i].claim)
            world_obj(&w, K(PersistentVolumeClaim), rows[i].claim);
        if (rows[i].pv)
            world_obj(&w, K(PersistentVolume), rows[i].pv);
        AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
        struct volume_source s;
        struct volume_mount m;
        struct err err = ERR;
        const struct val *v = val_item(val_get(obj_spec(pod), N(volumes)), 0);
        if (!claim_resolve(&sources, &w.arena, pod, v, &s, &err) ||
            !claim_mount(&w.arena, pod, &s, S("/t"), &m, &err)) {
            strbuf_addz(&b, err.text);
        } else {
            strbuf_addf(&b, "%s " STR_FMT "%s" STR_FMT "%s%s", hows[m.how], STR_ARG(m.server), m.server.n ? ":" : "",
                        STR_ARG(m.path), m.read_only ? " ro" : "", m.block ? " block" : "");
            if (m.fs_type.n)
                strbuf_addf(&b, " " STR_FMT, STR_ARG(m.fs_type));
            if (m.host_type.n)
                strbuf_addf(&b, " " STR_FMT, STR_ARG(m.host_type));
            if (m.fs_group >= 0)
                strbuf_addf(&b, " group %lld", (long long)m.fs_group);
            for (size_t k = 0; k < m.options.n; k++)
                strbuf_addf(&b, " " STR_FMT, STR_ARG(m.options.p[k]));
        }
        CHECK_STR(strbuf_str(&b), str_of(rows[i].want));
        world_end(&w);
    }
}

TEST(a_claim_that_is_not_heard_of_is_waited_for)
{
    struct world w = {.unheard = true};
    struct sources sources = world_sources(&w);
    const struct obj *pod = world_obj(&w, K(Pod), "metadata: {name: p, namespace: ns}\nspec: {volumes: [" USES "]}");
    struct volume_source s;
    struct err err = ERR;
    CHECK(!claim_resolve(&sources, &w.arena, pod, val_item(val_get(obj_spec(pod), N(volumes)), 0), &s, &err));
    CHECK_INT(err.kind, E_UNAVAILABLE);
    world_end(&w);
}

TEST(a_group_is_given_a_volume_once)
{
    static const char *const policies[] = {"Always", "OnRootMismatch"};
    for (size_t i = 0; i < countof(policies); i++) {
        struct world w = {0};
        struct sources sources = world_sources(&w);
        struct str yaml = arena_fmt(&w.arena,
                                    "metadata: {name: p, namespace: ns}\nspec: {securityContext: {fsGroup: 7, "
                                    "fsGroupChangePolicy: %s}, volumes: [" USES "]}",
                                    policies[i]);
        const struct obj *pod = world_obj(&w, K(Pod), yaml.p);
        world_obj(&w, K(PersistentVolumeClaim), CLAIM("Bound"));
        world_obj(&w, K(PersistentVolume), PV(REF "local: {path: /l}"));
        struct volume_source s;
        struct volume_mount m;
        struct err err = ERR;
        CHECK_OK(claim_resolve(&sources, &w.arena, pod, val_item(val_get(obj_spec(pod), N(volumes)), 0), &s, &err),
                 err);
        CHECK_OK(claim_mount(&w.arena, pod, &s, S("/t"), &m, &err), err);
        CHECK_INT(m.on_root_mismatch, i == 1);
        world_end(&w);
    }
}

TEST(read_only_is_said_by_the_pod)
{
    static const struct {
        const char *volume;
        bool by_claim, want;
    } rows[] = {
        {"{name: v, fc: {wwids: [x], readOnly: true}}", false, true},
        {"{name: v, iscsi: {targetPortal: p, iqn: i, readOnly: true}}", false, true},
        {"{name: v, csi: {driver: d, readOnly: true}}", false, true},
        {"{name: v, fc: {wwids: [x]}}", false, false},
        {"{name: v, persistentVolumeClaim: {claimName: c}}", true, true},
        {"{name: v, persistentVolumeClaim: {claimName: c}}", false, false},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        AUTO(arena_fini) struct arena a = ARENA;
        struct val v;
        struct err err = ERR;
        CHECK_OK(yaml_decode(&a, str_of(rows[i].volume), &v, &err), err);
        const struct volume_source s = {.spec = &v, .read_only = rows[i].by_claim};
        CHECK(claim_is_read_only(&v, &s) == rows[i].want);
        CHECK(claim_is_attached(&v) == !str_has(str_of(rows[i].volume), S("Claim")));
    }
}

/* What a driver took over is a PersistentVolume of its, whether it stands in the pod or behind a claim. */
TEST(a_volume_that_a_driver_took_over_is_told_in_its_words)
{
    static const struct {
        const char *pv, *volume, *want;
    } rows[] = {
        {NULL, "{name: v, awsElasticBlockStore: {volumeID: 'aws://z/vol-1', fsType: xfs, partition: 2}}",
         "ebs.csi.aws.com-vol-1 ebs.csi.aws.com vol-1 xfs"},
        {NULL, "{name: v, azureFile: {secretName: s, shareName: share}}",
         "#s#share#v#ns file.csi.azure.com #s#share#v#ns "},
        {NULL, "{name: v, azureDisk: {diskName: d, diskURI: /subscriptions/1, kind: Shared}}",
         "failed to translate in-tree pv to CSI: kind(Shared) is not supported in csi migration"},
        {PV(REF "gcePersistentDisk: {pdName: d, fsType: ext4}"), USES,
         "pv1 pd.csi.storage.gke.io projects/UNSPECIFIED/zones/UNSPECIFIED/disks/d ext4"},
        {PV(REF "volumeMode: Block, cinder: {volumeID: x}"), USES, "pv1 cinder.csi.openstack.org x  block"},
        {PV(REF "azureFile: {secretName: s, shareName: h, secretNamespace: other}"), USES,
         "pv1 file.csi.azure.com #s#h#pv1#other "},
        {PV(REF "awsElasticBlockStore: {volumeID: 'aws://z/disk'}"), USES,
         "failed to translate in-tree pv to CSI: failed to translate Kubernetes ID to EBS Volume ID Invalid format "
         "for AWS volume (aws://z/disk)"},
        {PV(REF "csi: {driver: d.io, volumeHandle: h}"), USES, "pv1 d.io h "},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct world w = {0};
        struct sources sources = world_sources(&w);
        struct str yaml = arena_fmt(&w.arena, "metadata: {name: p, namespace: ns, uid: up}\nspec: {volumes: [%s]}",
                                    rows[i].volume);
        const struct obj *pod = world_obj(&w, K(Pod), yaml.p);
        world_obj(&w, K(PersistentVolumeClaim), CLAIM("Bound"));
        if (rows[i].pv)
            world_obj(&w, K(PersistentVolume), rows[i].pv);
        struct volume_source s;
        struct err err = ERR;
        struct str told;
        if (claim_resolve(&sources, &w.arena, pod, val_item(val_get(obj_spec(pod), N(volumes)), 0), &s, &err)) {
            const struct val *csi = val_get(s.spec, N(csi));
            CHECK(s.persistent && !s.owner == !rows[i].pv);
            told = arena_fmt(&w.arena, STR_FMT " " STR_FMT " " STR_FMT " " STR_FMT "%s", STR_ARG(s.name),
                             STR_ARG(val_text_at(csi, N(driver))), STR_ARG(val_text_at(csi, N(volumeHandle))),
                             STR_ARG(val_text_at(csi, N(fsType))), s.block ? " block" : "");
        } else {
            told = str_of(err.text);
        }
        CHECK_STR(told, str_of(rows[i].want));
        world_end(&w);
    }
}
