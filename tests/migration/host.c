/* A host that obeys: a command a line on standard input, answers on standard output, each ended by a line "ok". */
#define HOTRELOAD_IMPLEMENTATION
#include "hotreload.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "plug.h"

HR_TABLE(plug, PLUG_FUNCTIONS)

#ifdef THREADS
/* What hangs when a lock was left behind. */
static void *work(void *argument)
{
    for (;;) {
        void *block = malloc(100000);
        FILE *null = fopen("/dev/null", "w");
        if (null) fclose(null);
        free(block);
        usleep(1000);
    }
    return argument;
}
#endif

int main(int count, char **arguments)
{
    char line[64], text[65536];
    hr_host *host;
    hr_desc desc = HR_DESC(plug, count > 1 ? arguments[1] : NULL);
    hr_result now;
    int tries;
    size_t index;
#ifdef THREADS
    pthread_t thread;
    if (pthread_create(&thread, NULL, work, NULL) != 0) return 1;
#endif
#ifdef LOOP_MS
    desc.loop_ms = LOOP_MS;
#endif
#ifdef GUARDED_CALLS
    desc.guarded_calls = GUARDED_CALLS;
#endif
    now = hr_open(&host, &desc);
    while (fgets(line, sizeof line, stdin)) {
        if (strcmp(line, "set\n") == 0) {
            plug.plug_set(now.state);
        } else if (strcmp(line, "show\n") == 0) {
            text[0] = '\0';
            plug.plug_show(now.state, text, sizeof text);
            printf("%s\n", text);
        } else if (strcmp(line, "bytes\n") == 0) {
            for (index = 0; index < now.state_size; index++) printf("%02x", ((unsigned char *)now.state)[index]);
            printf("\n");
        } else if (strcmp(line, "look\n") == 0) { /* once */
            now = hr_poll(host);
            printf("%u %s\n", now.generation, now.text);
        } else if (strcmp(line, "poll\n") == 0) { /* until there is news */
            now = hr_poll(host);
            for (tries = 0; tries < 30000 && !now.changed && !now.refused; tries++) {
                hr_wait(host, 1);
                now = hr_poll(host);
            }
            printf("%s %u %s\n", now.changed ? "changed" : now.refused ? "refused" : "nothing", now.generation,
                   now.text);
        }
        printf("ok\n");
        fflush(stdout);
    }
    hr_close(host);
    return 0;
}
