/* The host: main [MILLISECONDS a tick]. Keeps the time and the screen; all that is of interest is in the plugin. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "garden.h"

HR_TABLE(garden, GARDEN_FUNCTIONS)

static volatile sig_atomic_t ended;
static int room; /* lines that the picture has at the top of the terminal */

static void end(int number)
{
    (void)number;
    ended = 1;
}

/* Of the terminal; 0 when there is none. */
static int rows(void)
{
    struct winsize window;

    return isatty(STDOUT_FILENO) && !ioctl(STDOUT_FILENO, TIOCGWINSZ, &window) ? window.ws_row : 0;
}

static int lines_of(const char *text)
{
    int lines = 0;

    for (; *text; text++) lines += *text == '\n';
    return lines;
}

/* Puts a picture at the top of the terminal. Below it text goes on scrolling as before: the lines of scons watch stay. */
static void show(const char *picture)
{
    int lines = lines_of(picture), more = lines - room;

    if (more > 0) { /* room: what is on the screen moves down, or up out of it */
        for (int i = 0; i < more; i++) putchar('\n');
        printf("\033[%dA\0337\033[r\033[H\033[%dL\0338\033[%dB", more, more, more);
        room = lines;
    }
    printf("\0337\033[?25l\033[%d;r\033[H", room + 1); /* only what is below it scrolls */
    for (; *picture; picture++) {
        if (*picture == '\n') fputs("\033[K\r", stdout);
        putchar(*picture);
    }
    fputs("\0338\033[?25h", stdout);
}

int main(int count, char **arguments)
{
    static char text[1 << 16], screen[1 << 17];
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
            garden.garden_picture((world *)now.state, text, sizeof text);
            if (rows() >= lines_of(text) + 5) {
                show(text);
            } else {
                garden.garden_line((world *)now.state, text, sizeof text);
                puts(text);
            }
            fflush(stdout);
        }
        hr_wait(host, pause); /* a reload or a signal ends the wait */
    }
    if (room) fputs("\0337\033[r\0338", stdout); /* the whole screen scrolls again */
    hr_close(host);
    return now.code == HR_FAILED;
}
