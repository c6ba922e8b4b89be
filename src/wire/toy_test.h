/* toy_test.h - a version of HTTP that is spoken in tests alone (toy_test.c), both sides. */
#pragma once
#include "wire/http_client_session.h"
#include "wire/http_session.h"

extern const struct http_session_type toy_session;
extern const struct http_client_session_type toy_client_session;
extern int toys; /* sessions that are there */
