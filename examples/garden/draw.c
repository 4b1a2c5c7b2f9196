/* What there is to see: a picture for terminals, a line for pipes and programs. */
#include "garden.h"

#include <stdarg.h>
#include <stdio.h>

typedef struct page {
    char *text;
    size_t size, used;
} page;

static unsigned drawn;

__attribute__((format(printf, 2, 3))) static void say(page *page, const char *format, ...)
{
    va_list arguments;
    int length;

    va_start(arguments, format);
    length = vsnprintf(page->text + page->used, page->size - page->used, format, arguments);
    va_end(arguments);
    if (length > 0 && page->used + (size_t)length < page->size) page->used += (size_t)length;
}

static void people(page *page, const world *world)
{
    for (int i = 0; i < world->count; i++) {
        const creature *one = &world->creatures[i];

        say(page, "%s%s the %s %s %d", i ? ", " : "", one->name, creature_kind(one), creature_gait(one), one->meals);
    }
}

static const char *sign_at(const world *world, int x, int y)
{
    static const char *const flowers[] = {" ", "\033[32m.", "\033[32m,", "\033[32m\"", "\033[1;35m*"};

    for (int i = 0; i < world->count; i++)
        if (world->creatures[i].x == x && world->creatures[i].y == y) return creature_sign(&world->creatures[i]);
    return flowers[world->flowers[y][x]];
}

void garden_picture(const world *world, char *text, size_t size)
{
    page page = {text, size, 0};

    drawn++;
    say(&page, "\033[1m  The garden\033[0m: %s. Tick %u, %u flowers eaten\n", world->motto, world->ticks,
        flowers_eaten());
    for (int y = 0; y < HEIGHT; y++) {
        say(&page, "  \033[48;5;22m ");
        for (int x = 0; x < WIDTH; x++) say(&page, "%s\033[22m", sign_at(world, x, y));
        say(&page, " \033[0m\n");
    }
    for (int i = 0; i < world->count; i++)
        say(&page, "  %s\033[0m %s %d", creature_sign(&world->creatures[i]), world->creatures[i].name,
            world->creatures[i].meals);
    say(&page, "\n");
}

void garden_line(const world *world, char *text, size_t size)
{
    page page = {text, size, 0};

    say(&page, "tick %u, drawn %u: ", world->ticks, drawn);
    people(&page, world);
    say(&page, "; %u eaten; %s", flowers_eaten(), world->motto);
}
