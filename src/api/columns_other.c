/* columns_other.c - the cells of nodes, volumes, events, and of kinds that have one or two of their own. */
#include "api/columns_int.h"
#include "api/quantity.h"
#include "base/clock.h"

/* Nodes. */

struct val cell_node_status(SOURCE)
{
    struct str ready = TEXT(condition_val(s->v, "Ready"), status);
    (void)path;
    const char *word = !condition_val(s->v, "Ready") ? "Unknown" : str_eq(ready, S("True")) ? "Ready" : "NotReady";
    return cell_of(s, arena_fmt(s->a, "%s%s", word,
                                val_true(val_at(s->v, N(spec), N(unschedulable))) ? ",SchedulingDisabled" : ""));
}
struct val cell_node_roles(SOURCE)
{
    const struct val *all = val_at(s->v, N(metadata), N(labels));
    struct str *texts = arena_alloc(s->a, (val_len(all) + 1) * sizeof *texts), prefix = S("node-role.kubernetes.io/");
    size_t n = 0;
    (void)path;
    val_each_member (m, all) {
        if (str_starts(m->name->s, prefix) && m->name->s.n > prefix.n)
            texts[n++] = str_sub(m->name->s, prefix.n, m->name->s.n);
        else if (str_eq(m->name->s, S("kubernetes.io/role")) && val_text(&m->v).n)
            texts[n++] = val_text(&m->v);
    }
    return cell_of(s, n ? texts_join(s->a, texts, n, ",", true) : S("<none>"));
}
struct val cell_node_address(SOURCE)
{
    struct str address = TEXT(val_find(val_at(s->v, N(status), N(addresses)), N(type), str_of(path)), address);
    return cell_of(s, address.n ? address : S("<none>"));
}
struct val cell_node_kernel(SOURCE)
{
    const struct val *info = val_at(s->v, N(status), N(nodeInfo));
    struct str kernel = TEXT(info, kernelVersion), arch = TEXT(info, architecture);
    (void)path;
    if (kernel.n && arch.n)
        kernel = arena_fmt(s->a, STR_FMT " (" STR_FMT ")", STR_ARG(kernel), STR_ARG(arch));
    return cell_of(s, kernel.n ? kernel : S("<unknown>"));
}

/* Volumes. */

struct val cell_phase(SOURCE)
{
    (void)path;
    return cell_of(s, val_at(s->v, N(metadata), N(deletionTimestamp)) ? S("Terminating")
                                                                      : val_text_at(s->v, N(status), N(phase)));
}
static struct str modes_of(const struct column_source *s, const struct val *list)
{
    static const struct {
        struct str mode;
        const char *text;
    } rows[] = {{S_INIT("ReadWriteOnce"), "RWO"},
                {S_INIT("ReadOnlyMany"), "ROX"},
                {S_INIT("ReadWriteMany"), "RWX"},
                {S_INIT("ReadWriteOncePod"), "RWOP"}};
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    for (size_t i = 0; i < countof(rows); i++)
        val_each_item (mode, list)
            if (str_eq(val_text(mode), rows[i].mode)) {
                strbuf_addf(&b, "%s%s", b.n ? "," : "", rows[i].text);
                break;
            }
    return str_dup(s->a, strbuf_str(&b));
}
struct val cell_modes(SOURCE)
{
    return cell_of(s, modes_of(s, column_value(s->v, path)));
}
struct val cell_pvc_capacity(SOURCE)
{
    (void)path;
    return cell_of(s, val_text_at(s->v, N(spec), N(volumeName)).n
                          ? val_text(column_value(s->v, "status.capacity.storage"))
                          : S(""));
}
struct val cell_pvc_modes(SOURCE)
{
    (void)path;
    return cell_of(s, val_text_at(s->v, N(spec), N(volumeName)).n
                          ? modes_of(s, val_at(s->v, N(status), N(accessModes)))
                          : S(""));
}
struct val cell_pv_claim(SOURCE)
{
    const struct val *ref = val_at(s->v, N(spec), N(claimRef));
    (void)path;
    return cell_of(s,
                   ref ? arena_fmt(s->a, STR_FMT "/" STR_FMT, STR_ARG(TEXT(ref, namespace)), STR_ARG(TEXT(ref, name)))
                       : S(""));
}
struct val cell_storage_class(SOURCE)
{
    const struct val *old = val_get_str(val_at(s->v, N(metadata), N(annotations)),
                                        S("volume.beta.kubernetes.io/storage-class"));
    (void)path;
    return cell_of(s, old ? val_text(old) : val_text_at(s->v, N(spec), N(storageClassName)));
}
struct val cell_configmap_data(SOURCE)
{
    (void)path;
    return val_int((int64_t)(val_len(V(s->v, data)) + val_len(V(s->v, binaryData))));
}
struct val cell_storageclass_name(SOURCE)
{
    (void)path;
    return cell_marked_default(s, "storageclass.kubernetes.io/is-default-class",
                               "storageclass.beta.kubernetes.io/is-default-class");
}

/* Events, in either group's form. */
static const struct val *val_either(const struct val *v, const struct name *one, const struct name *other)
{
    const struct val *found = val_get(v, one);
    return found ? found : val_get(v, other);
}
static struct str event_first(const struct column_source *s)
{
    const struct val *t = val_either(s->v, N(firstTimestamp), N(deprecatedFirstTimestamp));
    return age_shown(s, val_text(t).n ? t : V(s->v, eventTime));
}
struct val cell_event_first_seen(SOURCE)
{
    (void)path;
    return cell_of(s, event_first(s));
}
struct val cell_event_last_seen(SOURCE)
{
    const struct val *series = val_at(s->v, N(series), N(lastObservedTime));
    const struct val *last = val_either(s->v, N(lastTimestamp), N(deprecatedLastTimestamp));
    (void)path;
    return cell_of(s, series ? age_shown(s, series) : val_text(last).n ? age_shown(s, last) : event_first(s));
}
struct val cell_event_object(SOURCE)
{
    const struct val *o = val_either(s->v, N(involvedObject), N(regarding));
    char *kind = arena_strz(s->a, TEXT(o, kind));
    (void)path;
    for (char *p = kind; *p; p++)
        *p = *p >= 'A' && *p <= 'Z' ? (char)(*p + 32) : *p;
    return cell_of(s, arena_fmt(s->a, "%s%s" STR_FMT, kind, TEXT(o, name).n ? "/" : "", STR_ARG(TEXT(o, name))));
}
struct val cell_event_subobject(SOURCE)
{
    (void)path;
    return cell_of(s, TEXT(val_either(s->v, N(involvedObject), N(regarding)), fieldPath));
}
struct val cell_event_source(SOURCE)
{
    const struct val *source = val_either(s->v, N(source), N(deprecatedSource));
    struct str component = TEXT(source, component), host = TEXT(source, host);
    (void)path;
    if (!component.n)
        component = val_text(val_either(s->v, N(reportingComponent), N(reportingController)));
    if (!host.n)
        host = TEXT(s->v, reportingInstance);
    return cell_of(s, arena_fmt(s->a, STR_FMT "%s" STR_FMT, STR_ARG(component), host.n ? ", " : "", STR_ARG(host)));
}
struct val cell_event_message(SOURCE)
{
    (void)path;
    return cell_of(s, str_trim(val_text(val_either(s->v, N(message), N(note)))));
}
struct val cell_event_count(SOURCE)
{
    const struct val *series = V(s->v, series), *n = val_either(s->v, N(count), N(deprecatedCount));
    int64_t times = series ? NUM(series, count) : val_num(n, 0);
    (void)path;
    return val_int(times || series ? times : 1);
}

/* The rest. */

struct val cell_role(SOURCE)
{
    const struct val *ref = V(s->v, roleRef);
    (void)path;
    return cell_of(s, arena_fmt(s->a, STR_FMT "/" STR_FMT, STR_ARG(TEXT(ref, kind)), STR_ARG(TEXT(ref, name))));
}
struct val cell_subjects(SOURCE)
{
    const struct val *all = V(s->v, subjects);
    struct str *texts = arena_alloc(s->a, (val_len(all) + 1) * sizeof *texts);
    size_t n = 0;
    val_each_item (subject, all)
        if (str_eqz(TEXT(subject, kind), path))
            texts[n++] = str_eqz(TEXT(subject, kind), "ServiceAccount")
                             ? arena_fmt(s->a, STR_FMT "/" STR_FMT, STR_ARG(TEXT(subject, namespace)),
                                         STR_ARG(TEXT(subject, name)))
                             : TEXT(subject, name);
    return cell_of(s, texts_join(s->a, texts, n, ", ", false));
}
/* What the containers of a pod use together. */
struct val cell_usage(SOURCE)
{
    struct str sum = S("0");
    val_each_item (c, val_get(s->v, N(containers)))
        sum = quantity_add(s->a, sum, val_text(val_get_str(V(c, usage), str_of(path))));
    return cell_of(s, sum);
}
struct val cell_quota(SOURCE)
{
    const struct val *hard = val_at(s->v, N(status), N(hard)), *used = val_at(s->v, N(status), N(used));
    struct str *texts = arena_alloc(s->a, (val_len(hard) + 1) * sizeof *texts);
    bool limits = str_eqz(S("limits"), path);
    size_t n = 0;
    val_each_member (m, hard) {
        if (str_starts(m->name->s, S("limits.")) != limits)
            continue;
        struct str have = val_text(val_get(used, m->name));
        texts[n++] = arena_fmt(s->a, STR_FMT ": " STR_FMT "/" STR_FMT, STR_ARG(m->name->s),
                               STR_ARG(have.n ? have : S("0")), STR_ARG(val_text(&m->v)));
    }
    return cell_of(s, texts_join(s->a, texts, n, ", ", true));
}
struct val cell_csr_condition(SOURCE)
{
    bool approved = condition_val(s->v, "Approved"), denied = condition_val(s->v, "Denied");
    (void)path;
    return cell_of(
        s, arena_fmt(s->a, "%s%s%s",
                     denied     ? "Denied"
                     : approved ? "Approved"
                                : "Pending",
                     condition_val(s->v, "Failed") ? ",Failed" : "",
                     val_len(val_at(s->v, N(status), N(certificate))) ||
                             (val_at(s->v, N(status), N(certificate)) && val_at(s->v, N(status), N(certificate))->n)
                         ? ",Issued"
                         : ""));
}
struct val cell_csr_duration(SOURCE)
{
    const struct val *v = column_value(s->v, path);
    return cell_of(s, val_is(v, VAL_INT) ? human_duration(s->a, ns_of_seconds(v->i)) : S("<none>"));
}

struct val cell_param_kind(SOURCE)
{
    const struct val *p = val_at(s->v, N(spec), N(paramKind));
    (void)path;
    return cell_of(s, p ? arena_fmt(s->a, STR_FMT "/" STR_FMT, STR_ARG(TEXT(p, apiVersion)), STR_ARG(TEXT(p, kind)))
                        : S("<unset>"));
}
struct val cell_param_ref(SOURCE)
{
    const struct val *p = val_at(s->v, N(spec), N(paramRef));
    struct str ns = TEXT(p, namespace);
    (void)path;
    if (TEXT(p, name).n)
        return cell_of(s, arena_fmt(s->a, STR_FMT "/" STR_FMT, STR_ARG(ns.n ? ns : S("*")), STR_ARG(TEXT(p, name))));
    return cell_of(s, V(p, selector) ? selector_shown(s, V(p, selector), "", "<invalid>") : S("<unset>"));
}
struct val cell_dangling(SOURCE)
{
    struct str status = TEXT(condition_val(s->v, "Dangling"), status);
    (void)path;
    return cell_of(s, status.n ? status : S("?"));
}
struct val cell_claim_state(SOURCE)
{
    const struct val *allocation = val_at(s->v, N(status), N(allocation));
    bool deleted = val_at(s->v, N(metadata), N(deletionTimestamp)) != NULL;
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    (void)path;
    if (deleted)
        strbuf_addz(&b, "deleted");
    if (!allocation && !deleted)
        strbuf_addz(&b, "pending");
    if (allocation)
        strbuf_addf(&b, "%sallocated%s", b.n ? "," : "",
                    val_len(val_at(s->v, N(status), N(reservedFor))) ? ",reserved" : "");
    return cell_of(s, strbuf_str(&b));
}
struct val cell_parent_ref(SOURCE)
{
    const struct val *p = val_at(s->v, N(spec), N(parentRef));
    struct str group = TEXT(p, group), ns = TEXT(p, namespace);
    (void)path;
    if (!p)
        return cell_of(s, S("<none>"));
    return cell_of(s, arena_fmt(s->a, STR_FMT "%s" STR_FMT "%s" STR_FMT "/" STR_FMT, STR_ARG(TEXT(p, resource)),
                                group.n ? "." : "", STR_ARG(group), ns.n ? "/" : "", STR_ARG(ns),
                                STR_ARG(TEXT(p, name))));
}
struct val cell_apiservice_service(SOURCE)
{
    const struct val *p = val_at(s->v, N(spec), N(service));
    (void)path;
    return cell_of(s, p ? arena_fmt(s->a, STR_FMT "/" STR_FMT, STR_ARG(TEXT(p, namespace)), STR_ARG(TEXT(p, name)))
                        : S("Local"));
}
struct val cell_apiservice_available(SOURCE)
{
    const struct val *c = condition_val(s->v, "Available");
    struct str status = TEXT(c, status), reason = TEXT(c, reason);
    (void)path;
    if (!c)
        return cell_of(s, S("Unknown"));
    if (!str_eq(status, S("True")) && reason.n)
        return cell_of(s, arena_fmt(s->a, STR_FMT " (" STR_FMT ")", STR_ARG(status), STR_ARG(reason)));
    return cell_of(s, status);
}
struct val cell_audiences(SOURCE)
{
    const struct val *v = column_value(s->v, path);
    return cell_of(s, val_len(v) ? texts_join(s->a, texts_of(s->a, v, N(audience)), val_len(v), ",", false)
                                 : S("<unset>"));
}
struct val cell_or_delete(SOURCE)
{
    return cell_or_else(s, path, "Delete");
}
struct val cell_or_immediate(SOURCE)
{
    return cell_or_else(s, path, "Immediate");
}
struct val cell_created(SOURCE)
{
    return cell_of(s, val_text(column_value(s->v, path)));
}
