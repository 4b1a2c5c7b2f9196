/* The ground, the weather and the time. */
#include "garden.h"

static const world first = {.sky = {.clouds = 2, .wind = 1}, .motto = "slow and steady"};
HR_STATE_INIT(garden, world, first)

static unsigned pace = 3; /* seeds a tick */
static unsigned eaten;

static unsigned chance(unsigned below)
{
    static unsigned dice = 2463534242u;

    dice ^= dice << 13;
    dice ^= dice >> 17;
    dice ^= dice << 5;
    return dice % below;
}

static void grow(world *world)
{
    unsigned char *flower = &world->flowers[chance(HEIGHT)][chance(WIDTH)];

    if (*flower < RIPE) ++*flower;
}

int flower_eaten(world *world, int x, int y)
{
    unsigned char *flower = &world->flowers[y][x];

    if (*flower < RIPE) return 0;
    *flower = 0;
    eaten++;
    return 1;
}

unsigned flowers_eaten(void)
{
    return eaten;
}

void garden_tick(world *world)
{
    if (!world->count) {
        creature_born(world, "Ada", SNAIL);
        creature_born(world, "Ben", BEETLE);
        creature_born(world, "Cleo", BIRD);
        creature_born(world, "Dora", SNAIL);
        creature_born(world, "Emil", BEETLE);
        for (int i = 0; i < WIDTH * HEIGHT; i++) grow(world);
    }
    world->ticks++;
    for (unsigned i = 0; i < pace; i++) grow(world);
    for (int i = 0; i < world->count; i++) creature_walk(world, &world->creatures[i]);
}
