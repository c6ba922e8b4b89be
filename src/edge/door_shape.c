/* The shape: HAProxy's configuration, of numbers and names of ours alone. What is measured and why it is so stands in
 * README.md.
 *
 * Rules cannot jump, but `allow` ends them: what needs nothing more leaves early, so that a route without conditions
 * and letters costs two look-ups. */
#include "edge/door_int.h"
#include "edge/spoa.h"

static const char shape_head[] =
    "global\n"
    " expose-experimental-directives\n"
    " tune.ssl.default-dh-param 2048\n"
    " tune.pattern.cache-size 0\n" /* texts are hardly twice the same, and threads would wait for each other */
    "defaults\n"
    " mode http\n"
    " timeout connect 5s\n"
    " timeout client 1h\n"
    " timeout server 60s\n"
    " timeout queue 5s\n"
    " timeout tunnel 24h\n"
    " timeout http-request 15s\n"
    " timeout http-keep-alive 75s\n"
    " option http-keep-alive\n"
    " option http-restrict-req-hdr-names delete\n"
    " option redispatch 1\n"
    " option splice-auto\n"
    " option dontlognull\n"
    " option tcpka\n"
    " http-reuse safe\n"
    " retries 3\n";

#define DEEPEST 12 /* labels of a host that stars are looked for */

/* Answers of ours, by status. */
static const struct {
    int code;
    const char *text;
} shape_texts[] = {
    {400, "bad request"},
    {403, "forbidden"},
    {404, "no route for this host and path"},
    {408, "request timeout"},
    {413, "the body is too large"},
    {500, "this backend is not valid"},
    {502, "the backend's answer is not valid"},
    {503, "no backend can be reached"},
    {504, "the backend did not answer in time"},
};

static const char *text_of(int code)
{
    for (size_t i = 0; i < countof(shape_texts); i++)
        if (shape_texts[i].code == code)
            return shape_texts[i].text;
    return "";
}

/* Of each request: what is counted of it (counters.h), and where it is to be seen, the rest. */
static const char shape_count[] = " log global\n"
                                  " log-format \"%[var(txn.v),field(2,.),map_str(maps/owner),bytes(1)] %ST %B %U %Ta";
static const char shape_log[] =
    " {\\\"client\\\":\\\"%ci\\\","
    "\\\"method\\\":\\\"%[var(txn.m),json(utf8s)]\\\",\\\"host\\\":\\\"%[var(txn.h),json(utf8s)]\\\","
    "\\\"path\\\":\\\"%[var(txn.p),json(utf8s)]\\\",\\\"status\\\":%ST,\\\"bytes\\\":%B,\\\"ms\\\":%Ta,"
    "\\\"route\\\":\\\"%[var(txn.v),field(2,.),map_str(maps/"
    "owner),bytes(1),json(utf8s)]\\\",\\\"backend\\\":\\\"%b\\\","
    "\\\"server\\\":\\\"%si:%sp\\\",\\\"state\\\":\\\"%tsc\\\"}";

/* The way to the table, by the socket's name, and from it to the target; else it is the table of all hosts. What
 * HAProxy takes and others may read otherwise is refused before it: an HTTP/1.1 request without a host, a host with
 * other letters than names and addresses have, chunks in HTTP/1.0, NUL in a header, "*" but for OPTIONS. */
static const char way_to_host[] =
    " http-request set-var(txn.h) req.hdr(host),host_only,lower,rtrim(.)\n"
    " http-request deny deny_status 400 if !{ var(txn.h) -m reg ^[]a-z0-9._:[-]+$ } !{ req.ver 1.0 }\n"
    " http-request deny deny_status 400 if { req.ver 1.0 } { req.hdr(transfer-encoding) -m found }\n"
    " http-request deny deny_status 400 if { req.hdrs -m reg \\\\x00 }\n"
    " http-request deny deny_status 400 if { url -m beg * } !METH_OPTIONS\n"
    " http-request set-var(txn.z) bool(1) if { path -m sub %% /. // }\n" /* few paths are not plain */
    " http-request set-var(txn.p) path\n"
    " http-request set-var(txn.t) var(txn.h),map_str(maps/h_%1$s)\n"
    " http-request set-var(txn.t,ifnotexists) var(txn.h),field(2,.,0),map_str(maps/w_%1$s)\n";
static const char way_deeper[] =
    " http-request set-var(txn.t,ifnotexists) var(txn.h),field(%2$u,.,0),map_str(maps/d_%1$s)\n";
static const char way_to_target[] = " http-request set-var(txn.t,ifnotexists) str(%1$s)\n"
                                    " http-request set-var(txn.v) var(txn.t),concat(,txn.p,/?),map_beg(maps/paths)\n";

/* A path with escapes, dots or slashes together is looked up once more as it really is, and so passed on: only then
 * does a route get it. Without "strict" 2.6 takes no condition here, and does nothing. */
static const char way_odd[] =
    " http-request allow if { var(txn.v) -m end . } !{ var(txn.z) -m found }\n"
    " http-request normalize-uri percent-decode-unreserved strict if { var(txn.z) -m found }\n"
    " http-request normalize-uri percent-to-uppercase strict if { var(txn.z) -m found }\n"
    " http-request normalize-uri path-strip-dot if { var(txn.z) -m found } { path -m sub /. }\n"
    " http-request normalize-uri path-strip-dotdot full if { var(txn.z) -m found } { path -m sub /.. }\n"
    " http-request set-var(txn.p) path,regsub(//+,/,g) if { var(txn.z) -m found }\n"
    " http-request unset-var(txn.v) if { var(txn.z) -m found }\n"
    " http-request set-var(txn.v) var(txn.t),concat(,txn.p,/?),map_beg(maps/paths) if { var(txn.z) -m found }\n"
    " http-request allow if { var(txn.v) -m end . }\n";

static const char way_answers[] =
    " http-request set-var(txn.an) var(txn.h),concat(,txn.p),map_str(maps/answers) if { path -m beg /.well-known/ }\n"
    " http-request set-var(txn.an) var(txn.p),map_str(maps/answers) if { path -m beg /.well-known/ } !{ var(txn.an) "
    "-m found }\n"
    " http-request return status 200 content-type text/plain lf-string \"%[var(txn.an),bytes(1)]\" if { var(txn.an) "
    "-m found }\n";

static const char way_of_text[] =
    " http-request set-var-fmt(txn.ip) \"4%[src,hex]\" if { src 0.0.0.0/0 }\n"
    " http-request set-var-fmt(txn.ip) \"6%[src,hex]\" if !{ var(txn.ip) -m found }\n"
    " http-request set-var-fmt(txn.c) "
    "\"%[var(txn.v),field(2,.)]?%[var(txn.p)]?%[method]?%[var(txn.ip)]?%[rand(100)]?%[rand(100)]?"
    "%[rand(100)]?%[rand(100)]?&%[query]&\\r\\n%[req.hdrs]\" if { var(txn.v) -m sub ? }\n"
    " http-request set-var(txn.s) var(txn.v),field(3,.) if { var(txn.v) -m sub ? }\n"
    " http-request unset-var(txn.v) if { var(txn.s) -m found }\n";
static const char way_shard[] =
    " http-request set-var(txn.v) var(txn.c),map_regm(maps/k%1$02u) if { var(txn.s) -m str ?%1$02u }\n";
static const char way_after_text[] =
    " http-request set-var(txn.np) var(txn.v),field(2,|,0) if { var(txn.v) -m sub | }\n"
    " http-request set-var(txn.v) var(txn.v),field(1,|) if { var(txn.np) -m found }\n"
    " http-request allow if !{ var(txn.v) -m found }\n"
    " http-request allow if { var(txn.v) -m end . }\n"
    " http-request set-var(txn.r) var(txn.v),field(2,.)\n"
    " http-request set-var(txn.f) var(txn.v),field(3,.)\n";

/* What a route asks for before it is passed on, by its letters. */
static const char way_filters[] =
    " http-request return status 421 content-type text/plain string \"this host needs a connection of its own\\n\" "
    "if { "
    "var(txn.f) -m sub V } !{ ssl_fc_sni,lower,strcmp(txn.h) eq 0 }\n"
    " http-request return status 403 content-type text/plain string \"forbidden\\n\" if { var(txn.f) -m sub N } !{ "
    "ssl_c_used }\n"
    " http-request set-var(txn.a) var(txn.r),concat(:,txn.ip),map_beg(maps/src) if { var(txn.f) -m sub A }\n"
    " http-request return status 403 content-type text/plain string \"forbidden\\n\" if { var(txn.f) -m sub A } !{ "
    "var(txn.a) -m str allow }\n"
    " http-request track-sc0 var(txn.r),concat(:,txn.ip) table clients if { var(txn.f) -m sub L }\n"
    " http-request sc-inc-gpc0(0) if { var(txn.f) -m sub L }\n"
    " http-request sc-inc-gpc1(0) if { var(txn.f) -m sub L }\n"
    " http-request set-var(txn.l1) var(txn.r),map_str_int(maps/rate1) if { var(txn.f) -m sub L }\n"
    " http-request set-var(txn.l10) var(txn.r),map_str_int(maps/rate10) if { var(txn.f) -m sub L }\n"
    " http-request set-var(txn.l60) var(txn.r),map_str_int(maps/rate60) if { var(txn.f) -m sub L }\n"
    " http-request set-var(txn.lc) var(txn.r),map_str_int(maps/conns) if { var(txn.f) -m sub L }\n"
    " http-request set-var(txn.over) bool(1) if { var(txn.l1) -m found } { sc_gpc0_rate(0,clients),sub(txn.l1) gt 0 "
    "}\n"
    " http-request set-var(txn.over) bool(1) if { var(txn.l10) -m found } { sc_http_req_rate(0,clients),sub(txn.l10) "
    "gt 0 }\n"
    " http-request set-var(txn.over) bool(1) if { var(txn.l60) -m found } { sc_gpc1_rate(0,clients),sub(txn.l60) gt "
    "0 }\n"
    " http-request set-var(txn.over) bool(1) if { var(txn.lc) -m found } { sc_conn_cur(0,clients),sub(txn.lc) gt 0 "
    "}\n"
    " http-request return status 503 content-type text/plain string \"too many requests\\n\" if { var(txn.over) -m "
    "found }\n"
    " http-request set-var(txn.o) req.hdr(origin) if { var(txn.f) -m sub C }\n"
    " http-request set-var(txn.ok) var(txn.o) if { var(txn.f) -m sub a }\n"
    " http-request set-var(txn.ok) var(txn.r),concat(|,txn.o),map_str(maps/cors) if { var(txn.o) -m found } !{ "
    "var(txn.ok) -m found }\n"
    " http-request set-var-fmt(txn.ow) \"%[var(txn.r)]|%[var(txn.o),field(1,:)]:*:\" if { var(txn.f) -m sub w } { "
    "var(txn.o) -m found }\n"
    " http-request set-var(txn.oh) var(txn.o),field(3,/),lower if { var(txn.ow) -m found }\n";
static const char way_cors_level[] =
    " http-request set-var(txn.oh) var(txn.oh),field(2,.,0) if { var(txn.ow) -m found } !{ var(txn.ok) -m found }\n"
    " http-request set-var(txn.ok) var(txn.ow),concat(,txn.oh),map_str(maps/cors) if { var(txn.ow) -m found } !{ "
    "var(txn.ok) -m found }\n";
static const char way_cors_end[] =
    " http-request set-var(txn.ao) var(txn.o) if { var(txn.ok) -m found }\n"
    " http-request set-var(txn.ao) str(*) if { var(txn.ok) -m found } { var(txn.f) -m sub a } !{ var(txn.f) -m sub k "
    "}\n"
    " http-request set-var(txn.pre) bool(1) if { var(txn.f) -m sub C } METH_OPTIONS { "
    "req.hdr(access-control-request-method) -m found } { var(txn.o) -m found }\n"
    " http-request set-var(txn.am) req.hdr(access-control-request-method) if { var(txn.pre) -m found } { var(txn.f) "
    "-m sub m }\n"
    " http-request set-var(txn.ah) req.fhdr(access-control-request-headers) if { var(txn.pre) -m found } { "
    "var(txn.f) -m sub e }\n"
    " http-request return status 204 if { var(txn.pre) -m found }\n";
/* Nobody was asked, or nobody has answered: closed. */
static const char way_unasked[] =
    " http-request return status 503 content-type text/plain string \"who may come in here cannot be asked\\n\" if { "
    "var(txn.f) -m sub U } !{ var(txn.agent.verdict) -m int 200 }\n";
/* The agent may have been started anew between the question and its answer: it is asked twice. */
static const char way_asked[] =
    " http-request send-spoe-group door auth if { var(txn.f) -m sub U }\n"
    " http-request send-spoe-group door auth if { var(txn.f) -m sub U } !{ var(txn.agent.verdict) -m found }\n"
    " http-request return status 401 content-type text/plain string \"unauthorized\\n\" hdr www-authenticate "
    "\"%[var(txn.agent.challenge)]\" if { var(txn.agent.verdict) -m int 401 } { var(txn.agent.challenge) -m found }\n"
    " http-request return status 401 content-type text/plain string \"unauthorized\\n\" if { "
    "var(txn.agent.verdict) -m int 401 }\n"
    " http-request redirect location \"%[var(txn.agent.location)]\" code 302 if { var(txn.agent.verdict) -m int 302 "
    "}\n"
    " http-request return status 403 content-type text/plain string \"forbidden\\n\" if { var(txn.agent.verdict) -m "
    "int 403 }\n";
static const char way_copied[] = " http-request wait-for-body time 2s if { var(txn.f) -m sub M }\n"
                                 " http-request send-spoe-group door mirror if { var(txn.f) -m sub M }\n"
                                 " http-request set-var(txn.accept) req.hdr(accept) if { var(txn.f) -m sub E }\n"
                                 " http-request set-var(txn.uri) pathq if { var(txn.f) -m sub E }\n";
/* Pages of another backend for answers with these codes. */
static const char way_pages[] =
    " http-response set-var-fmt(txn.ec) \"%[var(txn.r)]:%[status]\" if { var(txn.f) -m sub E }\n"
    " http-response set-var(txn.ee) var(txn.ec),map_str(maps/errs) if { var(txn.ec) -m found }\n"
    " http-response send-spoe-group door errors if { var(txn.ee) -m found }\n";
static void page_write(int status, struct strbuf *out)
{
    static const int rooms[] = {1, 16, SPOA_PAGE_LINES};
    for (size_t i = 0; i < countof(rooms); i++) {
        strbuf_addf(out, " http-response return status %d content-type text/html lf-string \"", status);
        for (int n = 0; n < rooms[i]; n++)
            strbuf_addf(out, "%s%%[var(txn.agent.l%d)]", n ? "\\n" : "", n);
        strbuf_addf(out, "\" if { var(txn.agent.page) -m int %d } { status %d }\n", rooms[i], status);
    }
}

static const char way_agent_back[] =
    " http-after-response set-header content-type \"%[var(txn.agent.page_type)]\" if { var(txn.agent.page) -m found "
    "}\n"
    " http-after-response add-header set-cookie \"%[var(txn.agent.cookie)]\" if { var(txn.agent.cookie) -m found }\n";
static const char way_body[] =
    " http-request set-var(txn.b) var(txn.r),map_str_int(maps/body) if { var(txn.f) -m sub B }\n"
    " http-request return status 413 content-type text/plain string \"the body is too large\\n\" if { var(txn.b) -m "
    "found } { req.hdr_val(content-length),sub(txn.b) gt 0 }\n";

/* New paths, redirects. */
static const char way_paths[] =
    " http-request set-var(txn.x) var(txn.r),map_str(maps/rw),bytes(1) if { var(txn.f) -m sub P F }\n"
    " http-request set-var(txn.n) var(txn.r),map_str(maps/rw_n) if { var(txn.f) -m sub P }\n";
static const char way_rest[] = " http-request set-var(txn.y) var(txn.p),field(%u,/,0) if { var(txn.n) -m str %u }\n";
static const char way_path_end[] =
    " http-request set-var-fmt(txn.np) \"%[var(txn.x)]/%[var(txn.y)]\" if { var(txn.y) -m found }\n"
    " http-request set-var-fmt(txn.np) \"%[var(txn.x)]\" if { var(txn.f) -m sub P F } !{ var(txn.y) -m found }\n"
    " http-request set-var-fmt(txn.np) \"/%[var(txn.np)]\" if { var(txn.np) -m found } !{ var(txn.np) -m beg / }\n"
    " http-request set-var(txn.np) path if { var(txn.f) -m sub R } !{ var(txn.np) -m found }\n"
    " http-request set-var(txn.l) var(txn.r),map_str(maps/to),bytes(1) if { var(txn.f) -m sub R }\n"
    " http-request set-var(txn.e) var(txn.r),map_str(maps/to_end),bytes(1) if { var(txn.f) -m sub R }\n"
    " http-request set-var-fmt(txn.q) \"?%[query]\" if { var(txn.f) -m sub R } { query -m found } { query -m len gt "
    "0 }\n"
    " http-request set-var-fmt(txn.loc) \"%[var(txn.l)]\" if { var(txn.f) -m sub x }\n"
    " http-request set-var-fmt(txn.loc) \"%[var(txn.l)]%[pathq]%[var(txn.e)]\" if { var(txn.f) -m sub u }\n"
    " http-request set-var-fmt(txn.loc) \"%[var(txn.l)]%[var(txn.h)]%[var(txn.e)]%[var(txn.np)]%[var(txn.q)]\" if { "
    "var(txn.f) -m sub D }\n"
    " http-request set-var-fmt(txn.loc) \"%[var(txn.l)]%[var(txn.np)]%[var(txn.q)]\" if { var(txn.f) -m sub R } !{ "
    "var(txn.loc) -m found }\n";
static const int redirect_codes[] = {301, 302, 303, 307, 308};

static const char way_on[] =
    " http-request set-path \"%[var(txn.np)]\" if { var(txn.np) -m found }\n"
    " http-request set-header Host \"%[var(txn.r),map_str(maps/host),bytes(1)]\" if { var(txn.f) -m sub O }\n";

static const char way_back[] =
    " http-after-response allow if !{ var(txn.f) -m found }\n"
    " http-after-response set-header access-control-allow-origin \"%[var(txn.ao)]\" if { var(txn.ao) -m found }\n"
    " http-after-response add-header vary origin if { var(txn.f) -m sub C }\n"
    " http-after-response set-header access-control-allow-credentials true if { var(txn.ao) -m found } { var(txn.f) "
    "-m sub k }\n"
    " http-after-response set-header access-control-expose-headers "
    "\"%[var(txn.r),map_str(maps/cors_expose),bytes(1)]\" if { var(txn.ao) -m found } { "
    "var(txn.r),map_str(maps/cors_expose) -m found }\n"
    " http-after-response set-header access-control-allow-methods "
    "\"%[var(txn.r),map_str(maps/cors_methods),bytes(1)]\" if { var(txn.pre) -m found } { var(txn.ao) -m found } { "
    "var(txn.r),map_str(maps/cors_methods) -m found }\n"
    " http-after-response set-header access-control-allow-methods \"%[var(txn.am)]\" if { var(txn.am) -m found } { "
    "var(txn.ao) -m found }\n"
    " http-after-response set-header access-control-allow-headers "
    "\"%[var(txn.r),map_str(maps/cors_headers),bytes(1)]\" if { var(txn.pre) -m found } { var(txn.ao) -m found } { "
    "var(txn.r),map_str(maps/cors_headers) -m found }\n"
    " http-after-response set-header access-control-allow-headers \"%[var(txn.ah)]\" if { var(txn.ah) -m found } { "
    "var(txn.ao) -m found }\n"
    " http-after-response set-header access-control-max-age \"%[var(txn.r),map_str(maps/cors_age)]\" if { "
    "var(txn.pre) -m found } { var(txn.ao) -m found } { var(txn.r),map_str(maps/cors_age) -m found }\n";

void door_field_map(char out[64], const struct door_field_use *f)
{
    snprintf(out, 64, "%c%c%u_%s", f->response ? 'a' : 'q', f->op, f->nth, door_name_of('n', f->name).z);
}

static void fields_write(const struct door_shape *s, bool response, struct strbuf *out)
{
    static const struct {
        char op;
        const char *verb;
    } verbs[] = {{'s', "set-header"}, {'a', "add-header"}, {'d', "del-header"}, {'n', "set-header"}};
    for (size_t v = 0; v < countof(verbs); v++)
        for (size_t i = 0; i < s->nfields; i++) {
            const struct door_field_use *f = &s->fields[i];
            char map[64];
            if (f->op != verbs[v].op || f->response != response)
                continue;
            if (f->op == 'n') {
                struct door_name name = door_name_of('n', f->name);
                strbuf_addf(out,
                            " http-request set-header " STR_FMT
                            " \"%%[var(txn.agent.%s)]\" if { var(txn.agent.%s) -m found }\n",
                            STR_ARG(f->name), name.z, name.z);
                continue;
            }
            door_field_map(map, f);
            strbuf_addf(out, " %s %s " STR_FMT, response ? "http-after-response" : "http-request", verbs[v].verb,
                        STR_ARG(f->name));
            if (f->op != 'd')
                strbuf_addf(out, " \"%%[var(txn.r),map_str(maps/%s),bytes(1)]\"", map);
            strbuf_addf(out, " if { var(txn.f) -m sub %c } { var(txn.r),map_str(maps/%s) -m found }\n",
                        response ? 'h' : 'H', map);
        }
}

/* Who is in front of us is believed; what anybody else says about who he is, is not. */
static void forwarded_write(const struct door_shape *s, const struct door_bind *b, struct strbuf *out)
{
    bool tls = b->has & DOOR_HAS_HTTPS;
    char port[16] = "%[dst_port]";
    if (!b->accept_proxy)
        snprintf(port, sizeof port, "%u", b->port);
    struct {
        const char *name, *value;
    } rows[] = {{"proto", tls ? "https" : "http"}, {"host", "%[req.hdr(host)]"}, {"port", port}};
    if (s->trusted)
        strbuf_addf(out,
                    " http-request add-header X-Forwarded-For %%[src]\n http-request set-src "
                    "req.hdr_ip(x-forwarded-for,-%u)\n",
                    s->trusted + 1);
    else
        /* in one go: each line of its own looks through all headers; ssl-client-* is ingress-nginx's of certificates
         */
        strbuf_addz(out, " http-request del-header "
                         "^(x-forwarded-|ssl-client-|x-scheme$|proxy$|forwarded$|x-real-ip$) -m reg\n"
                         " http-request add-header X-Forwarded-For %[src]\n");
    for (size_t i = 0; i < countof(rows); i++) {
        strbuf_addf(out, " http-request %s-header X-Forwarded-%c%s %s", s->trusted ? "set" : "add",
                    rows[i].name[0] - 'a' + 'A', rows[i].name + 1, rows[i].value);
        if (s->trusted)
            strbuf_addf(out, " unless { req.hdr(x-forwarded-%s) -m found }", rows[i].name);
        strbuf_addc(out, '\n');
    }
    strbuf_addf(out, " http-request %s-header X-Real-IP %%[src]\n", s->trusted ? "set" : "add");
}

static bool is_layered(const struct door_bind *b)
{
    unsigned tls = b->has & (DOOR_HAS_HTTPS | DOOR_HAS_PASSED | DOOR_HAS_TERMINATED | DOOR_HAS_ALPN);
    return tls && tls != DOOR_HAS_HTTPS && tls != DOOR_HAS_TERMINATED;
}

/* letter: of the certificate and the list, where TLS ends here; 0: it does not. */
static void tls_write(const struct door_bind *b, char letter, struct strbuf *out)
{
    const char *of = letter == 'h' ? "" : letter == 't' ? "t" : "a";
    if (letter)
        strbuf_addf(out, " ssl crt-list lists/n%1$s_%2$s crt-list lists/l%1$s_%2$s ssl-min-ver TLSv1.2", of,
                    b->name.z);
    if (letter == 'h')
        strbuf_addz(out, " alpn h2,http/1.1");
    if (letter == 'a')
        strbuf_addz(out, " alpn acme-tls/1");
    if (letter && letter != 'a' && b->client_ca.n)
        strbuf_addf(out, " ca-file certs/" STR_FMT ".pem verify %s", STR_ARG(b->client_ca),
                    b->client_ca_optional ? "optional" : "required");
    if (letter && letter != 'a' && b->client_lenient && !b->client_strict)
        strbuf_addz(out, " ca-ignore-err all crt-ignore-err all");
    strbuf_addc(out, '\n');
}

static void binds_write(const struct door_shape *s, const struct door_bind *b, char letter, struct strbuf *out)
{
    bool all = !b->address.n, v6 = str_find_char(b->address, ':') >= 0;
    for (int i = 0; i < (all && s->ipv6 ? 2 : 1); i++) {
        if (all)
            strbuf_addf(out, " bind %s:%u%s", i ? "[::]" : "0.0.0.0", b->port, i ? " v6only" : "");
        else
            strbuf_addf(out, " bind %s" STR_FMT "%s:%u transparent", v6 ? "[" : "", STR_ARG(b->address),
                        v6 ? "]" : "", b->port);
        strbuf_addz(out, b->accept_proxy ? " accept-proxy" : "");
        tls_write(b, letter, out);
    }
}

/* Behind another frontend of ours. */
static void inner_bind_write(const struct door_bind *b, char letter, struct strbuf *out)
{
    strbuf_addf(out, " bind unix@i%c_%s.sock accept-proxy", letter, b->name.z);
    tls_write(b, letter, out);
}

/* The backend of a stream by the name that was asked for: sample, and the letters of its maps. */
static void stream_way_write(const struct door_bind *b, const char *sample, const char *maps, struct strbuf *out)
{
    const char *name = b->name.z;
    strbuf_addf(out,
                " tcp-request content set-var(sess.h) %1$s,lower\n"
                " tcp-request content set-var(sess.b) var(sess.h),map_str(maps/%2$sh_%3$s)\n"
                " tcp-request content set-var(sess.b) var(sess.h),field(2,.,0),map_str(maps/%2$sw_%3$s) if !{ "
                "var(sess.b) -m found }\n",
                sample, maps, name);
    for (unsigned i = 3; i <= DEEPEST; i++)
        strbuf_addf(out,
                    " tcp-request content set-var(sess.b) var(sess.h),field(%u,.,0),map_str(maps/%sd_%s) if !{ "
                    "var(sess.b) -m found }\n",
                    i, maps, name);
    strbuf_addf(out,
                " tcp-request content set-var(sess.b) str(any),map_str(maps/%sa_%s) if !{ var(sess.b) -m found }\n"
                " use_backend %%[var(sess.b)]\n default_backend nowhere\n",
                maps, name);
}

static void stream_frontends_write(const struct door_shape *s, const struct door_bind *b, struct strbuf *out)
{
    const char *name = b->name.z;
    if (b->has & DOOR_HAS_TCP) {
        strbuf_addf(out, "frontend %s\n mode tcp\n", name);
        binds_write(s, b, 0, out);
        strbuf_addf(out, " use_backend %%[str(any),map_str(maps/sa_%s)]\n default_backend nowhere\n", name);
    }
    if (is_layered(b)) {
        strbuf_addf(out, "frontend %s\n mode tcp\n", name);
        binds_write(s, b, 0, out);
        strbuf_addz(out, " tcp-request inspect-delay 5s\n"
                         " tcp-request content reject unless { req.ssl_hello_type 1 }\n");
        if (b->has & DOOR_HAS_ALPN)
            strbuf_addf(out, " use_backend ia_%s if { req.ssl_alpn acme-tls/1 }\n", name);
        stream_way_write(b, "req.ssl_sni", "s", out);
        for (const char *c = "hta"; *c; c++)
            if (b->has & (*c == 'h' ? DOOR_HAS_HTTPS : *c == 't' ? DOOR_HAS_TERMINATED : DOOR_HAS_ALPN))
                strbuf_addf(out, "backend i%1$c_%2$s\n mode tcp\n server inner unix@i%1$c_%2$s.sock send-proxy-v2\n",
                            *c, name);
    }
    if (b->has & DOOR_HAS_TERMINATED) {
        strbuf_addf(out, "frontend t%s\n mode tcp\n", name);
        if (is_layered(b))
            inner_bind_write(b, 't', out);
        else
            binds_write(s, b, 't', out);
        stream_way_write(b, "ssl_fc_sni", "t", out);
    }
    if (b->has & DOOR_HAS_ALPN) {
        strbuf_addf(out, "frontend a%s\n mode tcp\n", name);
        inner_bind_write(b, 'a', out);
        strbuf_addz(out, " tcp-request content reject\n");
    }
}

static void asked_write(const struct door_shape *s, struct strbuf *out)
{
    strbuf_addz(out, " http-request set-var-fmt(txn.g) \",");
    for (size_t i = 0; i < s->nfields; i++)
        if (s->fields[i].op == 'n') {
            struct door_name name = door_name_of('n', s->fields[i].name);
            strbuf_addf(out, "%s,", name.z);
        }
    strbuf_addz(out, "\" if { var(txn.f) -m sub U }\n");
    strbuf_addz(out, way_asked);
}

static void filters_write(const struct door_shape *s, const struct door_bind *b, struct strbuf *out)
{
    if ((b->has & DOOR_HAS_HTTP))
        strbuf_addz(
            out,
            " http-request redirect location https://%[var(txn.h)]%[pathq] code 308 if { var(txn.f) -m sub S }\n");
    strbuf_addz(out, way_filters);
    for (int i = 0; i < 6; i++)
        strbuf_addz(out, way_cors_level);
    strbuf_addz(out, way_cors_end);
    if (s->agent)
        asked_write(s, out);
    strbuf_addz(out, way_unasked);
    strbuf_addz(out, s->agent ? way_copied : "");
    strbuf_addz(out, way_body);
    strbuf_addz(out, way_paths);
    for (size_t i = 0; i <= s->depth; i++)
        strbuf_addf(out, way_rest, (unsigned)i + 2, (unsigned)i);
    strbuf_addz(out, way_path_end);
    for (size_t i = 0; i < countof(redirect_codes); i++)
        strbuf_addf(out,
                    " http-request redirect location \"%%[var(txn.loc)]\" code %d if { var(txn.f) -m sub R%d }\n",
                    redirect_codes[i], redirect_codes[i] % 10);
    for (size_t i = 0; i < s->nstatuses; i++)
        if (s->statuses[i] == 204 || s->statuses[i] == 304) /* HAProxy takes no body for these, and does not start */
            strbuf_addf(out, " http-request return status %d if { var(txn.f) -m sub T%d }\n", s->statuses[i],
                        s->statuses[i]);
        else
            strbuf_addf(
                out,
                " http-request return status %1$d content-type text/plain string \"%2$s\\n\" if { var(txn.f) -m "
                "sub T%1$d }\n",
                s->statuses[i], text_of(s->statuses[i]));
    strbuf_addz(out, way_on);
}

static void frontend_write(const struct door_shape *s, const struct door_bind *b, struct strbuf *out)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct door_name table = door_name_of('t', STR_JOIN(&a, DOOR_NAME(b->name), S(" ")));
    strbuf_addf(out, "frontend %s%s\n", is_layered(b) ? "h" : "", b->name.z);
    if (is_layered(b))
        inner_bind_write(b, 'h', out);
    else
        binds_write(s, b, b->has & DOOR_HAS_HTTPS ? 'h' : 0, out);
    if (s->log || s->count)
        strbuf_addf(out, "%s%s\"\n", shape_count, s->log ? shape_log : "");
    if (s->log)
        strbuf_addz(out, " http-request set-var(txn.m) method\n");
    strbuf_addz(out, s->agent ? spoa_filter : "");
    strbuf_addf(out, way_to_host, b->name.z);
    for (unsigned i = 3; b->deep && i <= DEEPEST; i++)
        strbuf_addf(out, way_deeper, b->name.z, i);
    strbuf_addf(out, way_to_target, table.z);
    if (s->answers && (b->has & DOOR_HAS_HTTP))
        strbuf_addz(out, way_answers);
    forwarded_write(s, b, out);
    strbuf_addz(out, way_odd);
    strbuf_addz(out, way_of_text);
    for (unsigned i = 0; i < s->shards; i++)
        strbuf_addf(out, way_shard, i);
    strbuf_addz(out, way_after_text);
    filters_write(s, b, out);
    fields_write(s, false, out);
    strbuf_addz(out, s->agent ? way_pages : "");
    for (size_t i = 0; s->agent && i < s->nstatuses; i++)
        if (s->statuses[i] >= 400)
            page_write(s->statuses[i], out);
    strbuf_addz(out, way_back);
    strbuf_addz(out, s->agent ? way_agent_back : "");
    fields_write(s, true, out);
    strbuf_addz(out, " use_backend %[var(txn.v),field(1,.)]\n default_backend none\n");
}

void door_shape_write(const struct door_shape *s, struct strbuf *out)
{
    strbuf_addz(out, shape_head);
    for (size_t i = 0; i < countof(shape_texts); i++)
        if (shape_texts[i].code != 404)
            strbuf_addf(out, " http-error status %d content-type text/plain string \"%s\\n\"\n", shape_texts[i].code,
                        shape_texts[i].text);
    for (size_t i = 0; i < s->nbinds; i++) {
        if (s->binds[i].has & (DOOR_HAS_HTTP | DOOR_HAS_HTTPS))
            frontend_write(s, &s->binds[i], out);
        stream_frontends_write(s, &s->binds[i], out);
    }
    strbuf_addf(
        out,
        "backend none\n"
        " http-request return status 503 content-type text/plain string \"%s\\n\" if { var(txn.v) -m found }\n"
        " http-request return status 404 content-type text/plain string \"%s\\n\"\n"
        "backend nowhere\n mode tcp\n tcp-request content reject\n"
        "backend clients\n"
        " stick-table type string len 64 size 100k expire 2m store "
        "conn_cur,gpc0_rate(1s),http_req_rate(10s),gpc1_rate(60s)\n",
        text_of(503), text_of(404));
    for (size_t i = 0; i < s->nslots; i++)
        strbuf_addf(out, "backend %s\n" STR_FMT, s->slots[i].name, STR_ARG(s->slots[i].kind));
    strbuf_addz(out, s->agent ? spoa_backend : "");
}
