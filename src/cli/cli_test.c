#include "api/codec.h"
#include "api/kind.h"
#include "base/clock.h"
#include "base/test.h"
#include "cli/confine.h"
#include "cli/connect.h"
#include "cli/describe.h"
#include "cli/fields.h"
#include "cli/jsonpath.h"
#include "cli/keybundle.h"
#include "cli/lastapplied.h"
#include "cli/rollout.h"
#include "cli/settings.h"
#include "cli/uplock.h"
#include "sys/file.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h> /* struct clone_args */
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static struct val json_val(struct arena *a, const char *text)
{
    struct val v = VAL_NONE;
    struct err err = ERR;
    CHECK(json_decode(a, str_of(text), &v, &err));
    return v;
}

struct sample {
    struct connect_options to;
    struct str form;
    bool all, in;
    int64_t n, t;
    struct words files;
};
static const struct arg_row rows[] = {
    {'o', "output", ARG_TEXT, offsetof(struct sample, form), "FORM", ""},
    {'A', "all", ARG_FLAG, offsetof(struct sample, all), NULL, ""},
    {'i', "stdin", ARG_FLAG, offsetof(struct sample, in), NULL, ""},
    {0, "tail", ARG_NUM, offsetof(struct sample, n), "N", ""},
    {0, "since", ARG_TIME, offsetof(struct sample, t), "TIME", ""},
    {'f', "file", ARG_TEXTS, offsetof(struct sample, files), "FILE", ""},
};
static const struct arg_spec spec = {"try", "", "", "", rows, countof(rows), true};

TEST(args_are_read_in_every_form_people_type)
{
    AUTO(arena_fini) struct arena a = ARENA;
    const char *argv[] = {"pods", "-Ai", "-ojson", "-n=shop", "--tail=5", "--since", "1h30m", "-f",
                          "a",    "-f",  "b",      "web",     "--",       "sh",      "-c"};
    struct sample s = {0};
    struct words words;
    struct err err = ERR;
    size_t before;
    bool help = false;
    CHECK(args_parse(&a, &spec, countof(argv), (char **)argv, &s, &words, &before, &help, &err));
    CHECK(s.all && s.in && !help);
    CHECK(str_eqz(s.form, "json") && str_eqz(s.to.ns, "shop"));
    CHECK(s.n == 5 && s.t == 5400 * NS_PER_S);
    CHECK(s.files.n == 2 && str_eqz(s.files.p[1], "b"));
    CHECK(words.n == 4 && before == 2 && str_eqz(words.p[3], "-c"));
}

TEST(args_that_are_wrong_are_named)
{
    static const struct {
        const char *arg, *says;
    } wrong[] = {
        {"--nix", "there is no option --nix"},      {"-z", "there is no option -z"},
        {"--tail=x", "--tail x: must be a number"}, {"--since=5", "--since 5: must be a duration"},
        {"--output", "--output: needs a value"},    {"--all=maybe", "must be true or false"},
    };
    for (size_t i = 0; i < countof(wrong); i++) {
        AUTO(arena_fini) struct arena a = ARENA;
        char *argv[] = {(char *)(uintptr_t)wrong[i].arg};
        struct sample s = {0};
        struct words words;
        struct err err = ERR;
        size_t before;
        bool help;
        CHECK(!args_parse(&a, &spec, 1, argv, &s, &words, &before, &help, &err));
        CHECK(str_has(str_of(err.text), str_of(wrong[i].says)));
    }
}

TEST(durations_are_go_s)
{
    static const struct {
        const char *text;
        int64_t ns;
    } good[] = {{"0", 0},
                {"30s", 30 * NS_PER_S},
                {"1.5h", 5400 * NS_PER_S},
                {"1h30m", 5400 * NS_PER_S},
                {"20ms", 20 * NS_PER_MS}};
    int64_t ns;
    for (size_t i = 0; i < countof(good); i++)
        CHECK(duration_parse(str_of(good[i].text), &ns) && ns == good[i].ns);
    CHECK(!duration_parse(S(""), &ns) && !duration_parse(S("5"), &ns) && !duration_parse(S("s"), &ns) &&
          !duration_parse(S("1w"), &ns) && !duration_parse(S("1..2s"), &ns) && !duration_parse(S("-1s"), &ns));
}

TEST(jsonpath_prints_what_people_ask_for)
{
    static const struct {
        const char *pattern, *out;
    } cases[] = {
        {"{.a.b}", "1"},
        {"x{.a.b}y{\"\\n\"}", "x1y\n"},
        {"{.l[*].n}", "p q"},
        {"{.l[-1].n}", "q"},
        {"{.l[0]}", "{\"n\":\"p\"}"},
        {"{.m['k.e']}", "v"},
        {"{.m.k\\.e}", "v"},
        {"{.none}", ""},
        {"{$.a.b}", "1"},
    };
    AUTO(arena_fini) struct arena a = ARENA;
    struct val v = json_val(&a, "{\"a\":{\"b\":1},\"l\":[{\"n\":\"p\"},{\"n\":\"q\"}],\"m\":{\"k.e\":\"v\"}}");
    for (size_t i = 0; i < countof(cases); i++) {
        AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
        struct err err = ERR;
        CHECK(jsonpath_print(&a, str_of(cases[i].pattern), &v, &b, &err));
        CHECK(str_eqz(strbuf_str(&b), cases[i].out));
    }
    static const char *const bad[] = {"{.a", "{a}", "{..a}", "{.l[x]}", "{.l[0}", "{\"x}"};
    for (size_t i = 0; i < countof(bad); i++) {
        AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
        struct err err = ERR;
        CHECK(!jsonpath_print(&a, str_of(bad[i]), &v, &b, &err));
        CHECK(str_starts(str_of(err.text), S("jsonpath: ")));
    }
}

TEST(last_applied_is_what_kubectl_writes)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct err err = ERR;
    struct val v = json_val(&a,
                            "{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"c\"},\"data\":{"
                            "\"b\":\"2\",\"a\":\"1\"}}");
    struct val marked = last_applied_put(&a, &v), again = last_applied_put(&a, &marked), back;
    struct str text = val_text(val_get_str(val_at(&marked, N(metadata), N(annotations)), LAST_APPLIED));
    CHECK(str_eqz(text, "{\"apiVersion\":\"v1\",\"data\":{\"a\":\"1\",\"b\":\"2\"},\"kind\":\"ConfigMap\","
                        "\"metadata\":{\"annotations\":{},\"name\":\"c\"}}\n"));
    CHECK(val_equal(&marked, &again));
    CHECK(last_applied_get(&a, &marked, &back, &err));
    CHECK(str_eqz(val_text_at(&back, N(metadata), N(name)), "c"));
}

TEST(apply_removes_what_left_the_file_and_keeps_what_others_set)
{
    const struct type *types[] = {NULL, K(ConfigMap)->type};
    for (size_t i = 0; i < countof(types); i++) {
        AUTO(arena_fini) struct arena a = ARENA;
        struct err err = ERR;
        struct val last = json_val(&a, "{\"data\":{\"gone\":\"1\",\"same\":\"1\"}}"),
                   wanted = json_val(&a, "{\"data\":{\"same\":\"1\",\"new\":\"2\"}}"),
                   live = json_val(&a, "{\"data\":{\"gone\":\"1\",\"same\":\"1\",\"theirs\":\"3\"}}"), patch,
                   expected = json_val(&a, "{\"data\":{\"new\":\"2\",\"gone\":null}}");
        bool strategic;
        CHECK(apply_patch(&a, types[i], &last, &wanted, &live, &patch, &strategic, &err));
        CHECK(strategic == (types[i] != NULL));
        CHECK(val_equal(&patch, &expected));
        CHECK(apply_patch(&a, types[i], &wanted, &wanted, &wanted, &patch, &strategic, &err));
        CHECK(val_len(&patch) == 0);
    }
}

TEST(ages_read_as_kubectl_s)
{
    static const struct {
        int64_t s;
        const char *text;
    } cases[] = {{5, "5s"},           {119, "119s"},          {130, "2m10s"}, {600, "10m"}, {4 * 3600 + 60, "4h1m"},
                 {50 * 3600, "2d2h"}, {400 * 86400LL, "400d"}};
    AUTO(arena_fini) struct arena a = ARENA;
    for (size_t i = 0; i < countof(cases); i++)
        CHECK(str_eqz(age_of_ns(&a, cases[i].s * NS_PER_S), cases[i].text));
    CHECK(str_eqz(age_text(&a, S("never"), 0), "<unknown>"));
}

TEST(describe_shows_no_secret_and_leaves_keys_as_they_are)
{
    AUTO(arena_fini) struct arena a = ARENA;
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT), c = STRBUF(STRBUF_TEXT);
    struct val secret = json_val(&a, "{\"metadata\":{\"name\":\"s\"},\"data\":{\"p\":\"Z2VoZWlt\"}}"),
               config = json_val(&a, "{\"metadata\":{\"name\":\"c\"},\"data\":{\"logLevel\":\"info\"}}");
    describe_object(&a, S("Secret"), T(core_v1_Secret), &secret, 0, &b);
    describe_object(&a, S("ConfigMap"), T(core_v1_ConfigMap), &config, 0, &c);
    CHECK(str_has(strbuf_str(&b), S("p: 6 bytes")) && !str_has(strbuf_str(&b), S("Z2Vo")));
    CHECK(str_has(strbuf_str(&c), S("logLevel:")) && str_has(strbuf_str(&c), S("info")));
    struct val quota = json_val(&a, "{\"metadata\":{\"name\":\"q\"},\"spec\":{\"hard\":{\"requests.cpu\":\"1\"}}}"),
               odd = json_val(&a,
                              "{\"metadata\":{\"name\":\"o\"},\"spec\":{\"someField\":1},\"data\":{\"someKey\":2}}");
    strbuf_reset(&b);
    describe_object(&a, S("ResourceQuota"), T(core_v1_ResourceQuota), &quota, 0, &b);
    describe_object(&a, S("Odd"), NULL, &odd, 0, &b);
    CHECK(str_has(strbuf_str(&b), S("Spec:\n  Hard:\n    requests.cpu:  ")));
    CHECK(str_has(strbuf_str(&b), S("Some Field:")) && str_has(strbuf_str(&b), S("someKey:")));
}

TEST(describe_tells_what_is_behind_a_volume)
{
    AUTO(arena_fini) struct arena a = ARENA;
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    struct val set = json_val(
        &a, "{\"metadata\":{\"name\":\"s\"},\"spec\":{\"replicas\":3,\"volumeClaimTemplates\":[{\"metadata\":{"
            "\"name\":\"d\"},"
            "\"spec\":{\"resources\":{\"requests\":{\"storage\":\"2Gi\"}},\"storageClassName\":\"local\"}}],"
            "\"template\":{\"spec\":"
            "{\"containers\":[{\"name\":\"c\",\"volumeDevices\":[{\"name\":\"d\",\"devicePath\":\"/dev/"
            "x\"}]}],\"volumes\":["
            "{\"name\":\"a\",\"persistentVolumeClaim\":{\"claimName\":\"big\"}},{\"name\":\"e\",\"emptyDir\":{}}]}}},"
            "\"status\":{\"updatedReplicas\":1,\"replicas\":3,\"readyReplicas\":2,\"availableReplicas\":2,"
            "\"currentRevision\":\"s-1\",\"updateRevision\":\"s-2\"}}");
    describe_object(&a, S("StatefulSet"), T(apps_v1_StatefulSet), &set, 0, &b);
    static const char *const lines[] = {
        "Replicas:                  3 desired, 1 updated, 3 total, 2 ready, 2 available\n",
        "Revision:                  s-1, on its way to s-2\n",
        "Volume Claim:              d: 2Gi, class local\n",
        "    Device:                /dev/x is d\n",
        "Volume:                    a: persistentVolumeClaim big\n",
        "Volume:                    e: emptyDir\n",
    };
    for (size_t i = 0; i < countof(lines); i++)
        CHECK(str_has(strbuf_str(&b), str_of(lines[i])));
}

TEST(describe_aligns_events_however_long_their_reasons_are)
{
    AUTO(arena_fini) struct arena a = ARENA;
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    struct val list = json_val(
        &a, "{\"items\":[{\"type\":\"Normal\",\"reason\":\"FileSystemResizeRequired\",\"message\":\"m1\","
            "\"source\":{\"component\":\"persistentvolume-controller\"}},"
            "{\"type\":\"Warning\",\"reason\":\"Bad\",\"message\":\"m2\",\"reportingComponent\":\"k\"}]}");
    describe_events(&a, &list, 0, &b);
    CHECK_STR(strbuf_str(&b),
              S("Events:\n"
                "  TYPE     REASON                    AGE        FROM                         MESSAGE\n"
                "  Normal   FileSystemResizeRequired  <unknown>  persistentvolume-controller  m1\n"
                "  Warning  Bad                       <unknown>  k                            m2\n"));
}

#define OF_NAME(generation) "\"metadata\": {\"name\": \"x\", \"generation\": " #generation "}, "
#define ROLLING             "\"updateStrategy\": {\"type\": \"RollingUpdate\"}"
#define PARTED(n)           "\"updateStrategy\": {\"type\": \"RollingUpdate\", \"rollingUpdate\": {\"partition\": " #n "}}"

/* Each object as it may be seen, and what kubectl says of it; of an error a part. */
static const struct rollout_case {
    const char *kind, *object;
    enum rollout_state state;
    const char *says;
} rollout_cases[] = {
    {"Deployment", OF_NAME(2) "\"spec\": {\"replicas\": 2}, \"status\": {\"observedGeneration\": 1}", ROLLOUT_ON,
     "Waiting for deployment spec update to be observed..."},
    {"Deployment",
     OF_NAME(2) "\"spec\": {\"replicas\": 2}, \"status\": {\"observedGeneration\": 1, \"conditions\": "
                "[{\"type\": \"Progressing\", \"reason\": \"ProgressDeadlineExceeded\"}]}",
     ROLLOUT_ON, "Waiting for deployment spec update to be observed..."},
    {"Deployment",
     OF_NAME(2) "\"spec\": {\"replicas\": 2}, \"status\": {\"observedGeneration\": 2, \"updatedReplicas\": 1, "
                "\"conditions\": [{\"type\": \"Progressing\", \"reason\": \"ProgressDeadlineExceeded\"}]}",
     ROLLOUT_FAILED, "deployment \"x\" exceeded its progress deadline"},
    {"Deployment",
     OF_NAME(2) "\"spec\": {\"replicas\": 2}, \"status\": {\"observedGeneration\": 2, \"updatedReplicas\": 2, "
                "\"replicas\": 3, \"availableReplicas\": 2}",
     ROLLOUT_ON, "Waiting for deployment \"x\" rollout to finish: 1 old replicas are pending termination..."},
    {"Deployment",
     OF_NAME(2) "\"spec\": {\"replicas\": 2}, \"status\": {\"observedGeneration\": 2, \"updatedReplicas\": 2, "
                "\"replicas\": 2, \"availableReplicas\": 2}",
     ROLLOUT_DONE, "deployment \"x\" successfully rolled out"},
    {"DaemonSet", OF_NAME(3) "\"spec\": {" ROLLING "}, \"status\": {\"observedGeneration\": 2}", ROLLOUT_ON,
     "Waiting for daemon set spec update to be observed..."},
    {"DaemonSet",
     OF_NAME(3) "\"spec\": {" ROLLING "}, \"status\": {\"observedGeneration\": 3, \"desiredNumberScheduled\": 4, "
                "\"updatedNumberScheduled\": 1, \"numberAvailable\": 4}",
     ROLLOUT_ON, "Waiting for daemon set \"x\" rollout to finish: 1 out of 4 new pods have been updated..."},
    {"DaemonSet",
     OF_NAME(3) "\"spec\": {" ROLLING "}, \"status\": {\"observedGeneration\": 3, \"desiredNumberScheduled\": 4, "
                "\"updatedNumberScheduled\": 4, \"numberAvailable\": 3}",
     ROLLOUT_ON, "Waiting for daemon set \"x\" rollout to finish: 3 of 4 updated pods are available..."},
    {"DaemonSet",
     OF_NAME(3) "\"spec\": {" ROLLING "}, \"status\": {\"observedGeneration\": 3, \"desiredNumberScheduled\": 0}",
     ROLLOUT_DONE, "daemon set \"x\" successfully rolled out"},
    {"DaemonSet", OF_NAME(3) "\"spec\": {\"updateStrategy\": {\"type\": \"OnDelete\"}}", ROLLOUT_FAILED,
     "rollout status is only available for RollingUpdate strategy type"},
    {"StatefulSet", OF_NAME(0) "\"spec\": {\"replicas\": 3, " PARTED(0) "}, \"status\": {}", ROLLOUT_ON,
     "Waiting for statefulset spec update to be observed..."},
    {"StatefulSet",
     OF_NAME(1) "\"spec\": {\"replicas\": 3, " PARTED(0) "}, \"status\": {\"observedGeneration\": 1, "
                                                         "\"readyReplicas\": 1, \"updatedReplicas\": 3}",
     ROLLOUT_ON, "Waiting for 2 pods to be ready..."},
    {"StatefulSet",
     OF_NAME(1) "\"spec\": {\"replicas\": 3, " PARTED(1) "}, \"status\": {\"observedGeneration\": 1, "
                                                         "\"readyReplicas\": 3, \"updatedReplicas\": 1}",
     ROLLOUT_ON, "Waiting for partitioned roll out to finish: 1 out of 2 new pods have been updated..."},
    {"StatefulSet",
     OF_NAME(1) "\"spec\": {\"replicas\": 3, " PARTED(1) "}, \"status\": {\"observedGeneration\": 1, "
                                                         "\"readyReplicas\": 3, \"updatedReplicas\": 2}",
     ROLLOUT_DONE, "partitioned roll out complete: 2 new pods have been updated..."},
    {"StatefulSet",
     OF_NAME(1) "\"spec\": {\"replicas\": 3, " ROLLING
                "}, \"status\": {\"observedGeneration\": 1, \"readyReplicas\": "
                "3, \"updatedReplicas\": 1, \"updateRevision\": \"x-b\", \"currentRevision\": \"x-a\"}",
     ROLLOUT_ON, "waiting for statefulset rolling update to complete 1 pods at revision x-b..."},
    {"StatefulSet",
     OF_NAME(1) "\"spec\": {\"replicas\": 3, " ROLLING
                "}, \"status\": {\"observedGeneration\": 1, \"readyReplicas\": "
                "3, \"currentReplicas\": 3, \"updateRevision\": \"x-b\", \"currentRevision\": \"x-b\"}",
     ROLLOUT_DONE, "statefulset rolling update complete 3 pods at revision x-b..."},
    {"StatefulSet", OF_NAME(1) "\"spec\": {\"replicas\": 3, \"updateStrategy\": {\"type\": \"OnDelete\"}}",
     ROLLOUT_FAILED, "rollout status is only available for RollingUpdate strategy type"},
    {"ReplicaSet", OF_NAME(1) "\"spec\": {\"replicas\": 3}", ROLLOUT_FAILED, "a ReplicaSet has no rollout"},
};

TEST(a_rollout_is_told_in_kubectl_s_words)
{
    for (size_t i = 0; i < countof(rollout_cases); i++) {
        AUTO(arena_fini) struct arena a = ARENA;
        const struct rollout_case *t = &rollout_cases[i];
        struct err err = ERR;
        struct str text;
        struct val v = json_val(&a, arena_strz(&a, arena_fmt(&a, "{%s}", t->object)));
        CHECK_INT(rollout_state_of(&a, str_of(t->kind), &v, &text, &err), t->state);
        if (t->state == ROLLOUT_FAILED)
            CHECK(str_starts(str_of(err.text), str_of(t->says)));
        else
            CHECK_STR(text, str_of(t->says));
    }
}

TEST(settings_that_cannot_be_together_are_named)
{
    static const struct {
        const char *set, *says;
    } wrong[] = {
        {"service-cidr=10.42.128.0/17", "pod-cidr 10.42.0.0/16 and service-cidr 10.42.128.0/17 overlap"},
        {"node-pod-cidr=10.41.0.0/24", "node-pod-cidr 10.41.0.0/24 is not within pod-cidr 10.42.0.0/16"},
        {"node-pod-cidr=10.42.0.0/15", "is not within pod-cidr"},
        {"node-pod-cidr=10.42.0.0/29", "node-pod-cidr: \"10.42.0.0/29\": is too small"},
        {"node-ip=here", "node-ip: \"here\": is no IPv4 address"},
        {"node-ip=0.0.0.0", "node-ip: \"0.0.0.0\": is no address that a node can be reached at"},
        {"node-ip=127.0.0.1", "node-ip"},
        {"node-ip=fe80::1", "node-ip"},
        {"listen=nonsense", "listen: \"nonsense\": is not ADDRESS:PORT; it looks like 0.0.0.0:6443"},
        {"listen=6443", "listen"},
        {"listen=:6443", "listen"},
        {"listen=localhost:6443", "listen"},
        {"listen=[::]:6443", "listen"},
        {"listen=unix:/tmp/x", "listen"},
        {"listen=1.2.3.4:", "listen"},
        {"listen=1.2.3.4:65536", "listen"},
        {"listen=1.2.3.4:-1", "listen"},
        {"listen=1.2.3.04:6443", "listen"},
        {"listen=", "listen: is empty; without it, it is 0.0.0.0:6443"},
        {"roles=serve", "roles: \"serve\": there is no role \"serve\"; there are server, node, relay, dns and edge"},
        {"roles=server,server", "roles: \"server,server\": server stands there twice"},
        {"roles=server,", "roles"},
        {"roles=", "roles: is empty"},
        {"node-name=My_Host", "node-name: \"My_Host\": is no name that a node can have"},
        {"node-name=a..b", "node-name"},
        {"pod-cidr=10.42.0.0", "pod-cidr: \"10.42.0.0\" is not an IPv4 range"},
        {"pod-cidr=10.42.0.1/16", "did you mean 10.42.0.0/16"},
        {"pod-cidr=10.42.0.0/33", "pod-cidr"},
        {"pod-cidr=0.0.0.0/0", "pod-cidr"},
        {"pod-cidr=127.0.0.0/16", "pod-cidr: \"127.0.0.0/16\": lies in 127.0.0.0/8"},
        {"pod-cidr=fd00::/48", "pod-cidr"},
        {"pod-cidr=", "pod-cidr: is empty"},
        {"service-cidr=10.43.0.0/30", "service-cidr: \"10.43.0.0/30\": is too small"},
        {"service-cidr=169.254.0.0/20", "service-cidr"},
        {"service-cidr=nonsense", "service-cidr"},
        {"cluster-domain=", "cluster-domain: is empty"},
        {"cluster-domain=cluster.local.", "cluster-domain: \"cluster.local.\": is no domain"},
        {"cluster-domain=Cluster.Local", "cluster-domain"},
        {"cluster-domain=-", "cluster-domain"},
        {"insecure-registries=http://a:5000", "\"http://a:5000\" is no registry: HOST or HOST:PORT"},
        {"insecure-registries=a:5000/x", "insecure-registries"},
        {"insecure-registries=a:5000,b:0", "\"b:0\" is no registry"},
        {"max-pods=1000", "max-pods 1000 is more than node-pod-cidr 10.42.0.0/24 has addresses for"},
        {"max-pods=many", "max-pods"},
        {"max-pods=-1", "max-pods"},
        {"max-pods=1e2", "max-pods"},
        {"relay-port=65536", "relay-port"},
        {"compaction-seconds=0", "compaction-seconds"},
        {"event-seconds=1h", "event-seconds: \"1h\" is no number"},
        {"max-objects=1000000000", "max-objects"},
        {"max-objects=", "max-objects"},
        {"max-stored-mib=1GiB", "max-stored-mib: \"1GiB\" is no number"},
        {"log-level=loud", "log-level: \"loud\": must be error, warn, info or debug"},
        {"log-level=", "log-level: is empty"},
        {"nonsense", "--set nonsense: must be KEY=VALUE"},
        {"=x", "there is no setting \"\""},
        {"max-pods=0", "max-pods: \"0\" is no number from 1 to 65535"},
        {"gateway=on", "gateway: \"on\": must be off, standard or experimental"},
        {"system-reserved=disk=1Gi", "system-reserved: \"disk\" cannot be reserved"},
        {"kube-reserved=memory=much", "kube-reserved: memory: quantities must match"},
        {"enforce-node-allocatable=system-reserved", "enforce-node-allocatable: must be pods or none"},
        {"cpu-manager-policy=static", "there is no setting \"cpu-manager-policy\""},
        {"max-pod=5", "there is no setting \"max-pod\""},
    };
    for (size_t i = 0; i < countof(wrong); i++) {
        const char *argv[] = {"--root", "/nowhere", "--set", "pod-cidr=10.42.0.0/16", "--set", wrong[i].set};
        AUTO(settings_fini) struct settings s;
        struct err err = ERR;
        int rest;
        CHECK(!settings_read(&s, countof(argv), (char **)argv, &rest, &err));
        if (!strstr(err.text, wrong[i].says))
            test_failed(__FILE__, __LINE__, "%s: \"%s\"", wrong[i].set, err.text);
    }
}

TEST(settings_in_a_file_are_lines_of_text_and_numbers)
{
    static const struct {
        const char *text, *says; /* NULL: fine */
    } files[] = {
        {"", NULL},
        {"max-pods: 7\nlisten: 127.0.0.1:0\n", NULL},
        {"max-pods: \"7\"\n", NULL},
        {"listen: nonsense\n", "listen: \"nonsense\": is not ADDRESS:PORT"},
        {"listen: [a, b]\n", "listen: must be a text or a number"},
        {"listen: {a: b}\n", "listen: must be"},
        {"node-name:\n", "node-name: must be"},
        {"max-pods: true\n", "max-pods: must be"},
        {"max-pods: 7.5\n", "max-pods: must be"},
        {"max-podz: 7\n", "there is no setting \"max-podz\""},
        {"- listen\n", "must be lines of \"setting: value\""},
        {"listen\n", "must be lines of"},
        {"listen: \"x\n", "config"},
    };
    for (size_t i = 0; i < countof(files); i++) {
        AUTO(arena_fini) struct arena a = ARENA;
        struct str path = arena_fmt(&a, "%s/config.yaml", test_dir());
        struct err err = ERR;
        CHECK_OK(file_write(AT_FDCWD, path.p, str_of(files[i].text), 0600, &err), err);
        const char *argv[] = {"--root", "/nowhere", "--config", path.p};
        AUTO(settings_fini) struct settings s;
        int rest;
        bool ok = settings_read(&s, countof(argv), (char **)argv, &rest, &err);
        if (ok != !files[i].says || (!ok && !strstr(err.text, files[i].says)))
            test_failed(__FILE__, __LINE__, "%s: \"%s\"", files[i].text, err.text);
    }
}

TEST(a_name_of_the_node_that_cannot_be_read_is_not_replaced)
{
    char root[] = "/tmp/wherry-test-XXXXXX", path[100];
    CHECK(mkdtemp(root));
    (void)snprintf(path, sizeof path, "%s/var/lib/wherry/node-name", root);
    struct err err = ERR;
    CHECK_OK(dir_make(path, 0755, &err), err); /* a folder: no file to read */
    const char *argv[] = {"--root", root};
    AUTO(settings_fini) struct settings s;
    int rest;
    CHECK(!settings_read(&s, countof(argv), (char **)argv, &rest, &err));
    CHECK(strstr(err.text, "the name that this node has had") && strstr(err.text, "its pods would be lost"));
    CHECK_OK(tree_remove(AT_FDCWD, root, &err), err);
}

TEST(a_role_without_privileges_starts_nothing_and_mounts_nothing)
{
    struct err err = ERR;
    char *none[] = {NULL};
    CHECK_OK(role_confine(ROLE_STARTS_NOTHING, &err), err);
    /* a program that is not there: one that is would take this test's place, and end well */
    CHECK(execve("/nowhere/program", none, none) < 0 && errno == EPERM);
    CHECK(mount("none", "/tmp", "tmpfs", 0, NULL) < 0 && errno == EPERM);
    CHECK(unshare(CLONE_NEWUSER) < 0 && errno == EPERM);
    /* each way to a namespace of its own: flags of clone, alone and with others, and clone3 */
    static const unsigned spaces[] = {
        CLONE_NEWUSER, CLONE_NEWNS,  CLONE_NEWPID,    CLONE_NEWNET,
        CLONE_NEWIPC,  CLONE_NEWUTS, CLONE_NEWCGROUP, CLONE_NEWUSER | CLONE_NEWNS | CLONE_FS};
    for (size_t i = 0; i < countof(spaces); i++) {
        long pid = syscall(SYS_clone, spaces[i] | SIGCHLD, 0, 0, 0, 0);
        if (pid == 0)
            _exit(0);
        if (pid > 0 || errno != EPERM)
            test_failed(__FILE__, __LINE__, "clone with flags %#x", spaces[i]);
    }
    struct clone_args how = {.flags = CLONE_NEWUSER, .exit_signal = SIGCHLD};
    long pid = syscall(SYS_clone3, &how, sizeof how);
    if (pid == 0)
        _exit(0);
    CHECK(pid < 0 && errno == ENOSYS);
    /* words for somebody else's terminal; the upper half of the argument is not the kernel's to look at */
    CHECK(ioctl(0, TIOCSTI, "x") < 0 && errno == EPERM);
    CHECK(syscall(SYS_ioctl, 0L, 0x100000000L | TIOCSTI, "x") < 0 && errno == EPERM);
    CHECK(socket(AF_ALG, SOCK_SEQPACKET, 0) < 0 && errno == EAFNOSUPPORT);
    CHECK(socket(AF_VSOCK, SOCK_STREAM, 0) < 0 && errno == EAFNOSUPPORT);
    CHECK(socket(AF_PACKET, SOCK_RAW, 0) < 0 && errno == EAFNOSUPPORT);
    /* what a role needs is there: threads, children of the same program, sockets */
    AUTO(fd_close) int s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    AUTO(fd_close) int u = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(s >= 0 && u >= 0);
    int status;
    pid_t child = fork();
    if (child == 0)
        _exit(7);
    CHECK(child > 0 && waitpid(child, &status, 0) == child && WEXITSTATUS(status) == 7);
}

#ifdef __x86_64__
/* The other tables of system calls that this processor has: a call by one of them ends the role. */
TEST(a_role_without_privileges_has_one_table_of_system_calls)
{
    struct err err = ERR;
    for (int way = 0; way < 2; way++) {
        pid_t pid = fork();
        if (pid == 0) {
            long answer = -EPERM;
            if (!role_confine(ROLE_STARTS_NOTHING, &err))
                _exit(9);
            if (way == 0) /* unshare by the 32-bit table */
                __asm__ volatile("int $0x80" : "=a"(answer) : "a"(310L), "b"((long)CLONE_NEWUSER) : "memory");
            else /* and by x32's */
                answer = syscall(0x40000000L | SYS_unshare, CLONE_NEWUSER);
            _exit(answer == 0);
        }
        int status;
        CHECK(waitpid(pid, &status, 0) == pid);
        CHECK((WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS) || (WIFEXITED(status) && WEXITSTATUS(status) == 0));
    }
}
#endif

TEST(a_passphrase_has_a_length_that_protects)
{
    static const struct {
        const char *line;
        bool good;
    } lines[] = {{"1234567\n", false}, {"12345678\n", true}, {"12345678\r\nmore\n", true}, {"\n12345678\n", false}};
    for (size_t i = 0; i < countof(lines); i++) {
        AUTO(arena_fini) struct arena a = ARENA;
        struct str got, path = arena_fmt(&a, "%s/passphrase", test_dir());
        struct err err = ERR;
        CHECK_OK(file_write(AT_FDCWD, path.p, str_of(lines[i].line), 0600, &err), err);
        CHECK(passphrase_get(&a, path, true, &got, &err) == lines[i].good);
        if (lines[i].good)
            CHECK_STR(got, S("12345678"));
        else
            CHECK(strstr(err.text, "8 to 1000 bytes"));
    }
}

/* Sixteen processes, some of which take the file away at the end as `wherry down` does: one alone holds it at a time.
 */
TEST(the_lock_has_one_holder_however_many_want_it)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct settings s = {.run = arena_fmt(&a, "%s/run", test_dir())};
    struct err err = ERR;
    _Atomic int *inside = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(inside != MAP_FAILED);
    pid_t pids[16];
    for (size_t i = 0; i < countof(pids); i++) {
        pids[i] = fork();
        if (pids[i])
            continue;
        for (int done = 0; done < 200;) {
            struct up_holder other;
            AUTO(fd_close) int lock = uplock_try(&s, &other, &err);
            if (lock < 0 && !other.pid)
                _exit(1);
            if (lock < 0) {
                (void)sched_yield();
                continue;
            }
            if (atomic_fetch_add(inside, 1) != 0)
                _exit(2);
            uplock_tell(&s, lock, done % 2 ? UP_READY : UP_ENDING);
            if (uplock_holder(&s).pid != getpid())
                _exit(3);
            atomic_fetch_sub(inside, 1);
            if (i % 4 == 0)
                uplock_remove(&s);
            done++;
        }
        _exit(0);
    }
    for (size_t i = 0; i < countof(pids); i++) {
        int status = -1;
        CHECK(waitpid(pids[i], &status, 0) == pids[i]);
        CHECK_INT(status, 0);
    }
    CHECK_INT(uplock_holder(&s).pid, 0);
}
