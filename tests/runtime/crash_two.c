/* Two hosts of one library in one thread, each with a table of its own; a command a line. Argument: LIBRARY */
#define HOTRELOAD_IMPLEMENTATION
#include "hotreload.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "crash.h"

static struct crash_functions tables[2];
static const char *const names[] = {"crash_call", "crash_many", "crash_around", "crash_leave", "crash_throw", NULL};
static hr_host *hosts[2];
static hr_result now[2];

static int inner(void *argument)
{
    return tables[1].crash_call((crash_state *)now[1].state, (const char *)argument, "");
}

int main(int count, char **arguments)
{
    hr_desc desc = {"crash", NULL, NULL, names, 0, 0, 0, 0, NULL, 0, 0, 0, NULL};
    char line[512];
    int index;
    desc.library = arguments[count - 1];
    for (index = 0; index < 2; index++) {
        desc.functions = &tables[index];
        now[index] = hr_open(&hosts[index], &desc);
    }
    while (fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = '\0';
        if (strcmp(line, "poll") == 0) {
            for (index = 0; index < 2; index++) now[index] = hr_poll(hosts[index]);
            printf("poll %u %u\n", now[0].generation, now[1].generation);
        } else if (strcmp(line, "nested") == 0) { /* the second's call crashes within the first's, which crashes later */
            char kind[] = "null-write";
            printf("nested %d\n", tables[0].crash_around((crash_state *)now[0].state, inner, kind));
        } else if (strcmp(line, "signals") == 0) {
            struct sigaction action;
            stack_t stack;
            sigaction(SIGSEGV, NULL, &action);
            sigaltstack(NULL, &stack);
            printf("signals %s %s\n", action.sa_handler == SIG_DFL ? "default" : "other",
                   (stack.ss_flags & SS_DISABLE) ? "none" : "some");
        }
        fflush(stdout);
    }
    hr_close(hosts[0]);
    hr_close(hosts[1]);
    return 0;
}
