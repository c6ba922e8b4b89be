/* log.h - one line per event on stderr: time, level, event name, key=value pairs. Libraries return errors; loop
 * callbacks, `done` functions and main log.
 * error = somebody must act; warn = we go on, and say how; info = a state changed; debug = the rest. */
#pragma once
#include "base/err.h"

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };
void log_level_set(enum log_level most); /* default: info */
void log_role_set(const char *role);     /* printed on each line; borrowed */
/* What stands behind the event. Between quotes of the format, values are escaped (\" \\ \n \t), so that the quotes
 * end where the format says; key=%s gets quotes where its value needs them. Values longer than LOG_VALUE_MAX are cut.
 */
enum { LOG_VALUE_MAX = 2048 };
void log_text(struct strbuf *out, const char *fmt, va_list args) PRINTF(2, 0);
void log_line(enum log_level level, const char *event, const char *fmt, ...) PRINTF(3, 4);
/* log_info("pod.started", "pod=%s ms=%d", name, ms); an event without pairs passes "" */
#define log_error(event, ...) log_line(LOG_ERROR, event, __VA_ARGS__)
#define log_warn(event, ...)  log_line(LOG_WARN, event, __VA_ARGS__)
#define log_info(event, ...)  log_line(LOG_INFO, event, __VA_ARGS__)
#define log_debug(event, ...) log_line(LOG_DEBUG, event, __VA_ARGS__)
