/* haproxy_files.c - what a HAProxy reads when it starts, from what is wanted now: its configuration (what belongs to
 * the process, the shape, the servers at the end of their backends) and the maps, lists and certificates that it
 * names. Composed in the loop, written in a job; a file that is on disk as it should be is not written again. */
#include "edge/haproxy_int.h"
#include "sys/crypto.h"
#include "sys/file.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define CONFIG_MOST  (256 << 20)
#define THREADS_MOST 8 /* more of them take memory and locks before they take work */

/* --- names ---------------------------------------------------------------------------------------------------------
 */

static bool name_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
}

static void name_put(struct haproxy_names *n, const char *what, struct str name)
{
    AUTO(strbuf_fini) struct strbuf key = STRBUF(STRBUF_TEXT);
    strbuf_addf(&key, "%s" STR_FMT, what, STR_ARG(name));
    (void)map_put(&n->map, strbuf_str(&key), n); /* any value: it is a set */
}

bool names_has(const struct haproxy_names *n, const char *what, struct str name)
{
    char key[128];
    int k = snprintf(key, sizeof key, "%s" STR_FMT, what, STR_ARG(name));
    return k < (int)sizeof key && map_get(&n->map, (struct str){key, (size_t)k});
}

void names_add(struct haproxy_names *n, struct str text)
{
    static const char *const folders[] = {"maps/", "lists/", "certs/"};
    for (size_t f = 0; f < countof(folders); f++) {
        struct str folder = str_of(folders[f]), rest = text;
        for (ptrdiff_t at; (at = str_find(rest, folder)) >= 0;) {
            rest = str_sub(rest, (size_t)at + folder.n, rest.n);
            size_t k = 0;
            while (k < rest.n && name_char(rest.p[k]))
                k++;
            if (k)
                name_put(n, folders[f], str_sub(rest, 0, k));
        }
    }
}

/* The rest of the line after `backend `, up to a space; "": it is another line. */
static struct str line_backend(struct str line)
{
    struct str name;
    if (!str_starts(line, S("backend ")))
        return STR_NONE;
    line = str_trim(str_sub(line, 8, line.n));
    (void)str_split(line, ' ', &name, &line);
    return name;
}

struct haproxy_names *names_of_shape(struct str shape)
{
    struct haproxy_names *n = mem_alloc(sizeof *n);
    struct str rest = shape, line, backend;
    *n = (struct haproxy_names){.refs = 1};
    while (str_cut(&rest, '\n', &line))
        if ((backend = line_backend(line)).n)
            name_put(n, "backend/", backend);
    names_add(n, shape);
    return n;
}

void names_unref(struct haproxy_names *n)
{
    if (!n || --n->refs)
        return;
    map_fini(&n->map);
    mem_free(n);
}

/* --- the configuration ---------------------------------------------------------------------------------------------
 */

/* What belongs to the process, and a place for the map of marks: no request ever comes there. */
static void add_global(const struct haproxy *h, struct strbuf *out)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    strbuf_addf(out,
                "global\n"
                " stats socket fd@3 level admin expose-fd listeners\n"
                " stats timeout 1m\n"
                " hard-stop-after %llds\n"
                " nbthread %ld\n",
                (long long)MAX(1, h->config.old_most_ns / NS_PER_S), MAX(1, MIN(cores, THREADS_MOST)));
    if (h->config.log)
        strbuf_addz(out, " log unix@log.sock len 16384 format raw local0\n");
    strbuf_addz(out, "backend " MARKS "\n"
                     " mode http\n"
                     " timeout connect 1s\n"
                     " timeout server 1s\n"
                     " http-request set-var(txn.marks) str(x),map(maps/" MARKS ") if FALSE\n");
}

void files_shape_mark(const struct haproxy *h, struct strbuf *out)
{
    AUTO(strbuf_fini) struct strbuf text = STRBUF(CONFIG_MOST);
    uint8_t hash[SHA256_SIZE];
    add_global(h, &text);
    strbuf_add(&text, buf_str(h->shape));
    sha256_of(strbuf_str(&text), hash);
    strbuf_addz(out, "wherry-");
    strbuf_add_hex(out, hash, 16);
}

struct buf *mark_of(enum haproxy_kind kind, struct buf *text)
{
    AUTO(strbuf_fini) struct strbuf hex = STRBUF(STRBUF_TEXT);
    uint8_t hash[SHA256_SIZE];
    if (kind == HAPROXY_ENTRY || kind == HAPROXY_MAP)
        return buf_ref(text);
    sha256_of(buf_str(text), hash);
    strbuf_add_hex(&hex, hash, 16);
    return buf_new(strbuf_str(&hex));
}

static void next_set(struct haproxy_item *i, bool reads)
{
    buf_put(&i->next, reads && i->mark ? buf_ref(i->mark) : NULL);
    i->next_weight = i->weight;
}

static void add_servers(struct haproxy *h, struct str backend, struct haproxy_names *names, struct strbuf *out)
{
    AUTO(strbuf_fini) struct strbuf key = STRBUF(STRBUF_TEXT);
    strbuf_addf(&key, "backend/" STR_FMT, STR_ARG(backend));
    struct haproxy_group *g = map_get(&h->groups, strbuf_str(&key));
    if (!g)
        return;
    map_each (e, &g->items) {
        struct haproxy_item *i = e->value;
        if (!i->want)
            continue;
        strbuf_addf(out, " server " STR_FMT " " STR_FMT " weight %u\n", STR_ARG(i->name), STR_ARG(buf_str(i->want)),
                    (unsigned)i->weight);
        names_add(names, buf_str(i->want));
        next_set(i, true);
    }
}

/* A line that is not indented and says something begins a section; servers stand at the end of theirs. */
static void add_shape(struct haproxy *h, struct haproxy_names *names, struct strbuf *out)
{
    struct str rest = buf_str(h->shape), line, backend = STR_NONE;
    while (str_cut(&rest, '\n', &line)) {
        if (line.n && line.p[0] != ' ' && line.p[0] != '\t' && line.p[0] != '#') {
            add_servers(h, backend, names, out);
            backend = line_backend(line);
        }
        if (!bind_left_out(h, line))
            strbuf_add(out, line);
        strbuf_addc(out, '\n');
    }
    add_servers(h, backend, names, out);
}

/* --- the files
 * ------------------------------------------------------------------------------------------------------ */

static void file_add(struct haproxy_files *f, const char *folder, struct str name, const char *ending,
                     struct strbuf *content)
{
    struct haproxy_file one = {.content = content ? buf_take(content) : NULL};
    (void)snprintf(one.path, sizeof one.path, "%s" STR_FMT "%s", folder, STR_ARG(name), ending);
    (void)map_put(&f->keep, str_of(one.path), f); /* any value: it is a set */
    array_push(&f->files, one);
}

static void compose_list(struct haproxy *h, struct haproxy_group *g, struct haproxy_names *names,
                         struct haproxy_files *f)
{
    struct strbuf text = STRBUF(CONFIG_MOST);
    map_each (e, &g->items) {
        struct haproxy_item *i = e->value;
        bool there = i->want && item_cert_wanted(h, i->name);
        next_set(i, there);
        if (!there)
            continue;
        strbuf_addf(&text, "certs/" STR_FMT ".pem " STR_FMT "\n", STR_ARG(i->name), STR_ARG(buf_str(i->want)));
        name_put(names, "certs/", i->name);
    }
    file_add(f, "lists/", g->name, "", &text);
}

static void compose_map(struct haproxy_group *g, struct haproxy_files *f)
{
    struct strbuf text = STRBUF(CONFIG_MOST);
    map_each (e, &g->items) {
        struct haproxy_item *i = e->value;
        next_set(i, true);
        if (i->want && i->group->kind == HAPROXY_MAP)
            strbuf_add(&text, buf_str(i->want));
        else if (i->want)
            strbuf_addf(&text, STR_FMT " " STR_FMT "\n", STR_ARG(i->name), STR_ARG(buf_str(i->want)));
    }
    file_add(f, "maps/", g->name, "", &text);
}

static void compose_certs(struct haproxy_group *g, const struct haproxy_names *names, struct haproxy_files *f)
{
    map_each (e, &g->items) {
        struct haproxy_item *i = e->value;
        next_set(i, names_has(names, "certs/", i->name)); /* what nothing names is not read */
        if (!i->want)
            continue;
        file_add(f, "certs/", i->name, ".pem", NULL);
        f->files.p[f->files.n - 1].content = buf_ref(i->want);
    }
}

static void compose_marks(struct haproxy *h, struct haproxy_files *f)
{
    struct strbuf text = STRBUF(CONFIG_MOST);
    map_each (e, &h->groups) {
        struct haproxy_group *g = e->value;
        if (g->kind == HAPROXY_ENTRY || g->kind == HAPROXY_MAP)
            continue;
        map_each (k, &g->items) {
            struct haproxy_item *i = k->value;
            if (i->next)
                strbuf_addf(&text, STR_FMT "/" STR_FMT " " STR_FMT "\n", STR_ARG(e->key), STR_ARG(i->name),
                            STR_ARG(buf_str(i->next)));
        }
    }
    file_add(f, "maps/", S(MARKS), "", &text);
}

/* What the shape names and nobody has put anything into. */
static void compose_empty(struct haproxy *h, const struct haproxy_names *names, struct haproxy_files *f)
{
    map_each (e, &names->map) {
        struct strbuf none = STRBUF(0);
        bool file = str_starts(e->key, S("maps/")) || str_starts(e->key, S("lists/"));
        if (file && !map_get(&f->keep, e->key))
            file_add(f, "", e->key, "", &none);
    }
    (void)h;
}

struct haproxy_files *files_compose(struct haproxy *h, struct haproxy_names **own_names)
{
    struct haproxy_files *f = mem_alloc(sizeof *f);
    struct haproxy_names *names = names_of_shape(buf_str(h->shape));
    struct strbuf config = STRBUF(CONFIG_MOST);
    *f = (struct haproxy_files){.h = h, .run = h->config.run, .job = {.loop = h->loop}};
    map_each (e, &h->groups)
        map_each (k, &((struct haproxy_group *)e->value)->items)
            next_set(k->value, false);
    add_global(h, &config);
    AUTO(strbuf_fini) struct strbuf mark = STRBUF(STRBUF_TEXT);
    files_shape_mark(h, &mark);
    strbuf_addf(&config, "global\n description " STR_FMT "%s\n", STR_ARG(strbuf_str(&mark)),
                map_len(&h->unbound) ? "-part" : ""); /* who finds it later tries again */
    add_shape(h, names, &config);
    file_add(f, "", S("haproxy.cfg"), "", &config);
    buf_put(&h->next_config, buf_ref(f->files.p[f->files.n - 1].content));
    map_each (e, &h->groups) {
        struct haproxy_group *g = e->value;
        if (g->kind == HAPROXY_LISTED && names_has(names, "lists/", g->name))
            compose_list(h, g, names, f);
        else if ((g->kind == HAPROXY_ENTRY || g->kind == HAPROXY_MAP) && names_has(names, "maps/", g->name))
            compose_map(g, f);
    }
    struct haproxy_group *certs = map_get(&h->groups, S("certs/"));
    if (certs)
        compose_certs(certs, names, f);
    compose_marks(h, f);
    compose_empty(h, names, f);
    *own_names = names;
    return f;
}

void files_free(struct haproxy_files *f)
{
    if (!f)
        return;
    array_each (one, &f->files)
        buf_unref(one->content);
    array_fini(&f->files);
    map_fini(&f->keep);
    mem_free(f);
}

/* --- in the job
 * ------------------------------------------------------------------------------------------------------ */

static bool folder_tidy(struct haproxy_files *f, const char *folder, struct err *err)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct str path = arena_fmt(&a, STR_FMT "/%s", STR_ARG(f->run), folder);
    DIR *dir = opendir(path.p);
    if (!dir)
        return err_errno(err, "open " STR_FMT, STR_ARG(path));
    for (struct dirent *e; (e = readdir(dir));) {
        struct str name = arena_fmt(&a, "%s%s", folder, e->d_name);
        if (e->d_name[0] != '.' && !map_get(&f->keep, name))
            (void)unlinkat(dirfd(dir), e->d_name, 0); /* nothing reads it; tried again the next time */
    }
    (void)closedir(dir);
    return true;
}

static void files_work(struct job *j)
{
    struct haproxy_files *f = container_of(j, struct haproxy_files, job);
    AUTO_FREE char *run = str_dupz(f->run);
    AUTO(fd_close) int dir = open(run, O_DIRECTORY | O_PATH | O_CLOEXEC);
    f->ok = dir >= 0 || err_errno(&f->err, "open %s", run);
    array_each (one, &f->files)
        f->ok = f->ok && file_replace(dir, one->path, buf_str(one->content), 0600, &f->err);
    f->ok = f->ok && folder_tidy(f, "maps/", &f->err) && folder_tidy(f, "lists/", &f->err) &&
            folder_tidy(f, "certs/", &f->err);
}

void files_write(struct haproxy_files *f, void (*done)(struct job *j))
{
    job_start(&f->job, f->h->loop, files_work, done);
}
