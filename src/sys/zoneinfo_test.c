#include "base/test.h"
#include "sys/file.h"
#include "sys/zoneinfo.h"
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

/* A zone of version 1 with one offset. */
static void zone_put(const char *folder, const char *name, unsigned char hours)
{
    AUTO(strbuf_fini) struct strbuf file = STRBUF(100), path = STRBUF(4096);
    struct err err = ERR;
    char bytes[54] = "TZif";
    bytes[39] = 1, bytes[43] = 4;
    int seconds = hours * 3600;
    bytes[46] = (char)(seconds >> 8), bytes[47] = (char)seconds;
    strbuf_add(&file, (struct str){bytes, sizeof bytes});
    strbuf_addf(&path, "%s/%s", folder, name);
    CHECK_OK(file_write(AT_FDCWD, path.p, strbuf_str(&file), 0644, &err), err);
}

TEST(zoneinfo_reads_what_is_there_and_keeps_it)
{
    char folder[] = "/tmp/zoneinfo-test-XXXXXX", inner[64];
    struct err err = ERR;
    CHECK(mkdtemp(folder));
    snprintf(inner, sizeof inner, "%s/Mars", folder);
    CHECK_INT(mkdir(inner, 0755), 0);
    zone_put(folder, "Mars/Olympus", 1);
    {
        AUTO(zoneinfo_free) struct zoneinfo *z = zoneinfo_new(folder);
        const struct zone *olympus = zoneinfo_get(z, S("Mars/Olympus"), &err);
        CHECK_OK(olympus, err);
        CHECK_INT(zone_offset(olympus, 0), 3600);
        CHECK(zoneinfo_get(z, S("Mars/Olympus"), &err) == olympus);
        zone_put(folder, "Mars/Olympus", 2); /* tzdata was upgraded */
        CHECK_INT(zone_offset(zoneinfo_get(z, S("Mars/Olympus"), &err), 0), 7200);
        CHECK(zoneinfo_get(z, S("UTC"), &err));
        CHECK(!zoneinfo_get(z, S("Mars"), &err)); /* a folder */
        CHECK_STR(str_of(err.text), S("unknown time zone Mars"));
        CHECK(!zoneinfo_get(z, S("Mars/../Mars/Olympus"), &err));
        CHECK(!zoneinfo_get(z, S("/etc/localtime"), &err));
        snprintf(inner, sizeof inner, "%s/text", folder);
        CHECK_OK(file_write(AT_FDCWD, inner, S("no zone"), 0644, &err), err);
        CHECK(!zoneinfo_get(z, S("text"), &err));
        CHECK(str_starts(str_of(err.text), S("time zone text: it is no file of a time zone")));
    }
    CHECK_OK(tree_remove(AT_FDCWD, folder, &err), err);
    AUTO(zoneinfo_free) struct zoneinfo *none = zoneinfo_new(folder);
    CHECK(!zoneinfo_get(none, S("Europe/Berlin"), &err));
    CHECK(str_has(str_of(err.text), S("tzdata is not installed")));
    CHECK(zoneinfo_get(none, S("UTC"), &err));
}
