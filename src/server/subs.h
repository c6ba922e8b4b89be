/* subs.h - what is not one of the generic verbs on a stored object: subresources with a kind of their own (scale,
 * binding, eviction, token), and resources that are answered but not stored (reviews). One row each in subs.c; what
 * is done to pods stands in subs_pod.c, reviews in reviews.c. */
#pragma once
#include "server/request.h"

typedef void sub_fn(struct request *r);       /* answers r now or later, then request_finish */
sub_fn *sub_handler(const struct request *r); /* NULL: the generic verbs */
void sub_create(struct request *r);           /* one that has a handler: through admission to it */

sub_fn sub_scale, sub_binding, sub_eviction, sub_token;
sub_fn sub_token_review, sub_self_subject_review;
sub_fn sub_access_review, sub_local_access_review, sub_self_access_review, sub_self_rules_review;
