/* front.h - HTTP in front of requests: authenticates, finds out what is asked, decodes the body, runs the request and
 * sends the answer in the form that was negotiated; watches as streams. */
#pragma once
#include "server/int.h"

extern const struct http_service front_service; /* arg: struct server */
void front_watches_end(struct server *s);       /* over HTTP; in order, so that clients go on where they were */
/* The type of the body of a subresource that is of another kind than its parent; NULL: the parent's. */
const struct type *type_of_sub(const struct subresource *s);
