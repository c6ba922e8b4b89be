/* http_int.h - what stands behind a request: one version of HTTP. */
#pragma once
#include "wire/http_server.h"

struct http_writer {
    void (*start)(struct http_request *r, struct str content_type, int64_t length);
    void (*write)(struct http_request *r, struct str bytes);
    void (*write_buf)(struct http_request *r, struct buf *b);
    size_t (*queued)(const struct http_request *r);
    bool (*over_high)(const struct http_request *r);
    void (*end)(struct http_request *r);
    void (*abort)(struct http_request *r);
    void (*body_pause)(struct http_request *r, bool pause);
    struct stream *(*upgrade)(struct http_request *r, struct str protocol);
};
