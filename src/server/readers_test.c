#include "base/test.h"
#include "server/readers.h"

struct one {
    struct old_reader reader;
    int cut;
};

static void reader_cut(struct old_reader *r)
{
    container_of(r, struct one, reader)->cut++;
    reader_end(r);
}

TEST(readers_that_may_hold_most_are_cut_when_much_was_replaced_since)
{
    struct err err = ERR;
    struct loop *l = loop_new(&err);
    struct readers s;
    struct one a = {0}, b = {0}, c = {0}, never = {0};
    readers_init(&s, l, 100);
    readers_retired(&s, 1000); /* nobody reads */
    reader_begin(&s, &a.reader, 10, reader_cut);
    readers_retired(&s, 1000); /* it cannot hold more than it reads */
    reader_begin(&s, &b.reader, 60, reader_cut);
    (void)loop_run_once(l, 0);
    CHECK_INT(a.cut + b.cut, 0);
    reader_begin(&s, &c.reader, 50, reader_cut);
    readers_retired(&s, 1);
    CHECK_INT(a.cut + b.cut + c.cut, 0); /* never inside a call */
    (void)loop_run_once(l, 0);
    CHECK_INT(b.cut, 1);
    CHECK_INT(a.cut + c.cut, 0); /* that is enough */
    reader_end(&a.reader);
    reader_end(&c.reader);
    reader_end(&c.reader);
    reader_end(&never.reader);
    reader_begin(&s, &a.reader, 5000, reader_cut);
    reader_begin(&s, &b.reader, 5000, reader_cut);
    readers_retired(&s, 100); /* as much as may be */
    (void)loop_run_once(l, 0);
    CHECK_INT(a.cut + b.cut, 1);
    readers_retired(&s, 1);
    (void)loop_run_once(l, 0);
    CHECK_INT(a.cut, 1);
    CHECK_INT(b.cut, 2);
    CHECK_INT((int64_t)s.ncut, 3);
    CHECK(list_empty(&s.all) && s.bytes == 0);
    readers_fini(&s);
    loop_free(l);
}
