#include "api/codec.h"
#include "api/podsecurity.h"
#include "base/test.h"

/* ' stands for ". */
static struct val tree_of(struct arena *a, const char *json)
{
    struct val out;
    struct err err = ERR;
    char *text = mem_dupz(json);
    for (char *p = text; *p; p++)
        if (*p == '\'')
            *p = '"';
    CHECK_OK(json_decode(a, str_dup(a, str_of(text)), &out, &err), err);
    mem_free(text);
    return out;
}

#define SAFE         "'allowPrivilegeEscalation':false,'capabilities':{'drop':['ALL']}"
#define ONE(context) "'containers':[{'name':'c','securityContext':{" context "}}]"
#define NONE         "'containers':[{'name':'c'}]"

/* Upstream's cases of check_*_test.go, and the words of each. */
TEST(the_standards_find_what_upstream_finds)
{
    static const struct {
        const char *level, *version, *pod, *found;
    } rows[] = {
        {"privileged", "latest", "'spec':{'hostNetwork':true," NONE "}", ""},
        {"baseline", "latest", "'spec':{" NONE "}", ""},
        {"baseline", "latest", "'spec':{'hostPID':true,'hostIPC':true," NONE "}",
         "host namespaces (hostPID=true, hostIPC=true)"},
        {"baseline", "latest",
         "'spec':{'securityContext':{'appArmorProfile':{'type':'Unconfined'}},'containers':[{'name':'a','"
         "securityContext':"
         "{'appArmorProfile':{'type':''}}},{'name':'b','securityContext':{'appArmorProfile':{'type':'Localhost'}}}]}",
         "forbidden AppArmor profiles (pod and container \"a\" must not set AppArmor profile type to \"\", "
         "\"Unconfined\")"},
        {"baseline", "latest",
         "'metadata':{'annotations':{'container.apparmor.security.beta.kubernetes.io/c':'unconfined',"
         "'container.apparmor.security.beta.kubernetes.io/d':'localhost/x'}},'spec':{" NONE "}",
         "forbidden AppArmor profile (annotation must not set AppArmor profile type to "
         "\"container.apparmor.security.beta.kubernetes.io/c=\"unconfined\"\")"},
        {"baseline", "latest",
         "'spec':{'containers':[{'name':'a','ports':[{'hostPort':9},{'hostPort':10}]},{'name':'b','ports':[{'"
         "hostPort':9}]}]}",
         "hostPort (containers \"a\", \"b\" use hostPorts 10, 9)"},
        {"baseline", "latest", "'spec':{" ONE("'procMount':'Unmasked'") "}",
         "procMount (container \"c\" must not set securityContext.procMount to \"Unmasked\")"},
        {"baseline", "latest", "'spec':{'hostUsers':false," ONE("'procMount':'Unmasked'") "}", ""},
        {"baseline", "v1.34", "'spec':{'hostUsers':false," ONE("'procMount':'Unmasked'") "}",
         "procMount (container \"c\" must not set securityContext.procMount to \"Unmasked\")"},
        {"baseline", "latest",
         "'spec':{'securityContext':{'seLinuxOptions':{'user':'u'}}," ONE(
             "'seLinuxOptions':{'type':'container_engine_t'}") "}",
         "seLinuxOptions (pod set forbidden securityContext.seLinuxOptions: user may not be set)"},
        {"baseline", "v1.30", "'spec':{" ONE("'seLinuxOptions':{'type':'container_engine_t'}") "}",
         "seLinuxOptions (container \"c\" set forbidden securityContext.seLinuxOptions: type "
         "\"container_engine_t\")"},
        {"baseline", "latest",
         "'spec':{'securityContext':{'sysctls':[{'name':'a'},{'name':'net.ipv4.tcp_rmem'},{'name':'b'}]}," NONE "}",
         "forbidden sysctls (a, b)"},
        {"baseline", "v1.28",
         "'spec':{'securityContext':{'sysctls':[{'name':'net.ipv4.tcp_rmem'},{'name':'net.ipv4.ip_local_reserved_"
         "ports'}]}," NONE "}",
         "forbidden sysctls (net.ipv4.tcp_rmem)"},
        {"baseline", "v1.18",
         "'metadata':{'annotations':{'seccomp.security.alpha.kubernetes.io/pod':'unconfined'}},'spec':{" ONE(
             "'seccompProfile':{'type':'Unconfined'}") "}",
         "seccompProfile (forbidden annotation seccomp.security.alpha.kubernetes.io/pod=\"unconfined\")"},
        {"baseline", "latest",
         "'spec':{'securityContext':{'seccompProfile':{'type':'Unconfined'}}," ONE(
             "'seccompProfile':{'type':'Other'}") "}",
         "seccompProfile (pod and container \"c\" must not set securityContext.seccompProfile.type to \"Other\", "
         "\"Unconfined\")"},
        {"baseline", "latest",
         "'spec':{'ephemeralContainers':[{'name':'e','securityContext':{'privileged':true}}]," NONE "}",
         "privileged (container \"e\" must not set securityContext.privileged=true)"},
        {"baseline", "v1.33", "'spec':{'containers':[{'name':'c','livenessProbe':{'tcpSocket':{'host':'h'}}}]}", ""},
        {"baseline", "latest", "'spec':{'containers':[{'name':'c','livenessProbe':{'tcpSocket':{'host':'h'}}}]}",
         "probe or lifecycle host (container \"c\" uses probe or lifecycle host \"h\")"},
        {"restricted", "latest", "'spec':{'os':{'name':'windows'},'securityContext':{'runAsNonRoot':true}," NONE "}",
         ""},
        {"restricted", "v1.24",
         "'spec':{'os':{'name':'windows'},'securityContext':{'runAsNonRoot':true,'seccompProfile':{'type':'"
         "RuntimeDefault'}}," ONE(SAFE) "}",
         ""},
        {"restricted", "latest",
         "'spec':{'securityContext':{'runAsNonRoot':true,'runAsUser':0,'seccompProfile':{'type':'RuntimeDefault'}},"
         "'volumes':[{'name':'h','hostPath':{'path':'/'}},{'name':'i','image':{'reference':'i'}}]," ONE(SAFE) "}",
         "restricted volume types (volumes \"h\", \"i\" use restricted volume types \"hostPath\", \"unknown\"), "
         "runAsUser=0 (pod must not set runAsUser=0)"},
        {"restricted", "latest",
         "'spec':{'hostUsers':false,'securityContext':{'runAsUser':0,'seccompProfile':{'type':'RuntimeDefault'}}"
         "," ONE(SAFE) "}",
         ""},
        {"restricted", "v1.34",
         "'spec':{'hostUsers':false,'securityContext':{'runAsUser':0,'seccompProfile':{'type':'RuntimeDefault'}}"
         "," ONE(SAFE) "}",
         "runAsNonRoot != true (pod or container \"c\" must set securityContext.runAsNonRoot=true), "
         "runAsUser=0 (pod must not set runAsUser=0)"},
        {"restricted", "v1.7", "'spec':{'securityContext':{'runAsNonRoot':true}," NONE "}", ""},
        {"restricted", "v1.21", "'spec':{'securityContext':{'runAsNonRoot':false}," NONE "}",
         "allowPrivilegeEscalation != false (container \"c\" must set "
         "securityContext.allowPrivilegeEscalation=false), "
         "runAsNonRoot != true (pod must not set securityContext.runAsNonRoot=false), seccompProfile (pod or "
         "container "
         "\"c\" must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\")"},
        {"nonsense", "latest",
         "'spec':{'securityContext':{'runAsNonRoot':true,'seccompProfile':{'type':'Localhost'}}," ONE(
             "'allowPrivilegeEscalation':false") "}",
         "unrestricted capabilities (container \"c\" must set securityContext.capabilities.drop=[\"ALL\"])"},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        AUTO(arena_fini) struct arena a = ARENA;
        struct security_finding found[SECURITY_FINDINGS_MAX];
        struct val pod = tree_of(&a, arena_fmt(&a, "{%s}", rows[i].pod).p), labels = val_map();
        val_set_str(&a, &labels, S("pod-security.kubernetes.io/enforce"), val_str(&a, str_of(rows[i].level)));
        val_set_str(&a, &labels, S("pod-security.kubernetes.io/enforce-version"),
                    val_str(&a, str_of(rows[i].version)));
        struct security_policy p = security_policy_of(&labels, "enforce");
        size_t n = security_check(&a, &p, val_get(&pod, N(metadata)), val_get(&pod, N(spec)), found);
        CHECK_STR(security_text(&a, found, n, true), str_of(rows[i].found));
    }
}

TEST(labels_that_cannot_be_read_enforce_the_strictest_and_warn_of_nothing)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct val labels = tree_of(&a, "{'pod-security.kubernetes.io/enforce':'x','pod-security.kubernetes.io/warn':'x',"
                                    "'pod-security.kubernetes.io/audit':'baseline',"
                                    "'pod-security.kubernetes.io/audit-version':'v1.x'}");
    struct security_policy enforce = security_policy_of(&labels, "enforce"),
                           warn = security_policy_of(&labels, "warn");
    struct security_policy audit = security_policy_of(&labels, "audit"), none = security_policy_of(NULL, "enforce");
    CHECK_STR(security_policy_text(&a, &enforce), S("restricted:latest"));
    CHECK_STR(security_policy_text(&a, &warn), S("privileged:latest"));
    CHECK_STR(security_policy_text(&a, &audit), S("baseline:latest"));
    CHECK_STR(security_policy_text(&a, &none), S("privileged:latest"));
}
