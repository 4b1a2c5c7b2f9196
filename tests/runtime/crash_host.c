/* A host whose plugin crashes: a command a line on standard input, a line for each on standard output.
   Arguments: LIBRARY [calls=N] [loop=MS] [unguarded] [threads] [handler] [stack] [verbose] */
#define HOTRELOAD_IMPLEMENTATION
#include "hotreload.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <ucontext.h>
#include <unistd.h>

#include "crash.h"

HR_TABLE(crash, CRASH_FUNCTIONS)

static hr_host *host;
static hr_result now;
static jmp_buf back;
static volatile int stop, busy;
static int threads;

static void own_handler(int number)
{
    static const char text[] = "the host's own handler\n";
    const ssize_t written = write(1, text, sizeof text - 1);
    (void)written;
    _exit(40 + (number == SIGSEGV));
}

/* The host's own fault; UBSan, where the host is built with it, does not come before. */
#if defined(__clang__) || __GNUC__ >= 8
__attribute__((no_sanitize("undefined")))
#endif
static void own_fault(size_t address) { *(volatile int *)address = 1; }

static void leave(void) { longjmp(back, 1); }

/* Coroutines, each with a guarded call under way. */
enum { COROUTINES = 3 };
static ucontext_t main_context, contexts[COROUTINES];
static char stacks[COROUTINES][65536];
static int results[COROUTINES], turn;

static void suspend(void) { swapcontext(&contexts[turn], &main_context); }

static void coroutine(void)
{
    const int result = crash.crash_leave((crash_state *)now.state, suspend);
    results[turn] = result;
}

#ifdef __cplusplus
struct witness { /* that frames between are unwound */
    ~witness() { busy = busy + 1; }
};
#endif

static int call_again(void *argument)
{
    return crash.crash_call((crash_state *)now.state, (const char *)argument, "");
}

/* What hangs when a lock was left behind. */
static void *work(void *argument)
{
    (void)argument;
    while (!stop) {
        void *block = malloc((size_t)(rand() % 5000 + 100000));
        FILE *null = fopen("/dev/null", "w");
        if (null) {
            fprintf(null, "%p", block);
            fclose(null);
        }
        free(block);
        busy = busy + 1;
        usleep(1000);
    }
    printf("thread\n");
    return NULL;
}

/* SIGSEGV's disposition, signal stack, and mask of the fault signals: all that is to be as before. */
static void print_signals(void)
{
    static const int numbers[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT};
    struct sigaction action;
    stack_t stack;
    sigset_t mask;
    size_t index;
    printf("signals");
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    for (index = 0; index < sizeof numbers / sizeof *numbers; index++) {
        sigaction(numbers[index], NULL, &action);
        printf(" %s%s", (action.sa_flags & SA_SIGINFO)      ? "ours"
                        : action.sa_handler == SIG_DFL      ? "default"
                        : action.sa_handler == own_handler  ? "own"
                                                            : "other",
               sigismember(&mask, numbers[index]) ? "-blocked" : "");
    }
    sigaltstack(NULL, &stack);
    printf(" stack %s %lu\n", (stack.ss_flags & SS_DISABLE) ? "none" : "some", (unsigned long)stack.ss_size);
}

static void print(const char *what, hr_result result)
{
    printf("%s %d %u %d %d %llu %.1f %.1f %s\n", what, (int)result.code, result.generation, result.changed,
           result.refused, (unsigned long long)result.state_size, result.load_us, result.pause_us, result.text);
}

int main(int count, char **arguments)
{
    hr_desc desc = HR_DESC(crash, NULL);
    const struct rlimit no_core = {0, 0};
    struct rlimit small = {1 << 20, 1 << 20};
    char line[512], file[512];
    static char own_stack[65536];
    pthread_t thread;
    int index;
    setrlimit(RLIMIT_CORE, &no_core);
    setrlimit(RLIMIT_STACK, &small);
    desc.library = arguments[1];
    snprintf(file, sizeof file, "%s.mapped", arguments[1]);
    for (index = 2; index < count; index++) {
        if (strncmp(arguments[index], "calls=", 6) == 0) desc.guarded_calls = (unsigned)atoi(arguments[index] + 6);
        if (strncmp(arguments[index], "loop=", 5) == 0) desc.loop_ms = atoi(arguments[index] + 5);
        if (strcmp(arguments[index], "unguarded") == 0) desc.unguarded = 1;
        if (strcmp(arguments[index], "threads") == 0) threads = 1;
        if (strcmp(arguments[index], "verbose") == 0) desc.verbose = 1;
        if (strcmp(arguments[index], "handler") == 0) {
            signal(SIGSEGV, own_handler);
            signal(SIGABRT, own_handler);
        }
        if (strcmp(arguments[index], "blocked") == 0) {
            sigset_t mask;
            sigemptyset(&mask);
            sigaddset(&mask, SIGTRAP);
            sigaddset(&mask, SIGBUS);
            pthread_sigmask(SIG_BLOCK, &mask, NULL);
        }
        if (strcmp(arguments[index], "stack") == 0) {
            stack_t stack;
            memset(&stack, 0, sizeof stack);
            stack.ss_sp = own_stack;
            stack.ss_size = sizeof own_stack;
            sigaltstack(&stack, NULL);
        }
    }
    if (threads && pthread_create(&thread, NULL, work, NULL) != 0) return 1;
    while (fgets(line, sizeof line, stdin)) {
        char *argument = strchr(line, ' ');
        line[strcspn(line, "\n")] = '\0';
        argument = argument ? (*argument = '\0', argument + 1) : line + strlen(line);
        if (strcmp(line, "open") == 0) {
            print("open", now = hr_open(&host, &desc));
        } else if (strcmp(line, "poll") == 0) {
            print("poll", now = hr_poll(host));
        } else if (strcmp(line, "wait") == 0) {
            printf("wait %d\n", hr_wait(host, atoi(argument)));
        } else if (strcmp(line, "call") == 0) {
            errno = 77;
            index = crash.crash_call((crash_state *)now.state, argument, file);
            printf("call %d %d\n", index, errno);
        } else if (strcmp(line, "again") == 0) {
            for (index = atoi(argument); index > 0; index--)
                crash.crash_call((crash_state *)now.state, "none", file);
            printf("again\n");
        } else if (strcmp(line, "many") == 0) {
            crash_big big = {{1, 2, 3, 4, 5, 6, 7, 8, 9}};
            printf("many %ld\n", crash.crash_many((crash_state *)now.state, 1, 2, "abc", 4, 5, 1.5, 2.5f, 3, 4, 5, 6, 7,
                                                  8, 1000000, big, 9));
        } else if (strcmp(line, "around") == 0) {
            index = crash.crash_around((crash_state *)now.state, call_again, argument);
            printf("around %d\n", index);
        } else if (strcmp(line, "leave") == 0) {
            if (setjmp(back) == 0) crash.crash_leave((crash_state *)now.state, leave);
            printf("leave\n");
        } else if (strcmp(line, "suspend") == 0) {
            for (turn = 0; turn < COROUTINES; turn++) {
                getcontext(&contexts[turn]);
                contexts[turn].uc_stack.ss_sp = stacks[turn];
                contexts[turn].uc_stack.ss_size = sizeof stacks[turn];
                contexts[turn].uc_link = &main_context;
                makecontext(&contexts[turn], coroutine, 0);
                swapcontext(&main_context, &contexts[turn]);
            }
            printf("suspend\n");
        } else if (strcmp(line, "resume") == 0) {
            for (turn = 0; turn < COROUTINES; turn++) swapcontext(&main_context, &contexts[turn]);
            printf("resume %d %d %d\n", results[0], results[1], results[2]);
        } else if (strcmp(line, "throw") == 0) {
            volatile int caught = 0;
#ifdef __cplusplus
            try {
                witness here;
                crash.crash_throw((crash_state *)now.state, atoi(argument));
            } catch (int value) {
                caught = value;
            }
#endif
            printf("throw %d %d\n", caught, busy);
        } else if (strcmp(line, "own") == 0) { /* the host's own fault */
            fflush(stdout);
            own_fault((size_t)atoi(argument));
        } else if (strcmp(line, "state") == 0) {
            printf("state ");
            for (index = 0; (size_t)index < sizeof(crash_state); index++)
                printf("%02x", ((unsigned char *)now.state)[index]);
            printf("\n");
        } else if (strcmp(line, "table") == 0) {
            printf("table %lx %lx\n", (unsigned long)crash.crash_call, (unsigned long)crash.crash_throw);
        } else if (strcmp(line, "signals") == 0) {
            print_signals();
        } else if (strcmp(line, "allocate") == 0) { /* as much as finds every lock that was left behind */
            void *block = malloc(300000), *small_block = malloc(24);
            FILE *null = fopen("/dev/null", "w");
            if (null) fclose(null);
            free(block);
            free(small_block);
            fprintf(stderr, "%s", "");
            printf("allocate\n");
        } else if (strcmp(line, "join") == 0) {
            stop = 1;
            if (threads) pthread_join(thread, NULL);
            printf("join\n");
        } else if (strcmp(line, "pid") == 0) {
            printf("pid %ld\n", (long)getpid());
        } else if (strcmp(line, "fork") == 0) { /* the child answers from now on */
            const pid_t child = fork();
            if (child > 0)
                for (;;) pause();
            printf("fork %ld\n", (long)getpid());
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
