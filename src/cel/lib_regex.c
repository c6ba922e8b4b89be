/* Regular expressions: matches of the language, find and findAll of the API server (cel/library/regex.go). */
#include "base/regex.h"
#include "cel/libraries.h"

static void *pattern_prepare(struct cel_value constant, struct err *err)
{
    return regex_new(cel_text(constant), err);
}

static void pattern_release(void *prepared)
{
    regex_free(prepared);
}

/* The pattern of the call, compiled beforehand or now. NULL: err says why. */
static const struct regex *pattern_of(struct cel_run *run, struct cel_value pattern, const void *prepared,
                                      struct err *err)
{
    return prepared ? prepared : regex_compile(cel_arena(run), cel_text(pattern), err);
}

static struct cel_value text_matches(CEL_RUN)
{
    struct err err = ERR;
    const struct regex *re = pattern_of(run, a[1], prepared, &err);
    return re ? cel_bool(regex_match(re, cel_text(a[0]))) : cel_error(run, "%s", err.text);
}

static struct cel_value text_find(CEL_RUN)
{
    struct err err = ERR;
    struct regex_span span;
    const struct regex *re = pattern_of(run, a[1], prepared, &err);
    if (!re)
        return cel_error(run, "Illegal regex: %s", err.text);
    if (!regex_find(re, cel_text(a[0]), 0, &span, 1))
        return cel_string(S(""));
    return cel_string(str_sub(cel_text(a[0]), span.from, span.to));
}

static struct cel_value all_found(struct cel_run *run, const struct cel_value *a, int64_t max, const void *prepared)
{
    struct err err = ERR;
    struct regex_walk walk = {0};
    struct regex_span span;
    const struct regex *re = pattern_of(run, a[1], prepared, &err);
    if (!re)
        return cel_error(run, "Illegal regex: %s", err.text);
    struct cel_list *list = cel_list_new(run, 0);
    while ((max < 0 || list->n < (uint64_t)max) && regex_next(re, cel_text(a[0]), &walk, &span))
        cel_list_add(run, list, cel_string(str_sub(cel_text(a[0]), span.from, span.to)));
    return cel_list_of(list);
}

static struct cel_value text_find_all(CEL_RUN)
{
    return all_found(run, a, -1, prepared);
}

static struct cel_value text_find_some(CEL_RUN)
{
    return all_found(run, a, a[2].i, NULL);
}

static const struct cel_function rows[] = {
    {"matches", "matches", "(string, string) bool", text_matches, CEL_COST_MATCHES, pattern_prepare, pattern_release},
    {"matches", "matches_string", "string.(string) bool", text_matches, CEL_COST_MATCHES, pattern_prepare,
     pattern_release},
    {"find", "string_find_string", "string.(string) string", text_find, CEL_COST_FIND, pattern_prepare,
     pattern_release},
    {"findAll", "string_find_all_string", "string.(string) list(string)", text_find_all, CEL_COST_FIND,
     pattern_prepare, pattern_release},
    {"findAll", "string_find_all_string_int", "string.(string, int) list(string)", text_find_some, CEL_COST_FIND, 0,
     0},
};
const struct cel_library cel_lib_regex = CEL_LIBRARY("kubernetes.regex", rows);
