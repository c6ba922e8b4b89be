#include "api/codec.h"
#include "base/test.h"
#include "server/remotes_read.h"

static struct str version_shown(struct arena *a, const struct val *v)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    type_encode_json(&b, T(apidiscovery_v2_APIVersionDiscovery), v);
    return str_dup(a, strbuf_str(&b));
}

TEST(aggregated_discovery_is_known_by_its_content_type)
{
    CHECK(remote_is_aggregated(S("application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList")));
    CHECK(remote_is_aggregated(S("application/json; as=APIGroupDiscoveryList; v=v2beta1; g=apidiscovery.k8s.io")));
    CHECK(!remote_is_aggregated(S("application/json;g=apidiscovery.k8s.io;v=v3;as=APIGroupDiscoveryList")));
    CHECK(!remote_is_aggregated(S("application/json")));
    CHECK(!remote_is_aggregated(S("")));
}

TEST(of_aggregated_discovery_its_version_is_read)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct err err = ERR;
    struct val v;
    struct str body = S(
        "{\"kind\":\"APIGroupDiscoveryList\",\"apiVersion\":\"apidiscovery.k8s.io/v2beta1\",\"items\":["
        "{\"metadata\":{\"name\":\"apps\"},\"versions\":[{\"version\":\"v1\",\"resources\":[{\"resource\":\"no\"}]}]}"
        ","
        "{\"metadata\":{\"name\":\"w\"},\"versions\":[{\"version\":\"v2\"},{\"version\":\"v1\",\"resources\":["
        "{\"resource\":\"flunders\",\"responseKind\":{\"group\":\"w\",\"version\":\"v1\",\"kind\":\"Flunder\"},"
        "\"scope\":\"Namespaced\",\"singularResource\":\"flunder\",\"verbs\":[\"get\"],\"unknown\":7}]}]}]}");
    CHECK_OK(remote_aggregated_read(&a, body, S("w"), S("v1"), &v, &err), err);
    CHECK_STR(version_shown(&a, &v),
              S("{\"version\":\"v1\",\"resources\":[{\"resource\":\"flunders\",\"responseKind\":{\"group\":\"w\","
                "\"version\":\"v1\",\"kind\":\"Flunder\"},\"scope\":\"Namespaced\",\"singularResource\":\"flunder\","
                "\"verbs\":[\"get\"]}]}"));
    CHECK_OK(remote_aggregated_read(&a, body, S("w"), S("v3"), &v, &err), err);
    CHECK_STR(version_shown(&a, &v), S("{\"version\":\"v3\"}"));
    static const char *const bad[] = {
        "",
        "garbage",
        "{}",
        "{\"kind\":\"Pod\"}",
        "{\"kind\":\"APIGroupDiscoveryList\",\"items\":7}",
        "{\"kind\":\"APIGroupDiscoveryList\",\"items\":[{\"versions\":[{\"version\":7}]}]}"};
    for (size_t i = 0; i < countof(bad); i++) {
        struct err e = ERR;
        CHECK(!remote_aggregated_read(&a, str_of(bad[i]), S("w"), S("v1"), &v, &e) && e.text[0]);
    }
}

TEST(a_list_of_resources_becomes_the_same)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct err err = ERR;
    struct val v;
    struct str body = S(
        "{\"kind\":\"APIResourceList\",\"apiVersion\":\"v1\",\"groupVersion\":\"w/v1\",\"resources\":["
        "{\"name\":\"flunders/scale\",\"namespaced\":true,\"group\":\"autoscaling\",\"version\":\"v1\","
        "\"kind\":\"Scale\",\"verbs\":[\"get\"]},"
        "{\"name\":\"flunders\",\"singularName\":\"flunder\",\"namespaced\":true,\"kind\":\"Flunder\","
        "\"verbs\":[\"get\",\"list\"],\"shortNames\":[\"fl\"],\"categories\":[\"all\"]},"
        "{\"name\":\"lone/sub\",\"namespaced\":false,\"verbs\":[\"get\"]}]}");
    CHECK_OK(remote_resources_read(&a, body, S("v1"), &v, &err), err);
    CHECK_STR(version_shown(&a, &v),
              S("{\"version\":\"v1\",\"resources\":[{\"resource\":\"flunders\",\"responseKind\":{\"group\":\"\","
                "\"version\":\"\",\"kind\":\"Flunder\"},\"scope\":\"Namespaced\",\"singularResource\":\"flunder\","
                "\"verbs\":[\"get\",\"list\"],\"shortNames\":[\"fl\"],\"categories\":[\"all\"],\"subresources\":["
                "{\"subresource\":\"scale\",\"responseKind\":{\"group\":\"autoscaling\",\"version\":\"v1\",\"kind\":"
                "\"Scale\"},\"verbs\":[\"get\"]}]},{\"resource\":\"lone\",\"responseKind\":{\"group\":\"\","
                "\"version\":\"\",\"kind\":\"\"},\"scope\":\"Cluster\",\"singularResource\":\"\",\"verbs\":null,"
                "\"subresources\":[{\"subresource\":\"sub\",\"responseKind\":{\"group\":\"\",\"version\":\"\","
                "\"kind\":\"\"},\"verbs\":[\"get\"]}]}]}"));
    body = S("{\"kind\":\"APIResourceList\",\"resources\":[{\"name\":\"a\",\"namespaced\":true,\"kind\":\"A\"},"
             "{\"name\":\"a/b\",\"namespaced\":false}]}");
    CHECK(!remote_resources_read(&a, body, S("v1"), &v, &err) && err.kind == E_BAD_REQUEST);
}

TEST(an_index_names_the_document_of_its_own_version_alone)
{
    AUTO(arena_fini) struct arena a = ARENA;
    static const struct {
        const char *body, *url;
    } cases[] = {
        {"{\"paths\":{\"apis/w/v1\":{\"serverRelativeURL\":\"/openapi/v3/apis/w/v1?hash=A\"},\"api/v1\":{}}}",
         "/openapi/v3/apis/w/v1?hash=A"},
        {"{\"paths\":{\"apis/w/v1\":{\"serverRelativeURL\":\"/openapi/v3/apis/w/v1\"}}}", "/openapi/v3/apis/w/v1"},
        {"{\"paths\":{\"apis/w/v1\":{\"serverRelativeURL\":\"/openapi/v3/apis/w/v10\"}}}", ""},
        {"{\"paths\":{\"apis/w/v1\":{\"serverRelativeURL\":\"http://elsewhere/\"}}}", ""},
        {"{\"paths\":{\"apis/w/v2\":{\"serverRelativeURL\":\"/openapi/v3/apis/w/v2\"}}}", ""},
        {"{\"paths\":[\"apis/w/v1\"]}", ""},
        {"7", ""},
    };
    for (size_t i = 0; i < countof(cases); i++) {
        struct err err = ERR;
        struct str url;
        CHECK_OK(remote_index_read(&a, str_of(cases[i].body), S("w"), S("v1"), &url, &err), err);
        CHECK_STR(url, str_of(cases[i].url));
    }
    struct err err = ERR;
    struct str url;
    CHECK(!remote_index_read(&a, S("<html>"), S("w"), S("v1"), &url, &err));
}
