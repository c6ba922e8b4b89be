/* The addresses of a Gateway. Where there is a pool of addresses it has a Service of type LoadBalancer, and so an
 * address of its own; where there is none it shares the nodes' with all others and with Ingresses. */
#include "api/formats.h"
#include "control/gateway_int.h"

static bool pools_exist(const struct view *v)
{
    static const char *const definitions[] = {"addresspools.wherry.dev", "ipaddresspools.metallb.io"};
    for (size_t i = 0; i < countof(definitions); i++) {
        const struct kind *k = view_defined(v, definitions[i]);
        struct objset_iter it = k ? view_all(v, k) : (struct objset_iter){0};
        if (k && objset_next(&it))
            return true;
    }
    return false;
}

static void address_add(struct gateway_model *g, struct str address)
{
    for (size_t i = 0; i < g->naddresses; i++)
        if (str_eq(g->addresses[i], address))
            return;
    if (address.n && g->naddresses < GATEWAY_ADDRESSES)
        g->addresses[g->naddresses++] = address;
}

/* What is asked for: an address; any (""); or what nobody here can give. */
static void wishes_check(struct arena *a, struct gateway_model *g, const struct val *wishes)
{
    val_each_item (it, wishes) {
        struct str type = text_or(it, "type", "IPAddress"), value = text_of(it, "value");
        uint8_t b[16];
        bool v4;
        if (!str_eqz(type, "IPAddress"))
            fault_keep(&g->accepted, fault_make(a, "UnsupportedAddress",
                                                "spec.addresses: type " STR_FMT " is not supported, only IPAddress",
                                                STR_ARG(type)));
        else if (text_of(it, "routability").n)
            fault_keep(&g->accepted,
                       fault_make(a, "UnsupportedAddress", "spec.addresses: routability is not supported"));
        else if (value.n && !ip_parse(value, b, &v4))
            fault_keep(&g->accepted, fault_make(a, "UnsupportedAddress",
                                                "spec.addresses: \"" STR_FMT "\" is no IP address", STR_ARG(value)));
    }
}

static void service_addresses_read(const struct view *v, struct arena *a, struct gateway_model *g)
{
    struct str name = gateway_service_name(a, g->gateway);
    const struct obj *service = view_get(v, K(Service), g->gateway->ns, name);
    const struct val *owner = service ? obj_controller(service) : NULL;
    g->own_address = true;
    if (service && !str_eq(val_text_at(owner, N(uid)), g->gateway->uid)) {
        g->unusable = fault_make(a, "AddressNotAssigned", "there is a Service " STR_FMT " that is not this Gateway's",
                                 STR_ARG(name));
        return;
    }
    val_each_item (it, val_at(service ? obj_status(service) : NULL, N(loadBalancer), N(ingress)))
        address_add(g, val_text_at(it, N(ip)));
    const struct val *given = service ? condition_get(obj_status(service), "wherry.dev/AddressAssigned") : NULL;
    const struct val *wishes = field_of(obj_spec(g->gateway), "addresses");
    size_t asked = 0;
    val_each_item (it, wishes)
        asked += text_of(it, "value").n > 0;
    if (asked > 1)
        g->unusable = fault_make(a, "AddressNotUsable",
                                 "spec.addresses: a Gateway has one address of a pool, and "
                                 "%zu are asked for",
                                 asked);
    else if (str_eqz(val_text_at(given, N(status)), "False"))
        g->unusable = fault_make(a, asked ? "AddressNotUsable" : "AddressNotAssigned",
                                 "Service " STR_FMT ": " STR_FMT, STR_ARG(name),
                                 STR_ARG(val_text_at(given, N(message))));
}

static void node_addresses_read(const struct view *v, struct arena *a, struct gateway_model *g,
                                const struct val *wishes)
{
    static const char *const types[] = {"ExternalIP", "InternalIP"};
    struct gateway_model all = {0};
    struct obj *node;
    for (size_t i = 0; i < countof(types); i++)
        for (struct objset_iter it = view_all(v, K(Node)); (node = objset_next(&it));)
            val_each_item (at, val_get(obj_status(node), N(addresses)))
                if (str_eqz(val_text_at(at, N(type)), types[i]))
                    address_add(&all, val_text_at(at, N(address)));
    g->everywhere = true;
    val_each_item (it, wishes) {
        struct str value = text_of(it, "value");
        bool has = false;
        g->everywhere &= value.n == 0;
        for (size_t i = 0; i < all.naddresses; i++)
            has |= str_eq(all.addresses[i], value);
        if (has)
            address_add(g, value);
        else if (value.n)
            fault_keep(&g->unusable,
                       fault_make(a, "AddressNotUsable",
                                  "spec.addresses: " STR_FMT " is no node's, and there is no pool of addresses "
                                  "(AddressPool)",
                                  STR_ARG(value)));
    }
    if (g->everywhere)
        for (size_t i = 0; i < all.naddresses; i++)
            address_add(g, all.addresses[i]);
}

void gateway_addresses_read(const struct view *v, struct arena *a, struct gateway_model *g)
{
    const struct val *wishes = field_of(obj_spec(g->gateway), "addresses");
    wishes_check(a, g, wishes);
    if (pools_exist(v))
        service_addresses_read(v, a, g);
    else
        node_addresses_read(v, a, g, wishes);
}
