#include "node/csi_int.h"

void csi_driver_came(struct csi *c, struct csi_driver *d)
{
    (void)c, (void)d;
}
