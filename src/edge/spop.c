#include "edge/spop.h"

enum { AGENT_HELLO = 101, AGENT_DISCONNECT, AGENT_ACK };
enum { FLAG_FIN = 1, FLAG_ABORT = 2 };
enum { T_NULL, T_BOOL, T_INT32, T_UINT32, T_INT64, T_UINT64, T_IP4, T_IP6, T_TEXT, T_BINARY };

struct spop_cursor {
    const unsigned char *p, *end;
    bool bad;
};

static unsigned byte_take(struct spop_cursor *c)
{
    if (c->p < c->end)
        return *c->p++;
    c->bad = true;
    return 0;
}

/* As HAProxy's peers write numbers: up to 240 in one byte, else four bits of it and then seven a byte. */
static uint64_t number_take(struct spop_cursor *c)
{
    uint64_t n = byte_take(c);
    if (n < 240)
        return n;
    for (unsigned shift = 4; shift < 64; shift += 7) {
        unsigned b = byte_take(c);
        n += (uint64_t)b << shift;
        if (b < 128)
            return n;
    }
    c->bad = true;
    return 0;
}

static struct str bytes_take(struct spop_cursor *c, uint64_t n)
{
    if (n > (uint64_t)(c->end - c->p)) {
        c->bad = true;
        return S("");
    }
    struct str s = {(const char *)c->p, (size_t)n};
    c->p += n;
    return s;
}

static struct str text_take(struct spop_cursor *c)
{
    uint64_t n = number_take(c);
    return bytes_take(c, n);
}

static struct spop_value value_take(struct spop_cursor *c)
{
    unsigned type = byte_take(c);
    switch (type & 15) {
    case T_NULL: return (struct spop_value){.kind = SPOP_NULL};
    case T_BOOL: return (struct spop_value){.kind = SPOP_BOOL, .number = type >> 4 & 1};
    case T_INT32:
    case T_UINT32:
    case T_INT64:
    case T_UINT64: return (struct spop_value){.kind = SPOP_NUMBER, .number = (int64_t)number_take(c)};
    case T_IP4: return (struct spop_value){.kind = SPOP_IP4, .text = bytes_take(c, 4)};
    case T_IP6: return (struct spop_value){.kind = SPOP_IP6, .text = bytes_take(c, 16)};
    case T_TEXT:
    case T_BINARY: return (struct spop_value){.kind = SPOP_TEXT, .text = text_take(c)};
    default: c->bad = true; return (struct spop_value){0};
    }
}

static void arguments_take(struct spop_cursor *c, struct spop_frame *f, size_t most)
{
    while (!c->bad && f->n < most && c->p < c->end) {
        struct spop_argument a = {.name = text_take(c)};
        a.value = value_take(c);
        f->arguments[f->n++] = a;
    }
}

bool spop_read(struct str bytes, struct spop_frame *f, size_t *used, struct err *err)
{
    const unsigned char *p = (const unsigned char *)bytes.p;
    *f = (struct spop_frame){0};
    *used = 0;
    if (bytes.n < 4)
        return true;
    size_t n = (size_t)p[0] << 24 | (size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3];
    if (n > SPOP_FRAME_MOST || n < 7)
        return err_set(err, E_INVALID, "a frame of %zu bytes", n);
    if (bytes.n < n + 4)
        return true;
    struct spop_cursor c = {p + 4, p + 4 + n, false};
    f->type = byte_take(&c);
    struct str flags = bytes_take(&c, 4);
    f->stream = number_take(&c);
    f->frame = number_take(&c);
    if (f->type < SPOP_HELLO || f->type > SPOP_NOTIFY || c.bad || !(flags.p[3] & FLAG_FIN) || flags.p[3] & FLAG_ABORT)
        return err_set(err, E_INVALID, "a frame of type %u that is none, or a fragment", (unsigned)f->type);
    size_t most = SPOP_ARGUMENTS;
    if (f->type == SPOP_NOTIFY) {
        f->message = text_take(&c);
        unsigned n_args = byte_take(&c);
        most = MIN(n_args, SPOP_ARGUMENTS);
    }
    arguments_take(&c, f, most);
    if (c.bad)
        return err_set(err, E_INVALID, "a frame that ends in the middle of a value");
    *used = n + 4;
    return true;
}

const struct spop_value *spop_argument(const struct spop_frame *f, const char *name)
{
    for (size_t i = 0; i < f->n; i++)
        if (str_eqz(f->arguments[i].name, name) && f->arguments[i].value.kind != SPOP_NULL)
            return &f->arguments[i].value;
    return NULL;
}

struct str spop_text(const struct spop_frame *f, const char *name)
{
    const struct spop_value *v = spop_argument(f, name);
    return v && v->kind == SPOP_TEXT ? v->text : S("");
}

/* --- writing --- */

static void number_put(struct strbuf *out, uint64_t n)
{
    if (n < 240) {
        strbuf_addc(out, (char)n);
        return;
    }
    strbuf_addc(out, (char)(n | 240));
    n = (n - 240) >> 4;
    while (n >= 128) {
        strbuf_addc(out, (char)(n | 128));
        n = (n - 128) >> 7;
    }
    strbuf_addc(out, (char)n);
}

static void text_put(struct strbuf *out, struct str s)
{
    number_put(out, s.n);
    strbuf_add(out, s);
}

static size_t frame_begin(struct strbuf *out, unsigned type, uint64_t stream, uint64_t frame)
{
    size_t begin = out->n;
    strbuf_add(out, (struct str){"\0\0\0", 4}); /* its length comes last */
    strbuf_addc(out, (char)type);
    strbuf_add(out, (struct str){"\0\0\0\1", 4});
    number_put(out, stream);
    number_put(out, frame);
    return begin;
}

void spop_ack_end(struct strbuf *out, size_t begin)
{
    size_t n = out->n - begin - 4;
    for (size_t i = 0; i < 4 && !out->over; i++)
        out->p[begin + i] = (char)(n >> (24 - 8 * i));
}

void spop_put_hello(struct strbuf *out, const struct spop_frame *hello)
{
    const struct spop_value *most = spop_argument(hello, "max-frame-size");
    size_t begin = frame_begin(out, AGENT_HELLO, 0, 0);
    text_put(out, S("version"));
    strbuf_addc(out, T_TEXT);
    text_put(out, S("2.0"));
    text_put(out, S("max-frame-size"));
    strbuf_addc(out, T_UINT32);
    number_put(out, most && most->kind == SPOP_NUMBER && most->number > 0 && most->number < SPOP_FRAME_MOST
                        ? (uint64_t)most->number
                        : SPOP_FRAME_MOST);
    text_put(out, S("capabilities"));
    strbuf_addc(out, T_TEXT);
    text_put(out, S("pipelining"));
    spop_ack_end(out, begin);
}

void spop_put_disconnect(struct strbuf *out, unsigned code, const char *why)
{
    size_t begin = frame_begin(out, AGENT_DISCONNECT, 0, 0);
    text_put(out, S("status-code"));
    strbuf_addc(out, T_UINT32);
    number_put(out, code);
    text_put(out, S("message"));
    strbuf_addc(out, T_TEXT);
    text_put(out, str_of(why));
    spop_ack_end(out, begin);
}

size_t spop_ack_begin(struct strbuf *out, uint64_t stream, uint64_t frame)
{
    return frame_begin(out, AGENT_ACK, stream, frame);
}

static void variable_put(struct strbuf *out, struct str variable)
{
    strbuf_add(out, S("\1\3\2")); /* set-var, three arguments, of the transaction */
    text_put(out, variable);
}

void spop_ack_text(struct strbuf *out, struct str variable, struct str value)
{
    variable_put(out, variable);
    strbuf_addc(out, T_TEXT);
    text_put(out, value);
}

void spop_ack_number(struct strbuf *out, struct str variable, uint32_t value)
{
    variable_put(out, variable);
    strbuf_addc(out, T_UINT32);
    number_put(out, value);
}
