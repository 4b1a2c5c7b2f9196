/* What the migration tests' host calls: every plugin has its own idea of the state. */
#include "hotreload.h"

#define PLUG_FUNCTIONS(X) \
    X(plug_set, void, (void *state)) \
    X(plug_show, int, (void *state, char *text, size_t size))

HR_FUNCTIONS(plug, PLUG_FUNCTIONS)
