#include "base/test.h"
#include "client/fake.h"
#include "node/doors.h"
#include "sys/loop.h"

static int heard;

static void doors_heard(void *arg UNUSED)
{
    heard++;
}

static void door_says(struct transport *t, const char *node, const char *applied)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    strbuf_addf(&b,
                "apiVersion: coordination.k8s.io/v1\nkind: Lease\nmetadata:\n  name: wherry-edge-%s\n"
                "  namespace: kube-system\n  labels: {wherry.dev/edge: \"true\"}\n"
                "  annotations: {wherry.dev/applied: \"%s\"}\nspec: {holderIdentity: %s}\n",
                node, applied, node);
    CHECK(fake_put_yaml(t, strbuf_str(&b)) != NULL);
}

static void loop_settle(struct loop *l)
{
    for (int i = 0; i < 200; i++)
        (void)loop_run_once(l, NS_PER_MS);
}

TEST(a_slice_is_waited_for_until_every_door_has_it)
{
    AUTO(loop_free) struct loop *l = loop_new_simulated(3);
    AUTO(transport_free) struct transport *t = fake_new(l, NS_PER_MS);
    AUTO(strbuf_fini) struct strbuf who = STRBUF(STRBUF_TEXT);
    door_says(t, "a", "10");
    door_says(t, "b", "7");
    struct doors *d = doors_new(t, S("a"), true, doors_heard, NULL);
    CHECK(!doors_synced(d));
    doors_start(d);
    loop_settle(l);
    CHECK(doors_synced(d) && heard > 0);
    CHECK(!doors_behind(d, 7, &who));
    CHECK(doors_behind(d, 8, &who));
    CHECK_STR(strbuf_str(&who), S("b"));
    heard = 0;
    door_says(t, "b", "11");
    loop_settle(l);
    CHECK(heard == 1 && !doors_behind(d, 10, NULL));
    strbuf_reset(&who);
    CHECK(doors_behind(d, 12, &who));
    CHECK_STR(strbuf_str(&who), S("a, b"));
    door_says(t, "b", "nothing that is a number"); /* it has said nothing then */
    loop_settle(l);
    CHECK(doors_behind(d, 1, NULL));
    doors_free(d);
}

TEST(what_an_earlier_life_left_is_not_waited_for)
{
    AUTO(loop_free) struct loop *l = loop_new_simulated(4);
    AUTO(transport_free) struct transport *t = fake_new(l, NS_PER_MS);
    door_says(t, "a", "3");
    struct doors *d = doors_new(t, S("a"), false, doors_heard, NULL); /* no front door runs here now */
    doors_start(d);
    loop_settle(l);
    CHECK(doors_synced(d) && !doors_behind(d, 100, NULL));
    doors_free(d);
}
