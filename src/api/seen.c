/* seen.c - long lists: what came before, and which element has a name. */
#include "api/codec.h"
#include "api/rules_int.h"

void seen_fini(struct seen *s)
{
    map_fini(&s->texts);
}

bool seen_before(struct seen *s, struct str text)
{
    return map_put(&s->texts, text.p ? text : S(""), s) != NULL;
}

bool seen_value(struct seen *s, const struct val *v)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(SIZE_MAX / 2);
    json_encode(&b, v);
    return seen_before(s, strbuf_str(&b));
}

bool seen_pair(struct seen *s, struct str one, struct str other)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(SIZE_MAX / 2);
    strbuf_addf(&b, "%zu:", one.n);
    strbuf_add(&b, one);
    strbuf_add(&b, other);
    return seen_before(s, strbuf_str(&b));
}

enum { NAMED_FROM = 16 };

struct named named_of(const struct val *list, const struct name *field)
{
    struct named n = {list, field, MAP};
    if (val_len(list) < NAMED_FROM)
        return n;
    val_each_item (it, list) {
        const struct val *text = val_get(it, field);
        if (val_is(text, VAL_STRING) && !map_get(&n.by_text, val_text(text)))
            (void)map_put(&n.by_text, val_text(text), (void *)(uintptr_t)it);
    }
    return n;
}

void named_fini(struct named *n)
{
    map_fini(&n->by_text);
}

const struct val *named_find(const struct named *n, struct str text)
{
    return val_len(n->list) < NAMED_FROM ? val_find(n->list, n->field, text) : map_get(&n->by_text, text);
}

struct pod_rules pod_rules_of(bool is_pod, const struct val *meta, const struct val *spec)
{
    return (struct pod_rules){.is_pod = is_pod,
                              .meta = meta,
                              .spec = spec,
                              .containers = named_of(V(spec, containers), N(name)),
                              .init_containers = named_of(V(spec, initContainers), N(name)),
                              .claims = named_of(V(spec, resourceClaims), N(name))};
}

void pod_rules_fini(struct pod_rules *p)
{
    map_fini(&p->volumes);
    named_fini(&p->containers);
    named_fini(&p->init_containers);
    named_fini(&p->claims);
}
