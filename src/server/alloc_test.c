#include "api/codec.h"
#include "base/test.h"
#include "server/alloc.h"
#include "server/write.h"

static struct server server;

/* A Service as it would be stored, or NULL where it was refused. */
static struct obj *service_create(const char *spec)
{
    struct write w = {.r = NULL};
    struct request r = {.server = &server, .kind = K(Service), .write = &w};
    struct val tree = val_map(), s;
    struct err err = ERR;
    CHECK_OK(json_decode(&r.arena, str_of(spec), &s, &err), err);
    val_set(&r.arena, &tree, N(spec), s);
    struct obj *o = alloc_write(&r, &tree, NULL) ? obj_new(K(Service), &tree, 1) : NULL;
    if (o)
        alloc_changed(server.alloc, NULL, o);
    alloc_released(&r);
    arena_fini(&r.arena);
    return o;
}

static void object_delete(struct obj *o)
{
    alloc_changed(server.alloc, o, NULL);
    obj_unref(o);
}

TEST(addresses_and_ports_come_back_when_their_service_goes)
{
    struct err err = ERR;
    server.alloc = alloc_new("10.43.0.0/28", "30000-30001", &err);
    CHECK_OK(server.alloc, err);
    struct obj *named = service_create(
        "{\"type\":\"NodePort\",\"clusterIP\":\"10.43.0.9\",\"ports\":[{\"nodePort\":30000}]}");
    struct obj *any = service_create("{\"type\":\"NodePort\",\"ports\":[{\"port\":80}]}");
    CHECK(named && any);
    CHECK_INT(val_num_at(val_item(val_get(obj_spec(any), N(ports)), 0), 0, N(nodePort)), 30001);
    CHECK(!service_create("{\"type\":\"NodePort\",\"ports\":[{\"port\":80}]}"));
    CHECK(!service_create("{\"type\":\"ClusterIP\",\"clusterIP\":\"10.43.0.9\"}"));
    object_delete(named);
    named = service_create("{\"type\":\"NodePort\",\"clusterIP\":\"10.43.0.9\",\"ports\":[{\"port\":80}]}");
    CHECK(named);
    CHECK_INT(val_num_at(val_item(val_get(obj_spec(named), N(ports)), 0), 0, N(nodePort)), 30000);
    object_delete(named);
    object_delete(any);
    alloc_free(server.alloc);
}
