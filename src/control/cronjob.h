/* cronjob.h - what else is asked of CronJobs and their Jobs. Pure. */
#pragma once
#include "control/plan.h"

/* "Complete" or "Failed", as the condition of a Job that is over is called; NULL: it is not. */
const char *cron_job_end(const struct obj *job);
