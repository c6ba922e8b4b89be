/* wherry-job VERB: one piece of work on what strangers wrote, away from everything else, with the rights of file
 * owners alone.
 *   wherry-job load STORE [NAME]   an image archive from stdin into the store
 *   wherry-job pull                a pull request (pull.h) from stdin
 *   wherry-job acme                a step of ACME (edge/acme.h) from stdin; its answer is one line
 * Lines of JSON on stdout: {"progress":{"done":N,"total":N}} ..., then {"digest":"sha256:..","names":[..]} or
 * {"error":{"reason":"NotFound","code":404,"message":".."}}. Exit status 0, 1 (an error was told), 2 (usage). */
#include "base/clock.h"
#include "edge/acme.h"
#include "oci/confine.h"
#include "oci/jsonout.h"
#include "oci/pull.h"
#include <curl/curl.h>
#include <errno.h>
#include <locale.h>

#define PROGRESS_NS (200 * NS_PER_MS)

#ifdef __SANITIZE_ADDRESS__
/* the leak checker wants /proc, which is shut by then; the same code is checked in the unit tests */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "detect_leaks=0";
}
#endif

static void line_write(struct strbuf *b)
{
    struct str rest = strbuf_str(b);
    while (rest.n) {
        ssize_t n = write(1, rest.p, rest.n);
        if (n < 0 && errno != EINTR)
            return; /* nobody wants to know */
        rest = str_sub(rest, (size_t)MAX(n, 0), rest.n);
    }
}

static void line_tell(struct strbuf *b)
{
    strbuf_addc(b, '\n');
    line_write(b);
}

static int tell_error(const struct err *err)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    jout_open(&b, '{');
    jout_key(&b, "error");
    jout_open(&b, '{');
    jout_field(&b, "reason", str_of(err_reason(err->kind)));
    jout_key(&b, "code");
    jout_num(&b, err_http(err->kind));
    jout_field(&b, "message", str_of(err->text));
    strbuf_addz(&b, "}}");
    line_tell(&b);
    return 1;
}

static int tell_image(const struct digest *manifest, const struct strs *tags)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(1 << 20);
    jout_open(&b, '{');
    jout_key(&b, "digest");
    jout_comma(&b);
    strbuf_addf(&b, "\"sha256:%s\"", manifest->hex);
    jout_key(&b, "names");
    jout_open(&b, '[');
    for (size_t i = 0; i < tags->n; i++)
        jout_str(&b, tags->p[i]);
    strbuf_addz(&b, "]}");
    line_tell(&b);
    return 0;
}

static void tell_progress(void *arg, int64_t done, int64_t total)
{
    int64_t *last = arg;
    if (clock_mono() - *last < PROGRESS_NS && done < total)
        return;
    *last = clock_mono();
    AUTO(strbuf_fini) struct strbuf b = STRBUF(200);
    strbuf_addf(&b, "{\"progress\":{\"done\":%lld,\"total\":%lld}}", (long long)done, (long long)total);
    line_tell(&b);
}

/* Neither keys nor answers touch a file: it may write nowhere. */
static int job_acme(void)
{
    AUTO(arena_fini) struct arena a = ARENA;
    AUTO(strbuf_fini) struct strbuf text = STRBUF(ACME_LINE_MOST), out = STRBUF(ACME_LINE_MOST);
    struct acme_request r;
    struct acme_answer answer = {0};
    char buf[16384];
    for (ssize_t n; (n = read(0, buf, sizeof buf)) > 0;)
        strbuf_add(&text, (struct str){buf, (size_t)n});
    if (acme_request_decode(&a, strbuf_str(&text), &r, &answer.err) && job_confine(NULL, true, NULL, &answer.err)) {
        (void)curl_global_init(CURL_GLOBAL_DEFAULT);
        acme_run(&a, &r, &answer);
    }
    mem_wipe(buf, sizeof buf);
    acme_answer_encode(&answer, &out);
    if (out.over) {
        strbuf_reset(&out);
        answer = (struct acme_answer){0};
        (void)err_set(&answer.err, E_TOO_LARGE, "the answer is over %d bytes", ACME_LINE_MOST);
        acme_answer_encode(&answer, &out);
    }
    line_write(&out);
    return answer.err.kind != E_NONE;
}

static int job_load(const char *store, const char *name)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct err err = ERR;
    struct strs tags;
    struct digest manifest;
    AUTO(content_free) struct content *c = content_open(store, &err);
    if (!c || !job_confine(store, false, NULL, &err) || !archive_load(c, 0, str_of(name), &a, &tags, &manifest, &err))
        return tell_error(&err);
    return tell_image(&manifest, &tags);
}

static int job_pull(void)
{
    AUTO(arena_fini) struct arena a = ARENA;
    AUTO(strbuf_fini) struct strbuf text = STRBUF(2 << 20);
    struct err err = ERR;
    struct pull_request r;
    struct strs tags;
    struct digest manifest;
    int64_t last = 0;
    char buf[16384];
    for (ssize_t n; (n = read(0, buf, sizeof buf)) > 0;)
        strbuf_add(&text, (struct str){buf, (size_t)n});
    if (!pull_request_decode(&a, strbuf_str(&text), &r, &err))
        return tell_error(&err);
    mem_wipe(text.p, text.n); /* it may hold a password */
    AUTO(content_free) struct content *c = content_open(arena_strz(&a, r.store), &err);
    if (!c || !job_confine(c->dir, true, r.ca_file.n ? arena_strz(&a, r.ca_file) : NULL, &err))
        return tell_error(&err);
    (void)curl_global_init(CURL_GLOBAL_DEFAULT);
    if (!image_pull(c, &r, &a, &tags, &manifest, tell_progress, &last, &err))
        return tell_error(&err);
    return tell_image(&manifest, &tags);
}

int main(int argc, char **argv)
{
    (void)setlocale(LC_CTYPE, "C.UTF-8"); /* names in archives are UTF-8 */
    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        printf("wherry-job\n");
        return 0;
    }
    if ((argc == 3 || argc == 4) && strcmp(argv[1], "load") == 0)
        return job_load(argv[2], argc == 4 ? argv[3] : "");
    if (argc == 2 && strcmp(argv[1], "pull") == 0)
        return job_pull();
    if (argc == 2 && strcmp(argv[1], "acme") == 0)
        return job_acme();
    fprintf(stderr,
            "usage: wherry-job load STORE [NAME] <ARCHIVE | wherry-job pull <REQUEST | wherry-job acme <REQUEST\n");
    return 2;
}
