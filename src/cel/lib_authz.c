/* The functions of `authorizer` (the API server's cel/library/authz.go). They are declared, so that their names are
 * known; nothing here gives an expression an authorizer. */
#include "cel/libraries.h"

static struct cel_value authz_absent(CEL_RUN)
{
    return cel_error(run, "there is no authorizer");
}

#define AUTHORIZER "kubernetes.authorization.Authorizer"
#define PATH       "kubernetes.authorization.PathCheck"
#define GROUP      "kubernetes.authorization.GroupCheck"
#define RESOURCE   "kubernetes.authorization.ResourceCheck"
#define DECISION   "kubernetes.authorization.Decision"

static const struct cel_function authz[] = {
    {"path", "authorizer_path", AUTHORIZER ".(string) " PATH, authz_absent, 0, 0, 0},
    {"group", "authorizer_group", AUTHORIZER ".(string) " GROUP, authz_absent, 0, 0, 0},
    {"serviceAccount", "authorizer_serviceaccount", AUTHORIZER ".(string, string) " AUTHORIZER, authz_absent, 0, 0,
     0},
    {"resource", "groupcheck_resource", GROUP ".(string) " RESOURCE, authz_absent, 0, 0, 0},
    {"subresource", "resourcecheck_subresource", RESOURCE ".(string) " RESOURCE, authz_absent, 0, 0, 0},
    {"namespace", "resourcecheck_namespace", RESOURCE ".(string) " RESOURCE, authz_absent, 0, 0, 0},
    {"name", "resourcecheck_name", RESOURCE ".(string) " RESOURCE, authz_absent, 0, 0, 0},
    {"fieldSelector", "authorizer_fieldselector", RESOURCE ".(string) " RESOURCE, authz_absent, 0, 0, 0},
    {"labelSelector", "authorizer_labelselector", RESOURCE ".(string) " RESOURCE, authz_absent, 0, 0, 0},
    {"check", "pathcheck_check", PATH ".(string) " DECISION, authz_absent, 0, 0, 0},
    {"check", "resourcecheck_check", RESOURCE ".(string) " DECISION, authz_absent, 0, 0, 0},
    {"allowed", "decision_allowed", DECISION ".() bool", authz_absent, 0, 0, 0},
    {"reason", "decision_reason", DECISION ".() string", authz_absent, 0, 0, 0},
    {"errored", "decision_errored", DECISION ".() bool", authz_absent, 0, 0, 0},
    {"error", "decision_error", DECISION ".() string", authz_absent, 0, 0, 0},
};

const struct cel_library cel_lib_authz = CEL_LIBRARY("authz", authz);
