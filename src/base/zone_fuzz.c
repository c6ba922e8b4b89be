/* A file of a zone, or where it begins with '/', a rule: what is taken answers for any time. */
#include "base/zone.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str in = {(const char *)data, size};
    struct err err = ERR;
    bool rule = in.n > 0 && in.p[0] == '/';
    AUTO(zone_free) struct zone *z = rule ? zone_of_rule(str_sub(in, 1, in.n), &err) : zone_read(in, &err);
    ASSERT(z || err.text[0]);
    for (int64_t t = -5000000000; z && t < 10000000000; t += 123456789) {
        struct tm tm = zone_civil(z, t);
        int64_t there = zone_time(z, tm);
        ASSERT(there >= t - 4 * 86400 && there <= t + 4 * 86400);
    }
    return 0;
}
