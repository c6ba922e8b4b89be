#include "base/test.h"
#include "client/kubeconfig.h"
#include "sys/file.h"
#include <fcntl.h>

#define CONFIG                                                                                                       \
    "apiVersion: v1\nkind: Config\ncurrent-context: a\n"                                                             \
    "clusters: [{name: c, cluster: {server: 'https://1.2.3.4:6443', certificate-authority: ca.pem}},"                \
    "           {name: d, cluster: {server: 'unix:///run/w.sock'}}]\n"                                               \
    "users: [{name: u, user: {token: secret}}, {name: x, user: {exec: {command: aws}}},"                             \
    "        {name: w, user: {client-certificate: w.pem, client-key: w.key}}]\n"                                     \
    "contexts: [{name: a, context: {cluster: c, user: u, namespace: team}}, {name: b, context: {cluster: d}},"       \
    "           {name: e, context: {cluster: d, user: x}}, {name: f, context: {cluster: nope}},"                     \
    "           {name: g, context: {cluster: d, user: w}}]\n"

static bool no_files(struct arena *a, struct str path, struct str *out, struct err *err)
{
    (void)err;
    *out = arena_fmt(a, "content of " STR_FMT, STR_ARG(path));
    return true;
}

static bool kubeconfig_of(struct arena *a, struct kubeconfig_overrides o, struct kubeconfig *k, struct err *err)
{
    return kubeconfig_parse(a, S(CONFIG), S("/dir"), no_files, &o, k, err);
}

TEST(the_current_context_is_resolved)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct kubeconfig k;
    struct err err = ERR;
    CHECK_OK(kubeconfig_of(&a, (struct kubeconfig_overrides){0}, &k, &err), err);
    CHECK_STR(k.server, S("https://1.2.3.4:6443"));
    CHECK_STR(k.ca_pem, S("content of /dir/ca.pem"));
    CHECK_STR(k.token, S("secret"));
    CHECK_STR(k.ns, S("team"));
}

TEST(the_command_line_wins)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct kubeconfig k;
    struct err err = ERR;
    CHECK_OK(kubeconfig_of(&a, (struct kubeconfig_overrides){.context = S("b"), .ns = S("mine"), .token = S("t")}, &k,
                           &err),
             err);
    CHECK_STR(k.server, S("unix:///run/w.sock"));
    CHECK_STR(k.token, S("t"));
    CHECK_STR(k.ns, S("mine"));
}

TEST(a_token_given_is_instead_of_the_users_certificate)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct kubeconfig k;
    struct err err = ERR;
    CHECK_OK(kubeconfig_of(&a, (struct kubeconfig_overrides){.context = S("g")}, &k, &err), err);
    CHECK_STR(k.cert_pem, S("content of /dir/w.pem"));
    CHECK_OK(kubeconfig_of(&a, (struct kubeconfig_overrides){.context = S("g"), .token = S("t")}, &k, &err), err);
    CHECK_STR(k.cert_pem, S(""));
    CHECK_STR(k.token, S("t"));
}

TEST(what_is_missing_is_named)
{
    static const struct {
        const char *context, *text;
    } cases[] = {
        {"nope", "contexts: there is no context \"nope\""},
        {"f", "clusters: there is no cluster \"nope\""},
        {"e", "users: user \"x\": exec is not supported; use a client certificate or a token"},
    };
    for (size_t i = 0; i < countof(cases); i++) {
        AUTO(arena_fini) struct arena a = ARENA;
        struct kubeconfig k;
        struct err err = ERR;
        CHECK(!kubeconfig_of(&a, (struct kubeconfig_overrides){.context = str_of(cases[i].context)}, &k, &err));
        CHECK_STR(str_of(err.text), str_of(cases[i].text));
    }
}

TEST(files_of_KUBECONFIG_are_joined_and_the_first_wins)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct err err = ERR;
    struct str one = arena_fmt(&a, "%s/one", test_dir()), two = arena_fmt(&a, "%s/two", test_dir());
    CHECK_OK(file_write(AT_FDCWD, one.p,
                        S("current-context: b\ncontexts: [{name: b, context: {cluster: d, user: u}}]\n"), 0600, &err),
             err);
    CHECK_OK(file_write(AT_FDCWD, two.p, S(CONFIG), 0600, &err), err);
    setenv("KUBECONFIG", arena_fmt(&a, STR_FMT ":/nowhere:" STR_FMT, STR_ARG(one), STR_ARG(two)).p, 1);
    struct kubeconfig k;
    CHECK_OK(kubeconfig_load(&a, NULL, NULL, &k, &err), err);
    CHECK_STR(k.server, S("unix:///run/w.sock"));
    CHECK_STR(k.token, S("secret")); /* the first file's context, the second's user */
}
