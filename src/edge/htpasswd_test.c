#include "base/test.h"
#include "edge/htpasswd.h"

/* Made by `openssl passwd`, htpasswd and crypt(3), of the word "secret". */
static const char lines[] =
    "sha:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n"
    "apr:$apr1$saltsalt$LrttParrLPdxvgutaSXWJ0\n"
    "md5:$1$saltsalt$9xy1btjgzLYfb7hivXtC//\n"
    "sha256:$5$saltsalt$0IyaXrmV7.sGNS6tirgqHLqX/G.FBvgkYA.lpPdS5sA\n"
    "sha512:$6$saltsalt$TVLlQcbpFVof5W3Yz4DTP6gRstiNuHwwTt6GLc1E5n0U0aDehy0S5knV8wiOQSpT0Y77vwPZN.Pq.H91p5hVO1\n"
    "bcrypt:$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n"
    "des:abNANd1rDfiNc\n"
    "long:$apr1$abc$pyHzetGvXYfH5Vn4WCneK1\n";

TEST(passwords_are_compared)
{
    static const char *const names[] = {"sha", "apr", "md5", "sha256", "sha512", "bcrypt", "des"};
    struct err err = ERR;
    for (size_t i = 0; i < countof(names); i++) {
        CHECK_OK(htpasswd_check(str_of(lines), str_of(names[i]), S("secret"), &err), err);
        CHECK(!htpasswd_check(str_of(lines), str_of(names[i]), S("Secret"), &err) && err.kind == E_FORBIDDEN);
        CHECK(!htpasswd_check(str_of(lines), str_of(names[i]), S(""), &err) && err.kind == E_FORBIDDEN);
    }
    CHECK_OK(htpasswd_check(str_of(lines), S("long"), S("a longer passphrase of over sixteen letters"), &err), err);
    CHECK(!htpasswd_check(str_of(lines), S("nobody"), S("secret"), &err) && err.kind == E_NOT_FOUND);
}

TEST(what_is_no_hash_matches_nothing)
{
    struct err err = ERR;
    CHECK(!htpasswd_check(S("a:secret\n"), S("a"), S("secret"), &err) && err.kind == E_INVALID);
    CHECK(!htpasswd_check(S("a:\n"), S("a"), S(""), &err) && err.kind == E_INVALID);
    CHECK(!htpasswd_check(S("a:$apr1$x\n"), S("a"), S("x"), &err) && err.kind == E_INVALID);
    CHECK(!htpasswd_check(S("a:$99$abcdefghijklm\n"), S("a"), S("x"), &err) && err.kind == E_INVALID);
    CHECK(!htpasswd_valid(S("a:secret\n"), &err) && !htpasswd_valid(S("nothing\n"), &err));
    CHECK_OK(htpasswd_valid(str_of(lines), &err), err);
    CHECK_OK(htpasswd_valid(S("# one\n\nb:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n"), &err), err);
}
