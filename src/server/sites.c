#include "server/sites.h"
#include "api/codec.h"
#include "base/version.h"
#include "server/authn.h"
#include "server/encode.h"
#include "server/fail.h"
#include "server/metrics.h"
#include "wire/gzip.h"
#include <sys/utsname.h>

#define SITE_GZIP_FROM (128u << 10) /* bytes, as of other answers */

static const struct {
    struct str path;
    bool below; /* everything below it too */
    site_fn *fn;
} sites[] = {
    {S_INIT("/api"), true, site_discovery_api},
    {S_INIT("/apis"), false, site_discovery_apis},
    {S_INIT("/apis"), true, site_discovery_group},
    {S_INIT("/version"), false, site_version},
    {S_INIT("/livez"), true, site_health},
    {S_INIT("/readyz"), true, site_health},
    {S_INIT("/healthz"), true, site_health},
    {S_INIT("/metrics"), false, site_metrics},
    {S_INIT("/metrics/slis"), false, site_health_metrics},
    {S_INIT("/openapi/v2"), false, site_openapi_two},
    {S_INIT("/openapi/v3"), true, site_openapi},
    {S_INIT("/.well-known/openid-configuration"), false, site_token_config},
    {S_INIT("/openid/v1/jwks"), false, site_token_keys},
    {S_INIT("/wherry.dev/backup"), false, site_backup},
    {S_INIT("/wherry.dev/node-certificate"), false, site_node_certificate},
    {S_INIT("/"), false, site_root},
};

bool site_has_head(struct str path)
{
    site_fn *fn = site_find(path);
    return fn != site_discovery_api && fn != site_discovery_apis && fn != site_discovery_group && fn != site_version;
}

bool site_is_everything(struct str path)
{
    return site_find(path) == site_backup;
}

site_fn *site_find(struct str path)
{
    for (size_t i = 0; i < countof(sites); i++)
        if (str_eq(path, sites[i].path) ||
            (sites[i].below && str_starts(path, sites[i].path) && path.p[sites[i].path.n] == '/'))
            return sites[i].fn;
    return NULL;
}

void site_respond(struct site_call *c, const struct type *t, struct val tree)
{
    struct negotiated n;
    struct err err = ERR;
    AUTO(strbuf_fini) struct strbuf b = STRBUF(1 << 26);
    if (!media_negotiate(http_header(&c->http->headers, S("Accept")), OFFER_DISCOVERY, &n, &err)) {
        AUTO(request_fini) struct request r;
        request_init(&r, c->server, c->server->loop, NULL);
        fail_plain(&r, 406, "%s", err.text);
        r.answer.fail.reason = "NotAcceptable";
        struct val v = status_of(&r);
        encode_tree(&b, MEDIA_JSON, T(meta_v1_Status), &v);
        http_respond(c->http, 406, media_name(MEDIA_JSON), strbuf_str(&b));
        return;
    }
    encode_tree(&b, n.media, t, &tree);
    struct str type = media_name(n.media);
    if (n.form == FORM_DISCOVERY)
        type = arena_fmt(c->arena, STR_FMT ";g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList", STR_ARG(type));
    AUTO(strbuf_fini) struct strbuf small = STRBUF(b.max);
    bool gzip = b.n > SITE_GZIP_FROM && gzip_accepted(http_header(&c->http->headers, S("Accept-Encoding")));
    if (gzip) {
        gzip_add(&small, strbuf_str(&b));
        http_set(c->http, S("Content-Encoding"), S("gzip"));
        http_set(c->http, S("Vary"), S("Accept-Encoding"));
    }
    http_respond(c->http, 200, type, strbuf_str(gzip ? &small : &b));
}

void site_not_found(struct site_call *c)
{
    http_respond(c->http, 404, S("text/plain; charset=utf-8"), S("404 page not found\n"));
}

void site_version(struct site_call *c)
{
    struct utsname u;
    uname(&u);
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    strbuf_addf(
        &b,
        "{\n  \"major\": \"1\",\n  \"minor\": \"36\",\n  \"emulationMajor\": \"1\",\n  \"emulationMinor\": \"36\",\n"
        "  \"minCompatibilityMajor\": \"1\",\n  \"minCompatibilityMinor\": \"35\",\n  \"gitVersion\": \"%s\",\n"
        "  \"gitCommit\": \"%s\",\n  \"gitTreeState\": \"clean\",\n  \"buildDate\": \"1970-01-01T00:00:00Z\",\n"
        "  \"goVersion\": \"none\",\n  \"compiler\": \"gcc %s\",\n  \"platform\": \"linux/%s\"\n}",
        wherry_version, wherry_build, __VERSION__,
        str_eqz(str_of(u.machine), "x86_64")    ? "amd64"
        : str_eqz(str_of(u.machine), "aarch64") ? "arm64"
                                                : u.machine);
    http_respond(c->http, 200, S("application/json"), strbuf_str(&b));
}

void site_metrics(struct site_call *c)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(1 << 20);
    metrics_text(c->server, &b);
    http_respond(c->http, 200, S("text/plain; version=0.0.4; charset=utf-8"), strbuf_str(&b));
}

void site_token_config(struct site_call *c)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    struct str issuer = token_issuer(c->server);
    strbuf_addf(&b,
                "{\"issuer\":\"" STR_FMT "\",\"jwks_uri\":\"" STR_FMT
                "/openid/v1/jwks\",\"response_types_supported\":[\"id_token\"],"
                "\"subject_types_supported\":[\"public\"],\"id_token_signing_alg_values_supported\":[\"ES256\"]}",
                STR_ARG(issuer), STR_ARG(issuer));
    http_respond(c->http, 200, S("application/json"), strbuf_str(&b));
}

void site_token_keys(struct site_call *c)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    token_jwks(c->server, &b);
    http_respond(c->http, 200, S("application/jwk-set+json"), strbuf_str(&b));
}

void site_root(struct site_call *c)
{
    struct val v = val_map(), *list = val_set_str(c->arena, &v, S("paths"), val_list());
    for (size_t i = 0; i < countof(sites); i++)
        if (!i || !str_eq(sites[i].path, sites[i - 1].path))
            val_add(c->arena, list, val_str_borrowed(sites[i].path));
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    json_encode(&b, &v);
    http_respond(c->http, 200, S("application/json"), strbuf_str(&b));
}
