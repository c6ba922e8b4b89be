#include "base/rune.h"
#include "base/regex_int.h"

bool rune_prints(uint32_t c)
{
    if (c < 0x7f)
        return c >= ' ';
    const uint8_t *p = regex_category_runs;
    for (uint32_t at = 0; at <= RUNE_MAX;) {
        unsigned kind = *p & 31;
        uint32_t n = *p++ >> 5;
        at += n ? n : (uint32_t)regex_run_length(&p);
        if (c < at)
            return kind >= 30 || !strchr("CZ", regex_categories[kind][0]); /* 30, 31: pairs of letters */
    }
    return false;
}
