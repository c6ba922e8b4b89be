#include "server/notice.h"
#include "api/codec.h"
#include "api/custom.h"
#include "wire/pb.h"

#define FRAME_MOST ((size_t)1 << 31)

const char *const watch_type_names[] = {"ADDED", "MODIFIED", "DELETED", "BOOKMARK"};

struct notice *notice_new(enum watch_type type, const struct kind *k, struct obj *obj, int64_t rev)
{
    struct notice *n = NEW(struct notice);
    *n = (struct notice){.refs = 1, .type = type, .kind = kind_ref(k), .obj = obj ? obj_ref(obj) : NULL, .rev = rev};
    return n;
}

struct notice *notice_ref(struct notice *n)
{
    (void)__atomic_add_fetch(&n->refs, 1, __ATOMIC_RELAXED);
    return n;
}

void notice_unref(struct notice *n)
{
    if (__atomic_sub_fetch(&n->refs, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    for (size_t i = 0; i < NOTICE_FRAMES; i++)
        buf_unref(n->frames[i]);
    if (n->obj)
        obj_unref(n->obj);
    kind_unref(n->kind);
    mem_free(n);
}

/* --- what stands around the object --- */

static void frame_pb(struct strbuf *b, const char *type, struct str enveloped)
{
    AUTO(strbuf_fini) struct strbuf ext = STRBUF(FRAME_MOST), event = STRBUF(FRAME_MOST);
    pb_add_bytes(&ext, 1, enveloped); /* RawExtension{1 raw} */
    pb_add_bytes(&event, 1, str_of(type));
    pb_add_bytes(&event, 2, strbuf_str(&ext));
    unsigned char n[4] = {(unsigned char)(event.n >> 24), (unsigned char)(event.n >> 16),
                          (unsigned char)(event.n >> 8), (unsigned char)event.n};
    strbuf_add(b, (struct str){(char *)n, 4});
    strbuf_add(b, strbuf_str(&event));
}

static struct buf *event_frame(enum media media, const char *type, struct str body)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(FRAME_MOST);
    if (media == MEDIA_PROTOBUF) {
        frame_pb(&b, type, body);
    } else {
        strbuf_addf(&b, "{\"type\":\"%s\",\"object\":", type);
        strbuf_add(&b, body.n && body.p[body.n - 1] == '\n' ? str_sub(body, 0, body.n - 1) : body);
        strbuf_addz(&b, "}\n");
    }
    return buf_take(&b);
}

struct buf *status_frame(enum media media, const struct val *status)
{
    AUTO(strbuf_fini) struct strbuf body = STRBUF(FRAME_MOST);
    encode_tree(&body, media, T(meta_v1_Status), status);
    return event_frame(media, "ERROR", strbuf_str(&body));
}

/* --- the object --- */

static void mark_initial_end(struct arena *a, struct val *meta)
{
    val_set_str(a, val_need_map(a, meta, N(annotations)), S("k8s.io/initial-events-end"),
                val_str_borrowed(S("true")));
}

/* An object of the kind with nothing but its revision. */
static struct val bookmark_of(struct arena *a, const struct notice *n, bool partial)
{
    struct val v = val_map();
    val_set_text(a, &v, N(kind), partial ? S("PartialObjectMetadata") : n->kind->kind);
    val_set_text(a, &v, N(apiVersion), partial ? S("meta.k8s.io/v1") : n->kind->api_version);
    struct val *meta = val_set(a, &v, N(metadata), val_map());
    val_set_text(a, meta, N(resourceVersion), arena_fmt(a, "%lld", (long long)n->rev));
    if (n->initial_end)
        mark_initial_end(a, meta);
    return v;
}

/* The row of a bookmark: of an object of which only the revision is known. What says that the initial events are over
 * is in its object, which is there for that even where none was asked for. */
static void add_bookmark_row(struct arena *a, struct val *table, const struct notice *n, enum include include)
{
    struct val whole = bookmark_of(a, n, false);
    table_add_row(a, n->kind, table, &whole,
                  include == INCLUDE_OBJECT                    ? type_complete(a, kind_type(n->kind), &whole)
                  : include == INCLUDE_NONE && !n->initial_end ? VAL_NONE
                                                               : bookmark_of(a, n, true));
}

static void add_table(struct strbuf *b, struct arena *a, const struct notice *n, const struct negotiated *form,
                      enum include include, bool columns)
{
    struct val v = table_of(a, n->kind, n->obj ? &n->obj : NULL, n->obj ? 1 : 0, include, columns);
    struct val *meta = val_need_map(a, &v, N(metadata));
    val_set_text(a, meta, N(resourceVersion), arena_fmt(a, "%lld", (long long)(n->obj ? n->obj->rev : n->rev)));
    if (!n->obj)
        add_bookmark_row(a, &v, n, include);
    meta_version_set(a, &v, form->beta);
    type_encode_json(b, T(meta_v1_Table), &v);
}

static struct buf *frame_make(const struct notice *n, const struct negotiated *form, enum include include,
                              bool columns)
{
    AUTO(arena_fini) struct arena a = ARENA;
    AUTO(strbuf_fini) struct strbuf body = STRBUF(FRAME_MOST);
    const char *type = watch_type_names[n->type];
    bool partial = form->form == FORM_METADATA || form->form == FORM_METADATA_LIST;
    if (form->form == FORM_TABLE) {
        add_table(&body, &a, n, form, include, columns);
    } else if (n->obj && !partial && form->media == MEDIA_JSON) {
        AUTO(buf_unref) struct buf *json = obj_encoded(n->obj, ENC_JSON);
        return event_frame(form->media, type, buf_str(json));
    } else if (n->obj && !partial) {
        encode_obj(&body, form->media, n->obj);
    } else {
        /* of a bookmark what is no field of every object is not needed */
        const struct type *t = n->kind->custom ? n->kind->custom->named : n->kind->type;
        struct val v = n->obj ? metadata_of(&a, n->obj) : bookmark_of(&a, n, partial);
        meta_version_set(&a, &v, partial && form->beta);
        encode_tree(&body, form->media, partial ? T(meta_v1_PartialObjectMetadata) : t, &v);
    }
    return event_frame(form->media, type, strbuf_str(&body));
}

/* Where it is kept; NULL: only one watcher gets this one. A table is JSON in any media type. */
static struct buf **frame_slot(struct notice *n, const struct negotiated *form, enum include include, bool columns)
{
    if (form->beta)
        return NULL;
    switch (form->form) {
    case FORM_PLAIN: return &n->frames[form->media];
    case FORM_METADATA:
    case FORM_METADATA_LIST: return &n->frames[3 + form->media];
    case FORM_TABLE: return columns || form->media != MEDIA_JSON ? NULL : &n->frames[6 + include];
    case FORM_DISCOVERY: break;
    }
    return NULL;
}

struct buf *notice_frame(struct notice *n, const struct negotiated *form, enum include include, bool columns)
{
    struct buf **slot = frame_slot(n, form, include, columns), *have = NULL;
    if (slot && (have = __atomic_load_n(slot, __ATOMIC_ACQUIRE)))
        return buf_ref(have);
    struct buf *made = frame_make(n, form, include, columns);
    if (slot && __atomic_compare_exchange_n(slot, &have, made, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
        return buf_ref(made); /* the slot has the first */
    return made;              /* another thread was faster, or it is not kept */
}
