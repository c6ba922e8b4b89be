/* Every text format over any bytes: few complaints, none of them empty; canonical addresses are fixed points. */
#include "api/codec_int.h"
#include "api/formats.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static format_fn *const all[] = {
        format_dns1123_label,
        format_dns1123_subdomain,
        format_dns1035_label,
        format_qualified_name,
        format_label_value,
        format_path_segment,
        format_config_key,
        format_env_name,
        format_env_name_strict,
        format_c_identifier,
        format_port_name,
        format_port_number_text,
        format_percent,
        format_http_header,
        format_ip,
        format_ip_old,
        format_cidr,
        format_fqdn,
        format_wildcard_subdomain,
        format_domain_prefixed_path,
        format_cron,
        format_dns1123_subdomain_underscore,
    };
    AUTO(arena_fini) struct arena a = ARENA;
    AUTO(strbuf_fini) struct strbuf quoted = STRBUF(1 << 20);
    struct str s = {(const char *)data, size};
    struct err err = ERR;
    for (size_t i = 0; i < countof(all); i++) {
        struct complaints c = COMPLAINTS(&a);
        all[i](&c, s);
        ASSERT(c.n <= countof(c.texts));
        for (size_t k = 0; k < c.n; k++)
            ASSERT(c.texts[k].n);
        ASSERT(format_ok(all[i], s) == (c.n == 0));
    }
    uint8_t one[16], two[16];
    bool v4, v4_again;
    int bits;
    int64_t n;
    int32_t nanos;
    if (ip_parse(s, one, &v4)) {
        struct str canonical = ip_canonical(&a, s);
        ASSERT(ip_parse(canonical, two, &v4_again) && memcmp(one, two, sizeof one) == 0);
        ASSERT(str_eq(canonical, ip_canonical(&a, canonical)));
    }
    if (cidr_parse(s, one, &bits, &v4))
        ASSERT(bits >= 0 && bits <= (v4 ? 32 : 128));
    (void)percent_of(s, &n);
    (void)!gotime_parse(s, false, &n, &nanos, &err);
    (void)!gotime_parse(s, true, &n, &nanos, &err);
    (void)!goduration_parse(s, &n, &err);
    add_quoted(&quoted, s);
    return 0;
}
