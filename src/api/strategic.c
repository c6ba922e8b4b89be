/* strategic.c - strategic merge patch: a merge patch that knows from the types which lists merge, and by which key.
 * Rules, order and messages of k8s.io/apimachinery/pkg/util/strategicpatch. (The other direction, making one, is in
 * strategic_diff.c and uses the same functions.)
 *
 * Two maps are merged member by member (merge_member). null deletes; maps merge, lists merge or are replaced as the
 * field's patch strategy says, anything else is replaced. Directives change that: `$patch` in a map replaces or
 * deletes it, `$retainKeys` drops what it does not name, `$deleteFromPrimitiveList/f` takes scalars out of the list
 * f, and `$setElementOrder/f` gives its order. A list that has an order directive is merged together with it, before
 * all others, and then left alone (has_order).
 *
 * Lists of maps merge by their merge key. The key need not be unique in a list: the first element that has it is
 * merged, `$patch: delete` takes all, and the others stay. The result is brought into order (list_ordered): elements
 * that the patch names in the patch's order, the rest as the server had them, and the two interleaved by where the
 * server had them.
 *
 * `sends` is for the two halves of a patch that strategic_diff.c puts together: then directives and nulls are data
 * that must stay in the result.
 *
 * Costs. Upstream looks through lists and maps for each element; a patch of thousands of elements would take minutes
 * here too. So elements are found by hash (places.h), members of large maps by a map of places (struct target), what
 * goes is marked and swept out once, and lists are sorted by rank: n log n throughout. Depth is bounded, the number
 * of values by whoever decodes the body. The document and the patch are copied first, so the result may share their
 * parts.
 */
#include "api/strategic_int.h"
#include "base/map.h"

#define DEPTH_MAX 1000 /* no built-in type is nested deeper than a hundred levels */

const struct type *member_type(const struct type *t, const struct name *name, const struct field **field)
{
    *field = NULL;
    if (!t)
        return NULL;
    if (t->kind == TYPE_MAP)
        return t->of;
    *field = t->kind == TYPE_STRUCT ? type_field(t, name) : NULL;
    return *field ? (*field)->type : NULL;
}

bool element_deletes(const struct val *element)
{
    return str_eq(val_text(val_get_str(element, S_PATCH)), S("delete"));
}

/* --- what a patch holds, put where nothing stood */

static struct val without_nulls(struct arena *a, const struct val *v)
{
    struct val out = *v;
    if (val_is(v, VAL_MAP)) {
        out = val_map();
        val_each_member (m, v)
            if (m->v.type != VAL_NULL)
                val_append(a, &out, m->name, without_nulls(a, &m->v));
    } else if (val_is(v, VAL_LIST)) {
        out = val_list();
        val_each_item (item, v)
            val_add(a, &out, without_nulls(a, item));
    }
    return out;
}

/* Without the maps that say $patch. False: the value is one itself. */
static bool without_directives(struct arena *a, const struct val *v, struct val *out)
{
    struct val kept;
    *out = *v;
    if (val_is(v, VAL_MAP)) {
        if (val_get_str(v, S_PATCH))
            return false;
        *out = val_map();
        val_each_member (m, v)
            if (without_directives(a, &m->v, &kept))
                val_append(a, out, m->name, kept);
    } else if (val_is(v, VAL_LIST)) {
        *out = val_list();
        val_each_item (item, v)
            if (without_directives(a, item, &kept))
                val_add(a, out, kept);
    }
    return true;
}

/* A member that goes is marked and taken out at the end, all in one pass. */
#define GONE UINT8_MAX

static void val_drop(struct val *old)
{
    if (old)
        *old = (struct val){.type = GONE};
}

static void map_sweep(struct val *map)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < map->n; i++)
        if (map->map[i].v.type != GONE)
            map->map[n++] = map->map[i];
    if (n == map->n)
        return;
    map->n = n;
    val_members_moved(map);
}

/* The map that is being made, with its members by name where they are many. */
struct merge_target {
    struct val *map;
    struct map places; /* place + 1 */
    bool many;
};
#define FEW 64

static struct val *target_get(const struct merge_target *t, const struct name *name)
{
    if (!t->many)
        return val_get_mut(t->map, name);
    uintptr_t place = (uintptr_t)map_get(&t->places, name->s);
    return place ? &t->map->map[place - 1].v : NULL;
}

static void target_set(struct merge *m, struct merge_target *t, const struct name *name, struct val v)
{
    struct val *old = target_get(t, name);
    if (old) {
        *old = v;
        return;
    }
    val_append(m->a, t->map, name, v);
    if (t->many)
        (void)map_put(&t->places, name->s, (void *)(uintptr_t)t->map->n);
}

static void put_new(struct merge *m, struct merge_target *result, const struct member *p)
{
    struct val v = m->sends ? p->v : without_nulls(m->a, &p->v), kept;
    if (without_directives(m->a, &v, &kept))
        target_set(m, result, p->name, kept);
    else
        val_drop(target_get(result, p->name));
}

/* --- errors */

static bool bad_directive(struct merge *m, const struct val *value, const struct val *patch)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(800);
    strbuf_addz(&b, "unknown patch type: ");
    val_go_text(&b, value);
    strbuf_addz(&b, " in map: ");
    val_go_text(&b, patch);
    return err_set(m->err, E_INTERNAL, STR_FMT, STR_ARG(strbuf_str(&b)));
}

static bool no_key(struct merge *m, const struct val *element, const struct name *key)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(800);
    val_go_text(&b, element);
    return err_set(m->err, E_INTERNAL, "map: " STR_FMT " does not contain declared merge key: " STR_FMT,
                   STR_ARG(strbuf_str(&b)), STR_ARG(key->s));
}

static bool no_list(struct merge *m, const struct val *v)
{
    return err_set(m->err, E_INTERNAL, "expected a []interface {}, but received a %s",
                   val_is(v, VAL_MAP)      ? "map[string]interface {}"
                   : val_is(v, VAL_INT)    ? "int64"
                   : val_is(v, VAL_DOUBLE) ? "float64"
                   : val_is(v, VAL_NULL)   ? "<nil>"
                                           : val_json_name(v));
}

static bool lists_mixed(struct merge *m, const struct val *x, const struct val *y)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(800);
    strbuf_addc(&b, '[');
    val_go_text(&b, x ? x : &(struct val){.type = VAL_LIST});
    if (y) {
        strbuf_addc(&b, ' ');
        val_go_text(&b, y);
    }
    return err_set(m->err, E_INTERNAL, "list element types are not identical: " STR_FMT "]", STR_ARG(strbuf_str(&b)));
}

/* --- lists: their sort and order */

bool elements_sort(struct merge *m, const struct val *x, const struct val *y, enum element_sort *out)
{
    const struct val *const both[] = {x, y}, *first = NULL;
    *out = ELEMENTS_NONE;
    for (size_t i = 0; i < 2; i++)
        val_each_item (item, both[i]) {
            first = first ? first : item;
            if (item->type != first->type || item->type == VAL_NULL)
                return lists_mixed(m, x, y);
            if (item->type == VAL_LIST)
                return err_set(m->err, E_INVALID, "lists of lists are not supported");
            *out = item->type == VAL_MAP ? ELEMENTS_MAPS : ELEMENTS_SCALARS;
        }
    return true;
}

bool elements_keyed(struct merge *m, const struct val *list, const struct name *key)
{
    val_each_item (item, list) {
        if (!val_is(item, VAL_MAP))
            return err_set(m->err, E_INTERNAL, "expected a map[string]interface {}, but received a %s",
                           val_json_name(item));
        if (!key || !val_get(item, key))
            return key ? no_key(m, item, key) : err_set(m->err, E_INTERNAL, "a list of maps without a merge key");
    }
    return true;
}

struct ranked_item {
    ptrdiff_t rank;
    uint32_t at;
};

static int by_rank(const void *x, const void *y)
{
    const struct ranked_item *a = x, *b = y;
    return a->rank != b->rank ? (a->rank < b->rank ? -1 : 1) : a->at < b->at ? -1 : a->at > b->at;
}

bool list_sort(struct merge *m, const struct val *list, const struct places *order, bool maps, struct val *out)
{
    struct ranked_item *ranks = arena_alloc(m->a, (val_len(list) + 1) * sizeof *ranks);
    if (maps && !elements_keyed(m, list, order->key))
        return false;
    for (uint32_t i = 0; i < val_len(list); i++) {
        ptrdiff_t at = places_find(order, &list->list[i]);
        bool last = maps && element_deletes(&list->list[i]);
        ranks[i] = (struct ranked_item){last ? PTRDIFF_MAX : at < 0 ? PTRDIFF_MAX - 1 : at, i};
    }
    qsort(ranks, val_len(list), sizeof *ranks, by_rank);
    struct val sorted = val_list();
    for (uint32_t i = 0; i < val_len(list); i++)
        val_add(m->a, &sorted, list->list[ranks[i].at]);
    *out = sorted;
    return true;
}

/* The elements that the patch names come in its order, those that only the server has keep theirs, and the two are
 * interleaved by what the server had. */
static bool list_ordered(struct merge *m, const struct val *all, const struct val *patch_order,
                         const struct val *server_order, const struct name *key, bool maps, struct val *out)
{
    struct places wanted = places_of(m->a, patch_order, key), server = places_of(m->a, server_order, key);
    struct val named = val_list(), rest = val_list();
    if (maps && (!elements_keyed(m, all, key) || !elements_keyed(m, patch_order, key) ||
                 !elements_keyed(m, server_order, key)))
        return false;
    val_each_item (item, all)
        val_add(m->a, places_find(&wanted, item) >= 0 ? &named : &rest, *item);
    if (!list_sort(m, &named, &wanted, maps, &named) || !list_sort(m, &rest, &server, maps, &rest))
        return false;
    *out = val_list();
    for (size_t i = 0, j = 0; i < rest.n || j < named.n;) {
        bool left = j >= named.n;
        if (i < rest.n && j < named.n) {
            ptrdiff_t l = places_find(&server, &rest.list[i]), r = places_find(&server, &named.list[j]);
            left = l >= 0 && r >= 0 && l < r;
        }
        val_add(m->a, out, left ? rest.list[i++] : named.list[j++]);
    }
    return true;
}

/* --- merging two lists */

/* What merging made of two lists, before it is brought into order. */
struct merged {
    struct val all;   /* the original's elements that are left, merged; then those that are new */
    struct val patch; /* the patch's elements that say no $patch */
    uint32_t left;    /* how many of `all` are the original's */
    bool replaced;    /* the patch's elements alone */
    bool maps;
};

static void merge_scalars(struct merge *m, const struct val *original, const struct val *patch, struct merged *out)
{
    const struct val *const both[] = {original, patch};
    struct places seen = places_of(m->a, NULL, NULL);
    for (size_t i = 0; i < 2; i++) {
        val_each_item (item, both[i])
            if (places_find(&seen, item) < 0) {
                places_add(&seen, item);
                val_add(m->a, &out->all, *item);
            }
        if (i == 0)
            out->left = out->all.n;
    }
    out->patch = *patch;
}

/* Takes out what the patch deletes, and sorts out what it says of itself. */
static bool take_directives(struct merge *m, const struct name *key, const struct val *original,
                            const struct val *patch, struct merged *out)
{
    struct val dead = val_list();
    val_each_item (item, patch) {
        const struct val *what = val_get_str(item, S_PATCH);
        struct str word = val_text(what);
        if (!what)
            val_add(m->a, &out->patch, *item);
        else if (str_eq(word, S("replace")))
            out->replaced = true;
        else if (str_eq(word, S("merge")))
            return err_set(m->err, E_INTERNAL, "merging lists cannot yet be specified in the patch");
        else if (!str_eq(word, S("delete")))
            return bad_directive(m, what, item);
        else if (!val_get(item, key))
            return no_key(m, item, key);
        else
            val_add(m->a, &dead, *item);
    }
    struct places gone = places_of(m->a, &dead, key);
    val_each_item (item, original)
        if (places_find(&gone, item) < 0)
            val_add(m->a, &out->all, *item);
    out->left = out->all.n;
    return true;
}

static bool merge_elements(struct merge *m, const struct type *of, const struct name *key, const struct val *original,
                           const struct val *patch, struct merged *out)
{
    if (!take_directives(m, key, original, patch, out))
        return false;
    if (out->replaced) {
        out->all = out->patch;
        out->left = out->all.n;
        return elements_keyed(m, &out->all, key);
    }
    struct places places = places_of(m->a, &out->all, key);
    val_each_item (item, &out->patch) {
        if (!val_get(item, key))
            return no_key(m, item, key);
        ptrdiff_t i = places_find(&places, item);
        if (i < 0) {
            places_add(&places, item);
            val_add(m->a, &out->all, *item);
        } else if (!map_merge(m, of, &out->all.list[i], item, &out->all.list[i])) {
            return false;
        }
    }
    return true;
}

/* The field's lists are merged; false in *merges: the patch's replaces the other. */
static bool merge_lists(struct merge *m, const struct type *t, const struct field *f, const struct val *original,
                        const struct val *patch, struct merged *out)
{
    enum element_sort sort;
    *out = (struct merged){.all = val_list(), .patch = val_list()};
    if (!elements_sort(m, original, patch, &sort))
        return false;
    out->maps = sort == ELEMENTS_MAPS;
    if (!out->maps) {
        merge_scalars(m, original, patch, out);
        return true;
    }
    if (!f->x->patch_key)
        return err_set(m->err, E_INTERNAL, "cannot merge lists without merge key for %s", t->name);
    return merge_elements(m, t->of, f->x->patch_key, original, patch, out);
}

static bool merge_list(struct merge *m, const struct type *t, const struct field *f, const struct val *original,
                       const struct val *patch, struct val *out)
{
    struct merged both;
    if (!f || !(f->flags & FIELD_PATCH_MERGE)) {
        *out = *patch;
        return true;
    }
    if (!merge_lists(m, t, f, original, patch, &both))
        return false;
    if (both.replaced) {
        *out = both.all;
        return true;
    }
    struct val server = both.all;
    server.n = both.left;
    return list_ordered(m, &both.all, &both.patch, &server, f->x ? f->x->patch_key : NULL, both.maps, out);
}

/* --- directives beside lists */

static bool bad_format(struct merge *m, const char *of)
{
    return err_set(m->err, E_BAD_REQUEST, "invalid patch format of %s", of);
}

/* $retainKeys: what is not named goes. */
static bool keys_retain(struct merge *m, struct val *result, const struct val *patch)
{
    const struct val *keys = val_get_str(patch, S_RETAIN_KEYS);
    if (!keys)
        return true;
    if (m->sends) {
        const struct val *already = val_get_str(result, S_RETAIN_KEYS);
        if (already && !val_equal(already, keys))
            return err_set(m->err, E_INTERNAL, "both halves of a patch have $retainKeys, and not the same");
        val_set_str(m->a, result, S_RETAIN_KEYS, *keys);
        return true;
    }
    if (!val_is(keys, VAL_LIST))
        return bad_format(m, "retainKeys");
    struct places named = places_of(m->a, keys, NULL);
    val_each_member (p, patch) {
        struct val name = val_str_borrowed(p->name->s);
        if (p->v.type != VAL_NULL && !str_eq(p->name->s, S_RETAIN_KEYS) && !str_starts(p->name->s, S_DELETE_FROM) &&
            !str_starts(p->name->s, S_SET_ORDER) && places_find(&named, &name) < 0)
            return bad_format(m, "retainKeys");
    }
    struct val left = val_map();
    val_each_member (o, result) {
        struct val name = val_str_borrowed(o->name->s);
        if (places_find(&named, &name) >= 0)
            val_append(m->a, &left, o->name, o->v);
    }
    *result = left;
    return true;
}

/* "$setElementOrder/env" -> "env" */
static bool directive_field(struct str directive, struct str prefix, struct str *field)
{
    *field = str_sub(directive, prefix.n, directive.n);
    if (field->n < 1 || field->p[0] != '/')
        return false;
    *field = str_sub(*field, 1, field->n);
    return true;
}

/* The elements of the patch must come in the order that $setElementOrder gives. */
static bool check_order(struct merge *m, const struct val *patch, const struct val *order, const struct name *key)
{
    uint32_t i = 0, j = 0, n = (uint32_t)val_len(patch);
    if (val_len(order) == 0 || n == 0)
        return true;
    while (i < n && j < order->n) {
        const struct val *item = &patch->list[i];
        if (key && val_get_str(item, S_PATCH)) {
            i++;
            continue;
        }
        if (key && (!val_get(item, key) || !val_get(&order->list[j], key)))
            return no_key(m, val_get(item, key) ? &order->list[j] : item, key);
        i += key ? val_equal(val_get(item, key), val_get(&order->list[j], key)) : val_equal(item, &order->list[j]);
        j++;
    }
    while (i < n && key && element_deletes(&patch->list[i]))
        i++;
    if (i >= n)
        return true;
    AUTO(strbuf_fini) struct strbuf b = STRBUF(800);
    strbuf_addz(&b, "The order in patch list:\n");
    val_go_text(&b, patch);
    strbuf_addz(&b, "\n doesn't match $setElementOrder list:\n");
    val_go_text(&b, order);
    strbuf_addz(&b, "\n");
    return err_set(m->err, E_INTERNAL, STR_FMT, STR_ARG(strbuf_str(&b)));
}

/* $setElementOrder, with the list that it orders. */
static bool order_list(struct merge *m, const struct type *t, struct val *result, const struct val *patch,
                       const struct member *directive)
{
    const struct val *order = &directive->v;
    struct str field_name;
    if (m->sends) {
        const struct val *already = val_get(result, directive->name);
        if (already && !val_equal(already, order))
            return bad_format(m, "setElementOrder list");
        val_set(m->a, result, directive->name, *order);
    }
    if (!val_is(order, VAL_LIST))
        return no_list(m, order);
    if (!directive_field(directive->name->s, S_SET_ORDER, &field_name))
        return bad_format(m, "setElementOrder list");
    const struct val *original = val_get_str(result, field_name), *given = val_get_str(patch, field_name);
    const struct name *name = name_of(m->a, field_name);
    const struct field *f;
    const struct type *list = member_type(t, name, &f);
    if ((original && !val_is(original, VAL_LIST)) || (given && !val_is(given, VAL_LIST)))
        return no_list(m, original && !val_is(original, VAL_LIST) ? original : given);
    if (!f || list->kind != TYPE_LIST)
        return err_set(m->err, E_INTERNAL, "unable to find api field in struct %s for the json field \"" STR_FMT "\"",
                       t ? t->name : "", STR_ARG(field_name));
    const struct name *key = f->x ? f->x->patch_key : NULL;
    if (!check_order(m, given, order, key))
        return false;
    if (!original && !given)
        return true;
    struct val all = original ? *original : *given, server = original ? *original : val_list();
    enum element_sort sort;
    if (!original)
        without_directives(m->a, given, &all);
    if (!elements_sort(m, original, given, &sort))
        return false;
    if (sort == ELEMENTS_NONE)
        return err_set(m->err, E_INTERNAL, "no elements in any of the given slices");
    if (original && given && !(f->flags & FIELD_PATCH_MERGE)) {
        all = *given;
    } else if (original && given) {
        struct merged both;
        if (!merge_lists(m, list, f, original, given, &both))
            return false;
        all = both.all;
        if (both.maps && !both.replaced) {
            server = both.all; /* new elements stand for those that were deleted */
            server.n = server.n < original->n ? server.n : original->n;
        }
    }
    struct val sorted;
    if (!list_ordered(m, &all, order, &server, key, sort == ELEMENTS_MAPS, &sorted))
        return false;
    val_set(m->a, result, name, sorted);
    return true;
}

/* $deleteFromPrimitiveList */
static bool delete_from(struct merge *m, const struct type *t, struct val *result, const struct member *directive)
{
    struct str name;
    const struct field *f;
    if (m->sends) {
        val_set(m->a, result, directive->name, directive->v);
        return true;
    }
    if (!directive_field(directive->name->s, S_DELETE_FROM, &name))
        return bad_format(m, "primitive list");
    struct val *list = val_get_str_mut(result, name), merged;
    if (directive->v.type == VAL_NULL) {
        val_drop(list);
        return true;
    }
    if (!val_is(list, VAL_LIST) || !val_is(&directive->v, VAL_LIST))
        return true;
    const struct type *type = member_type(t, name_of(m->a, name), &f);
    enum element_sort sort;
    if (!elements_sort(m, list, &directive->v, &sort))
        return false;
    if (sort == ELEMENTS_SCALARS && f && (f->flags & FIELD_PATCH_MERGE)) {
        struct places dead = places_of(m->a, &directive->v, NULL);
        merged = val_list();
        val_each_item (item, list)
            if (places_find(&dead, item) < 0)
                val_add(m->a, &merged, *item);
    } else if (!merge_list(m, type, f, list, &directive->v, &merged)) {
        return false;
    }
    val_set_str(m->a, result, name, merged);
    return true;
}

/* --- merging two maps */

static bool merge_member(struct merge *m, const struct type *t, struct merge_target *result, const struct member *p)
{
    const struct field *f;
    const struct type *type = member_type(t, p->name, &f);
    struct val *old = target_get(result, p->name), value;
    if (p->v.type == VAL_NULL && m->sends) {
        target_set(m, result, p->name, VAL_NONE);
        return true;
    }
    if (p->v.type == VAL_NULL) {
        val_drop(old);
        return true;
    }
    if (!old || old->type != p->v.type) {
        put_new(m, result, p);
        return true;
    }
    if (val_is(old, VAL_MAP)) {
        if (f && (f->flags & FIELD_PATCH_REPLACE))
            value = p->v;
        else if (!map_merge(m, type, old, &p->v, &value))
            return false;
    } else if (val_is(old, VAL_LIST)) {
        if (!merge_list(m, type, f, old, &p->v, &value))
            return false;
    } else {
        value = p->v;
    }
    target_set(m, result, p->name, value);
    return true;
}

/* Whether the member was merged together with its $setElementOrder. */
static bool has_order(const struct val *patch, struct str name)
{
    AUTO(strbuf_fini) struct strbuf order = STRBUF(STRBUF_TEXT);
    strbuf_addf(&order, STR_FMT "/" STR_FMT, STR_ARG(S_SET_ORDER), STR_ARG(name));
    return val_get_str(patch, strbuf_str(&order)) != NULL;
}

static bool merge_members(struct merge *m, const struct type *t, const struct val *patch, struct val *result)
{
    bool orders = false;
    val_each_member (p, patch) {
        if (!str_starts(p->name->s, S_SET_ORDER))
            continue;
        orders = true;
        if (!order_list(m, t, result, patch, p))
            return false;
    }
    struct merge_target target = {.map = result, .places = MAP, .many = result->n + patch->n > FEW};
    for (uint32_t i = 0; target.many && i < result->n; i++)
        (void)map_put(&target.places, result->map[i].name->s, (void *)((uintptr_t)i + 1));
    bool ok = true;
    val_each_member (p, patch) {
        struct str name = p->name->s;
        const struct field *f;
        if (!ok)
            break;
        if (str_eq(name, S_RETAIN_KEYS) || str_starts(name, S_SET_ORDER) ||
            (orders && val_is(&p->v, VAL_LIST) && member_type(t, p->name, &f) && has_order(patch, name)))
            continue;
        ok = str_starts(name, S_DELETE_FROM) ? delete_from(m, t, result, p) : merge_member(m, t, &target, p);
    }
    map_fini(&target.places);
    return ok;
}

bool map_merge(struct merge *m, const struct type *t, const struct val *original, const struct val *patch,
               struct val *out)
{
    const struct val *what = val_get_str(patch, S_PATCH);
    struct val result = val_map();
    if (what && str_eq(val_text(what), S("replace"))) {
        val_each_member (p, patch)
            if (!str_eq(p->name->s, S_PATCH))
                val_append(m->a, &result, p->name, p->v);
        *out = result;
        return true;
    }
    if (what && !str_eq(val_text(what), S("delete")))
        return bad_directive(m, what, patch);
    if (!what) {
        if (++m->depth > DEPTH_MAX)
            return err_set(m->err, E_BAD_REQUEST, "a strategic merge patch may be %d levels deep", DEPTH_MAX);
        val_each_member (o, original)
            val_append(m->a, &result, o->name, o->v);
        if (!keys_retain(m, &result, patch) || !merge_members(m, t, patch, &result))
            return false;
        map_sweep(&result);
        m->depth--;
    }
    *out = result;
    return true;
}

bool patch_strategic(struct arena *a, const struct type *t, const struct val *doc, const struct val *patch,
                     struct val *out, struct err *err)
{
    struct merge m = {.a = a, .err = err};
    if (!val_is(patch, VAL_MAP))
        return err_set(err, E_BAD_REQUEST, "json: cannot unmarshal %s into Go value of type map[string]interface {}",
                       val_json_name(patch));
    struct val own = val_copy(a, patch), copy = val_copy(a, doc);
    return map_merge(&m, t, &copy, &own, out);
}
