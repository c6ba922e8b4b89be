/* named.h - "NAMESPACE/NAME" of a pod, an object, or whatever has both, as logs, messages and keys have it. */
#pragma once
#include "base/str.h"

#define NAMED_FMT    STR_FMT "/" STR_FMT
#define NAMED_ARG(o) STR_ARG((o)->ns), STR_ARG((o)->name)
