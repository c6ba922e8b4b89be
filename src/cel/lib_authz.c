/* The functions of `authorizer` (the API server's cel/library/authz.go): a check is gathered step by step, and asked
 * for at its end. */
#include "api/formats.h"
#include "cel/libraries.h"
#include "cel/policy.h"
#include "cel/run.h"

/* What all the types hold. */
struct authz_check {
    const struct cel_authorizer *authorizer;
    struct cel_access x;
    bool allowed;
    struct str reason;
};

#define AUTHORIZER "kubernetes.authorization.Authorizer"
#define PATH       "kubernetes.authorization.PathCheck"
#define GROUP      "kubernetes.authorization.GroupCheck"
#define RESOURCE   "kubernetes.authorization.ResourceCheck"
#define DECISION   "kubernetes.authorization.Decision"

static bool authz_same(const void *a, const void *b)
{
    return a == b;
}

static const struct cel_opaque of_authorizer = {AUTHORIZER, authz_same, NULL}, of_path = {PATH, authz_same, NULL},
                               of_group = {GROUP, authz_same, NULL}, of_resource = {RESOURCE, authz_same, NULL},
                               of_decision = {DECISION, authz_same, NULL};

static struct cel_value authz_value(struct cel_run *run, const struct cel_opaque *is, const struct authz_check *c)
{
    return cel_opaque_of(is, arena_dup(run->arena, c, sizeof *c));
}

struct cel_value cel_authorizer_value(struct cel_run *run, const struct cel_authorizer *authorizer)
{
    return authz_value(run, &of_authorizer, &(struct authz_check){.authorizer = authorizer});
}

struct cel_value cel_access_value(struct cel_run *run, const struct cel_authorizer *authorizer,
                                  const struct cel_access *x)
{
    return authz_value(run, &of_resource, &(struct authz_check){.authorizer = authorizer, .x = *x});
}

static struct authz_check check_of(struct cel_value v)
{
    return *(const struct authz_check *)v.data;
}

static struct cel_value authz_path(CEL_RUN)
{
    struct authz_check c = check_of(a[0]);
    c.x.path = cel_text(a[1]);
    c.x.of_path = true;
    return c.x.path.n ? authz_value(run, &of_path, &c) : cel_error(run, "path must not be empty");
}

static struct cel_value authz_group(CEL_RUN)
{
    struct authz_check c = check_of(a[0]);
    c.x.group = cel_text(a[1]);
    return authz_value(run, &of_group, &c);
}

static struct cel_value authz_account(CEL_RUN)
{
    struct authz_check c = check_of(a[0]);
    c.x.account_ns = cel_text(a[1]);
    c.x.account = cel_text(a[2]);
    if (!format_ok(format_dns1123_subdomain, c.x.account))
        return cel_error(run, "Invalid service account name");
    if (!format_ok(format_dns1123_label, c.x.account_ns))
        return cel_error(run, "Invalid service account namespace");
    return authz_value(run, &of_authorizer, &c);
}

static struct cel_value authz_resource(CEL_RUN)
{
    struct authz_check c = check_of(a[0]);
    c.x.resource = cel_text(a[1]);
    return authz_value(run, &of_resource, &c);
}

static struct cel_value authz_sub(CEL_RUN)
{
    struct authz_check c = check_of(a[0]);
    c.x.sub = cel_text(a[1]);
    return authz_value(run, &of_resource, &c);
}

static struct cel_value authz_namespace(CEL_RUN)
{
    struct authz_check c = check_of(a[0]);
    c.x.ns = cel_text(a[1]);
    return authz_value(run, &of_resource, &c);
}

static struct cel_value authz_name(CEL_RUN)
{
    struct authz_check c = check_of(a[0]);
    c.x.name = cel_text(a[1]);
    return authz_value(run, &of_resource, &c);
}

/* RBAC knows no selectors: what is asked with one is as if without. */
static struct cel_value authz_selector(CEL_RUN)
{
    return a[0];
}

static struct cel_value authz_ask(CEL_RUN)
{
    struct authz_check c = check_of(a[0]);
    c.x.verb = cel_text(a[1]);
    c.reason = S("");
    c.allowed = c.authorizer && c.authorizer->allows(c.authorizer, run->arena, &c.x, &c.reason);
    return authz_value(run, &of_decision, &c);
}

static struct cel_value authz_allowed(CEL_RUN)
{
    return cel_bool(check_of(a[0]).allowed);
}

static struct cel_value authz_reason(CEL_RUN)
{
    return cel_string(check_of(a[0]).reason);
}

/* Whoever cannot be asked says no. */
static struct cel_value authz_errored(CEL_RUN)
{
    return cel_bool(false);
}

static struct cel_value authz_error(CEL_RUN)
{
    return cel_string(S(""));
}

static const struct cel_function authz[] = {
    {"path", "authorizer_path", AUTHORIZER ".(string) " PATH, authz_path, 0, 0, 0},
    {"group", "authorizer_group", AUTHORIZER ".(string) " GROUP, authz_group, 0, 0, 0},
    {"serviceAccount", "authorizer_serviceaccount", AUTHORIZER ".(string, string) " AUTHORIZER, authz_account, 0, 0,
     0},
    {"resource", "groupcheck_resource", GROUP ".(string) " RESOURCE, authz_resource, 0, 0, 0},
    {"subresource", "resourcecheck_subresource", RESOURCE ".(string) " RESOURCE, authz_sub, 0, 0, 0},
    {"namespace", "resourcecheck_namespace", RESOURCE ".(string) " RESOURCE, authz_namespace, 0, 0, 0},
    {"name", "resourcecheck_name", RESOURCE ".(string) " RESOURCE, authz_name, 0, 0, 0},
    {"fieldSelector", "authorizer_fieldselector", RESOURCE ".(string) " RESOURCE, authz_selector, 0, 0, 0},
    {"labelSelector", "authorizer_labelselector", RESOURCE ".(string) " RESOURCE, authz_selector, 0, 0, 0},
    {"check", "pathcheck_check", PATH ".(string) " DECISION, authz_ask, CEL_COST_AUTHORIZE, 0, 0},
    {"check", "resourcecheck_check", RESOURCE ".(string) " DECISION, authz_ask, CEL_COST_AUTHORIZE, 0, 0},
    {"allowed", "decision_allowed", DECISION ".() bool", authz_allowed, 0, 0, 0},
    {"reason", "decision_reason", DECISION ".() string", authz_reason, 0, 0, 0},
    {"errored", "decision_errored", DECISION ".() bool", authz_errored, 0, 0, 0},
    {"error", "decision_error", DECISION ".() string", authz_error, 0, 0, 0},
};

const struct cel_library cel_lib_authz = CEL_LIBRARY("authz", authz);
