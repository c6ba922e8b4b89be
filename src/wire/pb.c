#include "wire/pb.h"

struct pb pb_of(struct str message)
{
    const uint8_t *p = (const uint8_t *)(message.p ? message.p : "");
    return (struct pb){p, p + message.n};
}

static bool varint_read(struct pb *m, uint64_t *out)
{
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 64 && m->p < m->end; shift += 7) {
        uint8_t c = *m->p++;
        v |= (uint64_t)(c & 0x7f) << shift;
        if (c < 0x80) {
            *out = v;
            return shift < 63 || c <= 1;
        }
    }
    return false;
}

int pb_next(struct pb *m, struct pb_field *f, struct err *err)
{
    if (m->p == m->end)
        return 0;
    uint64_t tag, n = 0;
    if (!varint_read(m, &tag))
        return (void)err_set(err, E_BAD_REQUEST, "protobuf: a tag is cut off or too long"), -1;
    *f = (struct pb_field){.number = (uint32_t)(tag >> 3), .wire = (enum pb_wire)(tag & 7)};
    if (!f->number || tag >> 3 > 0x1fffffff)
        return (void)err_set(err, E_BAD_REQUEST, "protobuf: illegal field number %llu", (unsigned long long)tag >> 3),
               -1;
    size_t fixed = f->wire == PB_FIXED32 ? 4 : 8;
    switch (tag & 7) {
    case PB_VARINT:
        if (!varint_read(m, &f->n))
            break;
        return 1;
    case PB_FIXED32:
    case PB_FIXED64:
        if ((size_t)(m->end - m->p) < fixed)
            break;
        memcpy(&f->n, m->p, fixed); /* little-endian, as every machine that we run on */
        m->p += fixed;
        return 1;
    case PB_BYTES:
        if (!varint_read(m, &n) || n > (uint64_t)(m->end - m->p))
            break;
        f->bytes = (struct str){(const char *)m->p, (size_t)n};
        m->p += n;
        return 1;
    default:
        return (void)err_set(err, E_BAD_REQUEST, "protobuf: field %u has the wire type %u, which is not supported",
                             f->number, (unsigned)(tag & 7)),
               -1;
    }
    return (void)err_set(err, E_BAD_REQUEST, "protobuf: field %u is cut off", f->number), -1;
}

void pb_add_varint(struct strbuf *b, uint64_t v)
{
    char *p = strbuf_room(b, 10);
    if (!p)
        return;
    size_t n = 0;
    for (; v >= 0x80; v >>= 7)
        p[n++] = (char)(v | 0x80);
    p[n++] = (char)v;
    strbuf_used(b, n);
}

size_t pb_varint_size(uint64_t v)
{
    size_t n = 1;
    while (v >>= 7)
        n++;
    return n;
}

void pb_add_tag(struct strbuf *b, uint32_t number, enum pb_wire wire)
{
    pb_add_varint(b, (uint64_t)number << 3 | (uint64_t)wire);
}

void pb_add_uint(struct strbuf *b, uint32_t number, uint64_t v)
{
    pb_add_tag(b, number, PB_VARINT);
    pb_add_varint(b, v);
}

void pb_add_fixed64(struct strbuf *b, uint32_t number, uint64_t v)
{
    pb_add_tag(b, number, PB_FIXED64);
    strbuf_add(b, (struct str){(const char *)&v, sizeof v});
}

void pb_add_bytes(struct strbuf *b, uint32_t number, struct str bytes)
{
    pb_add_tag(b, number, PB_BYTES);
    pb_add_varint(b, bytes.n);
    strbuf_add(b, bytes);
}

size_t pb_open(struct strbuf *b, uint32_t number)
{
    pb_add_tag(b, number, PB_BYTES);
    strbuf_addc(b, 0); /* most lengths take one byte; pb_close makes room for the others */
    return b->n;
}

void pb_close(struct strbuf *b, size_t at)
{
    if (b->over)
        return;
    size_t n = b->n - at, more = pb_varint_size(n) - 1;
    if (more) {
        if (!strbuf_room(b, more))
            return;
        memmove(b->p + at + more, b->p + at, n);
        strbuf_used(b, more);
    }
    char *p = b->p + at - 1;
    uint64_t v = n;
    for (; v >= 0x80; v >>= 7)
        *p++ = (char)(v | 0x80);
    *p = (char)v;
}
