/* The plugin of the runtime's tests. -DEXTRA="int more;" makes another state. */
#ifndef PLUG_H
#define PLUG_H

#include "hotreload.h"

#ifndef EXTRA
#define EXTRA
#endif

typedef struct plug_state {
    unsigned calls;
    EXTRA
} plug_state;

#define PLUG_FUNCTIONS(X) \
    X(plug_number, int, (plug_state *state)) \
    X(plug_calls, unsigned, (const plug_state *state)) \
    X(plug_undefined, int, (void))

HR_FUNCTIONS(plug, PLUG_FUNCTIONS)

#endif
