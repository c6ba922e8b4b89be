#include "cli/pods.h"
#include "cli/fields.h"
#include "cli/output.h"

static const char *const lists[] = {"containers", "initContainers", "ephemeralContainers"};

static bool runs_before(const struct val *a, const struct val *b)
{
    bool ra = str_eqz(field_text(a, "status.phase"), "Running"),
         rb = str_eqz(field_text(b, "status.phase"), "Running");
    bool da = field_text(a, "metadata.deletionTimestamp").n > 0,
         db = field_text(b, "metadata.deletionTimestamp").n > 0;
    if (ra != rb)
        return ra;
    if (da != db)
        return db;
    return str_cmp(field_text(a, "metadata.creationTimestamp"), field_text(b, "metadata.creationTimestamp")) < 0;
}

bool pods_selected(struct client *c, struct str selector, struct val *list, struct err *err)
{
    AUTO(strbuf_fini) struct strbuf query = STRBUF(STRBUF_TEXT);
    query_put(&query, "labelSelector", selector);
    struct val v;
    struct ask q = {.path = arena_fmt(&c->arena, "/api/v1/namespaces/" STR_FMT "/pods", STR_ARG(c->ns)),
                    .query = strbuf_str(&query)};
    if (!client_ask(c, &q, &v, err))
        return false;
    *list = val_list();
    val_each_item (it, field_at(&v, "items"))
        val_add(&c->arena, list, *it);
    for (size_t i = 1; i < list->n; i++)
        for (size_t k = i; k > 0 && runs_before(&list->list[k], &list->list[k - 1]); k--) {
            struct val swap = list->list[k];
            list->list[k] = list->list[k - 1];
            list->list[k - 1] = swap;
        }
    return true;
}

static void term_add(struct strbuf *b, struct str key, const char *op, struct str value)
{
    strbuf_addf(b, "%s" STR_FMT "%s" STR_FMT, b->n ? "," : "", STR_ARG(key), op, STR_ARG(value));
}

/* The text of spec.selector: a LabelSelector, or a plain map (Service). */
static void selector_of_object(const struct val *object, struct strbuf *b)
{
    const struct val *s = field_at(object, "spec.selector");
    const struct val *labels = field_at(s, "matchLabels"), *terms = field_at(s, "matchExpressions");
    if (!labels && !terms)
        labels = s;
    val_each_member (it, labels)
        term_add(b, it->name->s, "=", val_text(&it->v));
    val_each_item (it, terms) {
        struct str op = field_text(it, "operator"), key = field_text(it, "key");
        if (str_eqz(op, "Exists"))
            term_add(b, key, "", S(""));
        else if (str_eqz(op, "DoesNotExist"))
            strbuf_addf(b, "%s!" STR_FMT, b->n ? "," : "", STR_ARG(key));
        else {
            term_add(b, key, str_eqz(op, "In") ? " in (" : " notin (", S(""));
            for (size_t i = 0; i < val_len(field_at(it, "values")); i++)
                strbuf_addf(b, "%s" STR_FMT, i ? "," : "", STR_ARG(val_text(val_item(field_at(it, "values"), i))));
            strbuf_addc(b, ')');
        }
    }
}

bool pods_of(struct client *c, struct str word, struct val *list, struct err *err)
{
    struct str kind, name;
    const struct resource *r;
    struct val object;
    if (!str_split(word, '/', &kind, &name)) {
        name = word;
        kind = S("pods");
    }
    if (!resource_find(c, kind, &r, err) ||
        !client_ask(c, &(struct ask){.path = resource_path(&c->arena, r, target_ns(c, r), name, S(""))}, &object,
                    err))
        return false;
    if (str_eqz(r->plural, "pods")) {
        *list = val_list();
        val_add(&c->arena, list, object);
        return true;
    }
    AUTO(strbuf_fini) struct strbuf selector = STRBUF(STRBUF_TEXT);
    selector_of_object(&object, &selector);
    if (!selector.n)
        return err_set(err, E_INVALID, STR_FMT ": has no selector, so no pods are its own; name a pod%s",
                       STR_ARG(word), str_eqz(r->plural, "cronjobs") ? ", or one of its jobs: wherry get jobs" : "");
    if (!pods_selected(c, strbuf_str(&selector), list, err))
        return false;
    return val_len(list) || err_set(err, E_NOT_FOUND, STR_FMT ": has no pods (" STR_FMT ")", STR_ARG(word),
                                    STR_ARG(strbuf_str(&selector)));
}

bool container_of_pod(struct client *c, const struct val *pod, struct str named, struct str *out, struct err *err)
{
    AUTO(strbuf_fini) struct strbuf known = STRBUF(STRBUF_TEXT);
    const struct val *spec = field_at(pod, "spec");
    struct str meant = val_text(
        val_get_str(field_at(pod, "metadata.annotations"), S("kubectl.kubernetes.io/default-container")));
    *out = named.n ? named : meant;
    bool there = false;
    for (size_t i = 0; i < countof(lists); i++)
        val_each_item (it, field_at(spec, lists[i])) {
            struct str name = field_text(it, "name");
            strbuf_addf(&known, "%s" STR_FMT, known.n ? ", " : "", STR_ARG(name));
            there |= str_eq(name, *out);
        }
    if (out->n && !there)
        return err_set(err, E_NOT_FOUND, "pod " STR_FMT " has no container \"" STR_FMT "\"; it has " STR_FMT,
                       STR_ARG(field_text(pod, "metadata.name")), STR_ARG(*out), STR_ARG(strbuf_str(&known)));
    if (out->n)
        return true;
    *out = field_text(val_item(field_at(spec, "containers"), 0), "name");
    if (val_len(field_at(spec, "containers")) > 1)
        output_show(stderr, "Defaulted container \"" STR_FMT "\" out of: " STR_FMT "\n", STR_ARG(*out),
                    STR_ARG(str_dup(&c->arena, strbuf_str(&known))));
    return true;
}
