#include "base/fault.h"
#include "base/test.h"
#include "oci/name.h"
#include "oci/pack.h"
#include "oci/unpack.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/limits.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <zlib.h>
#include <zstd.h>

/* A tar made by hand, so that it can say what no tool would. */
struct tarball {
    struct strbuf b;
};

static void tarball_entry(struct tarball *t, const char *name, char type, unsigned mode, const char *link,
                          const char *body)
{
    char h[512] = {0};
    size_t n = body ? strlen(body) : 0;
    (void)snprintf(h, 100, "%.99s", name);
    (void)snprintf(h + 100, 8, "%07o", mode);
    (void)snprintf(h + 108, 8, "%07o", 7);
    (void)snprintf(h + 116, 8, "%07o", 8);
    (void)snprintf(h + 124, 12, "%011o", (unsigned)n);
    (void)snprintf(h + 136, 12, "%011o", 1000000000);
    memset(h + 148, ' ', 8);
    h[156] = type;
    (void)snprintf(h + 157, 100, "%.99s", link ? link : "");
    memcpy(h + 257, "ustar\00000", 8);
    if (type == '3' || type == '4') {
        (void)snprintf(h + 329, 8, "%07o", 1);
        (void)snprintf(h + 337, 8, "%07o", body && *body == '0' ? 0 : 3);
        if (body && *body == '0')
            (void)snprintf(h + 329, 8, "%07o", 0);
        (void)snprintf(h + 124, 12, "%011o", 0);
        n = 0;
    }
    unsigned sum = 0;
    for (size_t i = 0; i < sizeof h; i++)
        sum += (unsigned char)h[i];
    (void)snprintf(h + 148, 8, "%06o", sum);
    strbuf_add(&t->b, (struct str){h, sizeof h});
    if (n)
        strbuf_add(&t->b, (struct str){body, n});
    static const char zeros[512];
    if (n % 512)
        strbuf_add(&t->b, (struct str){zeros, 512 - n % 512});
}

static void entry_bytes(struct tarball *t, const char *name, struct str body)
{
    static const char zeros[512];
    size_t at = t->b.n;
    char size[12];
    tarball_entry(t, name, '0', 0644, NULL, NULL);
    (void)snprintf(size, sizeof size, "%011o", (unsigned)body.n);
    memcpy(t->b.p + at + 124, size, 12);
    memset(t->b.p + at + 148, ' ', 8);
    unsigned sum = 0;
    for (size_t i = 0; i < 512; i++)
        sum += (unsigned char)t->b.p[at + i];
    (void)snprintf(t->b.p + at + 148, 8, "%06o", sum);
    strbuf_add(&t->b, body);
    if (body.n % 512)
        strbuf_add(&t->b, (struct str){zeros, 512 - body.n % 512});
}

static void tarball_finish(struct tarball *t)
{
    static const char zeros[1024];
    strbuf_add(&t->b, (struct str){zeros, sizeof zeros});
}

static int file_with(struct str bytes)
{
    char path[PATH_MAX];
    (void)snprintf(path, sizeof path, "%s/blob", test_dir());
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    CHECK(fd >= 0 && write(fd, bytes.p, bytes.n) == (ssize_t)bytes.n && lseek(fd, 0, SEEK_SET) == 0);
    return fd;
}

static int fresh_dir(void)
{
    static int n;
    char path[PATH_MAX];
    (void)snprintf(path, sizeof path, "%s/layer%d", test_dir(), n++);
    CHECK(mkdir(path, 0755) == 0);
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CHECK(fd >= 0);
    return fd;
}

static bool tarball_unpack(struct tarball *t, int into, struct err *err)
{
    const struct unpack_limits limits = UNPACK_LIMITS;
    struct digest d = digest_of(t->b.p, t->b.n);
    AUTO(fd_close) int blob = file_with(strbuf_str(&t->b));
    return layer_unpack(blob, into, &d, &limits, err);
}

static struct stat stat_at(int dir, const char *path)
{
    struct stat st;
    if (fstatat(dir, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
        test_failed(__FILE__, __LINE__, "%s: %s", path, strerror(errno));
    return st;
}

TEST(a_layer_unpacks_as_overlayfs_wants_it)
{
    struct err err = ERR;
    struct tarball t = {STRBUF(1 << 20)};
    char value[8] = {0};
    tarball_entry(&t, "./", '5', 0755, NULL, NULL);
    tarball_entry(&t, "bin/", '5', 0711, NULL, NULL);
    tarball_entry(&t, "bin/tool", '0', 04755, NULL, "#!/bin/sh\n");
    tarball_entry(&t, "bin/again", '1', 04755, "bin/tool", NULL);
    tarball_entry(&t, "bin/link", '2', 0777, "/etc/passwd", NULL);
    tarball_entry(&t, "made/on/the/way", '0', 0600, NULL, "x");
    tarball_entry(&t, "gone/.wh.old", '0', 0600, NULL, NULL);
    tarball_entry(&t, "fresh/.wh..wh..opq", '0', 0600, NULL, NULL);
    tarball_entry(&t, "fresh/new", '0', 0600, NULL, "n");
    tarball_entry(&t, "dev/fifo", '6', 0600, NULL, NULL);
    tarball_entry(&t, "dev/null", '3', 0666, NULL, "1");
    tarball_entry(&t, "bin/tool2", '0', 0600, NULL, "first");
    tarball_entry(&t, "bin/tool2", '0', 0640, NULL, "second");
    tarball_entry(&t, ".wh.back", '0', 0600, NULL, NULL);
    tarball_entry(&t, "back/", '5', 0755, NULL, NULL);
    tarball_finish(&t);
    AUTO(fd_close) int dir = fresh_dir();
    CHECK_OK(tarball_unpack(&t, dir, &err), err);
    CHECK_INT(stat_at(dir, "bin/tool").st_mode, S_IFREG | 04755);
    CHECK_INT(stat_at(dir, "bin/tool").st_uid, 7);
    CHECK_INT(stat_at(dir, "bin/tool").st_nlink, 2);
    CHECK_INT(stat_at(dir, "bin").st_mode, S_IFDIR | 0711);
    CHECK_INT(stat_at(dir, "bin").st_mtime, 1000000000);
    CHECK(S_ISLNK(stat_at(dir, "bin/link").st_mode));
    CHECK_INT(stat_at(dir, "made/on/the").st_mode, S_IFDIR | 0755);
    CHECK(S_ISCHR(stat_at(dir, "gone/old").st_mode) && stat_at(dir, "gone/old").st_rdev == 0);
    AUTO(fd_close) int fresh = openat(dir, "fresh", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CHECK(fgetxattr(fresh, "user.overlay.opaque", value, sizeof value) == 1 && value[0] == 'y');
    AUTO(fd_close) int back = openat(dir, "back", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CHECK(fgetxattr(back, "user.overlay.opaque", value, sizeof value) == 1); /* hidden below, new here */
    CHECK(S_ISFIFO(stat_at(dir, "dev/fifo").st_mode));
    CHECK_INT(stat_at(dir, "bin/tool2").st_size, 6);
    strbuf_fini(&t.b);
}

/* Whatever a layer says, nothing outside its folder is touched, and it is told what is wrong. */
TEST(a_layer_cannot_leave_its_folder)
{
    char outside[200], inside[PATH_MAX];
    struct stat st;
    (void)snprintf(outside, sizeof outside, "%s/outside", test_dir());
    CHECK(mkdir(outside, 0755) == 0);
    (void)snprintf(inside, sizeof inside, "%s/secret", outside);
    int fd = open(inside, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    CHECK(fd >= 0 && write(fd, "s", 1) == 1);
    fd_close(fd);
    const struct {
        const char *title;
        struct {
            const char *name;
            char type;
            const char *link, *body;
        } entries[3];
        const char *want; /* part of the error; NULL: unpacks, harmlessly */
    } cases[] = {
        {"dots", {{"../outside/evil", '0', NULL, "x"}}, "\"..\""},
        {"dots in the middle", {{"a/../../outside/evil", '0', NULL, "x"}}, "\"..\""},
        {"a link out, then through it", {{"l", '2', "../outside", NULL}, {"l/evil", '0', NULL, "x"}}, NULL},
        {"an absolute link, then through it", {{"l", '2', outside, NULL}, {"l/evil", '0', NULL, "x"}}, NULL},
        {"a hard link out", {{"h", '1', "../outside/secret", NULL}}, "\"..\""},
        {"an absolute hard link", {{"h", '1', inside, NULL}}, "not in this layer"},
        {"a hard link through a link",
         {{"l", '2', outside, NULL}, {"h", '1', "l/secret", NULL}},
         "not in this layer"},
        {"a hard link to a link, then through it",
         {{"l", '2', inside, NULL}, {"h", '1', "l", NULL}, {"h", '0', NULL, "x"}},
         NULL},
        {"a link replaced by a folder of files",
         {{"l", '2', outside, NULL}, {"l", '5', NULL, NULL}, {"l/evil", '0', NULL, "x"}},
         NULL},
        {"a whiteout of the folder around the layer", {{".wh...", '0', NULL, NULL}}, "no file's name"},
        {"a whiteout of the parent", {{"d/.wh...", '0', NULL, NULL}}, "no file's name"},
        {"a whiteout of the folder itself", {{"d/.wh..", '0', NULL, NULL}}, "no file's name"},
        {"a whiteout of the layer itself", {{".wh..", '0', NULL, NULL}}, "no file's name"},
        {"a whiteout of nothing", {{".wh.", '0', NULL, NULL}}, "without a name"},
        {"a whiteout behind a link out", {{"l", '2', outside, NULL}, {"l/.wh.secret", '0', NULL, NULL}}, NULL},
        {"an opaque folder behind a link out",
         {{"l", '2', outside, NULL}, {"l/.wh..wh..opq", '0', NULL, NULL}},
         NULL},
        {"a whiteout as a folder", {{".wh...", '5', NULL, NULL}}, "no file's name"},
        {"a whiteout as a link", {{".wh...", '2', outside, NULL}}, "no file's name"},
        {"a whiteout as a hard link", {{".wh...", '1', inside, NULL}}, "no file's name"},
        {"a device behind a link out", {{"l", '2', outside, NULL}, {"l/evil", '3', NULL, "1"}}, NULL},
        {"an absolute name", {{inside, '0', NULL, "xx"}}, NULL},
        {"overlayfs's own attribute",
         {{"pax", 'x', NULL, "38 SCHILY.xattr.user.overlay.opaque=y\n"}, {"d", '5', NULL, NULL}},
         "user.overlay.opaque belongs to overlayfs"},
        {"overlayfs's own device", {{"gone", '3', NULL, "0"}}, "0:0"},
        {"a proc link", {{"p", '2', "/proc/self/root", NULL}, {"p/tmp/evil", '0', NULL, "x"}}, NULL},
    };
    for (size_t i = 0; i < countof(cases); i++) {
        struct err err = ERR;
        struct tarball t = {STRBUF(1 << 20)};
        for (size_t k = 0; k < 3 && cases[i].entries[k].name; k++)
            tarball_entry(&t, cases[i].entries[k].name, cases[i].entries[k].type, 0666, cases[i].entries[k].link,
                          cases[i].entries[k].body);
        tarball_finish(&t);
        AUTO(fd_close) int dir = fresh_dir();
        bool ok = tarball_unpack(&t, dir, &err);
        if (cases[i].want ? ok || !strstr(err.text, cases[i].want) : !ok && !err.text[0])
            test_failed(__FILE__, __LINE__, "%s: %s, \"%s\"", cases[i].title, ok ? "unpacked" : "refused", err.text);
        (void)snprintf(inside, sizeof inside, "%s/evil", outside);
        if (lstat(inside, &st) == 0)
            test_failed(__FILE__, __LINE__, "%s: wrote outside", cases[i].title);
        (void)snprintf(inside, sizeof inside, "%s/secret", outside);
        if (lstat(inside, &st) < 0 || st.st_size != 1 || st.st_nlink != 1)
            test_failed(__FILE__, __LINE__, "%s: touched what is outside", cases[i].title);
        CHECK(access("/tmp/evil", F_OK) < 0);
        const char *const around[] = {test_dir(), outside};
        for (size_t k = 0; k < countof(around); k++)
            if (getxattr(around[k], "user.overlay.opaque", NULL, 0) >= 0)
                test_failed(__FILE__, __LINE__, "%s: marked %s", cases[i].title, around[k]);
        strbuf_fini(&t.b);
    }
}

TEST(layers_come_plain_gzipped_and_zstd_and_must_match_their_digest)
{
    struct err err = ERR;
    const struct unpack_limits limits = UNPACK_LIMITS, small = {.bytes = 1000, .entries = 100},
                               few = {.bytes = 1 << 20, .entries = 1};
    struct tarball t = {STRBUF(1 << 20)};
    tarball_entry(&t, "a", '0', 0644, NULL, "hello");
    tarball_entry(&t, "b", '0', 0644, NULL, "there");
    tarball_finish(&t);
    struct digest d = digest_of(t.b.p, t.b.n), other = digest_of("x", 1);
    unsigned char gz[65536], zs[65536];
    z_stream z = {.next_in = (void *)t.b.p, .avail_in = (unsigned)t.b.n, .next_out = gz, .avail_out = sizeof gz};
    CHECK(deflateInit2(&z, 9, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY) == Z_OK &&
          deflate(&z, Z_FINISH) == Z_STREAM_END);
    size_t gn = sizeof gz - z.avail_out;
    (void)deflateEnd(&z);
    size_t zn = ZSTD_compress(zs, sizeof zs, t.b.p, t.b.n, 3);
    const struct str forms[] = {strbuf_str(&t.b), {(char *)gz, gn}, {(char *)zs, zn}};
    for (size_t i = 0; i < countof(forms); i++) {
        AUTO(fd_close) int blob = file_with(forms[i]);
        AUTO(fd_close) int dir = fresh_dir();
        CHECK_OK(layer_unpack(blob, dir, &d, &limits, &err), err);
        CHECK_INT(stat_at(dir, "b").st_size, 5);
        CHECK(lseek(blob, 0, SEEK_SET) == 0);
        AUTO(fd_close) int dir2 = fresh_dir();
        CHECK(!layer_unpack(blob, dir2, &other, &limits, &err) && strstr(err.text, "its config says"));
        CHECK(lseek(blob, 0, SEEK_SET) == 0);
        AUTO(fd_close) int dir3 = fresh_dir();
        err = ERR;
        CHECK(!layer_unpack(blob, dir3, &d, &small, &err));
        CHECK_INT(err.kind, E_TOO_LARGE);
        CHECK(lseek(blob, 0, SEEK_SET) == 0);
        AUTO(fd_close) int dir4 = fresh_dir();
        err = ERR;
        CHECK(!layer_unpack(blob, dir4, &d, &few, &err));
        CHECK_INT(err.kind, E_TOO_LARGE);
        AUTO(fd_close) int cut = file_with(str_sub(forms[i], 0, forms[i].n / 2));
        AUTO(fd_close) int dir5 = fresh_dir();
        CHECK(!layer_unpack(cut, dir5, &d, &limits, &err));
    }
    strbuf_fini(&t.b);
}

static void pack_small(const char *out, const char *name)
{
    struct err err = ERR;
    char passwd[PATH_MAX];
    (void)snprintf(passwd, sizeof passwd, "%s/passwd", test_dir());
    int fd = open(passwd, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    static const char text[] = "root:x:0:0:root:/root:/bin/sh\napp:x:100:101:App:/home/app:/bin/sh\n";
    CHECK(fd >= 0 && write(fd, text, sizeof text - 1) == sizeof text - 1);
    fd_close(fd);
    const struct oci_pack_file files[] = {{"bin/busybox", "/bin/busybox", NULL, 0755},
                                          {"bin/sh", NULL, "busybox", 0},
                                          {"etc/passwd", passwd, NULL, 0644},
                                          {"tmp", NULL, NULL, 01777}};
    const struct oci_pack p = {.name = str_of(name),
                               .files = files,
                               .nfiles = countof(files),
                               .entrypoint = {(struct str[]){S("/bin/sh")}, 1},
                               .cmd = {(struct str[]){S("-c"), S("echo \"hi\"")}, 2},
                               .env = {(struct str[]){S("PATH=/bin")}, 1},
                               .ports = {(struct str[]){S("80/tcp")}, 1},
                               .user = S("app"),
                               .workdir = S("/tmp")};
    CHECK_OK(oci_pack(&p, out, &err), err);
}

TEST(what_is_packed_loads_and_says_what_it_was_packed_with)
{
    struct err err = ERR;
    AUTO(arena_fini) struct arena a = ARENA;
    char archive[PATH_MAX], again[PATH_MAX], store[PATH_MAX];
    struct strs names;
    struct digest manifest;
    struct image im;
    struct image_user user;
    (void)snprintf(archive, sizeof archive, "%s/a.tar", test_dir());
    (void)snprintf(again, sizeof again, "%s/b.tar", test_dir());
    (void)snprintf(store, sizeof store, "%s/store", test_dir());
    pack_small(archive, "demo:1");
    pack_small(again, "demo:1");
    AUTO(strbuf_fini) struct strbuf one = STRBUF(16 << 20), two = STRBUF(16 << 20);
    for (int i = 0; i < 2; i++) {
        AUTO(fd_close) int fd = open(i ? again : archive, O_RDONLY | O_CLOEXEC);
        char buf[65536];
        for (ssize_t n; (n = read(fd, buf, sizeof buf)) > 0;)
            strbuf_add(i ? &two : &one, (struct str){buf, (size_t)n});
    }
    CHECK(one.n > 100000 && str_eq(strbuf_str(&one), strbuf_str(&two))); /* reproducible */
    AUTO(content_free) struct content *c = content_open(store, &err);
    CHECK_OK(c, err);
    AUTO(fd_close) int fd = open(archive, O_RDONLY | O_CLOEXEC);
    CHECK_OK(archive_load(c, fd, S(""), &a, &names, &manifest, &err), err);
    CHECK_INT(names.n, 1);
    CHECK_STR(names.p[0], S("docker.io/library/demo:1"));
    CHECK_OK(image_read(c, &a, names.p[0], &im, &err), err);
    CHECK_STR(im.entrypoint.p[0], S("/bin/sh"));
    CHECK_STR(im.cmd.p[1], S("echo \"hi\""));
    CHECK_STR(im.ports.p[0], S("80/tcp"));
    CHECK_STR(im.workdir, S("/tmp"));
    CHECK_OK(image_user_find(&im, S(""), &user, &err), err);
    CHECK_INT(user.uid, 100);
    CHECK_INT(user.gid, 101);
    CHECK(!image_user_find(&im, S("nobody"), &user, &err) && strstr(err.text, "unable to find user nobody"));
    CHECK_OK(image_user_find(&im, S("5:6"), &user, &err), err);
    CHECK_INT(user.gid, 6);
    /* removed: nothing is left; in use: refused */
    int64_t freed = 0;
    CHECK_OK(content_use(c, S("c1"), &manifest, &err), err);
    CHECK(!image_remove(c, names.p[0], &freed, &err) && err.kind == E_CONFLICT);
    content_unuse(c, S("c1"));
    err = ERR;
    CHECK_OK(image_remove(c, S("demo:1"), &freed, &err), err); /* short names do */
    CHECK(freed > 1000000);
    CHECK(!image_read(c, &a, names.p[0], &im, &err) && err.kind == E_NOT_FOUND);
    CHECK(!content_has_blob(c, &manifest));
}

/* Every call out of the process fails once; the image is then there whole or not at all, and loads afterwards. */
TEST(a_load_that_fails_anywhere_leaves_nothing_half)
{
    AUTO(arena_fini) struct arena a = ARENA;
    char archive[PATH_MAX], store[PATH_MAX];
    struct strs names;
    struct digest manifest;
    struct image im;
    (void)snprintf(archive, sizeof archive, "%s/a.tar", test_dir());
    (void)snprintf(store, sizeof store, "%s/store", test_dir());
    pack_small(archive, "demo:1");
    int n = 1;
    for (; n < 200; n++) {
        struct err err = ERR;
        AUTO(content_free) struct content *c = content_open(store, &err);
        CHECK_OK(c, err);
        AUTO(fd_close) int fd = open(archive, O_RDONLY | O_CLOEXEC);
        fault_at(n);
        bool ok = archive_load(c, fd, S(""), &a, &names, &manifest, &err);
        bool fired = fault_fired();
        fault_at(0);
        CHECK(ok || err.text[0]);
        err = ERR;
        bool there = image_read(c, &a, S("docker.io/library/demo:1"), &im, &err);
        CHECK(there || err.kind == E_NOT_FOUND);
        CHECK(!ok || there);
        int64_t freed;
        err = ERR;
        if (there)
            CHECK_OK(image_remove(c, S("docker.io/library/demo:1"), &freed, &err), err);
        CHECK_OK(content_gc(c, &freed, &err), err);
        if (!fired)
            break;
    }
    CHECK(n > 10 && n < 200);
}

/* `docker save` as it was for years: layers by folder, one a link to another, config and names in manifest.json. */
TEST(a_docker_archive_loads_too)
{
    struct err err = ERR;
    AUTO(arena_fini) struct arena a = ARENA;
    char store[PATH_MAX], config[1000];
    struct strs names;
    struct digest manifest;
    struct image im;
    struct tarball layer = {STRBUF(1 << 20)}, whole = {STRBUF(1 << 20)};
    tarball_entry(&layer, "hello", '0', 0644, NULL, "world");
    tarball_finish(&layer);
    struct digest diff = digest_of(layer.b.p, layer.b.n);
    (void)snprintf(config, sizeof config,
                   "{\"os\":\"linux\",\"architecture\":\"%s\",\"config\":{\"Cmd\":[\"/"
                   "hello\"]},\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"sha256:%s\",\"sha256:%s\"]}}",
                   machine_arch(), diff.hex, diff.hex);
    tarball_entry(
        &whole, "manifest.json", '0', 0644, NULL,
        "[{\"Config\":\"c.json\",\"RepoTags\":[\"team/old:1\",\"team/old:2\"],\"Layers\":[\"one/layer.tar\",\"two/"
        "layer.tar\"]}]");
    tarball_entry(&whole, "c.json", '0', 0644, NULL, config);
    tarball_entry(&whole, "two/layer.tar", '2', 0644, "../one/layer.tar", NULL);
    entry_bytes(&whole, "one/layer.tar", strbuf_str(&layer.b));
    tarball_finish(&whole);
    (void)snprintf(store, sizeof store, "%s/store", test_dir());
    AUTO(content_free) struct content *c = content_open(store, &err);
    CHECK_OK(c, err);
    AUTO(fd_close) int fd = file_with(strbuf_str(&whole.b));
    CHECK_OK(archive_load(c, fd, S(""), &a, &names, &manifest, &err), err);
    CHECK_INT(names.n, 2);
    CHECK_STR(names.p[1], S("docker.io/team/old:2"));
    CHECK_OK(image_read(c, &a, names.p[1], &im, &err), err);
    CHECK_INT(im.nlayers, 2);
    CHECK_STR(im.cmd.p[0], S("/hello"));
    strbuf_fini(&layer.b);
    strbuf_fini(&whole.b);
}

TEST(what_is_no_archive_says_so)
{
    AUTO(arena_fini) struct arena a = ARENA;
    char store[PATH_MAX];
    struct strs names;
    struct digest manifest;
    struct err err = ERR;
    struct tarball empty = {STRBUF(1 << 20)};
    tarball_entry(&empty, "readme", '0', 0644, NULL, "nothing");
    tarball_finish(&empty);
    (void)snprintf(store, sizeof store, "%s/store", test_dir());
    AUTO(content_free) struct content *c = content_open(store, &err);
    CHECK_OK(c, err);
    AUTO(fd_close) int tar = file_with(strbuf_str(&empty.b));
    CHECK(!archive_load(c, tar, S(""), &a, &names, &manifest, &err) && strstr(err.text, "not an OCI archive"));
    AUTO(fd_close) int text = file_with(S("hello, I am no archive at all, and longer than a block? no"));
    err = ERR;
    CHECK(!archive_load(c, text, S(""), &a, &names, &manifest, &err) && err.text[0]);
    strbuf_fini(&empty.b);
    /* a store that a later wherry made */
    char path[PATH_MAX + 10];
    (void)snprintf(path, sizeof path, "%s/format", store);
    int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
    CHECK(fd >= 0 && write(fd, "wherry-content 2\n", 17) == 17);
    fd_close(fd);
    err = ERR;
    CHECK(!content_open(store, &err) && strstr(err.text, "wherry-content 2") && strstr(err.text, "use the newer"));
}
