#include "hotreload.h"

struct item;
typedef struct plug_state {
    struct item *first;
    int count;
} plug_state;

#define PLUG_FUNCTIONS(X) \
    X(plug_turn, int, (plug_state *state))

HR_FUNCTIONS(plug, PLUG_FUNCTIONS)
