/* A host that does what a test tells it: a command a line on standard input, a line for each on standard output.
   Arguments: LIBRARY [signal=N] [lazy] [verbose] [chain] [state_size=N] */
#define HOTRELOAD_IMPLEMENTATION
#include "hotreload.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "plug.h"

HR_TABLE(plug, PLUG_FUNCTIONS)

static volatile sig_atomic_t chained;

static void earlier_handler(int number)
{
    (void)number;
    chained = chained + 1;
    errno = 0;
}

static struct sigaction wrapped;

static void wrapping_handler(int number)
{
    siginfo_t none;
    memset(&none, 0, sizeof none);
    chained = chained + 1;
    if (wrapped.sa_flags & SA_SIGINFO) wrapped.sa_sigaction(number, &none, NULL);
}

static void print(const char *what, hr_result now)
{
    printf("%s %d %u %d %d %llu %.1f %.1f %s\n", what, (int)now.code, now.generation, now.changed, now.refused,
           (unsigned long long)now.state_size, now.load_us, now.pause_us, now.text);
}

static const char *disposition(int number)
{
    struct sigaction action;
    sigaction(number, NULL, &action);
    if (action.sa_flags & SA_SIGINFO) return "ours";
    return action.sa_handler == SIG_DFL ? "default" : action.sa_handler == earlier_handler ? "earlier" : "other";
}

static int is_blocked(int number)
{
    sigset_t mask;
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    return sigismember(&mask, number);
}

/* Sleeps to its end or tells that a signal came between. */
static const char *sleep_once(long milliseconds)
{
    struct timespec rest;
    rest.tv_sec = milliseconds / 1000;
    rest.tv_nsec = milliseconds % 1000 * 1000000;
    return nanosleep(&rest, NULL) == 0 ? "whole" : strerror(errno);
}

static const char *epoll_once(int milliseconds)
{
    struct epoll_event event;
    const int epoll = epoll_create1(EPOLL_CLOEXEC);
    const int ready = epoll_wait(epoll, &event, 1, milliseconds);
    const char *text = ready == 0 ? "whole" : strerror(errno);
    close(epoll);
    return text;
}

int main(int count, char **arguments)
{
    hr_host *host = NULL;
    hr_desc desc = HR_DESC(plug, NULL);
    hr_result now = hr_status(NULL);
    char line[512];
    int index, number = SIGURG;
    if (count > 1 && arguments[1][0]) desc.library = arguments[1];
    for (index = 2; index < count; index++) {
        if (strncmp(arguments[index], "signal=", 7) == 0) desc.signal = number = atoi(arguments[index] + 7);
        if (strcmp(arguments[index], "lazy") == 0) desc.lazy = 1;
        if (strcmp(arguments[index], "verbose") == 0) desc.verbose = 1;
        if (strcmp(arguments[index], "chain") == 0) signal(number, earlier_handler);
        if (strncmp(arguments[index], "state_size=", 11) == 0) desc.state_size = (size_t)atol(arguments[index] + 11);
    }
    while (fgets(line, sizeof line, stdin)) {
        char *argument = strchr(line, ' ');
        line[strcspn(line, "\n")] = '\0';
        argument = argument ? (*argument = '\0', argument + 1) : line + strlen(line);
        if (strcmp(line, "open") == 0) {
            now = hr_open(&host, &desc);
            print("open", now);
        } else if (strcmp(line, "poll") == 0) {
            now = hr_poll(host);
            print("poll", now);
        } else if (strcmp(line, "status") == 0) {
            print("status", hr_status(host));
        } else if (strcmp(line, "wait") == 0) {
            printf("wait %d\n", hr_wait(host, atoi(argument)));
        } else if (strcmp(line, "call") == 0) {
            const int got = plug.plug_number((plug_state *)now.state);
            printf("call %d %u\n", got, plug.plug_calls((const plug_state *)now.state));
        } else if (strcmp(line, "undefined") == 0) {
            printf("undefined %d\n", plug.plug_undefined());
        } else if (strcmp(line, "state") == 0) {
            printf("state %p\n", now.state);
        } else if (strcmp(line, "fd") == 0) {
            printf("fd %d\n", hr_fd(host));
        } else if (strcmp(line, "sleep") == 0) {
            printf("sleep %s\n", sleep_once(atol(argument)));
        } else if (strcmp(line, "epoll") == 0) {
            printf("epoll %s\n", epoll_once(atoi(argument)));
        } else if (strcmp(line, "signal") == 0) {
            printf("signal %s %d %d\n", disposition(number), is_blocked(number), (int)chained);
        } else if (strcmp(line, "errno") == 0) { /* the handler runs in the middle of this thread's work */
            sigset_t mine;
            sigemptyset(&mine);
            sigaddset(&mine, number);
            pthread_sigmask(SIG_UNBLOCK, &mine, NULL);
            errno = 77;
            raise(number);
            index = errno;
            pthread_sigmask(SIG_BLOCK, &mine, NULL);
            printf("errno %d %d\n", index, (int)chained);
        } else if (strcmp(line, "steal") == 0) {
            signal(number, earlier_handler);
            printf("steal\n");
        } else if (strcmp(line, "wrap") == 0) { /* as another library does that came after ours */
            sigaction(number, NULL, &wrapped);
            signal(number, wrapping_handler);
            printf("wrap\n");
        } else if (strcmp(line, "fork") == 0) { /* the child answers from now on, with its pid first */
            const pid_t child = fork();
            if (child > 0) {
                for (;;) pause();
            }
            printf("fork %ld\n", (long)getpid());
        } else if (strcmp(line, "exec") == 0) {
            printf("exec\n");
            fflush(stdout);
            execl(argument, argument, (char *)NULL);
            return 127;
        } else if (strcmp(line, "close") == 0) {
            hr_close(host);
            host = NULL;
            printf("close\n");
        } else {
            printf("what? %s\n", line);
        }
        fflush(stdout);
    }
    hr_close(host);
    return 0;
}
