/* store_open_test.c - what is refused at open; sealing; backups. */
#include "base/fault.h"
#include "store/backup.h"
#include "store/world_test.h"
#include <fcntl.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <sys/wait.h>

/* --- refusals at open --- */

static int ack_fd;

static enum err_kind open_refused(struct world *w, const char *says)
{
    struct err err = ERR;
    CHECK(!store_open(w->loop, &w->o, &err));
    if (!str_has(str_of(err.text), str_of(says)))
        test_failed(__FILE__, __LINE__, "\"%s\" does not say \"%s\"", err.text, says);
    return err.kind;
}
static void db_sql(struct world *w, const char *text)
{
    sqlite3 *db;
    CHECK(sqlite3_open(w->path, &db) == SQLITE_OK);
    CHECK_INT(sqlite3_exec(db, text, NULL, NULL, NULL), SQLITE_OK);
    CHECK(sqlite3_close(db) == SQLITE_OK);
}

static void hold_open(struct world *w)
{
    world_open(w);
    (void)key_put(w, "a", "1");
    char c = 'x';
    CHECK(write(ack_fd, &c, 1) == 1);
    for (;;)
        pause();
}
static void file_overwrite(const char *path, off_t at, const char *bytes, size_t n)
{
    AUTO(fd_close) int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    CHECK(fd >= 0 && pwrite(fd, bytes, n, at) == (ssize_t)n);
}
TEST(store_that_lost_its_log_begins_no_new_one)
{
    struct world *w = world_new(true);
    AUTO(strbuf_fini) struct strbuf wal = STRBUF(STRBUF_TEXT);
    strbuf_addf(&wal, "%s-wal", w->path);
    world_open(w);
    (void)key_put(w, "a", "1");
    world_close(w);
    CHECK(access(wal.p, F_OK) < 0); /* closed in order, it is one file */
    file_overwrite(wal.p, 0, "changes", 7);
    CHECK(truncate(w->path, 0) == 0);
    CHECK_INT(open_refused(w, "is empty, but"), E_IO);
    CHECK(unlink(w->path) == 0);
    CHECK_INT(open_refused(w, "is gone, but"), E_IO);
    CHECK(unlink(wal.p) == 0);
    world_open(w); /* a new one, as nothing is there */
    world_free(w);
}
static bool snapshot_learn(void *arg, const struct store_snapshot *have, struct err *err)
{
    struct learned *l = arg;
    struct store_iter it;
    l->times++;
    for (struct store_entry *e = store_first(&it, have, S(""), STR_NONE); e; e = store_next(&it))
        l->have++;
    l->known = !l->never && pmap_get(&have->map, S("kind"));
    return !pmap_get(&have->map, S("broken")) || err_set(err, E_INVALID, "the kind is broken");
}
TEST(store_opens_in_two_halves_where_values_are_told_what_they_are)
{
    struct world *w = world_new(true);
    struct learned l = {0};
    world_open(w);
    (void)key_put(w, "a", "of a kind, older than it"), (void)key_put(w, "b", "plain"),
        (void)key_put(w, "kind", "plain");
    (void)key_put(w, "z", "of a kind, younger");
    w->o.load_arg = &l;
    w->o.known = snapshot_learn;
    world_reopen(w);
    CHECK(l.times == 1 && l.have == 2 && l.asked == 4);
    CHECK_STR(text_of(store_get(w->s, S("a"))->ref), S("of a kind, older than it"));
    CHECK_STR(text_of(store_get(w->s, S("z"))->ref), S("of a kind, younger"));
    CHECK_STR(text_of(store_get(w->s, S("b"))->ref), S("plain"));
    (void)key_put(w, "a", "plain"), (void)key_put(w, "z", "plain");
    l = (struct learned){0};
    world_reopen(w); /* nothing is left for the second half: nothing is read twice */
    CHECK(l.times == 1 && l.have == 4 && l.asked == 0);
    (void)key_put(w, "a", "of a kind");
    world_close(w);
    l = (struct learned){.never = true};
    CHECK_INT(open_refused(w, "the stored value of a: nobody knows this yet"), E_NOT_FOUND);
    l = (struct learned){0};
    world_open(w);
    (void)key_put(w, "broken", "plain");
    world_close(w);
    CHECK_INT(open_refused(w, "the kind is broken"), E_INVALID);
    w->o.path = NULL; /* memory has nothing to load, and is asked all the same */
    l = (struct learned){0};
    world_open(w);
    CHECK(l.times == 1 && l.have == 0);
    world_free(w);
}
TEST(store_refuses_what_it_should_not_open_with_a_sentence)
{
    struct world *w = world_new(true);
    world_open(w);
    (void)key_put(w, "a", "some value to be damaged");
    world_close(w);
    db_sql(w, "PRAGMA user_version = 99");
    CHECK_INT(open_refused(w, "newer Wherry"), E_INVALID);
    db_sql(w, "PRAGMA user_version = 1; PRAGMA application_id = 5");
    CHECK_INT(open_refused(w, "not a store of Wherry"), E_IO);
    db_sql(w, "PRAGMA application_id = 1464357465; UPDATE log SET value = zeroblob(3)");
    CHECK_INT(open_refused(w, "damaged"), E_IO);
    db_sql(w, "DELETE FROM log; UPDATE meta SET ceiling = 0");
    CHECK_INT(open_refused(w, "damaged"), E_IO);
    db_sql(w, "UPDATE meta SET ceiling = 100");
    world_open(w);
    (void)key_put(w, "a", "unloadable");
    world_close(w);
    CHECK_INT(open_refused(w, "nobody can read this"), E_INVALID);
    file_overwrite(w->path, 4096, "garbage garbage garbage", 23);
    CHECK_INT(open_refused(w, "damaged"), E_IO);
    file_overwrite(w->path, 0, "this is not a database at all", 29);
    CHECK_INT(open_refused(w, "not a store of Wherry"), E_IO);
    (void)snprintf(w->path, sizeof w->path, "%s/not/there/store.db", test_dir());
    CHECK_INT(open_refused(w, "cannot be opened: No such file or directory"), E_IO);
    world_free(w);
}

TEST(store_is_open_in_one_process_only)
{
    struct world *w = world_new(true);
    int fds[2];
    CHECK(pipe(fds) == 0);
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        ack_fd = fds[1];
        hold_open(w);
    }
    char c;
    CHECK(read(fds[0], &c, 1) == 1);
    CHECK_INT(open_refused(w, "in use by another process"), E_UNAVAILABLE);
    CHECK(kill(pid, SIGKILL) == 0 && waitpid(pid, NULL, 0) == pid);
    world_open(w); /* the lock went with its holder */
    CHECK_STR(key_value(w, "a"), S("1"));
    world_free(w);
}

/* --- sealing --- */

static bool file_has(const char *path, struct str what)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(64 << 20);
    AUTO(fd_close) int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    for (;;) {
        char *room = strbuf_room(&b, 65536);
        ssize_t n = read(fd, room, 65536);
        CHECK(n >= 0);
        strbuf_used(&b, (size_t)n);
        if (n == 0)
            return str_has(strbuf_str(&b), what);
    }
}
static const struct store_seal_key keys[] = {{7, {1, 2, 3}}, {8, {4, 5, 6}}};
static const struct str sealed[] = {S_INIT("secrets/"), S_INIT("tokens/")};

TEST(store_seals_before_anything_reaches_the_disk)
{
    struct world *w = world_new(true);
    char wal[240];
    (void)snprintf(wal, sizeof wal, "%s-wal", w->path);
    w->o.sealed = sealed;
    w->o.nsealed = countof(sealed);
    CHECK_INT(open_refused(w, "no key to seal them was given"), E_INVALID);
    w->o.seal_keys = keys;
    w->o.nseal_keys = 1;
    world_open(w);
    int64_t r0 = store_rev(w->s);
    (void)key_put(w, "secrets/a", "correct horse battery staple");
    (void)key_put(w, "secrets/a", "correct horse battery stable");
    (void)key_put(w, "plain", "a plain and visible value");
    CHECK(file_has(wal, S("a plain and visible value")) && !file_has(wal, S("correct horse")));
    world_reopen(w);
    CHECK(file_has(w->path, S("a plain and visible value")) && !file_has(w->path, S("correct horse")));
    CHECK_STR(key_value(w, "secrets/a"), S("correct horse battery stable"));
    check_history(w, r0, "secrets/",
                  "+secrets/a=correct horse battery staple "
                  "*secrets/a=correct horse battery staple>correct horse battery stable");
    world_close(w);
    /* rotation: the new key seals, the old one still opens */
    const struct store_seal_key rotated[] = {keys[1], keys[0]};
    w->o.seal_keys = rotated;
    w->o.nseal_keys = 2;
    world_open(w);
    (void)key_put(w, "secrets/b", "sealed by the new key");
    world_close(w);
    w->o.nseal_keys = 1;
    CHECK_INT(open_refused(w, "key 7, which is not among the keys given"), E_IO);
    const struct store_seal_key wrong[] = {{7, {9}}, {8, {9}}};
    w->o.seal_keys = wrong;
    w->o.nseal_keys = 2;
    CHECK_INT(open_refused(w, "does not open with key"), E_IO);
    w->o.seal_keys = rotated;
    world_open(w);
    CHECK_STR(key_value(w, "secrets/a"), S("correct horse battery stable"));
    CHECK_STR(key_value(w, "secrets/b"), S("sealed by the new key"));
    world_free(w);
}

/* --- backup --- */

static char backup_path[200];
static void backup_make(struct world *w, struct err *err)
{
    (void)snprintf(backup_path, sizeof backup_path, "%s/backup", test_dir());
    AUTO(store_snapshot_fini) struct store_snapshot snap = store_snapshot(w->s);
    CHECK_OK(store_backup(&snap, &w->o, backup_path, err), *err);
}
static void backups_try(struct world *w)
{
    struct err err = ERR;
    world_close(w);
    w->o.sealed = sealed;
    w->o.nsealed = countof(sealed);
    w->o.seal_keys = keys;
    w->o.nseal_keys = 1;
    world_open(w);
    for (int i = 0; i < 300; i++) {
        char key[20], text[40];
        (void)snprintf(key, sizeof key, "k%d", i);
        (void)snprintf(text, sizeof text, "value %d", i);
        (void)put_lazy(w, key, text);
    }
    (void)key_put(w, "k7", NULL);
    (void)key_put(w, "secrets/a", "correct horse");
    backup_make(w, &err);
    CHECK(!file_has(backup_path, S("correct horse")) && file_has(backup_path, S("value 99")));
    AUTO(strbuf_fini) struct strbuf before = STRBUF(1 << 20), after = STRBUF(1 << 20);
    struct store_snapshot snap = store_snapshot(w->s);
    (void)snapshot_listing(&snap, "", &before);
    store_snapshot_fini(&snap);
    int64_t create = store_get(w->s, S("k9"))->create_rev, later = key_put(w, "k8", "after the backup");

    /* on a bare second machine */
    struct world *to = world_new(true);
    to->o.sealed = sealed;
    to->o.nsealed = countof(sealed);
    int64_t rev;
    CHECK_OK(store_restore(&to->o, backup_path, false, &rev, &err), err);
    CHECK_INT(open_refused(to, "no key to seal"), E_INVALID);
    to->o.seal_keys = keys;
    to->o.nseal_keys = 1;
    world_open(to);
    CHECK(store_rev(to->s) == rev && rev > later + 1000000);
    CHECK_INT(store_get(to->s, S("k9"))->create_rev, create);
    snap = store_snapshot(to->s);
    CHECK_STR(snapshot_listing(&snap, "", &after), strbuf_str(&before));
    store_snapshot_fini(&snap);
    CHECK(!store_resumable(to->s, later, &err) && err.kind == E_EXPIRED);
    CHECK(key_put(to, "k8", "new") > rev);
    check_history(to, rev, "", "*k8=value 8>new");

    /* over a store that went on: still above everything that one gave */
    CHECK(!store_restore(&to->o, backup_path, true, &rev, &err) && err.kind == E_UNAVAILABLE); /* in use */
    int64_t newest = store_rev(to->s);
    world_close(to);
    CHECK(!store_restore(&to->o, backup_path, false, &rev, &err) && err.kind == E_ALREADY_EXISTS);
    CHECK_OK(store_restore(&to->o, backup_path, true, &rev, &err), err);
    CHECK(rev > newest);
    world_open(to);
    CHECK_STR(key_value(to, "k8"), S("value 8"));
    world_close(to);
    char kept[240];
    (void)snprintf(kept, sizeof kept, "%s.before-restore", to->path);
    CHECK(rename(kept, to->path) == 0);
    world_open(to);
    CHECK_STR(key_value(to, "k8"), S("new"));
    world_free(to);
}
TEST(store_backups_restore_on_a_bare_machine_above_every_revision)
{
    struct world *w = world_new(true);
    world_open(w);
    backups_try(w);
    world_free(w);
}
TEST(store_backups_of_memory_restore_too)
{
    struct world *w = world_new(false);
    world_open(w);
    backups_try(w);
    world_free(w);
}

TEST(store_restore_refuses_damage_and_leaves_the_old_store_alone)
{
    struct world *w = world_new(true), *to = world_new(true);
    struct err err = ERR;
    world_open(w);
    (void)key_put(w, "a", "1");
    (void)key_put(w, "b", "2");
    backup_make(w, &err);
    world_open(to);
    (void)key_put(to, "old", "1");
    world_close(to);
    struct stat st;
    CHECK(stat(backup_path, &st) == 0 && (st.st_mode & 0777) == 0600);
    AUTO(fd_close) int fd = open(backup_path, O_RDWR | O_CLOEXEC);
    for (off_t i = 0; i < st.st_size; i++) {
        char c, d;
        int64_t rev;
        CHECK(pread(fd, &c, 1, i) == 1);
        d = (char)(c ^ 0x10);
        CHECK(pwrite(fd, &d, 1, i) == 1);
        err = ERR;
        CHECK(!store_restore(&to->o, backup_path, true, &rev, &err) && err.kind == E_INVALID && err.text[0]);
        CHECK(pwrite(fd, &c, 1, i) == 1);
    }
    for (off_t n = st.st_size; n-- > 0;) { /* cut anywhere */
        int64_t rev;
        CHECK(ftruncate(fd, n) == 0);
        CHECK(!store_restore(&to->o, backup_path, true, &rev, &err) && err.kind == E_INVALID);
    }
    world_open(to);
    CHECK_STR(key_value(to, "old"), S("1"));
    world_free(to);
    world_free(w);
}

TEST(store_backup_and_restore_with_any_call_failing_are_whole_or_not_there)
{
    struct world *w = world_new(true), *to = world_new(true);
    struct err err = ERR;
    world_open(w);
    (void)key_put(w, "a", "1");
    world_close(w);
    loop_run(w->loop);
    world_open(w);
    (void)snprintf(backup_path, sizeof backup_path, "%s/backup", test_dir());
    int n = 1;
    for (bool fired = true; fired; n++) {
        AUTO(store_snapshot_fini) struct store_snapshot snap = store_snapshot(w->s);
        (void)unlink(backup_path);
        fault_at(n);
        bool ok = store_backup(&snap, &w->o, backup_path, &err);
        fired = fault_fired();
        fault_at(0);
        CHECK(ok || fired);
        int64_t rev;
        if (access(backup_path, F_OK) == 0)
            CHECK_OK(store_restore(&to->o, backup_path, true, &rev, &err), err);
        else
            CHECK(!ok);
    }
    CHECK(n > 4);
    for (n = 1;; n++) {
        int64_t rev;
        fault_at(n);
        bool ok = store_restore(&to->o, backup_path, true, &rev, &err), fired = fault_fired();
        fault_at(0);
        CHECK(ok || fired);
        world_open(to); /* the old one or the new one, which hold the same */
        CHECK_STR(key_value(to, "a"), S("1"));
        CHECK(!ok || store_rev(to->s) == rev);
        world_close(to);
        if (!fired)
            break;
    }
    CHECK(n > 20);
    world_free(to);
    world_free(w);
}
