/* What the API knows of this node's drivers: the CSINode (which drivers, what each calls the node, by which labels
 * its volumes are placed, how many it takes; and which plugins it leaves to drivers), and of the Node the annotation
 * csi.volume.kubernetes.io/nodeid and those labels. Written level by level: whatever came or went meanwhile, what is
 * written next is what is then. A driver is taken out only where it was seen to go: one that has not come back yet
 * after a restart of the node keeps its row, as with a kubelet. */
#include "api/codec.h"
#include "api/csi_source.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "node/csi_int.h"

#define NODE_ID "csi.volume.kubernetes.io/nodeid"

static const struct obj *own_node(const struct csi *c)
{
    return cache_peek(c->agent->nodes, S(""), str_of(c->agent->cfg.name));
}

static void object_write(struct csi *c);

static void object_later(struct csi *c)
{
    c->gap = csi_gap_next(c->gap);
    timer_set(&c->again, c->gap);
}

/* ---- the Node */

/* The ids as the annotation has them, with ours. */
static struct str ids_text(struct csi *c, struct arena *a, const struct obj *node)
{
    struct str was = obj_note(node, NODE_ID);
    struct val ids = val_map(), sorted = val_map();
    struct err ignored = ERR; /* somebody else's text there is replaced */
    AUTO(strbuf_fini) struct strbuf b = STRBUF(256 * 1024);
    if (was.n && (!json_decode(a, was, &ids, &ignored) || !val_is(&ids, VAL_MAP)))
        ids = val_map();
    map_each (e, &c->leaving)
        (void)val_del_str(&ids, e->key);
    map_each (e, &c->drivers) {
        struct csi_driver *d = e->value;
        val_set_str(a, &ids, d->name, val_str(a, d->node.id));
    }
    uint32_t *order = sorted_members(&ids);
    for (size_t i = 0; i < val_len(&ids); i++) {
        const struct member *m = &ids.map[order ? order[i] : i];
        (void)val_append(a, &sorted, m->name, m->v);
    }
    mem_free(order);
    if (!val_len(&sorted))
        return S("");
    json_encode(&b, &sorted);
    return str_dup(a, strbuf_str(&b));
}

/* False: what a driver says contradicts what the node is labelled with. */
static bool labels_of(struct arena *a, const struct obj *node, const struct csi_driver *d, struct val *out,
                      struct err *err)
{
    val_each_member (m, &d->node.topology) {
        const struct val *have = val_get_str(obj_labels(node), m->name->s);
        if (have && !str_eq(val_text(have), val_text(&m->v)))
            return err_set(err, E_CONFLICT,
                           "kubernetes.io/csi: detected topology value collision: driver reported \"" STR_FMT
                           "\":\"" STR_FMT "\" but existing label is \"" STR_FMT "\":\"" STR_FMT "\"",
                           STR_ARG(m->name->s), STR_ARG(val_text(&m->v)), STR_ARG(m->name->s),
                           STR_ARG(val_text(have)));
    }
    val_each_member (m, &d->node.topology)
        if (!val_get_str(obj_labels(node), m->name->s))
            val_set_str(a, out, m->name->s, val_str(a, val_text(&m->v)));
    return true;
}

/* The patch that the Node needs; false: none. */
static bool node_patch(struct csi *c, struct arena *a, const struct obj *node, struct val *patch)
{
    struct str ids = ids_text(c, a, node), was = obj_note(node, NODE_ID);
    struct val labels = val_map();
    *patch = val_map();
    map_each (e, &c->drivers) {
        struct err err = ERR;
        if (!labels_of(a, node, e->value, &labels, &err)) /* it is refused, and leaves once it has been told */
            csi_plugin_told(c, e->value, &err);
    }
    if (val_len(&labels))
        val_set(a, val_need_map(a, patch, N(metadata)), N(labels), labels);
    if (!str_eq(ids, was))
        val_set_str(a, val_need_map(a, patch, N(metadata), N(annotations)), S(NODE_ID),
                    ids.n ? val_str(a, ids) : VAL_NONE);
    return val_len(patch) > 0;
}

/* ---- the CSINode */

static struct val driver_row(struct arena *a, const struct csi_driver *d)
{
    struct val row = val_map(), keys = val_list();
    uint32_t *order = sorted_members(&d->node.topology);
    for (size_t i = 0; i < val_len(&d->node.topology); i++)
        val_add(a, &keys, val_str(a, d->node.topology.map[order ? order[i] : i].name->s));
    mem_free(order);
    val_set_text(a, &row, N(name), d->name);
    val_set_text(a, &row, N(nodeID), d->node.id);
    if (val_len(&keys))
        val_set(a, &row, N(topologyKeys), keys);
    if (d->node.volumes_most > 0)
        val_set_num(a, val_need_map(a, &row, N(allocatable)), N(count), MIN(d->node.volumes_most, INT32_MAX));
    return row;
}

/* The rows as they should be: those of others stay, those that have gone go, ours are as they are. */
static struct val rows_of(struct csi *c, struct arena *a, const struct obj *was)
{
    struct val rows = val_list();
    val_each_item (row, was ? val_get(obj_spec(was), N(drivers)) : NULL) {
        struct str name = val_text_at(row, N(name));
        if (!map_get(&c->leaving, name) && !map_get(&c->drivers, name))
            val_add(a, &rows, val_copy(a, row));
    }
    map_each (e, &c->drivers)
        val_add(a, &rows, driver_row(a, e->value));
    return rows;
}

static struct val object_new(struct csi *c, struct arena *a, const struct obj *node)
{
    struct val body = val_map(), owners = val_list(), owner = val_map();
    val_set_text(a, &body, N(apiVersion), S("storage.k8s.io/v1"));
    val_set_text(a, &body, N(kind), S("CSINode"));
    struct val *meta = val_need_map(a, &body, N(metadata));
    val_set_text(a, meta, N(name), str_of(c->agent->cfg.name));
    val_set_str(a, val_need_map(a, meta, N(annotations)), S(ANN_MIGRATED_PLUGINS), val_str(a, csi_plugins_text(a)));
    val_set_text(a, &owner, N(apiVersion), S("v1"));
    val_set_text(a, &owner, N(kind), S("Node"));
    val_set_text(a, &owner, N(name), node->name);
    val_set_text(a, &owner, N(uid), node->uid);
    val_add(a, &owners, owner);
    val_set(a, meta, N(ownerReferences), owners);
    val_set(a, val_need_map(a, &body, N(spec)), N(drivers), rows_of(c, a, NULL));
    return body;
}

static bool same_rows(const struct val *some, const struct val *others)
{
    if (val_len(some) != val_len(others))
        return false;
    val_each_item (row, some)
        if (!val_equal(row, val_find(others, N(name), val_text_at(row, N(name)))))
            return false;
    return true;
}

static void all_written(struct csi *c)
{
    c->gap = 0;
    if (c->news) {
        object_write(c);
        return;
    }
    c->written = true;
    map_each (e, &c->leaving)
        mem_free(e->value);
    map_fini(&c->leaving);
    map_each (e, &c->drivers)
        csi_plugin_told(c, e->value, NULL);
}

static void write_failed(struct csi *c, const struct err *err)
{
    if (err->kind == E_CONFLICT || err->kind == E_ALREADY_EXISTS) {
        timer_set(&c->again, 20 * NS_PER_MS); /* as it is by now */
        return;
    }
    log_warn("csi.node", "error=\"%s\"", err->text);
    if (err->kind == E_INVALID || err->kind == E_FORBIDDEN || err->kind == E_BAD_REQUEST)
        map_each (e,
                  &c->drivers) /* what one of them says of the node cannot be: those that just register are refused */
            csi_plugin_told(c, e->value, err);
    object_later(c);
}

static void row_written(struct call *call)
{
    struct csi *c = container_of(call, struct csi, call);
    if (call->ok)
        all_written(c);
    else
        write_failed(c, &call->err);
}

static void object_read(struct call *call)
{
    struct csi *c = container_of(call, struct csi, call);
    const struct obj *node = own_node(c), *was = call->ok ? call->obj : NULL;
    AUTO(arena_fini) struct arena a = ARENA;
    struct val body = VAL_NONE;
    if (!node)
        return; /* csi_node_changed comes */
    if (!call->ok && call->err.kind != E_NOT_FOUND) {
        write_failed(c, &call->err);
        return;
    }
    struct call_options o = CALL_OPTIONS(.verb = CALL_CREATE, .kind = K(CSINode), .body = &body);
    if (was) {
        struct val rows = rows_of(c, &a, was);
        struct str plugins = csi_plugins_text(&a);
        if (same_rows(&rows, val_get(obj_spec(was), N(drivers))) &&
            str_eq(obj_note(was, ANN_MIGRATED_PLUGINS), plugins)) {
            all_written(c);
            return;
        }
        body = val_copy(&a, &was->tree);
        val_set_str(&a, val_need_map(&a, &body, N(metadata), N(annotations)), S(ANN_MIGRATED_PLUGINS),
                    val_str(&a, plugins));
        val_set(&a, val_need_map(&a, &body, N(spec)), N(drivers), rows);
        o.verb = CALL_UPDATE;
        o.name = was->name;
        o.expect_rev = was->rev;
        o.expect_uid = was->uid;
    } else {
        body = object_new(c, &a, node);
    }
    c->call.done = row_written;
    fault_pass("node.before.CSINODE");
    call_start(&c->call, c->agent->cfg.transport, &o);
}

static void object_ask(struct csi *c)
{
    c->call.done = object_read;
    call_start(&c->call, c->agent->cfg.transport,
               &CALL_OPTIONS(.verb = CALL_GET, .kind = K(CSINode), .name = str_of(c->agent->cfg.name)));
}

static void node_patched(struct call *call)
{
    struct csi *c = container_of(call, struct csi, call);
    if (call->ok)
        object_ask(c);
    else
        write_failed(c, &call->err);
}

/* ---- both, one after the other */

static void object_write(struct csi *c)
{
    const struct obj *node = own_node(c);
    AUTO(arena_fini) struct arena a = ARENA;
    struct val patch;
    c->news = true;
    c->written = false;
    if (!node || call_active(&c->call))
        return;
    c->news = false;
    timer_stop(&c->again);
    if (!node_patch(c, &a, node, &patch)) {
        object_ask(c);
        return;
    }
    c->call.done = node_patched;
    call_start(&c->call, c->agent->cfg.transport,
               &CALL_OPTIONS(.verb = CALL_PATCH, .kind = K(Node), .name = node->name, .patch = PATCH_MERGE,
                             .body = &patch, .expect_uid = node->uid));
}

static void on_again(struct timer *t)
{
    object_write(container_of(t, struct csi, again));
}

void csi_object_news(struct csi *c)
{
    if (!c->dead)
        object_write(c);
}

void csi_object_leaves(struct csi *c, struct str driver)
{
    if (c->dead)
        return;
    if (!map_get(&c->leaving, driver)) {
        char *text = str_dupz(driver);
        (void)map_put(&c->leaving, driver, text);
    }
    object_write(c);
}

void csi_node_changed(struct csi *c, const struct obj *node)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct val patch;
    csi_volumes_node(c, node);
    if (str_eq(node->uid, c->node_uid) && (!c->written || !node_patch(c, &a, node, &patch)))
        return;
    c->node_uid = str_dup(&c->arena,
                          node->uid); /* the Node has been made anew, and the CSINode goes with the old one */
    object_write(c);
}

void csi_object_init(struct csi *c)
{
    timer_init(&c->again, c->agent->cfg.loop, on_again);
}

void csi_object_fini(struct csi *c)
{
    timer_stop(&c->again);
    call_cancel(&c->call);
    map_each (e, &c->leaving)
        mem_free(e->value);
    map_fini(&c->leaving);
}
