/* ingress_values.h - how the values of annotations are read (ingress_annotations.c has the rows). Each writes its
 * member of struct ingress_settings, or says in words what is wrong with the value and leaves it alone. */
#pragma once
#include "control/ingress.h"

struct ingress_reading {
    const struct view *v;
    struct arena *a;
    struct ingress *i;
};
typedef bool ingress_value_fn(struct ingress_reading *r, struct str value, void *member, struct err *err);
ingress_value_fn value_affinity, value_affinity_mode, value_auth_type, value_balance, value_bool,
    value_cache_duration, value_cache_key, value_canary_behavior, value_codes, value_configmap, value_cookie_name,
    value_cookie_path, value_hash_by, value_header_list, value_header_name, value_header_text, value_host_list,
    value_host_name, value_http_version, value_method, value_method_list, value_mirror, value_next_upstream,
    value_number, value_number_1, value_on_off, value_origins, value_path, value_pattern, value_protocol,
    value_ranges, value_redirect, value_redirect_code, value_rewrite, value_samesite, value_satisfy, value_seconds,
    value_seconds_plain, value_secret, value_secret_type, value_service, value_size, value_text, value_url_variables,
    value_verify_client;
