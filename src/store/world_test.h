/* world_test.h - a store on a loop for its tests, whose values are counted texts, and what was told of it. */
#pragma once
#include "base/test.h"
#include "store/store.h"
#include <semaphore.h>
#include <stdatomic.h>

extern const struct store_type text_type;
extern sem_t encoding, go_on; /* for tests that need a batch to be under way */
extern atomic_bool encode_waits;

/* What is "of a kind" can be read once its kind is known. */
struct learned {
    bool known, never;
    size_t asked, times, have;
};
struct world {
    struct loop *loop;
    struct store *s;
    struct store_options o;
    char path[200];
};
struct put { /* one write, and its op */
    struct store_write w;
    struct store_op op;
};
struct seen {
    struct store_history h;
    struct store_subscriber sub;
    struct strbuf text;
    int64_t last;
    bool over;
    struct world *w;
};
#define SEEN ((struct seen){.text = STRBUF(1 << 20)})

void *text_new(struct str s);
struct str text_of(const void *t);
void world_open(struct world *w);
void world_close(struct world *w);
void world_reopen(struct world *w);
void world_reopen_subscribed(struct world *w, struct store_subscriber *sub);
struct world *world_new(bool disk);
void world_free(struct world *w);
/* A story with each engine. */
void with_each(void (*story)(struct world *w));
void on_done(struct store_op *op);
void wait_for(struct world *w, struct store_op *op);
void put_start(struct world *w, struct put *p, struct str key, const char *value, int64_t expect);
int64_t put_as(struct world *w, struct str key, const char *value, int64_t expect, enum store_class class,
               struct err *err);
int64_t key_put(struct world *w, const char *key, const char *value); /* NULL: delete */
int64_t put_lazy(struct world *w, const char *key, const char *value);
enum err_kind put_refused(struct world *w, const char *key, const char *value, int64_t expect);
struct str key_value(struct world *w, const char *key); /* "-": not there */
void loop_run_for(struct world *w, int64_t ns);
struct str snapshot_listing(const struct store_snapshot *snap, const char *prefix, struct strbuf *b);
void see_history(struct store_history *h, const struct store_event *events, size_t n);
void see_end(struct store_history *h);
void see_sub(struct store_subscriber *sub, const struct store_event *events, size_t n);
void run_until(struct world *w, const bool *over);
bool history_read(struct world *w, struct seen *s, int64_t after, const char *prefix);
void check_history(struct world *w, int64_t after, const char *prefix, const char *want);
enum err_kind read_at(struct world *w, int64_t rev, const char *prefix, struct strbuf *out);
void check_read(struct world *w, int64_t rev, const char *prefix, const char *want);
