/* figures_floor.c - the floor of figures_bench.py: the reading of files, whose names come on standard input, by itself.
 * Prints milliseconds of the median and the least of some rounds, and the bytes of one. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define FILES_MOST 100000
#define ROUNDS     15

static int order(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(void)
{
    static char *names[FILES_MOST], line[1024], text[65536];
    double ms[ROUNDS];
    size_t n = 0;
    long bytes = 0;
    while (n < FILES_MOST && fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = 0;
        names[n++] = strdup(line);
    }
    for (int r = 0; r < ROUNDS; r++) {
        struct timespec a, b;
        bytes = 0;
        clock_gettime(CLOCK_MONOTONIC, &a);
        for (size_t i = 0; i < n; i++) {
            int fd = open(names[i], O_RDONLY | O_CLOEXEC);
            ssize_t got = fd < 0 ? 0 : read(fd, text, sizeof text);
            bytes += got > 0 ? got : 0;
            if (fd >= 0)
                close(fd);
        }
        clock_gettime(CLOCK_MONOTONIC, &b);
        ms[r] = (double)(b.tv_sec - a.tv_sec) * 1e3 + (double)(b.tv_nsec - a.tv_nsec) / 1e6;
    }
    qsort(ms, ROUNDS, sizeof *ms, order);
    printf("%f %f %ld %zu\n", ms[ROUNDS / 2], ms[0], bytes, n);
    return 0;
}
