/* sites.h - paths that are no resources: discovery, version, health, metrics, OpenAPI, keys of tokens. One row each
 * in sites.c. Answering is direct: the request is authorized already. */
#pragma once
#include "server/int.h"
#include "server/negotiate.h"

struct site_call {
    struct server *server;
    const struct kind_set *kinds; /* what is served */
    struct http_request *http;
    struct str path;  /* without a trailing slash */
    struct str query; /* as sent */
    struct arena *arena;
};
typedef void site_fn(struct site_call *c); /* ends the http request */
site_fn *site_find(struct str path);       /* the page of a path, NULL: 404 */
bool site_is_everything(struct str path);  /* its answer holds every object: only who may get them all may have it */
bool site_has_head(struct str path);       /* upstream routes discovery and version for GET alone */
site_fn site_discovery_api, site_discovery_apis, site_discovery_group, site_version, site_health, site_health_metrics,
    site_metrics, site_token_config, site_token_keys, site_root;
site_fn site_openapi, site_openapi_two; /* openapi_site.c */
site_fn site_node_certificate;          /* node_site.c */
site_fn site_backup;                    /* backup_site.c */
void backup_tidy(const char *store);    /* files beside the store of backups that a kill cut short */
bool group_known(const struct kind_set *set, struct str group); /* "" is the core's */
void site_not_found(struct site_call *c);
void site_respond(struct site_call *c, const struct type *t, struct val tree); /* in the media that Accept asks for */
