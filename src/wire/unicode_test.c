#include "base/test.h"
#include "wire/unicode.h"

#define TEXT(s) S_INIT(s)
static const struct {
    struct str raw, text; /* text p NULL: refused */
    const char *why;
} rows[] = {
    {TEXT(""), TEXT(""), NULL},
    {TEXT("a\r\n\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80"), TEXT("a\r\n\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80"), NULL},
    {TEXT("\xef\xbb\xbf"
          "a\n---\n\xef\xbb\xbf"
          "b"),
     TEXT("a\n---\nb"), NULL},
    {TEXT("\xef\xbb\xbf\xef\xbb\xbf"
          "a"),
     TEXT("a"), NULL},
    {TEXT("a\xef\xbb\xbf"
          "b"),
     TEXT("a\xef\xbb\xbf"
          "b"),
     NULL},
    {TEXT("\xff\xfe"
          "a\0\r\0\n\0\xe4\0\xac\x20"),
     TEXT("a\r\n\xc3\xa4\xe2\x82\xac"), NULL},
    {TEXT("\xfe\xff\0a\0\n\xd8\x3d\xde\0"), TEXT("a\n\xf0\x9f\x98\x80"), NULL},
    {TEXT("a\0b\0"), TEXT("ab"), NULL},
    {TEXT("\0a\0b"), TEXT("ab"), NULL},
    {TEXT("a\nb\ngr\xfcn"), {0}, "line 3: is not UTF-8 (byte 0xfc); save the file as UTF-8"},
    {TEXT("\xc0\x80"), {0}, "line 1: is not UTF-8 (byte 0xc0); save the file as UTF-8"},
    {TEXT("\xed\xa0\x80"), {0}, "line 1: is not UTF-8 (byte 0xed); save the file as UTF-8"},
    {TEXT("a\n\xe2\x82"), {0}, "line 2: is not UTF-8 (byte 0xe2); save the file as UTF-8"},
    {TEXT("\xff\xfe"
          "a\0\n\0b"),
     {0},
     "line 2: is not UTF-16 (byte 0x62); save the file as UTF-8"},
    {TEXT("\xff\xfe\0\xdc"
          "a\0"),
     {0},
     "line 1: is not UTF-16 (byte 0x00); save the file as UTF-8"},
    {TEXT("\xff\xfe\0\xd8"
          "a\0"),
     {0},
     "line 1: is not UTF-16 (byte 0x00); save the file as UTF-8"},
};

TEST(texts_become_utf8_or_are_refused_with_their_line)
{
    for (size_t i = 0; i < countof(rows); i++) {
        AUTO(strbuf_fini) struct strbuf out = STRBUF(STRBUF_TEXT);
        struct err err = ERR;
        bool ok = unicode_text(rows[i].raw, &out, &err);
        if (rows[i].why) {
            CHECK(!ok);
            CHECK_STR(str_of(err.text), str_of(rows[i].why));
        } else {
            CHECK_OK(ok, err);
            CHECK_STR(strbuf_str(&out), rows[i].text);
        }
    }
    AUTO(strbuf_fini) struct strbuf small = STRBUF(3);
    struct err err = ERR;
    CHECK(!unicode_text(S("four"), &small, &err) && err.kind == E_TOO_LARGE);
}
