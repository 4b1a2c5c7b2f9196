/* Who lives in the garden, and how they walk. */
#include "garden.h"

#include <stdio.h>

static unsigned steps;

static void move(creature *self, int right, int down)
{
    self->x = (short)((self->x + right + WIDTH) % WIDTH);
    self->y = (short)((self->y + down + HEIGHT) % HEIGHT);
    steps++;
}

static void crawl(world *world, creature *self) /* along a row, then the next */
{
    if (world->ticks % 3) return;
    move(self, 1, self->x == WIDTH - 1);
}

static void march(world *world, creature *self) /* to the nearest ripe flower */
{
    int near = WIDTH + HEIGHT, right = 1, down = 0;

    for (int y = 0; y < HEIGHT; y++)
        for (int x = 0; x < WIDTH; x++) {
            int far = (x > self->x ? x - self->x : self->x - x) + (y > self->y ? y - self->y : self->y - y);

            if (world->flowers[y][x] < RIPE || far >= near) continue;
            near = far;
            right = (x > self->x) - (x < self->x);
            down = right ? 0 : (y > self->y) - (y < self->y);
        }
    move(self, right, down);
}

static void flutter(world *world, creature *self) /* with the wind, up and down */
{
    move(self, 1 + world->sky.wind, (int)((world->ticks / 4 + self->born) % 3) - 1);
}

static const struct {
    const char *name, *gait, *sign;
    void (*walk)(world *, creature *);
} kinds[] = {
    [SNAIL] = {"snail", "crawls", "\033[1;33m@", crawl},
    [BEETLE] = {"beetle", "marches", "\033[1;31m%", march},
    [BIRD] = {"bird", "flutters", "\033[1;36mv", flutter},
};

void creature_born(world *world, const char *name, kind kind)
{
    creature *self = &world->creatures[world->count];

    snprintf(self->name, sizeof self->name, "%s", name);
    self->kind = kind;
    self->x = (short)(WIDTH * (2 * world->count + 1) / (2 * CREATURES));
    self->y = (short)(5 * world->count % HEIGHT);
    self->born = world->ticks;
    self->walk = kinds[kind].walk;
    world->count++;
}

void creature_walk(world *world, creature *self)
{
    self->walk(world, self);
    if (flower_eaten(world, self->x, self->y)) self->meals++;
}

const char *creature_kind(const creature *self)
{
    return kinds[self->kind].name;
}

const char *creature_gait(const creature *self)
{
    return self->walk == kinds[self->kind].walk ? kinds[self->kind].gait : "is lost";
}

const char *creature_sign(const creature *self)
{
    return kinds[self->kind].sign;
}
