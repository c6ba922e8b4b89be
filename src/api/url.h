/* url.h - URLs as Go's net/url reads them, with its words where they are none. Pure. */
#pragma once
#include "base/err.h"

struct url {
    struct str scheme, host, path, query; /* host and path without escapes; query with them */
    struct str raw_path, user, fragment;  /* as they were written */
};
/* As url.Parse. E_INVALID: parse "http://a b": invalid character " " in host name */
MUST_USE bool url_parse(struct arena *a, struct str text, struct url *out, struct err *err);
/* As url.ParseRequestURI: absolute, or a path from the root; '#' is a letter. */
MUST_USE bool url_parse_request(struct arena *a, struct str text, struct url *out, struct err *err);
struct str url_hostname(const struct url *u); /* without port and brackets */
struct str url_port(const struct url *u);
struct str url_escaped_path(struct arena *a, const struct url *u);
/* Cuts the first key and value off the query, both without escapes. What is malformed is left out. */
bool url_next_parameter(struct arena *a, struct str *rest, struct str *key, struct str *value);
