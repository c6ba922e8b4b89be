#include "base/test.h"
#include "control/ingress.h"
#include "control/plan_test.h"
#include <stdlib.h>

/* ---- the page ---- */

static void cell_add(struct strbuf *b, const char *text)
{
    for (; *text; text++)
        if (*text == '|')
            strbuf_addz(b, "\\|");
        else
            strbuf_addc(b, *text);
}

static void table_make(struct strbuf *b)
{
    static const char *const kept[] = {"yes", "not needed", "**no**"};
    strbuf_addz(b, "| annotation | kept | values | what |\n|---|---|---|---|\n");
    for (size_t i = 0; i < ningress_annotations; i++) {
        const struct ingress_annotation *r = &ingress_annotations[i];
        strbuf_addf(b, "| `%s` | %s%s | ", r->name, kept[r->kept], r->guards ? "; closes" : "");
        if (r->values[0]) {
            strbuf_addc(b, '`');
            cell_add(b, r->values);
            strbuf_addz(b, "` ");
        }
        strbuf_addz(b, "| ");
        cell_add(b, r->says);
        strbuf_addz(b, " |\n");
    }
}

static void file_take(const char *path, struct strbuf *b)
{
    FILE *f = fopen(path, "r");
    size_t n;
    CHECK(f);
    for (char *room; (room = strbuf_room(b, 4096)) && (n = fread(room, 1, 4096, f)) > 0;)
        strbuf_used(b, n);
    fclose(f);
}

/* docs/ingress.md says what the rows say; UPDATE=1 writes it. */
TEST(the_page_has_every_annotation)
{
    static const struct str begin = S_INIT("<!-- table -->\n"), end = S_INIT("<!-- end of the table -->\n");
    AUTO(strbuf_fini) struct strbuf page = STRBUF(1 << 20), want = STRBUF(1 << 20);
    file_take("docs/ingress.md", &page);
    struct str text = strbuf_str(&page);
    ptrdiff_t from = str_find(text, begin), to = str_find(text, end);
    CHECK(from > 0 && to > from);
    strbuf_add(&want, str_sub(text, 0, (size_t)from + begin.n));
    table_make(&want);
    strbuf_add(&want, str_sub(text, (size_t)to, text.n));
    if (getenv("UPDATE")) {
        FILE *f = fopen("docs/ingress.md", "w");
        CHECK(f && fwrite(want.p, 1, want.n, f) == want.n && fclose(f) == 0);
    } else {
        CHECK_STR(text, strbuf_str(&want));
    }
}

TEST(every_row_is_whole)
{
    for (size_t i = 0; i < ningress_annotations; i++) {
        const struct ingress_annotation *r = &ingress_annotations[i];
        CHECK((r->kept == INGRESS_KEPT) == (r->read != NULL));
        CHECK(r->says[0] && (r->values[0] != 0) == (r->kept == INGRESS_KEPT));
        for (size_t k = 0; k < i; k++)
            CHECK(strcmp(ingress_annotations[k].name, r->name) != 0);
    }
}

/* ---- values ---- */

struct asked {
    struct fixture f;
    struct arena a;
    struct ingress i;
};

/* An Ingress with one annotation; "" of value: none. */
static void asked_init(struct asked *t, const char *name, const char *value)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(1 << 16);
    *t = (struct asked){0};
    fixture_init(&t->f);
    strbuf_addf(&b,
                "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata:\n  name: web\n  annotations:\n"
                "    kubernetes.io/ingress.class: wherry\n    " INGRESS_PREFIX_NGINX "%s: '%s'\n"
                "spec: {defaultBackend: {service: {name: web, port: {number: 80}}}}\n",
                name, value);
    fixture_add(&t->f, strbuf_str(&b));
    struct obj *o = view_get(&t->f.view, K(Ingress), S("default"), S("web"));
    ingress_read(&t->f.view, o, &t->a, &t->i);
    CHECK(t->i.class.server == INGRESS_OURS);
}

static void asked_fini(struct asked *t)
{
    ingress_fini(&t->i);
    arena_fini(&t->a);
    fixture_fini(&t->f);
}

static const struct {
    const char *name, *good, *bad; /* separated by ';'; what upstream's own tables have, and hostile ones */
} values[] = {
    {"ssl-redirect", "true;false;1;0;T", "yes;on;TRUE1"},
    {"proxy-body-size", "0;1024;8k;8K;100m;2G;5b", "8mb;-1;1.5m;huge;99999999999999999999"},
    {"proxy-read-timeout", "1;60;3600;60s", "0;-1;1m;1.5;"},
    {"permanent-redirect", "http://a.example;https://a.example$request_uri", "ftp://a;a.example;https://$host/;//a"},
    {"permanent-redirect-code", "301;302;303;307;308", "200;300;304;400;x"},
    {"rewrite-target", "/;/$1;/a/$2/b;$1;x", "/$a;/$;/a b;/$0"},
    {"whitelist-source-range", "10.0.0.0/8;10.0.0.1;10.0.0.0/8, 2001:db8::/32;::1",
     "10.0.0.0/33;x;10.0.0;fe80::1%lo"},
    {"cors-allow-origin", "*;https://a.example;https://*.a.example:8443;https://a, http://b;custom+app://a.b",
     "a.example;https://;https://a b;https://a\"b;https://*a"},
    {"cors-allow-methods", "GET;GET, POST;*", "POST|x;GE\"T"},
    {"auth-type", "basic", "digest;Basic;none"},
    {"auth-secret", "users;default/users", "other/users;../users;a/b/c"},
    {"auth-url", "http://auth.svc/x;https://$host/oauth2/auth;/oauth2/auth", "ftp://x;$foo;http://a b;javascript:x"},
    {"auth-response-headers", "X-User;X-User, X-Group", "X User;X:Y;Set-Cookie\"x"},
    {"auth-cache-duration", "5m;200 202 401 5m;200 1h 30m, 401 1s", "200;x;200 5q"},
    {"affinity", "cookie", "ip;true"},
    {"session-cookie-name", "route;INGRESS_COOKIE", "a b;a=b;a$b"},
    {"session-cookie-max-age", "0;3600;-1", "1h;-2;x"},
    {"session-cookie-path", "/;/app", "app;/a b"},
    {"session-cookie-samesite", "None;Lax;Strict", "none;Any"},
    {"load-balance", "round_robin;ewma", "ip_hash;least_conn"},
    {"upstream-hash-by", "$request_uri;$remote_addr;$http_x_user;$cookie_a;$arg_a", "$request_uri$host;$foo;text"},
    {"custom-http-errors", "404;404,503;400, 500", "200;600;a;404,x"},
    {"proxy-next-upstream", "error timeout;off;error http_502 non_idempotent", "sometimes;http_200"},
    {"backend-protocol", "HTTP;https;GRPC;GRPCS;AUTO_HTTP", "FCGI;AJP;TCP"},
    {"canary-by-header-pattern", "a|b;^v[12]$", "(;a(?=b)"},
    {"server-alias", "a.example.org;a.example.org, *.b.example.org", "~^www\\d+;A.example;a_b"},
    {"mirror-target", "http://a.b;http://a.b.svc:8080$request_uri;http://a.b.svc.cluster.local/",
     "https://a.b;http://a;http://a.example.com;http://a.b:0;http://A.b"},
    {"auth-tls-verify-client", "on;off;optional", "optional_no_ca;yes"},
    {"limit-rps", "0;5", "-1;x;5r/s"},
};

TEST(values_are_read_or_told)
{
    for (size_t i = 0; i < countof(values); i++)
        for (int good = 0; good < 2; good++)
            for (struct str rest = str_of(good ? values[i].good : values[i].bad), one; str_cut(&rest, ';', &one);) {
                AUTO(arena_fini) struct arena a = ARENA;
                struct asked t;
                if (one.n == 0)
                    continue;
                asked_init(&t, values[i].name, arena_strz(&a, one));
                bool told = false;
                array_each (r, &t.i.remarks)
                    told |= str_eqz(str_of(r->reason), "AnnotationInvalid") && str_has(r->text, S("is not kept: \""));
                if (told == (good != 0))
                    test_failed(__FILE__, __LINE__, "%s: \"" STR_FMT "\" is %s", values[i].name, STR_ARG(one),
                                good ? "refused" : "taken");
                asked_fini(&t);
            }
}

/* What cannot be kept of what guards closes; of nothing else. */
TEST(only_guards_close)
{
    for (size_t i = 0; i < ningress_annotations; i++) {
        const struct ingress_annotation *r = &ingress_annotations[i];
        struct asked t;
        asked_init(&t, r->name, "\x7e\x7e no such value $");
        bool takes_all = r->kept == INGRESS_NEEDLESS || t.i.remarks.n == 0;
        if (!takes_all && (t.i.closed.n > 0) != r->guards)
            test_failed(__FILE__, __LINE__, "%s: closed \"" STR_FMT "\"", r->name, STR_ARG(t.i.closed));
        asked_fini(&t);
    }
}

/* ---- names ---- */

TEST(a_star_is_one_label)
{
    static const struct {
        const char *pattern, *host;
        bool is;
    } pairs[] = {
        {"a.example.org", "a.example.org", true},    {"*.example.org", "a.example.org", true},
        {"*.example.org", "a.b.example.org", false}, {"*.example.org", "example.org", false},
        {"*.example.org", "*.example.org", true},    {"A.Example.org", "a.example.org", true},
        {"a.example.org", "b.a.example.org", false}, {"*.example.org", ".example.org", false},
    };
    for (size_t i = 0; i < countof(pairs); i++)
        CHECK_INT(ingress_host_matches(str_of(pairs[i].pattern), str_of(pairs[i].host)), pairs[i].is);
}

/* Who asks why and may not read classes, Services or Secrets is not told that there are none. */
TEST(what_may_not_be_read_is_not_missing)
{
    AUTO(fixture_fini) struct fixture f;
    AUTO(arena_fini) struct arena a = ARENA;
    AUTO(ingress_fini) struct ingress i;
    static const struct kind *const hidden[] = {K(IngressClass), K(Service), K(Secret), K(ConfigMap)};
    fixture_init(&f);
    fixture_add(&f, S("apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: web, annotations: "
                      "{nginx.ingress.kubernetes.io/custom-headers: h, nginx.ingress.kubernetes.io/auth-type: basic, "
                      "nginx.ingress.kubernetes.io/auth-secret: users}}\nspec: {ingressClassName: any, tls: [{hosts: "
                      "[a.example], secretName: t}], defaultBackend: {service: {name: web, port: {number: 80}}}}\n"));
    for (size_t k = 0; k < countof(hidden); k++)
        f.view_sets[hidden[k]->id] = NULL;
    ingress_read(&f.view, view_get(&f.view, K(Ingress), S("default"), S("web")), &a, &i);
    ingress_check(&f.view, &a, &i);
    CHECK(i.class.server == INGRESS_OURS && i.paths.n == 1);
    CHECK_INT(i.remarks.n, 0);
}
