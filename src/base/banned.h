/* banned.h - calls that are compile errors everywhere; included by mem.h, which everything includes.
 * What they are replaced by: mem.h (allocation), str.h (text), loop.h and clock.h (time, randomness). */
#pragma once
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if !defined WHERRY_ALLOW_BANNED && !defined __clang__ /* clang takes the attribute on a first declaration only */
#define BANNED(fn, instead) extern __typeof__(fn) fn __attribute__((error(instead)))
BANNED(malloc, "mem_alloc");
BANNED(calloc, "mem_alloc");
BANNED(realloc, "mem_grow");
BANNED(strdup, "mem_dupz");
BANNED(strndup, "str_dupz");
BANNED(strcpy, "strbuf_add");
BANNED(strcat, "strbuf_add");
BANNED(sprintf, "strbuf_addf");
BANNED(vsprintf, "strbuf_addvf");
BANNED(strtok, "str_cut");
BANNED(atoi, "str_to_i64");
BANNED(atol, "str_to_i64");
BANNED(system, "sys/child.h");
#undef BANNED
#undef alloca
#define alloca(n) alloca_is_banned_use_an_arena
#endif
