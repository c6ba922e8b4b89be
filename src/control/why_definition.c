/* Why a definition is not established, or does not go: which name conflicts and with whom, and which of its objects
 * is held by what. */
#include "api/custom.h"
#include "control/why_int.h"

extern const struct controller crdfinalizer_controller;

/* The definition of the group that has the name, as one of a resource or of a kind; NULL: none. */
static const struct obj *name_owner(struct question *q, const struct obj *definition, struct str name,
                                    const char **field)
{
    static const struct name *const fields[] = {N(plural), N(singular), N(kind), N(listKind)};
    struct str group = val_text_at(obj_spec(definition), N(group));
    struct obj *o;
    for (struct objset_iter it = view_all(q->v, K(CustomResourceDefinition)); (o = objset_next(&it));) {
        const struct val *called = val_get(obj_status(o), N(acceptedNames));
        if (str_eq(o->name, definition->name) || !str_eq(val_text_at(obj_spec(o), N(group)), group))
            continue;
        for (size_t i = 0; i < countof(fields); i++)
            if (str_eq(val_text(val_get(called, fields[i])), name)) {
                *field = fields[i]->s.p;
                return o;
            }
        val_each_item (it_short, val_get(called, N(shortNames)))
            if (str_eq(val_text(it_short), name)) {
                *field = "shortNames";
                return o;
            }
    }
    return NULL;
}

/* The first name in the quotes of a condition's message: "wd" is already in use. */
static struct str name_quoted(struct str message)
{
    struct str before, rest, name;
    return str_split(message, '"', &before, &rest) && str_split(rest, '"', &name, &rest) ? name : S("");
}

static void why_names(struct question *q, const struct obj *definition, const struct val *condition,
                      struct finding *f)
{
    struct str name = name_quoted(val_text_at(condition, N(message)));
    const char *field = "";
    const struct obj *owner = name_owner(q, definition, name, &field);
    if (owner)
        why_found(q, f, "NameConflict",
                  "its name \"" STR_FMT "\" is taken: CustomResourceDefinition " STR_FMT " has it in spec.names.%s",
                  STR_ARG(name), STR_ARG(owner->name), field);
    else
        why_found(q, f, "NameConflict", "its name \"" STR_FMT "\" is taken by another kind of the group " STR_FMT,
                  STR_ARG(name), STR_ARG(val_text_at(obj_spec(definition), N(group))));
    why_way(q, f, "Choose another one: kubectl edit " STR_FMT "%s" STR_FMT, STR_ARG(why_target(q, definition)),
            owner ? "; or take away the other: kubectl delete crd " : "", STR_ARG(owner ? owner->name : S("")));
}

/* One of its objects that does not go by itself; NULL: none. */
static const struct obj *held_instance(struct question *q, const struct obj *definition)
{
    const struct kind_set *set = view_kinds(q->v);
    for (size_t i = nkinds; i < set->n; i++) {
        const struct kind *k = set->kinds[i];
        struct obj *o;
        if (!k->custom || !str_eq(k->custom->definition, definition->name) || !q->v->sets[k->id])
            continue;
        for (struct objset_iter it = view_all(q->v, k); (o = objset_next(&it));)
            if (val_len(val_get(obj_meta(o), N(finalizers))))
                return o;
    }
    return NULL;
}

static void why_goes(struct question *q, const struct obj *definition, struct finding *f)
{
    const struct obj *held = held_instance(q, definition);
    struct str left = why_plan(q, &crdfinalizer_controller, definition, S(""));
    if (!held) {
        (void)why_deletion(q, definition, f);
        return;
    }
    why_chain(q, f, "CustomResourceDefinition " STR_FMT ": deleted at " STR_FMT "%s" STR_FMT,
              STR_ARG(definition->name), STR_ARG(val_text_at(obj_meta(definition), N(deletionTimestamp))),
              left.n ? ": " : "", STR_ARG(left));
    struct str first = val_text(val_item(val_get(obj_meta(held), N(finalizers)), 0));
    why_found(q, f, "InstanceHeld", "its object " STR_FMT "%s" STR_FMT " waits for its finalizer " STR_FMT,
              STR_ARG(held->ns), held->ns.n ? "/" : "", STR_ARG(held->name), STR_ARG(first));
    why_way(q, f, "Whoever set it has to take it away; by hand: " STR_FMT, STR_ARG(why_unlock(q, held)));
}

/* --- conversion --- */

/* By what stands in the message. */
static const struct saying conversions[] = {
    {"connection refused", "WebhookRefuses", "nothing listens at its conversion webhook {where}, so {objects}",
     "See whether the webhook runs, and behind a Service whether pods are ready: {look}"},
    {"context deadline exceeded", "WebhookSilent",
     "its conversion webhook {where} does not answer within 30 seconds, so {objects}",
     "See the log of the webhook: {look}"},
    {"no route to host", "WebhookUnreachable", "no way leads to its conversion webhook {where}, so {objects}",
     "See the pods behind it: {look}"},
    {"not found", "WebhookServiceMissing", "the Service of its conversion webhook {where} is not there, so {objects}",
     "Install it again, or let the definition go without: kubectl edit {crd} (spec.conversion)"},
    {"no service port", "WebhookServicePort",
     "the Service of its conversion webhook {where} does not have the port that it names, so {objects}",
     "Name one that is there: kubectl edit {crd} (spec.conversion.webhook.clientConfig.service.port)"},
    {"gave HTTP response to HTTPS client", "WebhookWithoutTls",
     "its conversion webhook {where} speaks no TLS, which it must, so {objects}",
     "Give it a certificate and the port where it speaks TLS"},
    {"certificate", "WebhookCertificate",
     "the certificate of its conversion webhook {where} is not trusted, so {objects}: {quoted}",
     "spec.conversion.webhook.clientConfig.caBundle has to hold the CA that signed it: kubectl edit {crd}"},
    {"", "ConversionFails", "its conversion webhook {where} does not convert them, so {objects}: {quoted}",
     "See the log of the webhook: {look}"},
};

static void why_conversion(struct question *q, const struct obj *definition, struct str version, struct str message,
                           struct finding *f)
{
    const struct val *client = val_at(obj_spec(definition), N(conversion), N(webhook), N(clientConfig)),
                     *service = val_get(client, N(service));
    struct str space = val_text_at(service, N(namespace)), name = val_text_at(service, N(name)),
               url = val_text_at(client, N(url));
    why_chain(q, f, "CustomResourceDefinition " STR_FMT ": objects as " STR_FMT ": " STR_FMT,
              STR_ARG(definition->name), STR_ARG(version), STR_ARG(message));
    struct word words[] = {
        {"where", url.n ? url : arena_fmt(q->a, STR_FMT "/" STR_FMT, STR_ARG(space), STR_ARG(name))},
        {"objects", arena_fmt(q->a, "its objects cannot be had as " STR_FMT, STR_ARG(version))},
        {"look", url.n ? S("curl -k it from here")
                       : arena_fmt(q->a, "wherry why svc/" STR_FMT " -n " STR_FMT, STR_ARG(name), STR_ARG(space))},
        {"crd", why_target(q, definition)},
        {"quoted", why_quoted(q, message)}};
    why_saying(q, f, conversions, message, words, countof(words));
}

/* Whether all of its versions can be had. */
static bool definition_converts(struct question *q, const struct obj *definition, struct finding *f)
{
    if (!q->ask->shown || !str_eqz(val_text_at(obj_spec(definition), N(conversion), N(strategy)), "Webhook"))
        return true;
    val_each_item (it, val_get(obj_spec(definition), N(versions))) {
        if (!val_true(val_get(it, N(served))))
            continue;
        struct str version = val_text_at(it, N(name)), said = q->ask->shown(q->ask->arg, definition, version);
        if (said.n) {
            why_conversion(q, definition, version, said, f);
            return false;
        }
    }
    return true;
}

void why_definition(struct question *q, const struct obj *definition, struct finding *f)
{
    const struct val *status = obj_status(definition), *names_accepted = condition_get(status, "NamesAccepted");
    if (obj_deleting(definition)) {
        why_goes(q, definition, f);
        return;
    }
    if (names_accepted && !condition_is(status, "NamesAccepted", "True")) {
        why_names(q, definition, names_accepted, f);
        return;
    }
    if (!condition_is(status, "Established", "True")) {
        why_coming(q, f, "NotEstablished", "its names have not been looked at yet");
        why_way(q, f, "See the log of the server (/var/log/wherry.log)");
        return;
    }
    if (!definition_converts(q, definition, f))
        return;
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    val_each_item (it, val_get(obj_spec(definition), N(versions)))
        if (val_true(val_get(it, N(served))))
            strbuf_addf(&b, "%s" STR_FMT, b.n ? ", " : "", STR_ARG(val_text_at(it, N(name))));
    f->reason = b.n ? arena_fmt(q->a, "it is established and serves %s", b.p)
                    : S("it is established, and none of its versions is served");
}
