/* A host whose threads make and free typed blocks all the time, while its plugin is reloaded; counts on standard output.
   The same with HR_RELEASE, without a reload, and linked with the plugin alone. */
#define HOTRELOAD_IMPLEMENTATION
#include "hotreload.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "threads.h"

HR_TABLE(plug, PLUG_FUNCTIONS)

struct mine { /* the host's own: no plugin knows it */
    int value;
    struct mine *next;
};

static int stop;

static void *work(void *argument)
{
    unsigned char *failures = (unsigned char *)argument;
    unsigned turn;
    for (turn = 0; !__atomic_load_n(&stop, __ATOMIC_ACQUIRE) || turn < 1000; turn++) {
        struct mine *first = NULL;
        int count;
        for (count = 0; count < 20; count++) {
            struct mine *made = hr_new(struct mine, (size_t)(1 + count % 3));
            if (!made || made->value) *failures = 1;
            if (!made) break;
            made->value = count;
            made->next = first;
            first = made;
        }
        while (first) {
            struct mine *next = first->next;
            if (first->value != --count) *failures = 2;
            hr_free(first);
            first = next;
        }
    }
    return NULL;
}

int main(int count, char **arguments)
{
    pthread_t threads[3];
    unsigned char failures[3] = {0, 0, 0};
    char line[64];
    hr_host *host;
    hr_desc desc = HR_DESC(plug, count > 1 ? arguments[1] : NULL);
    hr_result now = hr_open(&host, &desc);
    volatile size_t huge = (size_t)-1 / 4;
    int index;
    if (hr_new(struct mine, huge)) return 2;
    for (index = 0; index < 3; index++)
        if (pthread_create(&threads[index], NULL, work, &failures[index]) != 0) return 1;
    while (fgets(line, sizeof line, stdin)) {
        now = hr_poll(host);
        for (index = 0; index < 30000 && strcmp(line, "poll\n") == 0 && !now.changed && !now.refused; index++) {
            hr_wait(host, 1);
            now = hr_poll(host);
        }
        printf("%d %u %d\n", (int)now.code, now.generation, now.generation ? plug.plug_turn((plug_state *)now.state) : -1);
        fflush(stdout);
    }
    __atomic_store_n(&stop, 1, __ATOMIC_RELEASE);
    for (index = 0; index < 3; index++) pthread_join(threads[index], NULL);
    hr_close(host);
    return failures[0] | failures[1] | failures[2];
}
