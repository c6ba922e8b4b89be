#include "server/fail.h"
#include "server/int.h"
#include "server/measured.h"
#include "server/options.h"
#include "server/rbac.h"
#include "server/subs.h"
#include "server/write.h"

static const struct str anonymous_groups[] = {S_INIT("system:unauthenticated")};
const struct user user_anonymous = {
    .name = S_INIT("system:anonymous"), .groups = anonymous_groups, .ngroups = countof(anonymous_groups)};

bool user_in_group(const struct user *u, struct str group)
{
    for (size_t i = 0; i < u->ngroups; i++)
        if (str_eq(u->groups[i], group))
            return true;
    return false;
}

struct str user_share(const struct user *u)
{
    static const char account[] = "system:serviceaccount:";
    return str_starts(u->name, str_of(account)) ? str_sub(u->name, 0, (size_t)str_rfind_char(u->name, ':')) : u->name;
}

const char *verb_name(enum verb v)
{
    switch (v) {
    case VERB_GET: return "get";
    case VERB_LIST: return "list";
    case VERB_WATCH: return "watch";
    case VERB_CREATE: return "create";
    case VERB_UPDATE: return "update";
    case VERB_PATCH: return "patch";
    case VERB_DELETE: return "delete";
    case VERB_DELETECOLLECTION: return "deletecollection";
    }
    return "";
}

void request_init(struct request *r, struct server *s, struct loop *l, void (*done)(struct request *r))
{
    *r = (struct request){
        .server = s, .loop = l, .done = done, .kinds = kind_publisher_take(&s->kinds), .user = &user_anonymous};
    r->answer.remaining = -1;
}

void answer_reset(struct request *r)
{
    struct answer *a = &r->answer;
    if (a->obj)
        obj_unref(a->obj);
    for (size_t i = 0; i < a->n; i++)
        obj_unref(a->items[i]);
    mem_free(a->items);
    *a = (struct answer){.remaining = -1, .warnings = a->warnings};
}

void request_fini(struct request *r)
{
    answer_reset(r);
    array_fini(&r->answer.warnings);
    kind_set_unref(TAKE(r->kinds));
    arena_fini(&r->arena);
}

void request_for(struct request *r, enum verb verb, const struct kind *k, struct str ns, struct str name,
                 struct str sub)
{
    r->verb = verb;
    r->verb_text = str_of(verb_name(verb));
    r->kind = k;
    r->group = k->group;
    r->version = k->version;
    r->resource = k->plural;
    r->ns = ns;
    r->name = name;
    r->sub = sub;
    for (size_t i = 0; i < k->nsubs && sub.n; i++)
        if (str_eqz(sub, k->subs[i].name))
            r->sub_row = &k->subs[i];
}

bool answer_obj(struct request *r, int code, struct obj *o)
{
    answer_reset(r);
    r->answer.type = ANSWER_OBJECT;
    r->answer.code = code;
    r->answer.obj = obj_ref(o);
    return true;
}

bool answer_tree(struct request *r, int code, const struct type *t, struct val tree)
{
    answer_reset(r);
    r->answer.type = ANSWER_TREE;
    r->answer.code = code;
    r->answer.tree = tree;
    r->answer.tree_type = t;
    return true;
}

void answer_warn(struct request *r, struct str text)
{
    text = str_dup(&r->arena, text);
    array_push(&r->answer.warnings, text);
}

static void request_done(void *arg)
{
    struct request *r = arg;
    r->done(r);
}

void request_finish(struct request *r)
{
    ASSERT(r->answer.type != ANSWER_NONE);
    if (r->write)
        write_fini(r->write);
    loop_post(r->loop, request_done, r);
}

static void server_leave(void *arg)
{
    soon_set(&((struct server *)arg)->leaving);
}

void request_cancel(struct request *r)
{
    __atomic_store_n(&r->cancelled, true, __ATOMIC_RELEASE);
    if (r->loop == r->server->loop)
        server_leave(r->server);
    else
        loop_post(r->server->loop, server_leave, r->server);
}

/* In the store's loop, or for reads in the caller's. */
static void request_run(void *arg)
{
    struct request *r = arg;
    sub_fn *special = measured_serves(r) ? measured_answer : sub_handler(r);
    if (special && r->verb == VERB_CREATE) {
        sub_create(r);
        return;
    }
    if (special) {
        special(r);
        return;
    }
    switch (r->verb) {
    case VERB_GET: verb_get(r); return;
    case VERB_LIST: verb_list(r); return;
    case VERB_CREATE:
    case VERB_UPDATE:
    case VERB_PATCH: verb_write(r); return;
    case VERB_DELETE: verb_delete(r); return;
    case VERB_DELETECOLLECTION: verb_delete_collection(r); return;
    case VERB_WATCH: break;
    }
    fail_not_allowed(r);
    request_finish(r);
}

/* --- from other loops: in order, as many in a turn as 5 ms allow, so that what comes over HTTP has its turns --- */

static struct request *asked_first(struct server *s)
{
    pthread_mutex_lock(&s->asked_lock);
    struct request *r = list_first(&s->asked, struct request, asked);
    if (r)
        list_del(&r->asked);
    s->asked_posted = r != NULL;
    pthread_mutex_unlock(&s->asked_lock);
    return r;
}

static void run_asked(void *arg)
{
    struct server *s = arg;
    int64_t end = clock_mono() + LOOP_TURN;
    for (struct request *r; (r = asked_first(s));) {
        request_run(r);
        if (clock_mono() > end) {
            loop_post(s->loop, run_asked, s);
            return;
        }
    }
}

static void request_ask(struct server *s, struct request *r)
{
    pthread_mutex_lock(&s->asked_lock);
    list_add_tail(&s->asked, &r->asked);
    bool first = !s->asked_posted;
    s->asked_posted = true;
    pthread_mutex_unlock(&s->asked_lock);
    if (first)
        loop_post(s->loop, run_asked, s);
}

void request_start(struct request *r)
{
    if (!r->authorized && !request_authorize(r)) {
        request_finish(r);
        return;
    }
    bool reads = (r->verb == VERB_GET || r->verb == VERB_LIST) && !r->sub.n && !measured_serves(r);
    if (r->loop == r->server->loop || (reads && !r->options.continue_token.n))
        request_run(r);
    else
        request_ask(r->server, r);
}
