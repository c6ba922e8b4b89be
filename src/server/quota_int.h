/* quota_int.h - what the files of quotas share: the sums (quota.c), pods past their time (quota_leave.c), charges
 * (quota_charge.c), the status (quota_status.c). */
#pragma once
#include "base/heap.h"
#include "server/quota.h"
#include "server/write.h"

enum { AMOUNT_MAX = 64 }; /* a quantity in canonical form */

#define RELEASE_AFTER (10 * NS_PER_MS) /* what is freed is told together */

struct amount {
    char text[AMOUNT_MAX];
    size_t n;
};
struct quota_line {
    struct str name, hard;     /* of spec.hard */
    struct amount used, asked; /* committed; charged by writes under way */
    bool counted;              /* by somebody: it stands in status.used */
};
struct quota {
    int refs;
    struct quotas *all; /* NULL: it is gone */
    struct obj *obj;
    struct quota_line *lines; /* by name; texts are borrowed from obj */
    size_t n;
    bool uncounted;                /* used is to be found out */
    struct quota_count *count;     /* under way: it holds nothing up, and tells nothing; NULL: none */
    struct list charges;           /* struct charge.of_quota */
    int64_t due;                   /* clock_mono: the status is to be written by then; 0: it is right */
    struct list changed;           /* in quotas.changed while due */
    struct quota_writing *writing; /* of its status; NULL: none */
    uint64_t charged, told;        /* charges so far; so many can be read */
};
struct quota_space {
    ARRAY(struct quota *) quotas; /* by name; at least one */
};
struct quotas {
    struct server *server;
    struct map spaces;   /* namespace -> struct quota_space */
    struct list changed; /* of struct quota */
    struct list waiting; /* of struct charges: of writes that are not answered yet */
    struct soon soon;
    struct timer timer, leave, count;
    size_t counting;    /* quotas that are being counted */
    size_t portion;     /* so many objects a turn, of tests; 0: as many as there is time for */
    struct map leaving; /* "namespace/name" -> struct pod_leaving */
    struct heap leaves;
    struct kind_listener kinds;
    size_t walked;
    bool stopped;
};

/* What a write was given of one quota, and of all. */
struct charge {
    struct quota *quota; /* counted */
    struct list of_quota;
    struct val amounts; /* in the request's arena */
    uint64_t number;
};
struct charges {
    ARRAY(struct charge *) list;
    struct write *write;
    struct list waiting; /* in quotas.waiting */
};
struct quota_writing {
    struct request r;
    struct quota *quota; /* counted */
    uint64_t upto;
};

/* One object, from one state to another; NULL: it is not there. */
struct quota_move {
    struct str resource;
    const struct val *was, *now; /* trees */
    struct val was_uses, now_uses;
    struct arena *a;
};

struct str amount_text(const struct amount *x);
void amount_add(struct arena *a, struct amount *x, struct str more);
void amount_take(struct arena *a, struct amount *x, struct str less);
struct quota_line *line_find(const struct quota *q, struct str name); /* NULL: it does not bound that */

struct quota *quota_ref(struct quota *q);
void quota_unref(struct quota *q);
struct quota_space *space_of(const struct quotas *all, struct str ns); /* NULL: without quotas */
/* over: of a pod that is past its time. */
struct val usage_now(struct quotas *all, struct arena *a, struct str resource, const struct val *tree, bool over);
void quota_move_by(struct quota *q, const struct quota_move *m);
void space_move(struct quotas *all, const struct quota_space *space, struct quota_move *m, bool was_over,
                bool now_over);

/* --- quota_count.c --- */
void quota_count(struct quota *q,
                 int64_t until); /* begins; until: clock_mono, by then it leaves the rest to other turns */
void count_end(struct quota *q);
void counts_init(struct quotas *all);

/* --- quota_leave.c --- */
/* name: "NAMESPACE/NAME". Whether it is past its time; until then it is looked at again. o NULL: it is gone. */
bool leaving_note(struct quotas *all, struct str name, struct obj *o);
bool leaving_over(const struct quotas *all, struct str name);
void leaving_forget(struct quotas *all, struct str ns); /* nobody asks of its pods any more */
void leaving_init(struct quotas *all);
void leaving_fini(struct quotas *all);

/* --- quota_charge.c --- */
void charges_answer(struct quotas *all); /* those of which all can be read */

/* --- quota_status.c --- */
void quota_mark(struct quota *q, int64_t delay); /* the status is looked at after the delay, at the latest */
void quota_mark_foreign(struct quota *q);        /* it was written, by whomever */
void quota_mark_kinds(struct quota *q);          /* other kinds are served */
void status_init(struct quotas *all);
void status_fini(struct quotas *all);
