#include "base/log.h"
#include "server/pki.h"
#include "server/sites.h"
#include "wire/json.h"

#define NODE_CERTIFICATE_MOST (64 << 10)

static void add_member(struct strbuf *b, const char *name, struct str text)
{
    strbuf_addf(b, "%c\"%s\":", b->n ? ',' : '{', name);
    json_add_string(b, text);
}

/* GET /wherry.dev/node-certificate: with what the relay of this machine serves HTTPS. It asks over the unix socket,
 * where the kernel says who it is; nobody is given a key over the network, whatever rights they have. */
void site_node_certificate(struct site_call *c)
{
    AUTO(strbuf_fini)
    struct strbuf cert = STRBUF(NODE_CERTIFICATE_MOST), key = STRBUF(NODE_CERTIFICATE_MOST),
                  b = STRBUF(4 * NODE_CERTIFICATE_MOST);
    struct err err = ERR;
    if (!c->http->peer->is_unix || !str_eq(c->http->method, S("GET"))) {
        http_respond(c->http, 404, S("text/plain; charset=utf-8"), S("404 page not found\n"));
        return;
    }
    if (!server_node_leaf(c->server, &cert, &key, &err)) {
        log_error("node.certificate", "error=\"%s\"", err.text);
        http_respond(c->http, 500, S("text/plain; charset=utf-8"), str_of(err.text));
        return;
    }
    add_member(&b, "certificate", strbuf_str(&cert));
    add_member(&b, "key", strbuf_str(&key));
    add_member(&b, "clientCA", c->server->keys->ca_pem);
    strbuf_addc(&b, '}');
    http_respond(c->http, 200, S("application/json"), strbuf_str(&b));
    mem_wipe(key.p, key.n);
    mem_wipe(b.p, b.n);
}
