#include "cel/expr.h"
#include <stdlib.h>
#include <string.h>

enum { ISSUES_SHOWN = 100 };

void cel_issue_add(struct cel_issues *issues, uint32_t at, const char *fmt, ...)
{
    if (issues->n == issues->cap) {
        uint32_t cap = issues->cap ? issues->cap * 2 : 4;
        struct cel_issue *list = arena_alloc(issues->a, cap * sizeof *list);
        if (issues->n)
            memcpy(list, issues->list, issues->n * sizeof *list);
        issues->list = list;
        issues->cap = cap;
    }
    va_list args;
    va_start(args, fmt);
    issues->list[issues->n++] = (struct cel_issue){at, arena_vfmt(issues->a, fmt, args)};
    va_end(args);
}

/* Finds the line of a place: its text, its number and the column in it, both from 0. */
static struct str line_of(struct str source, uint32_t at, uint32_t *line, uint32_t *column)
{
    size_t start = 0, i = 0;
    *line = *column = 0;
    for (uint32_t left = at; i < source.n && left; left--) {
        if (source.p[i] == '\n') {
            ++*line;
            start = i + 1;
            *column = 0;
        } else {
            ++*column;
        }
        for (i++; i < source.n && ((unsigned char)source.p[i] & 0xC0) == 0x80;)
            i++;
    }
    size_t end = start;
    while (end < source.n && source.p[end] != '\n')
        end++;
    return str_sub(source, start, end);
}

/* The line and, below, where in it. What is wider than ASCII is marked by marks as wide. */
static void show_place(struct strbuf *out, struct str line, uint32_t column)
{
    strbuf_addz(out, "\n | ");
    for (size_t i = 0; i < line.n; i++)
        strbuf_addc(out, line.p[i] == '\t' ? ' ' : line.p[i]);
    strbuf_addz(out, "\n | ");
    size_t i = 0;
    bool wide = false;
    for (uint32_t c = 0; c <= column; c++) {
        wide = i < line.n && ((unsigned char)line.p[i] & 0x80);
        if (c < column)
            strbuf_addz(out, wide ? "．" : ".");
        if (i < line.n)
            for (i++; i < line.n && ((unsigned char)line.p[i] & 0xC0) == 0x80;)
                i++;
    }
    strbuf_addz(out, wide ? "＾" : "^");
}

void cel_issues_text(struct cel_issues *issues, struct strbuf *out)
{
    for (uint32_t i = 1; i < issues->n; i++) { /* few; equal places stay in their order */
        struct cel_issue moved = issues->list[i];
        uint32_t k = i;
        for (; k && issues->list[k - 1].at + 1 > moved.at + 1; k--)
            issues->list[k] = issues->list[k - 1];
        issues->list[k] = moved;
    }
    for (uint32_t i = 0; i < issues->n && i < ISSUES_SHOWN; i++) {
        const struct cel_issue *issue = &issues->list[i];
        if (i)
            strbuf_addc(out, '\n');
        if (issue->at == CEL_NOWHERE) {
            strbuf_addf(out, "ERROR: <input>:-1:0: " STR_FMT, STR_ARG(issue->text));
            continue;
        }
        uint32_t line, column;
        struct str text = line_of(issues->source, issue->at, &line, &column);
        strbuf_addf(out, "ERROR: <input>:%u:%u: " STR_FMT, line + 1, column + 1, STR_ARG(issue->text));
        show_place(out, text, column);
    }
    if (issues->n > ISSUES_SHOWN)
        strbuf_addf(out, "\n%u more errors were truncated", issues->n - ISSUES_SHOWN);
}
