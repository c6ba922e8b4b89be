/* type_int.h - the fields of built-in types as they stand in the program: numbers instead of pointers, which would
 * have to be relocated, and so be private memory, in every process. type_fields makes the tables of pointers from
 * them. */
#pragma once
#include "api/kind.h"

struct field_row {
    uint16_t name;  /* index into names */
    uint16_t type;  /* into types_builtin */
    uint16_t extra; /* into field_extras; 0: none */
    uint16_t number, flags;
    uint32_t doc;
};
extern const struct field_row field_rows[FIELD_ROWS];
extern const struct field_extra field_extras[];
extern const uint8_t field_orders[];
