#include "other.h"

HR_STATE(other, other_state)

double other_add(other_state *state, double value) { return state->sum += value * STEP; }
