/* Any bytes as a certificate, a request, a key, a subject: facts that can be written as JSON, or a sentence; and what
 * the pool makes of them. */
#include "api/codec.h"
#include "edge/cert_work.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = {(const char *)data, size};
    for (int what = X509_CERTIFICATE; what <= X509_SUBJECT; what++) {
        AUTO(arena_fini) struct arena a = ARENA;
        AUTO(strbuf_fini) struct strbuf json = STRBUF(8 << 20);
        struct val facts, again;
        struct err err = ERR, bad = ERR;
        if (!cert_facts_read(&a, (enum x509_what)what, text, &facts, &err)) {
            ASSERT(err.text[0]);
            continue;
        }
        json_encode(&json, &facts);
        ASSERT(json.over || json_decode(&a, strbuf_str(&json), &again, &bad));
    }
    AUTO(arena_fini) struct arena a = ARENA;
    struct val ask = val_map(), body = val_map();
    struct err err = ERR;
    static const char *const members[] = {"key", "request", "certificate", "ca"};
    val_set_str(&a, &ask, S("do"), val_str(&a, S("sign")));
    val_set_str(&a, &ask, S("seconds"), val_int(60));
    for (size_t i = 0; i < countof(members); i++)
        val_set_str(&a, &ask, str_of(members[i]), val_bytes(&a, text));
    ASSERT(cert_work(&a, &ask, &body, &err) || err.text[0]);
    return 0;
}
