#include "base/test.h"
#include "server/negotiate.h"

static int form_of(const char *accept, enum offer offer)
{
    struct negotiated n;
    struct err err = ERR;
    return media_negotiate(str_of(accept), offer, &n, &err) ? (int)n.media * 10 + (int)n.form : -1;
}

TEST(negotiate_takes_the_first_clause_it_can_satisfy)
{
    CHECK_INT(form_of("", OFFER_LIST), 0);
    CHECK_INT(form_of("*/*", OFFER_LIST), 0);
    CHECK_INT(form_of("application/*", OFFER_LIST), -1);
    CHECK_INT(form_of("text/html", OFFER_OBJECT), -1);
    CHECK_INT(form_of("application/json;as=Table;v=v1;g=meta.k8s.io,application/json", OFFER_LIST), FORM_TABLE);
    CHECK_INT(form_of("application/json;as=Table;v=v2;g=meta.k8s.io,application/json", OFFER_LIST), FORM_PLAIN);
    CHECK_INT(form_of("application/json;as=Nonsense;v=v1;g=meta.k8s.io", OFFER_OBJECT), -1);
    CHECK_INT(form_of("application/vnd.kubernetes.protobuf, application/json", OFFER_LIST), 10 * MEDIA_PROTOBUF);
    CHECK_INT(form_of("application/json;q=0.4, application/yaml;q=0.5", OFFER_LIST), 10 * MEDIA_YAML);
    CHECK_INT(form_of("application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json",
                      OFFER_DISCOVERY),
              FORM_DISCOVERY);
}

TEST(negotiate_knows_the_older_name_of_tables)
{
    struct negotiated n;
    struct err err = ERR;
    CHECK_OK(media_negotiate(S("application/json;as=Table;v=v1beta1;g=meta.k8s.io"), OFFER_LIST, &n, &err), err);
    CHECK(n.form == FORM_TABLE && n.beta);
    CHECK_OK(media_negotiate(S("application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;"
                               "g=meta.k8s.io,application/json"),
                             OFFER_LIST, &n, &err),
             err);
    CHECK(n.form == FORM_TABLE && !n.beta);
    CHECK_OK(media_negotiate(S("application/json;as=Table;v=v1beta1;g=other,application/json"), OFFER_LIST, &n, &err),
             err);
    CHECK(n.form == FORM_PLAIN && !n.beta);
}
