/* The runtime, in a file of its own: it is compiled once, however often garden.h is edited. */
#define HOTRELOAD_IMPLEMENTATION
#include "hotreload.h"
