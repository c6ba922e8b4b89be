#include "api/formats.h"
#include "api/netip.h"
#include "api/url.h"
#include "base/test.h"

TEST(users_and_fragments_of_urls_are_as_they_were_written)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct url u;
    struct err err = ERR;
    CHECK_OK(url_parse(&a, S("https://us%20er:p@h/x?q#a%20b"), &u, &err), err);
    CHECK_STR(u.user, S("us%20er:p"));
    CHECK_STR(u.fragment, S("a%20b"));
    CHECK_OK(url_parse(&a, S("https://h/x"), &u, &err), err);
    CHECK(u.user.p && !u.user.n && u.fragment.p && !u.fragment.n);
}

TEST(urls_are_read_as_go_reads_them)
{
    static const struct {
        const char *text, *parts; /* scheme host hostname port path */
    } rows[] = {
        {"https://user:p@w@example.com:80/a%20b?x=1#f", "https example.com:80 example.com 80 /a%20b"},
        {"/only/path", "    /only/path"},
        {"HTTP://[::1]:8080", "http [::1]:8080 ::1 8080 "},
        {"https://[fe80::1%25en0]/", "https [fe80::1%en0] fe80::1%en0  /"},
        {"https://h/path with é/[1]", "https h h  /path%20with%20%C3%A9/%5B1%5D"},
        {"https://h/a%2Fb", "https h h  /a%2Fb"},
        {"mailto:someone@example.com", "mailto    "},
        {"//host/path", " host host  /path"},
        {"*", "    *"},
        {"db://a:1,b:2/x", "db a:1,b:2 a:1,b 2 /x"},
        {"http://a:b:c/", "!parse \"http://a:b:c/\": invalid port \":b:c\" after host"},
        {"http://a b/", "!parse \"http://a b/\": invalid character \" \" in host name"},
        {"http://h/%zz", "!parse \"http://h/%zz\": invalid URL escape \"%zz\""},
        {"http://[::1/", "!parse \"http://[::1/\": missing ']' in host"},
        {"http://[1.2.3.4]/", "!parse \"http://[1.2.3.4]/\": invalid IP-literal"},
        {"http://us er@h/", "!parse \"http://us er@h/\": net/url: invalid userinfo"},
        {":x", "!parse \":x\": missing protocol scheme"},
        {"1:2/x", "!parse \"1:2/x\": first path segment in URL cannot contain colon"},
        {"a\x7f", "!parse \"a\\x7f\": net/url: invalid control character in URL"},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        AUTO(arena_fini) struct arena a = ARENA;
        struct url u;
        struct err err = ERR;
        struct str have = url_parse(&a, str_of(rows[i].text), &u, &err)
                              ? arena_fmt(&a, STR_FMT " " STR_FMT " " STR_FMT " " STR_FMT " " STR_FMT,
                                          STR_ARG(u.scheme), STR_ARG(u.host), STR_ARG(url_hostname(&u)),
                                          STR_ARG(url_port(&u)), STR_ARG(url_escaped_path(&a, &u)))
                              : arena_fmt(&a, "!%s", err.text);
        CHECK_STR(have, str_of(rows[i].parts));
    }
}

TEST(a_url_of_a_request_is_absolute)
{
    static const char *const good[] = {"/", "https://h", "a:b", "//h"}, *const bad[] = {"", "path", "../x", "?a"};
    AUTO(arena_fini) struct arena a = ARENA;
    struct url u;
    struct err err = ERR;
    for (size_t i = 0; i < countof(good); i++)
        CHECK_OK(url_parse_request(&a, str_of(good[i]), &u, &err), err);
    for (size_t i = 0; i < countof(bad); i++)
        CHECK(!url_parse_request(&a, str_of(bad[i]), &u, &err));
    CHECK_STR(str_of(err.text), S("parse \"?a\": invalid URI for request"));
    CHECK(!url_parse_request(&a, S(""), &u, &err));
    CHECK_STR(str_of(err.text), S("parse \"\": empty url"));
}

TEST(parameters_come_without_escapes_and_broken_ones_not_at_all)
{
    AUTO(arena_fini) struct arena a = ARENA;
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    struct str rest = S("a+b=c%20d&x&=v&bad=%zz&semi;colon=1&&x=2"), key, value;
    while (url_next_parameter(&a, &rest, &key, &value))
        strbuf_addf(&b, "[" STR_FMT "=" STR_FMT "]", STR_ARG(key), STR_ARG(value));
    CHECK_STR(strbuf_str(&b), S("[a b=c d][x=][=v][x=2]"));
}

TEST(addresses_are_read_and_written_as_by_netip)
{
    static const struct {
        const char *text, *canonical;
    } rows[] = {
        {"192.168.0.7", "192.168.0.7"},
        {"2001:DB8:0:0::abcd", "2001:db8::abcd"},
        {"::", "::"},
        {"::2001:db8", "::2001:db8"}, /* no IPv4 address in it */
        {"::ffff:1.2.3.4", "::ffff:1.2.3.4"},
        {"1:0:0:2:0:0:0:3", "1:0:0:2::3"},
        {"1:0:2:0:3:0:4:0", "1:0:2:0:3:0:4:0"},
        {"0:0:1::", "0:0:1::"},
        {"1.2.3", "!ParseAddr(\"1.2.3\"): IPv4 address too short"},
        {"1.2.3.4.5", "!ParseAddr(\"1.2.3.4.5\"): IPv4 address too long"},
        {"1.02.3.4", "!ParseAddr(\"1.02.3.4\"): IPv4 field has octet with leading zero"},
        {"1.2.3.256", "!ParseAddr(\"1.2.3.256\"): IPv4 field has value >255"},
        {"1..2.3", "!ParseAddr(\"1..2.3\"): IPv4 field must have at least one digit (at \".2.3\")"},
        {"1.2.x.3", "!ParseAddr(\"1.2.x.3\"): unexpected character (at \"x.3\")"},
        {"", "!ParseAddr(\"\"): unable to parse IP"},
        {"%eth0", "!ParseAddr(\"%eth0\"): missing IPv6 address"},
        {"::1%", "!ParseAddr(\"::1%\"): zone must be a non-empty string"},
        {":::1", "!ParseAddr(\":::1\"): each colon-separated field must have at least one digit (at \":1\")"},
        {"1::2::3", "!ParseAddr(\"1::2::3\"): multiple :: in address (at \":3\")"},
        {"12345::", "!ParseAddr(\"12345::\"): each group must have 4 or less digits (at \"12345::\")"},
        {"1:2:3:4:5:6:7", "!ParseAddr(\"1:2:3:4:5:6:7\"): address string too short"},
        {"1:2:3:4:5:6:7:8:9", "!ParseAddr(\"1:2:3:4:5:6:7:8:9\"): trailing garbage after address (at \"9\")"},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        AUTO(arena_fini) struct arena a = ARENA;
        struct netip ip;
        struct err err = ERR;
        bool ok = netip_parse(str_of(rows[i].text), &ip, &err);
        CHECK_STR(ok ? netip_text(&a, &ip) : arena_fmt(&a, "!%s", err.text), str_of(rows[i].canonical));
        if (ok)
            CHECK_STR(ip_canonical(&a, str_of(rows[i].text)), str_of(rows[i].canonical));
    }
}

TEST(prefixes_contain_what_begins_like_them)
{
    struct netip_prefix net;
    struct netip ip;
    struct err err = ERR;
    CHECK(netip_prefix_parse(S("10.1.2.3/15"), &net, &err) && net.bits == 15);
    CHECK(netip_parse(S("10.0.255.1"), &ip, &err) && netip_in(&net, &ip));
    CHECK(netip_parse(S("10.2.0.1"), &ip, &err) && !netip_in(&net, &ip));
    CHECK(netip_parse(S("::10.1.2.3"), &ip, &err) && !netip_in(&net, &ip));
    static const struct {
        const char *text, *error;
    } rows[] = {
        {"10.0.0.0", "netip.ParsePrefix(\"10.0.0.0\"): no '/'"},
        {"10.0.0.0/33", "netip.ParsePrefix(\"10.0.0.0/33\"): prefix length out of range"},
        {"10.0.0.0/08", "netip.ParsePrefix(\"10.0.0.0/08\"): bad bits after slash: \"08\""},
        {"10.0.0.0/", "netip.ParsePrefix(\"10.0.0.0/\"): bad bits after slash: \"\""},
        {"x/8", "netip.ParsePrefix(\"x/8\"): ParseAddr(\"x\"): unable to parse IP"},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        CHECK(!netip_prefix_parse(str_of(rows[i].text), &net, &err));
        CHECK_STR(str_of(err.text), str_of(rows[i].error));
    }
}

TEST(quoted_text_shows_what_cannot_be_seen)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    add_quoted(&b, S("a\"\\\n\x01é\xc3\u00a0\u200b\U000e0001中"));
    CHECK_STR(strbuf_str(&b), S("\"a\\\"\\\\\\n\\x01é\\xc3\\u00a0\\u200b\\U000e0001中\""));
}
