/* The first byte chooses the side and the size of the pieces; the rest is what the other side sends. */
#include "wire/spdy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void stream_opened(struct spdy *s, uint32_t id, const struct http_headers *h)
{
    if (h->n % 2)
        spdy_reset(s, id, 5);
    else
        spdy_reply(s, id, h, h->n % 4 == 0);
}
static void data_came(struct spdy *s, uint32_t id, struct str b)
{
    spdy_send(s, id, str_sub(b, 0, MIN(b.n, spdy_room(s, id))));
    spdy_consumed(s, id, b.n);
}
static void stream_ended(struct spdy *s, uint32_t id)
{
    spdy_end(s, id);
}
static void stream_reset(struct spdy *s, uint32_t id, UNUSED int status)
{
    ASSERT(spdy_room(s, id) == 0);
}
static void stream_room(struct spdy *s, uint32_t id)
{
    ASSERT(spdy_room(s, id) > 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    AUTO(spdy_free)
    struct spdy *s = spdy_new(&(struct spdy_config){
        .server = data[0] & 1,
        .streams_most = 4,
        .fns = {stream_opened, NULL, data_came, stream_ended, stream_reset, stream_room, NULL}});
    struct err err = ERR;
    size_t step = 1 + (data[0] >> 1);
    for (size_t at = 1; at < size; at += step)
        if (!spdy_read(s, (struct str){(const char *)data + at, MIN(step, size - at)}, &err))
            break;
    return 0;
}
