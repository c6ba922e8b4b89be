#include "api/codec.h"
#include "api/csi_source.h"
#include "base/test.h"

/* A PersistentVolume, or a volume of a pod in namespace "test" (its one volume), as YAML: answered with name and spec
 * of the PersistentVolume as its driver sees it, as JSON. */
static void source_answer(struct str input, struct strbuf *out)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct val tree;
    struct csi_source source;
    struct err err = ERR;
    CHECK_OK(yaml_decode(&a, input, &tree, &err), err);
    bool pod = str_eqz(val_text_at(&tree, N(kind)), "Pod");
    AUTO(obj_unref) struct obj *o = obj_new(pod ? K(Pod) : K(PersistentVolume), &tree, 1);
    const struct val *volume = val_item(val_get(obj_spec(o), N(volumes)), 0);
    if (pod ? !csi_source_inline(&a, S("test"), volume, &source, &err) : !csi_source_of(&a, o, &source, &err)) {
        strbuf_addf(out, "error: %s\n", err.text);
        return;
    }
    CHECK_STR(source.driver, csi_driver_of(pod ? volume : obj_spec(o)));
    CHECK_STR(source.driver, csi_driver_of(source.spec));
    CHECK_STR(source.handle, val_text_at(source.spec, N(csi), N(volumeHandle)));
    struct val whole = val_map(), meta = val_map();
    val_set_text(&a, &meta, N(name), source.name);
    val_set(&a, &whole, N(metadata), meta);
    val_set(&a, &whole, N(spec), *source.spec);
    type_encode_json(out, K(PersistentVolume)->type, &whole);
    strbuf_addc(out, '\n');
    CHECK(val_equal(&o->tree, &tree)); /* what was translated is as it was */
}

TEST(volumes_are_told_in_the_words_of_their_drivers)
{
    test_transcript("tests/golden/csi_source.txt", source_answer);
}

TEST(drivers_took_over_from_plugins)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct str rest = csi_plugins_text(&a), plugin;
    CHECK_STR(rest, S("kubernetes.io/aws-ebs,kubernetes.io/azure-disk,kubernetes.io/azure-file,kubernetes.io/cinder,"
                      "kubernetes.io/gce-pd,kubernetes.io/portworx-volume,kubernetes.io/vsphere-volume"));
    while (str_cut(&rest, ',', &plugin))
        CHECK(csi_driver_after(plugin).n > 0);
    CHECK_STR(csi_driver_after(S("kubernetes.io/aws-ebs")), S("ebs.csi.aws.com"));
    CHECK_STR(csi_driver_after(S("kubernetes.io/gce-pd")), S("pd.csi.storage.gke.io"));
    CHECK_STR(csi_driver_after(S("kubernetes.io/rbd")), S(""));
    CHECK_STR(csi_driver_after(S("ebs.csi.aws.com")), S(""));
}

TEST(schedulers_believe_a_node_that_says_so)
{
    static const struct {
        const char *plugins, *plugin;
        bool yes;
    } rows[] = {
        {"kubernetes.io/aws-ebs,kubernetes.io/gce-pd", "kubernetes.io/gce-pd", true},
        {"kubernetes.io/aws-ebs,kubernetes.io/gce-pd", "kubernetes.io/aws-ebs", true},
        {"kubernetes.io/aws-ebs", "kubernetes.io/gce-pd", false},
        {"", "kubernetes.io/gce-pd", false},
        {"kubernetes.io/azure-file,kubernetes.io/vsphere-volume", "kubernetes.io/azure-file",
         false}, /* as upstream */
        {"kubernetes.io/rbd", "kubernetes.io/rbd", false},
    };
    CHECK(!csi_plugin_is_scheduled(S("kubernetes.io/aws-ebs"), NULL));
    for (size_t i = 0; i < countof(rows); i++) {
        AUTO(arena_fini) struct arena a = ARENA;
        struct val tree = val_map();
        val_set_text(&a, val_need_map(&a, &tree, N(metadata)), N(name), S("n"));
        val_set_str(&a, val_need_map(&a, &tree, N(metadata), N(annotations)), S(ANN_MIGRATED_PLUGINS),
                    val_str(&a, str_of(rows[i].plugins)));
        AUTO(obj_unref) struct obj *node = obj_new(K(CSINode), &tree, 1);
        CHECK_INT(csi_plugin_is_scheduled(str_of(rows[i].plugin), node), rows[i].yes);
    }
}
