#include "base/fault.h"
#include "node/test_world.h"
#include "node/volume.h"
#include "sys/file.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define POD(volume)                                                                                                  \
    "metadata: {name: p, namespace: ns, labels: {a: b}}\nspec: {containers: [{name: c}], volumes: [" volume "]}"

static bool token_get(void *arg, const struct obj *pod, struct str audience, int64_t seconds, struct str *out,
                      struct err *err)
{
    struct world *w = arg;
    if (w->unheard)
        return err_set(err, E_UNAVAILABLE, "not yet");
    *out = arena_fmt(&w->arena, "token of " STR_FMT " for " STR_FMT " %llds", STR_ARG(pod->name), STR_ARG(audience),
                     (long long)seconds);
    return true;
}

/* "PATH MODE TEXT; ..." or the error */
static struct str payload_text(struct world *w, const char *yaml)
{
    const struct obj *pod = world_obj(w, K(Pod), yaml);
    const struct val *v = val_item(val_get(obj_spec(pod), N(volumes)), 0);
    struct sources sources = world_sources(w);
    size_t used = 0;
    struct volume_input in = {&sources, pod, token_get, w, &used};
    AUTO(volume_files_fini) struct volume_files files = {.arena = &w->arena};
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    struct err err = ERR;
    if (!volume_payload(&files, &in, v, &err))
        return str_dup(&w->arena, str_of(err.text));
    array_each (f, &files.list)
        strbuf_addf(&b, "%s" STR_FMT " %o " STR_FMT, b.n ? "; " : "", STR_ARG(f->path), f->mode,
                    STR_ARG(str_sub(f->bytes, 0, 100)));
    return str_dup(&w->arena, strbuf_str(&b));
}

TEST(volume_payload_is_what_its_source_says)
{
    static const struct {
        const char *pod, *want;
    } rows[] = {
        {POD("{name: v, emptyDir: {}}"), ""},
        {POD("{name: v, configMap: {name: cm}}"), "a 644 one; b 644 two"},
        {POD("{name: v, configMap: {name: cm, defaultMode: 0400, items: [{key: b, path: x/y}, {key: a, path: z, "
             "mode: "
             "0755}]}}"),
         "x/y 400 two; z 755 one"},
        {POD("{name: v, configMap: {name: cm, items: [{key: none, path: x}]}}"),
         "configmap references non-existent config key: none"},
        {POD("{name: v, secret: {secretName: sec, items: [{key: none, path: x}]}}"),
         "secret references non-existent secret key: none"},
        {POD("{name: v, configMap: {name: cm, optional: true, items: [{key: none, path: x}, {key: a, path: a}]}}"),
         "a 644 one"},
        {POD("{name: v, configMap: {name: gone}}"), "configmap \"gone\" not found"},
        {POD("{name: v, configMap: {name: gone, optional: true}}"), ""},
        {POD("{name: v, secret: {secretName: gone}}"), "secret \"gone\" not found"},
        {POD("{name: v, secret: {secretName: sec, defaultMode: 0440}}"), "p 440 geheim"},
        {POD("{name: v, configMap: {name: cm, items: [{key: a, path: ../x}]}}"),
         "path \"../x\": must be relative, without \"..\""},
        {POD("{name: v, downwardAPI: {items: [{path: l, fieldRef: {fieldPath: metadata.labels}}, {path: name, mode: "
             "0600, "
             "fieldRef: {fieldPath: metadata.name}}]}}"),
         "l 644 a=\"b\"; name 600 p"},
        {POD("{name: v, projected: {defaultMode: 0640, sources: [{configMap: {name: cm}}, {secret: {name: sec, "
             "items: "
             "[{key: p, path: a}]}}, {serviceAccountToken: {path: t, audience: vault, expirationSeconds: 600}}]}}"),
         "a 640 geheim; b 640 two; t 640 token of p for vault 600s"},
        {POD("{name: v, projected: {sources: [{secret: {name: gone}}, {configMap: {name: cm}}, {configMap: {name: "
             "gone}}, {configMap: {name: there, optional: true}}]}}"),
         "[secret \"gone\" not found, configmap \"gone\" not found]"},
        {POD("{name: v, projected: {sources: [{configMap: {name: cm}}, {secret: {name: gone}}]}}"),
         "secret \"gone\" not found"},
        {POD("{name: v, cinder: {volumeID: x}}"), ""}, /* its driver's content */
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct world w = {0};
        world_obj(&w, K(ConfigMap), "metadata: {name: cm, namespace: ns}\ndata: {a: one, b: two}");
        world_obj(&w, K(Secret), "metadata: {name: sec, namespace: ns}\ndata: {p: Z2VoZWlt}");
        CHECK_STR(payload_text(&w, rows[i].pod), str_of(rows[i].want));
        world_end(&w);
    }
}

TEST(volume_of_no_type_is_refused_with_those_that_there_are)
{
    struct world w = {0};
    struct str told = payload_text(&w, POD("{name: v}"));
    CHECK(str_starts(told, S("volume \"v\": a volume of no type is not supported yet; there are: emptyDir, ")));
    CHECK(str_has(told, S(", hostPath, ")) && str_has(told, S(", cinder, ")) && str_ends(told, S(", image")));
    world_end(&w);
}

TEST(volume_paths_that_lead_out_are_refused)
{
    static const char *const bad[] = {"../x", "/x", "a/../b", "..data", "..", "a/b/../../..", ".", "./..data"};
    static const char *const good[][2] = {{"a", "a"},         {".hidden", ".hidden"}, {"a..b", "a..b"},
                                          {"a/..b", "a/..b"}, {"a/.b/c", "a/.b/c"},   {"a//b", "a/b"},
                                          {"a/", "a"},        {"./a", "a"},           {"a/./b", "a/b"}};
    for (size_t i = 0; i < countof(bad) + countof(good); i++) {
        struct world w = {0};
        bool is_bad = i < countof(bad);
        const char *path = is_bad ? bad[i] : good[i - countof(bad)][0];
        world_obj(&w, K(ConfigMap), "metadata: {name: cm, namespace: ns}\ndata: {a: one}");
        struct str pod = arena_fmt(&w.arena, POD("{name: v, configMap: {name: cm, items: [{key: a, path: \"%s\"}]}}"),
                                   path);
        struct str got = payload_text(&w, pod.p);
        CHECK_STR(got, is_bad ? arena_fmt(&w.arena, "path \"%s\": must be relative, without \"..\"", path)
                              : arena_fmt(&w.arena, "%s 644 one", good[i - countof(bad)][1]));
        world_end(&w);
    }
}

/* A token is for the user that all containers run as. */
TEST(volume_token_is_for_who_runs_the_pod)
{
#define TOKEN                                                                                                        \
    "volumes: [{name: v, projected: {sources: [{serviceAccountToken: {path: t}}, {configMap: {name: cm}}]}}]"
    static const struct {
        const char *spec, *want; /* mode and owner of the token */
    } rows[] = {
        {"containers: [{name: c}]", "644 -1"},
        {"securityContext: {runAsUser: 7}, containers: [{name: c}]", "600 7"},
        {"securityContext: {fsGroup: 7}, containers: [{name: c}]", "600 -1"},
        {"securityContext: {runAsUser: 7}, containers: [{name: c}, {name: d, securityContext: {runAsUser: 8}}]",
         "644 -1"},
        {"containers: [{name: c, securityContext: {runAsUser: 8}}, {name: d}]", "644 -1"},
        {"initContainers: [{name: i}], containers: [{name: c, securityContext: {runAsUser: 8}}]", "644 -1"},
        {"initContainers: [{name: i, securityContext: {runAsUser: 8}}], containers: [{name: c, securityContext: "
         "{runAsUser: 8}}]",
         "600 8"},
        {"securityContext: {runAsUser: 0}, containers: [{name: c}]", "600 0"},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct world w = {0};
        struct err err = ERR;
        size_t used = 0;
        world_obj(&w, K(ConfigMap), "metadata: {name: cm, namespace: ns}\ndata: {a: one}");
        struct str yaml = arena_fmt(&w.arena, "metadata: {name: p, namespace: ns}\nspec: {" TOKEN ", %s}",
                                    rows[i].spec);
        const struct obj *pod = world_obj(&w, K(Pod), yaml.p);
        struct sources sources = world_sources(&w);
        struct volume_input in = {&sources, pod, token_get, &w, &used};
        AUTO(volume_files_fini) struct volume_files files = {.arena = &w.arena};
        CHECK_OK(volume_payload(&files, &in, val_item(val_get(obj_spec(pod), N(volumes)), 0), &err), err);
        const struct volume_file *f = files.list.p;
        CHECK_STR(arena_fmt(&w.arena, "%o %lld", f[0].mode, (long long)f[0].uid), str_of(rows[i].want));
        CHECK_STR(arena_fmt(&w.arena, "%o %lld", f[1].mode, (long long)f[1].uid), S("644 -1"));
        world_end(&w);
    }
}

/* One object of 1 MB under a hundred paths is a hundred MB of the node's memory. */
TEST(volume_files_of_a_pod_have_a_bound)
{
    struct world w = {0};
    AUTO(strbuf_fini) struct strbuf map = STRBUF(2 << 20), pod = STRBUF(1 << 20);
    strbuf_addz(&map, "metadata: {name: cm, namespace: ns}\ndata: {a: '");
    for (int i = 0; i < 1 << 20; i++)
        strbuf_addc(&map, 'x');
    strbuf_addz(&map, "'}");
    strbuf_addz(&pod, "metadata: {name: p, namespace: ns}\n"
                      "spec: {containers: [{name: c}], volumes: [{name: v, configMap: {name: cm, items: [");
    for (int i = 0; i < 100; i++)
        strbuf_addf(&pod, "%s{key: a, path: p%d}", i ? ", " : "", i % 50); /* what is covered counts as well */
    strbuf_addz(&pod, "]}}]}");
    world_obj(&w, K(ConfigMap), map.p);
    CHECK_STR(payload_text(&w, pod.p),
              S("the files of the pod's volumes come to more than 64 MiB: mount each object once, "
                "or fewer of their keys"));
    world_end(&w);
}

/* --- writing -------------------------------------------------------------------------------------------------- */

static struct volume_work work_of(struct arena *a, int64_t fs_group)
{
    return (struct volume_work){.name = S("v"),
                                .place = VOLUME_TMPFS,
                                .path = arena_fmt(a, "%s/v", test_dir()),
                                .files = {.arena = a},
                                .fs_group = fs_group};
}

static void file_put(struct volume_work *w, const char *path, const char *text, uint32_t mode)
{
    array_push(&w->files.list, ((struct volume_file){str_of(path), str_of(text), mode, -1}));
}

static struct str text_at(struct arena *a, const struct volume_work *w, const char *name)
{
    struct err err = ERR;
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    struct str path = arena_fmt(a, STR_FMT "/%s", STR_ARG(w->path), name);
    return file_read(AT_FDCWD, path.p, &b, &err) ? str_dup(a, strbuf_str(&b)) : S("-");
}

static size_t payload_entries(const struct volume_work *w)
{
    AUTO_FREE char *path = str_dupz(w->path);
    DIR *d = opendir(path);
    size_t n = 0;
    CHECK(d);
    while (readdir(d))
        n++;
    (void)closedir(d);
    return n - 2; /* . and .. */
}

TEST(volume_is_swapped_whole_and_forgets_what_is_gone)
{
    struct arena a = ARENA;
    struct err err = ERR;
    bool changed;
    struct volume_work w = work_of(&a, -1);
    file_put(&w, "a", "one", 0644);
    file_put(&w, "sub/deep/b", "two", 0400);
    CHECK_OK(volume_write(&w, &changed, &err), err);
    CHECK(changed);
    CHECK_STR(text_at(&a, &w, "a"), S("one"));
    CHECK_STR(text_at(&a, &w, "sub/deep/b"), S("two"));
    CHECK_INT(payload_entries(&w), 4); /* a, sub, ..data and what it points to */
    struct stat st;
    CHECK(lstat(arena_fmt(&a, STR_FMT "/a", STR_ARG(w.path)).p, &st) == 0 && S_ISLNK(st.st_mode));
    CHECK(stat(arena_fmt(&a, STR_FMT "/sub/deep/b", STR_ARG(w.path)).p, &st) == 0);
    CHECK_INT(st.st_mode & 07777, 0400);
    CHECK_OK(volume_write(&w, &changed, &err), err);
    CHECK(!changed);
    array_clear(&w.files.list);
    file_put(&w, "c", "three", 0644);
    file_put(&w, "a", "ONE", 0644);
    CHECK_OK(volume_write(&w, &changed, &err), err);
    CHECK(changed);
    CHECK_STR(text_at(&a, &w, "a"), S("ONE"));
    CHECK_STR(text_at(&a, &w, "sub/deep/b"), S("-"));
    CHECK_INT(payload_entries(&w), 4);
    array_clear(&w.files.list);
    CHECK_OK(volume_write(&w, &changed, &err), err);
    CHECK_INT(payload_entries(&w), 2); /* ..data, empty */
    volume_files_fini(&w.files);
    arena_fini(&a);
}

/* Puts links in the place of folders that are being written, all the time. */
static void exchange_folders(const char *volume, const char *outside)
{
    for (;;) {
        int root = open(volume, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *d = root < 0 ? NULL : fdopendir(root);
        for (struct dirent *e; d && (e = readdir(d));) {
            char path[300], away[300];
            if (strncmp(e->d_name, "..", 2) != 0 || !e->d_name[2])
                continue;
            (void)snprintf(path, sizeof path, "%s/sub", e->d_name);
            (void)snprintf(away, sizeof away, "%s/away", e->d_name);
            if (renameat(root, path, root, away) == 0)
                (void)symlinkat(outside, root, path);
        }
        if (d)
            (void)closedir(d);
    }
}

TEST(volume_writes_nowhere_else_whoever_gets_into_it)
{
    struct arena a = ARENA;
    bool changed;
    struct volume_work w = work_of(&a, -1);
    struct str outside = arena_fmt(&a, "%s/outside", test_dir());
    CHECK(mkdir(outside.p, 0755) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        exchange_folders(arena_strz(&a, w.path), outside.p);
    }
    for (int i = 0; i < 2000; i++) {
        struct err ignored = ERR; /* many fail: it is in the way */
        array_clear(&w.files.list);
        file_put(&w, "sub/deep/a", i % 2 ? "one" : "two", 0644);
        file_put(&w, "sub/b", "x", 0644);
        (void)!volume_write(&w, &changed, &ignored);
    }
    (void)kill(pid, SIGKILL);
    (void)waitpid(pid, NULL, 0);
    CHECK(rmdir(outside.p) == 0); /* it is empty */
    volume_files_fini(&w.files);
    arena_fini(&a);
}

/* What shims write beside them must not fail for volumes of others. */
TEST(volume_leaves_room_in_the_nodes_memory)
{
    struct arena a = ARENA;
    struct err err = ERR;
    bool changed;
    struct volume_work w = work_of(&a, -1);
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return;
    CHECK(mount("t", test_dir(), "tmpfs", 0, "size=1m") == 0);
    char *text = arena_alloc(&a, 700 << 10);
    memset(text, 'x', 700 << 10);
    text[(700 << 10) - 1] = 0;
    file_put(&w, "a", text, 0644);
    CHECK_OK(volume_write(&w, &changed, &err), err);
    array_clear(&w.files.list);
    file_put(&w, "b", text, 0644);
    CHECK(!volume_write(&w, &changed, &err) && strstr(err.text, "three quarters"));
    CHECK(access(arena_fmt(&a, STR_FMT "/a", STR_ARG(w.path)).p, R_OK) == 0); /* the old content stands */
    volume_files_fini(&w.files);
    arena_fini(&a);
}

TEST(volume_with_other_modes_is_written_again)
{
    struct arena a = ARENA;
    struct err err = ERR;
    bool changed;
    struct stat st;
    struct volume_work w = work_of(&a, -1);
    file_put(&w, "a", "one", 0644);
    CHECK_OK(volume_write(&w, &changed, &err), err);
    w.files.list.p[0].mode = 0600;
    CHECK_OK(volume_write(&w, &changed, &err), err);
    CHECK(changed);
    CHECK(stat(arena_fmt(&a, STR_FMT "/a", STR_ARG(w.path)).p, &st) == 0);
    CHECK_INT(st.st_mode & 07777, 0600);
    volume_files_fini(&w.files);
    arena_fini(&a);
}

/* As a kubelet has them: the group reads what is the server's, and writes what is the pod's. */
TEST(volume_belongs_to_its_fs_group_and_its_user)
{
    static const struct {
        bool read_only;
        mode_t root;
        int64_t group;
        const char *path;
        mode_t mode;
        int64_t uid;
    } rows[] = {
        {true, 01777, 2000, ".", 03777, 0},    {true, 0777, 2000, ".", 02777, 0},
        {true, 0755, 2000, ".", 02755, 0},     {true, 01777, -1, ".", 01777, 0},
        {true, 01777, 2000, "a", 0440, 0},     {true, 01777, 2000, "b", 0644, 0},
        {true, 01777, 2000, "key", 0640, 0},   {true, 01777, 2000, "x", 0755, 0},
        {true, 01777, -1, "key", 0600, 0},     {true, 01777, 2000, "sub", 02755, 0},
        {true, 01777, -1, "sub", 0755, 0},     {true, 01777, 2000, "..data/", 02755, 0},
        {true, 01777, 2000, "token", 0640, 7}, {true, 01777, -1, "token", 0600, 7},
        {false, 0777, 2000, ".", 02777, 0},    {false, 0750, 2000, ".", 02770, 0},
    };
    if (geteuid() != 0)
        return; /* files cannot be given away */
    for (size_t i = 0; i < countof(rows); i++) {
        struct arena a = ARENA;
        struct err err = ERR;
        bool changed;
        struct stat st;
        struct volume_work w = work_of(&a, rows[i].group);
        w.path = arena_fmt(&a, "%s/v%zu", test_dir(), i);
        w.mode = rows[i].root;
        w.read_only = rows[i].read_only;
        file_put(&w, "a", "one", 0400);
        file_put(&w, "b", "two", 0644);
        file_put(&w, "key", "k", 0600);
        file_put(&w, "x", "#!", 0755);
        file_put(&w, "sub/cert", "c", 0644);
        file_put(&w, "token", "t", 0600);
        w.files.list.p[5].uid = 7;
        CHECK_OK(volume_write(&w, &changed, &err), err);
        CHECK(stat(arena_fmt(&a, STR_FMT "/%s", STR_ARG(w.path), rows[i].path).p, &st) == 0);
        CHECK_INT(st.st_mode & 07777, rows[i].mode);
        CHECK_INT(st.st_uid, rows[i].uid);
        CHECK_INT(st.st_gid, MAX(rows[i].group, 0));
        CHECK_OK(volume_write(&w, &changed, &err), err);
        CHECK(!changed); /* the group's bits are no difference */
        volume_files_fini(&w.files);
        arena_fini(&a);
    }
}

TEST(volume_shows_the_old_or_the_new_whatever_fails)
{
    struct arena a = ARENA;
    struct err err = ERR;
    bool changed;
    struct volume_work w = work_of(&a, -1);
    for (int n = 1; n < 100; n++) {
        fault_at(0);
        array_clear(&w.files.list);
        file_put(&w, "a", "old", 0644);
        file_put(&w, "gone", "old", 0644);
        CHECK_OK(volume_write(&w, &changed, &err), err);
        array_clear(&w.files.list);
        file_put(&w, "a", "new", 0644);
        file_put(&w, "b", "new", 0644);
        fault_at(n);
        bool ok = volume_write(&w, &changed, &err), fired = fault_fired();
        fault_at(0);
        struct str seen = text_at(&a, &w, "..data/a");
        CHECK_STR(text_at(&a, &w, "a"), seen);
        if (ok)
            CHECK_STR(seen, S("new"));
        CHECK(str_eq(seen, S("old")) ? str_eq(text_at(&a, &w, "..data/gone"), S("old"))
                                     : str_eq(text_at(&a, &w, "..data/b"), S("new")));
        CHECK_OK(volume_write(&w, &changed, &err), err); /* and the next time mends it */
        CHECK_STR(text_at(&a, &w, "b"), S("new"));
        CHECK_INT(payload_entries(&w), 4);
        if (!fired) {
            CHECK(n > 5);
            break;
        }
    }
    volume_files_fini(&w.files);
    arena_fini(&a);
}

TEST(host_paths_are_checked_as_their_type_says)
{
    static const struct {
        const char *type, *name, *refused; /* refused: what follows the path; NULL: fine */
    } rows[] = {
        {"", "dir", NULL},
        {"", "made", NULL},
        {"Directory", "dir", NULL},
        {"Directory", "none", "is not a directory"},
        {"Directory", "file", "is not a directory"},
        {"DirectoryOrCreate", "dir2/dir3", NULL},
        {"File", "file", NULL},
        {"File", "dir", "is not a file"},
        {"FileOrCreate", "file2", NULL},
        {"Socket", "file", "is not a socket"},
    };
    struct arena a = ARENA;
    struct err err = ERR;
    CHECK_OK(dir_make(arena_fmt(&a, "%s/dir", test_dir()).p, 0755, &err), err);
    CHECK_OK(file_write(AT_FDCWD, arena_fmt(&a, "%s/file", test_dir()).p, S("x"), 0644, &err), err);
    for (size_t i = 0; i < countof(rows); i++) {
        struct volume_work w = {.name = S("v"), .place = VOLUME_HOST, .fs_group = -1};
        w.path = arena_fmt(&a, "%s/%s", test_dir(), rows[i].name);
        w.host_type = str_of(rows[i].type);
        if (!rows[i].refused)
            CHECK_OK(volume_setup(&w, &err), err);
        else
            CHECK_STR(str_of(volume_setup(&w, &err) ? "accepted" : err.text),
                      arena_fmt(&a, "hostPath type check failed: " STR_FMT " %s", STR_ARG(w.path), rows[i].refused));
    }
    arena_fini(&a);
}
