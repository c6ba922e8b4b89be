#include "server/definitions.h"
#include "api/codec.h"
#include "wire/gzip.h"

/* What we made, and of which version; while that is the version that it says itself, nobody has put another in its
 * place. */
#define MARK "wherry.dev/definition"

static const struct definitions_row rows[] = {
    {"gateway-standard", &definitions_gateway_standard, "gateway.networking.k8s.io/bundle-version"},
    {"gateway-experimental", &definitions_gateway_experimental, "gateway.networking.k8s.io/bundle-version"},
    {"certificates", &definitions_certificates, "app.kubernetes.io/version"},
};

const struct definitions_row *definitions_find(struct str name)
{
    for (size_t i = 0; i < countof(rows); i++)
        if (str_eqz(name, rows[i].name))
            return &rows[i];
    return NULL;
}

/* --- versions --- */

static bool version_read(struct str v, uint64_t out[4])
{
    struct str number, candidate;
    if (!str_starts(v, S("v")))
        return false;
    v = str_sub(v, 1, v.n);
    bool early = str_split(v, '-', &number, &candidate);
    if (!early)
        number = v;
    for (int i = 0; i < 3; i++) {
        struct str part;
        if (!str_cut(&number, '.', &part) || !str_to_u64(part, UINT32_MAX, &out[i]))
            return false;
    }
    ptrdiff_t dot = early ? str_rfind_char(candidate, '.') : -1;
    out[3] = UINT64_MAX;
    if (early && (dot < 0 || !str_to_u64(str_sub(candidate, (size_t)dot + 1, candidate.n), UINT32_MAX, &out[3])))
        out[3] = 0;
    return true;
}

int definition_version_cmp(struct str a, struct str b)
{
    uint64_t x[4] = {0}, y[4] = {0};
    bool ok_a = version_read(a, x), ok_b = version_read(b, y);
    if (!ok_a || !ok_b)
        return (int)ok_a - (int)ok_b;
    for (int i = 0; i < 4; i++)
        if (x[i] != y[i])
            return x[i] < y[i] ? -1 : 1;
    return 0;
}

/* --- what is there --- */

static struct str note_or_label(const struct obj *o, const char *key)
{
    struct str v = obj_note(o, key);
    return v.n ? v : val_text(val_get_str(obj_labels(o), str_of(key)));
}

enum definition_state definition_state(const struct definitions_row *row, const struct obj *have)
{
    struct str ours = str_of(row->all->version), name, version;
    if (!have)
        return DEFINITION_MISSING;
    struct str has = note_or_label(have, row->said_by);
    int cmp = definition_version_cmp(has, ours);
    bool marked = str_split(obj_note(have, MARK), ' ', &name, &version) && str_eq(version, has);
    if (!marked)
        return cmp < 0 ? DEFINITION_FOREIGN : DEFINITION_RIGHT;
    return cmp < 0 || (cmp == 0 && !str_eqz(name, row->name)) ? DEFINITION_OLD : DEFINITION_RIGHT;
}

/* --- what is to be there --- */

static struct str line_of(struct arena *a, const struct definitions *d, size_t i)
{
    AUTO(strbuf_fini) struct strbuf text = STRBUF(d->plain);
    ASSERT(inflate_add(&text, (struct str){(const char *)d->deflated, d->ndeflated}, d->plain));
    struct str rest = strbuf_str(&text), line = S("");
    for (size_t at = 0; at <= i; at++)
        ASSERT(str_cut(&rest, '\n', &line));
    return str_dup(a, line);
}

void definition_tree(struct arena *a, const struct definitions_row *row, size_t i, const struct obj *have,
                     struct val *tree, struct val *unmarked)
{
    const struct kind *k = K(CustomResourceDefinition);
    struct err err = ERR;
    struct val untyped, made;
    bool ok = json_decode(a, line_of(a, row->all, i), &untyped, &err) &&
              type_decode_val(a, k->type, &untyped, &made, NULL, &err);
    ASSERT(ok); /* it is ours: definitions_test.c reads each */
    if (have) {
        struct val rest = obj_tree_of_meta(a, have); /* what its spec was does not count */
        *tree = val_copy(a, &rest);
    } else {
        *tree = made;
    }
    struct val *meta = val_need_map(a, tree, N(metadata)), *notes = val_need_map(a, meta, N(annotations));
    if (have) {
        const struct val *published = val_get(val_get(&made, N(metadata)), N(annotations));
        val_each_member (m, published)
            val_set_str(a, notes, m->name->s, m->v);
        val_set(a, tree, N(spec), *val_get(&made, N(spec)));
        val_set_text(a, meta, N(resourceVersion), arena_fmt(a, "%lld", (long long)have->rev));
    }
    val_del_str(notes, S(MARK));
    val_set_text(a, tree, N(kind), k->kind);
    val_set_text(a, tree, N(apiVersion), k->api_version);
    *unmarked = val_copy(a, tree);
    notes = val_need_map(a, tree, N(metadata), N(annotations));
    val_set_str(a, notes, S(MARK), val_str_borrowed(arena_fmt(a, "%s %s", row->name, row->all->version)));
}
