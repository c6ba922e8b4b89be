/* openapi_int.h - what the files that write OpenAPI documents share. */
#pragma once
#include "api/custom.h"
#include "api/openapi.h"
#include "base/map.h"
#include "wire/json.h"

struct openapi_document {
    struct strbuf *b; /* where the piece at hand goes */
    const struct kind_set *set;
    struct map seen;                /* openapi name -> type, in the order of their discovery */
    const struct group_version *gv; /* NULL: of all of them */
    bool two;                       /* OpenAPI 2.0 (Swagger), not 3.0 */
    bool custom;                    /* of custom resources: upstream writes these without defaults */
};

/* What paths speak of: of a definition's kind the types by their names. */
static inline const struct type *openapi_type(const struct kind *k)
{
    return k->custom ? k->custom->named : k->type;
}
static inline const struct type *openapi_list_type(const struct kind *k)
{
    return k->custom ? k->custom->named_list : k->list_type;
}

/* openapi_merge.c: what other servers' documents add to one of 2.0. */
struct openapi_names;
struct openapi_merge {
    struct openapi_remote **list; /* each a reference */
    size_t n;
    struct arena arena;
    struct openapi_names *names; /* of each; NULL: not found out yet */
    size_t remote, member;       /* that comes next */
};
void openapi_merge_fini(struct openapi_merge *m);
void openapi_merge_add(struct openapi_merge *m, struct openapi_remote *const *remotes, size_t n);
/* Every type that d speaks of is noted: under which names the others' definitions and parameters go in. */
void openapi_merge_name(struct openapi_merge *m, struct openapi_document *d);
/* Appends the next of their members "name":value: of paths (OPENAPI_NO_REF), definitions or parameters. False: there
 * are no more; the next call begins with those of another map. */
bool openapi_merge_next(struct openapi_merge *m, enum openapi_ref map, struct strbuf *b, bool *first);

/* openapi_schema.c */
void openapi_need(struct openapi_document *d, const struct type *t); /* notes every named type reached from here */
void openapi_add_component(struct openapi_document *d, const struct type *t); /* "name":{...} */
void openapi_add_ref(struct openapi_document *d, const struct type *t);       /* "$ref":"..." */
void openapi_add_text(struct strbuf *b, const char *key, const char *text);
void openapi_add_gvk(struct strbuf *b, struct str group, struct str version, const char *kind);

/* openapi_custom.c: the schema of a definition as a component: its members, without the braces. two: as far as
 * OpenAPI 2.0 has words for it, which is what upstream gives of it: no combinations, no defaults, and nothing of what
 * may be null but that it is there. */
void openapi_add_nodes(struct strbuf *b, const struct schema_node *root, bool two);

/* openapi_paths.c: members of "paths"; they note the types that they speak of. */
void openapi_add_kind(struct openapi_document *d, const struct kind *k, bool *first);
void openapi_add_version(struct openapi_document *d, const struct group_version *gv,
                         bool *first); /* /apis/apps/v1/ */
/* A page of discovery or /version: "api", "apis", "apis/apps", "version". */
void openapi_add_plain(struct openapi_document *d, struct str path, const struct type *t, bool *first);
void openapi_add_parameters(struct openapi_document *d); /* 2.0: members of "parameters", which paths refer to */

/* openapi_pb.c: pieces of a document of 2.0 as protobuf, as google/gnostic's OpenAPIv2.proto has it. */
void openapi_pb_add(struct strbuf *b, struct str json);                      /* members of the document */
void openapi_pb_map(struct strbuf *b, const char *map, size_t length);       /* what comes before those of a map */
void openapi_pb_members(struct strbuf *b, struct str json, const char *map); /* "paths" or "definitions" */
