/* Optional values: cel-go's cel/library.go, version 2. */
#include "cel/eval.h"
#include "cel/libraries.h"

static struct cel_value run_native(CEL_RUN)
{
    return cel_error(run, "internal: evaluated elsewhere");
}

static struct cel_value optional_of(CEL_RUN)
{
    return cel_some(run, a[0]);
}

static struct cel_value optional_none(CEL_RUN)
{
    return cel_none();
}

static bool is_zero(struct cel_value v)
{
    switch ((enum cel_kind)v.kind) {
    case CEL_NULL: return true;
    case CEL_BOOL: return !v.b;
    case CEL_INT:
    case CEL_UINT:
    case CEL_DURATION: return !v.i;
    case CEL_DOUBLE: return v.d == 0;
    case CEL_STRING:
    case CEL_BYTES: return !v.n;
    case CEL_TIMESTAMP: return v.i == -62135596800 && !v.n;
    case CEL_LIST: return !cel_list_len(v);
    case CEL_MAP: return !cel_map_len(v);
    case CEL_OPTIONAL: return !v.inner;
    case CEL_ERROR:
    case CEL_TYPE:
    case CEL_OPAQUE:
    case CEL_KINDS: break;
    }
    return false;
}

static struct cel_value optional_of_non_zero(CEL_RUN)
{
    return is_zero(a[0]) ? cel_none() : cel_some(run, a[0]);
}

static struct cel_value optional_value(CEL_RUN)
{
    return a[0].inner ? *a[0].inner : cel_error(run, "optional.none() dereference");
}

static struct cel_value optional_has(CEL_RUN)
{
    return cel_bool(a[0].inner != NULL);
}

static struct cel_value optional_or(CEL_RUN)
{
    return a[0].inner ? a[0] : a[1];
}

static struct cel_value optional_or_value(CEL_RUN)
{
    return a[0].inner ? *a[0].inner : a[1];
}

static struct cel_value list_first(CEL_RUN)
{
    return cel_list_len(a[0]) ? cel_some(run, cel_list_at(run, a[0], 0)) : cel_none();
}

static struct cel_value list_last(CEL_RUN)
{
    size_t len = cel_list_len(a[0]);
    return len ? cel_some(run, cel_list_at(run, a[0], len - 1)) : cel_none();
}

static struct cel_value list_unwrap(CEL_RUN)
{
    size_t len = cel_list_len(a[0]);
    struct cel_list *list = cel_list_new(run, len);
    for (size_t i = 0; i < len; i++) {
        struct cel_value v = cel_list_at(run, a[0], i);
        if (v.kind != CEL_OPTIONAL)
            return cel_error(run, "value %s is not optional", cel_type_name(v));
        if (v.inner)
            cel_list_add(run, list, *v.inner);
    }
    return cel_list_of(list);
}

static const struct cel_function optional[] = {
    {"optional.of", "optional_of", "(V) optional_type(V)", optional_of, 0, 0, 0},
    {"optional.ofNonZeroValue", "optional_ofNonZeroValue", "(V) optional_type(V)", optional_of_non_zero, 0, 0, 0},
    {"optional.none", "optional_none", "() optional_type(V)", optional_none, 0, 0, 0},
    {"value", "optional_value", "optional_type(V).() V", optional_value, 0, 0, 0},
    {"hasValue", "optional_hasValue", "optional_type(V).() bool", optional_has, 0, 0, 0},
    {"or", "optional_or_optional", "optional_type(V).(optional_type(V)) optional_type(V)", optional_or, 0, 0, 0},
    {"orValue", "optional_orValue_value", "optional_type(V).(V) V", optional_or_value, 0, 0, 0},
    {"_?._", "select_optional_field", "(dyn, string) optional_type(V)", run_native, 0, 0, 0},
    {"_[?_]", "list_optindex_optional_int", "(list(V), int) optional_type(V)", run_native, 0, 0, 0},
    {"_[?_]", "optional_list_optindex_optional_int", "(optional_type(list(V)), int) optional_type(V)", run_native, 0,
     0, 0},
    {"_[?_]", "map_optindex_optional_value", "(map(K, V), K) optional_type(V)", run_native, 0, 0, 0},
    {"_[?_]", "optional_map_optindex_optional_value", "(optional_type(map(K, V)), K) optional_type(V)", run_native, 0,
     0, 0},
    {"_[_]", "optional_list_index_int", "(optional_type(list(V)), int) optional_type(V)", run_native, 0, 0, 0},
    {"_[_]", "optional_map_index_value", "(optional_type(map(K, V)), K) optional_type(V)", run_native, 0, 0, 0},
    {"first", "list_first", "list(V).() optional_type(V)", list_first, 0, 0, 0},
    {"last", "list_last", "list(V).() optional_type(V)", list_last, 0, 0, 0},
    {"optional.unwrap", "optional_unwrap", "(list(optional_type(V))) list(V)", list_unwrap, 0, 0, 0},
    {"unwrapOpt", "optional_unwrapOpt", "list(optional_type(V)).() list(V)", list_unwrap, 0, 0, 0},
};

const struct cel_library cel_lib_optional = CEL_LIBRARY("optional", optional);
