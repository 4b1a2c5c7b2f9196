/* The plugin of the crash guard's tests. */
#ifndef CRASH_H
#define CRASH_H

#include "hotreload.h"

typedef struct crash_state {
    unsigned calls;
    unsigned char bytes[252];
} crash_state;

typedef struct crash_big {
    long numbers[9];
} crash_big;

#define CRASH_FUNCTIONS(X) \
    X(crash_call, int, (crash_state *state, const char *kind, const char *file)) \
    X(crash_many, long, (crash_state *state, int a, long b, const char *c, unsigned char d, short e, double f, float g, \
                         double h, double i, double j, double k, double l, double m, long n, crash_big big, double o)) \
    X(crash_around, int, (crash_state *state, int (*inner)(void *), void *argument)) \
    X(crash_leave, int, (crash_state *state, void (*leave)(void))) \
    X(crash_throw, int, (crash_state *state, int value))

HR_FUNCTIONS(crash, CRASH_FUNCTIONS)

#endif
