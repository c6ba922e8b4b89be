/* impersonate.h - asking as somebody else: the headers Impersonate-User, -Group, -Uid and -Extra-KEY. Either who asks
 * may make this very request as somebody else (impersonate-on:MODE:VERB, on what the request is about) and be that
 * user in this way (impersonate:MODE, on users, groups, uids and userextras of authentication.k8s.io; KEP-5284), or
 * each of them is allowed by the verb impersonate, for whatever the request is. */
#pragma once
#include "server/request.h"
#include "wire/http_server.h"

/* Replaces *user (in the request's arena). What the request is about is known. False: it is answered with 403 or 400.
 */
MUST_USE bool user_impersonate(struct request *r, const struct http_request *h, struct user *user);
