/* The host: main [MILLISECONDS a tick]. Keeps the time and the screen; all that is of interest is in the plugin. */
#define HOTRELOAD_IMPLEMENTATION
#include "hotreload.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "garden.h"

HR_TABLE(garden, GARDEN_FUNCTIONS)

static volatile sig_atomic_t ended;

static void end(int number)
{
    (void)number;
    ended = 1;
}

/* Puts a picture at the top of the terminal. Below it the text goes on scrolling as before: the lines of scons watch stay. */
static void show(const char *picture)
{
    static int room;
    struct winsize window;
    int lines = 0;

    for (const char *at = picture; *at; at++) lines += *at == '\n';
    if (lines > room) {
        if (!ioctl(STDOUT_FILENO, TIOCGWINSZ, &window) && window.ws_row < lines + 4) return;
        for (int i = room; i < lines; i++) putchar('\n');
        /* back up, remember the place, the whole screen; lines put in at the top; only the rest scrolls; to the place */
        printf("\033[%dA\0337\033[r\033[H\033[%dL\033[%d;r\0338\033[%dB", lines - room, lines - room, lines + 1, lines - room);
        room = lines;
    }
    fputs("\0337\033[?25l\033[H", stdout);
    for (; *picture; picture++) {
        if (*picture == '\n') fputs("\033[K\r", stdout);
        putchar(*picture);
    }
    fputs("\0338\033[?25h", stdout);
}

int main(int count, char **arguments)
{
    static char text[1 << 16], screen[1 << 17];
    int terminal = isatty(STDOUT_FILENO);
    int pause = count > 1 ? atoi(arguments[1]) : 150;
    struct sigaction on_end;
    hr_host *host;
    hr_desc desc = HR_DESC(garden, "$ORIGIN/libgarden.so");
    hr_result now = hr_open(&host, &desc);

    memset(&on_end, 0, sizeof on_end);
    on_end.sa_handler = end;
    sigaction(SIGTERM, &on_end, NULL);
    sigaction(SIGINT, &on_end, NULL);
    sigaction(SIGHUP, &on_end, NULL);
    setvbuf(stdout, screen, _IOFBF, sizeof screen); /* a picture is one write */
    if (!now.generation) fprintf(stderr, "garden: %s\n", now.text);
    while (!ended && now.code != HR_FAILED) {
        now = hr_poll(host);
        if (now.generation) {
            garden.garden_tick((world *)now.state);
            (terminal ? garden.garden_picture : garden.garden_line)((world *)now.state, text, sizeof text);
            if (terminal) show(text);
            else puts(text);
            fflush(stdout);
        }
        hr_wait(host, pause); /* a reload or a signal ends the wait */
    }
    if (terminal) fputs("\0337\033[r\0338", stdout); /* the whole screen scrolls again */
    hr_close(host);
    return now.code == HR_FAILED;
}
