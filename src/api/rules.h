/* rules.h - what an object must hold beyond its shape: defaults, validation, and what a write may change.
 * Pure: tree in, tree or field errors out. Rules of upstream 1.36 with upstream's messages. */
#pragma once
#include "api/kind.h"
#include "base/array.h"

/* field.ErrorType of upstream. */
enum field_error_type {
    FE_REQUIRED,
    FE_INVALID,
    FE_TYPE_INVALID,
    FE_DUPLICATE,
    FE_NOT_SUPPORTED,
    FE_FORBIDDEN,
    FE_TOO_LONG,
    FE_TOO_MANY,
    FE_NOT_FOUND,
    FE_INTERNAL,
};
struct field_error {
    enum field_error_type type;
    struct str field; /* "spec.containers[0].name" */
    struct str text;  /* without the field: "Invalid value: \"x\": must be ..." */
};
struct field_errors {
    struct arena *arena;
    ARRAY(struct field_error) list; /* array_fini'd by field_errors_fini */
    size_t bytes;                   /* of their texts */
};
/* No more than so many are told, and none after so many bytes; further ones are dropped. */
enum { FIELD_ERRORS_MOST = 500, FIELD_ERRORS_BYTES = 1 << 20 };
bool errors_full(const struct field_errors *e);
void field_errors_fini(struct field_errors *e);
AUTO_VALUE(field_errors_fini, struct field_errors);
const char *field_error_reason(enum field_error_type t); /* "FieldValueRequired" ... */
/* A value as upstream's internal struct shows in messages: names with capitals, everything there. */
void struct_text(struct strbuf *b, const struct type *t, const struct val *v);
/* "" | "a" | "[a, b]" as upstream joins them after `Kind "name" is invalid: `, each once. */
void field_errors_text(const struct field_errors *e, struct strbuf *out);

/* Defaults of the kind, in place, on a freshly decoded tree (declared and hand-written). */
void kind_default(struct arena *a, const struct kind *k, struct val *v);
/* Validation of a create (old NULL) or an update. `sub`: "" or "status", "scale" ... */
void kind_validate(const struct kind *k, struct str sub, const struct val *v, const struct val *old,
                   struct field_errors *e);

/* Expressions (room cel) in what is checked here. What one says is the language's to judge; this room does not know
 * it, so who does registers itself. */
enum expression_use {
    EXPRESSION_CONDITION,  /* a bool; sees no variables.* */
    EXPRESSION_VALIDATION, /* a bool */
    EXPRESSION_MESSAGE,    /* text; sees no authorizer */
    EXPRESSION_AUDIT,      /* text or null */
    EXPRESSION_VARIABLE,   /* whatever it is; those after it see it by its name */
    EXPRESSION_APPLY,      /* Object{...} */
    EXPRESSION_PATCH,      /* a list of JSONPatch{...} */
    EXPRESSION_DEVICE,     /* a bool about a device */
};
struct expression_checker {
    /* Of one policy or webhook: whether there are params, and variables. */
    void *(*begin)(bool params, bool variables);
    void (*end)(void *scope);
    /* False: `why` says it in upstream's words. name: of a variable. */
    bool (*check)(void *scope, enum expression_use use, struct str name, struct str text, struct strbuf *why);
};
void expressions_are_checked_by(const struct expression_checker *c);
