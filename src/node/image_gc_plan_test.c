#include "base/clock.h"
#include "base/test.h"
#include "node/image_gc_plan.h"

#define S_(n) ((n)*NS_PER_S)

TEST(images_that_nobody_needs_go_the_longest_unused_first)
{
    static const struct image_gc_rules r = {85, 80, S_(120), S_(3600)};
    static const struct {
        const char *what;
        struct image_gc_image images[4]; /* times: seconds before now */
        bool only_old;
        const char *want; /* numbers of those that go, then how many stay for what: used, named, by hand, young */
    } rows[] = {
        {"nothing", {{.size = 0}}, false, "| 0 0 0 0"},
        {"the longest unused",
         {{.size = 1, .came_at = 900, .used_at = 200}, {.size = 2, .came_at = 900, .used_at = 300}},
         false,
         "21| 0 0 0 0"},
        {"of those, the one that is here longer",
         {{.size = 1, .came_at = 800, .used_at = 300}, {.size = 2, .came_at = 900, .used_at = 300}},
         false,
         "21| 0 0 0 0"},
        {"one in use",
         {{.size = 1, .came_at = 900, .used_at = 900, .in_use = true}, {.size = 2, .came_at = 900, .used_at = 300}},
         false,
         "2| 1 0 0 0"},
        {"one that a pod names",
         {{.size = 1, .came_at = 900, .used_at = 900, .named = true}, {.size = 2, .came_at = 900, .used_at = 300}},
         false,
         "2| 0 1 0 0"},
        {"one that no registry gave",
         {{.size = 1, .came_at = 900, .used_at = 900, .by_hand = true}},
         false,
         "| 0 0 1 0"},
        {"one that has just come",
         {{.size = 1, .came_at = 119, .used_at = 119}, {.size = 2, .came_at = 120, .used_at = 120}},
         false,
         "2| 0 0 0 1"},
        {"one that was let go just now, but is here for long",
         {{.size = 1, .came_at = 900, .used_at = 1}},
         false,
         "1| 0 0 0 0"},
        {"old ones alone",
         {{.size = 1, .came_at = 9000, .used_at = 3600}, {.size = 2, .came_at = 9000, .used_at = 3601}},
         true,
         "2| 0 0 0 1"},
        {"old, but needed",
         {{.size = 1, .came_at = 9000, .used_at = 9000, .by_hand = true},
          {.size = 2, .came_at = 9000, .used_at = 9000, .named = true}},
         true,
         "| 0 1 1 0"},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        AUTO(strbuf_fini) struct strbuf b = STRBUF(200);
        struct image_gc_image images[4];
        int fates[IMAGE_FATES] = {0};
        size_t n = 0;
        for (; n < 4 && rows[i].images[n].size; n++) {
            images[n] = rows[i].images[n];
            images[n].came_at = S_(100000 - images[n].came_at);
            images[n].used_at = S_(100000 - images[n].used_at);
        }
        size_t go = image_gc_plan(images, n, &r, S_(100000), rows[i].only_old);
        for (size_t k = 0; k < n; k++) {
            CHECK((images[k].fate == IMAGE_GOES) == (k < go));
            fates[images[k].fate]++;
            if (k < go)
                strbuf_addf(&b, "%lld", (long long)images[k].size);
        }
        strbuf_addf(&b, "| %d %d %d %d", fates[IMAGE_IN_USE], fates[IMAGE_NAMED], fates[IMAGE_BY_HAND],
                    fates[IMAGE_YOUNG]);
        CHECK_STR(strbuf_str(&b), str_of(rows[i].want));
    }
}

TEST(images_go_from_the_high_mark_down_to_the_low_one)
{
    static const struct image_gc_rules r = {85, 80, 0, 0}, never = {100, 80, 0, 0}, always = {0, 0, 0, 0};
    CHECK_INT(image_gc_wanted(&r, 1000, 160), 0);
    CHECK_INT(image_gc_wanted(&r, 1000, 150), 50);
    CHECK_INT(image_gc_wanted(&r, 1000, 0), 200);
    CHECK_INT(image_gc_wanted(&r, 0, 0), 0);
    CHECK_INT(image_gc_wanted(&r, 1000, 5000), 0);
    CHECK_INT(image_gc_wanted(&never, 1000, 5), 0);
    CHECK_INT(image_gc_wanted(&never, 1000, 0), 0);
    CHECK_INT(image_gc_wanted(&always, 1000, 400), 600);
    CHECK_INT(image_gc_wanted(&r, INT64_MAX, INT64_MAX / 10), INT64_MAX / 5 - INT64_MAX / 10);
}
