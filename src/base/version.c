#include "base/version.h"

#ifndef WHERRY_BUILD
#define WHERRY_BUILD "unknown"
#endif

const char *const wherry_version = "v1.36.2+wherry.0";
const char *const wherry_build = WHERRY_BUILD;
