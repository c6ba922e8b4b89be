/* openapi.c - OpenAPI documents (3.0, one for each group and version; 2.0, one for all) written straight from the
 * tables of types and kinds. There is no document in memory and no template: each function appends its piece of JSON
 * to the buffer, in the shape that kube-openapi gives it, for kubectl explain, kubectl's validation and the
 * generators of clients.
 *
 * A document has its paths first (openapi_paths.c), then its schemas (openapi_schema.c). Writing the paths notes
 * every type that they speak of (openapi_need), and with it every type that is reached from there; what was noted is
 * then written, each type once. A piece is the paths of one kind, or one schema: who answers a request takes one
 * after the other, and no more than a piece is ever there.
 *
 * The two versions differ in few places (`two`): where definitions stand, parameters with or without a schema, media
 * types, no oneOf, no defaults.
 *
 * Costs: a document is made anew for each request that asks for it, up to 2 MB (4 MB for 2.0); clients keep them by
 * the hash in the URL, which is made of the tables' hash, the path and OPENAPI_FORMAT, without making the document.
 * Not here: descriptions of more than a line, and examples.
 */
#include "api/openapi_int.h"

/* Changes when what these files make of the tables changes: clients keep documents by hash. */
#define OPENAPI_FORMAT "4"

/* Documents beside those of the versions: lists of groups and versions, /version. */
static const struct plain_path {
    const char *path;
    const struct type *type;
} plain_paths[] = {
    {"api", T(meta_v1_APIVersions)},
    {"apis", T(meta_v1_APIGroupList)},
    {"version", T(version_Info)},
};

/* PIECE_ROOM is what the allocator gives back to the system when it is freed. */
enum { PIECE_MOST = 1 << 22, PIECE_ROOM = 192 << 10 };

/* What comes next in a document. */
enum openapi_stage {
    STAGE_HEAD,
    STAGE_PATHS,
    STAGE_PATHS_ELSEWHERE,
    STAGE_PARAMETERS,
    STAGE_PARAMETERS_ELSEWHERE,
    STAGE_MIDDLE,
    STAGE_SCHEMAS,
    STAGE_SCHEMAS_ELSEWHERE,
    STAGE_TAIL,
    STAGE_END
};

struct openapi_pieces {
    struct openapi_document d;
    struct str path;          /* "v2", "apis/apps/v1"; the caller's */
    const struct type *plain; /* of a page that is no version's; NULL */
    bool protobuf;
    enum openapi_stage stage;
    size_t kind;                    /* the next one, in the set */
    const struct map_entry *schema; /* the last one that was written; NULL: none */
    bool first;                     /* of the members of a map */
    struct openapi_merge merge;     /* what other servers have */
    /* with protobuf */
    size_t paths_length, schemas_length;
    struct strbuf text, json; /* the piece, and as an object */
};

/* What stands at a path: a version's document, or one of a single type. */
static bool path_find(const struct kind_set *set, struct str path, const struct group_version **gv,
                      const struct type **plain)
{
    struct str root, rest, group, version;
    *gv = NULL;
    *plain = NULL;
    for (size_t i = 0; i < countof(plain_paths); i++)
        if (str_eqz(path, plain_paths[i].path))
            *plain = plain_paths[i].type;
    if (*plain || !str_split(path, '/', &root, &rest))
        return *plain;
    bool core = str_eqz(root, "api");
    if (!core && !str_eqz(root, "apis"))
        return false;
    if (core || !str_split(rest, '/', &group, &version))
        group = core ? S("") : rest, version = core ? rest : S("");
    for (size_t i = 0; i < set->nversions; i++) {
        const struct group_version *x = &set->versions[i];
        if (!str_eq(x->group, group) || (group.n == 0) != core)
            continue;
        if (str_eq(x->version, version))
            *gv = x;
        else if (!version.n && !core)
            *plain = T(meta_v1_APIGroup);
    }
    return *gv || *plain;
}

bool openapi_known(const struct kind_set *set, struct str path)
{
    const struct group_version *gv;
    const struct type *plain;
    return path_find(set, path, &gv, &plain);
}

struct openapi_pieces *openapi_pieces_new(const struct kind_set *set, struct str path, bool protobuf)
{
    const struct group_version *gv = NULL;
    const struct type *plain = NULL;
    bool two = str_eqz(path, "v2");
    if (!two && !path_find(set, path, &gv, &plain))
        return NULL;
    struct openapi_pieces *p = NEW(struct openapi_pieces);
    *p = (struct openapi_pieces){.d = {.set = set, .gv = gv, .two = two},
                                 .path = path,
                                 .plain = plain,
                                 .protobuf = protobuf,
                                 .first = true,
                                 .text = STRBUF(PIECE_MOST),
                                 .json = STRBUF(PIECE_MOST)};
    if (protobuf) {
        (void)strbuf_room(&p->text, PIECE_ROOM);
        (void)strbuf_room(&p->json, PIECE_ROOM);
    }
    return p;
}

void openapi_pieces_free(struct openapi_pieces *p)
{
    if (!p)
        return;
    openapi_merge_fini(&p->merge);
    map_fini(&p->d.seen);
    strbuf_fini(&p->text);
    strbuf_fini(&p->json);
    mem_free(p);
}

void openapi_pieces_merge(struct openapi_pieces *p, struct openapi_remote *const *remotes, size_t n)
{
    ASSERT(p->d.two && p->stage == STAGE_HEAD);
    openapi_merge_add(&p->merge, remotes, n);
}

static void add_head(struct openapi_pieces *p)
{
    const struct openapi_document *d = &p->d;
    bool custom = false;
    for (size_t i = nkinds; i < d->set->n; i++)
        custom = custom || (d->gv && str_eq(d->set->kinds[i]->api_version, d->gv->api_version));
    strbuf_addf(d->b, "{\"%s\":\"%s\",\"info\":{\"title\":\"Kubernetes%s\",\"version\":\"%s\"},\"paths\":{",
                d->two ? "swagger" : "openapi", d->two ? "2.0" : "3.0.0", custom ? " CRD Swagger" : "",
                custom   ? "v0.1.0"
                : d->two ? "v1.36.0"
                         : "unversioned");
}

static void add_token(struct strbuf *b)
{
    strbuf_addz(b, "{\"BearerToken\":{\"description\":\"a bearer token\",\"in\":\"header\","
                   "\"name\":\"authorization\",\"type\":\"apiKey\"}}");
}

/* The pages of discovery: of all groups in 2.0, else the version's own, which custom resources have none of. */
static void add_pages(struct openapi_pieces *p)
{
    struct openapi_document *d = &p->d;
    if (p->plain)
        openapi_add_plain(d, p->path, p->plain, &p->first);
    for (size_t i = 0; d->two && i < countof(plain_paths); i++)
        openapi_add_plain(d, str_of(plain_paths[i].path), plain_paths[i].type, &p->first);
    for (size_t i = 0; !p->plain && i < ngroup_versions; i++) {
        const struct group_version *gv = &group_versions[i];
        if (d->gv && !str_eq(gv->api_version, d->gv->api_version))
            continue;
        if (d->two && gv->preferred && gv->group.n) {
            AUTO(strbuf_fini) struct strbuf path = STRBUF(STRBUF_TEXT);
            strbuf_addf(&path, "apis/" STR_FMT, STR_ARG(gv->group));
            openapi_add_plain(d, strbuf_str(&path), T(meta_v1_APIGroup), &p->first);
        }
        openapi_add_version(d, gv, &p->first);
    }
}

static bool kind_is_here(const struct openapi_pieces *p, const struct kind *k)
{
    return p->d.two || (p->d.gv && str_eq(k->group, p->d.gv->group) && str_eq(k->version, p->d.gv->version));
}

/* The types that no path speaks of. */
static void need_rest(struct openapi_pieces *p)
{
    struct openapi_document *d = &p->d;
    if (p->plain)
        return;
    openapi_need(d, T(meta_v1_DeleteOptions));
    openapi_need(d, T(meta_v1_Status));
    if (!d->custom || d->two)
        openapi_need(d, T(meta_v1_WatchEvent));
    for (size_t i = 0; d->two && i < nroot_types; i++) /* what is sent to a subresource, and lists */
        if (root_types[i].type->openapi)
            openapi_need(d, root_types[i].type);
}

static void add_tail(struct openapi_pieces *p)
{
    struct openapi_document *d = &p->d;
    strbuf_addz(d->b, d->two ? "},\"securityDefinitions\":" : d->custom || p->plain ? "}" : "},\"securitySchemes\":");
    if (d->two || !(d->custom || p->plain))
        add_token(d->b);
    strbuf_addz(d->b, d->two ? ",\"security\":[{\"BearerToken\":[]}]}" : "}}");
}

/* The next member that another server's document has in this map; the next stage where there is none. */
static void add_elsewhere(struct openapi_pieces *p, enum openapi_ref map)
{
    if (!openapi_merge_next(&p->merge, map, p->d.b, &p->first))
        p->stage++;
}

/* Appends the next piece; what it is the members of is in `*map` ("paths", "parameters", "definitions"), NULL where
 * it stands between them. */
static void piece_add(struct openapi_pieces *p, const char **map)
{
    const struct kind_set *set = p->d.set;
    *map = NULL;
    switch (p->stage) {
    case STAGE_HEAD:
        add_head(p);
        p->stage = STAGE_PATHS;
        break;
    case STAGE_PATHS:
        *map = "paths";
        if (p->kind == 0)
            add_pages(p);
        while (p->kind < set->n && !kind_is_here(p, set->kinds[p->kind]))
            p->kind++;
        if (p->kind < set->n) {
            openapi_add_kind(&p->d, set->kinds[p->kind++], &p->first);
            break;
        }
        need_rest(p);
        openapi_merge_name(&p->merge, &p->d);
        p->stage = STAGE_PATHS_ELSEWHERE;
        break;
    case STAGE_PATHS_ELSEWHERE:
        *map = "paths";
        add_elsewhere(p, OPENAPI_NO_REF);
        break;
    case STAGE_PARAMETERS:
        if (p->d.two) {
            strbuf_addz(p->d.b, "},\"parameters\":{");
            openapi_add_parameters(&p->d);
        }
        p->first = false;
        p->stage = STAGE_PARAMETERS_ELSEWHERE;
        break;
    case STAGE_PARAMETERS_ELSEWHERE:
        *map = "parameters";
        add_elsewhere(p, OPENAPI_PARAMETER);
        break;
    case STAGE_MIDDLE:
        strbuf_addz(p->d.b, p->d.two ? "},\"definitions\":{" : "},\"components\":{\"schemas\":{");
        p->first = true;
        p->stage = STAGE_SCHEMAS;
        break;
    case STAGE_SCHEMAS:
        *map = "definitions";
        p->schema = map_next(&p->d.seen, p->schema);
        if (p->schema) {
            strbuf_addz(p->d.b, p->first ? "" : ",");
            p->first = false;
            openapi_add_component(&p->d, p->schema->value);
        } else {
            p->stage = STAGE_SCHEMAS_ELSEWHERE;
        }
        break;
    case STAGE_SCHEMAS_ELSEWHERE:
        *map = "definitions";
        add_elsewhere(p, OPENAPI_DEFINITION);
        break;
    case STAGE_TAIL:
        add_tail(p);
        p->stage = STAGE_END;
        break;
    case STAGE_END: break;
    }
}

static struct str text_between(struct str s, size_t head, const char *tail)
{
    return str_sub(s, head, s.n - strlen(tail));
}

/* Writes the next piece to p->text, and what of it are the members of a map to `pb`. */
static const char *members_add(struct openapi_pieces *p, struct strbuf *pb)
{
    const char *map;
    strbuf_reset(&p->text);
    strbuf_reset(&p->json);
    p->first = true;
    p->d.b = &p->text;
    piece_add(p, &map);
    if (!map)
        return NULL;
    bool parameters = str_eqz(str_of(map), "parameters"); /* parts of a message that come apart are merged */
    strbuf_addf(&p->json, parameters ? "{\"parameters\":{" STR_FMT "}}" : "{" STR_FMT "}",
                STR_ARG(strbuf_str(&p->text)));
    if (parameters)
        openapi_pb_add(pb, strbuf_str(&p->json));
    else
        openapi_pb_members(pb, strbuf_str(&p->json), map);
    return map;
}

/* protobuf has the length of a map before it, so all is written twice. */
static void maps_measure(struct openapi_pieces *p)
{
    AUTO(openapi_pieces_free) struct openapi_pieces *q = openapi_pieces_new(p->d.set, p->path, true);
    openapi_merge_add(&q->merge, p->merge.list, p->merge.n);
    AUTO(strbuf_fini) struct strbuf pb = STRBUF(PIECE_MOST);
    (void)strbuf_room(&pb, PIECE_ROOM);
    while (q->stage != STAGE_END) {
        strbuf_reset(&pb);
        const char *map = members_add(q, &pb);
        if (map && str_eqz(str_of(map), "paths"))
            p->paths_length += pb.n;
        else if (map && str_eqz(str_of(map), "definitions"))
            p->schemas_length += pb.n;
    }
}

static void pb_next(struct openapi_pieces *p, struct strbuf *b)
{
    enum openapi_stage stage = p->stage;
    if (stage == STAGE_HEAD)
        maps_measure(p);
    (void)members_add(p, b);
    struct str text = strbuf_str(&p->text);
    switch (stage) {
    case STAGE_HEAD:
        strbuf_addf(&p->json, STR_FMT "}", STR_ARG(text_between(text, 0, ",\"paths\":{")));
        openapi_pb_add(b, strbuf_str(&p->json));
        openapi_pb_map(b, "paths", p->paths_length);
        break;
    case STAGE_PARAMETERS:
        strbuf_addf(&p->json, "{" STR_FMT "}}", STR_ARG(text_between(text, strlen("},"), "")));
        openapi_pb_add(b, strbuf_str(&p->json));
        break;
    case STAGE_MIDDLE: openapi_pb_map(b, "definitions", p->schemas_length); break;
    case STAGE_TAIL:
        strbuf_addf(&p->json, "{" STR_FMT, STR_ARG(text_between(text, strlen("},"), "")));
        openapi_pb_add(b, strbuf_str(&p->json));
        break;
    case STAGE_PATHS:
    case STAGE_PATHS_ELSEWHERE:
    case STAGE_PARAMETERS_ELSEWHERE:
    case STAGE_SCHEMAS:
    case STAGE_SCHEMAS_ELSEWHERE:
    case STAGE_END: break;
    }
}

bool openapi_pieces_next(struct openapi_pieces *p, struct strbuf *b)
{
    const char *map;
    p->d.b = b;
    if (p->protobuf)
        pb_next(p, b);
    else
        piece_add(p, &map);
    return p->stage != STAGE_END;
}

static bool add_whole(struct strbuf *b, const struct kind_set *set, struct str path, bool protobuf)
{
    struct openapi_pieces *p = openapi_pieces_new(set, path, protobuf);
    if (!p)
        return false;
    while (openapi_pieces_next(p, b))
        ;
    openapi_pieces_free(p);
    return true;
}

bool openapi_document(struct strbuf *b, const struct kind_set *set, struct str path)
{
    return add_whole(b, set, path, false);
}

void openapi_two(struct strbuf *b, const struct kind_set *set)
{
    ASSERT(add_whole(b, set, S("v2"), false));
}

void openapi_two_pb(struct strbuf *b, const struct kind_set *set)
{
    ASSERT(add_whole(b, set, S("v2"), true));
}

void openapi_hash(struct strbuf *b, const struct kind_set *set, struct str path)
{
    uint64_t h = 0xcbf29ce484222325u; /* FNV-1a: only has to differ between paths; the rest is the tables' hash */
    for (size_t i = 0; i < path.n; i++)
        h = (h ^ (unsigned char)path.p[i]) * 0x100000001b3u;
    strbuf_addf(b, "%s%016llX" OPENAPI_FORMAT, set->hash, (unsigned long long)h);
}

static void add_index(struct strbuf *b, const struct kind_set *set, struct str path, bool first)
{
    strbuf_addf(b, "%s\"" STR_FMT "\":{\"serverRelativeURL\":\"/openapi/v3/" STR_FMT "?hash=", first ? "" : ",",
                STR_ARG(path), STR_ARG(path));
    openapi_hash(b, set, path);
    strbuf_addz(b, "\"}");
}

void openapi_index(struct strbuf *b, const struct kind_set *set, struct str more)
{
    strbuf_addz(b, "{\"paths\":{");
    for (size_t i = 0; i < countof(plain_paths); i++)
        add_index(b, set, str_of(plain_paths[i].path), i == 0);
    for (size_t i = 0; i < set->nversions; i++) {
        const struct group_version *gv = &set->versions[i];
        AUTO(strbuf_fini) struct strbuf path = STRBUF(STRBUF_TEXT);
        if (gv->group.n && gv->preferred) {
            strbuf_addf(&path, "apis/" STR_FMT, STR_ARG(gv->group));
            add_index(b, set, strbuf_str(&path), false);
            strbuf_reset(&path);
        }
        strbuf_addf(&path, "%s/" STR_FMT, gv->group.n ? "apis" : "api", STR_ARG(gv->api_version));
        add_index(b, set, strbuf_str(&path), false);
    }
    strbuf_add(b, more);
    strbuf_addz(b, "}}");
}
