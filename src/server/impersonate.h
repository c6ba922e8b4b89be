/* impersonate.h - asking as somebody else: the headers Impersonate-User, -Group, -Uid and -Extra-KEY. Each of them
 * must be allowed to who asks, by the verb impersonate. */
#pragma once
#include "server/request.h"
#include "wire/http_server.h"

/* Replaces *user (in the request's arena). False: the request is answered with 403 or 400. */
MUST_USE bool user_impersonate(struct request *r, const struct http_request *h, struct user *user);
