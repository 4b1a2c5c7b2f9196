/* The plugin: how the birds look and fly. */
#include "flock.h"

enum { BIRDS = 80 };

struct bird {
    float x, y;   /* pixels, from the top left */
    float vx, vy; /* pixels a second */
};

/* The state: add to it, to a bird, or more birds; those that are there fly on. */
struct sky {
    unsigned frames;
    unsigned dice;
    unsigned count;
    struct bird birds[BIRDS];
};

HR_STATE(flock, struct sky)

static const SDL_Color birds_are = {255, 200, 60, 255}; /* edit, save, and look at the window */
static const SDL_Color sky_is = {20, 30, 60, 255};

static const float size = 9.0f;     /* of a bird, pixels */
static const float pace = 1.0f;     /* of time; 0: they hold still */
static const float slowest = 60.0f; /* pixels a second */
static const float fastest = 160.0f;
static const float sight = 60.0f;    /* pixels: how far a bird sees others */
static const float elbow = 18.0f;    /* pixels: nearer than this is too near */
static const float together = 1.0f; /* the wish to be where the others are */
static const float alike = 2.0f;    /* the wish to fly as they do */
static const float apart = 12.0f;   /* the wish not to touch */
static const float turn = 300.0f;   /* at the window's edge; pixels a second, every second */

static float chance(struct sky *sky, float below)
{
    sky->dice = sky->dice * 1664525u + 1013904223u;
    return below * (float)(sky->dice >> 8) / (float)(1u << 24);
}

static void hatch(struct sky *sky)
{
    struct bird *one = &sky->birds[sky->count++];

    one->x = chance(sky, WIDTH);
    one->y = chance(sky, HEIGHT);
    one->vx = chance(sky, 2 * fastest) - fastest;
    one->vy = chance(sky, 2 * fastest) - fastest;
}

static void steer(struct sky *sky, struct bird *self, float seconds)
{
    float x = 0, y = 0, vx = 0, vy = 0, others = 0, speed;

    for (unsigned i = 0; i < sky->count; i++) {
        const struct bird *other = &sky->birds[i];
        float right = other->x - self->x, down = other->y - self->y, far = hypotf(right, down);

        if (other == self || far > sight) continue;
        others++;
        x += right;
        y += down;
        vx += other->vx - self->vx;
        vy += other->vy - self->vy;
        if (far > elbow) continue;
        self->vx -= right * apart * seconds;
        self->vy -= down * apart * seconds;
    }
    if (others > 0) {
        self->vx += (x * together + vx * alike) / others * seconds;
        self->vy += (y * together + vy * alike) / others * seconds;
    }
    if (self->x < sight) self->vx += turn * seconds;
    if (self->y < sight) self->vy += turn * seconds;
    if (self->x > WIDTH - sight) self->vx -= turn * seconds;
    if (self->y > HEIGHT - sight) self->vy -= turn * seconds;
    speed = hypotf(self->vx, self->vy) + 0.01f;
    if (speed < slowest || speed > fastest) {
        self->vx *= (speed < slowest ? slowest : fastest) / speed;
        self->vy *= (speed < slowest ? slowest : fastest) / speed;
    }
}

void flock_move(struct sky *sky, float seconds)
{
    if (!sky->count) sky->dice = (unsigned)SDL_GetPerformanceCounter(); /* each start has another flock */
    while (sky->count < BIRDS) hatch(sky);
    if (sky->count > BIRDS) sky->count = BIRDS;
    seconds *= pace;
    if (!(seconds > 0)) return;
    for (unsigned i = 0; i < sky->count; i++) {
        struct bird *one = &sky->birds[i];

        steer(sky, one, seconds);
        one->x += one->vx * seconds;
        one->y += one->vy * seconds;
    }
}

static SDL_Vertex corner(const struct bird *bird, float ahead, float aside)
{
    float speed = hypotf(bird->vx, bird->vy) + 0.01f, right = bird->vx / speed, down = bird->vy / speed;
    SDL_Vertex made = {{bird->x + right * ahead - down * aside, bird->y + down * ahead + right * aside}, birds_are, {0, 0}};

    return made;
}

void flock_draw(struct sky *sky, SDL_Renderer *page)
{
    SDL_SetRenderDrawColor(page, sky_is.r, sky_is.g, sky_is.b, sky_is.a);
    SDL_RenderClear(page);
    for (unsigned i = 0; i < sky->count; i++) {
        const struct bird *one = &sky->birds[i];
        SDL_Vertex corners[] = {corner(one, size, 0), corner(one, -size, -size / 2), corner(one, -size, size / 2)};

        SDL_RenderGeometry(page, NULL, corners, 3, NULL, 0);
    }
    sky->frames++;
}

unsigned flock_frames(const struct sky *sky)
{
    return sky->frames;
}
