/* A second plugin, of other functions and another state than plug.h's. */
#ifndef OTHER_H
#define OTHER_H

#include "hotreload.h"

typedef struct other_state {
    double sum;
} other_state;

#define OTHER_FUNCTIONS(X) X(other_add, double, (other_state *state, double value))

HR_FUNCTIONS(other, OTHER_FUNCTIONS)

#endif
