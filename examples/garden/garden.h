/* A garden that looks after itself: flowers grow, creatures walk about and eat them.

       scons watch --hot-run        (in this directory; a picture above, what scons watch says below)

   Then edit, save, and look at the picture. It is the same process all the time, and nobody in it forgets anything:
   - creatures.c: how a snail walks; a sign or a colour in the table of kinds
   - this file: a field more in a creature, `meals` an int, a kind in front of SNAIL, more letters for a name
   - world.c: `static unsigned pace`: the edited initialiser is taken, what was counted stays
   - draw.c: what the picture looks like
   walk/ has ten edits, one a patch: patch -p1 < walk/1-field-added.patch, and so on. They begin at these files as they are. */
#ifndef GARDEN_H
#define GARDEN_H

#include "hotreload.h"

enum { WIDTH = 64, HEIGHT = 12, CREATURES = 6 };

typedef enum kind { SNAIL, BEETLE, BIRD } kind;

typedef struct creature creature;
typedef struct world world;

struct creature {
    char name[8];
    kind kind;
    short x, y;
    short meals;
    unsigned born; /* tick */
    void (*walk)(world *world, creature *self); /* one of the static functions of creatures.c */
};

struct world {
    unsigned ticks;
    int count;
    creature creatures[CREATURES];
    struct {
        short clouds, wind;
    } sky;
    unsigned char flowers[HEIGHT][WIDTH]; /* 0: bare; RIPE: can be eaten */
    const char *motto;
};

enum { RIPE = 4 };

/* Between the files of the plugin. */
void creature_born(world *world, const char *name, kind kind);
void creature_walk(world *world, creature *self);
const char *creature_kind(const creature *self);
const char *creature_gait(const creature *self);
const char *creature_sign(const creature *self); /* with its colour */
int flower_eaten(world *world, int x, int y);
unsigned flowers_eaten(void);

/* What the host calls. Texts: at most `size` bytes with their NUL are written. */
#define GARDEN_FUNCTIONS(X) \
    X(garden_tick, void, (world *world)) \
    X(garden_picture, void, (const world *world, char *text, size_t size)) \
    X(garden_line, void, (const world *world, char *text, size_t size))

HR_FUNCTIONS(garden, GARDEN_FUNCTIONS)

#endif
