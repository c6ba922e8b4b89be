#include "base/test.h"
#include "node/flex.h"
#include "node/test_world.h"
#include "sys/file.h"
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

TEST(flex_answers_are_read_as_a_kubelet_does)
{
    static const struct {
        const char *said, *want;
    } rows[] = {
        {"{\"status\":\"Success\"}", "attach relabel group resize"},
        {"\n {\"Status\":\"Success\",\"MESSAGE\":\"x\",\"other\":[1]}\n", "attach relabel group resize"},
        {"{\"status\":\"Success\",\"capabilities\":{\"attach\":false,\"selinuxRelabel\":false,\"fsGroup\":false,"
         "\"requiresFSResize\":false,\"supportsMetrics\":true}}",
         "metrics"},
        {"{\"status\":\"Success\",\"Capabilities\":null,\"device\":\"/dev/sdx\",\"attached\":true}",
         "attach relabel group resize /dev/sdx attached"},
        {"{\"status\":\"Not supported\"}", "! Not supported"},
        {"{\"status\":\"Failure\",\"message\":\"no disk\"}",
         "! mount command failed, status: Failure, reason: no disk"},
        {"{}", "! mount command failed, status: , reason: "},
        {"", "! unexpected end of JSON input"},
        {"  \n", "! unexpected end of JSON input"},
        {"usage: driver COMMAND", "! invalid character 'u' looking for beginning of value"},
        {"{\"status\":1}", "! json: cannot unmarshal the driver's answer: \"status\" is not a string"},
        {"{\"status\":\"Success\",\"capabilities\":{\"attach\":\"no\"}}",
         "! json: cannot unmarshal the driver's answer: \"attach\" is not a bool"},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        AUTO(arena_fini) struct arena a = ARENA;
        AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
        struct err err = ERR;
        struct flex_answer x;
        if (flex_answer_read(&a, "mount", str_of(rows[i].said), &x, &err))
            strbuf_addf(&b, "%s%s%s%s%s" STR_FMT "%s", x.can.attach ? " attach" : "", x.can.relabel ? " relabel" : "",
                        x.can.metrics ? " metrics" : "", x.can.group ? " group" : "", x.can.resize ? " resize " : "",
                        STR_ARG(x.device), x.attached ? " attached" : "");
        else
            strbuf_addf(&b, "! %s", err.text);
        CHECK_STR(str_trim(strbuf_str(&b)), str_trim(str_of(rows[i].want)));
        CHECK_INT(err.kind == E_NOT_IMPLEMENTED, str_eqz(str_of(rows[i].want), "! Not supported"));
    }
}

TEST(flex_options_are_those_of_a_kubelet)
{
    struct world w = {0};
    const struct obj *pod = world_obj(
        &w, K(Pod),
        "metadata: {name: p, namespace: ns, uid: u1}\nspec: {serviceAccountName: sa, volumes: [{name: v, flexVolume: "
        "{driver: a/b, fsType: xfs, readOnly: true, options: {share: x, kubernetes.io/readwrite: rw}}}]}");
    const struct obj *secret = world_obj(&w, K(Secret), "metadata: {name: s, namespace: ns}\ndata: {key: Z2VoZWlt}");
    const struct val *source = val_get(val_item(val_get(obj_spec(pod), N(volumes)), 0), N(flexVolume));
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    struct flex_options o = {.source = source, .volume = S("v"), .read_only = true, .fs_group = 7};
    flex_options_write(&b, &o);
    CHECK_STR(strbuf_str(&b), S("{\"kubernetes.io/fsType\":\"xfs\",\"kubernetes.io/pvOrVolumeName\":\"v\","
                                "\"kubernetes.io/readwrite\":\"rw\",\"share\":\"x\"}"));
    b.n = 0;
    o.pod = pod;
    o.secrets = val_get(&secret->tree, N(data));
    flex_options_write(&b, &o);
    CHECK_STR(strbuf_str(&b),
              S("{\"kubernetes.io/fsType\":\"xfs\",\"kubernetes.io/mounterArgs.FsGroup\":\"7\",\"kubernetes.io/"
                "pod.name\":\"p\",\"kubernetes.io/pod.namespace\":\"ns\",\"kubernetes.io/pod.uid\":\"u1\","
                "\"kubernetes.io/pvOrVolumeName\":\"v\",\"kubernetes.io/readwrite\":\"rw\",\"kubernetes.io/secret/"
                "key\":\"Z2VoZWlt\",\"kubernetes.io/serviceAccount.name\":\"sa\",\"share\":\"x\"}"));
    world_end(&w);
}

TEST(flex_programs_are_below_their_folder)
{
    static const char *const rows[][2] = {
        {"v/d", "/f/v~d/d"}, {"d", "/f/d/d"}, {"a/b/c", "/f/a~b~c/c"}, {"", NULL},   {"..", NULL},
        {"a/..", NULL},      {"../a", NULL},  {"a~b", NULL},           {"a/", NULL}, {".a/b", NULL}};
    for (size_t i = 0; i < countof(rows); i++) {
        AUTO(arena_fini) struct arena a = ARENA;
        struct str path = S("");
        CHECK_INT(flex_program(&a, "/f", str_of(rows[i][0]), &path), rows[i][1] != NULL);
        CHECK_STR(path, str_of(rows[i][1] ? rows[i][1] : ""));
    }
}

/* What a script does, and what comes of it. */
TEST(flex_calls_end_in_a_sentence_whatever_the_driver_does)
{
    static const struct {
        const char *script, *want;
    } rows[] = {
        {"echo \"{\\\"status\\\": \\\"Success\\\", \\\"device\\\": \\\"$1 $2 $#\\\"}\"", "mount a b 2"},
        {"echo '{\"status\": \"Failure\", \"message\": \"no\"}'; exit 1",
         "! mount command failed, status: Failure, reason: no"},
        {"echo '{\"status\": \"Not supported\"}'; exit 1", "! Not supported"},
        {"echo '{\"status\": \"Success\"}'; exit 3", "! PROGRAM ended with status 3: {\"status\": \"Success\"}"},
        {"echo oops; exit 2", "! invalid character 'o' looking for beginning of value"},
        {"exit 0", "! unexpected end of JSON input"},
        {"kill -9 $$", "! unexpected end of JSON input"},
        {"yes | head -c 1100000", "! mount command printed more than 1024 KiB"},
    };
    char top[] = "/tmp/flex-test-XXXXXX";
    CHECK(mkdtemp(top));
    for (size_t i = 0; i < countof(rows); i++) {
        AUTO(arena_fini) struct arena a = ARENA;
        struct err err = ERR;
        struct flex_answer x;
        struct str program = arena_fmt(&a, "%s/d", top), text = arena_fmt(&a, "#!/bin/sh\n%s\n", rows[i].script);
        CHECK_OK(file_write(AT_FDCWD, program.p, text, 0755, &err), err);
        bool ok = flex_call(&a, program, "mount", (const char *const[]){"a b", NULL}, &x, &err);
        struct str got = ok ? x.device : arena_fmt(&a, "! %s", err.text), want = str_of(rows[i].want);
        ptrdiff_t at = str_find(want, S("PROGRAM"));
        if (at >= 0)
            want = arena_fmt(&a, STR_FMT STR_FMT STR_FMT, STR_ARG(str_sub(want, 0, (size_t)at)), STR_ARG(program),
                             STR_ARG(str_sub(want, (size_t)at + 7, want.n)));
        CHECK_STR(got, want);
        (void)unlink(program.p);
        CHECK(!flex_call(&a, program, "mount", (const char *const[]){NULL}, &x, &err) && err.kind == E_NOT_FOUND);
    }
    CHECK(rmdir(top) == 0);
}
