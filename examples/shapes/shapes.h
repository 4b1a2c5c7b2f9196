// What the host and the plugin know of each other. Of the state the host knows the name alone: an edit of what is in it
// (drawing.h) is none of the host.
#ifndef SHAPES_H
#define SHAPES_H

#include "heavy.h"
#include "hotreload.h"

struct drawing;

// What has a destructor, as all containers of the standard library have, is the host's: code of any generation may fill
// it, and it outlives all of them. Its type is compiled into the host: after an edit here that has to start again.
struct paper {
    std::vector<std::string> lines;
};

#define SHAPES_FUNCTIONS(X) X(shapes_tick, void, (drawing *now, paper *page))

HR_FUNCTIONS(shapes, SHAPES_FUNCTIONS)

#endif
