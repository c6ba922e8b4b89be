#include "api/codec.h"
#include "api/custom.h"
#include "base/map.h"
#include "server/remotes.h"
#include "server/sites.h"
#include "sys/crypto.h"

/* What is served, as clients ask for it: group by group (meta/v1 APIGroup, APIResourceList), or all in one
 * (apidiscovery.k8s.io/v2, KEP-3352). Kinds stand in discovery order: those of one group version in a row. */

static const char *const verb_texts[] = {"create", "delete", "deletecollection", "get",
                                         "list",   "patch",  "update",           "watch"};
static const unsigned verb_bits[] = {VERB_CREATE, VERB_DELETE, VERB_DELETECOLLECTION, VERB_GET,
                                     VERB_LIST,   VERB_PATCH,  VERB_UPDATE,           VERB_WATCH};

static struct val verbs_of(struct arena *a, unsigned verbs)
{
    struct val list = val_list();
    for (size_t i = 0; i < countof(verb_bits); i++)
        if (verbs & verb_bits[i])
            val_add(a, &list, val_str_borrowed(str_of(verb_texts[i])));
    return list;
}

static struct val texts_of(struct arena *a, const char *const *texts)
{
    struct val list = val_list();
    for (; texts && *texts; texts++)
        val_add(a, &list, val_str_borrowed(str_of(*texts)));
    return list;
}

bool group_known(const struct kind_set *set, struct str group)
{
    for (size_t i = 0; i < set->nversions; i++)
        if (str_eq(set->versions[i].group, group))
            return true;
    return false;
}

static bool version_known(const struct kind_set *set, struct str group, struct str version)
{
    for (size_t i = 0; i < set->nversions; i++)
        if (str_eq(set->versions[i].group, group) && str_eq(set->versions[i].version, version))
            return true;
    return false;
}

static void head_set(struct arena *a, struct val *v, const char *kind, const char *version)
{
    val_set_text(a, v, N(kind), str_of(kind));
    if (version)
        val_set_text(a, v, N(apiVersion), str_of(version));
}

/* --- APIResourceList --- */

static int by_name(const void *x, const void *y)
{
    const struct kind *const *a = x, *const *b = y;
    return str_cmp((*a)->plural, (*b)->plural);
}

/* Of run time they stand by their groups, so that a thousand of them are not looked at for each. */
static size_t first_of_group(const struct kind_set *set, struct str group)
{
    size_t from = nkinds, to = set->n;
    while (from < to) {
        size_t middle = from + (to - from) / 2;
        if (str_cmp(set->kinds[middle]->group, group) < 0)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

/* In the arena, by their plural. */
static const struct kind **kinds_of(struct arena *a, const struct kind_set *set, struct str group, struct str version,
                                    size_t *n)
{
    size_t first = first_of_group(set, group), last = first;
    while (last < set->n && str_eq(set->kinds[last]->group, group))
        last++;
    const struct kind **out = arena_alloc(a, (nkinds + last - first + 1) * sizeof *out);
    *n = 0;
    for (size_t i = 0; i < last; i = i + 1 == nkinds ? first : i + 1)
        if (str_eq(set->kinds[i]->group, group) && str_eq(set->kinds[i]->version, version))
            out[(*n)++] = set->kinds[i];
    qsort(out, *n, sizeof *out, by_name);
    return out;
}

static int by_sub(const void *x, const void *y)
{
    const struct subresource *const *a = x, *const *b = y;
    return strcmp((*a)->name, (*b)->name);
}

static size_t subs_of(const struct kind *k, const struct subresource **out, size_t room)
{
    size_t n = 0;
    for (size_t i = 0; i < k->nsubs && n < room; i++)
        out[n++] = &k->subs[i];
    if (!k->custom) /* those stand in the order of upstream's handler: status, scale */
        qsort(out, n, sizeof *out, by_sub);
    return n;
}

/* In the order in which upstream's handler of definitions has them. */
static struct val custom_verbs(struct arena *a)
{
    static const struct str texts[] = {
        S_INIT("delete"), S_INIT("deletecollection"), S_INIT("get"),    S_INIT("list"),
        S_INIT("patch"),  S_INIT("create"),           S_INIT("update"), S_INIT("watch")};
    struct val list = val_list();
    for (size_t i = 0; i < countof(texts); i++)
        val_add(a, &list, val_str_borrowed(texts[i]));
    return list;
}

/* As upstream makes it of group, version and kind: eight bytes of a digest. */
static struct str storage_hash(struct arena *a, const struct kind *k)
{
    uint8_t digest[SHA256_SIZE];
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    sha256_of(arena_fmt(a, STR_FMT "/" STR_FMT "/" STR_FMT, STR_ARG(k->group), STR_ARG(k->version), STR_ARG(k->kind)),
              digest);
    strbuf_add_base64(&b, digest, 8);
    return str_dup(a, strbuf_str(&b));
}

static struct val resource_list(struct arena *a, const struct kind_set *set, struct str group, struct str version)
{
    struct val v = val_map();
    head_set(a, &v, "APIResourceList", group.n ? "v1" : NULL);
    val_set_text(a, &v, N(groupVersion),
                 group.n ? arena_fmt(a, STR_FMT "/" STR_FMT, STR_ARG(group), STR_ARG(version)) : version);
    struct val *list = val_set(a, &v, N(resources), val_list());
    size_t n;
    const struct kind **all = kinds_of(a, set, group, version, &n);
    for (size_t i = 0; i < n; i++) {
        const struct kind *k = all[i];
        struct val *r = val_add(a, list, val_map());
        val_set_text(a, r, N(name), k->plural);
        val_set_text(a, r, N(singularName), k->singular);
        val_set_bool(a, r, N(namespaced), k->namespaced);
        val_set_text(a, r, N(kind), k->kind);
        val_set(a, r, N(verbs), k->custom ? custom_verbs(a) : verbs_of(a, k->verbs));
        if (k->short_names && k->short_names[0])
            val_set(a, r, N(shortNames), texts_of(a, k->short_names));
        if (k->categories && k->categories[0])
            val_set(a, r, N(categories), texts_of(a, k->categories));
        if (k->storage_hash || k->custom)
            val_set_text(a, r, N(storageVersionHash),
                         k->custom ? storage_hash(a, k->storage) : str_of(k->storage_hash));
        const struct subresource *subs[32];
        size_t nsubs = subs_of(k, subs, countof(subs));
        for (size_t s = 0; s < nsubs; s++) {
            struct val *e = val_add(a, list, val_map());
            val_set_text(a, e, N(name), arena_fmt(a, STR_FMT "/%s", STR_ARG(k->plural), subs[s]->name));
            val_set_text(a, e, N(singularName), S(""));
            val_set_bool(a, e, N(namespaced), k->namespaced);
            if (subs[s]->version && (subs[s]->group || subs[s]->version)) {
                if (subs[s]->group && *subs[s]->group)
                    val_set_text(a, e, N(group), str_of(subs[s]->group));
                val_set_text(a, e, N(version), str_of(subs[s]->version));
            }
            val_set_text(a, e, N(kind), subs[s]->kind ? str_of(subs[s]->kind) : k->kind);
            val_set(a, e, N(verbs), verbs_of(a, subs[s]->verbs));
        }
    }
    return v;
}

/* --- what there is, ours and others' --- */

/* A version of a group, served here or by another server. Those of a group stand in a row. */
struct served {
    struct str group, version;
    int group_priority, version_priority;
    const struct aggregated *elsewhere; /* NULL: served here */
    bool begins;                        /* the first of its group */
    int order;                          /* of ours: of its group */
    size_t row;                         /* and within it */
};
struct servings {
    struct served *list;
    size_t n;
};

/* The aggregator's own stands first, whatever priorities others have (upstream: nobody can be before it). */
static int own_first(const struct served *s)
{
    return !s->group.n ? 2 : str_eqz(s->group, "apiregistration.k8s.io") ? 1 : 0;
}

static int by_priority(const void *x, const void *y)
{
    const struct served *a = x, *b = y;
    if (own_first(a) != own_first(b))
        return own_first(b) - own_first(a);
    if (a->group_priority != b->group_priority)
        return a->group_priority > b->group_priority ? -1 : 1;
    int c = str_cmp(a->group, b->group);
    if (!c && a->version_priority != b->version_priority)
        c = a->version_priority > b->version_priority ? -1 : 1;
    return c ? c : version_order(a->version, b->version);
}

static int by_row(const void *x, const void *y)
{
    const struct served *a = x, *b = y;
    return a->order != b->order ? a->order - b->order : a->row < b->row ? -1 : a->row > b->row;
}

/* Of a group the highest priority of any of its versions counts. */
static void raise_groups(struct servings *all)
{
    AUTO(map_fini) struct map most = MAP;
    for (size_t i = 0; i < all->n; i++) {
        struct served *s = &all->list[i];
        const struct served *other = map_get(&most, s->group);
        if (!other || other->group_priority < s->group_priority)
            (void)map_put(&most, s->group, s);
    }
    for (size_t i = 0; i < all->n; i++)
        all->list[i].group_priority = ((const struct served *)map_get(&most, all->list[i].group))->group_priority;
}

static struct servings servings_of(struct server *server, struct arena *a, const struct kind_set *set)
{
    const struct aggregated **remotes = NULL;
    size_t nremotes = aggregate_count(server) ? remotes_sorted(server, a, &remotes) : 0;
    struct servings all = {arena_alloc(a, (set->nversions + nremotes) * sizeof *all.list), 0};
    for (size_t i = 0; i < set->nversions; i++) {
        const struct group_version *v = &set->versions[i];
        if (!nremotes || !aggregate_find(server, v->group, v->version))
            all.list[all.n++] = (struct served){v->group, v->version, v->group_priority, v->version_priority,
                                                NULL,     false,      v->order,          i};
    }
    for (size_t i = 0; i < nremotes; i++) {
        const struct aggregated *g = remotes[i];
        if (g->group.n)
            all.list[all.n++] = (struct served){
                g->group, g->version, g->group_priority, g->version_priority, g, false, 0, 0};
    }
    if (nremotes) /* ours have the same order by it */
        raise_groups(&all);
    qsort(all.list, all.n, sizeof *all.list, nremotes ? by_priority : by_row);
    for (size_t i = 0; i < all.n; i++)
        all.list[i].begins = !i || !str_eq(all.list[i].group, all.list[i - 1].group);
    return all;
}

/* --- APIGroup --- */

static struct val version_entry(struct arena *a, const struct served *s)
{
    struct val e = val_map();
    val_set_text(a, &e, N(groupVersion), arena_fmt(a, STR_FMT "/" STR_FMT, STR_ARG(s->group), STR_ARG(s->version)));
    val_set_text(a, &e, N(version), s->version);
    return e;
}

/* Its first version is at i. */
static struct val group_of(struct arena *a, const struct servings *all, size_t i)
{
    struct val g = val_map(), versions = val_list();
    struct str group = all->list[i].group;
    val_set_text(a, &g, N(name), group);
    for (; i < all->n && str_eq(all->list[i].group, group); i++)
        val_add(a, &versions, version_entry(a, &all->list[i]));
    struct val preferred = val_copy(a, val_item(&versions, 0));
    val_set(a, &g, N(versions), versions);
    val_set(a, &g, N(preferredVersion), preferred);
    return g;
}

/* --- apidiscovery.k8s.io/v2 --- */

static struct val gvk_val(struct arena *a, struct str group, struct str version, struct str kind)
{
    struct val v = val_map();
    val_set_text(a, &v, N(group), group);
    val_set_text(a, &v, N(version), version);
    val_set_text(a, &v, N(kind), kind);
    return v;
}

static bool has_group(const struct subresource *s)
{
    return s->group && *s->group;
}

static void version_discovery(struct arena *a, const struct kind_set *set, struct str group, struct str version,
                              struct val *v)
{
    val_set_text(a, v, N(version), version);
    struct val *list = val_set(a, v, N(resources), val_list());
    size_t n;
    const struct kind **all = kinds_of(a, set, group, version, &n);
    for (size_t j = 0; j < n; j++) {
        const struct kind *k = all[j];
        struct val *r = val_add(a, list, val_map());
        val_set_text(a, r, N(resource), k->plural);
        /* the core group's kinds stand there without a version */
        struct str own_version = group.n ? k->version : S("");
        val_set(a, r, N(responseKind), gvk_val(a, group, own_version, k->kind));
        val_set_text(a, r, N(scope), k->namespaced ? S("Namespaced") : S("Cluster"));
        val_set_text(a, r, N(singularResource), k->singular);
        val_set(a, r, N(verbs), k->custom ? custom_verbs(a) : verbs_of(a, k->verbs));
        if (k->short_names && k->short_names[0])
            val_set(a, r, N(shortNames), texts_of(a, k->short_names));
        if (k->categories && k->categories[0])
            val_set(a, r, N(categories), texts_of(a, k->categories));
        const struct subresource *subs[32];
        size_t nsubs = subs_of(k, subs, countof(subs));
        if (!nsubs)
            continue;
        struct val *sl = val_set(a, r, N(subresources), val_list());
        for (size_t s = 0; s < nsubs; s++) {
            struct val *e = val_add(a, sl, val_map());
            val_set_text(a, e, N(subresource), str_of(subs[s]->name));
            bool own = subs[s]->version;
            val_set(a, e, N(responseKind),
                    gvk_val(a,
                            own && subs[s]->group ? str_of(subs[s]->group)
                            : own                 ? S("")
                                                  : group,
                            own && (group.n || has_group(subs[s])) ? str_of(subs[s]->version) : own_version,
                            subs[s]->kind ? str_of(subs[s]->kind) : k->kind));
            val_set(a, e, N(verbs), verbs_of(a, subs[s]->verbs));
        }
    }
    val_set_text(a, v, N(freshness), S("Current"));
}

/* Its first version is at i. */
static struct val group_discovery(struct site_call *c, const struct servings *all, size_t i)
{
    struct arena *a = c->arena;
    struct val g = val_map();
    struct val *meta = val_set(a, &g, N(metadata), val_map());
    struct str group = all->list[i].group;
    if (group.n)
        val_set_text(a, meta, N(name), group);
    val_set(a, meta, N(creationTimestamp), VAL_NONE);
    struct val *versions = val_set(a, &g, N(versions), val_list());
    for (; i < all->n && str_eq(all->list[i].group, group); i++) {
        const struct served *s = &all->list[i];
        struct val *v = val_add(a, versions, val_map());
        if (s->elsewhere)
            *v = remotes_discovery(c->server, a, s->elsewhere);
        else
            version_discovery(a, c->kinds, group, s->version, v);
    }
    return g;
}

static bool call_is_aggregated(struct site_call *c)
{
    struct negotiated n;
    struct err err = ERR;
    return media_negotiate(http_header(&c->http->headers, S("Accept")), OFFER_DISCOVERY, &n, &err) &&
           n.form == FORM_DISCOVERY;
}

static void respond_aggregated(struct site_call *c, bool core)
{
    struct arena *a = c->arena;
    uint64_t elsewhere = core ? 0 : remotes_discovery_hash(c->server);
    struct str tag = elsewhere ? arena_fmt(a, "\"%s-%016llX\"", c->kinds->hash, (unsigned long long)elsewhere)
                               : arena_fmt(a, "\"%s\"", c->kinds->hash);
    http_set(c->http, S("ETag"), tag);
    http_set(c->http, S("Vary"), S("Accept"));
    if (str_has(http_header(&c->http->headers, S("If-None-Match")), tag)) {
        http_respond(c->http, 304, S(""), S(""));
        return;
    }
    struct val v = val_map();
    head_set(a, &v, "APIGroupDiscoveryList", "apidiscovery.k8s.io/v2");
    val_set(a, &v, N(metadata), val_map());
    struct val *items = val_set(a, &v, N(items), val_list());
    struct servings all = servings_of(c->server, a, c->kinds);
    for (size_t i = 0; i < all.n; i++)
        if (core == !all.list[i].group.n && all.list[i].begins)
            val_add(a, items, group_discovery(c, &all, i));
    site_respond(c, T(apidiscovery_v2_APIGroupDiscoveryList), v);
}

static void no_resource(struct site_call *c)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    strbuf_addz(&b,
                "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},\"status\":\"Failure\",\"message\":\"the "
                "server could not find the requested resource\",\"reason\":\"NotFound\",\"details\":{},"
                "\"code\":404}\n");
    http_respond(c->http, 404, S("application/json"), strbuf_str(&b));
}

/* --- the pages --- */

void site_discovery_api(struct site_call *c)
{
    struct arena *a = c->arena;
    struct str rest = str_sub(c->path, sizeof "/api" - 1, c->path.n);
    if (rest.n) {
        rest = str_sub(rest, 1, rest.n);
        if (!version_known(c->kinds, S(""), rest)) {
            no_resource(c);
            return;
        }
        site_respond(c, T(meta_v1_APIResourceList), resource_list(a, c->kinds, S(""), rest));
        return;
    }
    if (call_is_aggregated(c)) {
        respond_aggregated(c, true);
        return;
    }
    struct val v = val_map();
    head_set(a, &v, "APIVersions", NULL);
    struct val *versions = val_set(a, &v, N(versions), val_list());
    val_add(a, versions, val_str_borrowed(S("v1")));
    struct val *list = val_set(a, &v, N(serverAddressByClientCIDRs), val_list()), *e = val_add(a, list, val_map());
    val_set_text(a, e, N(clientCIDR), S("0.0.0.0/0"));
    val_set_text(a, e, N(serverAddress), c->http->host);
    site_respond(c, T(meta_v1_APIVersions), v);
}

void site_discovery_apis(struct site_call *c)
{
    if (call_is_aggregated(c)) {
        respond_aggregated(c, false);
        return;
    }
    struct arena *a = c->arena;
    struct val v = val_map();
    head_set(a, &v, "APIGroupList", "v1");
    struct val *list = val_set(a, &v, N(groups), val_list());
    struct servings all = servings_of(c->server, a, c->kinds);
    for (size_t i = 0; i < all.n; i++)
        if (all.list[i].group.n && all.list[i].begins)
            val_add(a, list, group_of(a, &all, i));
    site_respond(c, T(meta_v1_APIGroupList), v);
}

void site_discovery_group(struct site_call *c)
{
    struct arena *a = c->arena;
    struct str rest = str_sub(c->path, sizeof "/apis/" - 1, c->path.n), group, version;
    bool versioned = str_split(rest, '/', &group, &version);
    struct servings all = servings_of(c->server, a, c->kinds);
    for (size_t i = 0; !versioned && i < all.n; i++)
        if (group.n && str_eq(all.list[i].group, rest)) {
            struct val g = group_of(a, &all, i);
            head_set(a, &g, "APIGroup", "v1");
            site_respond(c, T(meta_v1_APIGroup), g);
            return;
        }
    if (!group_known(c->kinds, group) || !group.n) {
        http_respond(c->http, 404, S("text/plain; charset=utf-8"), S("404 page not found\n"));
        return;
    }
    if (versioned && !version_known(c->kinds, group, version)) {
        if (!group_known(&kind_set_builtin, group))
            http_respond(c->http, 404, S("text/plain; charset=utf-8"), S("404 page not found\n"));
        else
            no_resource(c);
        return;
    }
    site_respond(c, T(meta_v1_APIResourceList), resource_list(a, c->kinds, group, version));
}
