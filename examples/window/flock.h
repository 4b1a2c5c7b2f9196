/* What the host and the plugin know of each other. */
#ifndef FLOCK_H
#define FLOCK_H

#include "heavy.h"

#include "hotreload.h"

enum { WIDTH = 640, HEIGHT = 480 }; /* of the window, pixels: the host opens it once */

struct sky; /* the state, in flock.c: the host looks at none of it */

/* `seconds`: since the last frame. */
#define FLOCK_FUNCTIONS(X)                                     \
    X(flock_move, void, (struct sky *sky, float seconds))      \
    X(flock_draw, void, (struct sky *sky, SDL_Renderer *page)) \
    X(flock_frames, unsigned, (const struct sky *sky))

HR_FUNCTIONS(flock, FLOCK_FUNCTIONS)

#endif
