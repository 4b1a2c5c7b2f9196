// The state. It is plain: numbers, enums, structs, arrays, templates of them; then it goes over, name by name, when its
// types change. Virtual functions, destructors and references are refused in it.
#ifndef DRAWING_H
#define DRAWING_H

enum class kind : unsigned char { circle, box };

struct shape {
    kind what;
    double size;
    double angle; // radians
};

// A container that is plain: it owns nothing.
template <class T, unsigned Room> struct pool {
    unsigned count;
    T items[Room];

    T *begin() { return items; }
    T *end() { return items + count; }
    void add(const T &item)
    {
        if (count < Room) items[count++] = item;
    }
};

struct drawing {
    unsigned ticks;
    pool<shape, 6> shapes;
};

#endif
