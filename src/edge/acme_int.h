/* acme_int.h - what the parts of ACME in wherry-job share. */
#pragma once
#include "edge/acme_wire.h"

/* The steps DNS_...: sockets, straight-line. */
void acme_dns_run(struct arena *a, const struct acme_request *r, struct acme_answer *out);
