/* policy.h - expressions of admission (admissionregistration.k8s.io/v1): matchConditions of webhooks, and all that a
 * policy has. They see object, oldObject, request, namespaceObject, authorizer, params where there is a paramKind,
 * and variables.NAME, each of which is worked out when it is asked for first. A compiled policy never changes and may
 * be used by any thread. */
#pragma once
#include "api/rules.h"
#include "cel/value.h"

/* What rules of validation ask about expressions (api/rules.h). */
extern const struct expression_checker cel_expression_checker;

/* A question about a right. */
struct cel_access {
    struct str account_ns, account; /* of a service account; "": the one who makes the request */
    bool of_path;
    struct str path, verb, group, resource, sub, ns, name;
};
/* Who knows the answers. */
struct cel_authorizer {
    /* `reason` may be given either way. */
    bool (*allows)(const struct cel_authorizer *self, struct arena *a, const struct cel_access *x,
                   struct str *reason);
};
/* What expressions are told of a request. Trees are as their JSON reads. */
struct cel_admission {
    const struct val *request;                 /* an AdmissionRequest without its objects */
    const struct val *obj, *old, *ns, *params; /* NULL: null */
    const struct cel_authorizer *authorizer;
    struct cel_access resource; /* of the request, for authorizer.requestResource */
};

struct cel_policy;
/* Of the spec of a policy, or of a webhook (which has matchConditions alone), whose texts are copied. What does not
 * compile fails when it is run. NULL: there is no expression. */
struct cel_policy *cel_policy_new(const struct val *spec);
void cel_policy_free(struct cel_policy *p);
AUTO_POINTER(cel_policy_free, struct cel_policy);

enum cel_met {
    CEL_MET,
    CEL_NOT_MET, /* one of them is false, whatever else happened */
    CEL_UNKNOWN, /* one could not be evaluated: `why` says it in upstream's words */
};
/* Its matchConditions. */
enum cel_met cel_policy_met(const struct cel_policy *p, const struct cel_admission *x, struct strbuf *why);

/* What a validation or an audit annotation says against a request. */
struct cel_refusal {
    struct str message, reason; /* reason: of a validation that has one; else "" */
    bool failed;                /* it could not be evaluated */
    bool annotation;
};
/* Its validations and audit annotations, in order; in the arena. */
size_t cel_policy_validate(const struct cel_policy *p, struct arena *a, const struct cel_admission *x,
                           struct cel_refusal **out);

/* Mutation `i`: for ApplyConfiguration a tree of what is to be set, for JSONPatch a list of operations. False: `why`
 * says what failed. */
MUST_USE bool cel_policy_mutation(const struct cel_policy *p, size_t i, struct arena *a,
                                  const struct cel_admission *x, struct val *out, struct strbuf *why);

/* What in the validations of a policy's spec does not fit objects of one of these kinds (status.typeChecking): a list
 * of ExpressionWarnings. params: the kind of its parameters; NULL: unknown, or it has none. */
struct val cel_policy_warnings(struct arena *a, const struct val *spec, const struct kind *const *kinds_asked,
                               size_t n, const struct kind *params);

/* --- inside of the room: values of authorizers (lib_authz.c) --- */
struct cel_value cel_authorizer_value(struct cel_run *run, const struct cel_authorizer *authorizer);
struct cel_value cel_access_value(struct cel_run *run, const struct cel_authorizer *authorizer,
                                  const struct cel_access *x);
