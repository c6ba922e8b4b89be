/* A connection from its arrival to its end.
 *
 * It counts into three bounds. One address has a share of all connections (a map from address to counts); over it a
 * connection is closed before a byte is read, and a stream beside others is refused. Where all connections are taken,
 * the one that has been at rest for longest makes room, and where nobody is, listening pauses until one ends. And
 * each belongs to the server's list, so that draining and freeing reach it.
 *
 * What version of HTTP is spoken is settled when the stream is open: the type that the TLS handshake agreed on, and
 * the last of the server's types where nothing was. From then on everything that the stream says goes to the session.
 */
#include "wire/http_session.h"

/* One address may not take all the connections there are. False: it has as many as it may. */
static bool share_take(struct http_line *l, struct str address)
{
    struct http_server *s = l->server;
    ptrdiff_t port = str_rfind_char(address, ':');
    struct str host = str_sub(address, 0, port < 0 ? address.n : (size_t)port);
    if (!s->c.peer_connections_most || host.n >= sizeof l->share->address)
        return true;
    struct http_share *p = map_get(&s->shares, host);
    if (!p) {
        p = NEW(struct http_share);
        memcpy(p->address, host.p, host.n);
        (void)map_put(&s->shares, host, p);
    }
    if (p->lines >= s->c.peer_connections_most)
        return false;
    p->lines++;
    l->share = p;
    return true;
}

void http_share_let_go(struct http_server *s, struct http_share *p)
{
    if (!p || p->lines || p->requests)
        return;
    (void)map_del(&s->shares, str_of(p->address));
    mem_free(p);
}

static void share_give_back(struct http_line *l)
{
    struct http_share *p = TAKE(l->share);
    if (p)
        p->lines--;
    http_share_let_go(l->server, p);
}

bool http_line_may_ask(const struct http_line *l)
{
    const struct http_server_config *c = &l->server->c;
    return l->server->counts.requests < c->connections_most &&
           (!l->share || l->share->requests < c->peer_connections_most);
}

void http_line_rest(struct http_line *l)
{
    list_add_tail(&l->server->idle, &l->idle);
}

void http_line_work(struct http_line *l)
{
    list_del(&l->idle);
}

static void line_release(struct http_line *l)
{
    arena_fini(&l->arena);
    mem_free(l);
}

void http_line_end(struct http_line *l, bool tell)
{
    struct http_server *s = l->server;
    struct http_session *session = TAKE(l->session);
    list_del(&l->node);
    list_del(&l->idle);
    share_give_back(l);
    s->counts.connections--;
    if (s->counts.connections < s->c.connections_most)
        http_server_pause(s, false);
    if (s->draining)
        soon_set(&s->soon);
    stream_free(TAKE(l->stream));
    if (session) {
        session->line = NULL;
        session->type->over(session, tell);
    }
    line_release(l);
}

void http_line_close(struct http_line *l)
{
    if (l->stream)
        stream_close(TAKE(l->stream));
    http_line_end(l, false);
}

struct stream *http_line_take(struct http_line *l)
{
    struct stream *s = TAKE(l->stream);
    stream_fns_set(s, NULL, NULL);
    http_line_end(l, false);
    return s;
}

/* ---- what the stream says */

static const struct http_session_type *type_of(const struct http_line *l)
{
    const struct http_session_type *const *t = l->server->c.sessions;
    struct str agreed = stream_alpn(l->stream);
    while (t[1] && !str_eqz(agreed, t[0]->alpn))
        t++;
    return *t;
}

static void line_opened(struct stream *st)
{
    struct http_line *l = stream_arg(st);
    if (l->session)
        return;
    l->peer.is_tls = stream_is_tls(st);
    if (l->peer.is_tls)
        stream_peer(st, &l->arena, &l->peer.tls);
    l->session = type_of(l)->open(l);
}

static void line_data(struct stream *st, struct str bytes)
{
    struct http_line *l = stream_arg(st);
    if (!l->session)
        line_opened(st); /* it is told late */
    l->session->type->data(l->session, bytes);
}

static void line_drained(struct stream *st)
{
    struct http_line *l = stream_arg(st);
    if (l->session)
        l->session->type->drained(l->session);
}

static void line_ended(struct stream *st)
{
    struct http_line *l = stream_arg(st);
    if (!l->session)
        line_opened(st);
    l->session->type->ended(l->session);
}

static void line_hangup(struct stream *st)
{
    struct http_line *l = stream_arg(st);
    if (l->session && l->session->type->hangup)
        l->session->type->hangup(l->session);
}

static void line_closed(struct stream *st, struct err *err)
{
    struct http_line *l = stream_arg(st);
    if (err->kind == E_TIMEOUT)
        l->server->counts.timeouts++;
    http_line_end(l, true);
}

static const struct stream_fns line_fns = {line_opened, line_data, line_drained, line_ended, line_closed};

/* ---- arrival */

/* All are taken: who has been idle longest makes room, and where nobody is, others wait in the backlog. */
static void make_room(struct http_server *s)
{
    struct http_line *l = list_first(&s->idle, struct http_line, idle);
    if (s->counts.connections < s->c.connections_most)
        return;
    if (l && s->c.peer_connections_most) {
        s->counts.evicted++;
        http_line_close(l);
    } else {
        http_server_pause(s, true);
    }
}

/* Who is at the other end, as far as the socket knows. False: their share is taken. */
static bool peer_find(struct http_line *l, int fd, const struct addr *peer)
{
    struct err err = ERR;
    l->peer.is_unix = peer->sa.sa_family == AF_UNIX;
    if (l->peer.is_unix) {
        l->peer.address = S("unix");
        if (!socket_peer_cred(fd, &l->peer.cred, &err))
            l->peer.cred = (struct peer_cred){-1, (uid_t)-1, (gid_t)-1};
        return true;
    }
    AUTO(strbuf_fini) struct strbuf text = STRBUF(STRBUF_TEXT);
    addr_text(peer, &text);
    l->peer.address = str_dup(&l->arena, strbuf_str(&text));
    return share_take(l, l->peer.address);
}

void http_line_new(struct http_server *s, int own_fd, const struct addr *peer)
{
    struct http_line *l = NEW(struct http_line);
    l->server = s;
    list_init(&l->idle);
    if (!peer_find(l, own_fd, peer)) {
        s->counts.turned_away++;
        fd_close(own_fd);
        line_release(l);
        return;
    }
    list_add_tail(&s->lines, &l->node);
    s->counts.connections++;
    s->counts.accepted++;
    l->stream = stream_new(s->loop, own_fd, s->c.tls, &line_fns, l);
    stream_on_hangup(l->stream, line_hangup);
    make_room(s);
}
