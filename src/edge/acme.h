/* acme.h - ACME (RFC 8555) as the front door's role speaks it: one step at a time (control/acme.h), each a run of
 * wherry-job, which gets a request and gives an answer, both a line of JSON of ours. What a server says is read in
 * the job alone. Pure, but for acme_run. */
#pragma once
#include "control/acme.h"

#define ACME_LINE_MOST (1 << 20) /* bytes of a request, of an answer of the job */

void acme_request_encode(const struct acme_request *r, struct strbuf *out); /* with a line's end */
MUST_USE bool acme_request_decode(struct arena *a, struct str text, struct acme_request *out, struct err *err);
void acme_answer_encode(const struct acme_answer *r, struct strbuf *out); /* with a line's end */
/* What is no answer of the job becomes an error in it. */
void acme_answer_decode(struct arena *a, struct str text, struct acme_answer *out);
/* One step, to its end: straight-line, blocking, in the job alone. */
void acme_run(struct arena *a, const struct acme_request *r, struct acme_answer *out);
