/* The plugin: routes, pages, counters. */
#include "pages.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* The state: add to it, move, rename; what was counted stays counted. */
struct site {
    unsigned long requests;
    struct {
        unsigned long home, count, missing;
    } hits;
};

HR_STATE(pages, struct site)

static const char greeting[] = "Good morning"; /* edit, save, and look at the browser */

/* Appends to the body; what does not fit is left out. */
__attribute__((format(printf, 2, 3))) static void say(struct reply *reply, const char *format, ...)
{
    size_t room = sizeof reply->body - reply->length;
    va_list rest;
    int length;

    va_start(rest, format);
    length = vsnprintf(reply->body + reply->length, room, format, rest);
    va_end(rest);
    if (length > 0) reply->length += (size_t)length < room ? (size_t)length : room - 1;
}

static void answer_is(struct reply *reply, int status, const char *type)
{
    reply->status = status;
    snprintf(reply->type, sizeof reply->type, "%s", type);
}

static void home(struct site *site, struct reply *reply)
{
    site->hits.home++;
    answer_is(reply, 200, "text/html; charset=utf-8");
    say(reply,
        "<!doctype html>\n<html><head><title>%s</title><meta http-equiv=\"refresh\" content=\"1\"></head>\n"
        "<body style=\"font: 2em sans-serif; margin: 3em\">\n<h1>%s</h1>\n",
        greeting, greeting);
    say(reply, "<p>Request %lu since the server was started; this page: %lu times.</p>\n", site->requests, site->hits.home);
    say(reply, "</body></html>\n");
}

static void count(struct site *site, struct reply *reply)
{
    site->hits.count++;
    answer_is(reply, 200, "text/plain; charset=utf-8");
    say(reply, "%lu requests: / %lu, /count %lu, missing %lu\n", site->requests, site->hits.home, site->hits.count,
        site->hits.missing);
}

static void missing(struct site *site, struct reply *reply)
{
    site->hits.missing++;
    answer_is(reply, 404, "text/plain; charset=utf-8");
    say(reply, "There is no such page. Write it: a function, and a line in routes[] of pages.c.\n");
}

static const struct {
    const char *path;
    void (*answer)(struct site *, struct reply *);
} routes[] = {
    {"/", home},
    {"/count", count},
};

void pages_answer(struct site *site, const char *path, struct reply *reply)
{
    site->requests++;
    for (size_t i = 0; i < sizeof routes / sizeof *routes; i++) {
        if (strcmp(path, routes[i].path)) continue;
        routes[i].answer(site, reply);
        return;
    }
    missing(site, reply);
}
