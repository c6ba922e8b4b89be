/* /openapi/v2 and /openapi/v3: documents of a megabyte or more, made in a pool thread each time they are asked for
 * and not kept; clients keep them by their ETag. Upstream: k8s.io/kube-openapi/pkg/handler. */
#include "api/openapi.h"
#include "server/sites.h"
#include "wire/gzip.h"

enum { DOCUMENT_MOST = 1 << 24 };

struct page {
    struct job job;
    struct http_request *http;    /* path in its arena */
    const struct kind_set *kinds; /* counted */
    struct str path;              /* "v2", "apis/apps/v1" */
    bool protobuf, gzip;
    struct strbuf body;
};

static struct str two_types[] = {S_INIT("application/com.github.proto-openapi.spec.v2.v1.0+protobuf"),
                                 S_INIT("application/com.github.proto-openapi.spec.v2@v1.0+protobuf")};

static bool is_two(struct str path)
{
    return str_eqz(path, "v2");
}

static void page_work(struct job *j)
{
    struct page *p = container_of(j, struct page, job);
    AUTO(strbuf_fini) struct strbuf text = STRBUF(DOCUMENT_MOST), pb = STRBUF(DOCUMENT_MOST);
    if (is_two(p->path))
        openapi_two(&text, p->kinds);
    else
        ASSERT(openapi_document(&text, p->kinds, p->path)); /* page_known said so */
    if (p->protobuf)
        openapi_two_pb(&pb, strbuf_str(&text));
    struct strbuf *plain = p->protobuf ? &pb : &text;
    if (p->gzip)
        gzip_add(&p->body, strbuf_str(plain));
    else
        p->body = *plain, *plain = (struct strbuf){0};
}

static void page_done(struct job *j)
{
    struct page *p = container_of(j, struct page, job);
    if (p->gzip)
        http_set(p->http, S("Content-Encoding"), S("gzip"));
    http_respond(p->http, 200, p->protobuf ? two_types[0] : S("application/json"), strbuf_str(&p->body));
    strbuf_fini(&p->body);
    kind_set_unref(p->kinds);
    mem_free(p);
}

/* The document is known by its path, what is made of it by that and its form. */
static void document_answer(struct site_call *c, struct str path, bool protobuf)
{
    struct http_headers *h = &c->http->headers;
    AUTO(strbuf_fini) struct strbuf hash = STRBUF(STRBUF_TEXT);
    bool gzip = gzip_accepted(http_header(h, S("Accept-Encoding")));
    strbuf_addc(&hash, '"');
    openapi_hash(&hash, c->kinds, path);
    strbuf_addf(&hash, "%s%s\"", protobuf ? "P" : "", gzip ? "Z" : "");
    http_set(c->http, S("ETag"), strbuf_str(&hash));
    http_set(c->http, S("Vary"), S("Accept, Accept-Encoding"));
    if (str_has(http_header(h, S("If-None-Match")), strbuf_str(&hash))) {
        http_respond(c->http, 304, S(""), S(""));
        return;
    }
    struct page *p = NEW(struct page);
    *p = (struct page){.http = c->http,
                       .kinds = kind_set_ref(c->kinds),
                       .path = str_dup(&c->http->arena, path),
                       .protobuf = protobuf,
                       .gzip = gzip,
                       .body = STRBUF(DOCUMENT_MOST)};
    job_start(&p->job, c->server->loop, page_work, page_done);
}

/* The first of the Accept that we have; nothing said is JSON. */
static bool two_form(struct str accept, bool *protobuf)
{
    struct str clause;
    *protobuf = false;
    if (!str_trim(accept).n)
        return true;
    while (str_cut(&accept, ',', &clause)) {
        struct str type, parameters;
        if (!str_split(clause, ';', &type, &parameters))
            type = clause;
        type = str_trim(type);
        *protobuf = str_ieq(type, two_types[0]) || str_ieq(type, two_types[1]);
        if (*protobuf || str_eqz(type, "*/*") || str_eqz(type, "application/*") ||
            str_ieq(type, S("application/json")))
            return true;
    }
    return false;
}

void site_openapi_two(struct site_call *c)
{
    bool protobuf;
    if (two_form(http_header(&c->http->headers, S("Accept")), &protobuf))
        document_answer(c, S("v2"), protobuf);
    else
        http_respond(c->http, 406, S(""), S(""));
}

void site_openapi(struct site_call *c)
{
    struct str rest = str_sub(c->path, sizeof "/openapi/v3" - 1, c->path.n);
    if (!rest.n) {
        AUTO(strbuf_fini) struct strbuf b = STRBUF(1 << 16);
        openapi_index(&b, c->kinds);
        http_respond(c->http, 200, S("application/json"), strbuf_str(&b));
        return;
    }
    rest = str_sub(rest, 1, rest.n);
    if (openapi_known(c->kinds, rest))
        document_answer(c, rest, false);
    else
        http_respond(c->http, 404, S(""), S(""));
}
