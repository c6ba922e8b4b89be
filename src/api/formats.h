/* formats.h - the text formats of names, labels, keys, ports, addresses: each check gives upstream's message where
 * the text is bad (several in a row for some), from k8s.io/apimachinery/pkg/util/validation. Pure. */
#pragma once
#include "base/err.h"
#include "base/str.h"

/* Complaints about one text, in upstream's order; further ones are dropped. The texts are static or in `a`. */
struct complaints {
    struct arena *a;
    struct str texts[8];
    size_t n;
};
#define COMPLAINTS(arena) ((struct complaints){.a = (arena)})
typedef void format_fn(struct complaints *c, struct str s);

format_fn format_dns1123_label, format_dns1123_subdomain, format_dns1035_label;
format_fn format_dns1123_subdomain_underscore; /* labels may hold '_' (searches of dnsConfig) */
format_fn format_wildcard_subdomain;           /* "*.example.com" */
format_fn format_qualified_name, format_label_value, format_path_segment;
format_fn format_config_key, format_env_name, format_env_name_strict, format_c_identifier;
format_fn format_port_name, format_port_number_text, format_percent, format_http_header;
format_fn format_ip, format_ip_old; /* old: as values that stand already are judged (leading zeros are let through) */
format_fn format_cidr;
format_fn format_fqdn, format_domain_prefixed_path;
format_fn format_cron; /* api/cron.h */

bool format_ok(format_fn *f, struct str s);
bool is_ip(struct str s);
bool is_ip4(struct str s);
bool is_ip6(struct str s);
/* 16 bytes (IPv4 mapped); false where it is no address. */
bool ip_parse(struct str s, uint8_t out[16], bool *v4);
/* address and prefix length; the length counts from the family's own width */
bool cidr_parse(struct str s, uint8_t out[16], int *bits, bool *v4);
struct str ip_canonical(struct arena *a, struct str s); /* RFC 5952; what is no address comes back as it is */
bool is_port(int64_t n);                                /* 1..65535 */
bool is_extended_resource(struct str name);             /* example.com/gpu: qualified, not of kubernetes.io */
bool is_hugepages(struct str name);
bool is_native_resource(struct str name); /* no domain, or *.kubernetes.io/ */
/* The percentage of an IntOrString text "25%", at most INT32_MAX; false where it is none. */
bool percent_of(struct str s, int64_t *out);
/* A text as Go's %q shows it. */
void add_quoted(struct strbuf *b, struct str s);
/* time.ParseDuration ("1h30m", "1.5s"), in nanoseconds; errors in Go's words. */
MUST_USE bool goduration_parse(struct str s, int64_t *ns, struct err *err);
/* Duration.String; nanoseconds. */
void goduration_add(struct strbuf *b, int64_t ns);
