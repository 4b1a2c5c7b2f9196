// The runtime, in a file of its own: it is compiled once, however often the others are edited.
#define HOTRELOAD_IMPLEMENTATION
#include "hotreload.h"
