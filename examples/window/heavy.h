/* What takes the compiler long and is never edited: precompiled (HOTRELOAD_PCH in the SConstruct). */
#ifndef HEAVY_H
#define HEAVY_H

#include <SDL.h>
#include <math.h>

#endif
