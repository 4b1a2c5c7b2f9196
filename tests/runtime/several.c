/* Several plugins in one process, which does what a test tells it: a command a line in, a line out. All have plug.h's
   functions; arguments: a library for each, or LIBRARY:SIGNAL.
   open | poll I... | elsewhere I | numbers | status I | wait I MS | close I | run N */
#define HOTRELOAD_IMPLEMENTATION
#include "hotreload.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "plug.h"

#define MOST 4

static const char *const names[] = {"plug_number", "plug_calls", "plug_undefined", NULL};
static struct plug_functions tables[MOST];
static hr_host *hosts[MOST];
static hr_result results[MOST];
static int count;

static int number_of(int index)
{
    return results[index].generation ? tables[index].plug_number((plug_state *)results[index].state) : 0;
}

static void *poll_one(void *argument)
{
    const int index = *(int *)argument;
    results[index] = hr_poll(hosts[index]);
    return NULL;
}

static void print_result(int index)
{
    printf(" %d/%u/%d/%d", (int)results[index].code, results[index].generation, results[index].changed,
           results[index].refused);
}

/* Polls and calls all of them, one after the other, until each runs the number `last`; how often two of them differed. */
static int run(int last)
{
    int index, differed = 0, done = 0;
    while (!done) {
        for (index = 0; index < count; index++) results[index] = hr_poll(hosts[index]);
        for (done = 1, index = 0; index < count; index++) {
            differed += number_of(index) != number_of(0);
            done &= number_of(index) == last;
        }
        hr_wait(hosts[0], 1);
    }
    return differed;
}

int main(int argument_count, char **arguments)
{
    char line[512];
    int index;
    count = argument_count - 1 < MOST ? argument_count - 1 : MOST;
    while (fgets(line, sizeof line, stdin)) {
        char *word = strtok(line, " \n");
        if (!word) continue;
        printf("%s", word);
        if (strcmp(word, "open") == 0) {
            for (index = 0; index < count; index++) {
                hr_desc desc;
                char *signal = strchr(arguments[index + 1], ':');
                memset(&desc, 0, sizeof desc);
                if (signal) *signal++ = '\0';
                desc.name = "plug";
                desc.library = arguments[index + 1];
                desc.functions = &tables[index];
                desc.names = names;
                desc.signal = signal ? atoi(signal) : 0;
                results[index] = hr_open(&hosts[index], &desc);
                print_result(index);
            }
        } else if (strcmp(word, "poll") == 0) {
            while ((word = strtok(NULL, " \n"))) {
                results[atoi(word)] = hr_poll(hosts[atoi(word)]);
                print_result(atoi(word));
            }
        } else if (strcmp(word, "elsewhere") == 0) { /* hr_poll in another thread */
            pthread_t thread;
            index = atoi(strtok(NULL, " \n"));
            if (pthread_create(&thread, NULL, poll_one, &index) == 0) pthread_join(thread, NULL);
            print_result(index);
        } else if (strcmp(word, "numbers") == 0) {
            for (index = 0; index < count; index++) printf(" %d", number_of(index));
        } else if (strcmp(word, "status") == 0) {
            printf(" %s", hr_status(hosts[atoi(strtok(NULL, " \n"))]).text);
        } else if (strcmp(word, "wait") == 0) {
            index = atoi(strtok(NULL, " \n"));
            printf(" %d", hr_wait(hosts[index], atoi(strtok(NULL, " \n"))));
        } else if (strcmp(word, "close") == 0) {
            index = atoi(strtok(NULL, " \n"));
            hr_close(hosts[index]);
            hosts[index] = NULL;
        } else if (strcmp(word, "run") == 0) {
            printf(" %d", run(atoi(strtok(NULL, " \n"))));
        }
        printf("\n");
        fflush(stdout);
    }
    for (index = 0; index < count; index++) hr_close(hosts[index]);
    return 0;
}
