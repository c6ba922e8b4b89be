/* unicode.h - text files as people have them, as UTF-8: UTF-16 as PowerShell writes it, byte order marks, also of
 * files that were joined. Pure. */
#pragma once
#include "base/err.h"

/* Adds the text to `out`, whose bound is the text's. What is neither is refused, with the line (E_INVALID: "line 4:
 * is not UTF-8 (byte 0xfc); save the file as UTF-8"). A mark counts as one at the beginning of a line. */
MUST_USE bool unicode_text(struct str raw, struct strbuf *out, struct err *err);
