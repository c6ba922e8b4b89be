/* fence_world_test.c - see fence_world_test.h */
#include "net/fence_world_test.h"
#include "api/codec.h"

static struct arena arena;

const struct val *fence_val(const char *text)
{
    struct err err = ERR;
    struct val *v = ARENA_NEW(&arena, struct val);
    char *json = mem_dupz(text);
    for (char *p = json; *p; p++)
        *p = *p == '\'' ? '"' : *p;
    CHECK_OK(json_decode(&arena, str_of(json), v, &err), err);
    mem_free(json);
    return v;
}

struct obj *fence_policy_obj(const char *ns, const char *name, const char *spec)
{
    struct val tree = val_map(), *meta;
    val_set_text(&arena, &tree, N(apiVersion), S("networking.k8s.io/v1"));
    val_set_text(&arena, &tree, N(kind), S("NetworkPolicy"));
    meta = val_need_map(&arena, &tree, N(metadata));
    val_set_text(&arena, meta, N(name), str_of(name));
    val_set_text(&arena, meta, N(namespace), str_of(ns));
    val_set(&arena, &tree, N(spec), *fence_val(spec));
    return obj_new(K(NetworkPolicy), &tree, 1);
}

void put_policy(struct fences *f, const char *ns, const char *name, const char *spec)
{
    struct err err = ERR;
    AUTO(obj_unref) struct obj *o = fence_policy_obj(ns, name, spec);
    CHECK_OK(fences_put_policy(f, o, &err), err);
}

void put_pod(struct fences *f, const char *ns, const char *name, uint32_t ip, const char *labels)
{
    AUTO(strbuf_fini) struct strbuf uid = STRBUF(600);
    struct fence_port ports[] = {{S("http"), NET_TCP, 8080}, {S("stream"), NET_UDP, 8080}};
    strbuf_addf(&uid, "%s/%s", ns, name);
    fences_put_pod(f, &(struct fence_pod){.uid = strbuf_str(&uid),
                                          .ns = str_of(ns),
                                          .name = str_of(name),
                                          .labels = fence_val(labels),
                                          .ip = ip,
                                          .local = true,
                                          .ports = ports,
                                          .nports = countof(ports)});
}

void put_ns(struct fences *f, const char *name, const char *labels)
{
    fences_put_namespace(f, str_of(name), fence_val(labels));
}

void fences_commit(struct fences *f, struct nft *n)
{
    struct fence_diff d;
    struct err err = ERR;
    fences_diff(f, &d);
    CHECK_OK(fence_nft_apply(n, &d, &err), err);
    fence_diff_fini(&d);
}

void fences_load(struct fences *f, struct nft *n)
{
    struct fence_kernel k;
    struct err err = ERR;
    CHECK_OK(fence_nft_load(n, &k, &err), err);
    fences_begin(f, &k);
    fence_kernel_fini(&k);
    fences_commit(f, n);
}
