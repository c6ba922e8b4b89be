#include "server/boot.h"
#include "api/codec.h"
#include "base/log.h"
#include "server/definitions.h"
#include "server/int.h"
#include "server/write.h"

/* Requests of the server's own, that create what is missing: roles and bindings many at once, so that they share the
 * commits of the store, then the objects, which build on each other, one at a time. */
#define AT_ONCE 64

struct boot {
    struct server *server;
    struct arena arena;
    struct boot_facts f;
    size_t at, at_rbac, at_version, at_definition;
    struct str definitions;                 /* sets of them that are still to be looked at */
    const struct definitions_row *defining; /* the one that is; NULL: none */
    struct str stale;                       /* the last of these; p NULL: none */
    bool api_alone;
    int flying;
    void (*done)(struct server *s);
};

struct boot_request {
    struct request r;
    struct boot *boot;
};

/* ConfigMaps of kube-system: the class was made, and is not made again. Each stands behind its class in the list. */
#define CLASS_MADE "wherry-local-volumes"
#define FRONT_MADE "wherry-front-door"

/* The definition of AddressPools, which control/loadbalancer.c reads. \\' stands for a quote in an expression. */
#define LABEL_SELECTOR                                                                                               \
    "{'type':'object','x-kubernetes-map-type':'atomic','properties':{'matchLabels':{'type':'object',"                \
    "'additionalProperties':{'type':'string'}},'matchExpressions':{'type':'array','items':{'type':'object',"         \
    "'required':['key','operator'],'properties':{'key':{'type':'string'},'operator':{'type':'string','enum':"        \
    "['In','NotIn','Exists','DoesNotExist']},'values':{'type':'array','items':{'type':'string'}}}}}}}"
#define ADDRESS_RANGE                                                                                                \
    "{'type':'string','maxLength':36,'x-kubernetes-validations':["                                                   \
    "{'rule':'!self.contains(\\':\\')','message':'IPv6 addresses are not given: Services have IPv4 here'},"          \
    "{'rule':'self.contains(\\':\\') || isCIDR(self) || (self.split(\\'-\\').size() <= 2 && "                        \
    "self.split(\\'-\\').all(x, isIP(x.trim())))','message':'must be a CIDR such as 192.0.2.0/28 or a range such "   \
    "as "                                                                                                            \
    "192.0.2.1-192.0.2.9'},"                                                                                         \
    "{'rule':'self.contains(\\':\\') || self.contains(\\'/\\') || !self.split(\\'-\\').all(x, isIP(x.trim())) || "   \
    "self.split(\\'-\\').map(x, x.trim().split(\\'.\\').map(p, int(p))).map(b, b[0] * 16777216 + b[1] * 65536 + "    \
    "b[2] * 256 + b[3]).isSorted()','message':'the range ends before it begins'},"                                   \
    "{'rule':'!self.matches(\\'^(0|127|22[4-9]|2[3-5][0-9])[.]\\')','message':'no machine has such addresses: "      \
    "0.0.0.0/8, 127.0.0.0/8 and 224.0.0.0 and above are left out'}]}"
#define ADDRESS_POOLS                                                                                                \
    "{'metadata':{'name':'addresspools.wherry.dev'},'spec':{'group':'wherry.dev','scope':'Cluster','names':{"        \
    "'plural':'addresspools','singular':'addresspool','kind':'AddressPool','listKind':'AddressPoolList'},"           \
    "'versions':[{'name':'v1','served':true,'storage':true,'subresources':{'status':{}},"                            \
    "'additionalPrinterColumns':[{'name':'Addresses','type':'string','jsonPath':'.spec.addresses'},"                 \
    "{'name':'Auto Assign','type':'boolean','jsonPath':'.spec.autoAssign'},"                                         \
    "{'name':'Assigned','type':'integer','jsonPath':'.status.assigned'},"                                            \
    "{'name':'Available','type':'integer','jsonPath':'.status.available'},"                                          \
    "{'name':'Age','type':'date','jsonPath':'.metadata.creationTimestamp'}],"                                        \
    "'schema':{'openAPIV3Schema':{'type':'object','description':'Addresses that Services of type LoadBalancer get.'" \
    ",'required':['spec'],'properties':{'spec':{'type':'object','required':['addresses'],'properties':{"             \
    "'addresses':{'type':'array','minItems':1,'maxItems':32,'description':'CIDRs (192.0.2.0/28) and ranges "         \
    "(192.0.2.1-192.0.2.9).','items':" ADDRESS_RANGE "},"                                                            \
    "'autoAssign':{'type':'boolean','default':true,'description':'Whether a Service that names no pool may get "     \
    "one of them.'},"                                                                                                \
    "'avoidBuggyIPs':{'type':'boolean','default':false,'description':'Leaves out addresses that end in .0 or "       \
    ".255.'},"                                                                                                       \
    "'serviceAllocation':{'type':'object','description':'Whom it is for; without it, everybody.','properties':{"     \
    "'priority':{'type':'integer','minimum':0,'description':'The lowest is tried first; 0 or none: the last.'},"     \
    "'namespaces':{'type':'array','maxItems':1000,'items':{'type':'string'}},"                                       \
    "'namespaceSelectors':{'type':'array','maxItems':100,'items':" LABEL_SELECTOR "},"                               \
    "'serviceSelectors':{'type':'array','maxItems':100,'items':" LABEL_SELECTOR "}}},"                               \
    "'nodeSelector':" LABEL_SELECTOR ","                                                                             \
    "'interfaces':{'type':'array','maxItems':64,'description':'On which of a node they are answered for; without "   \
    "it, all.','items':{'type':'string','maxLength':15,'pattern':'^[^/ ,;]+$'}}}},"                                  \
    "'status':{'type':'object','properties':{'assigned':{'type':'integer'},'available':{'type':'integer'},"          \
    "'conditions':{'type':'array','x-kubernetes-list-type':'map','x-kubernetes-list-map-keys':['type'],'items':{"    \
    "'type':'object','required':['type','status','lastTransitionTime','reason','message'],'properties':{'type':{"    \
    "'type':'string'},'status':{'type':'string'},'observedGeneration':{'type':'integer'},'lastTransitionTime':{"     \
    "'type':'string','format':'date-time'},'reason':{'type':'string'},'message':{'type':'string'}}}}}}}}}}]}}"

/* Texts with ${...} of boot_facts. */
static const struct {
    const struct kind *kind;
    const char *ns, *json;
} objects[] = {
    {K(Namespace), "", "{'metadata':{'name':'default'}}"},
    {K(Namespace), "", "{'metadata':{'name':'kube-system'}}"},
    {K(Namespace), "", "{'metadata':{'name':'kube-public'}}"},
    {K(Namespace), "", "{'metadata':{'name':'kube-node-lease'}}"},
    {K(PriorityClass), "",
     "{'metadata':{'name':'system-cluster-critical'},'value':2000000000,'description':'Used for system critical pods "
     "that must run in the cluster, but can be moved to another node if necessary.'}"},
    {K(PriorityClass), "",
     "{'metadata':{'name':'system-node-critical'},'value':2000001000,'description':'Used for system critical pods "
     "that "
     "must not be moved from their current node.'}"},
    {K(CustomResourceDefinition), "", ADDRESS_POOLS},
    {K(ServiceCIDR), "", "{'metadata':{'name':'kubernetes'},'spec':{'cidrs':['${cidr}']}}"},
    {K(Service), "default",
     "{'metadata':{'name':'kubernetes','labels':{'component':'apiserver','provider':'kubernetes'}},"
     "'spec':{'clusterIP':'${service}','clusterIPs':['${service}'],'type':'ClusterIP','sessionAffinity':'None',"
     "'ports':[{'name':'https','port':443,'protocol':'TCP','targetPort':${port}}]}}"},
    {K(Endpoints), "default",
     "{'metadata':{'name':'kubernetes','labels':{'endpointslice.kubernetes.io/skip-mirror':'true'}},"
     "'subsets':[{'addresses':[{'ip':'${address}'}],'ports':[{'name':'https','port':${port},'protocol':'TCP'}]}]}"},
    {K(EndpointSlice), "default",
     "{'metadata':{'name':'kubernetes','labels':{'kubernetes.io/service-name':'kubernetes'}},'addressType':'IPv4',"
     "'endpoints':[{'addresses':['${address}'],'conditions':{'ready':true}}],"
     "'ports':[{'name':'https','port':${port},'protocol':'TCP'}]}"},
    {K(Service), "kube-system",
     "{'metadata':{'name':'kube-dns','labels':{'k8s-app':'kube-dns','kubernetes.io/name':'CoreDNS'}},"
     "'spec':{'clusterIP':'${dns}','clusterIPs':['${dns}'],"
     "'ports':[{'name':'dns','port':53,'protocol':'UDP','targetPort':53},"
     "{'name':'dns-tcp','port':53,'protocol':'TCP','targetPort':53}]}}"},
    {K(StorageClass), "",
     "{'metadata':{'name':'local','annotations':{'storageclass.kubernetes.io/is-default-class':'true'}},"
     "'provisioner':'wherry.dev/local','reclaimPolicy':'Delete','volumeBindingMode':'WaitForFirstConsumer',"
     "'allowVolumeExpansion':true}"},
    {K(ConfigMap), "kube-system", "{'metadata':{'name':'" CLASS_MADE "'},'data':{'storageclass':'local'}}"},
    {K(IngressClass), "",
     "{'metadata':{'name':'wherry','annotations':{'ingressclass.kubernetes.io/is-default-class':'true'}},"
     "'spec':{'controller':'wherry.dev/ingress'}}"},
    {K(ConfigMap), "kube-system", "{'metadata':{'name':'" FRONT_MADE "'},'data':{'ingressclass':'wherry'}}"},
    {K(Role), "kube-system",
     "{'metadata':{'name':'extension-apiserver-authentication-reader'},'rules':[{'apiGroups':[''],"
     "'resourceNames':['extension-apiserver-authentication'],'resources':['configmaps'],'verbs':['get','list','watch'"
     "]}]}"},
    {K(Role), "kube-system",
     "{'metadata':{'name':'wherry:dns'},'rules':[{'apiGroups':['discovery.k8s.io'],'resources':['endpointslices'],"
     "'verbs':['create','get','patch']}]}"},
    {K(RoleBinding), "kube-system",
     "{'metadata':{'name':'wherry:dns'},'roleRef':{'apiGroup':'rbac.authorization.k8s.io','kind':'Role','name':"
     "'wherry:dns'},'subjects':[{'apiGroup':'rbac.authorization.k8s.io','kind':'User','name':'system:wherry-dns'}]}"},
    /* what the front doors have applied: nodes wait for it before they end a pod */
    {K(Role), "kube-system",
     "{'metadata':{'name':'wherry:doors'},'rules':[{'apiGroups':['coordination.k8s.io'],'resources':['leases'],"
     "'verbs':['list','watch']}]}"},
    {K(RoleBinding), "kube-system",
     "{'metadata':{'name':'wherry:doors'},'roleRef':{'apiGroup':'rbac.authorization.k8s.io','kind':'Role','name':"
     "'wherry:doors'},'subjects':[{'apiGroup':'rbac.authorization.k8s.io','kind':'Group','name':'system:nodes'}]}"},
};

static struct str value_of(const struct boot *b, struct arena *a, struct str name)
{
    if (str_eq(name, S("cidr")))
        return b->f.service_cidr;
    if (str_eq(name, S("service")))
        return b->f.service_ip;
    if (str_eq(name, S("dns")))
        return b->f.dns_ip;
    if (str_eq(name, S("address")))
        return b->f.address;
    return arena_fmt(a, "%d", b->f.port);
}

static struct str text_expand(const struct boot *b, struct arena *a, const char *text)
{
    AUTO(strbuf_fini) struct strbuf out = STRBUF(STRBUF_TEXT);
    for (const char *p = text; *p; p++) {
        if (*p == '\'') {
            strbuf_addc(&out, '"');
        } else if (p[0] == '$' && p[1] == '{') {
            const char *end = strchr(p, '}');
            strbuf_add(&out, value_of(b, a, (struct str){p + 2, (size_t)(end - p) - 2}));
            p = end;
        } else {
            strbuf_addc(&out, *p);
        }
    }
    return str_dup(a, strbuf_str(&out));
}

static void go_on(struct boot *b);

static void object_made(struct request *r)
{
    struct boot_request *q = container_of(r, struct boot_request, r);
    struct boot *b = q->boot;
    const struct answer *ans = &r->answer;
    if (ans->type == ANSWER_FAILED && ans->fail.code != 409)
        log_error("boot.object", "kind=" STR_FMT " name=" STR_FMT " err=\"" STR_FMT "\"", STR_ARG(r->kind->kind),
                  STR_ARG(r->name), STR_ARG(ans->fail.message));
    request_fini(r);
    mem_free(q);
    b->flying--;
    go_on(b);
}

static bool object_is_there(struct boot *b, const struct kind *k, struct str ns, const struct val *tree)
{
    AUTO(obj_unref) struct obj *o = object_get(b->server, k, ns, val_text_at(tree, N(metadata), N(name)));
    return o != NULL;
}

/* The ConfigMap that keeps the i-th object, or is it; NULL: it is made whenever it is missing. */
static const char *once_of(size_t i)
{
    if (objects[i].kind == K(ConfigMap))
        return strstr(objects[i].json, FRONT_MADE) ? FRONT_MADE : CLASS_MADE;
    return objects[i].kind == K(StorageClass) ? CLASS_MADE : objects[i].kind == K(IngressClass) ? FRONT_MADE : NULL;
}

static bool class_is_due(struct boot *b, const char *once)
{
    AUTO(obj_unref) struct obj *made = object_get(b->server, K(ConfigMap), S("kube-system"), str_of(once));
    return (strcmp(once, CLASS_MADE) == 0 ? b->f.local_volumes : b->f.front_door) && !made;
}

/* The next role or binding that is missing; false: none. The tree is in the arena. */
static bool missing_rbac(struct boot *b, struct arena *a, const struct kind **k, struct str *ns, struct val *tree)
{
    while (!b->api_alone && rbac_boot_next(a, b->at_rbac, k, ns, tree)) {
        b->at_rbac++;
        if (!object_is_there(b, *k, *ns, tree))
            return true;
    }
    return false;
}

static bool missing_object(struct boot *b, struct arena *a, const struct kind **k, struct str *ns, struct val *tree)
{
    while (b->at < countof(objects)) {
        size_t i = b->at++;
        struct err err = ERR;
        if (b->api_alone && strcmp(objects[i].ns, "default") != 0)
            continue;
        if (once_of(i) && !class_is_due(b, once_of(i)))
            continue;
        *k = objects[i].kind;
        *ns = str_of(objects[i].ns);
        struct val untyped;
        if (!json_decode(a, text_expand(b, a, objects[i].json), &untyped, &err) ||
            !type_decode_val(a, (*k)->type, &untyped, tree, NULL, &err)) {
            log_error("boot.text", "object=%zu err=\"%s\"", i, err.text);
            continue;
        }
        val_set_text(a, tree, N(kind), (*k)->kind);
        val_set_text(a, tree, N(apiVersion), (*k)->api_version);
        if (!object_is_there(b, *k, *ns, tree))
            return true;
    }
    return false;
}

/* --- APIServices of what is built in --- */

#define MANAGED "kube-aggregator.kubernetes.io/automanaged"

static struct val version_tree(struct arena *a, const struct group_version *v, struct str name)
{
    struct val tree = val_map();
    struct val *meta = val_need_map(a, &tree, N(metadata)), *spec = val_need_map(a, &tree, N(spec));
    val_set_text(a, &tree, N(kind), K(APIService)->kind);
    val_set_text(a, &tree, N(apiVersion), K(APIService)->api_version);
    val_set_text(a, meta, N(name), name);
    val_set_str(a, val_need_map(a, meta, N(labels)), S(MANAGED), val_str_borrowed(S("onstart")));
    if (v->group.n)
        val_set_text(a, spec, N(group), v->group);
    val_set_text(a, spec, N(version), v->version);
    val_set_num(a, spec, N(groupPriorityMinimum), v->group_priority);
    val_set_num(a, spec, N(versionPriority), v->version_priority);
    return tree;
}

/* One that is managed has the spec that it is to have. */
static bool version_stands(struct arena *a, const struct obj *o, struct val *tree)
{
    struct val *spec = val_get_mut(tree, N(spec));
    if (!val_text(val_get_str(obj_labels(o), S(MANAGED))).n || val_equal(obj_spec(o), spec))
        return true;
    struct val right = *spec;
    *tree = val_copy(a, &o->tree);
    val_set(a, tree, N(spec), right);
    val_set_text(a, tree, N(kind), K(APIService)->kind);
    val_set_text(a, tree, N(apiVersion), K(APIService)->api_version);
    val_set_text(a, val_need_map(a, tree, N(metadata)), N(resourceVersion), arena_fmt(a, "%lld", (long long)o->rev));
    return false;
}

/* The next that is missing or not right; *name: of one that is there, "" else. */
static bool wrong_version(struct boot *b, struct arena *a, const struct kind **k, struct str *ns, struct str *name,
                          struct val *tree)
{
    *k = K(APIService);
    *ns = S("");
    while (!b->api_alone && b->at_version < ngroup_versions) {
        const struct group_version *v = &group_versions[b->at_version++];
        if (!v->group_priority) /* APIServices themselves are nobody's to give away */
            continue;
        struct str called = arena_fmt(a, STR_FMT "." STR_FMT, STR_ARG(v->version), STR_ARG(v->group));
        AUTO(obj_unref) struct obj *o = object_get(b->server, K(APIService), S(""), called);
        *tree = version_tree(a, v, called);
        if (o && version_stands(a, o, tree))
            continue;
        *name = o ? called : S("");
        return true;
    }
    return false;
}

static bool version_is_builtin(struct str name)
{
    struct str version, group;
    if (str_split(name, '.', &version, &group))
        for (size_t i = 0; i < ngroup_versions; i++)
            if (str_eq(group_versions[i].version, version) && str_eq(group_versions[i].group, group))
                return true;
    return false;
}

static bool stale_find(struct obj *o, void *arg)
{
    struct str *name = arg;
    if (!str_eqz(val_text(val_get_str(obj_labels(o), S(MANAGED))), "onstart") || obj_deleting(o) ||
        version_is_builtin(o->name) || str_cmp(o->name, *name) <= 0)
        return true;
    *name = o->name;
    return false;
}

/* The next, in order of names, of what an earlier program served and this one does not. */
static bool stale_version(struct boot *b, struct arena *a, const struct kind **k, struct str *ns, struct str *name)
{
    struct str found = b->stale.p ? b->stale : S("");
    *k = K(APIService);
    *ns = S("");
    objects_each(b->server, K(APIService), STR_NONE, stale_find, &found);
    if (b->api_alone || str_eq(found, b->stale.p ? b->stale : S("")))
        return false;
    b->stale = str_dup(&b->arena, found);
    *name = str_dup(a, found);
    return true;
}

/* --- definitions --- */

/* The set's next that is missing or not right. */
static bool wrong_definition(struct boot *b, struct request *r, struct str *name, struct val *tree)
{
    const struct definitions_row *row = b->defining;
    while (b->at_definition < row->all->count) {
        size_t i = b->at_definition++;
        struct str called = str_of(row->all->names[i]);
        AUTO(obj_unref) struct obj *o = object_get(b->server, K(CustomResourceDefinition), S(""), called);
        enum definition_state state = definition_state(row, o);
        if (state == DEFINITION_FOREIGN)
            log_warn("boot.definition", "name=" STR_FMT " why=\"it is not ours, and older than %s\"", STR_ARG(called),
                     row->all->version);
        if (state != DEFINITION_MISSING && state != DEFINITION_OLD)
            continue;
        struct val *unmarked = ARENA_NEW(&r->arena, struct val);
        definition_tree(&r->arena, row, i, o, tree, unmarked);
        r->unowned = unmarked;
        *name = o ? called : S("");
        return true;
    }
    return false;
}

static bool next_definition(struct boot *b, struct request *r, const struct kind **k, struct str *ns,
                            struct str *name, struct val *tree)
{
    struct str part;
    *k = K(CustomResourceDefinition);
    *ns = S("");
    for (;;) {
        if (b->defining && wrong_definition(b, r, name, tree))
            return true;
        b->at_definition = 0;
        if (!str_cut(&b->definitions, ',', &part))
            return (b->defining = NULL) != NULL;
        b->defining = definitions_find(part);
    }
}

/* Starts the next that may go now; false: there is none. */
static bool start_one(struct boot *b)
{
    const struct kind *k;
    struct str ns, name = S("");
    struct boot_request *q = NEW(struct boot_request);
    q->boot = b;
    struct request *r = &q->r;
    request_init(r, b->server, b->server->loop, object_made);
    struct val *tree = ARENA_NEW(&r->arena, struct val);
    bool stale = false;
    if (!missing_rbac(b, &r->arena, &k, &ns, tree) && !wrong_version(b, &r->arena, &k, &ns, &name, tree) &&
        !(stale = stale_version(b, &r->arena, &k, &ns, &name)) &&
        (b->flying ||
         (!missing_object(b, &r->arena, &k, &ns, tree) && !next_definition(b, r, &k, &ns, &name, tree)))) {
        request_fini(r);
        mem_free(q);
        return false;
    }
    request_for(r, stale ? VERB_DELETE : name.n ? VERB_UPDATE : VERB_CREATE, k, ns, name, S(""));
    r->authorized = r->admitted = true;
    r->body = stale ? NULL : tree;
    b->flying++;
    request_start(r);
    return true;
}

static void go_on(struct boot *b)
{
    while (b->flying < AT_ONCE && start_one(b))
        ;
    if (b->flying)
        return;
    struct server *s = b->server;
    void (*done)(struct server * s) = b->done;
    arena_fini(&b->arena);
    mem_free(b);
    done(s);
}

static void boot_begin(struct server *s, const struct boot_facts *f, bool api_alone, void (*done)(struct server *s))
{
    struct boot *b = NEW(struct boot);
    b->server = s;
    b->api_alone = api_alone;
    b->done = done;
    b->f = (struct boot_facts){.service_ip = str_dup(&b->arena, f->service_ip),
                               .dns_ip = str_dup(&b->arena, f->dns_ip),
                               .service_cidr = str_dup(&b->arena, f->service_cidr),
                               .address = str_dup(&b->arena, f->address),
                               .port = f->port,
                               .local_volumes = f->local_volumes,
                               .front_door = f->front_door};
    if (!api_alone)
        b->definitions = str_dup(&b->arena, f->definitions);
    go_on(b);
}

void boot_start(struct server *s, const struct boot_facts *f, void (*done)(struct server *s))
{
    boot_begin(s, f, false, done);
}

/* The rows of the namespace default are these three and no others. */
bool boot_is_the_api(const struct obj *o)
{
    bool kind = o->kind == K(Service) || o->kind == K(Endpoints) || o->kind == K(EndpointSlice);
    return kind && str_eqz(o->ns, "default") && str_eqz(o->name, "kubernetes");
}

static void again_done(struct server *s)
{
    log_info("boot.api", "port=%d made=again", s->port);
}

void boot_api_again(struct server *s, const struct boot_facts *f)
{
    boot_begin(s, f, true, again_done);
}
