/* The request as handlers know it: checks and what is the same in every version of HTTP. */
#include "wire/http_int.h"

void http_set(struct http_request *r, struct str name, struct str value)
{
    ASSERT(r->status == 0);
    http_header_add(&r->arena, &r->answer, name, value);
}

static void start(struct http_request *r, int status, struct str content_type, int64_t length)
{
    ASSERT(r->status == 0 && status >= 200 && status < 600);
    r->status = status;
    if (!r->gone)
        r->writer->start(r, content_type, length);
}

void http_start(struct http_request *r, int status, struct str content_type, int64_t length)
{
    ASSERT(r->on_gone); /* or what the answer holds would stay when its reader leaves in the midst of it */
    start(r, status, content_type, length);
}

static bool has_body(const struct http_request *r)
{
    return !r->gone && r->status != 204 && r->status != 304 && !str_eq(r->method, S("HEAD"));
}

void http_write(struct http_request *r, struct str bytes)
{
    ASSERT(r->status != 0);
    if (bytes.n == 0 || !has_body(r))
        return;
    r->sent += bytes.n;
    r->writer->write(r, bytes);
}

void http_write_buf(struct http_request *r, struct buf *b)
{
    ASSERT(r->status != 0);
    if (b->n == 0 || !has_body(r))
        return;
    r->sent += b->n;
    r->writer->write_buf(r, b);
}

size_t http_queued(const struct http_request *r)
{
    return r->gone ? 0 : r->writer->queued(r);
}

bool http_over_high(const struct http_request *r)
{
    return !r->gone && r->writer->over_high(r);
}

void http_end(struct http_request *r)
{
    ASSERT(r->status != 0);
    r->writer->end(r);
}

void http_abort(struct http_request *r)
{
    r->writer->abort(r);
}

void http_body_pause(struct http_request *r, bool pause)
{
    if (!r->gone)
        r->writer->body_pause(r, pause);
}

struct stream *http_upgrade(struct http_request *r, struct str protocol)
{
    ASSERT(r->status == 0);
    return r->writer->upgrade(r, protocol);
}

void http_respond(struct http_request *r, int status, struct str content_type, struct str body)
{
    start(r, status, content_type, (int64_t)body.n);
    http_write(r, body);
    http_end(r);
}

void http_respond_buf(struct http_request *r, int status, struct str content_type, struct buf *body)
{
    start(r, status, content_type, (int64_t)body->n);
    http_write_buf(r, body);
    http_end(r);
}
