/* The server: what is listened on, what there is of everything, and its end. Draining closes the doors, lets every
 * session serve what is under way, and says `done` in the turn after the last line has gone. */
#include "wire/http_session.h"

struct http_door {
    struct list node;
    struct http_server *server;
    struct listener listener;
};

void http_server_pause(struct http_server *s, bool pause)
{
    if (s->paused == pause)
        return;
    s->paused = pause;
    list_each (d, &s->doors, struct http_door, node)
        listener_pause(&d->listener, pause);
}

const char *http_server_date(struct http_server *s)
{
    static const char *const days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                         "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    time_t now = (time_t)(clock_real() / NS_PER_S);
    struct tm tm;
    if (now == s->date_of || !gmtime_r(&now, &tm))
        return s->date;
    s->date_of = now;
    (void)snprintf(s->date, sizeof s->date, "%s, %02d %s %04d %02d:%02d:%02d GMT", days[tm.tm_wday], tm.tm_mday,
                   months[tm.tm_mon], tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
    return s->date;
}

static void connection_accepted(struct listener *l, int own_fd, const struct addr *peer)
{
    http_line_new(container_of(l, struct http_door, listener)->server, own_fd, peer);
}

static void server_soon(struct soon *soon)
{
    struct http_server *s = container_of(soon, struct http_server, soon);
    if (s->counts.connections || !s->drained)
        return;
    void (*done)(struct http_server * s, void *arg) = s->drained;
    s->drained = NULL;
    done(s, s->drained_arg);
}

struct http_server *http_server_new(struct loop *l, const struct http_server_config *c)
{
    static const struct http_session_type *const usual[] = {&http1_session, NULL};
    struct http_server *s = NEW(struct http_server);
    s->loop = l;
    s->c = *c;
    s->c.sessions = c->sessions ? c->sessions : usual;
    s->c.body_most = c->body_most ? c->body_most : 3u << 20;
    s->c.connections_most = c->connections_most ? c->connections_most : 10000;
    s->c.head_ns = c->head_ns ? c->head_ns : 10 * NS_PER_S;
    s->c.idle_ns = c->idle_ns ? c->idle_ns : 180 * NS_PER_S;
    s->c.stall_ns = c->stall_ns ? c->stall_ns : 60 * NS_PER_S;
    s->c.body_ns = c->body_ns ? c->body_ns : 60 * NS_PER_S;
    s->c.bodies_most = c->bodies_most ? c->bodies_most : 256u << 20;
    s->c.answers_most = c->answers_most ? c->answers_most : 256u << 20;
    list_init(&s->idle);
    s->shares = MAP;
    list_init(&s->lines);
    list_init(&s->doors);
    soon_init(&s->soon, l, server_soon);
    return s;
}

void http_server_listen(struct http_server *s, int own_fd)
{
    struct http_door *d = NEW(struct http_door);
    d->server = s;
    list_add_tail(&s->doors, &d->node);
    listener_start(&d->listener, s->loop, own_fd, connection_accepted);
    listener_pause(&d->listener, s->paused);
}

void http_server_accept(struct http_server *s, int own_fd)
{
    struct addr peer = {.n = sizeof peer.storage};
    if (getpeername(own_fd, &peer.sa, &peer.n) < 0)
        peer.sa.sa_family = AF_UNIX;
    http_line_new(s, own_fd, &peer);
}

const struct http_server_counts *http_server_counts(const struct http_server *s)
{
    return &s->counts;
}

size_t http_server_bodies(const struct http_server *s)
{
    return s->bodies + s->little;
}

size_t http_server_queued(const struct http_server *s)
{
    size_t sum = s->waiting;
    list_each (l, &s->lines, struct http_line, node)
        sum += stream_queued(l->stream);
    return sum;
}

static void doors_close(struct http_server *s)
{
    for (struct http_door *d; (d = list_first(&s->doors, struct http_door, node));) {
        list_del(&d->node);
        listener_stop(&d->listener);
        mem_free(d);
    }
}

void http_server_drain(struct http_server *s, void (*done)(struct http_server *s, void *arg), void *arg)
{
    s->draining = true;
    s->drained = done;
    s->drained_arg = arg;
    doors_close(s);
    list_each (l, &s->lines, struct http_line, node) {
        if (l->session)
            l->session->type->drain(l->session);
        else
            http_line_close(l); /* nothing was asked on it */
    }
    soon_set(&s->soon);
}

void http_server_free(struct http_server *s)
{
    if (!s)
        return;
    doors_close(s);
    s->draining = false;
    s->dying = true;
    for (struct http_line *l; (l = list_first(&s->lines, struct http_line, node));)
        http_line_end(l, false);
    soon_stop(&s->soon);
    map_fini(&s->shares);
    mem_free(s);
}
