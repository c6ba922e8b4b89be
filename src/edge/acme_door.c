#include "base/log.h"
#include "edge/acme_role_int.h"
#include "edge/acme_wire.h"
#include "sys/crypto.h"

#define ALPN "acme-tls/1"

/* What the door shows for a Challenge; one over TLS has a certificate of its own, made once. */
static bool part_add(struct acme_item *i, const struct acme_solving *s, struct arena *a, struct door_part *part)
{
    struct err err = ERR;
    uint8_t digest[SHA256_SIZE];
    if (!s->alpn) {
        array_push(&part->answers, ((struct door_answer){.host = S(""), .path = s->path, .body = s->body}));
        return true;
    }
    sha256_of(s->body, digest);
    if (!i->alpn_chain.n && !cert_make_alpn(s->host, digest, &i->alpn_chain, &i->alpn_key, &err)) {
        log_warn("acme.alpn", "object=%s error=\"%s\"", i->key, err.text);
        return false;
    }
    struct str key = STR_JOIN(a, S(ACME_SOURCE "/"), str_of(i->ns), S("/"), str_of(i->name));
    array_push(&part->certificates,
               ((struct door_certificate){
                   .key = key, .chain = strbuf_str(&i->alpn_chain), .private = strbuf_str(&i->alpn_key)}));
    array_push(&part->alpns,
               ((struct door_alpn){.host = acme_sni(a, s->host), .protocol = S(ALPN), .certificate = key}));
    return true;
}

static void listener_add(struct door_part *part, const char *key, uint16_t port, enum door_protocol protocol)
{
    array_push(&part->listeners, ((struct door_listener){.key = str_of(key), .port = port, .protocol = protocol}));
}

void acme_part_make(struct acme_role *r)
{
    AUTO(arena_fini) struct arena a = ARENA;
    AUTO(door_part_fini) struct door_part part = {0};
    const struct view *v = feed_view(r->edge->feed);
    const struct kind *k = view_defined(v, acme_challenges);
    struct objset_iter it = k ? view_all(v, k) : (struct objset_iter){0};
    for (struct obj *o; k && (o = objset_next(&it));) {
        struct acme_item *i = acme_item_get(r, acme_challenges, o->ns, o->name, true);
        struct acme_solving s;
        bool shown = acme_solving_of(&a, o, &s) && part_add(i, &s, &a, &part);
        if (shown && !i->in_door)
            i->door_revision = r->edge->revision;
        i->solved = i->solved && shown;
        i->in_door = shown;
    }
    if (part.answers.n)
        listener_add(&part, "http", 80, DOOR_HTTP);
    if (part.alpns.n)
        listener_add(&part, "https", 443, DOOR_HTTPS);
    if (part.listeners.n)
        door_part_put(r->edge->door, S(ACME_SOURCE), &part);
    else
        door_part_del(r->edge->door, S(ACME_SOURCE));
}

void acme_part_applied(struct acme_role *r, uint64_t revision)
{
    const struct view *v = feed_view(r->edge->feed);
    const struct kind *k = view_defined(v, acme_challenges);
    if (!k)
        return;
    struct objset_iter it = view_all(v, k);
    for (struct obj *o; (o = objset_next(&it));) {
        struct acme_item *i = acme_item_get(r, acme_challenges, o->ns, o->name, false);
        if (!i || !i->in_door || i->solved || i->door_revision > revision)
            continue;
        i->solved = true;
        workqueue_add(r->queue, str_of(i->key));
    }
}
