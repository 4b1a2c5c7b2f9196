/* One connection's bytes: requests out of what came in, replies into what goes out. No sockets, no plugin. */
#ifndef HTTP_H
#define HTTP_H

#include "pages.h"

enum { HTTP_IN = 8192, HTTP_OUT = sizeof(struct reply) + 512 };

struct http {
    size_t in_length, out_length, out_sent; /* bytes */
    int last;                               /* close it when all is sent */
    char in[HTTP_IN + 1];
    char out[HTTP_OUT];
};

struct request {
    const char *path; /* in http.in, until http_done */
    size_t length;    /* bytes of the request in http.in */
    int body;         /* without one: HEAD */
    int keep;         /* the connection stays open */
    int status;       /* 0, or why it is not for the plugin: 400, 431, 501 */
};

/* Nonzero: a whole request (or one that cannot be answered) stands at the beginning of what came in. */
int http_next(struct http *http, struct request *next);

/* Writes the reply to `next` and takes the request away. Only when all that was written before has been sent. */
void http_done(struct http *http, const struct request *next, const struct reply *reply, unsigned generation);

#endif
