#include "node/figures.h"

/* Until somebody measures (figures.c), this says so. */
__attribute__((weak)) void figures_text(struct agent *g, enum figures_kind kind, figures_done *done, void *arg)
{
    struct err err = ERR;
    (void)g;
    (void)kind;
    (void)err_set(&err, E_UNAVAILABLE, "the node measures nothing yet");
    done(arg, STR_NONE, &err);
}
