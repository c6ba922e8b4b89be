/* front_body.h - what was sent with a request over HTTP, into the request. False: it failed. */
#pragma once
#include "server/int.h"

MUST_USE bool front_body_object(struct request *r, struct http_request *h); /* of a create or update: r->body */
MUST_USE bool front_body_delete(struct request *r, struct http_request *h); /* DeleteOptions, if any: r->options */
MUST_USE bool front_body_patch(struct request *r, struct http_request *h);  /* body, body_notes, options.patch */
