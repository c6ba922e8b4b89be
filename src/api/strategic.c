/* strategic.c - strategic merge patch: a merge patch that knows from the types which lists merge, and by which key.
 * Rules, order and messages of k8s.io/apimachinery/pkg/util/strategicpatch. */
#include "api/patch.h"

#define DEPTH_MAX 1000 /* no built-in type is nested deeper than a hundred levels */

static const struct str directive = S_INIT("$patch");
static const struct str retain_keys = S_INIT("$retainKeys");
static const struct str delete_prefix = S_INIT("$deleteFromPrimitiveList/");
static const struct str order_prefix = S_INIT("$setElementOrder/");

/* How one list is merged. */
struct merge {
    struct arena *a;
    struct err *err;
    int depth;
};

static bool is_directive(struct str name)
{
    return name.n > 0 && name.p[0] == '$' &&
           (str_eq(name, directive) || str_eq(name, retain_keys) || str_starts(name, delete_prefix) ||
            str_starts(name, order_prefix));
}

static const struct type *member_type(const struct type *t, const struct name *name, const struct field **field)
{
    *field = NULL;
    if (!t)
        return NULL;
    if (t->kind == TYPE_MAP)
        return t->of;
    *field = t->kind == TYPE_STRUCT ? type_field(t, name) : NULL;
    return *field ? (*field)->type : NULL;
}

/* What a patch value is where nothing stood: without directives and nulls. */
static struct val plain(struct arena *a, const struct val *v)
{
    if (val_is(v, VAL_MAP)) {
        struct val out = val_map();
        val_each_member (m, v) {
            if (m->v.type != VAL_NULL && !is_directive(m->name->s))
                val_set(a, &out, m->name, plain(a, &m->v));
        }
        return out;
    }
    if (val_is(v, VAL_LIST)) {
        struct val out = val_list();
        val_each_item (item, v) {
            if (!val_get_str(item, directive))
                val_add(a, &out, plain(a, item));
        }
        return out;
    }
    return val_copy(a, v);
}

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

static bool same_item(const struct val *x, const struct val *y, const struct name *key)
{
    return key ? val_get(x, key) && val_equal(val_get(x, key), val_get(y, key)) : val_equal(x, y);
}

static ptrdiff_t position(const struct val *list, const struct val *item, const struct name *key)
{
    for (size_t i = 0; i < val_len(list); i++)
        if (same_item(&list->list[i], item, key))
            return (ptrdiff_t)i;
    return -1;
}

/* Those of `list` in the order of `order`. */
static struct val sorted_by(struct arena *a, const struct val *list, const struct val *order, const struct name *key)
{
    struct val out = val_list();
    val_each_item (wanted, order) {
        ptrdiff_t i = position(list, wanted, key);
        if (i >= 0 && position(&out, wanted, key) < 0)
            val_add(a, &out, list->list[i]);
    }
    val_each_item (item, list)
        if (position(order, item, key) < 0)
            val_add(a, &out, *item);
    return out;
}

/* The elements that the patch names keep its order, those that only the server has keep theirs, and the two are
 * interleaved by what the server had. */
static struct val ordered(struct arena *a, const struct val *all, const struct val *patch_order,
                          const struct val *server_order, const struct name *key)
{
    struct val named = val_list(), rest = val_list(), out = val_list();
    val_each_item (item, all)
        val_add(a, position(patch_order, item, key) >= 0 ? &named : &rest, *item);
    named = sorted_by(a, &named, patch_order, key);
    rest = sorted_by(a, &rest, server_order, key);
    size_t i = 0, j = 0;
    while (i < rest.n || j < named.n) {
        bool left = j >= named.n;
        if (i < rest.n && j < named.n) {
            ptrdiff_t l = position(server_order, &rest.list[i], key), r = position(server_order, &named.list[j], key);
            left = l >= 0 && r >= 0 && l < r;
        }
        val_add(a, &out, left ? rest.list[i++] : named.list[j++]);
    }
    return out;
}

static bool merge_map(struct merge *m, const struct type *t, const struct val *original, const struct val *patch,
                      struct val *out);

static bool merge_scalars(struct merge *m, const struct val *original, const struct val *patch, struct val *out)
{
    struct val all = val_list();
    const struct val *const both[] = {original, patch};
    for (size_t i = 0; i < 2; i++)
        val_each_item (item, both[i])
            if (position(&all, item, NULL) < 0)
                val_add(m->a, &all, *item);
    *out = ordered(m->a, &all, patch, original, NULL);
    return true;
}

static bool merge_elements(struct merge *m, const struct type *t, const struct name *key, const struct val *original,
                           const struct val *patch, struct val *out)
{
    struct val all = val_list(), given = val_list();
    bool replace = false;
    val_each_item (item, original)
        val_add(m->a, &all, *item);
    val_each_item (item, patch) {
        if (!val_is(item, VAL_MAP))
            return err_set(m->err, E_INTERNAL, "list element types are not identical: an element is no map");
        const struct val *what = val_get_str(item, directive);
        if (!what) {
            val_add(m->a, &given, *item);
        } else if (str_eq(val_text(what), S("delete"))) {
            if (!val_get(item, key))
                return no_key(m, item, key);
            for (ptrdiff_t i; (i = position(&all, item, key)) >= 0;)
                val_del_item(&all, (size_t)i);
        } else if (str_eq(val_text(what), S("replace"))) {
            replace = true;
        } else if (str_eq(val_text(what), S("merge"))) {
            return err_set(m->err, E_INTERNAL, "merging lists cannot yet be specified in the patch");
        } else {
            return bad_directive(m, what, item);
        }
    }
    if (replace) {
        *out = plain(m->a, &given);
        return true;
    }
    val_each_item (item, &given) {
        if (!val_get(item, key))
            return no_key(m, item, key);
        ptrdiff_t i = position(&all, item, key);
        if (i < 0)
            val_add(m->a, &all, plain(m->a, item));
        else if (!merge_map(m, t->of, &all.list[i], item, &all.list[i]))
            return false;
    }
    *out = ordered(m->a, &all, &given, original, key);
    return true;
}

static bool merge_list(struct merge *m, const struct type *t, const struct field *f, const struct val *original,
                       const struct val *patch, struct val *out)
{
    if (!f || !(f->flags & FIELD_PATCH_MERGE)) {
        *out = val_copy(m->a, patch);
        return true;
    }
    if (val_len(original) == 0 && val_len(patch) == 0) {
        *out = val_list();
        return true;
    }
    const struct val *sample = val_len(patch) ? val_item(patch, 0) : val_item(original, 0);
    if (!val_is(sample, VAL_MAP))
        return merge_scalars(m, original, patch, out);
    if (!f->x->patch_key)
        return err_set(m->err, E_INTERNAL, "cannot merge lists without merge key for " STR_FMT, STR_ARG(f->name->s));
    return merge_elements(m, t, f->x->patch_key, original, patch, out);
}

static bool retain(struct merge *m, struct val *original, const struct val *patch)
{
    const struct val *keys = val_get_str(patch, retain_keys);
    if (!keys)
        return true;
    if (!val_is(keys, VAL_LIST))
        return err_set(m->err, E_BAD_REQUEST, "invalid patch format of retainKeys");
    val_each_member (p, patch) {
        struct val name = val_str_borrowed(p->name->s);
        if (p->v.type != VAL_NULL && !is_directive(p->name->s) && position(keys, &name, NULL) < 0)
            return err_set(m->err, E_BAD_REQUEST, "invalid patch format of retainKeys");
    }
    for (size_t i = 0; i < original->n;) {
        struct val name = val_str_borrowed(original->map[i].name->s);
        if (position(keys, &name, NULL) < 0)
            val_del(original, original->map[i].name);
        else
            i++;
    }
    return true;
}

/* The elements of the patch must come in the order that $setElementOrder gives. */
static bool check_order(struct merge *m, const struct val *patch, const struct val *order, const struct name *key)
{
    struct val given = val_list();
    val_each_item (item, patch) {
        if (!str_eq(val_text(val_get_str(item, directive)), S("delete")))
            val_add(m->a, &given, *item);
    }
    size_t i = 0;
    for (size_t j = 0; i < given.n && j < val_len(order); j++)
        i += same_item(&given.list[i], &order->list[j], key);
    if (val_len(order) == 0 || i >= given.n)
        return true;
    AUTO(strbuf_fini) struct strbuf b = STRBUF(800);
    strbuf_addz(&b, "The order in patch list:\n");
    val_go_text(&b, patch);
    strbuf_addz(&b, "\n doesn't match $setElementOrder list:\n");
    val_go_text(&b, order);
    strbuf_addz(&b, "\n");
    return err_set(m->err, E_INTERNAL, STR_FMT, STR_ARG(strbuf_str(&b)));
}

static bool bad_list(struct merge *m, struct str name)
{
    return err_set(m->err, E_INTERNAL, STR_FMT " takes a list", STR_ARG(name));
}

static bool order_list(struct merge *m, const struct type *t, struct val *result, const struct val *patch,
                       struct str key, const struct val *order)
{
    struct str field_name = str_sub(key, order_prefix.n, key.n);
    const struct val *original = val_get_str(result, field_name), *given = val_get_str(patch, field_name);
    const struct name *name = name_of(m->a, field_name);
    const struct field *f;
    const struct type *list = member_type(t, name, &f);
    struct val all;
    if (!val_is(order, VAL_LIST) || (original && !val_is(original, VAL_LIST)) || (given && !val_is(given, VAL_LIST)))
        return bad_list(m, key);
    if (!list || list->kind != TYPE_LIST)
        return err_set(m->err, E_INTERNAL, "unable to find api field in struct %s for the json field \"" STR_FMT "\"",
                       t ? t->name : "", STR_ARG(field_name));
    const struct name *merge_key = f ? f->x->patch_key : NULL;
    if (!check_order(m, given, order, merge_key))
        return false;
    if (!original && !given)
        return true;
    if (!given)
        all = *original;
    else if (!original)
        all = plain(m->a, given);
    else if (!merge_list(m, list, f, original, given, &all))
        return false;
    val_set(m->a, result, name, ordered(m->a, &all, order, original, merge_key));
    return true;
}

static bool merge_member(struct merge *m, const struct type *t, struct val *result, const struct member *p)
{
    const struct field *f;
    const struct type *type = member_type(t, p->name, &f);
    struct val *old = val_get_mut(result, p->name), value;
    if (!old) {
        val_set(m->a, result, p->name, plain(m->a, &p->v));
        return true;
    }
    if (val_is(old, VAL_MAP) && val_is(&p->v, VAL_MAP)) {
        if (f && (f->flags & FIELD_PATCH_REPLACE))
            value = plain(m->a, &p->v);
        else if (!merge_map(m, type, old, &p->v, &value))
            return false;
    } else if (val_is(old, VAL_LIST) && val_is(&p->v, VAL_LIST)) {
        if (!merge_list(m, type, f, old, &p->v, &value))
            return false;
    } else {
        value = val_copy(m->a, &p->v);
    }
    val_set(m->a, result, p->name, value);
    return true;
}

static bool merge_map(struct merge *m, const struct type *t, const struct val *original, const struct val *patch,
                      struct val *out)
{
    const struct val *what = val_get_str(patch, directive);
    if (what && str_eq(val_text(what), S("replace"))) {
        struct val own = val_map();
        val_each_member (p, patch)
            if (!str_eq(p->name->s, directive))
                val_set(m->a, &own, p->name, p->v);
        *out = plain(m->a, &own);
        return true;
    }
    if (what && str_eq(val_text(what), S("delete"))) {
        *out = val_map();
        return true;
    }
    if (what)
        return bad_directive(m, what, patch);
    if (++m->depth > DEPTH_MAX)
        return err_set(m->err, E_BAD_REQUEST, "a strategic merge patch may be %d levels deep", DEPTH_MAX);
    struct val result = val_map();
    val_each_member (o, original)
        val_set(m->a, &result, o->name, o->v);
    if (!retain(m, &result, patch))
        return false;
    val_each_member (p, patch) {
        if (str_starts(p->name->s, order_prefix) && !order_list(m, t, &result, patch, p->name->s, &p->v))
            return false;
    }
    val_each_member (p, patch) {
        struct str name = p->name->s;
        if (str_starts(name, delete_prefix)) {
            struct val *list = val_get_str_mut(&result, str_sub(name, delete_prefix.n, name.n));
            if (!val_is(&p->v, VAL_LIST))
                return bad_list(m, name);
            if (val_is(list, VAL_LIST)) {
                struct val left = val_list();
                val_each_item (item, list)
                    if (position(&p->v, item, NULL) < 0)
                        val_add(m->a, &left, *item);
                *list = left;
            }
            continue;
        }
        if (is_directive(name))
            continue;
        AUTO(strbuf_fini) struct strbuf order = STRBUF(1024);
        strbuf_addf(&order, STR_FMT STR_FMT, STR_ARG(order_prefix), STR_ARG(name));
        if (val_get_str(patch, strbuf_str(&order)))
            continue; /* done with its order */
        if (p->v.type == VAL_NULL)
            val_del(&result, p->name);
        else if (!merge_member(m, t, &result, p))
            return false;
    }
    m->depth--;
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
    struct val copy = val_copy(a, doc);
    return merge_map(&m, t, &copy, patch, out);
}

/* The patch of a client that applies: what `modified` says and `current` lacks, and what `original` had and
 * `modified` has no more. */

static struct val diff3(struct arena *a, const struct type *t, const struct val *original, const struct val *modified,
                        const struct val *current);

static void set_directive(struct arena *a, struct val *patch, struct str prefix, struct str name, struct val v)
{
    val_set_str(a, patch, arena_fmt(a, STR_FMT STR_FMT, STR_ARG(prefix), STR_ARG(name)), v);
}

static const struct val *element(const struct val *list, const struct val *like, const struct name *key)
{
    ptrdiff_t i = position(list, like, key);
    return i < 0 ? NULL : &list->list[i];
}

static struct val key_only(struct arena *a, const struct val *item, const struct name *key)
{
    struct val v = val_map();
    if (!key)
        return *item;
    if (val_get(item, key))
        val_set(a, &v, key, *val_get(item, key));
    return v;
}

static void diff_list(struct arena *a, const struct type *t, const struct field *f, const struct val *original,
                      const struct val *modified, const struct val *current, struct val *patch)
{
    const struct name *key = f->x->patch_key;
    struct val changes = val_list(), gone = val_list(), order = val_list();
    val_each_item (item, modified) {
        const struct val *now = element(current, item, key);
        val_add(a, &order, key_only(a, item, key));
        if (!now) {
            val_add(a, &changes, *item);
        } else if (key) {
            struct val below = diff3(a, t->of, element(original, item, key), item, now);
            if (below.n > 0) {
                val_set(a, &below, key, *val_get(item, key));
                val_add(a, &changes, below);
            }
        }
    }
    val_each_item (item, original) {
        if (element(modified, item, key) || !element(current, item, key))
            continue;
        struct val dead = key_only(a, item, key);
        if (key)
            val_set_str(a, &dead, directive, val_str_borrowed(S("delete")));
        val_add(a, key ? &changes : &gone, dead);
    }
    struct val now = ordered(a, current ? current : &order, &order, current, key);
    bool moved = false;
    for (size_t i = 0; current && i < now.n && i < current->n; i++)
        moved |= !same_item(&now.list[i], &current->list[i], key);
    if (changes.n + gone.n == 0 && !moved)
        return;
    set_directive(a, patch, order_prefix, f->name->s, order);
    if (changes.n > 0)
        val_set(a, patch, f->name, changes);
    if (gone.n > 0)
        set_directive(a, patch, delete_prefix, f->name->s, gone);
}

static struct val diff3(struct arena *a, const struct type *t, const struct val *original, const struct val *modified,
                        const struct val *current)
{
    struct val patch = val_map();
    val_each_member (m, modified) {
        const struct field *f;
        const struct type *type = member_type(t, m->name, &f);
        const struct val *now = val_get(current, m->name), *was = val_get(original, m->name);
        if (m->v.type == VAL_NULL)
            continue;
        if (val_is(&m->v, VAL_MAP) && val_is(now, VAL_MAP)) {
            struct val below = diff3(a, type, was, &m->v, now);
            if (below.n == 0)
                continue;
            if (f && (f->flags & FIELD_PATCH_RETAIN_KEYS)) {
                struct val keys = val_list();
                val_each_member (k, &m->v)
                    val_add(a, &keys, val_str_borrowed(k->name->s));
                val_set_str(a, &below, retain_keys, keys);
            }
            val_set(a, &patch, m->name, below);
        } else if (val_is(&m->v, VAL_LIST) && val_is(now, VAL_LIST) && f && (f->flags & FIELD_PATCH_MERGE)) {
            diff_list(a, type, f, was, &m->v, now, &patch);
        } else if (!now || !val_equal(&m->v, now)) {
            val_set(a, &patch, m->name, m->v);
        }
    }
    val_each_member (m, original) {
        if (!val_get(modified, m->name) && val_get(current, m->name))
            val_set(a, &patch, m->name, VAL_NONE);
    }
    return patch;
}

bool diff_strategic3(struct arena *a, const struct type *t, const struct val *original, const struct val *modified,
                     const struct val *current, struct val *out, struct err *err)
{
    if (!val_is(modified, VAL_MAP) || !val_is(current, VAL_MAP))
        return err_set(err, E_BAD_REQUEST, "an object is needed to compute a patch");
    *out = diff3(a, t, original, modified, current);
    return true;
}
