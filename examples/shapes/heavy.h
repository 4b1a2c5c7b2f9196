// What takes the compiler long and is never edited: precompiled (HOTRELOAD_PCH in the SConstruct).
#ifndef HEAVY_H
#define HEAVY_H

#include <cmath>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#endif
