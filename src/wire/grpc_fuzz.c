#include "wire/grpc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A message lies within its body; a text is UTF-8 without NUL, and no longer than what it stands for may become. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a = ARENA;
    struct err err = ERR;
    struct str in = {(const char *)data, size}, message;
    if (grpc_unframe(in, &message, &err))
        ASSERT(message.n + 5 == size && message.p == in.p + 5);
    else
        ASSERT(err.text[0]);
    struct str text = grpc_message_read(&a, in);
    ASSERT(str_utf8_ok(text) && text.n <= 3 * size && !memchr(text.n ? text.p : "x", 0, text.n));
    arena_fini(&a);
    return 0;
}
