#include "api/codec.h"
#include "api/placement.h"
#include "api/usage.h"
#include "base/test.h"

static struct val tree_of(struct arena *a, const char *json)
{
    struct val out;
    struct err err = ERR;
    char *text = mem_dupz(json); /* ' stands for " */
    for (char *p = text; *p; p++)
        if (*p == '\'')
            *p = '"';
    CHECK_OK(json_decode(a, str_dup(a, str_of(text)), &out, &err), err);
    mem_free(text);
    return out;
}

static int member_cmp(const void *a, const void *b)
{
    return str_cmp((*(const struct member *const *)a)->name->s, (*(const struct member *const *)b)->name->s);
}

/* "cpu=1 pods=1": in order of the names. */
static struct str list_text(struct arena *a, const struct val *list)
{
    const struct member *all[64];
    size_t n = 0;
    struct str out = S("");
    val_each_member (m, list)
        all[n++] = m;
    qsort(all, n, sizeof *all, member_cmp);
    for (size_t i = 0; i < n; i++)
        out = STR_JOIN(a, out, out.n ? S(" ") : S(""), all[i]->name->s, S("="), val_text(&all[i]->v));
    return out;
}

static struct str extended_of(void *arg, struct arena *a, struct str class)
{
    (void)arg, (void)a;
    return str_eqz(class, "gpu") ? S("example.com/gpu") : S("");
}

#define REQ(r, l)       "'resources':{'requests':{" r "},'limits':{" l "}}"
#define CONTAINER(r, l) "{'name':'c'," REQ(r, l) "}"
#define SIDECAR(r, l)   "{'name':'s','restartPolicy':'Always'," REQ(r, l) "}"
#define POD(init, main) "{'spec':{'initContainers':[" init "],'containers':[" main "]}}"

/* Upstream's cases of pods_test.go, services_test.go, persistent_volume_claims_test.go, resource_claims_test.go. */
TEST(objects_use_what_upstream_counts)
{
    static const struct {
        const char *resource, *object, *uses;
        bool over;
    } rows[] = {
        {"pods", POD(CONTAINER("'cpu':'1m'", "'cpu':'2m'"), ""),
         "count/pods=1 cpu=1m limits.cpu=2m pods=1 requests.cpu=1m", false},
        {"pods", POD("", CONTAINER("'memory':'1Mi'", "'memory':'2Mi'")),
         "count/pods=1 limits.memory=2Mi memory=1Mi pods=1 requests.memory=1Mi", false},
        {"pods", POD("", CONTAINER("'ephemeral-storage':'32Mi'", "'ephemeral-storage':'64Mi'")),
         "count/pods=1 ephemeral-storage=32Mi limits.ephemeral-storage=64Mi pods=1 requests.ephemeral-storage=32Mi",
         false},
        {"pods", POD("", CONTAINER("'hugepages-2Mi':'100Mi'", "'hugepages-2Mi':'100Mi'")),
         "count/pods=1 hugepages-2Mi=100Mi pods=1 requests.hugepages-2Mi=100Mi", false},
        {"pods", POD("", CONTAINER("'example.com/dongle':'3'", "'example.com/dongle':'3'")),
         "count/pods=1 pods=1 requests.example.com/dongle=3", false},
        {"pods", "{'spec':{'containers':[" CONTAINER("'cpu':'1'", "") "]},'status':{'phase':'Succeeded'}}",
         "count/pods=1", false},
        {"pods", "{'spec':{'containers':[" CONTAINER("'cpu':'1'", "") "]},'status':{'phase':'Failed'}}",
         "count/pods=1", false},
        {"pods", POD("", CONTAINER("'cpu':'1'", "'cpu':'2'")), "count/pods=1", true},
        /* the largest of the init containers, where that is more than all others */
        {"pods",
         POD(CONTAINER("'cpu':'4','memory':'100M','example.com/dongle':'4'",
                       "'cpu':'8','memory':'200M'") "," CONTAINER("'cpu':'1','memory':'50M','example.com/dongle':'2'",
                                                                  "'cpu':'2','memory':'100M'"),
             CONTAINER("'cpu':'1','memory':'50M','example.com/dongle':'1'",
                       "'cpu':'2','memory':'100M'") "," CONTAINER("'cpu':'2','memory':'25M','example.com/dongle':'2'",
                                                                  "'cpu':'5','memory':'50M'")),
         "count/pods=1 cpu=4 limits.cpu=8 limits.memory=200M memory=100M pods=1 requests.cpu=4 "
         "requests.example.com/dongle=4 requests.memory=100M",
         false},
        /* sidecars run beside the others, and beside the init containers behind them */
        {"pods",
         POD(CONTAINER("'cpu':'5'", "") "," SIDECAR("'cpu':'1'", "") "," CONTAINER("'cpu':'6'", ""),
             CONTAINER("'cpu':'2'", "")),
         "count/pods=1 cpu=7 pods=1 requests.cpu=7", false},
        {"pods", POD(SIDECAR("'cpu':'1'", "") "," CONTAINER("'cpu':'500m'", ""), CONTAINER("'cpu':'2'", "")),
         "count/pods=1 cpu=3 pods=1 requests.cpu=3", false},
        /* overhead: of limits only where there is one */
        {"pods",
         "{'spec':{'overhead':{'cpu':'1m','memory':'1Mi'},'containers':[" CONTAINER("'cpu':'1','memory':'1Mi'",
                                                                                    "'cpu':'2'") "]}}",
         "count/pods=1 cpu=1001m limits.cpu=2001m memory=2Mi pods=1 requests.cpu=1001m requests.memory=2Mi", false},
        /* what is said of the pod counts, not of its containers */
        {"pods",
         "{'spec':{" REQ("'cpu':'3'", "'cpu':'4'") ",'containers':[" CONTAINER("'cpu':'1','memory':'1Mi'",
                                                                               "'cpu':'2'") "]}}",
         "count/pods=1 cpu=3 limits.cpu=4 memory=1Mi pods=1 requests.cpu=3 requests.memory=1Mi", false},
        /* while it is resized: the larger one; what the node refuses for good is not wanted any more */
        {"pods",
         "{'spec':{'containers':[" CONTAINER(
             "'cpu':'1'", "'cpu':'1'") "]},'status':{'containerStatuses':[{'name':'c',"
                                       "'allocatedResources':{'cpu':'2'}," REQ("'cpu':'3'", "'cpu':'4'") "}]}}",
         "count/pods=1 cpu=3 limits.cpu=4 pods=1 requests.cpu=3", false},
        {"pods",
         "{'spec':{'containers':[" CONTAINER("'cpu':'9'", "'cpu':'9'") "]},'status':{'conditions':[{'type':'PodResize"
                                                                       "Pending','reason':'Infeasible'}],'container"
                                                                       "Statuses':[{'name':'c'," REQ(
                                                                           "'cpu':'3'", "'cpu':'4'") "}]}}",
         "count/pods=1 cpu=3 limits.cpu=4 pods=1 requests.cpu=3", false},

        {"services", "{'spec':{'type':'ClusterIP','ports':[{'port':1},{'port':2}]}}",
         "count/services=1 services=1 services.loadbalancers=0 services.nodeports=0", false},
        {"services", "{'spec':{'type':'NodePort','ports':[{'port':1},{'port':2}]}}",
         "count/services=1 services=1 services.loadbalancers=0 services.nodeports=2", false},
        {"services", "{'spec':{'type':'LoadBalancer','ports':[{'port':1},{'port':2}]}}",
         "count/services=1 services=1 services.loadbalancers=1 services.nodeports=2", false},
        {"services",
         "{'spec':{'type':'LoadBalancer','allocateLoadBalancerNodePorts':false,'ports':[{'port':1},{'port':2}]}}",
         "count/services=1 services=1 services.loadbalancers=1 services.nodeports=0", false},
        {"services",
         "{'spec':{'type':'LoadBalancer','allocateLoadBalancerNodePorts':false,'ports':[{'port':1,'nodePort':31000},"
         "{'port':2}]}}",
         "count/services=1 services=1 services.loadbalancers=1 services.nodeports=1", false},
        {"services", "{'spec':{'type':'ExternalName','externalName':'a'}}",
         "count/services=1 services=1 services.loadbalancers=0 services.nodeports=0", false},

        {"persistentvolumeclaims", "{'spec':{'resources':{'requests':{'storage':'10Gi'}}}}",
         "count/persistentvolumeclaims=1 persistentvolumeclaims=1 requests.storage=10Gi", false},
        {"persistentvolumeclaims", "{'spec':{'storageClassName':'gold','resources':{'requests':{'storage':'10Gi'}}}}",
         "count/persistentvolumeclaims=1 gold.storageclass.storage.k8s.io/persistentvolumeclaims=1 "
         "gold.storageclass.storage.k8s.io/requests.storage=10Gi persistentvolumeclaims=1 requests.storage=10Gi",
         false},
        {"persistentvolumeclaims",
         "{'metadata':{'annotations':{'volume.beta.kubernetes.io/storage-class':'old'}},'spec':{'storageClassName':"
         "'gold'}}",
         "count/persistentvolumeclaims=1 old.storageclass.storage.k8s.io/persistentvolumeclaims=1 "
         "persistentvolumeclaims=1",
         false},
        {"persistentvolumeclaims", "{'spec':{'resources':{'requests':{'storage':'1500m'}}}}",
         "count/persistentvolumeclaims=1 persistentvolumeclaims=1 requests.storage=2", false},
        {"persistentvolumeclaims",
         "{'spec':{'resources':{'requests':{'storage':'1Gi'}}},'status':{'allocatedResources':{'storage':'2Gi'}}}",
         "count/persistentvolumeclaims=1 persistentvolumeclaims=1 requests.storage=2Gi", false},

        {"resourceclaims.resource.k8s.io",
         "{'spec':{'devices':{'requests':[{'name':'a','exactly':{'deviceClassName':'tpu','allocationMode':'"
         "ExactCount',"
         "'count':5}},{'name':'b','exactly':{'deviceClassName':'tpu','allocationMode':'All'}}]}}}",
         "count/resourceclaims.resource.k8s.io=1 requests.deviceclass.resource.kubernetes.io/tpu=37 "
         "tpu.deviceclass.resource.k8s.io/devices=37",
         false},
        {"resourceclaims.resource.k8s.io",
         "{'spec':{'devices':{'requests':[{'name':'a','firstAvailable':[{'deviceClassName':'gpu','allocationMode':"
         "'ExactCount','count':1},{'deviceClassName':'gpu','allocationMode':'ExactCount','count':2},{'"
         "deviceClassName':"
         "'tpu','allocationMode':'ExactCount','count':1}]}]}}}",
         "count/resourceclaims.resource.k8s.io=1 gpu.deviceclass.resource.k8s.io/devices=2 "
         "requests.deviceclass.resource.kubernetes.io/gpu=2 requests.deviceclass.resource.kubernetes.io/tpu=1 "
         "requests.example.com/gpu=2 tpu.deviceclass.resource.k8s.io/devices=1",
         false},
        {"configmaps", "{}", "configmaps=1 count/configmaps=1", false},
        {"deployments.apps", "{}", "count/deployments.apps=1", false},
        {"events", "{}", "", false},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        AUTO(arena_fini) struct arena a = ARENA;
        struct val tree = tree_of(&a, rows[i].object);
        struct usage_facts facts = {.over = rows[i].over, .class_resource = extended_of};
        struct val uses = usage_of(&a, str_of(rows[i].resource), &tree, &facts);
        CHECK_STR(list_text(&a, &uses), str_of(rows[i].uses));
        val_each_member (m, &uses)
            CHECK(usage_counts(str_of(rows[i].resource), m->name->s));
    }
}

/* pod_request makes no lists for most pods, and says the same. */
TEST(one_resource_of_a_pod_is_as_the_lists_have_it)
{
    static const char *const specs[] = {
        "'containers':[" CONTAINER("'cpu':'1500m','memory':'1Gi'", "") "]",
        "'overhead':{'cpu':'1m'},'initContainers':[" SIDECAR("'cpu':'2'", "") "," CONTAINER(
            "'cpu':'5'", "") "],'containers':[" CONTAINER("'cpu':'3'", "") "]",
        REQ("'cpu':'3'", "") ",'containers':[" CONTAINER("'cpu':'1','memory':'1Mi'", "") "]",
    };
    static const char *const statuses[] = {
        "", /* never told */
        "'observedGeneration':2,'containerStatuses':[{'name':'c','allocatedResources':{'cpu':'1500m'}}]",
        /* told before it was resized, while it waits, and while it goes on */
        "'observedGeneration':1,'containerStatuses':[{'name':'c','allocatedResources':{'cpu':'20','memory':'4Gi'}}]",
        "'observedGeneration':2,'conditions':[{'type':'PodResizePending','reason':'Infeasible'}],"
        "'containerStatuses':[{'name':'c','allocatedResources':{'cpu':'100m'}}]",
        "'observedGeneration':2,'conditions':[{'type':'PodResizeInProgress'}],"
        "'containerStatuses':[{'name':'c','allocatedResources':{'cpu':'1'}," REQ("'cpu':'30'", "") "}]",
    };
    static const int flags[] = {0, POD_OVERHEAD, POD_STATUS, POD_OVERHEAD | POD_STATUS};
    static const char *const resources[] = {"cpu", "memory", "example.com/gpu"};
    for (size_t i = 0; i < countof(specs) * countof(statuses) * countof(flags) * countof(resources); i++) {
        AUTO(arena_fini) struct arena a = ARENA;
        size_t n = i;
        struct str r = str_of(resources[n % countof(resources)]);
        int f = flags[(n /= countof(resources)) % countof(flags)];
        const char *status = statuses[(n /= countof(flags)) % countof(statuses)],
                   *spec = specs[n / countof(statuses)];
        struct val tree = tree_of(&a, arena_fmt(&a,
                                                "{'metadata':{'name':'p','generation':2},'spec':{'nodeName':'n',%s},"
                                                "'status':{%s}}",
                                                spec, status)
                                          .p);
        AUTO(obj_unref) struct obj *o = obj_new(K(Pod), &tree, 1);
        struct val all = pod_resources(&a, &tree, N(requests), f);
        CHECK_INT(pod_request(o, r, f), resource_amount(&all, r));
    }
}

TEST(names_of_quotas_belong_to_resources)
{
    static const struct {
        const char *name, *by;
    } rows[] = {
        {"cpu", "pods"},
        {"count/pods", "pods"},
        {"hugepages-2Mi", "pods"},
        {"requests.example.com/gpu", "pods resourceclaims.resource.k8s.io"},
        {"limits.example.com/gpu", ""},
        {"example.com/gpu", ""},
        {"requests.storage", "persistentvolumeclaims"},
        {"gold.storageclass.storage.k8s.io/requests.storage", "persistentvolumeclaims"},
        {"storage", ""},
        {"services.nodeports", "services"},
        {"gpu.deviceclass.resource.k8s.io/devices", "resourceclaims.resource.k8s.io"},
        {"configmaps", "configmaps"},
        {"count/configmaps", "configmaps"},
        {"count/widgets.example.com", "widgets.example.com"},
        {"count/events", ""},
        {"widgets", ""},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        AUTO(arena_fini) struct arena a = ARENA;
        struct str by = S(""), name = str_of(rows[i].name), plain = usage_counted(name);
        for (size_t k = 0; usage_special[k]; k++)
            if (usage_counts(str_of(usage_special[k]), name))
                by = STR_JOIN(&a, by, by.n ? S(" ") : S(""), str_of(usage_special[k]));
        if (!by.n && plain.n && usage_counts(plain, name))
            by = plain;
        CHECK_STR(by, str_of(rows[i].by));
    }
}

TEST(scopes_take_what_upstream_matches)
{
    static const struct {
        const char *resource, *spec, *object;
        bool takes;
    } rows[] = {
        {"pods", "{}", "{}", true},
        {"pods", "{'scopes':['Terminating']}", "{'spec':{'activeDeadlineSeconds':0}}", true},
        {"pods", "{'scopes':['Terminating']}", "{'spec':{}}", false},
        {"pods", "{'scopes':['NotTerminating']}", "{'spec':{}}", true},
        {"pods", "{'scopes':['BestEffort']}", "{'spec':{'containers':[{}]}}", true},
        {"pods", "{'scopes':['NotBestEffort']}", "{'spec':{'containers':[{}]}}", false},
        {"pods", "{'scopes':['NotBestEffort','NotTerminating']}",
         "{'spec':{'containers':[{'resources':{'requests':{'cpu':'1'}}}]}}", true},
        {"pods", "{'scopes':['BestEffort']}", "{'spec':{'containers':[{}]},'status':{'qosClass':'Burstable'}}",
         false},
        {"pods", "{'scopes':['PriorityClass']}", "{'spec':{'priorityClassName':'a'}}", true},
        {"pods", "{'scopes':['PriorityClass']}", "{'spec':{}}", false},
        {"pods", "{'scopes':['CrossNamespacePodAffinity']}",
         "{'spec':{'affinity':{'podAntiAffinity':{'preferredDuringSchedulingIgnoredDuringExecution':[{'"
         "podAffinityTerm':"
         "{'namespaces':['b']}}]}}}}",
         true},
        {"pods", "{'scopes':['CrossNamespacePodAffinity']}",
         "{'spec':{'affinity':{'podAffinity':{'requiredDuringSchedulingIgnoredDuringExecution':[{'namespaceSelector':"
         "{}}"
         "]}}}}",
         true},
        {"pods", "{'scopes':['CrossNamespacePodAffinity']}",
         "{'spec':{'affinity':{'podAffinity':{'requiredDuringSchedulingIgnoredDuringExecution':[{'topologyKey':'a'}]}"
         "}}}",
         false},
        {"pods", "{'scopes':['VolumeAttributesClass']}", "{'spec':{}}", false},
        {"services", "{'scopes':['NotTerminating']}", "{'spec':{}}", false},
        {"configmaps", "{'scopes':['NotBestEffort']}", "{}", false},
#define CLASS(op, values)                                                                                            \
    "{'scopeSelector':{'matchExpressions':[{'scopeName':'PriorityClass','operator':'" op "'" values "}]}}"
        {"pods", CLASS("In", ",'values':['a','b']"), "{'spec':{'priorityClassName':'b'}}", true},
        {"pods", CLASS("In", ",'values':['a']"), "{'spec':{'priorityClassName':'b'}}", false},
        {"pods", CLASS("In", ",'values':['a']"), "{'spec':{}}", false},
        {"pods", CLASS("NotIn", ",'values':['a']"), "{'spec':{}}", true},
        {"pods", CLASS("NotIn", ",'values':['a']"), "{'spec':{'priorityClassName':'a'}}", false},
        {"pods", CLASS("Exists", ""), "{'spec':{'priorityClassName':'a'}}", true},
        {"pods", CLASS("DoesNotExist", ""), "{'spec':{'priorityClassName':'a'}}", false},
        {"pods", CLASS("DoesNotExist", ""), "{'spec':{}}", true},
#define ATTRIBUTES(op, values)                                                                                       \
    "{'scopeSelector':{'matchExpressions':[{'scopeName':'VolumeAttributesClass','operator':'" op "'" values "}]}}"
        {"persistentvolumeclaims", ATTRIBUTES("Exists", ""), "{'spec':{'volumeAttributesClassName':'a'}}", true},
        {"persistentvolumeclaims", ATTRIBUTES("Exists", ""), "{'spec':{}}", false},
        {"persistentvolumeclaims", ATTRIBUTES("DoesNotExist", ""), "{'spec':{}}", true},
        {"persistentvolumeclaims", ATTRIBUTES("In", ",'values':['b']"),
         "{'spec':{'volumeAttributesClassName':'a'},'status':{'currentVolumeAttributesClassName':'b'}}", true},
        {"persistentvolumeclaims", ATTRIBUTES("In", ",'values':['c']"),
         "{'spec':{},'status':{'modifyVolumeStatus':{'targetVolumeAttributesClassName':'c'}}}", true},
        {"persistentvolumeclaims", ATTRIBUTES("NotIn", ",'values':['a']"),
         "{'spec':{'volumeAttributesClassName':'a'}}", false},
        {"persistentvolumeclaims", "{'scopes':['Terminating']}", "{'spec':{}}", false},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        AUTO(arena_fini) struct arena a = ARENA;
        struct val spec = tree_of(&a, rows[i].spec), object = tree_of(&a, rows[i].object);
        if (usage_in_scope(&spec, str_of(rows[i].resource), &object) != rows[i].takes)
            CHECK_STR(arena_fmt(&a, "row %zu: %s of %s", i, rows[i].spec, rows[i].object), S(""));
    }
}

TEST(a_quota_of_cpu_wants_it_said)
{
    static const struct {
        const char *hard, *pod, *missing;
    } rows[] = {
        {"{'memory':'1'}", POD(CONTAINER("'cpu':'1m'", "'cpu':'2m'"), ""), "memory for: c"},
        {"{'memory':'1'}", POD("", CONTAINER("'cpu':'1m'", "'cpu':'2m'")), "memory for: c"},
        {"{'limits.memory':'1','requests.cpu':'1'}",
         "{'spec':{'containers':[{'name':'b'},{'name':'a'}],'initContainers':[{'name':'a'},{'name':'i','resources':"
         "{'requests':{'cpu':'1'}}}]}}",
         "limits.memory for: a,b,i; requests.cpu for: a,b"},
        {"{'ephemeral-storage':'1','pods':'1'}", POD("", CONTAINER("", "")), ""},
        {"{'cpu':'1'}", "{'spec':{" REQ("'memory':'1'", "") ",'containers':[{'name':'a'}]}}", ""},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        AUTO(arena_fini) struct arena a = ARENA;
        struct val hard = tree_of(&a, rows[i].hard), pod = tree_of(&a, rows[i].pod);
        CHECK_STR(usage_missing(&a, &hard, &pod), str_of(rows[i].missing));
    }
}
