#include "server/aim.h"
#include "api/formats.h"
#include "server/fail.h"
#include <netinet/in.h>

static const struct aim_row rows[] = {
    {S_INIT("pods"), S_INIT("log"), S_INIT("containerLogs"), false, true},
    {S_INIT("pods"), S_INIT("exec"), S_INIT("exec"), true, true},
    {S_INIT("pods"), S_INIT("attach"), S_INIT("attach"), true, true},
    {S_INIT("pods"), S_INIT("portforward"), S_INIT("portForward"), true, false},
    {S_INIT("nodes"), S_INIT("proxy"), S_INIT(""), false, false},
    {S_INIT("pods"), S_INIT("proxy"), S_INIT(""), false, false},
    {S_INIT("services"), S_INIT("proxy"), S_INIT(""), false, false},
};

static const struct aim_row *row_find(struct str group, struct str resource, struct str sub)
{
    if (!group.n)
        for (size_t i = 0; i < countof(rows); i++)
            if (str_eq(rows[i].resource, resource) && str_eq(rows[i].sub, sub))
                return &rows[i];
    return NULL;
}

const struct aim_row *aim_row_of(const struct request *r)
{
    return row_find(r->group, r->resource, r->sub);
}

bool aim_proxies(struct str group, struct str resource, struct str sub)
{
    const struct aim_row *row = row_find(group, resource, sub);
    return row && !row->path.n;
}

void aim_fini(struct aim *a)
{
    strbuf_fini(&a->target);
}

static struct str query_get(struct arena *a, struct str query, const char *name)
{
    struct str n, v;
    struct err err = ERR;
    while (http_query_next(a, &query, &n, &v, &err))
        if (str_eqz(n, name))
            return v;
    return STR_NONE;
}

/* Which container of a pod: the one that is asked for, or the only one. The annotation for a default is kubectl's. */
static bool find_container(struct request *r, const struct obj *pod, struct str asked, struct str *out)
{
    const struct name *const lists[] = {N(initContainers), N(containers), N(ephemeralContainers)};
    if (asked.n) {
        *out = asked;
        for (size_t i = 0; i < countof(lists); i++)
            if (val_find(val_get(obj_spec(pod), lists[i]), N(name), asked))
                return true;
        return fail_bad_request(r, "container " STR_FMT " is not valid for pod " STR_FMT, STR_ARG(asked),
                                STR_ARG(pod->name));
    }
    const struct val *all = val_get(obj_spec(pod), N(containers));
    if (val_len(all) == 1) {
        *out = val_text_at(val_item(all, 0), N(name));
        return true;
    }
    AUTO(strbuf_fini) struct strbuf list = STRBUF(STRBUF_TEXT);
    for (size_t i = 0; i < countof(lists); i++)
        val_each_item (it, val_get(obj_spec(pod), lists[i]))
            strbuf_addf(&list, "%s" STR_FMT, list.n ? " " : "", STR_ARG(val_text_at(it, N(name))));
    return fail_bad_request(r, "a container name must be specified for pod " STR_FMT ", choose one of: [" STR_FMT "]",
                            STR_ARG(pod->name), STR_ARG(strbuf_str(&list)));
}

/* PodLogOptions, as far as its values can be wrong. */
static bool check_log_options(struct request *r, struct str query)
{
    static const struct {
        const char *name;
        int64_t least;
        const char *text;
    } numbers[] = {
        {"tailLines", 0, "must be greater than or equal to 0"},
        {"limitBytes", 1, "must be greater than 0"},
        {"sinceSeconds", 1, "must be greater than 0"},
    };
    struct str time = query_get(&r->arena, query, "sinceTime"), stream = query_get(&r->arena, query, "stream");
    int64_t at;
    AUTO(field_errors_fini) struct field_errors e = {.arena = &r->arena};
    if (time.n && !time_parse(time, &at))
        return fail_bad_request(r,
                                "parsing time \"" STR_FMT "\" as \"2006-01-02T15:04:05Z07:00\": it is no time of "
                                "RFC 3339",
                                STR_ARG(time));
    for (size_t i = 0; i < countof(numbers); i++) {
        struct str v = query_get(&r->arena, query, numbers[i].name);
        int64_t n;
        if (!v.n)
            continue;
        if (!str_to_i64(v, INT64_MIN, INT64_MAX, &n))
            return fail_bad_request(r, "strconv.ParseInt: parsing \"" STR_FMT "\": invalid syntax", STR_ARG(v));
        if (n < numbers[i].least)
            field_error_add(&e, FE_INVALID, numbers[i].name, "Invalid value: %lld: %s", (long long)n,
                            numbers[i].text);
    }
    if (query_get(&r->arena, query, "sinceSeconds").n && query_get(&r->arena, query, "sinceTime").n)
        field_error_add(&e, FE_FORBIDDEN, "",
                        "Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified");
    if (stream.p && !str_eq(stream, S("All")) && !str_eq(stream, S("Stdout")) && !str_eq(stream, S("Stderr")))
        field_error_add(&e, FE_NOT_SUPPORTED, "stream",
                        "Unsupported value: \"" STR_FMT "\": supported values: \"All\", \"Stderr\", \"Stdout\"",
                        STR_ARG(stream));
    if (stream.p && !str_eq(stream, S("All")) && query_get(&r->arena, query, "tailLines").n)
        field_error_add(&e, FE_FORBIDDEN, "",
                        "Forbidden: `tailLines` and specific `stream` are mutually exclusive for now");
    return !e.list.n || fail_invalid(r, S(""), S("PodLogOptions"), r->name, &e);
}

/* What a proxied request's id names: NAME, NAME:PORT or SCHEME:NAME:PORT. */
struct aim_target {
    struct str name, port; /* port "": none is said */
    bool tls;
    struct obj *obj; /* counted */
};
static void target_fini(struct aim_target *t)
{
    if (t->obj)
        obj_unref(t->obj);
}
AUTO_VALUE(target_fini, struct aim_target);

static bool fail_id(struct request *r, const char *why)
{
    return fail_bad_request(r, "invalid " STR_FMT " request \"" STR_FMT "\"%s", STR_ARG(r->kind->singular),
                            STR_ARG(r->name), why);
}

static bool target_find(struct request *r, struct aim_target *t)
{
    struct str part[4], id = r->name, scheme = S("");
    size_t n = 0;
    while (n < countof(part) && str_cut(&id, ':', &part[n]))
        n++;
    if (n < 1 || n > 3)
        return fail_id(r, "");
    if (n == 3)
        scheme = part[0];
    t->tls = str_eq(scheme, S("https"));
    t->name = part[n == 3 ? 1 : 0];
    t->port = n == 3 ? part[2] : n == 2 ? part[1] : S("");
    if (!t->name.n || (scheme.n && !t->tls && !str_eq(scheme, S("http"))))
        return fail_id(r, "");
    t->obj = object_get(r->server, r->kind, r->ns, t->name);
    return t->obj || fail_named_not_found(r, r->group, r->resource, t->name);
}

/* The port that is said, as a number. */
static bool target_port(struct request *r, const struct aim_target *t, int64_t *number)
{
    return str_to_i64(t->port, 1, 65535, number) ||
           fail_id(r, arena_fmt(&r->arena, ": \"" STR_FMT "\" is no port", STR_ARG(t->port)).p);
}

static struct str address_of(const struct obj *node)
{
    val_each_item (it, val_at(obj_status(node), N(addresses)))
        if (str_eqz(val_text_at(it, N(type)), "InternalIP"))
            return val_text_at(it, N(address));
    return S("");
}

/* An address of a machine, as upstream asks for: not of this one, not of its links alone, not of many. Who writes a
 * status or Endpoints says where that is. */
static bool address_allowed(struct str text)
{
    uint8_t ip[16];
    bool v4;
    if (!ip_parse(text, ip, &v4))
        return false;
    const uint8_t *last = ip + 12;
    struct in6_addr six;
    memcpy(&six, ip, sizeof six);
    if (v4 || IN6_IS_ADDR_V4MAPPED(&six))
        return last[0] != 0 && last[0] != 127 && last[0] < 224 && !(last[0] == 169 && last[1] == 254);
    return !IN6_IS_ADDR_UNSPECIFIED(&six) && !IN6_IS_ADDR_LOOPBACK(&six) && !IN6_IS_ADDR_LINKLOCAL(&six) &&
           !IN6_IS_ADDR_MULTICAST(&six);
}

static bool set_address(struct request *r, struct aim *aim, struct str ip, int port)
{
    if (!address_allowed(ip))
        return fail_bad_request(r, "address not allowed");
    bool v6 = memchr(ip.p, ':', ip.n);
    aim->address = aim->host = arena_fmt(&r->arena, v6 ? "[" STR_FMT "]:%d" : STR_FMT ":%d", STR_ARG(ip), port);
    return true;
}

static bool aim_at_node(struct request *r, struct str rest, struct aim *aim)
{
    AUTO(target_fini) struct aim_target t = {0};
    int64_t number;
    if (!target_find(r, &t))
        return false;
    strbuf_addf(&aim->target, "/" STR_FMT, STR_ARG(rest));
    int64_t relay = val_num(val_at(obj_status(t.obj), N(daemonEndpoints), N(kubeletEndpoint), N(Port)), 0);
    if (!t.port.n)
        return true;
    if (!target_port(r, &t, &number))
        return false;
    if (number == relay)
        return true;
    aim->tls = t.tls;
    return set_address(r, aim, address_of(t.obj), (int)number);
}

/* The first port that a container of the pod names; else the scheme's. */
static int port_of(const struct obj *pod, bool tls)
{
    val_each_item (c, val_get(obj_spec(pod), N(containers)))
        val_each_item (p, val_get(c, N(ports)))
            return (int)val_num(val_get(p, N(containerPort)), 0);
    return tls ? 443 : 80;
}

static bool aim_at_pod_port(struct request *r, struct aim *aim)
{
    AUTO(target_fini) struct aim_target t = {0};
    if (!target_find(r, &t))
        return false;
    aim->tls = t.tls;
    int64_t number = port_of(t.obj, t.tls);
    if (t.port.n && !target_port(r, &t, &number))
        return false;
    if (pod_has_ended(&t.obj->tree)) /* has no address any more: another pod, of anybody, may have got it */
        return fail_unavailable(r, "error trying to reach service: pod " STR_FMT " has ended", STR_ARG(t.name));
    return set_address(r, aim, val_text_at(obj_status(t.obj), N(podIP)), (int)number);
}

/* An address of Endpoints counts where it is that of a pod beside them: nobody writes himself a way to elsewhere. */
static bool is_of_pod(struct request *r, const struct val *address)
{
    const struct val *ref = val_get(address, N(targetRef));
    struct str ip = val_text_at(address, N(ip)), ns = val_text_at(ref, N(namespace));
    if (!str_eqz(val_text_at(ref, N(kind)), "Pod") || (ns.n && !str_eq(ns, r->ns)))
        return false;
    AUTO(obj_unref) struct obj *pod = object_get(r->server, K(Pod), r->ns, val_text_at(ref, N(name)));
    return pod && !pod_has_ended(&pod->tree) && ip.n && str_eq(val_text_at(obj_status(pod), N(podIP)), ip);
}

static struct str port_name(const struct val *port)
{
    struct str name = val_text_at(port, N(name));
    return name.n ? name : S("");
}

static const struct val *port_named(const struct val *subset, struct str name)
{
    val_each_item (p, val_get(subset, N(ports)))
        if (str_eq(port_name(p), name))
            return p;
    return NULL;
}

/* One after another of the ready pods behind a port of a Service: the how many-th of them, counted round. As
 * upstream, the first port of a name is its port: many ports with many addresses are no more work than the addresses.
 */
static const struct val *nth_address(struct request *r, const struct obj *endpoints, struct str port, size_t turn,
                                     int *number)
{
    size_t found = 0;
    for (int round = 0; round < 2; round++) {
        size_t wanted = found ? turn % found : 0, at = 0;
        val_each_item (subset, val_get(&endpoints->tree, N(subsets))) {
            const struct val *p = port_named(subset, port);
            val_each_item (a, p ? val_get(subset, N(addresses)) : NULL) {
                if (!is_of_pod(r, a))
                    continue;
                *number = (int)val_num(val_get(p, N(port)), 0);
                if (round && at == wanted)
                    return a;
                at++;
            }
        }
        found = at;
    }
    return NULL;
}

static bool aim_at_service(struct request *r, struct aim *aim)
{
    static size_t turns; /* the server's loop alone */
    AUTO(target_fini) struct aim_target t = {0};
    int64_t number;
    if (!target_find(r, &t))
        return false;
    struct str port = t.port;
    if (str_to_i64(port, 0, INT64_MAX, &number)) {
        const struct val *found = NULL;
        val_each_item (p, val_get(obj_spec(t.obj), N(ports)))
            if (!found && val_num(val_get(p, N(port)), 0) == number)
                found = p;
        if (!found)
            return fail_unavailable(r, "no service port %lld found for service \"" STR_FMT "\"", (long long)number,
                                    STR_ARG(t.name));
        port = port_name(found);
    }
    AUTO(obj_unref) struct obj *endpoints = object_get(r->server, K(Endpoints), r->ns, t.name);
    int at = 0;
    const struct val *address = endpoints ? nth_address(r, endpoints, port, turns++, &at) : NULL;
    if (!address)
        return fail_unavailable(r, "no endpoints available for service \"" STR_FMT "\"", STR_ARG(r->name));
    aim->tls = t.tls;
    return set_address(r, aim, val_text_at(address, N(ip)), at);
}

/* As upstream, a page at the top ends in a slash, for the links in it. */
static bool wants_slash(const struct http_request *h, struct str rest)
{
    return !rest.n && !str_ends(h->path, S("/")) && (str_eq(h->method, S("GET")) || str_eq(h->method, S("HEAD"))) &&
           !http_header_token(&h->headers, S("Connection"), S("upgrade"));
}

static bool aim_at_proxied(struct request *r, struct http_request *h, struct str rest, struct aim *aim)
{
    if (!(str_eqz(r->resource, "pods") ? aim_at_pod_port(r, aim) : aim_at_service(r, aim)))
        return false;
    aim->prefix = arena_fmt(&r->arena, "/api/v1/namespaces/" STR_FMT "/" STR_FMT "/" STR_FMT "/proxy", STR_ARG(r->ns),
                            STR_ARG(r->resource), STR_ARG(r->name));
    if (h->host.n)
        aim->host = h->host;
    if (!wants_slash(h, rest))
        strbuf_addf(&aim->target, "/" STR_FMT, STR_ARG(rest));
    return true;
}

static bool aim_at_pod(struct request *r, struct http_request *h, const struct aim_row *row, struct aim *aim)
{
    struct str container = S("");
    if (str_eq(row->sub, S("log")) && !check_log_options(r, h->query))
        return false;
    AUTO(obj_unref) struct obj *o = object_get(r->server, r->kind, r->ns, r->name);
    if (!o)
        return fail_not_found(r);
    aim->uid = str_dup(&r->arena, o->uid);
    if (row->container && !find_container(r, o, query_get(&r->arena, h->query, "container"), &container))
        return false;
    if (!val_text_at(obj_spec(o), N(nodeName)).n) {
        if (!row->upgrade) /* the log of a pod that runs nowhere is empty */
            return true;
        return fail_bad_request(r, "pod " STR_FMT " does not have a host assigned", STR_ARG(r->name));
    }
    if (row->upgrade && !http_header_token(&h->headers, S("Connection"), S("upgrade")))
        return fail_bad_request(r, "Upgrade request required");
    strbuf_addf(&aim->target, "/" STR_FMT "/" STR_FMT "/" STR_FMT, STR_ARG(row->path), STR_ARG(r->ns),
                STR_ARG(r->name));
    if (row->container)
        strbuf_addf(&aim->target, "/" STR_FMT, STR_ARG(container));
    return true;
}

bool aim_find(struct request *r, struct http_request *h, struct str rest, struct aim *aim)
{
    const struct aim_row *row = aim_row_of(r);
    return row->path.n                     ? aim_at_pod(r, h, row, aim)
           : str_eqz(r->resource, "nodes") ? aim_at_node(r, rest, aim)
                                           : aim_at_proxied(r, h, rest, aim);
}
