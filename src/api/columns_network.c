/* columns_network.c - the cells of Services and of what is behind and before them: endpoints, slices, Ingresses. */
#include "api/columns_int.h"

static struct str balancer_addresses(const struct column_source *s)
{
    const struct val *list = val_at(s->v, N(status), N(loadBalancer), N(ingress));
    struct str *texts = arena_alloc(s->a, (val_len(list) + 1) * sizeof *texts);
    size_t n = 0;
    val_each_item (i, list)
        if (TEXT(i, ip).n || TEXT(i, hostname).n)
            texts[n++] = TEXT(i, ip).n ? TEXT(i, ip) : TEXT(i, hostname);
    return texts_join(s->a, texts, n, ",", true);
}
struct val cell_addresses(SOURCE)
{
    (void)path;
    return cell_of(s, balancer_addresses(s));
}
struct val cell_service_ip(SOURCE)
{
    struct str ip = val_text(val_item(val_at(s->v, N(spec), N(clusterIPs)), 0));
    (void)path;
    return cell_of(s, ip.n ? ip : S("<none>"));
}
struct val cell_service_external(SOURCE)
{
    const struct val *ips = val_at(s->v, N(spec), N(externalIPs));
    struct str type = val_text_at(s->v, N(spec), N(type)),
               list = texts_join(s->a, texts_of(s->a, ips, NULL), val_len(ips), ",", false);
    (void)path;
    if (str_eq(type, S("ClusterIP")) || str_eq(type, S("NodePort")))
        return cell_of(s, list.n ? list : S("<none>"));
    if (str_eq(type, S("ExternalName")))
        return cell_of(s, val_text_at(s->v, N(spec), N(externalName)));
    if (!str_eq(type, S("LoadBalancer")))
        return cell_of(s, S("<unknown>"));
    struct str balancer = balancer_addresses(s);
    if (list.n)
        balancer = arena_fmt(s->a, STR_FMT "%s" STR_FMT, STR_ARG(balancer), balancer.n ? "," : "", STR_ARG(list));
    return cell_of(s, balancer.n ? balancer : S("<pending>"));
}
struct val cell_service_ports(SOURCE)
{
    const struct val *ports = val_at(s->v, N(spec), N(ports));
    struct str *texts = arena_alloc(s->a, (val_len(ports) + 1) * sizeof *texts);
    size_t n = 0;
    (void)path;
    val_each_item (p, ports)
        texts[n++] = NUM(p, nodePort) > 0
                         ? arena_fmt(s->a, "%lld:%lld/" STR_FMT, (long long)NUM(p, port), (long long)NUM(p, nodePort),
                                     STR_ARG(TEXT(p, protocol)))
                         : arena_fmt(s->a, "%lld/" STR_FMT, (long long)NUM(p, port), STR_ARG(TEXT(p, protocol)));
    return cell_of(s, n ? texts_join(s->a, texts, n, ",", false) : S("<none>"));
}

/* Three, and how many more there are. */
struct few {
    struct strbuf b;
    size_t n;
};
static void few_add(struct few *f, struct str t)
{
    if (f->n++ < 3)
        strbuf_addf(&f->b, "%s" STR_FMT, f->n > 1 ? "," : "", STR_ARG(t));
}
static struct val few_shown(const struct column_source *s, struct few *f, const char *none)
{
    if (f->n > 3)
        strbuf_addf(&f->b, " + %zu more...", f->n - 3);
    struct val v = cell_of(s, f->n ? strbuf_str(&f->b) : str_of(none));
    strbuf_fini(&f->b);
    return v;
}

struct val cell_endpoints(SOURCE)
{
    struct few f = {.b = STRBUF(STRBUF_TEXT)};
    (void)path;
    val_each_item (subset, V(s->v, subsets)) {
        const struct val *ports = V(subset, ports);
        if (val_len(ports) == 0)
            val_each_item (address, V(subset, addresses))
                few_add(&f, TEXT(address, ip));
        val_each_item (port, ports)
            val_each_item (address, V(subset, addresses)) {
                struct str ip = TEXT(address, ip);
                const char *form = str_find_char(ip, ':') >= 0 ? "[" : "";
                few_add(&f, arena_fmt(s->a, "%s" STR_FMT "%s:%lld", form, STR_ARG(ip), *form ? "]" : "",
                                      (long long)NUM(port, port)));
            }
    }
    return few_shown(s, &f, "<none>");
}
struct val cell_slice_ports(SOURCE)
{
    struct few f = {.b = STRBUF(STRBUF_TEXT)};
    (void)path;
    val_each_item (port, V(s->v, ports))
        few_add(&f, val_is(V(port, port), VAL_INT) ? arena_fmt(s->a, "%lld", (long long)NUM(port, port))
                    : TEXT(port, name).n           ? TEXT(port, name)
                                                   : S("*"));
    return few_shown(s, &f, "<unset>");
}
struct val cell_slice_endpoints(SOURCE)
{
    struct few f = {.b = STRBUF(STRBUF_TEXT)};
    (void)path;
    val_each_item (endpoint, V(s->v, endpoints))
        val_each_item (address, V(endpoint, addresses))
            few_add(&f, val_text(address));
    return few_shown(s, &f, "<unset>");
}
struct val cell_ingress_hosts(SOURCE)
{
    const struct val *rules = val_at(s->v, N(spec), N(rules));
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    size_t n = 0;
    (void)path;
    val_each_item (rule, rules)
        if (TEXT(rule, host).n && n < 3)
            strbuf_addf(&b, "%s" STR_FMT, n++ ? "," : "", STR_ARG(TEXT(rule, host)));
    if (n == 0)
        return cell_of(s, S("*"));
    if (val_len(rules) > 3)
        strbuf_addf(&b, " + %zu more...", val_len(rules) - 3);
    return cell_of(s, strbuf_str(&b));
}
struct val cell_ingress_ports(SOURCE)
{
    (void)path;
    return cell_of(s, val_len(val_at(s->v, N(spec), N(tls))) ? S("80, 443") : S("80"));
}

struct val cell_ingressclass_name(SOURCE)
{
    (void)path;
    return cell_marked_default(s, "ingressclass.kubernetes.io/is-default-class", NULL);
}
struct val cell_ingressclass_parameters(SOURCE)
{
    const struct val *p = val_at(s->v, N(spec), N(parameters));
    struct str group = TEXT(p, apiGroup);
    (void)path;
    if (!p)
        return cell_of(s, S("<none>"));
    return cell_of(s, arena_fmt(s->a, STR_FMT "%s" STR_FMT "/" STR_FMT, STR_ARG(TEXT(p, kind)), group.n ? "." : "",
                                STR_ARG(group), STR_ARG(TEXT(p, name))));
}
