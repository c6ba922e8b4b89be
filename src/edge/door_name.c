/* Names that follow from texts. */
#include "edge/door_int.h"
#include "sys/crypto.h"

struct door_name door_name_of(char letter, struct str text)
{
    static const char digits[] = "0123456789abcdefghijklmnopqrstuv";
    uint8_t sum[SHA256_SIZE];
    sha256_of(text, sum);
    uint64_t bits = 0;
    for (size_t i = 0; i < 8; i++)
        bits = bits << 8 | sum[i];
    struct door_name n = {.z = {letter}};
    for (size_t i = 1; i < DOOR_NAME_LEN; i++, bits >>= 5)
        n.z[i] = digits[bits & 31];
    return n;
}

struct door_name door_cert_name(struct str key)
{
    return door_name_of('c', key);
}
