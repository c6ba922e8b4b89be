/* pod_play_test.c - see pod_play_test.h */
#include "node/pod_play_test.h"
#include "api/codec.h"
#include "base/clock.h"
#include "base/test.h"

struct str play_run_id(const struct pod *p, int c)
{
    return p->containers.p[c].id;
}

struct obj *pod_of(struct arena *a, const char *yaml)
{
    struct val tree, defaulted;
    struct err err = ERR;
    CHECK_OK(yaml_decode(a, str_of(yaml), &tree, &err), err);
    CHECK_OK(type_decode_val(a, K(Pod)->type, &tree, &defaulted, NULL, &err), err);
    return obj_new(K(Pod), &defaulted, 1);
}

void play_begin(struct play *y, const char *yaml)
{
    *y = (struct play){.now = 1000 * NS_PER_S, .log = STRBUF(65536)};
    AUTO(obj_unref) struct obj *o = pod_of(&y->arena, yaml);
    y->p = pod_new(o, S("10.0.0.1"), y->now, PLAY_REAL);
}

void play_end(struct play *y)
{
    pod_free(y->p);
    pod_actions_fini(&y->actions);
    strbuf_fini(&y->log);
    arena_fini(&y->arena);
}

void play_resized(struct play *y, const char *error)
{
    for (int i = -1; i < (int)y->p->containers.n && !*error; i++) {
        struct cgroup_bounds now = pod_bounds(y->p, i);
        if (i < 0 || (y->p->containers.p[i].run == RUN_RUNNING && pod_is_resizable(&y->p->containers.p[i])))
            pod_saw_force(y->p, i, &now);
    }
    pod_saw_resized(y->p, str_of(error), y->now);
}

void play_answer(struct play *y, const struct pod_action *a)
{
    static const char *const words[] = {
        [DO_VOLUMES_SETUP] = "volumes",
        [DO_VOLUMES_TEARDOWN] = "unvolumes",
        [DO_SANDBOX_START] = "sandbox",
        [DO_SANDBOX_STOP] = "unsandbox",
        [DO_IMAGE_ENSURE] = "image",
        [DO_CONTAINER_START] = "start",
        [DO_POSTSTART] = "poststart",
        [DO_PRESTOP] = "prestop",
        [DO_TERM] = "term",
        [DO_KILL] = "kill",
        [DO_LEAVE] = "leave",
        [DO_DRAIN] = "drain",
        [DO_RESIZE] = "resize",
        [DO_EVENT] = "!",
        [DO_DELETE_OBJECT] = "delete",
    };
    strbuf_addf(&y->log, "%s%s", y->log.n ? " " : "", words[a->what]);
    if (a->what == DO_EVENT)
        strbuf_addz(&y->log, a->reason);
    if (a->container >= 0)
        strbuf_addf(&y->log, ":" STR_FMT, STR_ARG(y->p->containers.p[a->container].name));
    if (y->hold)
        return;
    switch (a->what) {
    case DO_VOLUMES_SETUP: pod_saw_volumes(y->p, true, S(""), y->now); break;
    case DO_VOLUMES_TEARDOWN: pod_saw_volumes_removed(y->p); break;
    case DO_SANDBOX_START: pod_saw_sandbox(y->p, true, S("10.42.0.9"), y->now); break;
    case DO_SANDBOX_STOP: pod_saw_sandbox_stopped(y->p); break;
    case DO_IMAGE_ENSURE: pod_saw_image(y->p, a->container, true, S("x@sha256:1"), S(""), y->now); break;
    case DO_CONTAINER_START: pod_saw_running(y->p, a->container, S("abc"), PLAY_REAL, y->now); break;
    case DO_POSTSTART: pod_saw_hook(y->p, a->container, true, true, S("")); break;
    case DO_PRESTOP: pod_saw_hook(y->p, a->container, false, true, S("")); break;
    case DO_KILL:
        pod_saw_exit(y->p, a->container, play_run_id(y->p, a->container), 137, false, S(""), PLAY_REAL, PLAY_REAL,
                     y->now);
        break;
    case DO_RESIZE: play_resized(y, ""); break;
    case DO_LEAVE:
    case DO_DRAIN:
    case DO_TERM:
    case DO_EVENT:
    case DO_DELETE_OBJECT: break;
    }
}

void play_run(struct play *y)
{
    do {
        array_clear(&y->actions.list);
        y->actions.wake_at = 0;
        pod_step(y->p, y->now, &y->actions);
        for (size_t i = 0; i < y->actions.list.n; i++)
            play_answer(y, &y->actions.list.p[i]);
    } while (y->actions.list.n && !y->hold);
}

struct str play_told(struct play *y)
{
    struct str s = str_dup(&y->arena, strbuf_str(&y->log));
    strbuf_reset(&y->log);
    return s;
}

void play_running(struct play *y, const char *yaml)
{
    play_begin(y, yaml);
    play_run(y);
    (void)play_told(y);
}

void play_sandbox(struct play *y, const char *yaml)
{
    play_begin(y, yaml);
    y->hold = true;
    play_run(y);
    pod_saw_volumes(y->p, true, S(""), y->now);
    play_run(y);
    pod_saw_sandbox(y->p, true, S("10.42.0.9"), y->now);
    play_run(y);
}

void play_delete(struct play *y, int64_t grace)
{
    struct val tree = val_copy(&y->arena, &y->p->obj->tree);
    struct val *meta = val_need_map(&y->arena, &tree, N(metadata));
    val_set_text(&y->arena, meta, N(deletionTimestamp), S("2026-01-01T00:00:00Z"));
    val_set_num(&y->arena, meta, N(deletionGracePeriodSeconds), grace);
    AUTO(obj_unref) struct obj *o = obj_new(K(Pod), &tree, 2);
    pod_wanted(y->p, o, y->now);
}

void play_exits(struct play *y, const char *name, int code)
{
    int c = pod_container_find(y->p, str_of(name));
    pod_saw_exit(y->p, c, play_run_id(y->p, c), code, false, S(""), PLAY_REAL, PLAY_REAL, y->now);
}

struct val play_container(struct play *y, size_t i)
{
    struct val s = pod_status(y->p, &y->arena, PLAY_REAL);
    return *val_item(val_get(&s, N(containerStatuses)), i);
}

struct str play_reason(struct play *y, size_t i)
{
    struct val c = play_container(y, i);
    return val_text_at(&c, N(state), N(waiting), N(reason));
}
