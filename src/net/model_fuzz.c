/* A Service, EndpointSlices and Pods that the API would take, a JSON document a line: rules and names are made of
 * them, the difference of a state to itself is empty, and every name can be asked for. */
#include "api/codec.h"
#include "api/rules.h"
#include "net/model.h"
#include "net/rules.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SLICES_MOST = 8 };

static bool object_read(struct arena *a, struct str text, const struct kind *k, struct val *out)
{
    struct err err = ERR;
    AUTO(field_errors_fini) struct field_errors e = {.arena = a};
    struct val *meta;
    if (!type_decode_json(a, k->type, text, out, NULL, &err))
        return false;
    kind_default(a, k, out);
    meta = val_need_map(a, out, N(metadata));
    if (!val_get(meta, N(namespace)))
        val_set_text(a, meta, N(namespace), S("default"));
    kind_validate(k, S(""), out, NULL, &e);
    return e.list.n == 0;
}

static void zone_ask(struct dns_zone *z, struct str text)
{
    static uint8_t out[DNS_TCP_MAX];
    struct dns_query q = {.class = DNS_IN, .udp_size = 512};
    struct dns_name target;
    size_t len;
    static const uint16_t types[] = {DNS_A, DNS_SRV, DNS_PTR, DNS_ANY};
    if (!dns_name_parse(text, &q.name))
        return;
    for (size_t i = 0; i < countof(types); i++) {
        q.type = types[i];
        if (dns_zone_answer(z, &q, false, 1, out, sizeof out, &len, &target) == DNS_DONE)
            ASSERT(len <= 512);
    }
}

static void names_of(struct arena *a, const struct val *service, const struct val *const *slices, size_t n)
{
    struct err err = ERR;
    struct dns_service s;
    if (!model_dns(a, service, slices, n, &s))
        return;
    AUTO(dns_zone_fini) struct dns_zone z;
    ASSERT(dns_zone_init(&z, S("cluster.local"), (struct cidr4){IP4(10, 42, 0, 0), 16},
                         (struct cidr4){IP4(10, 43, 0, 0), 16}, IP4(10, 43, 0, 10), &err));
    dns_zone_namespace(&z, s.ns, true);
    dns_zone_put(&z, &s);
    dns_zone_put(&z, &s);
    zone_ask(&z, arena_fmt(a, STR_FMT "." STR_FMT ".svc.cluster.local", STR_ARG(s.name), STR_ARG(s.ns)));
    for (size_t i = 0; i < s.nports; i++)
        zone_ask(&z, arena_fmt(a, "_" STR_FMT "._" STR_FMT "." STR_FMT "." STR_FMT ".svc.cluster.local",
                               STR_ARG(s.ports[i].name), STR_ARG(s.ports[i].proto), STR_ARG(s.name), STR_ARG(s.ns)));
    dns_zone_del(&z, s.ns, s.name);
}

static void rules_try(struct net_services *all)
{
    AUTO(rules_fini) struct rules r;
    struct rules_diff d;
    struct err err = ERR;
    rules_init(&r);
    for (int round = 0; round < 2; round++) {
        array_each (s, &all->list)
            if (!rules_put(&r, s, &err))
                ASSERT(err.text[0]);
        rules_diff(&r, &d);
        ASSERT(round == 0 || d.changes.n == 0);
        rules_applied(&r, &d);
        rules_diff_fini(&d);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct str rest = {(const char *)data, size}, line;
    struct val service, slice[SLICES_MOST], pod;
    const struct val *slices[SLICES_MOST];
    struct net_services all = {0};
    static const struct net_own own = {{IP4(10, 43, 0, 0), 16}, {IP4(10, 42, 0, 0), 16}};
    size_t n = 0;
    if (size > 1 << 16 || !str_cut(&rest, '\n', &line) || !object_read(&a, line, K(Service), &service))
        return 0;
    while (n < SLICES_MOST && str_cut(&rest, '\n', &line)) {
        if (object_read(&a, line, K(EndpointSlice), &slice[n]))
            slices[n] = &slice[n], n++;
        else if (object_read(&a, line, K(Pod), &pod))
            model_host_ports(&a, &own, &pod, IP4(10, 42, 0, 7), &all);
    }
    model_services(&a, &own, &service, slices, n, S("n1"), &all);
    uint32_t ip;
    size_t here;
    struct str links;
    if (model_announced(&service, S("n1"), &ip, &links))
        ASSERT(ip);
    (void)model_health(&service, slices, n, S("n1"), &here);
    rules_try(&all);
    names_of(&a, &service, slices, n);
    array_fini(&all.list);
    return 0;
}
