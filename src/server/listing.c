#include "server/listing.h"
#include "api/codec.h"
#include "server/request.h"
#include "wire/pb.h"
#include "wire/yaml.h"

enum { PIECE = 256 << 10, ENVELOPE_MOST = 1 << 20 };

void listing_meta(struct arena *a, struct val *v, const struct answer *ans)
{
    struct val *meta = val_need_map(a, v, N(metadata));
    if (ans->rev) /* what is measured has none */
        val_set_text(a, meta, N(resourceVersion), arena_fmt(a, "%lld", (long long)ans->rev));
    if (ans->continued.n)
        val_set_text(a, meta, N(continue), ans->continued);
    if (ans->remaining >= 0)
        val_set_num(a, meta, N(remainingItemCount), ans->remaining);
}

/* --- what stands around the items --- */

static struct str list_kind(const struct listing *l)
{
    return l->form == FORM_METADATA_LIST ? S("PartialObjectMetadataList") : l->kind->list_kind;
}

static struct str list_version(const struct listing *l)
{
    return l->form == FORM_METADATA_LIST ? meta_version(l->beta) : l->kind->api_version;
}

/* The list without its items, as JSON. */
static void add_envelope(struct listing *l, struct strbuf *b)
{
    struct arena *a = l->arena;
    struct val v = val_map();
    if (l->form == FORM_TABLE) {
        v = table_of(a, l->kind, NULL, 0, l->include, true);
        listing_meta(a, &v, l->answer);
        meta_version_set(a, &v, l->beta);
        type_encode_json(b, T(meta_v1_Table), &v);
        return;
    }
    listing_meta(a, &v, l->answer);
    if (l->kind->custom && l->form == FORM_PLAIN &&
        !l->answer->continued.n) /* upstream's untyped lists always have it */
        val_set_text(a, val_need_map(a, &v, N(metadata)), N(continue), S(""));
    strbuf_addf(b, "{\"kind\":\"" STR_FMT "\",\"apiVersion\":\"" STR_FMT "\",\"metadata\":", STR_ARG(list_kind(l)),
                STR_ARG(list_version(l)));
    json_encode(b, val_get(&v, N(metadata)));
    /* upstream makes the items of the one by appending, of the other at once */
    strbuf_addf(b, ",\"items\":%s}", l->form == FORM_METADATA_LIST && !l->answer->n ? "null" : "[]");
}

/* Cut where the items go: at its list of none, which no text inside of it looks like. */
static void envelope_begin(struct listing *l)
{
    struct arena *a = l->arena;
    AUTO(strbuf_fini) struct strbuf json = STRBUF(ENVELOPE_MOST), yaml = STRBUF(ENVELOPE_MOST);
    bool table = l->form == FORM_TABLE, is_yaml = l->media == MEDIA_YAML;
    struct str name = table ? S("rows") : S("items"), none = table ? S("null") : S("[]");
    add_envelope(l, &json);
    strbuf_addc(&json, '\n');
    if (is_yaml)
        yaml_add(&yaml, strbuf_str(&json));
    struct str whole = str_dup(a, strbuf_str(is_yaml ? &yaml : &json));
    l->head = whole;
    if (!l->answer->n)
        return;
    struct str hole = arena_fmt(a, is_yaml ? "\n" STR_FMT ": " STR_FMT "\n" : "\"" STR_FMT "\":" STR_FMT,
                                STR_ARG(name), STR_ARG(none));
    ptrdiff_t at = str_find(whole, hole);
    ASSERT(at >= 0);
    l->head = arena_fmt(a, STR_FMT "%s" STR_FMT "%s", STR_ARG(str_sub(whole, 0, (size_t)at)), is_yaml ? "\n" : "\"",
                        STR_ARG(name), is_yaml ? ":\n" : "\":[");
    l->tail = arena_fmt(a, "%s" STR_FMT, is_yaml ? "" : "]", STR_ARG(str_sub(whole, (size_t)at + hole.n, whole.n)));
}

/* --- the items --- */

/* Whether the encodings are worth keeping for who asks next: not of a list that takes most of the room for them. */
static bool is_large(const struct answer *ans)
{
    size_t bytes = 0, most = obj_encoded_room() / 4 * 3;
    for (size_t i = 0; i < ans->n && bytes <= most; i++)
        bytes += ans->items[i]->bytes;
    return bytes > most;
}

static struct buf *object_encoded(const struct listing *l, struct obj *o, enum encoding enc)
{
    return l->large ? obj_encoded_once(o, enc) : obj_encoded(o, enc);
}

/* An object inside a list has no kind and apiVersion of its own. */
static void add_plain(const struct listing *l, struct strbuf *b, struct obj *o)
{
    AUTO(buf_unref) struct buf *json = object_encoded(l, o, ENC_JSON);
    struct str text = buf_str(json);
    char head[300];
    int n = snprintf(head, sizeof head, "{\"kind\":\"" STR_FMT "\",\"apiVersion\":\"" STR_FMT "\"",
                     STR_ARG(o->kind->kind), STR_ARG(o->kind->api_version));
    struct str prefix = {head, (size_t)n};
    if (!str_starts(text, prefix)) {
        strbuf_add(b, text);
        return;
    }
    text = str_sub(text, prefix.n, text.n);
    strbuf_addc(b, '{');
    strbuf_add(b, text.n && text.p[0] == ',' ? str_sub(text, 1, text.n) : text);
}

static void add_json(const struct listing *l, struct strbuf *b, struct obj *o)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct val v;
    if (l->form == FORM_TABLE) {
        v = table_of(&a, l->kind, &o, 1, l->include, false);
        meta_version_set(&a, &v, l->beta);
        type_encode_json(b, T(meta_v1_TableRow), &val_get(&v, N(rows))->list[0]);
    } else if (l->form == FORM_METADATA_LIST) {
        v = metadata_of(&a, o);
        meta_version_set(&a, &v, l->beta);
        type_encode_json(b, T(meta_v1_PartialObjectMetadata), &v);
    } else {
        add_plain(l, b, o);
    }
}

static void add_text(struct listing *l, struct strbuf *b, struct obj *o)
{
    if (l->media == MEDIA_JSON) {
        if (l->next)
            strbuf_addc(b, ',');
        add_json(l, b, o);
        return;
    }
    AUTO(strbuf_fini) struct strbuf one = STRBUF(b->max);
    strbuf_addc(&one, '[');
    add_json(l, &one, o);
    strbuf_addc(&one, ']');
    yaml_add(b, strbuf_str(&one));
}

static bool text_more(struct listing *l, struct strbuf *b)
{
    const struct answer *ans = l->answer;
    if (!l->begun) {
        l->large = is_large(ans);
        envelope_begin(l);
        strbuf_add(b, l->head);
        l->begun = true;
    }
    for (; l->next < ans->n && b->n < PIECE; l->next++)
        add_text(l, b, ans->items[l->next]);
    if (l->next < ans->n)
        return true;
    strbuf_add(b, l->tail);
    return false;
}

/* --- protobuf, where what is long says first how long it is --- */

static void add_pb(const struct listing *l, struct strbuf *b, struct obj *o, bool once_more)
{
    if (l->form == FORM_METADATA_LIST) {
        AUTO(arena_fini) struct arena a = ARENA;
        AUTO(strbuf_fini) struct strbuf item = STRBUF(b->max);
        struct val v = metadata_of(&a, o);
        type_encode_pb(&item, T(meta_v1_PartialObjectMetadata), &v);
        pb_add_bytes(b, 2, strbuf_str(&item));
        return;
    }
    if (once_more) { /* it is not asked for twice, which would keep its encoding */
        size_t at = pb_open(b, 2);
        obj_encode(o, ENC_PROTOBUF, b);
        pb_close(b, at);
        return;
    }
    AUTO(buf_unref) struct buf *item = object_encoded(l, o, ENC_PROTOBUF);
    pb_add_bytes(b, 2, buf_str(item));
}

static void begin_pb(struct listing *l)
{
    struct val v = val_map();
    AUTO(strbuf_fini) struct strbuf meta = STRBUF(STRBUF_TEXT), field = STRBUF(STRBUF_TEXT);
    listing_meta(l->arena, &v, l->answer);
    type_encode_pb(&meta, T(meta_v1_ListMeta), val_get(&v, N(metadata)));
    pb_add_bytes(&field, 1, strbuf_str(&meta));
    l->head = str_dup(l->arena, strbuf_str(&field));
    l->length = l->head.n;
    l->begun = true;
}

/* First all of them are encoded for their length alone, then again; but what fits into one piece only once. */
static bool pb_more(struct listing *l, struct strbuf *b)
{
    const struct answer *ans = l->answer;
    AUTO(strbuf_fini) struct strbuf items = STRBUF(b->max);
    bool first = !l->begun;
    if (first) {
        l->large = is_large(ans);
        begin_pb(l);
    }
    for (; l->next < ans->n && items.n < PIECE; l->next++)
        add_pb(l, &items, ans->items[l->next], !first && !l->measured);
    if (!l->measured)
        l->length += items.n;
    bool last = l->next == ans->n;
    if (!l->measured && last) {
        l->measured = true;
        pb_wrap_begin(b, list_version(l), list_kind(l), l->length);
        strbuf_add(b, l->head);
        if (!first) {
            l->next = 0;
            return true;
        }
    }
    if (!l->measured)
        return true;
    strbuf_add(b, strbuf_str(&items));
    if (last)
        pb_wrap_end(b);
    return !last;
}

bool listing_more(struct listing *l, struct strbuf *b)
{
    return l->media == MEDIA_PROTOBUF ? pb_more(l, b) : text_more(l, b);
}
