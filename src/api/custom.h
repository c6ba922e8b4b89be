/* custom.h - the kinds that a CustomResourceDefinition defines: what its text says of each of its versions, made into
 * kinds of run time (kindset.h). Pure; a kind holds all that it needs, and not the definition. */
#pragma once
#include "api/columns.h"
#include "api/jsonpath.h"
#include "api/kindset.h"
#include "api/obj.h"
#include "api/schema.h"

/* What a kind of a definition has besides what every kind has. Few of the kinds that are defined are used in a
 * cluster's life, so the schema is held packed, and made into nodes and types when it is asked for first. */
struct custom {
    struct str definition, uid; /* its name and uid */
    struct packed_part text;    /* the schema */
    struct custom_schema *made; /* of it: custom_schema, custom_type; NULL: nobody has asked */
    /* The types by their names alone, without fields. */
    const struct type *named, *named_list;
    bool has_status; /* subresource */
    bool hidden;     /* not served: others are stored as it */
    struct str main; /* the version by which those who want all objects watch them; "": none is served */
    bool webhook;    /* other versions are made of it, and it of them, by a webhook */
    /* JSON paths of the scale subresource; spec "": none */
    struct str scale_spec, scale_status, scale_selector;
    const struct column *columns; /* the first is the name's */
    const struct jsonpath *const *paths;
    size_t ncolumns;
    const struct str *fields; /* selectable ones: spec.color */
    size_t nfields;
    struct str warning; /* of a deprecated version; "": it is not */
    /* What another room has made of the schema's rules in CEL, when it was first asked; of the store's loop. */
    void *rules;
    void (*rules_free)(void *rules);
};

void custom_fini(struct custom *c); /* what is not in the kind's arena */
/* Borrowed from the kind; without descriptions. Any thread. */
const struct schema *custom_schema(const struct kind *k);
/* With descriptions, made anew each time: what is only told to people. */
const struct schema *custom_described(struct arena *a, const struct kind *k);

/* The version by which all objects of this kind's resource are watched, of one of a definition too; NULL: none. */
const struct kind *kind_watched(const struct kind_set *s, const struct kind *k);

/* --- of a definition --- */

#define CUSTOM_CLEANUP "customresourcecleanup.apiextensions.k8s.io" /* the finalizer that removes the instances */
bool definition_is(const struct obj *definition, const char *condition); /* it is True */
/* What of it kinds are made of is the same in both: its metadata and conditions may differ, but for Established. */
bool definition_same(const struct obj *a, const struct obj *b);

/* The kinds of its versions: those that are served, and those as which objects are or were stored (hidden, where they
 * are not served). Of one that is not established only these. Each a reference of the caller's. False: it cannot be
 * served, and why; there are none then. */
enum { CUSTOM_VERSIONS = 64 };
MUST_USE bool custom_kinds(const struct obj *definition, const struct kind *out[CUSTOM_VERSIONS], size_t *n,
                           struct err *err);

/* --- of an instance --- */

/* A tree as this kind has it, from one of another version or of an earlier schema: apiVersion, what the schema does
 * not know taken out; its defaults set where it is read or written in its own version, and not as another shows it.
 * (By a webhook it may have to be converted before.) */
struct val custom_as(struct arena *a, const struct kind *k, const struct val *tree, bool defaults);
/* Made of the other by a webhook: `tree` is an object of the definition in another version. */
bool custom_needs_webhook(const struct kind *k, const struct val *tree);
/* Labels, or annotations, that a webhook has changed. */
void custom_texts_check(const struct val *texts, bool annotations, struct field_errors *e);
/* The rules of its definition for an instance, its metadata apart; sub: "" or "status". */
void custom_validate(const struct kind *k, struct str sub, const struct val *v, const struct val *old,
                     struct field_errors *e);
/* Of one that is made: its status is the server's, and begins with the schema's default, which no rule has judged. */
void custom_default_status(struct arena *a, const struct kind *k, struct val *v);
bool custom_is_named(const struct kind *k, const struct val *v, struct field_errors *e); /* says what kind it is */
/* A cell of a column but the first. */
struct val custom_cell(struct arena *a, const struct custom *c, size_t column, const struct val *tree, int64_t now);
