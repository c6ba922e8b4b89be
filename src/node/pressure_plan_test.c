#include "api/obj.h"
#include "base/clock.h"
#include "node/disk_use.h"
#include "node/pressure_plan.h"
#include "node/test_world.h"

#define HARD                                                                                                         \
    "memory.available<100Mi,nodefs.available<10%,nodefs.inodesFree<5%,imagefs.available<15%,imagefs.inodesFree<5%"
#define MI (1LL << 20)

static struct pressure_rules rules_of(const char *hard, const char *soft, const char *grace, const char *reclaim)
{
    struct pressure_rules r;
    struct err err = ERR;
    struct pressure_texts t = {str_of(hard), str_of(soft), str_of(grace), str_of(reclaim), S("5m"), S("0")};
    CHECK_OK(pressure_rules_read(&t, &r, &err), err);
    return r;
}

static void rules_show(struct strbuf *b, const struct pressure_rules *r)
{
    for (size_t i = 0; i < r->n; i++) {
        const struct pressure_threshold *t = &r->list[i];
        strbuf_addf(b, "%s%s<", b->n ? " " : "", pressure_signal_name(t->signal));
        t->value.is_part ? strbuf_addf(b, "%.1f%%", (double)t->value.part * 100) : strbuf_addz(b, t->value.text);
        if (t->reclaim.is_part)
            strbuf_addf(b, "+%.1f%%", (double)t->reclaim.part * 100);
        else if (t->reclaim.quantity)
            strbuf_addf(b, "+%s", t->reclaim.text);
        if (t->grace_ns)
            strbuf_addf(b, "~%llds", (long long)(t->grace_ns / NS_PER_S));
    }
}

/* What is set, and the thresholds that come of it, or the sentence that says what is wrong. */
TEST(pressure_rules_are_read_as_a_kubelets_flags)
{
    static const struct {
        const char *hard, *soft, *grace, *reclaim, *want;
    } rows[] = {
        {"", "", "", "", ""},
        {"memory.available<0%", "", "", "", ""},
        {"memory.available<100%", "", "", "", ""},
        {"memory.available<10%", "memory.available<30%", "memory.available=30s", "memory.available=5%",
         "memory.available<10.0%+5.0% memory.available<30.0%+5.0%~30s allocatableMemory.available<10.0%+5.0%"},
        {"memory.available<150Mi", "memory.available<300Mi", "memory.available=30s", "memory.available=0",
         "memory.available<150Mi memory.available<300Mi~30s allocatableMemory.available<150Mi"},
        {"", "memory.available<300Mi", "memory.available=1m30s", "", "memory.available<300Mi~90s"},
        {"imagefs.available<150Mi,nodefs.available<100Mi", "imagefs.available<300Mi,nodefs.available<200Mi",
         "imagefs.available=30s,nodefs.available=30s", "imagefs.available=2Gi,nodefs.available=1Gi",
         "imagefs.available<150Mi+2Gi nodefs.available<100Mi+1Gi imagefs.available<300Mi+2Gi~30s "
         "nodefs.available<200Mi+1Gi~30s containerfs.available<100Mi+1Gi containerfs.available<200Mi+1Gi~30s"},
        {"imagefs.available<15%,nodefs.available<10.5%", "", "", "imagefs.available=10%,nodefs.available=5%",
         "imagefs.available<15.0%+10.0% nodefs.available<10.5%+5.0% containerfs.available<10.5%+5.0%"},
        {"nodefs.inodesFree<100Mi", "", "", "", "nodefs.inodesFree<100Mi containerfs.inodesFree<100Mi"},
        {"pid.available<500", "", "", "", "pid.available<500"},
        {"pid.available<1k", "", "", "", "pid.available<1k"},
        {" memory.available < 1Gi , ", "", "", "", "memory.available<1Gi allocatableMemory.available<1Gi"},
        {"containerfs.available<1Gi", "", "", "", ""}, /* it follows from nodefs */
        {HARD, "", "", "",
         "memory.available<100Mi nodefs.available<10.0% nodefs.inodesFree<5.0% imagefs.available<15.0% "
         "imagefs.inodesFree<5.0% allocatableMemory.available<100Mi containerfs.available<10.0% "
         "containerfs.inodesFree<5.0%"},
        {"mem.available<150Mi", "", "", "", "!unsupported eviction signal \"mem.available\""},
        {"allocatableMemory.available<150Mi", "", "", "", "!unsupported eviction signal"},
        {"memory.available<-150Mi", "", "", "", "!must be positive"},
        {"memory.available<0", "", "", "", "!must be positive"},
        {"memory.available<-15%", "", "", "", "!no percentage"},
        {"memory.available<110%", "", "", "", "!no percentage"},
        {"memory.available<x%", "", "", "", "!no percentage"},
        {"memory.available<%", "", "", "", "!no percentage"},
        {"memory.available<nan%", "", "", "", "!no percentage"},
        {"memory.available<10 %", "", "", "", "!no percentage"},
        {"memory.available<12x", "", "", "", "!eviction-hard: memory.available<12x"},
        {"memory.available<150Mi,memory.available<100Mi", "", "", "", "!stands there twice"},
        {"memory.available>150Mi", "", "", "", "!is not SIGNAL<VALUE"},
        {"memory.available", "", "", "", "!is not SIGNAL<VALUE"},
        {"", "memory.available<150Mi", "", "",
         "!grace period must be specified for the soft eviction threshold memory.available"},
        {"", "memory.available<150Mi", "memory.available=-30s", "", "!must be positive"},
        {"", "memory.available<150Mi", "memory.available=soon", "", "!eviction-soft-grace-period"},
        {"", "memory.available<150Mi", "nodefs.available=30s", "", "!grace period must be specified"},
        {"memory.available<150Mi", "", "", "memory.available=-300Mi", "!must be positive"},
        {"memory.available<150Mi", "", "", "memory.available=-15%", "!no percentage"},
        {"memory.available<150Mi", "", "", "mem.available=15Mi", "!eviction-minimum-reclaim"},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
        struct pressure_rules r;
        struct err err = ERR;
        struct pressure_texts t = {str_of(rows[i].hard),
                                   str_of(rows[i].soft),
                                   str_of(rows[i].grace),
                                   str_of(rows[i].reclaim),
                                   S("5m"),
                                   S("0")};
        bool ok = pressure_rules_read(&t, &r, &err);
        if (ok)
            rules_show(&b, &r);
        if (rows[i].want[0] == '!' && !ok)
            strbuf_addf(&b, "%s", str_has(str_of(err.text), str_of(rows[i].want + 1)) ? rows[i].want : err.text);
        else if (!ok)
            strbuf_addz(&b, err.text);
        CHECK_STR(strbuf_str(&b), str_of(rows[i].want));
    }
}

/* --- thresholds and time -------------------------------------------------------------------------------------- */

static int64_t number_of(struct str text)
{
    bool mi = str_ends(text, S("Mi"));
    int64_t n = 0;
    CHECK(str_to_i64(mi ? str_sub(text, 0, text.n - 2) : text, INT64_MIN, INT64_MAX, &n));
    return mi ? n * MI : n;
}

/* "memory.available=120Mi/1000Mi ..." */
static void samples_of(const char *text, struct pressure_sample *out)
{
    struct str rest = str_of(text), part, name, value, available, capacity;
    memset(out, 0, PRESSURE_SIGNALS * sizeof *out);
    while (rest.n && str_cut(&rest, ' ', &part)) {
        CHECK(str_split(part, '=', &name, &value) && str_split(value, '/', &available, &capacity));
        bool found = false;
        for (int i = 0; i < PRESSURE_SIGNALS; i++)
            if (str_eqz(name, pressure_signal_name((enum pressure_signal)i))) {
                out[i] = (struct pressure_sample){true, number_of(available), number_of(capacity)};
                found = true;
            }
        CHECK(found);
    }
}

static void decision_show(struct strbuf *b, const struct pressure_rules *r, const struct pressure_decision *d,
                          int64_t now)
{
    for (unsigned one = 1; one < 1U << PRESSURE_CONDITIONS; one <<= 1)
        if (d->conditions & one)
            strbuf_addf(b, "%s ", pressure_condition_name(one));
    if (d->reclaim >= 0)
        strbuf_addf(b, "reclaim %s ", pressure_signal_name(r->list[d->reclaim].signal));
    if (d->wake_at)
        strbuf_addf(b, "in %llds", (long long)((d->wake_at - now) / NS_PER_S));
}

struct moment {
    int at; /* seconds */
    const char *samples, *want;
};

static void story_play(const struct pressure_rules *r, const struct moment *m, size_t n)
{
    struct pressure_state s = {0};
    struct pressure_sample samples[PRESSURE_SIGNALS];
    for (size_t i = 0; i < n; i++) {
        AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
        struct pressure_decision d;
        int64_t now = (1000 + m[i].at) * NS_PER_S;
        samples_of(m[i].samples, samples);
        pressure_decide(r, &s, samples, now, &d);
        decision_show(&b, r, &d, now);
        CHECK_STR(str_trim(strbuf_str(&b)), str_of(m[i].want));
    }
}

TEST(pressure_hard_thresholds_act_at_once_and_leave_after_their_transition)
{
    struct pressure_rules r = rules_of(HARD, "", "", "memory.available=50Mi");
    static const struct moment story[] = {
        {0, "memory.available=101Mi/1000Mi", ""},
        {1, "memory.available=100Mi/1000Mi", ""},
        {2, "memory.available=99Mi/1000Mi", "MemoryPressure reclaim memory.available"},
        {3, "memory.available=149Mi/1000Mi", "MemoryPressure reclaim memory.available"}, /* its reclaim is not free */
        {4, "memory.available=150Mi/1000Mi", "MemoryPressure in 299s"},
        {5, "memory.available=120Mi/1000Mi", "MemoryPressure in 298s"}, /* it is over: the threshold counts again */
        {302, "memory.available=500Mi/1000Mi", "MemoryPressure in 1s"},
        {303, "memory.available=500Mi/1000Mi", ""},
        {304, "memory.available=10Mi/1000Mi nodefs.available=9Mi/100Mi",
         "MemoryPressure DiskPressure reclaim memory.available"},
        {305, "memory.available=500Mi/1000Mi nodefs.available=9Mi/100Mi",
         "MemoryPressure DiskPressure reclaim nodefs.available in 299s"},
        {306, "memory.available=500Mi/1000Mi nodefs.available=10Mi/100Mi", "MemoryPressure DiskPressure in 298s"},
        {306, "", "MemoryPressure DiskPressure in 298s"}, /* nothing known: nothing new */
    };
    story_play(&r, story, countof(story));
}

TEST(pressure_soft_thresholds_wait_for_their_grace)
{
    struct pressure_rules r = rules_of("memory.available<1000Mi", "memory.available<2000Mi", "memory.available=120s",
                                       "");
    static const struct moment story[] = {
        {0, "memory.available=2500Mi/8000Mi", ""},
        {60, "memory.available=1500Mi/8000Mi", "MemoryPressure in 120s"},
        {120, "memory.available=1500Mi/8000Mi", "MemoryPressure in 60s"},
        {121, "memory.available=2500Mi/8000Mi", "MemoryPressure in 299s"}, /* a pause: the grace begins anew */
        {130, "memory.available=1500Mi/8000Mi", "MemoryPressure in 120s"},
        {250, "memory.available=1500Mi/8000Mi", "MemoryPressure reclaim memory.available"},
        {251, "memory.available=500Mi/8000Mi", "MemoryPressure reclaim memory.available"},
        {252, "memory.available=3000Mi/8000Mi", "MemoryPressure in 299s"},
    };
    story_play(&r, story, countof(story));
}

TEST(pressure_of_each_signal_has_its_condition)
{
    static const struct {
        const char *hard, *samples, *want;
    } rows[] = {
        {"memory.available<1%", "memory.available=9Mi/1000Mi", "MemoryPressure reclaim memory.available"},
        {"memory.available<1%", "allocatableMemory.available=9Mi/1000Mi",
         "MemoryPressure reclaim allocatableMemory.available"},
        {"nodefs.available<1Mi", "nodefs.available=1048575/1000Mi", "DiskPressure reclaim nodefs.available"},
        {"nodefs.available<1Mi", "containerfs.available=0/1000Mi", "DiskPressure reclaim containerfs.available"},
        {"nodefs.inodesFree<5%", "nodefs.inodesFree=49/1000", "DiskPressure reclaim nodefs.inodesFree"},
        {"nodefs.inodesFree<5%", "nodefs.inodesFree=50/1000", ""},
        {"nodefs.inodesFree<5%", "containerfs.inodesFree=4/1000", "DiskPressure reclaim containerfs.inodesFree"},
        {"imagefs.available<15%", "imagefs.available=14/100", "DiskPressure reclaim imagefs.available"},
        {"imagefs.inodesFree<10", "imagefs.inodesFree=9/100", "DiskPressure reclaim imagefs.inodesFree"},
        {"pid.available<1k", "pid.available=999/32768", "PIDPressure reclaim pid.available"},
        {"pid.available<1k", "pid.available=1000/32768", ""},
        {"pid.available<1k", "", ""},
        {"pid.available<1k,memory.available<1Mi", "pid.available=9/32768 memory.available=0/10Mi",
         "MemoryPressure PIDPressure reclaim memory.available"},
        {"nodefs.available<1Mi,pid.available<1k", "pid.available=9/32768 nodefs.available=0/10Mi",
         "DiskPressure PIDPressure reclaim nodefs.available"},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct pressure_rules r = rules_of(rows[i].hard, "", "", "");
        story_play(&r, &(struct moment){0, rows[i].samples, rows[i].want}, 1);
    }
}

TEST(pressure_is_over_when_what_is_to_be_reclaimed_is_free_too)
{
    struct pressure_rules r = rules_of(HARD, "", "", "nodefs.available=5%,imagefs.available=100Mi");
    static const struct {
        const char *samples;
        bool want;
    } rows[] = {
        {"nodefs.available=9/100", false},
        {"nodefs.available=14/100", false},
        {"nodefs.available=15/100", true},
        {"imagefs.available=249Mi/1000Mi", false},
        {"imagefs.available=251Mi/1000Mi", true},
        {"", true},
        {"memory.available=99Mi/1000Mi nodefs.available=50/100", false},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct pressure_sample samples[PRESSURE_SIGNALS];
        samples_of(rows[i].samples, samples);
        CHECK_INT(pressure_is_over(&r, samples), rows[i].want);
    }
}

TEST(pressure_looks_again_before_anything_can_have_gone)
{
    struct pressure_rules r = rules_of("memory.available<100Mi,nodefs.available<100Mi", "", "", "");
    static const struct {
        const char *before, *samples;
        int64_t want_ms;
    } rows[] = {
        {"", "memory.available=90000Mi/90000Mi nodefs.available=90000Mi/90000Mi", 10000},
        {"", "memory.available=90000Mi/90000Mi nodefs.available=5220Mi/90000Mi", 5000}, /* a GiB a second */
        {"", "nodefs.available=150Mi/90000Mi", 1000}, /* stands still: no more often than that */
        {"nodefs.available=250Mi/90000Mi", "nodefs.available=150Mi/90000Mi",
         125}, /* 100 MiB went in the last second */
        {"nodefs.available=9000Mi/90000Mi", "nodefs.available=101Mi/90000Mi", 100},
        {"nodefs.available=150Mi/90000Mi", "nodefs.available=250Mi/90000Mi", 1000}, /* it comes back */
        {"", "nodefs.available=50Mi/90000Mi", 1000},                                /* short of it already */
        {"", "", 10000},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct pressure_sample samples[PRESSURE_SIGNALS], before[PRESSURE_SIGNALS];
        samples_of(rows[i].samples, samples);
        samples_of(rows[i].before, before);
        CHECK_INT(pressure_pause(&r, samples, before, NS_PER_S) / NS_PER_MS, rows[i].want_ms);
    }
}

/* --- taking in ------------------------------------------------------------------------------------------------ */

#define POD(name, meta, spec)                                                                                        \
    "apiVersion: v1\nkind: Pod\nmetadata: {name: " name ", namespace: ns, uid: " name meta "}\nspec: {" spec "}\n"
#define BURST "containers: [{name: c, resources: {requests: {memory: 1Mi}}}]"

TEST(pressure_refuses_whom_a_kubelet_refuses)
{
    static const struct {
        unsigned conditions;
        const char *pod, *want;
    } rows[] = {
        {0, POD("p", "", "containers: [{name: c}]"), ""},
        {PRESSURE_ON_MEMORY, POD("p", "", "containers: [{name: c}]"), "The node had condition: [MemoryPressure]. "},
        {PRESSURE_ON_MEMORY, POD("p", "", BURST), ""},
        {PRESSURE_ON_MEMORY,
         POD("p", "",
             "containers: [{name: c, resources: {limits: {cpu: 1, memory: 1Mi}, requests: {cpu: 1, memory: 1Mi}}}]"),
         ""},
        {PRESSURE_ON_MEMORY,
         POD("p", "",
             "containers: [{name: c}], tolerations: [{key: node.kubernetes.io/memory-pressure, operator: Exists, "
             "effect: NoSchedule}]"),
         ""},
        {PRESSURE_ON_MEMORY,
         POD("p", "",
             "containers: [{name: c}], tolerations: [{key: node.kubernetes.io/disk-pressure, operator: Exists}]"),
         "The node had condition: [MemoryPressure]. "},
        {PRESSURE_ON_DISK, POD("p", "", BURST), "The node had condition: [DiskPressure]. "},
        {PRESSURE_ON_DISK, POD("p", "", BURST ", tolerations: [{operator: Exists}]"),
         "The node had condition: [DiskPressure]. "},
        {PRESSURE_ON_DISK | PRESSURE_ON_MEMORY, POD("p", "", BURST),
         "The node had condition: [MemoryPressure DiskPressure]. "},
        {PRESSURE_ON_PIDS, POD("p", "", BURST), "The node had condition: [PIDPressure]. "},
        {PRESSURE_ON_DISK, POD("p", "", BURST ", priority: 2000000000"), ""},
        {PRESSURE_ON_DISK, POD("p", "", BURST ", priority: 1999999999"), "The node had condition: [DiskPressure]. "},
        {PRESSURE_ON_DISK, POD("p", ", annotations: {kubernetes.io/config.source: file}", BURST), ""},
        {PRESSURE_ON_DISK, POD("p", ", annotations: {kubernetes.io/config.source: api}", BURST),
         "The node had condition: [DiskPressure]. "},
        {PRESSURE_ON_DISK, POD("p", ", annotations: {kubernetes.io/config.mirror: x}", BURST), ""},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct world w = {0};
        CHECK_STR(pressure_refuses(&w.arena, rows[i].conditions, world_obj(&w, K(Pod), rows[i].pod)),
                  str_of(rows[i].want));
        world_end(&w);
    }
}

/* --- who goes ------------------------------------------------------------------------------------------------- */

struct ranked {
    const char *name;
    int priority;
    const char *request; /* of memory and of the disk */
    int64_t memory, rootfs, logs, volumes, inodes, pids;
    bool unknown;
};

/* Each pod: name, priority, request, then MiB of memory, of its writable layer, its logs, its volumes; inodes; pids.
 */
TEST(pressure_ranks_as_a_kubelet)
{
    static const struct {
        enum pressure_signal signal;
        bool image_disk;
        struct ranked pods[6];
        const char *want;
    } rows[] = {
        {SIGNAL_MEMORY,
         false,
         {{.name = "below", .request = "200Mi", .memory = 150}, {.name = "above", .request = "100Mi", .memory = 150}},
         "above below"},
        {SIGNAL_MEMORY,
         false,
         {{.name = "even", .request = "150Mi", .memory = 150}, {.name = "above", .request = "149Mi", .memory = 150}},
         "above even"},
        {SIGNAL_MEMORY,
         false,
         {{.name = "high", .priority = 100, .request = "0", .memory = 900},
          {.name = "low", .request = "0", .memory = 10}},
         "low high"},
        {SIGNAL_MEMORY,
         false,
         {{.name = "low", .request = "100Mi", .memory = 50},
          {.name = "high", .priority = 100, .request = "100Mi", .memory = 150}},
         "high low"},
        {SIGNAL_MEMORY,
         false,
         {{.name = "1", .request = "0", .memory = 500},
          {.name = "2", .request = "0", .memory = 300},
          {.name = "3", .request = "100Mi", .memory = 800},
          {.name = "4", .request = "1Gi", .memory = 300},
          {.name = "5", .request = "400Mi", .memory = 300}},
         "3 1 2 5 4"},
        {SIGNAL_MEMORY,
         false,
         {{.name = "1", .priority = 10, .request = "0", .memory = 500},
          {.name = "2", .request = "1Gi", .memory = 999},
          {.name = "3", .priority = -1, .request = "0", .memory = 1}},
         "3 1 2"},
        {SIGNAL_MEMORY,
         false,
         {{.name = "seen", .request = "0", .memory = 900},
          {.name = "unseen", .priority = 9, .unknown = true, .request = "9Gi"}},
         "unseen seen"},
        {SIGNAL_ALLOCATABLE,
         false,
         {{.name = "a", .request = "0", .memory = 1}, {.name = "b", .request = "0", .memory = 2}},
         "b a"},
        {SIGNAL_NODEFS,
         false,
         {{.name = "root", .request = "0", .rootfs = 10},
          {.name = "logs", .request = "0", .logs = 30},
          {.name = "volume", .request = "0", .volumes = 20}},
         "logs volume root"},
        {SIGNAL_NODEFS,
         false,
         {{.name = "asked", .request = "100Mi", .rootfs = 90}, {.name = "unasked", .request = "0", .rootfs = 1}},
         "unasked asked"},
        {SIGNAL_NODEFS,
         false,
         {{.name = "asked", .request = "50Mi", .rootfs = 90}, {.name = "unasked", .request = "0", .rootfs = 50}},
         "unasked asked"},
        {SIGNAL_NODEFS,
         false,
         {{.name = "within", .priority = -5, .request = "100Mi", .rootfs = 90},
          {.name = "over", .priority = 5, .request = "0", .rootfs = 1}},
         "over within"},
        {SIGNAL_NODEFS,
         false,
         {{.name = "high", .priority = 5, .request = "0", .rootfs = 90},
          {.name = "low", .request = "0", .rootfs = 5}},
         "low high"},
        {SIGNAL_IMAGEFS,
         false,
         {{.name = "a", .request = "0", .logs = 1}, {.name = "b", .request = "0", .volumes = 2}},
         "b a"},
        {SIGNAL_IMAGEFS,
         true,
         {{.name = "low", .request = "0", .priority = 1}, {.name = "lower", .request = "0", .volumes = 2}},
         "lower low"},
        {SIGNAL_CONTAINERFS,
         true,
         {{.name = "a", .request = "0", .rootfs = 1}, {.name = "b", .request = "0", .rootfs = 2}},
         "b a"},
        {SIGNAL_NODEFS_INODES,
         false,
         {{.name = "few", .request = "0", .rootfs = 900, .inodes = 2},
          {.name = "many", .request = "0", .rootfs = 1, .inodes = 9}},
         "many few"},
        {SIGNAL_NODEFS_INODES,
         false,
         {{.name = "none", .request = "0"}, {.name = "one", .priority = 9, .request = "0", .inodes = 1}},
         "one none"},
        {SIGNAL_PIDS,
         false,
         {{.name = "few", .request = "0", .pids = 2}, {.name = "many", .request = "0", .pids = 900}},
         "many few"},
        {SIGNAL_PIDS,
         false,
         {{.name = "high", .priority = 1, .request = "0", .pids = 900}, {.name = "low", .request = "0", .pids = 1}},
         "low high"},
        {SIGNAL_PIDS,
         false,
         {{.name = "high", .priority = 1, .unknown = true}, {.name = "low", .pids = 1}},
         "low high"},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct world w = {0};
        AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
        struct pressure_pod pods[6];
        struct pressure_container one[6];
        size_t n = 0;
        for (; n < 6 && rows[i].pods[n].name; n++) {
            const struct ranked *x = &rows[i].pods[n];
            one[n] = (struct pressure_container){.rootfs = {x->rootfs * MI, x->inodes}, .logs = {x->logs * MI, 0}};
            struct str yaml = arena_fmt(
                &w.arena,
                "{apiVersion: v1, kind: Pod, metadata: {name: '%s', namespace: ns, uid: '%s'}, spec: {priority: %d, "
                "containers: [{name: c, resources: {requests: {memory: '%s', ephemeral-storage: '%s'}}}]}}",
                x->name, x->name, x->priority, x->request ? x->request : "0", x->request ? x->request : "0");
            pods[n] = (struct pressure_pod){.pod = world_obj(&w, K(Pod), yaml.p),
                                            .known = !x->unknown,
                                            .memory = x->memory * MI,
                                            .pids = x->pids,
                                            .volumes = {x->volumes * MI, 0},
                                            .containers = &one[n],
                                            .ncontainers = 1};
        }
        pressure_rank(pods, n, rows[i].signal, rows[i].image_disk);
        for (size_t k = 0; k < n; k++)
            strbuf_addf(&b, "%s" STR_FMT, k ? " " : "", STR_ARG(pods[k].pod->name));
        CHECK_STR(strbuf_str(&b), str_of(rows[i].want));
        world_end(&w);
    }
}

TEST(pressure_says_what_a_kubelet_says)
{
    static const struct {
        const char *hard, *samples, *spec, *want;
    } rows[] = {
        {"memory.available<1Gi", "memory.available=500Mi/8000Mi", "containers: [{name: a}, {name: b}]",
         "The node was low on resource: memory. Threshold quantity: 1Gi, available: 500Mi. Container a was using "
         "100Mi, "
         "request is 0, has larger consumption of memory. Container b was using 10Mi, request is 0, has larger "
         "consumption of memory. "},
        {"memory.available<10%", "memory.available=500Mi/8000Mi",
         "containers: [{name: a, resources: {requests: {memory: 100Mi}}}, {name: b, resources: {requests: {memory: "
         "9Mi}}}]",
         "The node was low on resource: memory. Threshold quantity: 838860812, available: 500Mi. Container b was "
         "using "
         "10Mi, request is 9Mi, has larger consumption of memory. "},
        {"memory.available<1Gi", "memory.available=500Mi/8000Mi",
         "resources: {requests: {memory: 50Mi}}, containers: [{name: b}]",
         "The node was low on resource: memory. Threshold quantity: 1Gi, available: 500Mi. Pod p was using 110Mi, "
         "request "
         "is 50Mi, has larger consumption of memory. Container b was using 10Mi, request is 0, has larger "
         "consumption of "
         "memory. "},
        {"nodefs.available<1G", "nodefs.available=1000/8000Mi", "containers: [{name: a}]",
         "The node was low on resource: ephemeral-storage. Threshold quantity: 1G, available: 1k. Container a was "
         "using "
         "5Mi, request is 0, has larger consumption of ephemeral-storage. "},
        {"nodefs.inodesFree<1k", "nodefs.inodesFree=500/100000", "containers: [{name: a}]",
         "The node was low on resource: inodes. Threshold quantity: 1k, available: 500. "},
        {"pid.available<10%", "pid.available=2000/32768", "containers: [{name: a}]",
         "The node was low on resource: pids. Threshold quantity: 3276, available: 2k. "},
        {"memory.available<1Gi", "memory.available=500Mi/8000Mi",
         "containers: [{name: z}], initContainers: [{name: b, restartPolicy: Always, resources: {requests: {memory: "
         "1Mi}}}]",
         "The node was low on resource: memory. Threshold quantity: 1Gi, available: 500Mi. Container b was using "
         "10Mi, "
         "request is 1Mi, has larger consumption of memory. "},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct world w = {0};
        struct pressure_rules r = rules_of(rows[i].hard, "", "", "");
        struct pressure_state s = {0};
        struct pressure_sample samples[PRESSURE_SIGNALS];
        struct pressure_decision d;
        struct pressure_container c[] = {{.name = S("a"),
                                          .memory_known = true,
                                          .disk_known = true,
                                          .memory = 100 * MI,
                                          .rootfs = {3 * MI, 1},
                                          .logs = {2 * MI, 1}},
                                         {.name = S("b"), .memory_known = true, .memory = 10 * MI},
                                         {.name = S("unknown"), .memory_known = true, .memory = 1 * MI}};
        struct str yaml = arena_fmt(
            &w.arena, "{apiVersion: v1, kind: Pod, metadata: {name: p, namespace: ns, uid: u}, spec: {%s}}",
            rows[i].spec);
        struct pressure_pod p = {.pod = world_obj(&w, K(Pod), yaml.p),
                                 .known = true,
                                 .memory = 110 * MI,
                                 .containers = c,
                                 .ncontainers = countof(c)};
        samples_of(rows[i].samples, samples);
        pressure_decide(&r, &s, samples, NS_PER_S, &d);
        CHECK(d.reclaim >= 0);
        CHECK_STR(pressure_message(&w.arena, &r, &d, samples, &p), str_of(rows[i].want));
        world_end(&w);
    }
}

/* --- limits of a pod's own ------------------------------------------------------------------------------------ */

#define LIMIT(n) "resources: {limits: {ephemeral-storage: " n "}}"

TEST(pressure_holds_pods_to_their_own_limits)
{
    static const struct {
        const char *spec;
        int64_t rootfs, logs, volume; /* MiB: of container c, of volume v */
        const char *want, *signal;
    } rows[] = {
        {"containers: [{name: c}]", 9000, 9000, 9000, "", NULL},
        {"containers: [{name: c, " LIMIT("10Mi") "}]", 5, 5, 0, "", NULL},
        {"containers: [{name: c, " LIMIT("10Mi") "}]", 6, 5, 0,
         "Pod ephemeral local storage usage exceeds the total limit of containers 10Mi. ", "ephemeralpodfs.limit"},
        {"containers: [{name: c, " LIMIT("10Mi") "}], volumes: [{name: v, emptyDir: {}}]", 1, 0, 10,
         "Pod ephemeral local storage usage exceeds the total limit of containers 10Mi. ", "ephemeralpodfs.limit"},
        {"containers: [{name: c, " LIMIT("10Mi") "}, {name: d, " LIMIT("10Mi") "}]", 6, 5, 0,
         "Container c exceeded its local ephemeral storage limit \"10Mi\". ", "ephemeralcontainerfs.limit"},
        {"containers: [{name: c, " LIMIT("10Mi") "}, {name: d, " LIMIT("1Gi") "}]", 10, 0, 0, "", NULL},
        {"containers: [{name: d, " LIMIT("10Mi") "}, {name: c}]", 11, 0, 0,
         "Pod ephemeral local storage usage exceeds the total limit of containers 10Mi. ", "ephemeralpodfs.limit"},
        {"containers: [{name: c, " LIMIT("10Mi") "}], initContainers: [{name: i, " LIMIT("1Gi") "}]", 5, 6, 0,
         "Container c exceeded its local ephemeral storage limit \"10Mi\". ", "ephemeralcontainerfs.limit"},
        {"containers: [{name: d, " LIMIT("10Mi") "}], initContainers: [{name: i, restartPolicy: Always, " LIMIT(
             "5Mi") "}]",
         16, 0, 0, "Pod ephemeral local storage usage exceeds the total limit of containers 15Mi. ",
         "ephemeralpodfs.limit"},
        {"containers: [{name: d, " LIMIT("10Mi") "}], overhead: {ephemeral-storage: 6Mi}", 16, 0, 0, "", NULL},
        {"containers: [{name: c}], volumes: [{name: v, emptyDir: {sizeLimit: 10Mi}}]", 0, 0, 10, "", NULL},
        {"containers: [{name: c}], volumes: [{name: v, emptyDir: {sizeLimit: 10Mi}}]", 0, 0, 11,
         "Usage of EmptyDir volume \"v\" exceeds the limit \"10Mi\". ", "emptydirfs.limit"},
        {"containers: [{name: c, " LIMIT("1Mi") "}], volumes: [{name: v, emptyDir: {sizeLimit: 10Mi}}]", 0, 0, 11,
         "Usage of EmptyDir volume \"v\" exceeds the limit \"10Mi\". ", "emptydirfs.limit"},
        {"containers: [{name: c}], volumes: [{name: v, emptyDir: {medium: Memory, sizeLimit: 10Mi}}]", 0, 0, 11, "",
         NULL},
        {"containers: [{name: c}], volumes: [{name: v, emptyDir: {sizeLimit: 0}}]", 0, 0, 11, "", NULL},
        {"containers: [{name: c}], volumes: [{name: v, emptyDir: {sizeLimit: 10Mi}}]", 0, 0, -1,
         "Usage of EmptyDir volume \"v\" exceeds the limit \"10Mi\". ", "emptydirfs.limit"}, /* nobody can count it */
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct world w = {0};
        struct disk_use use = {0};
        const char *signal = NULL;
        struct str yaml = arena_fmt(
            &w.arena, "{apiVersion: v1, kind: Pod, metadata: {name: p, namespace: ns, uid: u}, spec: {%s}}",
            rows[i].spec);
        const struct obj *pod = world_obj(&w, K(Pod), yaml.p);
        array_push(&use.parts,
                   ((struct disk_use_part){.what = DISK_ROOTFS, .name = S("c"), .bytes = rows[i].rootfs * MI}));
        array_push(&use.parts,
                   ((struct disk_use_part){.what = DISK_LOGS, .name = S("c"), .bytes = rows[i].logs * MI}));
        array_push(&use.parts, ((struct disk_use_part){.what = DISK_VOLUME,
                                                       .name = S("v"),
                                                       .bytes = rows[i].volume * MI,
                                                       .hidden = rows[i].volume < 0,
                                                       .local = true}));
        CHECK_STR(pressure_over_limit(&w.arena, pod, &use, &signal), str_of(rows[i].want));
        CHECK_STR(str_of(signal ? signal : "-"), str_of(rows[i].signal ? rows[i].signal : "-"));
        CHECK(!rows[i].want[0] || pressure_has_limit(pod));
        array_fini(&use.parts);
        world_end(&w);
    }
}
