#include "base/test.h"
#include "server/negotiate.h"

static int form(const char *accept, enum offer offer)
{
    struct negotiated n;
    struct err err = ERR;
    return negotiate(str_of(accept), offer, &n, &err) ? (int)n.media * 10 + (int)n.form : -1;
}

TEST(negotiate_takes_the_first_clause_it_can_satisfy)
{
    CHECK_INT(form("", OFFER_LIST), 0);
    CHECK_INT(form("*/*", OFFER_LIST), 0);
    CHECK_INT(form("application/*", OFFER_LIST), -1);
    CHECK_INT(form("text/html", OFFER_OBJECT), -1);
    CHECK_INT(form("application/json;as=Table;v=v1;g=meta.k8s.io,application/json", OFFER_LIST), FORM_TABLE);
    CHECK_INT(form("application/json;as=Table;v=v2;g=meta.k8s.io,application/json", OFFER_LIST), FORM_PLAIN);
    CHECK_INT(form("application/json;as=Nonsense;v=v1;g=meta.k8s.io", OFFER_OBJECT), -1);
    CHECK_INT(form("application/vnd.kubernetes.protobuf, application/json", OFFER_LIST), 10 * MEDIA_PROTOBUF);
    CHECK_INT(form("application/json;q=0.4, application/yaml;q=0.5", OFFER_LIST), 10 * MEDIA_YAML);
    CHECK_INT(form("application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json",
                   OFFER_DISCOVERY),
              FORM_DISCOVERY);
}
