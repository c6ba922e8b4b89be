/* A Pod that the API would take, as JSON: its environment, volumes, containers and status, up to the config.json.
 * What volumes hold stays within them; a refusal is a sentence. */
#include "api/codec.h"
#include "api/rules.h"
#include "api/strategy.h"
#include "node/env.h"
#include "node/pod.h"
#include "node/podspec.h"
#include "node/volume.h"
#include "wire/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct obj *map_there;

static const struct obj *source_get(UNUSED void *arg, const struct kind *k, UNUSED struct str ns, struct str name,
                                    enum source_state *state)
{
    *state = name.n % 3 == 0 ? SOURCE_UNKNOWN : SOURCE_MISSING;
    return k == K(ConfigMap) && name.n % 3 == 1 ? map_there : NULL;
}
static bool volume_path(UNUSED void *arg, struct str name, struct str *path, bool *read_only)
{
    *path = S("/volumes/v");
    *read_only = name.n % 2;
    return true;
}
static bool token_get(UNUSED void *arg, UNUSED const struct obj *pod, UNUSED struct str audience, int64_t seconds,
                      struct str *out, UNUSED struct err *err)
{
    ASSERT(seconds > 0);
    *out = S("token");
    return true;
}

static struct obj *pod_of(struct arena *a, struct str text)
{
    AUTO(field_errors_fini) struct field_errors e = {.arena = a};
    struct err err = ERR;
    struct val v;
    if (!type_decode_json(a, K(Pod)->type, text, &v, NULL, &err))
        return NULL;
    kind_default(a, K(Pod), &v);
    kind_prepare_create(a, K(Pod), &v, 0);
    struct val *meta = val_need_map(a, &v, N(metadata));
    val_set_text(a, meta, N(namespace), S("default"));
    val_set_text(a, meta, N(uid), S("11111111-2222-3333-4444-555555555555"));
    kind_validate(K(Pod), S(""), &v, NULL, &e);
    return e.list.n ? NULL : obj_new(K(Pod), &v, 1);
}

static void container_try(struct arena *a, const struct sources *s, const struct obj *pod, const struct val *c)
{
    struct str image_env[] = {S("PATH=/bin"), S("X")}, command[] = {S("/bin/sh")};
    struct image image = {.env = {image_env, 2}, .cmd = {command, 1}};
    struct podspec_input in = {.sources = s,
                               .pod = pod,
                               .container = c,
                               .image = &image,
                               .hosts_file = S("/f/hosts"),
                               .resolv_file = S("/f/resolv"),
                               .termination_file = S("/f/log"),
                               .volume_path = volume_path};
    struct env_input ei = {.sources = s, .pod = pod, .container = c, .image_env = image.env, .hostname = S("h")};
    AUTO(strbuf_fini) struct strbuf json = STRBUF(4 << 20);
    AUTO(env_fini) struct env env = {0};
    struct oci_container out;
    struct oci_notices notices = {0};
    struct err err = ERR;
    in.env = &env;
    if (!env_build(a, &ei, &env, &err) || !podspec_container(a, &in, &out, &err)) {
        ASSERT(err.text[0]);
        return;
    }
    if (oci_container_json(&out, a, S("/root"), S(""), &json, &notices, &err))
        ASSERT(json.over || json_check(strbuf_str(&json), &err));
    else
        ASSERT(err.text[0]);
}

static void volumes_try(struct arena *a, const struct sources *s, const struct obj *pod)
{
    size_t used = 0;
    struct volume_input in = {s, pod, token_get, NULL, &used};
    val_each_item (v, val_get(obj_spec(pod), N(volumes))) {
        AUTO(volume_files_fini) struct volume_files files = {.arena = a};
        struct err err = ERR;
        if (!volume_payload(&files, &in, v, &err))
            ASSERT(err.text[0]);
        else
            array_each (f, &files.list)
                ASSERT(f->path.n && f->path.p[0] != '/' && !str_starts(f->path, S("..")) &&
                       str_find(f->path, S("/../")) < 0 && !str_ends(f->path, S("/..")));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct err err = ERR;
    struct val allocatable, map;
    if (size > 1 << 16)
        return 0;
    AUTO(obj_unref) struct obj *pod = pod_of(&a, (struct str){(const char *)data, size});
    if (!pod)
        return 0;
    ASSERT(json_decode(&a, S("{\"cpu\":\"4\",\"memory\":\"8Gi\"}"), &allocatable, &err));
    ASSERT(json_decode(&a, S("{\"metadata\":{\"name\":\"m\"},\"data\":{\"a\":\"1\",\"b.c\":\"2\"}}"), &map, &err));
    map_there = obj_new(K(ConfigMap), &map, 1);
    struct sources s = {.get = source_get,
                        .allocatable = &allocatable,
                        .capacity = &allocatable,
                        .node_name = S("n"),
                        .host_ip = S("10.0.0.1"),
                        .pod_ip = S("10.42.0.9")};
    struct strs sysctls;
    if (!podspec_supported(pod, &err) || !podspec_sysctls(&a, pod, S("kernel.msg*,net.*"), &sysctls, &err))
        ASSERT(err.text[0]);
    struct oci_limits limits;
    podspec_pod_limits(&pod->tree, &limits);
    struct pod_hostname name;
    if (!podspec_hostname(&a, pod, S("n"), S("cluster.local"), &name, &err))
        ASSERT(err.text[0]);
    ASSERT(name.kernel.n <= 253);
    val_each_item (c, val_get(obj_spec(pod), N(initContainers)))
        container_try(&a, &s, pod, c);
    val_each_item (c, val_get(obj_spec(pod), N(containers)))
        container_try(&a, &s, pod, c);
    volumes_try(&a, &s, pod);
    AUTO(pod_free) struct pod *p = pod_new(pod, S("10.0.0.1"), 1, 1);
    AUTO(pod_actions_fini) struct pod_actions actions = {0};
    pod_step(p, 1, &actions);
    (void)pod_status(p, &a, 1);
    obj_unref(map_there);
    return 0;
}
