/* The host: the window, the renderer, the time. SDL turns Ctrl-C and SIGTERM into SDL_QUIT. */
#include "flock.h"

#include <stdio.h>

HR_TABLE(flock, FLOCK_FUNCTIONS)

enum { FRAME = 16 }; /* milliseconds */

static int is_over(void)
{
    SDL_Event event;

    while (SDL_PollEvent(&event)) {
        if (event.type == SDL_QUIT) return 1;
        if (event.type == SDL_KEYDOWN && (event.key.keysym.sym == SDLK_q || event.key.keysym.sym == SDLK_ESCAPE)) return 1;
    }
    return 0;
}

int main(int count, char **arguments)
{
    SDL_Window *window;
    SDL_Renderer *page;
    hr_host *host;
    hr_desc desc = HR_DESC(flock, "$ORIGIN/libflock.so");
    hr_result now = hr_open(&host, &desc);
    Uint64 last;
    unsigned frames = 0;

    (void)count;
    (void)arguments; /* SDL wants main to have them */
    SDL_SetHint(SDL_HINT_RENDER_DRIVER, "software"); /* the same picture everywhere, without a graphics card too */
    SDL_SetHint(SDL_HINT_FRAMEBUFFER_ACCELERATION, "0");
    if (SDL_Init(SDL_INIT_VIDEO) || SDL_CreateWindowAndRenderer(WIDTH, HEIGHT, 0, &window, &page)) {
        fprintf(stderr, "window: %s\n", SDL_GetError());
        return 1;
    }
    printf("window: %d x %d, driver %s\n", WIDTH, HEIGHT, SDL_GetCurrentVideoDriver());
    fflush(stdout);
    SDL_SetWindowTitle(window, "examples/window");
    last = SDL_GetTicks64();
    while (now.code != HR_FAILED && !is_over()) {
        Uint64 this = SDL_GetTicks64();

        now = hr_poll(host); /* the safe point */
        if (now.generation) {
            flock.flock_move((struct sky *)now.state, (float)SDL_min(this - last, 100) / 1000.0f);
            flock.flock_draw((struct sky *)now.state, page);
            SDL_RenderPresent(page);
            frames++;
        }
        last = this;
        hr_wait(host, FRAME); /* a reload or a signal ends the wait */
    }
    if (now.code == HR_FAILED) fprintf(stderr, "window: %s\n", now.text);
    if (now.generation)
        printf("window: %u frames drawn, %u counted in the state\n", frames, flock.flock_frames((struct sky *)now.state));
    hr_close(host);
    SDL_DestroyRenderer(page);
    SDL_DestroyWindow(window);
    SDL_Quit();
    return now.code == HR_FAILED;
}
