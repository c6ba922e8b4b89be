/* rune.h - what a character is. Pure. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

/* Whether it is shown as it is where Go quotes text (%q): letters, marks, numbers, punctuation, symbols and the
 * blank. */
bool rune_prints(uint32_t c);
