#include "cli/resource.h"
#include "api/kind.h"
#include "cli/fields.h"
#include "wire/http.h"

#define ACCEPT "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
#define MOST   4096 /* resources of a server that are looked at */

static void resource_add(struct client *c, struct str group, struct str version, const struct val *v)
{
    struct resource *r = &c->resources[c->nresources];
    if (c->nresources == MOST)
        return;
    struct str api = group.n ? arena_fmt(&c->arena, STR_FMT "/" STR_FMT, STR_ARG(group), STR_ARG(version)) : version;
    *r = (struct resource){.group = group,
                           .version = version,
                           .api_version = api,
                           .kind = field_text(v, "responseKind.kind"),
                           .plural = field_text(v, "resource"),
                           .singular = field_text(v, "singularResource"),
                           .shorts = field_at(v, "shortNames"),
                           .categories = field_at(v, "categories"),
                           .verbs = field_at(v, "verbs"),
                           .namespaced = str_eqz(field_text(v, "scope"), "Namespaced")};
    const struct kind *k = kind_of_api_version(api, r->kind);
    r->type = k ? kind_type(k) : NULL;
    c->nresources++;
}

static bool discovery_load(struct client *c, struct str path, struct err *err)
{
    struct val *all = ARENA_NEW(&c->arena, struct val);
    if (!client_ask(c, &(struct ask){.path = path, .accept = S(ACCEPT)}, all, err))
        return false;
    if (!str_eqz(field_text(all, "kind"), "APIGroupDiscoveryList"))
        return err_set(err, E_NOT_IMPLEMENTED,
                       "the server has no aggregated discovery (Kubernetes 1.27 and later do)");
    val_each_item (group, val_get_str(all, S("items")))
        val_each_item (version, val_get_str(group, S("versions")))
            val_each_item (r, val_get_str(version, S("resources")))
                resource_add(c, field_text(group, "metadata.name"), field_text(version, "version"), r);
    return true;
}

bool resources_load(struct client *c, struct err *err)
{
    if (c->resources)
        return true;
    c->resources = mem_alloc(MOST * sizeof *c->resources);
    if (discovery_load(c, S("/api"), err) && discovery_load(c, S("/apis"), err))
        return true;
    mem_free(c->resources); /* half of them would make the rest unknown; the next one to ask tries again */
    c->resources = NULL;
    c->nresources = 0;
    return err_wrap(err, "asking the server what it has");
}

bool resource_has(const struct val *list, struct str word)
{
    val_each_item (it, list)
        if (str_ieq(val_text(it), word))
            return true;
    return false;
}

static bool is_named(const struct resource *r, struct str word)
{
    return str_ieq(r->plural, word) || str_ieq(r->singular, word) || str_ieq(r->kind, word) ||
           resource_has(r->shorts, word);
}

/* "deployments", "deployments.apps", "deployments.v1.apps" */
static bool is_meant(const struct resource *r, struct str word)
{
    struct str name, rest, version, group;
    if (is_named(r, word))
        return true;
    if (!str_split(word, '.', &name, &rest) || !is_named(r, name))
        return false;
    if (str_ieq(rest, r->group) || (!rest.n && !r->group.n))
        return true;
    return str_split(rest, '.', &version, &group) && str_ieq(version, r->version) && str_ieq(group, r->group);
}

bool resource_find(struct client *c, struct str word, const struct resource **out, struct err *err)
{
    if (!resources_load(c, err))
        return false;
    for (size_t i = 0; i < c->nresources; i++)
        if (is_meant(&c->resources[i], word)) {
            *out = &c->resources[i];
            return true;
        }
    return err_set(err, E_NOT_FOUND,
                   "the server has no resource \"" STR_FMT "\"; wherry api-resources lists what there is",
                   STR_ARG(word));
}

bool resource_of_kind(struct client *c, struct str api_version, struct str kind, const struct resource **out,
                      struct err *err)
{
    bool other = false;
    if (!api_version.n || !kind.n)
        return err_set(err, E_INVALID, "%s: is missing; every object says what it is, e.g. apiVersion: v1, kind: Pod",
                       api_version.n ? "kind" : "apiVersion");
    if (!resources_load(c, err))
        return false;
    for (size_t i = 0; i < c->nresources; i++) {
        const struct resource *r = &c->resources[i];
        if (str_eq(r->api_version, api_version) && str_eq(r->kind, kind)) {
            *out = r;
            return true;
        }
        if (str_ieq(r->kind, kind) && !other) {
            err_set(err, E_NOT_FOUND,
                    "there is no kind \"" STR_FMT "\" in \"" STR_FMT "\"; did you mean apiVersion: " STR_FMT
                    ", kind: " STR_FMT "?",
                    STR_ARG(kind), STR_ARG(api_version), STR_ARG(r->api_version), STR_ARG(r->kind));
            other = true;
        }
    }
    return other ? false
                 : err_set(err, E_NOT_FOUND,
                           "the server has no kind \"" STR_FMT "\" in \"" STR_FMT
                           "\"; wherry api-resources lists what there is",
                           STR_ARG(kind), STR_ARG(api_version));
}

struct str resource_path(struct arena *a, const struct resource *r, struct str ns, struct str name, struct str sub)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    strbuf_addf(&b, "/%s/" STR_FMT, r->group.n ? "apis" : "api", STR_ARG(r->api_version));
    if (r->namespaced && ns.n) {
        strbuf_addz(&b, "/namespaces/");
        http_escape(&b, ns);
    }
    strbuf_addf(&b, "/" STR_FMT, STR_ARG(r->plural));
    if (name.n) {
        strbuf_addc(&b, '/');
        http_escape(&b, name);
    }
    if (sub.n)
        strbuf_addf(&b, "/" STR_FMT, STR_ARG(sub));
    return str_dup(a, strbuf_str(&b));
}

struct str resource_label(struct arena *a, const struct resource *r, struct str name)
{
    return arena_fmt(a, STR_FMT "%s" STR_FMT "/" STR_FMT, STR_ARG(r->singular), r->group.n ? "." : "",
                     STR_ARG(r->group), STR_ARG(name));
}

struct str target_ns(const struct client *c, const struct resource *r)
{
    return r->namespaced ? c->ns : S("");
}

static void target_add(struct client *c, struct targets *t, const struct resource *r, struct str name)
{
    struct target *p = arena_alloc(&c->arena, (t->n + 1) * sizeof *p);
    if (t->n)
        memcpy(p, t->p, t->n * sizeof *p);
    p[t->n++] = (struct target){.resource = r, .name = name};
    t->p = p;
}

static bool slashed_add(struct client *c, struct str word, struct targets *out, struct err *err)
{
    struct str kind, name;
    const struct resource *r;
    if (!str_split(word, '/', &kind, &name) || !kind.n || !name.n)
        return err_set(err, E_INVALID, "\"" STR_FMT "\": must be RESOURCE/NAME, as the words before it are",
                       STR_ARG(word));
    if (!resource_find(c, kind, &r, err))
        return false;
    target_add(c, out, r, name);
    return true;
}

/* The resources of a category ("all") as targets. */
static bool category_add(struct client *c, struct str word, struct targets *out)
{
    size_t before = out->n;
    for (size_t i = 0; i < c->nresources; i++)
        if (resource_has(c->resources[i].categories, word))
            target_add(c, out, &c->resources[i], S(""));
    return out->n > before;
}

bool targets_read(struct client *c, struct words words, struct targets *out, struct err *err)
{
    *out = (struct targets){0};
    if (!words.n)
        return err_set(err, E_INVALID, "name a resource, e.g. pods or deploy/web; wherry api-resources lists them");
    if (!resources_load(c, err))
        return false;
    if (str_find_char(words.p[0], '/') >= 0) {
        out->slashed = true;
        out->kinds = words.n;
        for (size_t i = 0; i < words.n; i++)
            if (!slashed_add(c, words.p[i], out, err))
                return false;
        return true;
    }
    struct str rest = words.p[0], one;
    while (str_cut(&rest, ',', &one)) {
        const struct resource *r;
        if (words.n == 1 && category_add(c, one, out)) {
            out->kinds += 2;
            continue;
        }
        if (!resource_find(c, one, &r, err))
            return false;
        out->kinds++;
        for (size_t i = 1; i < words.n; i++)
            target_add(c, out, r, words.p[i]);
        if (words.n == 1)
            target_add(c, out, r, S(""));
    }
    return true;
}
