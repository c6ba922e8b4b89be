#include "wire/json.h"
#include "wire/yaml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO(yaml_close) struct yaml_reader *r = yaml_open((struct str){(const char *)data, size}, NULL);
    struct err err = ERR;
    for (int i = 0; i < 100; i++) {
        AUTO(strbuf_fini) struct strbuf b = STRBUF(1 << 22);
        if (yaml_next(r, &b, &err) != 1)
            break;
        ASSERT(json_check(strbuf_str(&b), &err));
        AUTO(strbuf_fini) struct strbuf again = STRBUF(1 << 23);
        AUTO(strbuf_fini) struct strbuf back = STRBUF(1 << 23);
        yaml_add(&again, strbuf_str(&b));
        if (!again.over)
            (void)!yaml_to_json(strbuf_str(&again), NULL, &back, &err);
    }
    return 0;
}
