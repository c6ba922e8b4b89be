#include "node/image_gc_plan.h"
#include <stdlib.h>

static enum image_gc_fate fate_of(const struct image_gc_image *im, const struct image_gc_rules *r, int64_t now,
                                  bool only_old)
{
    if (im->in_use)
        return IMAGE_IN_USE;
    if (im->named)
        return IMAGE_NAMED;
    if (im->by_hand)
        return IMAGE_BY_HAND;
    if (now - im->came_at < r->age_least_ns || (only_old && now - im->used_at <= r->age_most_ns))
        return IMAGE_YOUNG;
    return IMAGE_GOES;
}

static int by_turn(const void *x, const void *y)
{
    const struct image_gc_image *a = x, *b = y;
    bool a_goes = a->fate == IMAGE_GOES, b_goes = b->fate == IMAGE_GOES;
    if (a_goes != b_goes)
        return a_goes ? -1 : 1;
    if (a->used_at != b->used_at)
        return a->used_at < b->used_at ? -1 : 1;
    if (a->came_at != b->came_at)
        return a->came_at < b->came_at ? -1 : 1;
    return strcmp(a->manifest.hex, b->manifest.hex);
}

size_t image_gc_plan(struct image_gc_image *images, size_t n, const struct image_gc_rules *r, int64_t now,
                     bool only_old)
{
    size_t go = 0;
    for (size_t i = 0; i < n; i++) {
        images[i].fate = fate_of(&images[i], r, now, only_old);
        go += images[i].fate == IMAGE_GOES;
    }
    if (n)
        qsort(images, n, sizeof *images, by_turn);
    return go;
}

int64_t image_gc_wanted(const struct image_gc_rules *r, int64_t capacity, int64_t available)
{
    available = MIN(available, capacity);
    if (capacity <= 0 || r->high_percent >= 100 ||
        100 - (int64_t)((__int128)available * 100 / capacity) < r->high_percent)
        return 0;
    return MAX((int64_t)((__int128)capacity * (100 - r->low_percent) / 100) - available, 0);
}
