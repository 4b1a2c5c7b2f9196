/* For ThreadSanitizer: two hosts of one library, each in a thread of its own, poll without pause while generations come.
   Ends when both have seen `argument 1` change-overs; exit status 1 when a call came out wrong. */
#define HOTRELOAD_IMPLEMENTATION
#include "hotreload.h"

#include <stdio.h>
#include <stdlib.h>

#include "plug.h"

static struct plug_functions tables[2];
static const char *const names[] = {"plug_number", "plug_calls", "plug_undefined", NULL};
static int wanted, wrong;

static void *one_host(void *argument)
{
    struct plug_functions *table = (struct plug_functions *)argument;
    hr_host *host;
    hr_desc desc = {"plug", NULL, NULL, names, 0, 0, 0, 0, NULL, 0, 0, 0, NULL};
    hr_result now;
    int changes = 0, refused = 0;
    desc.functions = table;
    now = hr_open(&host, &desc);
    while (changes < wanted && now.code != HR_FAILED) {
        now = hr_poll(host);
        changes += now.changed;
        refused += now.refused;
        if (now.generation && table->plug_number((plug_state *)now.state) < 0) wrong = 1;
        hr_wait(host, now.generation ? 0 : 100);
    }
    printf("%d change-overs, %d refusals\n", changes, refused);
    hr_close(host);
    return NULL;
}

int main(int count, char **arguments)
{
    pthread_t thread;
    wanted = count > 1 ? atoi(arguments[1]) : 1;
    pthread_create(&thread, NULL, one_host, &tables[0]);
    one_host(&tables[1]);
    pthread_join(thread, NULL);
    return wrong;
}
