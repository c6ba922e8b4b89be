#include "node/relay_proto.h"
#include "sys/stream.h"
#include <errno.h>
#include <fcntl.h>

bool relay_parse(struct str bytes, struct relay_message *out)
{
    out->n = 0;
    if (!bytes.n || bytes.n > RELAY_MESSAGE_MOST || bytes.p[bytes.n - 1] != 0)
        return false;
    while (bytes.n) {
        if (out->n == RELAY_TEXTS_MOST)
            return false;
        struct str text = {bytes.p, strlen(bytes.p)};
        out->texts[out->n++] = text;
        bytes = str_sub(bytes, text.n + 1, bytes.n);
    }
    return out->n >= 2;
}

bool relay_fits(const struct strbuf *b)
{
    size_t texts = 0;
    for (size_t i = 0; i < b->n; i++)
        texts += b->p[i] == 0;
    return !b->over && texts <= RELAY_TEXTS_MOST;
}

void relay_add(struct strbuf *b, struct str text)
{
    size_t n = text.n ? strnlen(text.p, text.n) : 0;
    strbuf_add(b, (struct str){text.p, n});
    strbuf_addc(b, 0);
}

void relay_addf(struct strbuf *b, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    strbuf_addvf(b, fmt, args);
    va_end(args);
    strbuf_addc(b, 0);
}

/* --- what waits --- */

struct waiting {
    struct list node;
    size_t n, nfds;
    int fds[RELAY_FDS_MOST];
    char bytes[];
};

void relay_queue_init(struct relay_queue *q)
{
    list_init(&q->messages);
    q->bytes = 0;
}

static void waiting_free(struct relay_queue *q, struct waiting *w)
{
    list_del(&w->node);
    q->bytes -= w->n;
    for (size_t i = 0; i < w->nfds; i++)
        fd_close(w->fds[i]);
    mem_free(w);
}

void relay_queue_fini(struct relay_queue *q)
{
    while (!list_empty(&q->messages))
        waiting_free(q, list_first(&q->messages, struct waiting, node));
}

bool relay_queue_waits(const struct relay_queue *q)
{
    return !list_empty(&q->messages);
}

bool relay_queue_send(struct relay_queue *q, int socket, struct str bytes, const int *fds, size_t nfds,
                      struct err *err)
{
    struct err now = ERR;
    ASSERT(nfds <= RELAY_FDS_MOST);
    if (!relay_queue_waits(q) && socket_send_fds(socket, bytes, fds, nfds, &now))
        return true;
    if (now.kind && now.sys != EAGAIN)
        return *err = now, false;
    if (q->bytes + bytes.n > RELAY_WAITING_MOST)
        return err_set(err, E_TOO_LARGE, "the other side takes no messages: %zu bytes of them wait", q->bytes);
    struct waiting *w = mem_alloc(sizeof *w + bytes.n);
    w->n = bytes.n;
    w->nfds = nfds;
    memcpy(w->bytes, bytes.p, bytes.n);
    list_add_tail(&q->messages, &w->node);
    q->bytes += w->n;
    bool ok = true;
    for (size_t i = 0; i < nfds; i++)
        ok &= (w->fds[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 0)) >= 0;
    if (ok)
        return true;
    (void)err_errno(err, "keep a message's descriptors");
    waiting_free(q, w);
    return false;
}

bool relay_queue_flush(struct relay_queue *q, int socket, struct err *err)
{
    while (relay_queue_waits(q)) {
        struct err now = ERR;
        struct waiting *w = list_first(&q->messages, struct waiting, node);
        if (socket_send_fds(socket, (struct str){w->bytes, w->n}, w->fds, w->nfds, &now))
            waiting_free(q, w);
        else
            return now.sys == EAGAIN || (*err = now, false);
    }
    return true;
}

static const char *const figures_words[] = {
    [FIGURES_SUMMARY] = "summary",   [FIGURES_SUMMARY_SHORT] = "summary-short",
    [FIGURES_RESOURCE] = "resource", [FIGURES_CADVISOR] = "cadvisor",
    [FIGURES_PROBES] = "probes",     [FIGURES_KUBELET] = "kubelet",
    [FIGURES_PODS] = "pods",         [FIGURES_RUNNING_PODS] = "running-pods",
    [FIGURES_USAGE] = "usage",
};

const char *relay_figures_word(enum figures_kind kind)
{
    return figures_words[kind];
}

bool relay_figures_kind(struct str word, enum figures_kind *out)
{
    for (size_t i = 0; i < countof(figures_words); i++) {
        if (str_eqz(word, figures_words[i])) {
            *out = (enum figures_kind)i;
            return true;
        }
    }
    return false;
}
