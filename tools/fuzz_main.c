/* fuzz_main.c - runs a fuzz target over every file of the folders and files given, and over some simple mutations
 * of each. Built into every fuzz target of a check; with clang -fsanitize=fuzzer libFuzzer's main takes its place. */
#include "base/str.h"
#include <dirent.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void run_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (!f) {
        perror(path);
        exit(1);
    }
    AUTO(strbuf_fini) struct strbuf b = STRBUF(64 << 20);
    char buf[65536];
    size_t n;
    while ((n = fread(buf, 1, sizeof buf, f)) > 0)
        strbuf_add(&b, (struct str){buf, n});
    (void)fclose(f);
    (void)fprintf(stderr, "%s\n", path);
    /* an exact-size copy, so that ASan sees reads past the end */
    uint8_t *copy = mem_dup(strbuf_str(&b).p, b.n);
    (void)LLVMFuzzerTestOneInput(copy, b.n);
    for (size_t i = 0, step = b.n / 64 + 1; i < b.n; i += step) {
        uint8_t keep = copy[i];
        copy[i] = (uint8_t)(keep ^ (1u << i % 8));
        (void)LLVMFuzzerTestOneInput(copy, b.n);
        copy[i] = keep;
        uint8_t *cut = mem_dup(copy, i);
        (void)LLVMFuzzerTestOneInput(cut, i);
        mem_free(cut);
    }
    mem_free(copy);
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        DIR *d = opendir(argv[i]);
        if (!d) {
            run_file(argv[i]);
            continue;
        }
        for (struct dirent *e; (e = readdir(d));) {
            char path[4096];
            if (e->d_name[0] == '.')
                continue;
            (void)snprintf(path, sizeof path, "%s/%s", argv[i], e->d_name);
            run_file(path);
        }
        (void)closedir(d);
    }
    return 0;
}
