/* version.h - which build this is. */
#pragma once
extern const char *const wherry_version; /* "v1.36.2+wherry.0": what the API and the node say */
extern const char *const wherry_build;   /* of the source: what git describe says */
