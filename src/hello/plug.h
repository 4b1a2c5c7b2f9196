/* What the host may call in the plugin: names and types, in one place. */
#ifndef PLUG_H
#define PLUG_H

#include "hotreload.h"

typedef struct plug_state {
    unsigned calls;
} plug_state;

#define PLUG_FUNCTIONS(X) \
    X(plug_hello, void, (plug_state *state))

HR_FUNCTIONS(plug, PLUG_FUNCTIONS)

#endif
