/* Change the greeting and save: the running program says the new one, and goes on counting. */
#include "plug.h"

#include <stdio.h>

HR_STATE(plug, plug_state)

void plug_hello(plug_state *state)
{
    state->calls++;
    printf("Hello Link (call %u)\n", state->calls);
}
