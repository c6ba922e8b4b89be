#include "base/clock.h"
#include "base/map.h"
#include "base/test.h"
#include "oci/jobs.h"
#include "oci/name.h"
#include "oci/pack.h"
#include "oci/pull.h"
#include "oci/registry.h"
#include "sys/cert.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/limits.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

/* An image in a store of its own ("from"), which a registry then serves. */
struct world {
    struct arena arena;
    struct content *from;
    struct digest manifest;
    struct image image;
    struct loop *loop;
    char job[PATH_MAX], store[200];
    bool done, failed;
    struct err err;
    struct str digest_name;
    struct digest got;
    int64_t progress;
};

static void network_enter(void)
{
    CHECK(unshare(CLONE_NEWNET) == 0);
    AUTO(fd_close) int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct ifreq r = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
    CHECK(s >= 0 && ioctl(s, SIOCSIFFLAGS, &r) == 0);
}

static void world_begin(struct world *w)
{
    struct err err = ERR;
    char archive[PATH_MAX], from[PATH_MAX];
    struct strs names;
    *w = (struct world){0};
    network_enter();
    ssize_t n = readlink("/proc/self/exe", w->job, sizeof w->job - 20);
    CHECK(n > 0);
    w->job[n] = 0;
    memcpy(strrchr(w->job, '/'), "/wherry-job", 12);
    (void)snprintf(w->store, sizeof w->store, "%s/store", test_dir());
    (void)snprintf(from, sizeof from, "%s/from", test_dir());
    (void)snprintf(archive, sizeof archive, "%s/a.tar", test_dir());
    const struct oci_pack_file files[] = {{"bin/busybox", "/bin/busybox", NULL, 0755}};
    const struct oci_pack p = {
        .name = S("team/app:1"), .files = files, .nfiles = 1, .cmd = {(struct str[]){S("/bin/busybox")}, 1}};
    CHECK_OK(oci_pack(&p, archive, &err), err);
    CHECK_OK(image_load(w->job, from, archive, S(""), &w->arena, &names, &w->manifest, &err), err);
    w->from = content_open(from, &err);
    CHECK_OK(w->from, err);
    CHECK_OK(image_read(w->from, &w->arena, names.p[0], &w->image, &err), err);
    w->loop = loop_new(&err);
    CHECK_OK(w->loop, err);
}

static void world_end(struct world *w)
{
    loop_free(w->loop);
    content_free(w->from);
    arena_fini(&w->arena);
}

static void pull_done(void *arg, const struct digest *manifest, const struct strs *names, const struct err *err)
{
    struct world *w = arg;
    w->done = true;
    w->failed = err != NULL;
    if (err) {
        w->err = *err;
        return;
    }
    w->got = *manifest;
    w->digest_name = str_dup(&w->arena, names->p[0]);
}

static void pull_progress(void *arg, int64_t done, int64_t total)
{
    struct world *w = arg;
    CHECK(done >= 0 && done <= total);
    w->progress = done;
}

static bool pull_with(struct world *w, struct pull_request r)
{
    static const struct image_pull_events on = {pull_progress, pull_done};
    int64_t end = clock_mono() + 30 * NS_PER_S;
    r.store = str_of(w->store);
    w->done = false;
    w->err = ERR;
    (void)image_pull_start(w->loop, w->job, &r, &on, w);
    while (!w->done) {
        CHECK(clock_mono() < end);
        (void)loop_run_once(w->loop, 100 * NS_PER_MS);
    }
    return !w->failed;
}

static void check_there(struct world *w, struct str name)
{
    struct err err = ERR;
    struct image im;
    struct image_name n;
    AUTO(content_free) struct content *c = content_open(w->store, &err);
    CHECK_OK(c, err);
    CHECK_OK(image_name_parse(&w->arena, name, &n, &err), err);
    CHECK_OK(image_read(c, &w->arena, n.full, &im, &err), err);
    CHECK(digest_eq(&im.manifest, &w->manifest));
    CHECK(digest_eq(&im.layers[0], &w->image.layers[0]));
    CHECK_OK(image_read(c, &w->arena, w->digest_name, &im, &err), err);
}

static void forget_all(struct world *w)
{
    struct err err = ERR;
    struct content_refs refs;
    AUTO(content_free) struct content *c = content_open(w->store, &err);
    CHECK_OK(c, err);
    CHECK_OK(content_refs(c, &w->arena, &refs, &err), err);
    array_each (r, &refs.list)
        CHECK_OK(content_ref_del(c, r->name, &err), err);
    array_fini(&refs.list);
    int64_t freed;
    CHECK_OK(content_gc(c, &freed, &err), err);
}

/* ---- Debian's docker-registry: its folder is written as it keeps it, so nothing needs to push ---- */

static void file_put(const char *path, const void *p, size_t n)
{
    char dir[PATH_MAX];
    for (const char *s = strchr(path + 1, '/'); s; s = strchr(s + 1, '/')) {
        (void)snprintf(dir, sizeof dir, "%.*s", (int)(s - path), path);
        (void)mkdir(dir, 0755);
    }
    AUTO(fd_close) int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    CHECK(fd >= 0 && write(fd, p, n) == (ssize_t)n);
}

static void registry_fill(struct world *w, const char *root)
{
    char path[PATH_MAX], link[100];
    struct err err = ERR;
    for (size_t i = 0; i < w->image.nblobs; i++) {
        const struct digest *d = &w->image.blobs[i];
        AUTO(strbuf_fini) struct strbuf b = STRBUF(64 << 20);
        CHECK_OK(content_blob_read(w->from, d, 32 << 20, &b, &err), err);
        (void)snprintf(path, sizeof path, "%s/docker/registry/v2/blobs/sha256/%.2s/%s/data", root, d->hex, d->hex);
        file_put(path, b.p, b.n);
        (void)snprintf(link, sizeof link, "sha256:%s", d->hex);
        (void)snprintf(path, sizeof path, "%s/docker/registry/v2/repositories/team/app/%s/sha256/%s/link", root,
                       i == 0 ? "_manifests/revisions" : "_layers", d->hex);
        file_put(path, link, strlen(link));
        if (i)
            continue;
        (void)snprintf(path, sizeof path,
                       "%s/docker/registry/v2/repositories/team/app/_manifests/tags/1/current/link", root);
        file_put(path, link, strlen(link));
        (void)snprintf(path, sizeof path,
                       "%s/docker/registry/v2/repositories/team/app/_manifests/tags/1/index/sha256/%s/link", root,
                       d->hex);
        file_put(path, link, strlen(link));
    }
}

/* Until it has written that it listens. */
static void wait_listening(int log)
{
    char text[16384];
    size_t n = 0;
    while (n < sizeof text - 1) {
        ssize_t got = read(log, text + n, sizeof text - 1 - n);
        CHECK(got > 0);
        text[n += (size_t)got] = 0;
        if (strstr(text, "listening on"))
            return;
    }
    CHECK(!"registry does not listen");
}

enum { AUTH = 1, TLS = 2 };

static pid_t registry_start(struct world *w, const char *addr, int how)
{
    char conf[PATH_MAX], root[PATH_MAX - 200], text[PATH_MAX], passwords[PATH_MAX - 200];
    (void)snprintf(root, sizeof root, "%s/registry", test_dir());
    (void)snprintf(conf, sizeof conf, "%s/registry.yml", test_dir());
    (void)snprintf(passwords, sizeof passwords, "%s/htpasswd", test_dir());
    char tls[600];
    (void)snprintf(tls, sizeof tls, ", tls: {certificate: %s/crt, key: %s/key}", test_dir(), test_dir());
    /* user:secret */
    static const char line[] = "user:$2b$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n";
    file_put(passwords, line, sizeof line - 1);
    int n = snprintf(text, sizeof text,
                     "version: 0.1\nlog: {level: info}\nstorage: {filesystem: {rootdirectory: %.1500s}}\n"
                     "http: {addr: \"%s\"%s}\n",
                     root, addr, how & TLS ? tls : "");
    if (how & AUTH)
        n += snprintf(text + n, sizeof text - (size_t)n, "auth: {htpasswd: {realm: test, path: %.1500s}}\n",
                      passwords);
    file_put(conf, text, (size_t)n);
    registry_fill(w, root);
    int log[2];
    CHECK(pipe2(log, O_CLOEXEC) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void)dup2(log[1], 1);
        (void)dup2(log[1], 2);
        (void)execlp("docker-registry", "docker-registry", "serve", conf, (char *)NULL);
        _exit(127);
    }
    fd_close(log[1]);
    wait_listening(log[0]); /* its reading end stays open with this test: what else it says goes nowhere, and soon */
    return pid;
}

static void end_process(pid_t pid)
{
    (void)kill(pid, SIGKILL);
    (void)waitpid(pid, NULL, 0);
}

TEST(pulls_from_debians_registry)
{
    struct world w;
    world_begin(&w);
    pid_t registry = registry_start(&w, "127.0.0.1:5000", 0);
    if (!pull_with(&w, (struct pull_request){.image = S("127.0.0.1:5000/team/app:1")}))
        test_failed(__FILE__, __LINE__, "%s", w.err.text);
    check_there(&w, S("127.0.0.1:5000/team/app:1"));
    CHECK(str_starts(w.digest_name, S("127.0.0.1:5000/team/app@sha256:")));
    CHECK(w.progress > 1000000);
    /* by digest, from a mirror, and with upstream's words when it is not there */
    forget_all(&w);
    struct str by_digest = arena_fmt(&w.arena, "127.0.0.1:5000/team/app@sha256:%s", w.manifest.hex);
    CHECK(pull_with(&w, (struct pull_request){.image = by_digest}));
    check_there(&w, by_digest);
    forget_all(&w);
    struct pull_mirror m = {S("docker.io"), S("http://127.0.0.1:5000/")};
    CHECK(pull_with(&w, (struct pull_request){.image = S("team/app:1"), .mirrors = &m, .nmirrors = 1}));
    check_there(&w, S("docker.io/team/app:1"));
    CHECK(!pull_with(&w, (struct pull_request){.image = S("127.0.0.1:5000/team/app:2")}));
    CHECK_INT(w.err.kind, E_NOT_FOUND);
    CHECK_STR(str_of(w.err.text), S("failed to pull and unpack image \"127.0.0.1:5000/team/app:2\": failed to "
                                    "resolve image: 127.0.0.1:5000/team/app:2: not found (404 manifest unknown)"));
    CHECK(!pull_with(&w, (struct pull_request){.image = S("127.0.0.1:5999/team/app:1")}));
    CHECK(strstr(w.err.text, "dial tcp 127.0.0.1:5999: connect: connection refused"));
    CHECK(!pull_with(&w, (struct pull_request){.image = S("no.such.host.invalid/a:1")}));
    CHECK(strstr(w.err.text, "lookup no.such.host.invalid: no such host"));
    CHECK(!pull_with(&w, (struct pull_request){.image = S("x/UPPER")}));
    CHECK_INT(w.err.kind, E_INVALID);
    end_process(registry);
    world_end(&w);
}

TEST(pulls_with_a_password)
{
    struct world w;
    struct pull_credential wrong = {S("user"), S("wrong")};
    world_begin(&w);
    pid_t registry = registry_start(&w, "127.0.0.1:5000", AUTH);
    CHECK(!pull_with(&w, (struct pull_request){.image = S("127.0.0.1:5000/team/app:1")}));
    CHECK_INT(w.err.kind, E_UNAUTHORIZED);
    CHECK(strstr(w.err.text, "pull access denied, repository does not exist or may require authorization"));
    CHECK(!pull_with(&w, (struct pull_request){
                             .image = S("127.0.0.1:5000/team/app:1"), .credentials = &wrong, .ncredentials = 1}));
    CHECK_INT(w.err.kind, E_UNAUTHORIZED);
    struct pull_credential some[] = {wrong, {S("user"), S("other")}, {S("user"), S("secret")}};
    if (!pull_with(&w, (struct pull_request){
                           .image = S("127.0.0.1:5000/team/app:1"), .credentials = some, .ncredentials = 3}))
        test_failed(__FILE__, __LINE__, "%s", w.err.text);
    check_there(&w, S("127.0.0.1:5000/team/app:1"));
    end_process(registry);
    world_end(&w);
}

/* A certificate of our own for 10.9.9.9, an address that is not this machine's by its name. */
static void certificate_make(void)
{
    struct err err = ERR;
    char path[200];
    AUTO(key_free) struct cert_key *key = key_new();
    AUTO(strbuf_fini) struct strbuf pem = STRBUF(65536), crt = STRBUF(65536);
    const struct cert_spec spec = {.cn = S("registry"),
                                   .ips = (struct str[]){S("10.9.9.9")},
                                   .nips = 1,
                                   .server = true,
                                   .ca = true,
                                   .not_after = clock_real() + 3600 * NS_PER_S};
    key_pem(key, &pem);
    CHECK_OK(cert_make(&spec, key, S(""), NULL, &crt, &err), err);
    (void)snprintf(path, sizeof path, "%s/key", test_dir());
    file_put(path, pem.p, pem.n);
    (void)snprintf(path, sizeof path, "%s/crt", test_dir());
    file_put(path, crt.p, crt.n);
    AUTO(fd_close) int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct ifreq r = {.ifr_name = "lo:1"};
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x0a090909)};
    memcpy(&r.ifr_addr, &at, sizeof at);
    CHECK(s >= 0 && ioctl(s, SIOCSIFADDR, &r) == 0);
}

TEST(pulls_over_tls_only_from_whom_it_knows)
{
    struct world w;
    char ca[200];
    world_begin(&w);
    certificate_make();
    (void)snprintf(ca, sizeof ca, "%s/crt", test_dir());
    pid_t registry = registry_start(&w, "10.9.9.9:5443", TLS);
    CHECK(!pull_with(&w, (struct pull_request){.image = S("10.9.9.9:5443/team/app:1")}));
    CHECK(strstr(w.err.text, "tls: failed to verify certificate"));
    if (!pull_with(&w, (struct pull_request){.image = S("10.9.9.9:5443/team/app:1"), .ca_file = str_of(ca)}))
        test_failed(__FILE__, __LINE__, "%s", w.err.text);
    check_there(&w, S("10.9.9.9:5443/team/app:1"));
    forget_all(&w);
    struct strs insecure = {(struct str[]){S("10.9.9.9:5443"), S("10.9.9.9:5000")}, 2};
    CHECK(pull_with(&w, (struct pull_request){.image = S("10.9.9.9:5443/team/app:1"), .insecure = insecure}));
    end_process(registry);
    /* plain http only where it is allowed */
    forget_all(&w);
    registry = registry_start(&w, "10.9.9.9:5000", 0);
    CHECK(!pull_with(&w, (struct pull_request){.image = S("10.9.9.9:5000/team/app:1")}));
    if (!pull_with(&w, (struct pull_request){.image = S("10.9.9.9:5000/team/app:1"), .insecure = insecure}))
        test_failed(__FILE__, __LINE__, "%s", w.err.text);
    check_there(&w, S("10.9.9.9:5000/team/app:1"));
    end_process(registry);
    world_end(&w);
}

/* ---- a registry that misbehaves, by a script ---- */

struct script {
    bool bearer;    /* a token service stands before it */
    bool cuts;      /* the first answer with a large blob ends in the middle */
    bool no_ranges; /* and it cannot resume */
    bool lies;      /* the last byte of blobs is another */
    bool endless;   /* a blob does not end where its manifest says */
    bool lies_manifest;
    bool busy_first; /* 503 to the first request */
    bool index;      /* the tag leads to an index with entries for other machines */
    bool wrong_arch; /* ... only for others */
};

static void script_serve(struct world *w, int listener, const struct script *script, int requests)
{
    bool cut = false, busy = false;
    AUTO(strbuf_fini) struct strbuf index = STRBUF(8192);
    strbuf_addf(
        &index,
        "{\"schemaVersion\":2,\"mediaType\":\"" MEDIA_OCI_INDEX
        "\",\"manifests\":[{\"digest\":\"sha256:%064d\",\"size\":1,\"platform\":{\"os\":\"windows\",\"architecture\":"
        "\"amd64\"}},{\"digest\":\"sha256:%s\",\"size\":1,\"platform\":{\"os\":\"linux\",\"architecture\":\"%s\"}}]}",
        0, w->manifest.hex, script->wrong_arch ? "vax" : machine_arch());
    for (int served = 0;; served++) {
        AUTO(fd_close) int s = accept(listener, NULL, NULL);
        char req[8192] = {0};
        size_t n = 0;
        while (!strstr(req, "\r\n\r\n") && n < sizeof req - 1) {
            ssize_t got = read(s, req + n, sizeof req - 1 - n);
            if (got <= 0)
                break;
            n += (size_t)got;
        }
        (void)!write(requests, req, n);
        AUTO(strbuf_fini) struct strbuf body = STRBUF(64 << 20);
        char head[600];
        struct err err = ERR;
        int status = 200;
        const char *extra = "";
        char *blob = strstr(req, "/blobs/sha256:"), *manifest = strstr(req, "/manifests/"),
             *range = strstr(req, "Range: bytes=");
        if (script->busy_first && !busy) {
            busy = true;
            status = 503;
        } else if (strstr(req, "GET /token?")) {
            bool asked = strstr(req, "service=reg") && strstr(req, "scope=repository%3Ateam%2Fapp%3Apull") &&
                         strstr(req, "Authorization: Basic dTpw\r\n");
            status = asked ? 200 : 403;
            strbuf_addz(&body,
                        asked ? "{\"token\":\"good\"}" : "{\"errors\":[{\"code\":\"DENIED\",\"message\":\"no\"}]}");
        } else if (script->bearer && !strstr(req, "Authorization: Bearer good\r\n")) {
            status = 401;
            extra = "WWW-Authenticate: Bearer "
                    "realm=\"http://127.0.0.1:5001/token\",service=\"reg\",scope=\"repository:team/app:pull\"\r\n";
        } else if (blob || manifest) {
            struct digest d;
            char text[DIGEST_TEXT + 1];
            (void)snprintf(text, sizeof text, "%.71s", blob ? blob + 7 : manifest + 11);
            bool by_digest = digest_parse(str_of(text), &d, &err);
            if (!by_digest && script->index)
                strbuf_add(&body, strbuf_str(&index));
            else
                CHECK_OK(content_blob_read(w->from, by_digest ? &d : &w->manifest, 32 << 20, &body, &err), err);
            if ((blob && script->lies) || (manifest && script->lies_manifest))
                body.p[body.n - 1] ^= 1;
        } else {
            status = 404;
        }
        if (blob && script->endless)
            (void)strbuf_room(&body, 4 << 20), strbuf_used(&body, 4 << 20);
        size_t from = 0, upto = body.n;
        if (range && blob && !script->no_ranges && status == 200) {
            from = strtoul(range + 13, NULL, 10);
            status = 206;
        }
        if (script->cuts && !cut && blob && body.n > 100000) {
            cut = true;
            upto = body.n / 2;
        }
        int h = snprintf(head, sizeof head, "HTTP/1.1 %d x\r\n%sContent-Length: %zu\r\nConnection: close\r\n", status,
                         extra, body.n - from);
        if (status == 206)
            h += snprintf(head + h, sizeof head - (size_t)h, "Content-Range: bytes %zu-%zu/%zu\r\n", from, body.n - 1,
                          body.n);
        h += snprintf(head + h, sizeof head - (size_t)h, "\r\n");
        (void)!write(s, head, (size_t)h);
        while (from < upto) {
            ssize_t done = write(s, body.p + from, upto - from);
            if (done <= 0)
                break;
            from += (size_t)done;
        }
    }
}

static struct str pull_scripted(struct world *w, struct script script, bool want)
{
    struct sockaddr_in at = {
        .sin_family = AF_INET, .sin_port = htons(5001), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    AUTO(fd_close) int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int one = 1, requests[2];
    (void)setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    CHECK(bind(listener, (struct sockaddr *)&at, sizeof at) == 0 && listen(listener, 16) == 0);
    CHECK(pipe(requests) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        script_serve(w, listener, &script, requests[1]);
    }
    fd_close(requests[1]);
    bool ok = pull_with(w, (struct pull_request){.image = S("127.0.0.1:5001/team/app:1"),
                                                 .credentials = &(struct pull_credential){S("u"), S("p")},
                                                 .ncredentials = script.bearer,
                                                 .retries = 3});
    end_process(pid);
    if (ok != want)
        test_failed(__FILE__, __LINE__, "%s", ok ? "it worked" : w->err.text);
    AUTO(strbuf_fini) struct strbuf b = STRBUF(1 << 20);
    char buf[4096];
    for (ssize_t n; (n = read(requests[0], buf, sizeof buf)) > 0;)
        strbuf_add(&b, (struct str){buf, (size_t)n});
    fd_close(requests[0]);
    if (ok)
        check_there(w, S("127.0.0.1:5001/team/app:1"));
    forget_all(w);
    return str_dup(&w->arena, strbuf_str(&b));
}

TEST(a_pull_gets_past_what_registries_do)
{
    struct world w;
    world_begin(&w);
    (void)pull_scripted(&w, (struct script){0}, true);
    (void)pull_scripted(&w, (struct script){.bearer = true}, true);
    (void)pull_scripted(&w, (struct script){.index = true}, true);
    struct str asked = pull_scripted(&w, (struct script){.cuts = true}, true);
    CHECK(str_has(asked, S("Range: bytes="))); /* resumed where it ended */
    (void)pull_scripted(&w, (struct script){.cuts = true, .no_ranges = true}, true);
    (void)pull_scripted(&w, (struct script){.busy_first = true}, true);
    world_end(&w);
}

TEST(a_pull_takes_nothing_that_is_not_what_it_says)
{
    struct world w;
    world_begin(&w);
    (void)pull_scripted(&w, (struct script){.lies = true}, false);
    CHECK(strstr(w.err.text, "wanted sha256:"));
    (void)pull_scripted(&w, (struct script){.endless = true}, false);
    CHECK(strstr(w.err.text, "has more bytes than its manifest says"));
    (void)pull_scripted(&w, (struct script){.index = true, .lies_manifest = true}, false);
    (void)pull_scripted(&w, (struct script){.index = true, .wrong_arch = true}, false);
    CHECK_INT(w.err.kind, E_NOT_FOUND);
    CHECK(strstr(w.err.text, "no match for platform in manifest"));
    struct err err = ERR;
    AUTO(content_free) struct content *c = content_open(w.store, &err);
    CHECK_OK(c, err);
    CHECK(!content_has_blob(c, &w.image.blobs[2]));
    world_end(&w);
}

TEST(challenges_are_read)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct challenge c;
    challenge_parse(&a, S("Bearer realm=\"https://auth/t\\\"x\", service=reg,scope=\"a b\""), &c);
    CHECK(c.scheme == CHALLENGE_BEARER);
    CHECK_STR(c.realm, S("https://auth/t\"x"));
    CHECK_STR(c.service, S("reg"));
    CHECK_STR(c.scope, S("a b"));
    challenge_parse(&a, S("basic realm=x"), &c);
    CHECK(c.scheme == CHALLENGE_BASIC);
    challenge_parse(&a, S("Bearer service=\"x"), &c);
    CHECK(c.scheme == CHALLENGE_NONE);
    challenge_parse(&a, S(""), &c);
    CHECK(c.scheme == CHALLENGE_NONE);
    static const char *const several[] = {
        "Negotiate, Bearer realm=\"https://t\",service=reg",
        "Bearer realm=\"https://t\", service=\"reg\", Basic realm=\"x, y\"",
        "Basic realm=\"x\",Bearer realm = \"https://t\" , service= reg",
        "Negotiate YIIabc+/==, Digest qop=\"auth\", realm=r, Bearer realm=https://t,service=reg",
        "NTLM, , bearer REALM=https://t,SERVICE=reg, error=\"insufficient_scope\"",
        "Bearer service=other, Bearer realm=https://t,service=reg",
    };
    for (size_t i = 0; i < countof(several); i++) {
        challenge_parse(&a, str_of(several[i]), &c);
        CHECK(c.scheme == CHALLENGE_BEARER);
        CHECK_STR(c.realm, S("https://t"));
        CHECK_STR(c.service, S("reg"));
    }
    challenge_parse(&a, S("Negotiate abc==, Basic realm=x"), &c);
    CHECK(c.scheme == CHALLENGE_BASIC);
    CHECK_STR(
        registry_error(&a, S("{\"errors\":[{\"code\":\"MANIFEST_UNKNOWN\",\"message\":\"manifest unknown\"}]}")),
        S("manifest unknown"));
}

TEST(only_addresses_of_this_machine_are_spoken_to_without_tls)
{
    const struct {
        const char *registry;
        bool local;
    } cases[] = {
        {"localhost", true},
        {"localhost:5000", true},
        {"LOCALHOST:5000", true},
        {"127.0.0.1", true},
        {"127.0.0.1:5000", true},
        {"127.255.255.254:1", true},
        {"[::1]", true},
        {"[::1]:5000", true},
        {"127.evil.example", false},
        {"127.0.0.1.evil.example", false},
        {"127.0.0.1.evil.example:5000", false},
        {"127.0.0.evil", false},
        {"127.0.0", false},
        {"127", false},
        {"127.", false},
        {"127.0.0.", false},
        {"127.0.0.1.", false},
        {"127.0.0.256", false},
        {"127.0.0.01", false},
        {"127.0.0.1000", false},
        {"0127.0.0.1", false},
        {"127.0.0.0x1", false},
        {"127.0.0.1-evil.example", false},
        {"127-0-0-1.example", false},
        {"128.0.0.1", false},
        {"localhost.evil.example", false},
        {"localhost.", false},
        {"[::1].evil.example", false},
        {"[::1]evil", false},
        {"[::2]", false},
        {"", false},
    };
    for (size_t i = 0; i < countof(cases); i++)
        if (registry_is_local(str_of(cases[i].registry)) != cases[i].local)
            test_failed(__FILE__, __LINE__, "\"%s\"", cases[i].registry);
}

TEST(names_are_read_as_docker_does)
{
    AUTO(arena_fini) struct arena a = ARENA;
    const struct {
        const char *text, *want; /* want NULL: refused */
    } cases[] = {
        {"nginx", "docker.io/library/nginx:latest"},
        {"nginx:1.25", "docker.io/library/nginx:1.25"},
        {"team/app", "docker.io/team/app:latest"},
        {"docker.io/nginx", "docker.io/library/nginx:latest"},
        {"index.docker.io/nginx", "docker.io/library/nginx:latest"},
        {"localhost/a", "localhost/a:latest"},
        {"localhost:5000/a/b:1", "localhost:5000/a/b:1"},
        {"registry.k8s.io/pause:3.9", "registry.k8s.io/pause:3.9"},
        {"[::1]:5000/a", "[::1]:5000/a:latest"},
        {"a__b/c-d.e", "docker.io/a__b/c-d.e:latest"},
        {"nginx:1@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
         "docker.io/library/nginx@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"},
        {"", NULL},
        {"Nginx", NULL},
        {"a//b", NULL},
        {"a/b/", NULL},
        {"-a", NULL},
        {"a:", NULL},
        {"a:.x", NULL},
        {"a b", NULL},
        {"a@sha256:12", NULL},
        {"a@md5:0123", NULL},
        {"a___b", NULL},
        {"a..b", NULL},
        {"host:99999/a", NULL},
        {"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", NULL},
    };
    for (size_t i = 0; i < countof(cases); i++) {
        struct err err = ERR;
        struct image_name n;
        bool ok = image_name_parse(&a, str_of(cases[i].text), &n, &err);
        if (ok != (cases[i].want != NULL))
            test_failed(__FILE__, __LINE__, "\"%s\": %s", cases[i].text, ok ? n.full.p : err.text);
        if (ok)
            CHECK_STR(n.full, str_of(cases[i].want));
        else
            CHECK(strstr(err.text, "couldn't parse image name"));
    }
    const struct {
        const char *text, *repository;
    } upper[] = {{"Nginx:1", "(library/Nginx)"}, {"team/App", "(team/App)"}, {"localhost:5000/App", "(App)"}};
    for (size_t i = 0; i < countof(upper); i++) {
        struct err err = ERR;
        struct image_name n;
        CHECK(!image_name_parse(&a, str_of(upper[i].text), &n, &err) && strstr(err.text, upper[i].repository));
    }
}
