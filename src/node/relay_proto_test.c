#include "base/test.h"
#include "node/relay_proto.h"

TEST(relay_messages_come_back_as_they_were)
{
    static struct relay_message m;
    AUTO(strbuf_fini) struct strbuf b = STRBUF(RELAY_MESSAGE_MOST);
    relay_add(&b, S("exec"));
    relay_addf(&b, "%d", 7);
    relay_add(&b, S(""));
    relay_add(&b, (struct str){"cut\0off", 7}); /* a NUL ends a text */
    CHECK(relay_parse(strbuf_str(&b), &m));
    CHECK_INT(m.n, 4);
    CHECK_STR(m.texts[0], S("exec"));
    CHECK_STR(m.texts[1], S("7"));
    CHECK_STR(m.texts[2], S(""));
    CHECK_STR(m.texts[3], S("cut"));
}

TEST(relay_messages_that_are_none)
{
    static struct relay_message m;
    static const struct str bad[] = {
        {"", 0},           /* nothing */
        {"probe", 5},      /* no end */
        {"probe\0007", 7}, /* no end of the id */
        {"probe\0", 6},    /* no id */
    };
    for (size_t i = 0; i < countof(bad); i++)
        CHECK(!relay_parse(bad[i], &m));
    AUTO(strbuf_fini) struct strbuf b = STRBUF(RELAY_MESSAGE_MOST + 2);
    for (int i = 0; i < RELAY_TEXTS_MOST; i++)
        relay_add(&b, S("x"));
    CHECK(relay_parse(strbuf_str(&b), &m));
    relay_add(&b, S("x"));
    CHECK(!relay_parse(strbuf_str(&b), &m)); /* one text too many */
    strbuf_reset(&b);
    for (int i = 0; i < RELAY_MESSAGE_MOST; i++)
        strbuf_addc(&b, 'x');
    strbuf_addc(&b, 0);
    CHECK(!relay_parse(strbuf_str(&b), &m)); /* too long */
}
