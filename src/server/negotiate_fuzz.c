/* Accept and Content-Type of a stranger. */
#include "server/negotiate.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = {(const char *)data, size};
    for (int offer = OFFER_OBJECT; offer <= OFFER_DISCOVERY; offer++) {
        struct negotiated n;
        struct err err = ERR;
        if (media_negotiate(text, (enum offer)offer, &n, &err))
            ASSERT(media_name(n.media).n);
        else
            ASSERT(err.kind == E_NOT_ACCEPTABLE && err.text[0]);
    }
    (void)negotiate_first_layer(text);
    enum media m;
    (void)!media_of_content_type(text, &m);
    ASSERT(media_param(text, "as").n <= size);
    return 0;
}
