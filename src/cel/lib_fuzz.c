/* The parsers of the libraries over any text: what is a version, an address, a quantity or a URL can be asked for all
 * that such a thing can tell, and is equal to itself; functions of strings agree with one another. */
#include "cel/program.h"
#include "cel/run.h"

static const char *const expressions[] = {
    "!isSemver(s) || (semver(s) == semver(s) && semver(s).compareTo(semver(s)) == 0 && "
    "!semver(s).isLessThan(semver(s)))",
    "!isSemver(s) || isSemver(s, true) && semver(s, true).major() == semver(s).major()",
    "!isIP(s) || (isIP(string(ip(s))) && ip(s) == ip(string(ip(s))) && ip.isCanonical(string(ip(s))))",
    "!isIP(s) || ip(s).family() in [4, 6] && !(ip(s).isLoopback() && ip(s).isGlobalUnicast())",
    "!isCIDR(s) || (cidr(s).containsIP(cidr(s).ip()) && cidr(s).masked().containsCIDR(cidr(s)))",
    "!isCIDR(s) || cidr(string(cidr(s))) == cidr(s)",
    "!isQuantity(s) || !quantity(s).isLessThan(quantity('1e27')) || !quantity(s).isGreaterThan(quantity('-1e27')) || "
    "(quantity(s) == quantity(s) && quantity(s).compareTo(quantity(s).add(0)) == 0)",
    "!isQuantity(s) || !quantity(s).isInteger() || quantity(s).asInteger() < 0 == (sign(quantity(s)) < 0)",
    "!isURL(s) || s.contains('#') || s.startsWith('//') || url(s).getQuery().size() >= 0 && "
    "url(s).getEscapedPath().size() >= 0",
    "s.split('').join() == s && s.split(' ').join(' ') == s && s.replace('a', 'b', 0) == s",
    "s.indexOf('a') < 0 || s.substring(s.indexOf('a')).startsWith('a') && s.lastIndexOf('a') >= s.indexOf('a')",
    "s.lowerAscii().upperAscii() == s.upperAscii() && s.trim().trim() == s.trim() && s.charAt(s.size()) == ''",
    "'%s'.format([s]) == s && strings.quote(s).size() >= s.size() + 2",
    "!s.matches('^[a-z]+$') || s.find('[a-z]+') == s && s.findAll('[a-z]').size() == s.size()",
    "format.dns1123Label().validate(s).hasValue() || format.dns1123Subdomain().validate(s).hasValue() == false",
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = {(const char *)data, size};
    if (size > 200 || !str_utf8_ok(text))
        return 0;
    struct cel_variable s = {.name = S("s"), .type = &cel_type_string};
    struct cel_env env = {.variables = &s, .n = 1};
    struct cel_value value = cel_string(text);
    for (size_t i = 0; i < countof(expressions); i++) {
        AUTO(arena_fini) struct arena a = ARENA;
        AUTO(strbuf_fini) struct strbuf errors = STRBUF(STRBUF_TEXT);
        struct cel_program p;
        uint64_t cost;
        bool over;
        ASSERT(cel_compile(&a, &env, str_of(expressions[i]), &p, &errors));
        struct cel_value v = cel_program_run(&p, &a, &value, CEL_PER_CALL_LIMIT, &cost, &over);
        ASSERT(over || cel_is_true(v));
        cel_program_release(&p);
    }
    return 0;
}
