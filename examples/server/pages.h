/* What the host and the plugin know of each other. */
#ifndef PAGES_H
#define PAGES_H

#include "hotreload.h"

struct site; /* the state, in pages.c: the host looks at none of it */

/* Compiled into the host too: after an edit here the host has to start again. */
struct reply {
    int status;
    char type[64]; /* of the body, as in the header Content-Type */
    size_t length; /* bytes in body */
    char body[32768];
};

#define PAGES_FUNCTIONS(X) X(pages_answer, void, (struct site *site, const char *path, struct reply *reply))

HR_FUNCTIONS(pages, PAGES_FUNCTIONS)

#endif
