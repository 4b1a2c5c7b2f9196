/* Crashes in every way there is, when its number (MARK, as in plug.c) is even, or in the kind "always:...". In odd ones
   it returns its number. CONSTRUCTOR: crashes while it is opened. */
#define _GNU_SOURCE 1
#include "crash.h"

#include <assert.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define MARK 0x5EED0001

static const volatile int number_constant = MARK;
static const volatile int number_again = MARK;

static const crash_state initial = {7, {1, 2, 3}};
HR_STATE_INIT(crash, crash_state, initial)

static int *volatile nothing;
static volatile int zero;
static void (*volatile nowhere)(void);
static const char *volatile bad = (const char *)8;

static void null_write(void)
{
    *nothing = 1; /* here: null-write */
}

static int deeper(volatile char *above)
{
    volatile char room[4096];
    room[0] = above ? above[0] : 'x';
    room[4095] = room[0];
    if (zero) return 0;
    return deeper(room) + room[4095]; /* here: stack-overflow */
}

static void truncated(const char *path)
{
    const int file = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    volatile char *bytes;
    if (file < 0 || ftruncate(file, 4096) != 0) return;
    bytes = (volatile char *)mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (ftruncate(file, 0) != 0) return;
    bytes[1] = bytes[0]; /* here: truncated */
}

static void *in_a_thread(void *argument)
{
    (void)argument;
    null_write();
    return NULL;
}

static void another_thread(void)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, in_a_thread, NULL) == 0) pthread_join(thread, NULL);
}

static void twice(int big)
{
    char *volatile block = (char *)malloc(big ? 70000 : 40);
    char *volatile behind = (char *)malloc(big ? 70000 : 40);
    block[0] = behind[0] = 1;
    free(block);
    free(block); /* here: double-free */
    free(behind);
}

/* Makes the allocator fault on its own lists, with its lock held. */
static void broken_heap(void)
{
    volatile size_t *volatile block = (volatile size_t *)malloc(3000);
    void *volatile fence = malloc(40);
    free((void *)block);
    block[0] = block[1] = 0x4141414141414140u;
    block = (volatile size_t *)malloc(3000);
    free(fence);
    block = (volatile size_t *)malloc(500000);
}

/* Writes `size` bytes over its own return address and its callers' frames. */
__attribute__((noinline)) static void smash(size_t size)
{
    volatile char *at = (volatile char *)__builtin_frame_address(0);
    while (size--) *at++ = 'A';
} /* here: smash */

__attribute__((noinline)) static int smash_own(void)
{
    volatile char room[512];
    room[0] = 0;
    smash(80);
    return room[0];
}

static int forks(void)
{
    int status = 1;
    const pid_t child = fork();
    if (child == 0) _exit(0);
    return waitpid(child, &status, 0) != child || status != 0;
}

static int masked(void)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    getppid();
    return pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static int compare(const void *first, const void *second)
{
    (void)first, (void)second;
    null_write();
    return 0;
}

static void crash(const char *kind, const char *file)
{
    if (strcmp(kind, "null-write") == 0) null_write();
    if (strcmp(kind, "null-read") == 0) zero = *nothing; /* here: null-read */
    if (strcmp(kind, "division") == 0) zero = 10 / zero; /* here: division */
    if (strcmp(kind, "trap") == 0) __builtin_trap(); /* here: trap */
#if defined(__x86_64__)
    if (strcmp(kind, "breakpoint") == 0) __asm__ volatile("int3"); /* here: breakpoint */
    if (strcmp(kind, "illegal") == 0) __asm__ volatile("ud2"); /* here: illegal */
#endif
    if (strcmp(kind, "abort") == 0) abort(); /* here: abort */
    if (strcmp(kind, "assert") == 0) assert(zero == 1); /* here: assert */
    if (strcmp(kind, "truncated") == 0) truncated(file);
    if (strcmp(kind, "stack-overflow") == 0) zero = deeper(NULL);
    if (strcmp(kind, "endless") == 0)
        while (!zero) zero = 0; /* here: endless */
    if (strcmp(kind, "endless-outside") == 0)
        while (!zero) zero = getppid() < 0; /* here: endless-outside */
    if (strcmp(kind, "endless-forks") == 0)
        while (!zero) zero = forks();
    if (strcmp(kind, "endless-masked") == 0)
        while (!zero) zero = masked();
    if (strcmp(kind, "double-free") == 0) twice(0);
    if (strcmp(kind, "double-free-big") == 0) twice(1);
    if (strcmp(kind, "broken-heap") == 0) broken_heap();
    if (strcmp(kind, "printf") == 0) printf("%s\n", bad); /* here: printf */
    if (strcmp(kind, "strlen") == 0) zero = (int)strlen(bad); /* here: strlen */
    if (strcmp(kind, "null-call") == 0) nowhere(); /* here: null-call */
    if (strcmp(kind, "thread") == 0) another_thread();
    if (strcmp(kind, "smash-own") == 0) zero = smash_own();
    if (strcmp(kind, "smash-host") == 0) smash(2000);
    if (strcmp(kind, "qsort") == 0) {
        int numbers[3] = {3, 1, 2};
        qsort(numbers, 3, sizeof *numbers, compare);
    }
    if (strcmp(kind, "raise") == 0) raise(SIGSEGV); /* here: raise */
}

#ifdef CONSTRUCTOR
__attribute__((constructor)) static void at_once(void)
{
    if (number_constant % 2 == 0) null_write();
}
#endif

static int spoil(crash_state *state)
{
    state->calls++;
    if (number_constant % 2 == 0) memset(state->bytes, 0xEE, sizeof state->bytes);
    return number_constant == number_again ? number_constant : -1;
}

int crash_call(crash_state *state, const char *kind, const char *file)
{
    const int number = spoil(state);
    if (strncmp(kind, "always:", 7) == 0)
        crash(kind + 7, file);
    else if (number % 2 == 0)
        crash(kind, file);
    return number;
}

long crash_many(crash_state *state, int a, long b, const char *c, unsigned char d, short e, double f, float g, double h,
                double i, double j, double k, double l, double m, long n, crash_big big, double o)
{
    long sum;
    size_t index;
    spoil(state);
    if (number_constant % 2 == 0) { /* everything that was passed is spoilt before it crashes */
        a = 0, b = 0, c = bad, d = 0, e = 0, f = g = 0, h = i = j = k = l = m = o = 0, n = 0;
        memset(&big, 0xEE, sizeof big);
        null_write();
    }
    sum = a + 10 * b + 100 * (long)strlen(c) + 1000 * d + 10000 * e + (long)(f + g + h + i + j + k + l + m + o) + n;
    for (index = 0; index < 9; index++) sum += big.numbers[index];
    return sum;
}

int crash_around(crash_state *state, int (*inner)(void *), void *argument)
{
    const int number = spoil(state), got = inner(argument);
    if (number % 2 == 0) null_write();
    return 100 * number + got;
}

int crash_leave(crash_state *state, void (*leave)(void))
{
    spoil(state);
    leave();
    return number_constant;
}

int crash_throw(crash_state *state, int value)
{
    spoil(state);
#ifdef __cplusplus
    if (value) throw value;
#else
    (void)value;
#endif
    return number_constant;
}
