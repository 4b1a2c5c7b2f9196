/* The host: calls the plugin once a second, and takes its newest code at the top of the loop. */
#define HOTRELOAD_IMPLEMENTATION
#include "hotreload.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "plug.h"

HR_TABLE(plug, PLUG_FUNCTIONS)

static volatile sig_atomic_t ended;

static void end(int number)
{
    (void)number;
    ended = 1;
}

int main(void)
{
    hr_host *host;
    hr_desc desc = HR_DESC(plug, "$ORIGIN/libplug.so");
    hr_result now = hr_open(&host, &desc);
    struct sigaction on_end;

    memset(&on_end, 0, sizeof on_end);
    on_end.sa_handler = end;
    sigaction(SIGTERM, &on_end, NULL);
    sigaction(SIGINT, &on_end, NULL);

    printf("hello: pid %ld\n", (long)getpid());
    if (!now.generation) fprintf(stderr, "hello: %s\n", now.text);
    while (!ended && now.code != HR_FAILED) {
        now = hr_poll(host);
        if (now.refused) fprintf(stderr, "hello: %s\n", now.text);
        if (now.generation) plug.plug_hello((plug_state *)now.state);
        fflush(stdout);
        hr_wait(host, 1000);
    }
    hr_close(host);
    return now.code == HR_FAILED;
}
