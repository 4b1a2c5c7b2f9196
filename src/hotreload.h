/* hotreload.h - the running program takes new code, and keeps its state.        MIT licence, see LICENSE.

   PURPOSE
     Your program (the host) is linked without its interesting part (the plugin), opens it as a shared library, and at
     one place in its loop, the safe point, changes over to the newest build of it. `scons watch` builds, publishes and
     signals; this file is the host's half. Whatever fails, the old code goes on and the reason is told.

   A PLUGIN
     | // plug.h: names and types of the functions, in one place
     | #include "hotreload.h"
     | typedef struct plug_state { unsigned calls; } plug_state;
     | #define PLUG_FUNCTIONS(X) \
     |     X(plug_hello, void, (plug_state *state))
     | HR_FUNCTIONS(plug, PLUG_FUNCTIONS)

     | // plug.c
     | #include "plug.h"
     | HR_STATE(plug, plug_state)
     | void plug_hello(plug_state *state) { state->calls++; }

   A HOST
     | #define HOTRELOAD_IMPLEMENTATION            // in one file, and there before any other #include
     | #include "hotreload.h"
     | #include "plug.h"
     | HR_TABLE(plug, PLUG_FUNCTIONS)              // static struct plug_functions plug: a typed pointer a function
     | int main(void)
     | {
     |     hr_host *host;
     |     hr_desc desc = HR_DESC(plug, "$ORIGIN/libplug.so");
     |     hr_result now = hr_open(&host, &desc);
     |     for (;;) {
     |         now = hr_poll(host);                              // the safe point
     |         if (now.generation) plug.plug_hello((plug_state *)now.state);
     |         hr_wait(host, 1000);                              // or your own poll loop with hr_fd(host)
     |     }
     | }
     Link it with -ldl -pthread (glibc before 2.34; harmless later). Call the plugin only through the table: a direct
     call links the plugin into the host for good, and later generations' own calls would bind to that old copy (the
     builder refuses such a host).

   FUNCTIONS
     hr_open    registers the process, loads the newest generation if there is one, starts the loader thread
     hr_poll    the safe point: changes over to a loaded generation, or does nothing (no system call, no lock)
     hr_wait    sleeps until there is something to do at the safe point, a signal handler ran, or the time is over
     hr_fd      descriptor that is readable while there is something to do at the safe point, for poll/epoll/select
     hr_status  what the last hr_poll found: what runs, and why not something newer
     hr_close   ends the registration and the loader thread
     hr_new     memory that goes over when its type changes, for the plugin's code (MEMORY)
     hr_free    gives it back

   CONFIGURATION (define before including, same value in every file)
     HOTRELOAD_IMPLEMENTATION   in exactly one C or C++ file of the host
     HR_RELEASE                 the plugin is linked for good: no dlopen, thread or signal remains, calls are direct
     HR_MAX_HOSTS               hr_open's that may be open at once in a process; default 16
     HR_STATE_RESERVE           bytes of address space set aside for a plugin's state; default 64 MiB, used as touched

   THREADS
     One thread at a time uses an hr_host: hr_poll, hr_wait, hr_status and hr_close. While it is in hr_poll no other
     thread may be in plugin code or read the table. A loader thread per hr_host does all slow work (checks, dlopen,
     reading pages in, dlclose), so a plugin's constructors and destructors run there; they may not call hr_ functions
     (hr_new and hr_free they may). It blocks every signal but the reload signal.

   SEVERAL PLUGINS
     One hr_open, one table, one state for each. What one change rebuilt is published together and taken together: a
     generation waits until the others of its change are loaded too, and if one of them is refused, all are, with its
     reason. Poll them one after the other, in one thread, at one place where no plugin's code is on the stack: then the
     first of these hr_polls changes over to all, and each one's own hr_poll tells of it:
         a = hr_poll(sim_host);
         b = hr_poll(view_host);
     Hosts of different threads, or that are not polled in turns, change over each at its own hr_poll, and none waits for
     another's. A generation that was to be published beside another that never came is taken after ten seconds. A crash
     takes back the plugin that crashed, not the others of its change; what is built upon that change waits for its mending.
     A plugin that needs another one's functions gets them through your table, which stays where it is and is filled anew
     at each change-over:
         // view.h:  #include "sim.h"    and a function  X(view_show, void, (view_state *, const struct sim_functions *))
         // host:    view.view_show((view_state *)b.state, &sim);
     It must not be linked to the other (the builder refuses that): it would keep the copy that it was loaded with. Do
     not keep a function pointer out of a table over a safe point.

   SIGNALS
     The reload signal (desc.signal; 0 is SIGURG, which is ignored by default and so harms nobody) gets a handler that
     only writes to an eventfd, keeps errno, and calls the handler that was there before. hr_open blocks the signal in
     the calling thread, and so in threads and children made later: the loader thread takes it, and no system call of
     yours is interrupted by us (signal(7)). Threads that exist before hr_open may see EINTR where SA_RESTART does not
     help, and a program that you exec and that waits for this very signal must unblock it first. Do not replace the
     handler later. The last hr_close unblocks the signal and puts an earlier handler back; where the default would end
     the process, ours stays and does nothing, since a signal may be under way.
     A bare `kill -URG PID` reloads to the newest published generation.

   OWNERSHIP
     The state belongs to the runtime: zeros, then the default of the first generation's HR_STATE_INIT, at an address
     that never changes from hr_open to hr_close. `text` of a result is valid until the next hr_ call on that host. The
     table is yours, filled at the safe point. Generations N and N-1 stay mapped, and those that crashed; N-2 is closed,
     unless something may point into it for ever (a thread, a signal handler, a string literal in the state). hr_close
     frees the state and leaves the code mapped, since pointers to it may be about.

   RESULTS
     HR_RUNNING   the newest generation runs. A text of its own ("cannot register ...") says that no builder sees this
                  host: make room or permission there, it tries again by itself.
     HR_WAITING   nothing is published, or the directory is not there: run scons; it is taken as soon as it is there.
     HR_DETACHED  a forked child: it keeps the code that it has. hr_close, then hr_open, makes it a host of its own.
     HR_FAILED    hr_open could not start; the text says why. hr_close it.
     HR_REFUSED   what ran before goes on, and the next signal or save tries again. The text is one of
       functions missing: ...           the list in plug.h and the plugin differ: define them, or build the host again
       dlopen: ... undefined symbol     define it, or link its library into plugin or host
       ... is cut off, has N bytes, is not an ELF file, for another machine, not a shared library
                                        the file is not what a linker for this machine makes: build again
       state.PATH ..., the state's size changed
                                        it cannot be carried over: put it back as it was, or restart the host
       no plan leads from ...           run scons reload, which makes one
       ... built together with it, is refused
                                        the other plugin's reason follows: mend that one
       the host was compiled with ...   host and plugin have different headers: build the host again
       other users can write ..., belongs to another user
                                        somebody else could choose the code that runs here: chmod go-w, or move
       ...newest is damaged             somebody wrote into the run directory: build again
       generation N crashed: ...        change the code (CRASHES)
       plug_before_reload of generation N crashed: ...
                                        save again: the next generation is taken without asking it (CRASHES)
       plug_after_reload of generation N crashed: ... (also behind one of the others)
                                        the old code's, told that it goes on; it is not called again (CRASHES)

   HOOKS
     Called when the plugin defines them (the prototypes come with HR_FUNCTIONS; `plug` is its name), by the thread that
     did the hr_poll, within it:
       int plug_before_reload(void *state, char *reason, size_t size)
           in the old code, before anything is carried over: stop threads, close what new code could not take over. Not 0:
           not now, and why (`reason`, `size` bytes with the NUL). Then all goes on as it was, hr_poll's text and the
           builder tell the reason, and it is asked again after 50 ms, later every two seconds (hr_fd and hr_wait wake).
       void plug_after_reload(void *state, const hr_migration *what)
           in the new code, when it has the state and the statics: start the threads again, register callbacks. Also for
           the first generation (`from` 0; with HR_RELEASE in hr_open), and with `from` and `to` equal in the old code
           when there was no reload after all though its plug_before_reload had returned 0, and in the old code after a
           crash in the new (`from` is the one that crashed). A crash in it is one in new code (CRASHES).
     They may not call hr_ functions of this host but hr_new and hr_free. hr_close calls none: stop threads that use the state before it.
     Several plugins that change over together are all asked first; one that says not now holds the others.
     What no plan can know (another unit, another meaning, a handle) is migrated by a function of the plugin:
       HR_MIGRATE(plug_state, angle, plug_to_radians)
       void plug_to_radians(void *now, const void *was, const void *object)
       { *(float *)now = *(const float *)was * 0.01745329f; (void)object; }
     `now` is the new field, which holds its default; `was` the old one of that name (or by HR_RENAMED), NULL where there
     was none; `object` the old object that it is a field of, of the old type. HR_MIGRATE_TYPE(type, function) does it for
     whole objects: `was` and `object` are the same. It happens once: not for hosts that come from a generation with the
     same line, so it may stay; give another function its own name. The function runs before the change-over, in the new
     library, whose statics may not have their values yet, and must not change anything but `now`; pointers that it
     copies stay good (the old library stays mapped), but no one moves them along. Not for bit-fields, not in unions. Going
     back to a generation from before the line (--hot-undo) keeps the field as it is, and says so.

   CRASHES
     The first calls into a new generation are guarded: 100 calls and one second at the least, or desc.guarded_calls
     alone. When one of them faults (SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, also by an overflow of the stack)
     or uses more than 10 s (desc.loop_ms) of processor time, the previous generation is back at once: the state's bytes
     are as they were at the change-over, the table has the old functions, and the call that crashed is made again with
     the old function and the same arguments. The next hr_poll returns HR_REFUSED with `changed`. A file in the run
     directory, libplug.so.crashed.DIGEST, keeps every host and the builder from that very library; delete it to try
     again. The library stays mapped, and is not unloaded, since it may have left anything anywhere.
     A guarded call takes 0.2 us more; the change-over 2 us, and what a copy of the state takes (41 us for 1 MB), which
     also needs its memory.
     Afterwards, at the next safe point, the table gets the plain pointers: nothing of it remains, signal handlers and
     signal stack are yours again. Until then the table holds other pointers than dlsym gives; they stay valid.
     What is put back is the state; the old code has statics of its own, as they were. What the crashed call did
     elsewhere stays done: files, the host's memory, blocks that it allocated (lost), locks of its own that it took.
     The 128 bytes above the call's return address (arguments on the stack, then your own variables) are as at the
     call; the upper halves of 256-bit arguments and the mask of signals are not.
     Only calls through the table by the thread that did the hr_poll are guarded, the outermost one of them. A call that
     is left by longjmp or a C++ exception is over; both may pass through the guard.
     plug_before_reload and the functions of HR_MIGRATE are guarded in the same way, each time; nothing of the change-over has
     happened yet. After a crash in a migration the old code goes on, and nobody loads the new library again. After one in
     plug_before_reload, which is old code, the state's bytes are as they were before it (its statics are as it left them), the
     new library is refused for good, and the next one is taken without asking that hook again. So it is with
     plug_after_reload where the old code is told that it goes on.
     A crash ends the process as it would without us, with a line in the record for the builder, when
       - there is no previous generation, or the crash is in another thread, in a constructor or destructor, or in host
         code that the plugin did not call;
       - the stack was overwritten as far as the caller's return address;
       - it is in other code (the C library, say), and that may hold a lock for ever. What counts: nothing else was called
         (the address lies in the plugin), or a null pointer was called: always good. A function that the plugin called
         directly and that called nobody (strlen, memcpy), or abort, assert, raise: good if within 2 s another thread can
         take the locks of malloc, dlopen, stdout and stderr. Anything else (printf of a bad pointer): good if there is
         no other thread than ours, and the locks of malloc and dlopen can be taken.
     An endless loop is ended where it is in the plugin's own code, between the calls that it makes (one in the C library
     itself goes on), and never under a debugger. Blocking (read, a lock) costs no processor time and is no endless loop.
     Handlers of yours for these signals are put aside meanwhile, and called for a fault that is not the guard's. If such
     a handler mends faults (write barriers, lazily mapped memory), set desc.unguarded.
     Off, with the reason in the record's "guard" (`scons hosts` shows it): by desc.unguarded; elsewhere than on x86-64;
     in programs built with Address-, Thread- or MemorySanitizer; with a shadow stack; where process_vm_readv or
     executable memory is forbidden.

   STATE AND STATICS
     When the type of the state changes, its fields go over by name: kept, moved, nested, arrays grown or cut, numbers
     converted (clamped where they do not fit), enumerators by their names, bit-fields, texts cut with their NUL. A new
     field begins as in HR_STATE_INIT, or zero. The plugin's globals and statics, those of functions too, keep their
     values the same way; one whose initialiser was edited takes the new value. What became of what is told by the
     builder, which made the plan from the debug information (compile the plugin with -g).
         HR_RENAMED(plug_state, health, hp)       at file level: the field (or enumerator) hp was called health
         HR_FRESH static int frames;              begins anew with every generation
     Pointers: within the state, to functions, globals and statics of the plugin they are put right. What a pointer to a
     string literal points to stays mapped. What is refused, with the path (state.world->chunks): a pointer to memory of
     your own whose type has changed its layout (but for that of hr_new), to something that the new code does not have, a changed member of a
     union, and C++ objects with virtual functions, destructors or references; such statics begin anew, and are named.
     Without debug information a state of the same size goes over as it is, and statics begin anew.
     Pass the state on to the plugin; a host that reads its fields has the layout that it was compiled with.
     Pointers to the plugin's statics that are kept elsewhere (in malloc'ed memory, in the host) are not put right.

   MEMORY
     Memory from malloc stays as it is, so a change of its types is refused while the state, a static or a block points
     to it. Memory for which the type is known goes over too, and the pointers with it:
         struct chunk *chunk = hr_new(struct chunk, 100);    zeroed, for 100 of them; NULL: memory is out
         hr_free(chunk);                                     NULL does nothing; other memory goes to free()
     hr_new(type, n) takes a type that `type *` points to: struct, typedef, class, or a pointer. In C++ no constructor
     and no destructor is called. Every thread may call both. With HR_RELEASE, in a test without a host, in a
     constructor of the library, and in a plugin without HR_STATE they are calloc and free.
     At a change-over each block of a changed type becomes what the new code has for it, element by element, by the rules of
     the state (new fields are zero; HR_RENAMED, HR_MIGRATE and HR_MIGRATE_TYPE hold), whether anything points to it or
     not. A block has a quarter more room than it needs (none in programs with a sanitizer), so a field more usually
     leaves it where it is. Else it moves, and every pointer to it, to an element, to a field in it, or to its end
     follows: those in the state, in globals and statics of the plugin, and in blocks of that plugin. Pointers elsewhere
     do not (in the host's variables, in memory from malloc, on stacks, in another plugin). What is refused, with the path:
     a pointer that may not be left as it is to a block that has another type (one carved out of hr_new(char, n), say),
     to a field that is gone; and blocks of a type name that source files define differently.
     While hr_poll changes over no thread may be in plugin code (THREADS), nor use a block; threads of the host that call
     hr_new or hr_free meanwhile wait for it.
     After a crash blocks that went over are as they were at the change-over, at their old address, and what the new code
     had freed is there again (it is freed only when no crash can come any more). Blocks of unchanged types are not put back.
     Blocks belong to the plugin whose code makes them. Those that the host's own code makes are the plugin's where there is one,
     and are left alone where there are several; so are those of a library that several hr_open have opened. hr_close frees those of its plugin.

   RESTART
     When the functions changed, `scons watch --hot-run` ends its host and starts it again. At a safe point, after
     plug_before_reload, the old process leaves the state and the plugin's statics in a file; hr_poll then waits for the
     end, a second at most, or until a signal is handled. hr_open of the new process carries them over as a reload would and
     calls plug_after_reload with `restarted`. Pointers into the state and to functions and variables of the plugin are put
     right; with any other that is not NULL in either, both begin anew, and the builder tells which it was. The same when an
     HR_MIGRATE sees an object with pointers. Each plugin for itself. Descriptors, pthread_t, pids and the like go over as
     the numbers that they are: open again in plug_after_reload what they stood for.

   FORK, EXEC
     A forked child keeps the code it has and does not reload. After an exec the process is no host; its record's lock
     is gone, so nobody signals it. Do not fork in the middle of a reload and call dlopen in the child: use exec.

   LIMITS
     Linux, gcc or clang, ELF. No thread may be left in code of generation N-2 and nothing may point into it. Where
     the plugin's own imports tell that something may (it starts threads, sets signal handlers, makes pthread keys,
     ...) the builder marks it, and its generations stay mapped, one more a reload; what other libraries keep of it (a
     callback registered with them) is yours to take back. The same holds for what the C library cannot unload:
     STB_GNU_UNIQUE symbols, -z nodelete, thread_local objects with destructors that a thread has used. Generations
     are opened in .hotreload/: that is $ORIGIN in their run path.
     RTLD_LAZY (desc.lazy) finds an undefined function only when it is called; then the process ends.
     Do not open and close the host's record yourself: that drops its lock (fcntl(2)).

   FILES
     Only DIR/.hotreload/ beside the library, see slot.py. Directories must be yours and not writable by others. */

#ifndef HOTRELOAD_H
#define HOTRELOAD_H

#if defined(HOTRELOAD_IMPLEMENTATION) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE 1 /* dl_iterate_phdr, eventfd and more under -std=c99 */
#endif

#include <stddef.h>

#define HR_ABI 1u
#define HR_EXPORT __attribute__((visibility("default")))

#ifdef __cplusplus
#define HR__BEGIN extern "C" {
#define HR__END }
#define HR__EXTERN extern "C"
#define HR__ALIGNOF(type) alignof(type)
#else
#define HR__BEGIN
#define HR__END
#define HR__EXTERN extern
#define HR__ALIGNOF(type) __alignof__(type)
#endif

/* Status and its text. */
#define HR_CODES(X)                                                                                                    \
    X(HR_RUNNING, "the newest published generation runs")                                                              \
    X(HR_WAITING, "nothing is published yet: run scons, or scons watch")                                               \
    X(HR_REFUSED, "the newest generation was refused; what ran before goes on")                                        \
    X(HR_DETACHED, "this is a forked child: it keeps the code it has; open again in it to reload")                     \
    X(HR_FAILED, "the runtime could not start; the text says why")                                                     \
    X(HR_CLOSED, "the host is closed or was never opened")

#define HR__ENUM(name, text) name,
typedef enum hr_code { HR_CODES(HR__ENUM) HR__CODES } hr_code;
#undef HR__ENUM

/* What a change-over was, for PLUGIN_after_reload. */
typedef struct hr_migration {
    unsigned from, to;         /* numbers of generations; `from` 0: the first one; equal: it did not come to a reload */
    size_t old_size, new_size; /* bytes of the state */
    unsigned statics;          /* variables of the plugin that kept their values */
    unsigned lost;             /* values that did not fit into their new type, or have no name any more */
    const char *words;         /* what became of the fields, or why there was no reload; valid during the call */
    int restarted;             /* the old code ran in a process before this one, which left its state (RESTART) */
    unsigned blocks;           /* of hr_new that were carried over, because their types changed */
} hr_migration;

typedef int hr_before_reload_fn(void *state, char *reason, size_t size);
typedef void hr_after_reload_fn(void *state, const hr_migration *what);
typedef void hr_migrate_fn(void *now, const void *was, const void *object);

/* What a plugin says of itself (HR_STATE). */
typedef struct hr_plugin_info {
    unsigned abi;
    size_t state_size;      /* bytes */
    size_t state_alignment; /* bytes */
    const void *initial;    /* state_size bytes for a new state; NULL: zeros */
} hr_plugin_info;

typedef struct hr_desc {
    const char *name;          /* of the plugin, as in HR_FUNCTIONS; NULL: it has no HR_STATE */
    const char *library;       /* where the linker puts it; NULL: "$ORIGIN/libplug.so". "$ORIGIN/..." is the program's
                                  directory (ld.so(8)); other relative paths: from the working directory of hr_open */
    void *functions;           /* table to fill: function pointers, in the order of names */
    const char *const *names;  /* NULL-terminated; NULL: no functions */
    size_t state_size;         /* bytes, for a plugin without HR_STATE; with it 0, or what the host was compiled with */
    int signal;                /* 0: SIGURG */
    int lazy;                  /* RTLD_LAZY instead of RTLD_NOW */
    int verbose;               /* tell each reload and refusal on stderr */
    const hr_plugin_info *linked; /* HR_RELEASE only */
    int unguarded;             /* nonzero: no crash guard (CRASHES) */
    unsigned guarded_calls;    /* into each new generation; 0: 100 calls, and one second at the least */
    int loop_ms;               /* of processor time in one guarded call: an endless loop. 0: 10000; negative: no limit */
    hr_after_reload_fn *started; /* HR_RELEASE only */
} hr_desc;

typedef struct hr_result {
    hr_code code;
    unsigned generation; /* that runs; 0: none, the table is not filled */
    int changed;         /* this call changed over to it */
    int refused;         /* this call brings a new refusal, or the same one after another try */
    void *state;         /* address of the plugin's state; NULL after HR_FAILED */
    size_t state_size;   /* bytes; 0 before the first generation */
    double load_us;      /* of the last load, on the loader thread: check, open, look up, read pages in */
    double pause_us;     /* of the last change-over, at the safe point */
    const char *text;    /* what is the matter and what to do */
} hr_result;

typedef struct hr_host hr_host;

/* In plug.h, without a semicolon: a type per function (plug_hello_fn), the prototypes that the plugin must match, and
   struct plug_functions of typed pointers. */
#define HR_FUNCTIONS(plugin, LIST)                                                                                     \
    LIST(HR__TYPE)                                                                                                     \
    LIST(HR__PROTOTYPE)                                                                                                \
    HR__EXTERN HR_EXPORT hr_before_reload_fn plugin##_before_reload;                                                   \
    HR__EXTERN HR_EXPORT HR__LINKED hr_after_reload_fn plugin##_after_reload;                                          \
    struct plugin##_functions {                                                                                        \
        LIST(HR__MEMBER)                                                                                               \
    };                                                                                                                 \
    HR__EXTERN HR_EXPORT HR__WEAK const hr_plugin_info hr_plugin_##plugin;
#define HR__TYPE(name, returned, parameters) typedef returned name##_fn parameters;
#define HR__PROTOTYPE(name, returned, parameters) HR__EXTERN HR_EXPORT name##_fn name;
#define HR__MEMBER(name, returned, parameters) name##_fn *name;
#define HR__NAME(name, returned, parameters) #name,
#define HR__POINTER(name, returned, parameters) name,
#define HR__WEAK __attribute__((weak))
#ifdef HR_RELEASE
#define HR__LINKED HR__WEAK /* hr_open calls it, if it is there */
#else
#define HR__LINKED
#endif

/* In the plugin, once, without a semicolon: the type of its state, zeroed at first; or `initial`, a const object. The
   pointer tells the builder, through the debug information, what type it is. */
#define HR_STATE(plugin, type) HR__STATE(plugin, type, NULL)
#define HR_STATE_INIT(plugin, type, initial) HR__STATE(plugin, type, &(initial))
#define HR__STATE(plugin, type, initial)                                                                               \
    HR__EXTERN HR_EXPORT const hr_plugin_info hr_plugin_##plugin;                                                      \
    const hr_plugin_info hr_plugin_##plugin = {HR_ABI, sizeof(type), HR__ALIGNOF(type), initial};                      \
    HR__EXTERN HR_EXPORT type *const hr_state_of_##plugin;                                                             \
    type *const hr_state_of_##plugin = NULL;                                                                           \
    HR__BLOCKS(plugin)
#ifdef HR_RELEASE
#define HR__BLOCKS(plugin)
#else
#define HR__BLOCKS(plugin)                                                                                             \
    HR__OWN hr__allocator hr__typed = {NULL, NULL, 0, 0};                                                              \
    HR__EXTERN HR_EXPORT hr__allocator *const hr_blocks_of_##plugin;                                                   \
    hr__allocator *const hr_blocks_of_##plugin = &hr__typed;
#endif

/* In the plugin, at file level, without a semicolon: field (or enumerator) `now` of `type` was called `was`. One reload
   later it can go. */
#define HR_RENAMED(type, was, now) HR__RENAMED(type, was, now, __LINE__)
#define HR__RENAMED(type, was, now, line) HR__HINT(type, was, now, line)
#define HR__HINT(type, was, now, line)                                                                                 \
    __attribute__((section("hr_hints"), used)) static const char hr__hint_##line[] = #type "." #now "=" #was;

/* In the plugin, at file level, without a semicolon, before the function (of type hr_migrate_fn, not static): what becomes
   of `field` of `type`, or of whole objects of `type`, when a host comes from a generation without this line. See HOOKS. */
#define HR_MIGRATE(type, field, function) HR__MIGRATE(#type "." #field "@" #function, function, __LINE__)
#define HR_MIGRATE_TYPE(type, function) HR__MIGRATE(#type "@" #function, function, __LINE__)
#define HR__MIGRATE(hint, function, line) HR__MIGRATION(hint, function, line)
#define HR__MIGRATION(hint, function, line)                                                                            \
    HR__EXTERN HR_EXPORT hr_migrate_fn function;                                                                       \
    __attribute__((section("hr_hints"), used)) static const char hr__migration_##line[] = hint;

/* Before the declaration of a static or global of the plugin: it begins anew with every generation. Not for constants. */
#define HR_FRESH __attribute__((section("hr_fresh")))

/* Typed blocks (MEMORY): hr_new is a macro, as it notes the type's name, and leaves an object of it for the builder, who
   learns from the debug information what type that is. */
#define HR__FITS(type) sizeof(char[HR__ALIGNOF(type) <= 2 * sizeof(void *) ? 1 : -1]) /* malloc aligns to no more */

#ifdef HR_RELEASE

#define hr_new(type, n) ((type *)__builtin_calloc((size_t)(n), sizeof(type) * HR__FITS(type)))
static inline void hr_free(void *block) { __builtin_free(block); }

#else

#define hr_new(type, n)                                                                                                \
    ((type *)hr__new(__extension__({                                                                                   \
                         static const struct {                                                                         \
                             char name[sizeof #type];                                                                  \
                             type *none;                                                                               \
                         } hr__block_of = {#type, NULL};                                                               \
                         hr__block_of.name;                                                                            \
                     }),                                                                                               \
                     sizeof(type) * HR__FITS(type), (size_t)(n)))

/* How a library gets at the host's registry, without being linked to it: the loader fills it in, found by
   hr_blocks_of_PLUGIN of HR_STATE. */
typedef struct hr__allocator {
    void *(*take)(struct hr__allocator *from, const char *type, size_t size, size_t count); /* NULL: nobody did */
    void (*give)(struct hr__allocator *from, void *block);
    unsigned host, generation; /* numbers; `host` 0: none */
} hr__allocator;

#define HR__OWN __attribute__((weak, visibility("hidden")))
HR__EXTERN HR__OWN hr__allocator hr__typed;

static inline void *hr__new(const char *type, size_t size, size_t count)
{
    if (&hr__typed != NULL && hr__typed.take) return hr__typed.take(&hr__typed, type, size, count);
    return __builtin_calloc(count, size);
}

static inline void hr_free(void *block)
{
    if (&hr__typed != NULL && hr__typed.give)
        hr__typed.give(&hr__typed, block);
    else
        __builtin_free(block);
}

#endif

#ifdef HR_RELEASE

#define HR_TABLE(plugin, LIST) static const struct plugin##_functions plugin = {LIST(HR__POINTER)};
#define HR_DESC(plugin, path) {#plugin, path, NULL, NULL, 0, 0, 0, 0, &hr_plugin_##plugin, 0, 0, 0, plugin##_after_reload}

struct hr_host {
    hr_result result;
};

static inline hr_result hr_poll(hr_host *host) { return host->result; }
static inline hr_result hr_status(hr_host *host) { return host->result; }
static inline int hr_fd(hr_host *host)
{
    (void)host;
    return -1; /* poll(2) ignores a negative descriptor */
}

#else /* not HR_RELEASE */

#define HR_TABLE(plugin, LIST)                                                                                         \
    static struct plugin##_functions plugin;                                                                           \
    static const char *const plugin##_names[] = {LIST(HR__NAME) NULL};
#define HR_DESC(plugin, path) {#plugin, path, &plugin, plugin##_names, 0, 0, 0, 0, NULL, 0, 0, 0, NULL}

HR__BEGIN

/* The safe point. Without news no system call and no lock. */
hr_result hr_poll(hr_host *host);

hr_result hr_status(hr_host *host);

/* Owned by the runtime: do not read or close it. */
int hr_fd(hr_host *host);

HR__END

#endif /* HR_RELEASE */

HR__BEGIN

/* Never aborts and prints nothing unless desc->verbose. *host is NULL only when memory is out (HR_FAILED). HR_WAITING,
   HR_REFUSED: the host goes on and takes the next good generation. `desc` is copied, what it points to must stay until
   hr_close. A NULL host is allowed everywhere and does nothing. */
hr_result hr_open(hr_host **host, const hr_desc *desc);

/* 1: there is something to do at the safe point; 0: `milliseconds` are over (-1: never), or a signal came. */
int hr_wait(hr_host *host, int milliseconds);

void hr_close(hr_host *host);

HR__END

#endif /* HOTRELOAD_H */

/* ------------------------------------------------------------------------------------------------------------------ */

#if defined(HOTRELOAD_IMPLEMENTATION) && defined(HR_RELEASE) && !defined(HR__IMPLEMENTED)
#define HR__IMPLEMENTED

#include <poll.h>
#include <stdlib.h>
#include <string.h>

hr_result hr_open(hr_host **host, const hr_desc *desc)
{
    const hr_plugin_info *info = desc->linked;
    hr_result result;
    memset(&result, 0, sizeof result);
    *host = (hr_host *)calloc(1, sizeof **host);
    result.state_size = info ? info->state_size : desc->state_size;
    result.state = calloc(1, result.state_size ? result.state_size : 1);
    result.generation = 1;
    result.text = "the plugin is linked for good (HR_RELEASE)";
    if (!*host || !result.state) {
        result.code = HR_FAILED;
        result.text = "out of memory";
        return result;
    }
    if (info && info->initial) memcpy(result.state, info->initial, info->state_size);
    (*host)->result = result;
    result.changed = 1;
    if (desc->started) {
        hr_migration what;
        memset(&what, 0, sizeof what);
        what.to = 1;
        what.new_size = result.state_size;
        what.words = "";
        desc->started(result.state, &what);
    }
    return result;
}

int hr_wait(hr_host *host, int milliseconds)
{
    (void)host;
    poll(NULL, 0, milliseconds);
    return 0;
}

void hr_close(hr_host *host)
{
    if (host) free(host->result.state);
    free(host);
}

#endif

#if defined(HOTRELOAD_IMPLEMENTATION) && !defined(HR_RELEASE) && !defined(HR__IMPLEMENTED)
#define HR__IMPLEMENTED

#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <link.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sched.h>
#include <setjmp.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>
#if defined(__GLIBC__)
#include <malloc.h>
#endif

#if defined(__GLIBC__) && !defined(__USE_GNU)
#error "hotreload.h: in the file that defines HOTRELOAD_IMPLEMENTATION, include it before any other header"
#endif

#ifndef HR_MAX_HOSTS
#define HR_MAX_HOSTS 16
#endif
#ifndef HR_STATE_RESERVE
#define HR_STATE_RESERVE ((size_t)64 << 20)
#endif
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22 /* Linux 5.14 */
#endif

#define HR__RECORD_SIZE 4096
#define HR__REASON_SIZE 1024
#define HR__RETRY_MS 250 /* between attempts to register, while the run directory is not there */
#define HR__TOKEN 32     /* characters of a handover's name */
#define HR__HOLD_MS 1000 /* that the safe point waits for the end, when it has left its state for another process */
#define HR__TRIES 1000   /* to catch an endless loop in plugin code, 5 ms apart */
#define HR__STEPS 1024   /* instructions, at each try, from where the loop was met to plugin code */
#define HR__TRAP_FLAG 0x100 /* of EFLAGS: a trap after each instruction */
#define HR__TOGETHER_S 10 /* that a generation waits for one that was to be published beside it, and was not */

/* A migration plan: plan.py has the format; offsets and counts are checked by the loader (hr__check_plan). */
typedef struct hr__plan_head {
    uint64_t old_state, new_state; /* bytes */
    uint32_t state;                /* program, or HR__NONE: by its bytes */
    uint32_t keep;                 /* the old generation stays mapped */
    uint32_t words, refusal;       /* texts */
    uint32_t programs, operations, statics, landmarks, blocks, pairs, strings, padding;
} hr__plan_head;

typedef struct hr__program {
    uint64_t old_size, new_size; /* bytes */
    uint32_t first, count;       /* operations */
    uint32_t name, padding;
} hr__program;

typedef struct hr__operation {
    uint64_t from, to;
    uint32_t kind, count, from_step, to_step, a, b, table, pairs, text, padding;
} hr__operation;

typedef struct hr__static {
    uint64_t from, to; /* addresses in the old and in the new file */
    uint32_t program, title;
} hr__static;

typedef struct hr__landmark {
    uint64_t from, size, to; /* `to` HR__GONE: the new library has no such thing */
    uint32_t program, title;
} hr__landmark;

typedef struct hr__block_type {
    uint32_t name;    /* as in hr_new */
    uint32_t program; /* HR__NONE: it must not be carried over, for the reason in `refusal` */
    uint32_t refusal, renamed; /* texts; `renamed` what the new code calls it, 0: the same */
    uint32_t flags, padding;
} hr__block_type;

typedef struct hr__plan {
    void *bytes; /* owned; what follows points into it */
    const hr__plan_head *head;
    const hr__program *programs;
    const hr__operation *operations;
    const hr__static *statics;
    const hr__landmark *landmarks;
    const hr__block_type *blocks;
    const int64_t *pairs;
    const char *strings;
    unsigned char *state;      /* owned: head->new_state bytes, the new state in the making */
    struct hr__carried *moves; /* owned: the typed blocks in the making */
    size_t count;              /* of them */
    int calls;                 /* functions of the plugin */
} hr__plan;

/* Where a library lies: a file's address + `base` is the process's. */
typedef struct hr__image {
    uintptr_t base;
    unsigned count;
    struct {
        uintptr_t begin, end;
        uint32_t flags; /* PF_R, PF_W, PF_X */
    } segments[8];
} hr__image;

#define HR__FRAMES 8

/* How a generation came to its end. */
typedef struct hr__crash {
    int signal;
    const char *fate;  /* "rolled-back" or "ended"; atomic, set last; NULL: it did not crash */
    const char *cause; /* a word, see slot.py */
    int told;          /* under the host's lock: hr_poll knows */
    int unwritten;     /* there was no room for its mark */
    uintptr_t address; /* that it touched */
    unsigned count;
    uintptr_t frames[HR__FRAMES]; /* addresses as in the library's file, innermost first; HR__OUTSIDE: in other code */
} hr__crash;
#define HR__OUTSIDE UINTPTR_MAX

struct hr__guard;

typedef struct hr__generation {
    struct hr__generation *next; /* in the list of retired ones, or of crashed ones */
    struct hr__generation *from; /* that the plan begins from; only compared, never followed */
    hr__plan plan;               /* bytes NULL: none */
    hr__image image;
    unsigned lost;               /* values that did not fit when it was changed over to */
    char *refusal;               /* owned: why the safe point gave it back */
    unsigned number;
    int keep; /* never unloaded: something outside may point into it */
    void *handle;
    double load_us;
    size_t state_size;
    const void *initial;
    int guarded;                    /* it has taken the fault signals, for the safe point not to spend time on it */
    hr__crash crash;
    char path[PATH_MAX];
    hr_before_reload_fn *before; /* the plugin's hooks, or NULL */
    unsigned char *kept; /* owned: room for the state as it is before the old code's `before`; NULL: that is not guarded */
    int given_up;        /* refused for good */
    hr_after_reload_fn *after;
    void **functions; /* as many as the host has names, then hr__nothing and `after`; in the same allocation */
} hr__generation;

typedef struct hr__pointer { /* what libX.so.newest says */
    unsigned number;
    unsigned long long size;
    int keep;
    char file[NAME_MAX + 1];
    int planned; /* its builder makes plans: without one there is no way to it */
    time_t published;
    char together[HR__RECORD_SIZE]; /* its lines "together NUMBER LIBRARY": what it must not run without */
} hr__pointer;

/* A typed block (MEMORY): its memory is an allocation of its own. */
typedef struct hr__block {
    struct hr__block *next, *before; /* of its kind */
    struct hr__block *chained;       /* in hr__places */
    struct hr__block *doomed_next;
    struct hr__heap *heap;
    unsigned char *data;
    size_t count, capacity; /* elements; bytes */
    uint64_t number;        /* grows from block to block */
    int doomed;             /* freed, while a rollback may still want it */
    unsigned doomed_by;     /* generation; 0: the host */
} hr__block;

/* Blocks of one type, as one generation's code knows it. */
typedef struct hr__kind {
    struct hr__kind *next;
    hr__block blocks; /* the ring's beginning */
    size_t size;      /* bytes of an element */
    unsigned generation;
    int held;           /* a rollback may want it as it is: new blocks go to another one */
    char *name;         /* owned */
    char *other_name;   /* owned: what it is called on the other side of the change-over, if something else */
    size_t other_size;  /* the same; 0: its size is that */
    char *next_name;    /* owned: of the change-over in the making */
    size_t next_size;
    const hr__block_type *type; /* in its plan; NULL: its blocks stay as they are */
} hr__kind;

/* A block that is carried over. */
typedef struct hr__carried {
    hr__block *block;
    hr__kind *kind;
    unsigned char *from, *to; /* equal: it stays where it is */
    unsigned char *bytes;     /* owned: `span` bytes that change places with those at `from`; NULL: it moves */
    unsigned char *spare;     /* owned: of one that moves, the memory that is not in use */
    size_t size, span;        /* bytes of the old block; the larger of the two */
    size_t capacity;          /* of `to`, then of `from` */
} hr__carried;

/* The typed blocks of one plugin; all under hr__blocks_lock. */
typedef struct hr__heap {
    struct hr__heap *next;
    unsigned host;       /* hr_host.serial */
    unsigned generation; /* whose layout the blocks have */
    hr__kind *kinds;
    int carrying;
    int undoable; /* what follows is good for a rollback */
    unsigned undo;       /* generation that it goes back to */
    uint64_t newest;     /* block at the change-over */
    hr__carried *moves;
    size_t count;
    hr__block *doomed; /* freed since the change-over */
    hr__block *freed;  /* freed during one, by HR_MIGRATE */
} hr__heap;

struct hr_host {
    hr_desc desc;
    size_t count; /* of functions */
    int slot;     /* in hr__slots */
    unsigned serial;
    int signal;
    int forked;
    void *state; /* HR_STATE_RESERVE bytes */

    /* The owner's alone. */
    hr_result result;
    hr__generation *current, *previous;
    char text[HR__REASON_SIZE];

    /* Between the owner and the loader. */
    int ready_fd;            /* eventfd: there is something to do at the safe point */
    int nudge_fd;            /* eventfd: the owner has changed over */
    int news;                /* atomic: as ready_fd, for the fast path */
    hr__generation *pending; /* atomic: loaded, waits for the safe point */
    hr__generation *running; /* atomic: set by the owner at the change-over */
    hr__generation *retired; /* atomic list: to be closed by the loader */
    hr__generation *rejected; /* atomic: the safe point could not change over to it */
    unsigned lost;           /* atomic: values that did not fit, or have no name any more, in the last change-over */
    unsigned swaps;          /* atomic, grows after `running` is set */
    int stop;                /* atomic */
    double pause_us;         /* atomic */
    int taken;               /* atomic: the owner has what was pending and has not decided yet */
    int deferred;            /* atomic: the plugin said "not now"; the loader sees to another try */
    int delay_ms;            /* until then; the owner's */
    double again_us;         /* when; written before `deferred` */
    unsigned remarks;        /* atomic: how often that, or a crash in a hook, was noted for the record */
    char excuse[HR__REASON_SIZE]; /* why; "" when nothing is put off; under `lock` */
    char aside[HR__REASON_SIZE];  /* for the next hr_poll to tell beside that, once; the owner's */
    pthread_mutex_t lock;    /* of the three below; the loader alone writes reason and refused */
    char reason[HR__REASON_SIZE]; /* "" or why it is not the newest, or not registered */
    int refused;
    int untold;              /* a refusal that hr_poll has not reported yet */

    /* Several plugins in one process: under hr__slots_lock, but for the last three, which are atomic. */
    unsigned runs, waits;    /* numbers of what runs and of what is loaded and not taken yet; 0: none */
    unsigned newest, refuses; /* that the pointer named; that was refused for a reason of its own */
    char because[HR__REASON_SIZE];
    int released;            /* what waits may be taken: what it must not run without runs, or is released too */
    time_t published;
    char place[PATH_MAX];    /* the library as others name it */
    char together[HR__RECORD_SIZE]; /* of what waits, then of what runs */
    unsigned turn, turn_before; /* of the last hr_poll and the one before, among all of its thread */
    const void *thread;         /* of the last hr_poll: an address of its own */

    hr__heap heap;
    unsigned blocks, moved; /* atomic: typed ones that the last change-over carried, and carried elsewhere */

    /* A new start by the builder, see RESTART. */
    int asked;                  /* atomic: the safe point is to leave its state; set by the loader */
    int parking;                /* atomic: it has, in `parked`, for the loader to write */
    unsigned char *parked;      /* owned: the file's bytes; NULL: there was no memory */
    size_t parked_size;
    char token[HR__TOKEN + 1];  /* the loader's: of the request */
    unsigned long long parent_pid; /* the loader's: who may start what takes it */
    char saved[256];            /* the loader's: the answer, "" none */
    hr__generation *left_by;    /* during hr_open: what the process before ran; its image is that process's */
    unsigned char *left;        /* during hr_open: what it left, left_size bytes */
    size_t left_size;
    char inherited[256];        /* written by hr_open: "" nothing was left, "yes", or why it could not be had */

    struct hr__guard *guard;      /* NULL: off */
    const char *unguarded;        /* why */
    hr__generation *crashed;      /* atomic list: for the loader to mark */

    pthread_t loader;
    int has_loader;
    int opened; /* atomic: hr_open is done */

    /* The loader's alone (the owner's before that, and after the thread has ended). */
    int inotify_fd;             /* -1: not registered, or none to be had: the record is then checked at signals only */
    int record_fd;              /* -1: not registered */
    unsigned long long started; /* /proc/self/stat, field 22 */
    unsigned sequence, kept, tried;
    hr__generation *marked;     /* list of crashed ones: never run again, never unmapped */
    char written[HR__RECORD_SIZE]; /* the record as it was written last */
    unsigned recorded, remarked; /* swaps and remarks, as the last record said */
    double load_us;
    char loaded[NAME_MAX + 1];  /* file name of the last generation that was loaded */
    char given_up[NAME_MAX + 1]; /* that of one which is not tried again, since the old code's hook crashed */
    char given_up_why[HR__REASON_SIZE];
    char library[PATH_MAX];     /* absolute */
    const char *base;           /* file name within it */
    char parent[PATH_MAX];      /* real path of its directory */
    char directory[PATH_MAX];   /* parent/.hotreload */
    char record_path[PATH_MAX];
};

/* Slots keep their descriptor for ever: a handler may be about to write to it. */
static struct {
    hr_host *host; /* atomic */
    int wake_fd;   /* eventfd: the reload signal came; 0: not made yet */
    int signal;
} hr__slots[HR_MAX_HOSTS];
static pthread_mutex_t hr__slots_lock = PTHREAD_MUTEX_INITIALIZER;
static struct sigaction hr__before[NSIG];
static unsigned hr__users[NSIG];
static int hr__unblock[NSIG]; /* the last hr_close unblocks it, as it was before the first hr_open */
static unsigned hr__serial;
static int hr__atfork;

#define hr__load(place) __atomic_load_n(&(place), __ATOMIC_ACQUIRE)
#define hr__store(place, value) __atomic_store_n(&(place), value, __ATOMIC_RELEASE)
#define hr__swap(place, value) __atomic_exchange_n(&(place), value, __ATOMIC_ACQ_REL)

static double hr__now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static void hr__raise(int eventfd_descriptor)
{
    const uint64_t one = 1;
    const ssize_t written = write(eventfd_descriptor, &one, sizeof one);
    (void)written; /* EAGAIN: it is raised already */
}

static void hr__lower(int eventfd_descriptor)
{
    uint64_t count;
    const ssize_t taken = read(eventfd_descriptor, &count, sizeof count);
    (void)taken;
}

/* Puts a generation on a list that others may push to or take at the same time. */
static void hr__push(hr__generation **list, hr__generation *generation)
{
    generation->next = __atomic_load_n(list, __ATOMIC_ACQUIRE);
    while (!__atomic_compare_exchange_n(list, &generation->next, generation, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
    }
}

static void hr__shut(int *descriptor)
{
    if (*descriptor >= 0) close(*descriptor);
    *descriptor = -1;
}

/* Appends to `text` (size HR__REASON_SIZE), cut at its end. */
__attribute__((format(printf, 2, 3))) static void hr__say(char *text, const char *format, ...)
{
    const size_t used = strlen(text);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text + used, HR__REASON_SIZE - used, format, arguments);
    va_end(arguments);
}

/* Joins two strings into `path` (size PATH_MAX; may be `head`); 0 when it is too long. */
static int hr__join(char *path, const char *head, const char *tail)
{
    const size_t first = strlen(head), second = strlen(tail);
    if (first + second >= PATH_MAX) return 0;
    memmove(path, head, first);
    memcpy(path + first, tail, second + 1);
    return 1;
}

static void hr__guard_forked(hr_host *host);
static void hr__blocks_forked(void);
static void hr__lock_blocks(void);
static void hr__unlock_blocks(void);
static void hr__guard_drop(hr__generation *generation);
static void hr__put_guard(const hr_host *host, char *record);

/* --- the signal --------------------------------------------------------------------------------------------------- */

/* Async-signal-safe (signal-safety(7)): atomics and write only. */
static void hr__on_signal(int number, siginfo_t *info, void *context)
{
    /* A handler that was set after ours, calls ours, and is now "before" us would call in a circle. */
    static __thread volatile sig_atomic_t inside __attribute__((tls_model("initial-exec")));
    const int kept = errno;
    int slot;
    if (inside) return;
    inside = 1;
    for (slot = 0; slot < HR_MAX_HOSTS; slot++)
        if (hr__load(hr__slots[slot].host) && hr__slots[slot].signal == number) hr__raise(hr__slots[slot].wake_fd);
    if (hr__before[number].sa_flags & SA_SIGINFO) {
        if (hr__before[number].sa_sigaction) hr__before[number].sa_sigaction(number, info, context);
    } else if (hr__before[number].sa_handler != SIG_DFL && hr__before[number].sa_handler != SIG_IGN) {
        hr__before[number].sa_handler(number);
    }
    inside = 0;
    errno = kept;
}

/* A forked child has no loader thread, no lock on the record, and shares the eventfds: it is detached. */
static void hr__in_child(void)
{
    int slot;
    for (slot = 0; slot < HR_MAX_HOSTS; slot++) {
        hr_host *host = hr__slots[slot].host;
        if (host) {
            host->forked = 1;
            hr__guard_forked(host);
            host->result.code = HR_DETACHED;
            host->result.text = "this is a forked child: it keeps the code it has; open again in it to reload";
        }
        hr__slots[slot].host = NULL;
        if (hr__slots[slot].wake_fd > 0) close(hr__slots[slot].wake_fd);
        hr__slots[slot].wake_fd = 0;
    }
    pthread_mutex_init(&hr__slots_lock, NULL);
    hr__blocks_forked();
}

/* Makes the signal reach `host`, and blocks it in the calling thread. 0: done; else reason said. */
static int hr__take_slot(hr_host *host, const char **reason)
{
    const int number = host->signal;
    struct sigaction action;
    sigset_t mine, before;
    int slot, taken = -1;
    sigemptyset(&mine);
    sigaddset(&mine, number);
    *reason = "too many hosts in this process: define HR_MAX_HOSTS larger";
    pthread_mutex_lock(&hr__slots_lock);
    if (!hr__atfork) hr__atfork = pthread_atfork(hr__lock_blocks, hr__unlock_blocks, hr__in_child) == 0;
    for (slot = 0; slot < HR_MAX_HOSTS && taken < 0; slot++)
        if (!hr__slots[slot].host) {
            if (hr__slots[slot].wake_fd <= 0) hr__slots[slot].wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
            if (hr__slots[slot].wake_fd < 0) {
                *reason = "no descriptor to be had (eventfd): raise ulimit -n";
                break;
            }
            taken = slot;
        }
    if (taken >= 0 && hr__users[number] == 0) {
        memset(&action, 0, sizeof action);
        action.sa_sigaction = hr__on_signal;
        action.sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK;
        sigemptyset(&action.sa_mask);
        sigaction(number, NULL, &hr__before[number]);
        if (sigaction(number, &action, NULL) != 0) {
            *reason = "desc.signal cannot be caught: use 0 for SIGURG, or SIGUSR1";
            taken = -1;
        }
    }
    if (taken >= 0) {
        pthread_sigmask(SIG_BLOCK, &mine, &before);
        if (hr__users[number]++ == 0) hr__unblock[number] = !sigismember(&before, number);
        host->slot = taken;
        host->serial = ++hr__serial;
        hr__slots[taken].signal = number;
        hr__store(hr__slots[taken].host, host);
    }
    pthread_mutex_unlock(&hr__slots_lock);
    return taken >= 0 ? 0 : -1;
}

static int hr__ignored_by_default(int number)
{
    return number == SIGURG || number == SIGCHLD || number == SIGWINCH || number == SIGCONT;
}

static void hr__give_slot(hr_host *host)
{
    const int number = host->signal;
    int slot;
    static const struct timespec at_once = {0, 0};
    struct sigaction now;
    sigset_t mine;
    pthread_mutex_lock(&hr__slots_lock);
    hr__store(hr__slots[host->slot].host, (hr_host *)NULL);
    for (slot = 0; slot < HR_MAX_HOSTS; slot++) /* who waits for this one's plugin looks again */
        if (hr__load(hr__slots[slot].host)) hr__raise(hr__slots[slot].wake_fd);
    if (--hr__users[number] == 0) {
        const int by_default =
            !(hr__before[number].sa_flags & SA_SIGINFO) && hr__before[number].sa_handler == SIG_DFL;
        sigemptyset(&mine);
        sigaddset(&mine, number);
        while (hr__unblock[number] && sigtimedwait(&mine, NULL, &at_once) == number) {
        }
        sigaction(number, NULL, &now);
        if ((now.sa_flags & SA_SIGINFO) && now.sa_sigaction == hr__on_signal &&
            (!by_default || hr__ignored_by_default(number)))
            sigaction(number, &hr__before[number], NULL);
        if (hr__unblock[number]) pthread_sigmask(SIG_UNBLOCK, &mine, NULL);
    }
    pthread_mutex_unlock(&hr__slots_lock);
}

/* --- text files with a sum (formats: slot.py) --------------------------------------------------------------------- */

/* CRC-32 as in zlib: polynomial 0xEDB88320, reflected. */
static uint32_t hr__crc(const char *data, size_t size)
{
    uint32_t crc = 0xFFFFFFFFu;
    size_t at;
    int bit;
    for (at = 0; at < size; at++) {
        crc ^= (unsigned char)data[at];
        for (bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ (0xEDB88320u & (0u - (crc & 1u)));
    }
    return ~crc;
}

/* The value of "key value\n" in `text`, copied; 0 when it is not there or too long. */
static int hr__field(const char *text, const char *key, char *value, size_t size)
{
    const size_t length = strlen(key);
    const char *line, *end;
    for (line = text; line && *line; line = (end = strchr(line, '\n')) ? end + 1 : NULL)
        if (strncmp(line, key, length) == 0 && line[length] == ' ') {
            const char *begin = line + length + 1;
            const size_t used = strcspn(begin, "\n");
            if (used >= size) return 0;
            memcpy(value, begin, used);
            value[used] = '\0';
            return 1;
        }
    return 0;
}

/* A positive whole number of at most `limit`; 0 for anything else. */
static unsigned long long hr__number(const char *text, unsigned long long limit)
{
    unsigned long long value;
    char *end;
    if (text[0] < '0' || text[0] > '9') return 0;
    errno = 0;
    value = strtoull(text, &end, 10);
    return errno || *end || value > limit ? 0 : value;
}

/* Copies the lines of `text` that say what belongs together; `lines` is as large as `text`. */
static void hr__read_together(const char *text, char *lines)
{
    static const char key[] = "together ";
    for (; *text; text += strcspn(text, "\n"), text += *text == '\n')
        if (strncmp(text, key, sizeof key - 1) == 0) {
            const size_t length = strcspn(text, "\n") + 1;
            memcpy(lines, text, length);
            lines += length;
        }
    *lines = '\0';
}

/* 1: read; 0: nothing is published; -1: not to be believed, reason said. */
static int hr__read_pointer(const hr_host *host, hr__pointer *pointer, char *reason)
{
    static const char magic[] = "hotreload-generation 1\n";
    const size_t length = strlen(host->base);
    char path[PATH_MAX], name[NAME_MAX + 1], text[HR__RECORD_SIZE], value[32], *sum;
    struct stat status;
    ssize_t size;
    int file, failed;
    snprintf(name, sizeof name, "/%s.newest", host->base);
    if (!hr__join(path, host->directory, name)) return 0;
    file = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK); /* a fifo must not hold us */
    if (file < 0) {
        if (errno == ENOENT || errno == ENOTDIR) return 0;
        hr__say(reason, "%s: %s: remove it, and build again", path, strerror(errno));
        return -1;
    }
    size = read(file, text, sizeof text - 1);
    failed = size < 0 ? errno : 0;
    pointer->published = fstat(file, &status) == 0 ? status.st_mtime : 0;
    close(file);
    text[size > 0 ? size : 0] = '\0';
    sum = strstr(text, "\nsum ");
    if (strncmp(text, magic, sizeof magic - 1) == 0 && sum &&
        strtoul(sum + 5, NULL, 16) == hr__crc(text, (size_t)(sum + 1 - text)) &&
        hr__field(text, "file", pointer->file, sizeof pointer->file) && !strchr(pointer->file, '/') &&
        strncmp(pointer->file, host->base, length) == 0 && pointer->file[length] == '.' &&
        hr__field(text, "size", value, sizeof value) && (pointer->size = hr__number(value, LLONG_MAX)) > 0 &&
        hr__field(text, "number", value, sizeof value) &&
        (pointer->number = (unsigned)hr__number(value, UINT_MAX)) > 0) {
        pointer->planned = hr__field(text, "plans", value, sizeof value) && strcmp(value, "yes") == 0;
        pointer->keep = hr__field(text, "keep", value, sizeof value) && strcmp(value, "0") != 0;
        hr__read_together(text, pointer->together);
        return 1;
    }
    hr__say(reason, "%s is damaged or of another version of hotreload%s%s: build again to replace it", path,
            failed ? ": " : "", failed ? strerror(failed) : "");
    return -1;
}

/* Appends to the record; leaves room for the lines that must come (functions, sum). */
__attribute__((format(printf, 2, 3))) static void hr__put_line(char *record, const char *format, ...)
{
    const size_t used = strlen(record);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(record + used, HR__RECORD_SIZE - 64 - used, format, arguments);
    va_end(arguments);
}

/* One line of any text: newline → \n, backslash → \\ ; `to` has 2 * strlen(from) + 1 bytes. */
static void hr__escape(char *to, const char *from)
{
    for (; *from; from++) {
        if (*from == '\n' || *from == '\\') *to++ = '\\';
        *to++ = *from == '\n' ? 'n' : *from;
    }
    *to = '\0';
}

static const char *hr__file_of(const hr__generation *generation)
{
    const char *slash = generation ? strrchr(generation->path, '/') : NULL;
    return slash ? slash + 1 : "-";
}

/* Rewrites the control record with one pwrite. A reader that sees half of it sees a wrong sum. */
static void hr__write_record(hr_host *host, int closed)
{
    char record[HR__RECORD_SIZE], line[2 * PATH_MAX];
    const hr__generation *running = hr__load(host->running);
    const char *status = closed                    ? "closed"
                         : host->refused           ? "refused"
                         : hr__load(host->pending) || hr__load(host->taken) ? "ready"
                         : running                 ? "running"
                                                   : "waiting";
    double pause_us;
    size_t index, used;
    ssize_t written;
    if (host->record_fd < 0) return;
    __atomic_load(&host->pause_us, &pause_us, __ATOMIC_ACQUIRE);
    record[0] = '\0';
    hr__put_line(record, "hotreload-host 1\npid %ld\nstart %llu\nsignal %d\n", (long)getpid(), host->started,
                 host->signal);
    hr__put_line(record, "generation %u\nfile %s\n", running ? running->number : 0u, hr__file_of(running));
    hr__put_line(record, "tried %u\nstatus %s\nsequence %u\n", host->tried, status, ++host->sequence);
    hr__put_line(record, "load_us %.1f\npause_us %.3f\nswaps %u\nkept %u\nlost %u\nblocks %u\nmoved %u\n",
                 host->load_us, pause_us, hr__load(host->swaps), host->kept, hr__load(host->lost),
                 hr__load(host->blocks), hr__load(host->moved));
    hr__put_line(record, "state_size %llu\n", (unsigned long long)(running ? running->state_size : 0));
    pthread_mutex_lock(&host->lock); /* after a crash the owner writes it */
    hr__escape(line, host->reason[0] ? host->reason : host->excuse);
    pthread_mutex_unlock(&host->lock);
    hr__put_line(record, "reason %s\n", line[0] ? line : "-");
    hr__escape(line, host->saved);
    hr__put_line(record, "saved %s\n", line[0] ? line : "-");
    hr__escape(line, host->inherited);
    hr__put_line(record, "inherited %s\n", line[0] ? line : "-");
    hr__put_guard(host, record);
    hr__escape(line, host->parent);
    if (strlen(line) < 1024) hr__put_line(record, "library %s/%s\n", line, host->base);
    hr__put_line(record, "functions ");
    for (index = 0; index < host->count; index++) /* a list that does not fit is cut: the host checks it anyway */
        if (strlen(record) + strlen(host->desc.names[index]) < HR__RECORD_SIZE - 640) /* there is room for a crash */
            hr__put_line(record, "%s%s", index ? "," : "", host->desc.names[index]);
    hr__put_line(record, "%s\n", host->count ? "" : "-");
    used = strlen(record);
    used += (size_t)snprintf(record + used, sizeof record - used, "sum %08x\n", (unsigned)hr__crc(record, used));
    memset(record + used, '\n', sizeof record - used);
    memcpy(host->written, record, sizeof record);
    written = pwrite(host->record_fd, record, sizeof record, 0);
    (void)written; /* preallocated: it cannot run out of space */
}

/* A number of /proc/self/stat, by its place as proc(5) counts them (from 3 on); 0 where /proc is not to be had. */
static unsigned long long hr__stat_field(int place)
{
    char line[1024], *field;
    const int file = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
    const ssize_t size = file < 0 ? -1 : read(file, line, sizeof line - 1);
    int space;
    if (file >= 0) close(file);
    line[size > 0 ? size : 0] = '\0';
    field = strrchr(line, ')'); /* the name may have spaces */
    for (space = 2; field && space < place; space++) field = strchr(field + 1, ' ');
    return field ? strtoull(field, NULL, 10) : 0;
}

/* --- who may write what we load ----------------------------------------------------------------------------------- */

/* 1: only its owner (us or root) can write it. Group-writable is accepted for a user's private group, uid == gid. */
static int hr__trusted(const struct stat *status, const char *path, char *reason)
{
    if (status->st_uid != geteuid() && status->st_uid != 0) {
        hr__say(reason, "%s belongs to another user (uid %lu): build into a directory of your own", path,
                (unsigned long)status->st_uid);
        return 0;
    }
    if ((status->st_mode & S_IWOTH) || ((status->st_mode & S_IWGRP) && status->st_gid != status->st_uid)) {
        hr__say(reason, "other users can write %s and so change the code that runs here: chmod go-w '%s'", path, path);
        return 0;
    }
    return 1;
}

/* 1: a directory to be trusted; 0: not there, reason said; -1: refused, reason said. */
static int hr__trusted_directory(const char *path, char *reason)
{
    struct stat status;
    if (stat(path, &status) != 0) {
        hr__say(reason, "%s: %s: run scons, which makes it", path, strerror(errno));
        return errno == ENOENT || errno == ENOTDIR ? 0 : -1;
    }
    if (!S_ISDIR(status.st_mode)) {
        hr__say(reason, "%s is not a directory: remove it, and run scons", path);
        return -1;
    }
    return hr__trusted(&status, path, reason) ? 1 : -1;
}

/* --- registration ------------------------------------------------------------------------------------------------- */

/* Finds and checks the run directory. 1: there; 0: not there, reason said; -1: refused, reason said. hr_open makes it
   where it is missing, the loader never does: it would get in the way of an rm -rf. */
static int hr__enter(hr_host *host, char *reason)
{
    char parent[PATH_MAX];
    int found;
    memcpy(parent, host->library, sizeof parent);
    parent[host->base - host->library] = '\0';
    if (!realpath(parent, host->parent)) {
        const int error = errno;
        hr__join(host->parent, parent, "");
        hr__say(reason, "%s: %s: run scons, which makes it", parent, strerror(error));
        return error == ENOENT || error == ENOTDIR ? 0 : -1;
    }
    found = hr__trusted_directory(host->parent, reason);
    if (found <= 0) return found;
    if (!hr__join(host->directory, host->parent, "/.hotreload") || strlen(host->base) > NAME_MAX - 64) {
        hr__say(reason, "the path of %s is too long: build into a directory with a shorter one", host->library);
        return -1;
    }
    if (!hr__load(host->opened) && mkdir(host->directory, 0700) != 0 && errno != EEXIST) {
        hr__say(reason, "cannot make %s: %s: give this user the permission", host->directory, strerror(errno));
        return -1;
    }
    return hr__trusted_directory(host->directory, reason);
}

/* Makes the control record: complete and locked before it has its name. 0: not, reason said. */
static int hr__register(hr_host *host, char *reason)
{
    char temporary[PATH_MAX], name[NAME_MAX + 1];
    struct flock lock;
    snprintf(name, sizeof name, "/.%s.host.%ld.%u", host->base, (long)getpid(), host->serial);
    if (!hr__join(temporary, host->directory, name)) return 0;
    snprintf(name, sizeof name, "/%s.host.%ld.%u", host->base, (long)getpid(), host->serial);
    if (!hr__join(host->record_path, host->directory, name)) return 0;
    unlink(temporary);
    memset(&lock, 0, sizeof lock);
    lock.l_type = F_WRLCK;
    lock.l_whence = SEEK_SET;
    host->record_fd = open(temporary, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (host->record_fd >= 0 && (errno = posix_fallocate(host->record_fd, 0, HR__RECORD_SIZE)) == 0 &&
        fcntl(host->record_fd, F_SETLK, &lock) == 0) {
        hr__write_record(host, 0);
        if (rename(temporary, host->record_path) == 0) {
            const uint32_t gone = IN_DELETE_SELF | IN_MOVE_SELF;
            hr__shut(&host->inotify_fd); /* with the watches on what was there before */
            host->inotify_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
            inotify_add_watch(host->inotify_fd, host->record_path, gone | IN_ATTRIB); /* ATTRIB: unlinked */
            inotify_add_watch(host->inotify_fd, host->directory, gone);
            inotify_add_watch(host->inotify_fd, host->parent, gone);
            return 1;
        }
    }
    hr__say(reason, "cannot register in %s: %s: scons does not see this host until it can", host->directory,
            strerror(errno));
    hr__shut(&host->record_fd);
    unlink(temporary);
    return 0;
}

/* 1: the record has just lost its name (rm -rf of the build directory). It is for the timer to register again, when the
   rm is over: a file made now would make it fail. */
static int hr__lost(hr_host *host)
{
    struct stat mine, there;
    if (host->record_fd < 0 || (fstat(host->record_fd, &mine) == 0 && stat(host->record_path, &there) == 0 &&
                                mine.st_ino == there.st_ino && mine.st_dev == there.st_dev))
        return 0;
    hr__write_record(host, 1); /* it may live on in a directory that was moved */
    hr__shut(&host->record_fd);
    hr__shut(&host->inotify_fd);
    return 1;
}

/* --- where a library lies ----------------------------------------------------------------------------------------- */

static int hr__note_image(struct dl_phdr_info *info, size_t size, void *argument)
{
    hr__image *image = (hr__image *)argument;
    unsigned index;
    (void)size;
    if (info->dlpi_addr != image->base || image->count) return 0;
    for (index = 0; index < info->dlpi_phnum && image->count < 8; index++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[index];
        if (segment->p_type != PT_LOAD) continue;
        image->segments[image->count].begin = info->dlpi_addr + segment->p_vaddr;
        image->segments[image->count].end = info->dlpi_addr + segment->p_vaddr + segment->p_memsz;
        image->segments[image->count++].flags = segment->p_flags;
    }
    return 1;
}

static void hr__find_image(hr__generation *generation)
{
    struct link_map *map = NULL;
    if (dlinfo(generation->handle, RTLD_DI_LINKMAP, &map) != 0 || !map) return;
    generation->image.base = map->l_addr;
    dl_iterate_phdr(hr__note_image, &generation->image);
}

/* The flags of the segment that holds `size` bytes at `address`; 0: it is not in the library. Async-signal-safe. */
static uint32_t hr__segment(const hr__image *image, uintptr_t address, uint64_t size)
{
    unsigned index;
    for (index = 0; index < image->count; index++)
        if (address >= image->segments[index].begin && address < image->segments[index].end &&
            size <= image->segments[index].end - address)
            return image->segments[index].flags | 0x80000000u;
    return 0;
}

/* Reads in its pages, so that the first calls after the change-over do not wait for the disk. */
static void hr__populate(const hr__image *image)
{
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    unsigned index;
    for (index = 0; index < image->count; index++) {
        const uintptr_t first = image->segments[index].begin & ~(page - 1);
        madvise((void *)first, image->segments[index].end - first, MADV_POPULATE_READ); /* a failure only costs time */
    }
}

#if defined(__SANITIZE_ADDRESS__)
#define HR__ADDRESSES 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HR__ADDRESSES 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define HR__SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define HR__SANITIZED 1
#endif
#endif

/* --- typed blocks: the registry (any thread) ---------------------------------------------------------------------- */

#ifdef HR__ADDRESSES
#define HR__SLACK(size) ((size_t)0) /* the sanitizer is to see where a block ends */
#else
#define HR__SLACK(size) ((size) < 16 ? (size_t)0 : ((size) / 4 + 7) & ~(size_t)7)
#endif
#define HR__PLACES 65536 /* a power of two */
#define HR__SHARED UINT_MAX /* instead of a host: several have this very library open, and whose a block is cannot be told */

static pthread_mutex_t hr__blocks_lock = PTHREAD_MUTEX_INITIALIZER;
static __thread int hr__blocks_depth __attribute__((tls_model("initial-exec"))); /* the lock is this thread's */
HR__EXTERN HR__OWN hr__allocator hr__typed;
HR__OWN hr__allocator hr__typed = {NULL, NULL, 0, 0}; /* of the host's own code */
static hr__heap *hr__heaps;
static hr__block *hr__places[HR__PLACES]; /* by address */
static uint64_t hr__blocks_made;

/* Nothing slow is done under it: no allocation but at the safe point, no system call. */
static void hr__lock_blocks(void)
{
    if (hr__blocks_depth++ == 0) pthread_mutex_lock(&hr__blocks_lock);
}

static void hr__unlock_blocks(void)
{
    if (--hr__blocks_depth == 0) pthread_mutex_unlock(&hr__blocks_lock);
}

static void hr__blocks_forked(void)
{
    pthread_mutex_init(&hr__blocks_lock, NULL);
    hr__blocks_depth = 0;
}

static hr__block **hr__place(const void *data)
{
    return &hr__places[((uintptr_t)data >> 4) * 2654435761u / 64 % HR__PLACES];
}

static void hr__enter_block(hr__block *block)
{
    hr__block **place = hr__place(block->data);
    block->chained = *place;
    *place = block;
}

/* Where the pointer to a block is kept; to NULL when it is none. */
static hr__block **hr__find_block(const void *data)
{
    hr__block **place = hr__place(data);
    while (*place && (*place)->data != data) place = &(*place)->chained;
    return place;
}

static hr__heap *hr__heap_of(unsigned host)
{
    hr__heap *heap = hr__heaps;
    while (heap && heap->host != host) heap = heap->next;
    return heap;
}

static hr__kind *hr__find_kind(const hr__heap *heap, const char *name, size_t size, unsigned generation)
{
    hr__kind *kind = heap->kinds;
    while (kind && (kind->held || kind->size != size || kind->generation != generation || strcmp(kind->name, name) != 0))
        kind = kind->next;
    return kind;
}

static void hr__free_kind(hr__kind *kind)
{
    if (!kind) return;
    free(kind->name);
    free(kind->other_name);
    free(kind->next_name);
    free(kind);
}

static hr__kind *hr__make_kind(const char *name, size_t size)
{
    hr__kind *kind = (hr__kind *)calloc(1, sizeof *kind);
    if (!kind) return NULL;
    kind->name = strdup(name);
    kind->size = size;
    kind->blocks.next = kind->blocks.before = &kind->blocks;
    if (kind->name) return kind;
    free(kind);
    return NULL;
}

static void hr__link_block(hr__kind *kind, hr__block *block)
{
    block->next = &kind->blocks;
    block->before = kind->blocks.before;
    block->before->next = block;
    kind->blocks.before = block;
}

/* Its capacity: room for fields that come; 0: there are more bytes than numbers. */
static size_t hr__room(size_t size, size_t count)
{
    const size_t most = (SIZE_MAX >> 1) - 64, each = size + HR__SLACK(size);
    if (size > most / 2 || (count && each > most / count)) return 0;
#ifdef HR__ADDRESSES
    return count && size ? count * each : 1;
#else
    return count * each + 16; /* its end is in it: no other memory begins there */
#endif
}

/* hr_new. In a host of one plugin the blocks of the host's own code are that plugin's. */
static void *hr__take_block(hr__allocator *from, const char *type, size_t size, size_t count)
{
    const size_t room = hr__room(size, count);
    hr__block *block = room ? (hr__block *)calloc(1, sizeof *block) : NULL;
    unsigned char *data = block ? (unsigned char *)calloc(1, room) : NULL;
    hr__kind *made = NULL, *kind = NULL;
    hr__heap *heap;
    if (!data) {
        free(block);
        return NULL;
    }
    block->data = data;
    block->count = count;
    block->capacity = room;
    for (;;) {
        unsigned owner, generation;
        hr__lock_blocks();
        owner = hr__load(from->host);
        heap = owner ? hr__heap_of(owner) : hr__heaps && !hr__heaps->next ? hr__heaps : NULL;
        if (!heap) break;
        generation = owner ? from->generation : heap->generation;
        kind = hr__find_kind(heap, type, size, generation);
        if (!kind && made) {
            kind = made;
            made = NULL;
            kind->generation = generation;
            kind->next = heap->kinds;
            heap->kinds = kind;
        }
        if (kind) {
            block->heap = heap;
            block->number = ++hr__blocks_made;
            hr__link_block(kind, block);
            hr__enter_block(block);
            break;
        }
        hr__unlock_blocks();
        made = hr__make_kind(type, size);
        if (!made) {
            free(block);
            free(data);
            return NULL;
        }
    }
    hr__unlock_blocks();
    hr__free_kind(made);
    if (!kind) free(block); /* nobody's: as from calloc */
    return data;
}

/* hr_free. What a rollback may bring back is freed when none can come any more. */
static void hr__give_block(hr__allocator *from, void *data)
{
    hr__block *block, **place;
    unsigned owner;
    if (!data) return;
    hr__lock_blocks();
    place = hr__find_block(data);
    block = *place;
    if (block) {
        hr__heap *const heap = block->heap;
        if (heap->carrying || (heap->undoable && block->number <= heap->newest)) {
            hr__block **list = heap->carrying ? &heap->freed : &heap->doomed;
            if (!block->doomed) {
                block->doomed = 1;
                block->doomed_by = from->generation;
                block->doomed_next = *list;
                *list = block;
            }
            hr__unlock_blocks();
            return;
        }
        *place = block->chained;
        block->before->next = block->next;
        block->next->before = block->before;
    } else if ((owner = hr__load(from->host)) != 0 && owner != HR__SHARED && !hr__heap_of(owner)) {
        data = NULL; /* after hr_close, which has freed it: from a destructor at the program's end */
    }
    hr__unlock_blocks();
    free(block);
    free(data);
}

static void hr__unlink_block(hr__block *block)
{
    hr__block **place = hr__find_block(block->data);
    if (*place) *place = block->chained;
    block->before->next = block->next;
    block->next->before = block->before;
}

/* No rollback any more: what was kept for it goes, under the lock. */
static void hr__drop_undo(hr__heap *heap)
{
    hr__block *doomed = heap->doomed, *next;
    hr__kind *kind, **link, *twin;
    size_t index;
    for (index = 0; index < heap->count; index++) {
        hr__carried *each = &heap->moves[index];
        free(each->bytes);
        free(each->spare);
    }
    free(heap->moves);
    heap->moves = NULL;
    heap->count = 0;
    heap->doomed = NULL;
    heap->undoable = 0;
    for (; doomed; doomed = next) {
        next = doomed->doomed_next;
        hr__unlink_block(doomed);
        free(doomed->data);
        free(doomed);
    }
    for (kind = heap->kinds; kind; kind = kind->next) {
        free(kind->other_name);
        kind->other_name = NULL;
        kind->other_size = 0;
        kind->held = 0;
    }
    for (kind = heap->kinds; kind; kind = kind->next) /* those that were made beside held ones join them */
        for (link = &kind->next; (twin = *link) != NULL;) {
            if (twin->size != kind->size || twin->generation != kind->generation || strcmp(twin->name, kind->name) != 0) {
                link = &twin->next;
                continue;
            }
            *link = twin->next;
            if (twin->blocks.next != &twin->blocks) {
                twin->blocks.next->before = kind->blocks.before;
                kind->blocks.before->next = twin->blocks.next;
                twin->blocks.before->next = &kind->blocks;
                kind->blocks.before = twin->blocks.before;
            }
            hr__free_kind(twin);
        }
}

/* Old and new change places: at the change-over, and at a rollback. Async-signal-safe. */
static void hr__exchange_blocks(hr__heap *heap, unsigned generation)
{
    hr__kind *kind;
    size_t index, at;
    for (index = 0; index < heap->count; index++) {
        hr__carried *each = &heap->moves[index];
        hr__block *block = each->block;
        if (each->bytes) {
            for (at = 0; at < each->span; at++) {
                const unsigned char byte = each->from[at];
                each->from[at] = each->bytes[at];
                each->bytes[at] = byte;
            }
        } else {
            const size_t capacity = block->capacity;
            hr__block **place = hr__find_block(block->data);
            if (*place) *place = block->chained;
            each->spare = block->data;
            block->data = block->data == each->from ? each->to : each->from;
            hr__enter_block(block);
            block->capacity = each->capacity;
            each->capacity = capacity;
        }
    }
    for (kind = heap->kinds; kind; kind = kind->next) {
        const size_t size = kind->size;
        char *name = kind->name;
        if (!kind->held) continue;
        kind->generation = generation;
        if (kind->other_size) {
            kind->size = kind->other_size;
            kind->other_size = size;
        }
        if (kind->other_name) {
            kind->name = kind->other_name;
            kind->other_name = name;
        }
    }
    heap->generation = generation;
}

/* A host comes, or goes with all its blocks. */
static void hr__open_heap(hr_host *host)
{
    hr__lock_blocks();
    host->heap.host = host->serial;
    host->heap.next = hr__heaps;
    hr__heaps = &host->heap;
    hr__typed.take = hr__take_block;
    hr__typed.give = hr__give_block;
    hr__unlock_blocks();
}

static void hr__close_heap(hr_host *host)
{
    hr__heap *const heap = &host->heap, **link = &hr__heaps;
    hr__lock_blocks();
    while (*link && *link != heap) link = &(*link)->next;
    if (*link) {
        *link = heap->next;
        hr__drop_undo(heap);
        while (heap->kinds) {
            hr__kind *kind = heap->kinds;
            heap->kinds = kind->next;
            while (kind->blocks.next != &kind->blocks) {
                hr__block *block = kind->blocks.next;
                hr__unlink_block(block);
                free(block->data);
                free(block);
            }
            hr__free_kind(kind);
        }
    }
    hr__unlock_blocks();
}

/* The library's hr_new and hr_free are ours from now on. */
static void hr__fill_allocator(const hr_host *host, const hr__generation *generation)
{
    char name[NAME_MAX + 32];
    hr__allocator *const *found, *ours;
    if (!host->desc.name || strlen(host->desc.name) >= NAME_MAX) return;
    snprintf(name, sizeof name, "hr_blocks_of_%s", host->desc.name);
    found = (hr__allocator *const *)dlsym(generation->handle, name);
    dlerror();
    if (!found) return; /* a plugin without HR_STATE, or built with an older header */
    ours = *found;
    hr__lock_blocks();
    if (!ours->take) {
        ours->generation = generation->number;
        hr__store(ours->host, host->serial);
        ours->give = hr__give_block;
        ours->take = hr__take_block;
    } else if (ours->host != host->serial) { /* this file is another host's too, or was that of one that is closed */
        hr__store(ours->host, ours->host != HR__SHARED && !hr__heap_of(ours->host) ? host->serial : HR__SHARED);
    }
    hr__unlock_blocks();
}

/* --- the guard ---------------------------------------------------------------------------------------------------- */

/* For the first calls into a new generation the table holds stubs, one a function. The first call of the guarded thread
   that goes through one keeps its registers and comes back through hr__gate; calls within it pass through. When it
   crashes, the state's copy is put back, and the call is made again with the old function, as if never made before. */

#ifndef HR__GATE
#if defined(__x86_64__) && defined(__LP64__)
#define HR__GATE 1
#else
#define HR__GATE 0
#endif
#endif

static const int hr__faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT};
enum { HR__FAULTS = sizeof hr__faults / sizeof *hr__faults };

static const char *hr__signal_name(int number)
{
    static const char *const names[HR__FAULTS] = {"SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGTRAP", "SIGABRT"};
    int index;
    for (index = 0; index < HR__FAULTS; index++)
        if (hr__faults[index] == number) return names[index];
    return "a signal";
}

/* "libplug.so.7-1a2b3c4d5e6f.so" → path of "libplug.so.crashed.1a2b3c4d5e6f"; 0 when it has no digest. */
static int hr__mark_path(const hr_host *host, const char *file, char *path)
{
    const char *digest = strrchr(file, '-'), *end = digest ? strstr(digest, ".so") : NULL;
    char name[2 * NAME_MAX];
    if (!end || strlen(host->base) > NAME_MAX) return 0;
    snprintf(name, sizeof name, "/%s.crashed.%.*s", host->base, (int)(end - digest) - 1, digest + 1);
    return hr__join(path, host->directory, name);
}

/* 1: some host has said that this library crashed; reason said. */
static int hr__is_marked(const hr_host *host, const hr__pointer *pointer, char *reason)
{
    char path[PATH_MAX], text[HR__RECORD_SIZE], where[512], what[64];
    const hr__generation *crashed;
    ssize_t size = 0;
    int file, found = 0;
    for (crashed = host->marked; crashed && !found; crashed = crashed->next)
        found = crashed->crash.unwritten && strcmp(hr__file_of(crashed), pointer->file) == 0;
    if (!hr__mark_path(host, pointer->file, path)) return 0;
    file = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (file < 0 && !found) return 0;
    if (file >= 0) {
        size = read(file, text, sizeof text - 1);
        close(file);
    }
    text[size > 0 ? size : 0] = '\0';
    hr__say(reason, "generation %u crashed", pointer->number);
    if (hr__field(text, "what", what, sizeof what)) hr__say(reason, ": %s", what);
    if (hr__field(text, "where", where, sizeof where) && strcmp(where, "-") != 0) hr__say(reason, " in %s", where);
    hr__say(reason, ": change the code; or delete %s to try it again", path);
    return 1;
}

static const char *hr__crash_what(const hr__crash *crash)
{
    return strstr(crash->cause, "loop") ? "an endless loop" : hr__signal_name(crash->signal);
}

/* The owner and the loader, whoever comes first: hr_poll and the record say that `crashed` was rolled back. */
static void hr__tell_crash(hr_host *host, hr__generation *crashed)
{
    const hr__generation *running = hr__load(host->running);
    pthread_mutex_lock(&host->lock);
    if (running && running->number < crashed->number && !hr__load(host->pending)) {
        host->reason[0] = '\0';
        hr__say(host->reason, "generation %u crashed: %s; generation %u goes on, with the state as it was: change the code",
                crashed->number, hr__crash_what(&crashed->crash), running->number);
        host->refused = 1;
        if (!crashed->crash.told) host->untold = 1;
    }
    crashed->crash.told = 1;
    pthread_mutex_unlock(&host->lock);
}

/* The loader: tells of a crash, in the record and by the file that keeps every host from this library. */
static void hr__mark(hr_host *host, hr__generation *generation)
{
    char text[HR__RECORD_SIZE], path[PATH_MAX], temporary[PATH_MAX], name[64];
    const hr__crash *crash = &generation->crash;
    unsigned index;
    size_t size;
    ssize_t written;
    int file;
    text[0] = '\0';
    hr__put_line(text, "hotreload-crash 1\ngeneration %u\nfile %s\npid %ld\nsignal %d\nwhat %s\ncause %s\n",
                 generation->number, hr__file_of(generation), (long)getpid(), crash->signal, hr__crash_what(crash),
                 crash->cause);
    hr__put_line(text, "fate %s\naddress %llx\nframes ", crash->fate, (unsigned long long)crash->address);
    for (index = 0; index < crash->count; index++)
        if (crash->frames[index] == HR__OUTSIDE)
            hr__put_line(text, "%s-", index ? "," : "");
        else
            hr__put_line(text, "%s%llx", index ? "," : "", (unsigned long long)crash->frames[index]);
    hr__put_line(text, "%s\nwhere -\n", crash->count ? "" : "-");
    size = strlen(text);
    size += (size_t)snprintf(text + size, sizeof text - size, "sum %08x\n", (unsigned)hr__crc(text, size));
    snprintf(name, sizeof name, "/.crashed.%ld.%u", (long)getpid(), host->serial);
    generation->crash.unwritten = 1;
    if (!hr__mark_path(host, hr__file_of(generation), path) || !hr__join(temporary, host->directory, name)) return;
    file = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (file < 0) return;
    written = write(file, text, size);
    close(file);
    generation->crash.unwritten = written != (ssize_t)size || rename(temporary, path) != 0;
    if (generation->crash.unwritten) unlink(temporary);
}

#if HR__GATE

enum { HR__CALLS = 8, HR__STUB = 32, HR__STACKED = 128, HR__SIGNAL_STACK = 65536 };

struct hr__call;

typedef struct hr__stub { /* hr__gate knows the offsets of these three */
    void (*gate)(void);
    struct hr__guard *guard;
    void *target; /* atomic */
    size_t index;
} hr__stub;

/* A guarded call that is under way. hr__gate knows the offsets down to `home`. */
typedef struct hr__call {
    struct hr__call *next; /* in the list of free ones */
    struct hr__guard *guard;
    uintptr_t back;    /* where the caller wants it to return */
    uintptr_t stack;   /* the stack pointer at the caller, less HR__PUSHED */
    uintptr_t landing; /* where it returns instead */
    hr__stub *stub;
    uint64_t kept[6];     /* rbx rbp r12 r13 r14 r15 */
    uint64_t passed[8];   /* rdi rsi rdx rcx r8 r9 rax r10 */
    uint64_t vectors[16]; /* xmm0 to xmm7 */
    uint32_t mxcsr, x87;  /* control words */
    struct hr__call **home;
    uintptr_t again; /* where the handler goes on, to make the call again */
    int error;       /* errno */
    size_t stacked;
    unsigned char arguments[HR__STACKED]; /* on the stack */
} hr__call;
#define HR__PUSHED 24

/* A call of the runtime's own into the plugin that may crash: a hook of the old code, a function of HR_MIGRATE. There is
   nothing to call in its place, so hr__try returns. */
typedef struct hr__trial {
    uintptr_t thread;       /* atomic: that makes it; 0: none is under way */
    uint64_t count;         /* of trials so far */
    hr__generation *code;   /* whose code it is */
    const char *cause, *loop; /* words, see slot.py */
    uintptr_t frame, words[2]; /* of hr__try_call: its caller's frame pointer, and its return address */
    int depth;                 /* of hr__blocks_depth, when it began */
    sigjmp_buf back;
} hr__trial;

typedef struct hr__guard {
    /* hr__gate knows the offsets of these. */
    uintptr_t thread;  /* atomic: of the guarded thread; 0: nothing is guarded */
    hr__call *current; /* atomic: the outermost call under way */
    hr__call **home;   /* list of free ones */
    uint64_t calls, enough;
    void (*enter)(hr__call *call);
    void (*finish)(struct hr__guard *guard);

    hr_host *host;
    hr__stub *stubs;
    unsigned char *snapshot; /* HR_STATE_RESERVE bytes */
    size_t ready, size;      /* of it: touched by the loader; in use */
    pid_t process;
    hr__call *spare[2]; /* lists; one pool for a generation and one for the next: coroutines may still be in a call */
    hr__call pools[2][HR__CALLS];
    unsigned pool;

    int armed;      /* atomic; changed under hr__faults_lock */
    uintptr_t mine; /* as `thread`, until the next hr__guard_begin */
    pid_t task;
    clockid_t clock; /* of that thread */
    double begun_us, least_us;
    sigset_t faults, unblocked; /* all of them; those that the thread had blocked */
    int unmasked, has_stack;
    stack_t stack, stack_before;
    hr__generation *generation, *old;
    int rolled_back;     /* the owner has not looked yet */
    uintptr_t opening;   /* atomic: thread that is in dlopen */
    hr__generation *opened;
    const hr__generation *told; /* atomic: whose crash the record tells */
    int question, answer;       /* atomic; from the handler to the loader, and back */
    hr__trial trial;

    /* The loader's. */
    const void *watched; /* a call or a trial */
    uint64_t watched_calls;
    double watched_us;
    unsigned tries;
    int fired, seen; /* atomic */

    /* The guarded thread's. */
    int steps; /* left, while it goes by single instructions */
} hr__guard;

typedef char hr__offsets_of_stubs[offsetof(hr__stub, guard) == 8 && offsetof(hr__stub, target) == 16 ? 1 : -1];
typedef char hr__offsets_of_calls[offsetof(hr__call, back) == 16 && offsetof(hr__call, stack) == 24 &&
                                          offsetof(hr__call, landing) == 32 && offsetof(hr__call, stub) == 40 &&
                                          offsetof(hr__call, kept) == 48 && offsetof(hr__call, passed) == 96 &&
                                          offsetof(hr__call, vectors) == 160 && offsetof(hr__call, mxcsr) == 288 &&
                                          offsetof(hr__call, home) == 296 &&
                                          offsetof(hr__call, again) == 304
                                      ? 1
                                      : -1];
typedef char hr__offsets_of_guards[offsetof(hr__guard, current) == 8 && offsetof(hr__guard, home) == 16 &&
                                           offsetof(hr__guard, calls) == 24 && offsetof(hr__guard, enough) == 32 &&
                                           offsetof(hr__guard, enter) == 40 && offsetof(hr__guard, finish) == 48
                                       ? 1
                                       : -1];

static pthread_mutex_t hr__faults_lock = PTHREAD_MUTEX_INITIALIZER;
static struct sigaction hr__faults_before[HR__FAULTS];
static unsigned hr__faults_users;
static int hr__loaders; /* atomic: loader threads */

#ifdef __GCC_HAVE_DWARF2_CFI_ASM
#define HR__CFI(directive) ".cfi_" directive "\n"
#else
#define HR__CFI(directive)
#endif

/* Entered by a jump from a stub, with the stub in r11 and everything else as the caller left it. Not guarded (another
   thread, within a guarded call, none to spare): on to the function. Else the call is written down, rbx points to it,
   and the function returns to 7, which returns to the caller. After a crash the handler goes on at 8, with the call in
   rbx, the old function in r11, and everything but the vector registers as it was.
   Unwinders (exceptions, debuggers) find the caller's rbx and return address through rbx; a CFA one word off sets the
   frame apart from its caller's, whose stack pointer is the same. */
__attribute__((naked, noinline, used, no_instrument_function)) static void hr__gate(void)
{
    __asm__(
        ".att_syntax prefix\n"
        HR__CFI("remember_state")
        "pushq %rax\n" HR__CFI("adjust_cfa_offset 8")
        "pushq %r10\n" HR__CFI("adjust_cfa_offset 8")
        "movq 8(%r11), %r10\n"
        "movq %fs:0, %rax\n"
        "cmpq %rax, (%r10)\n"
        "jne 1f\n"
        "movq 8(%r10), %rax\n"
        "testq %rax, %rax\n"
        "jz 2f\n"
        "cmpq %rsp, 24(%rax)\n" /* the call under way is not below us: it was left by longjmp or an exception */
        "jbe 2f\n"
        "1: popq %r10\n" HR__CFI("remember_state") HR__CFI("adjust_cfa_offset -8")
        "popq %rax\n" HR__CFI("adjust_cfa_offset -8")
        "jmpq *16(%r11)\n" HR__CFI("restore_state")
        "2: movq 16(%r10), %r10\n"
        "movq (%r10), %rax\n"
        "testq %rax, %rax\n"
        "jz 1b\n"
        "pushq (%rax)\n" HR__CFI("adjust_cfa_offset 8")
        "popq (%r10)\n" HR__CFI("adjust_cfa_offset -8")
        "movq %rsp, 24(%rax)\n"
        "movq %r11, 40(%rax)\n"
        "movq %rbx, 48(%rax)\n"
        "movq %rax, %rbx\n" HR__CFI("escape 0x10, 3, 2, 0x73, 48") /* rbx is at rbx + 48 */
        "movq %rbp, 56(%rbx)\n movq %r12, 64(%rbx)\n movq %r13, 72(%rbx)\n movq %r14, 80(%rbx)\n movq %r15, 88(%rbx)\n"
        "movq %rdi, 96(%rbx)\n movq %rsi, 104(%rbx)\n movq %rdx, 112(%rbx)\n movq %rcx, 120(%rbx)\n"
        "movq %r8, 128(%rbx)\n movq %r9, 136(%rbx)\n"
        "movq 8(%rsp), %rax\n movq %rax, 144(%rbx)\n"
        "movq (%rsp), %rax\n movq %rax, 152(%rbx)\n"
        "movq 16(%rsp), %rax\n movq %rax, 16(%rbx)\n"
        "leaq 7f(%rip), %rax\n movq %rax, 32(%rbx)\n"
        "leaq 8f(%rip), %rax\n movq %rax, 304(%rbx)\n"
        "movups %xmm0, 160(%rbx)\n movups %xmm1, 176(%rbx)\n movups %xmm2, 192(%rbx)\n movups %xmm3, 208(%rbx)\n"
        "movups %xmm4, 224(%rbx)\n movups %xmm5, 240(%rbx)\n movups %xmm6, 256(%rbx)\n movups %xmm7, 272(%rbx)\n"
        "stmxcsr 288(%rbx)\n fnstcw 292(%rbx)\n"
        "movq %rbx, %rdi\n"
        "movq 8(%rbx), %rax\n"
        "subq $8, %rsp\n" HR__CFI("adjust_cfa_offset 8")
        "callq *40(%rax)\n"
        "addq $8, %rsp\n" HR__CFI("adjust_cfa_offset -8")
        "movq 32(%rbx), %rax\n"
        "movq %rax, 16(%rsp)\n" HR__CFI("escape 0x10, 16, 2, 0x73, 16") /* the return address is at rbx + 16 */
        "movq 8(%rbx), %rax\n"
        "movq %rbx, 8(%rax)\n"
        "movups 160(%rbx), %xmm0\n movups 176(%rbx), %xmm1\n movups 192(%rbx), %xmm2\n movups 208(%rbx), %xmm3\n"
        "movups 224(%rbx), %xmm4\n movups 240(%rbx), %xmm5\n movups 256(%rbx), %xmm6\n movups 272(%rbx), %xmm7\n"
        "movq 96(%rbx), %rdi\n movq 104(%rbx), %rsi\n movq 112(%rbx), %rdx\n movq 120(%rbx), %rcx\n"
        "movq 128(%rbx), %r8\n movq 136(%rbx), %r9\n"
        "movq 40(%rbx), %r11\n"
        "popq %r10\n" HR__CFI("adjust_cfa_offset -8")
        "popq %rax\n" HR__CFI("adjust_cfa_offset -8")
        "jmpq *16(%r11)\n"
        HR__CFI("restore_state")
        HR__CFI("escape 0x10, 3, 2, 0x73, 48")
        HR__CFI("escape 0x10, 16, 2, 0x73, 16")
        HR__CFI("escape 0x16, 7, 2, 0x77, 0") /* the caller's rsp is ours */
        "nop\n"                               /* unwinders look up the address before the return address */
        "7: pushq 16(%rbx)\n" HR__CFI("restore 16") HR__CFI("restore 7")
        "movq 8(%rbx), %r11\n"
        "cmpq %rbx, 8(%r11)\n"
        "jne 3f\n"
        "movq $0, 8(%r11)\n"
        "3: movq 296(%rbx), %r10\n"
        "movq (%r10), %rcx\n"
        "movq %rcx, (%rbx)\n"
        "movq %rbx, (%r10)\n"
        "movq 48(%rbx), %rbx\n" HR__CFI("restore 3")
        "incq 24(%r11)\n"
        "movq 24(%r11), %rcx\n"
        "cmpq 32(%r11), %rcx\n"
        "jae 4f\n"
        "retq\n"
        "4: subq $56, %rsp\n" HR__CFI("adjust_cfa_offset 56")
        "movq %rax, (%rsp)\n movq %rdx, 8(%rsp)\n movups %xmm0, 16(%rsp)\n movups %xmm1, 32(%rsp)\n"
        "movq %r11, %rdi\n"
        "callq *48(%r11)\n"
        "movq (%rsp), %rax\n movq 8(%rsp), %rdx\n movups 16(%rsp), %xmm0\n movups 32(%rsp), %xmm1\n"
        "addq $56, %rsp\n" HR__CFI("adjust_cfa_offset -56")
        "retq\n"
        "8: ldmxcsr 288(%rbx)\n fninit\n fldcw 292(%rbx)\n" HR__CFI("escape 0x10, 3, 2, 0x73, 48")
        "movups 160(%rbx), %xmm0\n movups 176(%rbx), %xmm1\n movups 192(%rbx), %xmm2\n movups 208(%rbx), %xmm3\n"
        "movups 224(%rbx), %xmm4\n movups 240(%rbx), %xmm5\n movups 256(%rbx), %xmm6\n movups 272(%rbx), %xmm7\n"
        "movq 48(%rbx), %rbx\n" HR__CFI("restore 3")
        "jmpq *%r11\n");
    __asm__ volatile("{|.intel_syntax noprefix}" : :); /* -masm=intel */
}

static uintptr_t hr__self(void)
{
    uintptr_t self;
    __asm__("{movq %%fs:0, %0|mov %0, QWORD PTR fs:0}" : "=r"(self));
    return self;
}

/* Reads our own memory, though it may not be there; bytes read. process_vm_readv(2) is a system call: safe in handlers. */
static size_t hr__peek(uintptr_t from, void *to, size_t size)
{
    struct iovec local, remote;
    ssize_t got;
    local.iov_base = to;
    remote.iov_base = (void *)from;
    local.iov_len = remote.iov_len = size;
    got = process_vm_readv(getpid(), &local, 1, &remote, 1, 0);
    return got > 0 ? (size_t)got : 0;
}

/* No room for another call under way: those that were left by longjmp or an exception are over. Their return address
   has been overwritten since, at least by this call's own, which most often is in the same place. */
static void hr__guard_reclaim(hr__call *call)
{
    hr__call *pool = call->guard->pools[call->home != &call->guard->spare[0]];
    uintptr_t word;
    size_t index;
    for (index = 0; index < HR__CALLS; index++)
        if (&pool[index] != call && (hr__peek(pool[index].stack + HR__PUSHED - 8, &word, sizeof word) != sizeof word ||
                                     word != pool[index].landing)) {
            pool[index].next = *call->home;
            *call->home = &pool[index];
        }
}

/* Called by hr__gate for what it has not written down yet. */
static void hr__guard_enter(hr__call *call)
{
    const uintptr_t top = call->stack + HR__PUSHED;
    sigset_t mask;
    int index;
    call->error = errno;
    if (!*call->home) hr__guard_reclaim(call);
    call->stacked = HR__STACKED;
    if ((top & 4095) <= 4096 - HR__STACKED)
        memcpy(call->arguments, (const void *)top, HR__STACKED);
    else
        call->stacked = hr__peek(top, call->arguments, HR__STACKED); /* the stack may end there */
    if (!call->guard->unmasked) { /* a fault that is blocked ends the process */
        call->guard->unmasked = 1;
        pthread_sigmask(SIG_UNBLOCK, &call->guard->faults, &mask);
        for (index = 0; index < HR__FAULTS; index++)
            if (sigismember(&mask, hr__faults[index]) == 1) sigaddset(&call->guard->unblocked, hr__faults[index]);
    }
    errno = call->error;
}

/* Called by hr__gate after calls enough: they pass through from now on, and the next hr_poll ends the guard. */
static void hr__guard_finish(hr__guard *guard)
{
    const int kept = errno;
    guard->enough += 64; /* asking for the time may cost more than the call */
    if (hr__now_us() - guard->begun_us < guard->least_us) return;
    guard->enough = UINT64_MAX;
    hr__store(guard->thread, (uintptr_t)0);
    hr__store(guard->host->news, 1);
    hr__raise(guard->host->ready_fd);
    errno = kept;
}

/* --- the guard: a fault (in the signal handler; async-signal-safe) ------------------------------------------------ */

static int hr__in_code(const hr__generation *generation, uintptr_t address)
{
    return generation && (hr__segment(&generation->image, address, 1) & PF_X);
}

/* A digit at a time, since printf may take locks. */
static char *hr__put_text(char *to, const char *end, const char *text)
{
    while (*text && to < end) *to++ = *text++;
    return to;
}

static char *hr__put_number(char *to, const char *end, uint64_t value, unsigned base)
{
    char digits[24];
    int count = 0;
    do digits[count++] = "0123456789abcdef"[value % base];
    while (value /= base);
    while (count && to < end) *to++ = digits[--count];
    return to;
}

/* "crash NUMBER SIGNAL FATE CAUSE ADDRESS FRAMES FILE\n" */
static char *hr__put_crash(char *to, const char *end, const hr__generation *generation)
{
    const hr__crash *crash = &generation->crash;
    unsigned index;
    to = hr__put_number(hr__put_text(to, end, "crash "), end, generation->number, 10);
    to = hr__put_number(hr__put_text(to, end, " "), end, (uint64_t)crash->signal, 10);
    to = hr__put_text(hr__put_text(to, end, " "), end, crash->fate);
    to = hr__put_text(hr__put_text(to, end, " "), end, crash->cause);
    to = hr__put_number(hr__put_text(to, end, " "), end, crash->address, 16);
    to = hr__put_text(to, end, crash->count ? " " : " -");
    for (index = 0; index < crash->count; index++) {
        if (index) to = hr__put_text(to, end, ",");
        if (crash->frames[index] == HR__OUTSIDE)
            to = hr__put_text(to, end, "-");
        else
            to = hr__put_number(to, end, crash->frames[index], 16);
    }
    to = hr__put_text(hr__put_text(to, end, " "), end, hr__file_of(generation));
    return hr__put_text(to, end, "\n");
}

/* Whether a call instruction ends at `address`. */
static int hr__after_call(const hr__generation *generation, uintptr_t address)
{
    const unsigned char *at = (const unsigned char *)address;
    if (!hr__in_code(generation, address - 7) || !hr__in_code(generation, address)) return 0;
    return at[-5] == 0xE8 || (at[-6] == 0xFF && at[-5] == 0x15) || (at[-2] == 0xFF && (at[-1] & 0x38) == 0x10) ||
           (at[-3] == 0xFF && (at[-2] & 0x38) == 0x10);
}

static void hr__add_frame(hr__crash *crash, uintptr_t address)
{
    if (crash->count < HR__FRAMES) crash->frames[crash->count++] = address;
}

/* Writes down where it happened: the instruction, then return addresses along the frame pointers as far as they make
   sense. From other code (the C library keeps none) the first return address into the plugin on the stack is taken. */
static void hr__walk(const hr__generation *generation, hr__crash *crash, uintptr_t code, uintptr_t stack, uintptr_t frame,
                     uintptr_t end)
{
    uintptr_t pair[2], words[64], at;
    size_t index, count;
    crash->count = 0;
    if (!generation) return;
    hr__add_frame(crash, hr__in_code(generation, code) ? code - generation->image.base : HR__OUTSIDE);
    for (at = stack; crash->frames[0] == HR__OUTSIDE && crash->count < 2 && at < end && at - stack < 32768; at += 512) {
        count = hr__peek(at, words, end - at < sizeof words ? end - at : sizeof words) / sizeof *words;
        for (index = 0; index < count && crash->count < 2; index++)
            if (hr__after_call(generation, words[index])) {
                hr__add_frame(crash, words[index] - generation->image.base);
                stack = at + index * sizeof *words;
            }
        if (count < 64) break;
    }
    while (crash->count < HR__FRAMES && frame >= stack && frame + 16 <= end && frame % 8 == 0 &&
           hr__peek(frame, pair, sizeof pair) == sizeof pair && hr__in_code(generation, pair[1])) {
        if (pair[1] - generation->image.base != crash->frames[crash->count - 1])
            hr__add_frame(crash, pair[1] - generation->image.base);
        stack = frame + 16;
        frame = pair[0];
    }
}

enum { HR__MAY_GO_ON = 1, HR__MAY_GO_ON_ALONE, HR__WRITE };

/* Asks the loader thread; 0 when it says no, or nothing within `milliseconds`. (A late answer is to another question.) */
static int hr__ask(hr_host *host, int question, int milliseconds)
{
    static const struct timespec nap = {0, 200000};
    const double begun = hr__now_us();
    int answer = 0;
    if (!host->has_loader) return 0;
    hr__store(host->guard->answer, 0);
    hr__store(host->guard->question, question);
    hr__raise(host->nudge_fd);
    while ((answer = hr__load(host->guard->answer)) >> 1 != question && hr__now_us() - begun < milliseconds * 1e3)
        nanosleep(&nap, NULL);
    hr__store(host->guard->question, 0);
    return answer == (question << 1 | 1);
}

/* The process ends: says so in the record. The loader does it, or we from what it wrote last. */
static void hr__last_words(hr_host *host, hr__generation *generation, int number, const char *cause)
{
    static char record[HR__RECORD_SIZE];
    const char *const end = record + sizeof record - 64;
    char *to = record;
    size_t size = 0;
    uint32_t sum;
    int shift;
    ssize_t written;
    generation->crash.signal = number;
    generation->crash.cause = cause;
    hr__store(generation->crash.fate, (const char *)"ended");
    hr__store(host->guard->told, generation);
    if (hr__load(host->guard->opening) != hr__self() && hr__ask(host, HR__WRITE, 200)) return;
    if (host->record_fd < 0) return;
    while (size + 5 < sizeof record && memcmp(host->written + size, "\nsum ", 5) != 0) size++;
    if (++size > sizeof record - 576) return;
    memcpy(record, host->written, size);
    to = hr__put_crash(record + size, end, generation);
    sum = hr__crc(record, (size_t)(to - record));
    to = hr__put_text(to, end + 8, "sum ");
    for (shift = 28; shift >= 0; shift -= 4) *to++ = "0123456789abcdef"[sum >> shift & 15];
    memset(to, '\n', (size_t)(record + sizeof record - to));
    written = pwrite(host->record_fd, record, sizeof record, 0);
    (void)written;
}

/* Calls of the thread that were made below `stack` are over. */
static void hr__forget_calls(uintptr_t thread, uintptr_t stack)
{
    int slot;
    for (slot = 0; slot < HR_MAX_HOSTS; slot++) {
        hr_host *other = hr__load(hr__slots[slot].host);
        hr__guard *theirs = other ? other->guard : NULL;
        if (theirs && hr__load(theirs->thread) == thread && theirs->current && theirs->current->stack < stack)
            hr__store(theirs->current, (hr__call *)NULL);
    }
}

/* At a rollback, in the signal handler, under the lock: blocks, their kinds, and what the new code freed. */
static void hr__undo_blocks(hr__heap *heap)
{
    const unsigned crashed = heap->generation;
    hr__kind *kind;
    hr__block **link = &heap->doomed;
    if (!heap->undoable) return;
    hr__exchange_blocks(heap, heap->undo);
    for (kind = heap->kinds; kind; kind = kind->next) kind->held = 0;
    while (*link) {
        if ((*link)->doomed_by == crashed) {
            (*link)->doomed = 0;
            *link = (*link)->doomed_next;
        } else {
            link = &(*link)->doomed_next;
        }
    }
    heap->undoable = 0;
}

/* 0: the lock of the typed blocks is this thread's, in the middle of something, or nobody gives it back. */
static int hr__lock_blocks_soon(void)
{
    static const struct timespec nap = {0, 1000000};
    int turn;
    if (hr__blocks_depth) return 0;
    for (turn = 0; pthread_mutex_trylock(&hr__blocks_lock) != 0; turn++) {
        if (turn == 2000) return 0;
        nanosleep(&nap, NULL);
    }
    hr__blocks_depth = 1;
    return 1;
}

/* Back to how it was at the swap, and the thread to how it was at the call, into the old function. */
static void hr__roll_back(hr__guard *guard, hr__call *call, int number, const char *cause, ucontext_t *context)
{
    hr_host *host = guard->host;
    hr__generation *const crashed = guard->generation, *const old = guard->old;
    greg_t *registers = context->uc_mcontext.gregs;
    const uintptr_t stack = call->stack + HR__PUSHED;
    size_t index;
    crashed->crash.signal = number;
    crashed->crash.cause = cause;
    hr__store(crashed->crash.fate, (const char *)"rolled-back");
    memcpy(host->state, guard->snapshot, guard->size);
    hr__undo_blocks(&host->heap);
    hr__unlock_blocks();
    for (index = 0; index < host->count; index++) {
        hr__store(guard->stubs[index].target, old->functions[index]);
        hr__store(((void **)host->desc.functions)[index], old->functions[index]);
    }
    hr__forget_calls(guard->thread, call->stack); /* that it made into other plugins */
    hr__store(guard->current, (hr__call *)NULL);
    hr__store(guard->thread, (uintptr_t)0);
    guard->rolled_back = 1;
    hr__store(host->running, old);
    hr__store(guard->told, (const hr__generation *)crashed);
    hr__push(&host->crashed, crashed);
    hr__store(host->news, 1);
    hr__raise(host->ready_fd);
    hr__raise(host->nudge_fd);

    memcpy((void *)stack, call->arguments, call->stacked);
    memcpy((void *)(stack - 8), &call->back, sizeof call->back);
    registers[REG_RSP] = (greg_t)(stack - 8);
    registers[REG_RIP] = (greg_t)call->again;
    registers[REG_R11] = (greg_t)(uintptr_t)old->functions[call->stub->index];
    registers[REG_EFL] &= ~(greg_t)0x40400; /* direction and alignment check */
    registers[REG_RBX] = (greg_t)(uintptr_t)call;
    registers[REG_RBP] = (greg_t)call->kept[1];
    registers[REG_R12] = (greg_t)call->kept[2];
    registers[REG_R13] = (greg_t)call->kept[3];
    registers[REG_R14] = (greg_t)call->kept[4];
    registers[REG_R15] = (greg_t)call->kept[5];
    registers[REG_RDI] = (greg_t)call->passed[0];
    registers[REG_RSI] = (greg_t)call->passed[1];
    registers[REG_RDX] = (greg_t)call->passed[2];
    registers[REG_RCX] = (greg_t)call->passed[3];
    registers[REG_R8] = (greg_t)call->passed[4];
    registers[REG_R9] = (greg_t)call->passed[5];
    registers[REG_RAX] = (greg_t)call->passed[6];
    registers[REG_R10] = (greg_t)call->passed[7];
    errno = call->error;
}

/* Whether we may leave the code at `at`. Other code may hold a lock for ever: the C library's, say. Not so where the plugin
   called nothing, or nowhere. */
static int hr__may_leave(hr_host *host, const hr__generation *generation, int raised, uintptr_t at, uintptr_t stack)
{
    uintptr_t word = 0;
    int leaf;
    if (hr__in_code(generation, at)) return 1;
    leaf = !raised && hr__peek(stack, &word, sizeof word) == sizeof word && hr__after_call(generation, word);
    return (leaf && at < 65536) || hr__ask(host, leaf || raised ? HR__MAY_GO_ON : HR__MAY_GO_ON_ALONE, 2000);
}

/* Whether the instruction enters the kernel: syscall, sysenter, int. `count` bytes of it are known. */
static int hr__enters_kernel(const unsigned char *code, size_t count)
{
    if (count > 2 && (code[0] & 0xf0) == 0x40) code++; /* REX */
    if (count < 2) return 1;
    return code[0] == 0xcd || (code[0] == 0x0f && (code[1] == 0x05 || code[1] == 0x34));
}

/* The loop is in other code just now, seldom in the plugin's if it is one around a system call: on by single instructions,
   until it is back there. Not into the kernel, from where a new thread or process would go on so, and where SIGTRAP may be
   blocked: the next trap would end the process (Linux, force_sig: a blocked signal that an instruction raises). Always 1. */
static int hr__step(hr__guard *guard, ucontext_t *context)
{
    unsigned char next[3];
    const size_t count = hr__peek((uintptr_t)context->uc_mcontext.gregs[REG_RIP], next, sizeof next);
    if (hr__enters_kernel(next, count)) guard->steps = 0;
    if (guard->steps > 0) context->uc_mcontext.gregs[REG_EFL] |= HR__TRAP_FLAG;
    return 1;
}

/* A trial has crashed: goes on behind it, in hr__try_call, or returns as hr__catch does. `looping`: whose loader has found
   it to be an endless loop. */
static int hr__catch_trial(hr__guard *guard, int number, hr__guard *looping, const siginfo_t *info, ucontext_t *context)
{
    hr__trial *trial = &guard->trial;
    hr__crash *crash = &trial->code->crash;
    const uintptr_t code = (uintptr_t)context->uc_mcontext.gregs[REG_RIP];
    const uintptr_t stack = (uintptr_t)context->uc_mcontext.gregs[REG_RSP];
    const int raised = looping || info->si_code <= 0;
    uintptr_t words[2];
    if (looping && !hr__in_code(trial->code, code)) return hr__step(looping, context);
    if (looping) looping->steps = 0;
    crash->address = raised ? 0 : (uintptr_t)info->si_addr;
    hr__walk(trial->code, crash, code, stack, (uintptr_t)context->uc_mcontext.gregs[REG_RBP], trial->frame);
    if (hr__peek(trial->frame, words, sizeof words) != sizeof words || memcmp(words, trial->words, sizeof words) != 0) {
        hr__last_words(guard->host, trial->code, number, "stack");
        return 0;
    }
    if (hr__blocks_depth != trial->depth || !hr__may_leave(guard->host, trial->code, raised, code, stack)) {
        hr__last_words(guard->host, trial->code, number, "locks");
        return 0;
    }
    crash->signal = number;
    crash->cause = looping ? trial->loop : trial->cause;
    hr__store(crash->fate, (const char *)"rolled-back");
    hr__forget_calls(trial->thread, trial->frame);
    hr__store(trial->thread, (uintptr_t)0);
    siglongjmp(trial->back, 1);
}

/* 1: ours, and done. 0: for whoever was there before. */
static int hr__catch(int number, const siginfo_t *info, ucontext_t *context)
{
    const uintptr_t self = hr__self(), code = (uintptr_t)context->uc_mcontext.gregs[REG_RIP];
    const uintptr_t stack = (uintptr_t)context->uc_mcontext.gregs[REG_RSP];
    const uintptr_t frame = (uintptr_t)context->uc_mcontext.gregs[REG_RBP];
    const pid_t process = getpid();
    int raised = info->si_code <= 0; /* sent, not made by an instruction */
    hr__guard *ours = NULL, *armed = NULL, *owner = NULL, *trying = NULL, *looping = NULL;
    hr__call *call = NULL;
    hr__crash *crash;
    uintptr_t word = 0;
    int slot, inside = 0, in_a_call;
    if (raised && info->si_pid != process) return 0;
    for (slot = 0; slot < HR_MAX_HOSTS; slot++) {
        hr_host *host = hr__load(hr__slots[slot].host);
        hr__guard *guard = host ? host->guard : NULL;
        hr__call *current;
        int here;
        if (!guard || guard->process != process) continue;
        if (hr__load(guard->opening) == self) {
            Dl_info where; /* dladdr(3) takes a lock that this very thread holds, and may take again */
            crash = &guard->opened->crash;
            crash->address = raised ? 0 : (uintptr_t)info->si_addr;
            if (dladdr((void *)code, &where) && where.dli_fname && strcmp(where.dli_fname, guard->opened->path) == 0) {
                crash->frames[0] = code - (uintptr_t)where.dli_fbase;
                crash->count = 1;
            }
            hr__last_words(host, guard->opened, number, "constructor");
            return 0;
        }
        if (number == SIGTRAP && info->si_code == SI_TKILL && guard->mine == self &&
            hr__load(guard->fired) != hr__load(guard->seen)) {
            hr__store(guard->seen, hr__load(guard->fired));
            guard->steps = HR__STEPS;
            looping = guard;
        } else if (number == SIGTRAP && info->si_code == TRAP_TRACE && guard->mine == self && guard->steps > 0) {
            guard->steps--;
            looping = guard;
        }
        if (hr__load(guard->trial.thread) == self) trying = guard;
        if (!hr__load(guard->thread)) continue;
        armed = guard;
        here = hr__in_code(guard->generation, code);
        if (here) owner = guard;
        if (hr__load(guard->thread) != self) continue;
        current = hr__load(guard->current);
        if (!current || stack >= current->stack + HR__PUSHED) continue;
        if (!call || here > inside || (here == inside && current->stack < call->stack)) { /* its code, else innermost */
            ours = guard;
            call = current;
            inside = here;
        }
    }
    if (looping) {
        raised = 1;
        context->uc_mcontext.gregs[REG_EFL] &= ~(greg_t)HR__TRAP_FLAG;
    }
    if (trying && (!call || trying->trial.frame < call->stack + HR__PUSHED)) /* else a call into another plugin is deeper */
        return hr__catch_trial(trying, number, looping, info, context);
    if (looping) {
        if (call && ours->old && !inside) return hr__step(looping, context);
        looping->steps = 0;
        if (!call || !ours->old) return 1; /* it has returned */
    }
    if (!call) {
        if (owner) armed = owner;
        if (!armed) return 0;
        crash = &armed->generation->crash;
        crash->address = raised ? 0 : (uintptr_t)info->si_addr;
        in_a_call = armed->thread == self;
        hr__walk(armed->generation, crash, code, stack, frame, in_a_call ? stack : stack + 65536);
        hr__last_words(armed->host, armed->generation, number, in_a_call ? "host" : "thread");
        return 0;
    }
    crash = &ours->generation->crash;
    crash->address = raised ? 0 : (uintptr_t)info->si_addr;
    hr__walk(ours->generation, crash, code, stack, frame, call->stack + HR__PUSHED);
    if (hr__peek(call->stack + HR__PUSHED - 8, &word, sizeof word) != sizeof word || word != call->landing) {
        hr__last_words(ours->host, ours->generation, number, inside ? "stack" : "host");
        return 0;
    }
    if (!ours->old) {
        hr__last_words(ours->host, ours->generation, number, "first");
        return 0;
    }
    if (!hr__may_leave(ours->host, ours->generation, raised, code, stack)) {
        hr__last_words(ours->host, ours->generation, number, "locks");
        return 0;
    }
    if (!hr__lock_blocks_soon()) {
        hr__last_words(ours->host, ours->generation, number, "locks");
        return 0;
    }
    hr__roll_back(ours, call, number, looping ? "loop" : "call", context);
    return 1;
}

static void hr__on_fault(int number, siginfo_t *info, void *context)
{
    /* A handler that was set after ours, calls ours, and is now "before" us would call in a circle: the same signal, deeper
       on the stack. (It may as well leave by siglongjmp, so that nothing is reset here.) */
    static __thread void *passed __attribute__((tls_model("initial-exec")));
    static __thread uintptr_t passed_at __attribute__((tls_model("initial-exec")));
    const uintptr_t here = (uintptr_t)__builtin_frame_address(0);
    const int again = passed == context && here < passed_at, kept = errno;
    struct sigaction before;
    sigset_t mask;
    int index = 0;
    if (!again && hr__catch(number, info, (ucontext_t *)context)) return;
    errno = kept;
    while (hr__faults[index] != number) index++;
    before = hr__faults_before[index];
    if (!again && ((before.sa_flags & SA_SIGINFO) ? before.sa_sigaction != NULL
                                                    : before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN)) {
        passed = context;
        passed_at = here;
        mask = ((ucontext_t *)context)->uc_sigmask;
        if (!(before.sa_flags & SA_NODEFER)) sigaddset(&mask, number);
        pthread_sigmask(SIG_SETMASK, &mask, NULL);
        pthread_sigmask(SIG_BLOCK, &before.sa_mask, NULL);
        if (before.sa_flags & SA_SIGINFO)
            before.sa_sigaction(number, info, context);
        else
            before.sa_handler(number);
        return;
    }
    if (before.sa_handler == SIG_IGN && info->si_code <= 0) return;
    memset(&before, 0, sizeof before);
    before.sa_handler = SIG_DFL;
    sigaction(number, &before, NULL);
    if (info->si_code <= 0 || number == SIGTRAP) raise(number); /* else the instruction is made again, and faults again */
}

/* --- the guard: at the safe point --------------------------------------------------------------------------------- */

static void hr__take_faults(void)
{
    struct sigaction action, before;
    int index;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = hr__on_fault;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigfillset(&action.sa_mask);
    pthread_mutex_lock(&hr__faults_lock);
    if (hr__faults_users++ == 0)
        for (index = 0; index < HR__FAULTS; index++)
            if (sigaction(hr__faults[index], &action, &before) == 0 &&
                !((before.sa_flags & SA_SIGINFO) && before.sa_sigaction == hr__on_fault))
                hr__faults_before[index] = before;
    pthread_mutex_unlock(&hr__faults_lock);
}

/* Puts back what was there before, but for handlers that somebody has set since. */
static void hr__give_faults(void)
{
    struct sigaction now;
    int index;
    pthread_mutex_lock(&hr__faults_lock);
    if (--hr__faults_users == 0)
        for (index = 0; index < HR__FAULTS; index++)
            if (sigaction(hr__faults[index], &hr__faults_before[index], &now) == 0 &&
                !((now.sa_flags & SA_SIGINFO) && now.sa_sigaction == hr__on_fault))
                sigaction(hr__faults[index], &now, NULL);
    pthread_mutex_unlock(&hr__faults_lock);
}

/* Gives the thread a signal stack, unless it has one. */
static void hr__take_stack(hr__guard *guard)
{
    guard->has_stack = 0;
    if (sigaltstack(&guard->stack, &guard->stack_before) != 0) return; /* it is on one */
    if (!(guard->stack_before.ss_flags & SS_DISABLE) && guard->stack_before.ss_size >= HR__SIGNAL_STACK / 4)
        sigaltstack(&guard->stack_before, NULL);
    else
        guard->has_stack = 1;
}

static void hr__give_stack(hr__guard *guard)
{
    stack_t now;
    int slot;
    if (!guard->has_stack || guard->mine != hr__self()) return;
    guard->has_stack = 0;
    for (slot = 0; slot < HR_MAX_HOSTS; slot++) { /* another host's guard may have found ours: it is its own from now on */
        hr_host *host = hr__load(hr__slots[slot].host);
        hr__guard *other = host ? host->guard : NULL;
        if (other && other != guard && hr__load(other->armed) && other->mine == guard->mine && !other->has_stack) {
            now = other->stack;
            other->stack = guard->stack;
            guard->stack = now;
            other->stack_before = guard->stack_before;
            other->has_stack = 1;
            return;
        }
    }
    if (sigaltstack(&guard->stack_before, &now) == 0 && now.ss_sp != guard->stack.ss_sp) sigaltstack(&now, NULL);
}

/* Lets the loader's SIGTRAP arrive, if one is under way. */
static void hr__settle_traps(hr__guard *guard)
{
    static const struct timespec at_once = {0, 0};
    sigset_t trap;
    int turns = 0;
    while (hr__load(guard->fired) != hr__load(guard->seen) && turns++ < 1000) sched_yield();
    if (turns < 1000) return;
    sigemptyset(&trap); /* the plugin blocks it */
    sigaddset(&trap, SIGTRAP);
    sigtimedwait(&trap, NULL, &at_once);
    hr__store(guard->seen, hr__load(guard->fired));
}

/* Everything as it was before hr__guard_begin. */
static void hr__guard_end(hr_host *host)
{
    hr__guard *guard = host->guard;
    int any = 0, index;
    if (!guard || !guard->armed) return;
    hr__store(guard->thread, (uintptr_t)0);
    hr__store(guard->current, (hr__call *)NULL);
    pthread_mutex_lock(&hr__faults_lock);
    hr__store(guard->armed, 0);
    pthread_mutex_unlock(&hr__faults_lock);
    hr__settle_traps(guard);
    for (index = 0; index < HR__FAULTS; index++) any |= sigismember(&guard->unblocked, hr__faults[index]) == 1;
    if (any && guard->mine == hr__self()) pthread_sigmask(SIG_BLOCK, &guard->unblocked, NULL);
    hr__give_faults();
    hr__give_stack(guard);
    hr__lock_blocks();
    hr__drop_undo(&host->heap);
    hr__unlock_blocks();
    for (index = 0; (size_t)index < host->count; index++)
        ((void **)host->desc.functions)[index] = host->current->functions[index];
}

static void hr__guard_this_thread(hr__guard *guard)
{
    guard->mine = hr__self();
    guard->task = (pid_t)syscall(SYS_gettid);
    if (pthread_getcpuclockid(pthread_self(), &guard->clock) != 0) guard->clock = CLOCK_PROCESS_CPUTIME_ID;
    hr__take_stack(guard);
}

/* The part of hr__try that is come back to. 0: the call has crashed. */
__attribute__((noinline)) static int hr__try_call(hr__guard *guard, void (*call)(void *), void *argument)
{
    guard->trial.frame = (uintptr_t)__builtin_frame_address(0);
    memcpy(guard->trial.words, __builtin_frame_address(0), sizeof guard->trial.words);
    if (sigsetjmp(guard->trial.back, 1) != 0) return 0;
    hr__store(guard->trial.thread, hr__self());
    if (guard->host->has_loader) hr__raise(guard->host->nudge_fd); /* it watches for an endless loop */
    call(argument);
    return 1;
}

/* Makes a call into the plugin, which hr__try_call comes back from even when it crashes; that is then in `code`'s crash.
   0: it has crashed. Without a guard a plain call. */
static int hr__try(hr_host *host, hr__generation *code, const char *cause, const char *loop, void (*call)(void *),
                   void *argument)
{
    hr__guard *guard = host->guard;
    uint32_t mxcsr;
    uint16_t x87;
    sigset_t mask;
    int armed, done;
    if (!guard || !code->image.count || hr__load(guard->trial.thread)) {
        call(argument);
        return 1;
    }
    if (guard->armed && guard->mine != hr__self()) hr__guard_end(host);
    armed = guard->armed;
    hr__take_faults();
    if (!armed) hr__guard_this_thread(guard);
    guard->trial.code = code;
    guard->trial.cause = cause;
    guard->trial.loop = loop;
    guard->trial.count++;
    guard->trial.depth = hr__blocks_depth;
    __asm__ volatile("stmxcsr %0" : "=m"(mxcsr));
    __asm__ volatile("fnstcw %0" : "=m"(x87));
    pthread_sigmask(SIG_UNBLOCK, &guard->faults, &mask);
    done = hr__try_call(guard, call, argument);
    pthread_mutex_lock(&hr__faults_lock);
    hr__store(guard->trial.thread, (uintptr_t)0);
    pthread_mutex_unlock(&hr__faults_lock);
    hr__settle_traps(guard);
    pthread_sigmask(SIG_SETMASK, &mask, NULL);
    if (!done) {
        __asm__ volatile("ldmxcsr %0" : : "m"(mxcsr));
        __asm__ volatile("fninit");
        __asm__ volatile("fldcw %0" : : "m"(x87));
    }
    hr__give_faults();
    if (!armed) hr__give_stack(guard);
    return done;
}

/* The record tells of this generation's crash. */
static void hr__guard_tell(hr_host *host, const hr__generation *crashed) { hr__store(host->guard->told, crashed); }

/* At the swap, before anything of it: keeps the state as it is now. */
static void hr__guard_snapshot(hr_host *host)
{
    hr__guard *guard = host->guard;
    if (!guard) return;
    guard->size = host->current ? host->current->state_size : 0;
    memcpy(guard->snapshot, host->state, guard->size);
}

/* At the swap: fills the table, with stubs when the guard is on. host->current is the generation that goes. */
static void hr__guard_begin(hr_host *host, hr__generation *generation)
{
    hr__guard *guard = host->guard;
    const uintptr_t self = hr__self();
    void **table = (void **)host->desc.functions;
    size_t index;
    if (guard) hr__store(guard->told, (const hr__generation *)NULL);
    if (!guard || !generation->guarded) {
        if (host->count) memcpy(table, generation->functions, host->count * sizeof(void *));
        return;
    }
    if (guard->armed && guard->mine != self) hr__guard_end(host);
    hr__store(guard->thread, (uintptr_t)0);
    hr__store(guard->current, (hr__call *)NULL);
    guard->pool = !guard->pool;
    guard->home = &guard->spare[guard->pool];
    for (index = 0; index < HR__CALLS; index++)
        guard->pools[guard->pool][index].next = index + 1 < HR__CALLS ? &guard->pools[guard->pool][index + 1] : NULL;
    *guard->home = guard->pools[guard->pool];
    guard->generation = generation;
    guard->old = host->current;
    guard->rolled_back = 0;
    guard->calls = 0;
    guard->enough = host->desc.guarded_calls ? host->desc.guarded_calls : 100;
    guard->least_us = host->desc.guarded_calls ? 0 : 1e6;
    guard->begun_us = hr__now_us();
    for (index = 0; index < host->count; index++) {
        hr__store(guard->stubs[index].target, generation->functions[index]);
        table[index] = (unsigned char *)(void *)guard - (index + 1) * HR__STUB;
    }
    if (!guard->armed) {
        hr__guard_this_thread(guard);
        sigemptyset(&guard->unblocked);
        guard->unmasked = 0;
        generation->guarded = 0; /* for hr__guard_end to give back */
        hr__store(guard->armed, 1);
    }
    hr__guard_drop(generation);
    hr__store(guard->thread, self);
}

/* Whether a crash of what hr__guard_begin was for would be rolled back. */
static int hr__guard_may_undo(const hr_host *host, const hr__generation *generation)
{
    const hr__guard *guard = host->guard;
    return guard && guard->armed && guard->generation == generation && guard->old != NULL;
}

/* What calls PLUGIN_after_reload of the generation that hr__guard_begin was for: a stub, when it is guarded. If it crashes,
   hr__nothing is called in its place. */
static hr_after_reload_fn *hr__guard_hook(hr_host *host, const hr__generation *generation)
{
    hr__guard *guard = host->guard;
    unsigned char *stub;
    hr_after_reload_fn *found = generation->after;
    if (!found || !guard || guard->generation != generation || hr__load(guard->thread) != hr__self()) return found;
    hr__store(guard->stubs[host->count].target, generation->functions[host->count + 1]);
    guard->enough++; /* it is not one of the host's calls */
    stub = (unsigned char *)guard - (host->count + 1) * HR__STUB;
    memcpy(&found, &stub, sizeof found);
    return found;
}

static void hr__go_on(hr_host *host, unsigned from, const char *words);

/* At the safe point: what the handler did is made known, a guard that has seen calls enough ends. */
static void hr__guard_news(hr_host *host)
{
    hr__guard *guard = host->guard;
    if (!guard || !guard->armed) return;
    if (guard->rolled_back) {
        char words[HR__REASON_SIZE];
        guard->rolled_back = 0;
        host->current = host->previous; /* the crashed one is the loader's to mark */
        host->previous = NULL;
        host->result.generation = host->current->number;
        host->result.state_size = host->current->state_size;
        host->result.changed = 1;
        pthread_mutex_lock(&hr__slots_lock);
        host->runs = host->current->number;
        pthread_mutex_unlock(&hr__slots_lock);
        hr__tell_crash(host, guard->generation);
        hr__guard_end(host);
        pthread_mutex_lock(&host->lock);
        memcpy(words, host->reason, sizeof words);
        pthread_mutex_unlock(&host->lock);
        hr__go_on(host, guard->generation->number, words);
    } else if (guard->enough == UINT64_MAX) {
        hr__guard_end(host);
    }
}

/* --- the guard: the loader thread --------------------------------------------------------------------------------- */

/* For dlopen, whose constructors may crash; 0: over. */
static void hr__guard_opening(hr_host *host, hr__generation *generation)
{
    hr__guard *guard = host->guard;
    if (!guard) return;
    if (generation) hr__take_faults();
    guard->opened = generation;
    hr__store(guard->opening, generation ? hr__self() : (uintptr_t)0);
    if (!generation) hr__give_faults();
}

/* A generation is loaded: all that would take time at the safe point. */
static void hr__guard_prepare(hr_host *host, hr__generation *generation)
{
    hr__guard *guard = host->guard;
    if (!guard || !host->count) return;
    if (!generation->image.count) return;
    hr__take_faults();
    generation->guarded = 1;
    for (; guard->ready < generation->state_size; guard->ready += 4096) guard->snapshot[guard->ready] = 0;
}

/* A generation that will not run after all. */
static void hr__guard_drop(hr__generation *generation)
{
    if (generation->guarded) hr__give_faults();
    generation->guarded = 0;
}

/* Whether the guarded thread, in the middle of other code, holds a lock that would hold others up: then we do not come
   back from here, and the handler gives up. */
static int hr__may_go_on(int question)
{
    const unsigned long long threads = hr__stat_field(20); /* 0: that cannot be told */
    const int alone = threads && threads <= 1 + (unsigned)hr__load(hr__loaders);
    FILE *streams[2];
    void *itself;
    int index, turn;
    if (!alone && question == HR__MAY_GO_ON_ALONE) return 0;
#if defined(__GLIBC__) && defined(__GLIBC_PREREQ)
#if __GLIBC_PREREQ(2, 33)
    (void)mallinfo2(); /* takes the lock of every arena */
#else
    (void)mallinfo();
#endif
#endif
    itself = dlopen(NULL, RTLD_NOLOAD | RTLD_LAZY);
    if (itself) dlclose(itself);
    if (alone) return 1; /* its own locks let it in again */
    streams[0] = stdout;
    streams[1] = stderr;
    for (index = 0; index < 2; index++) {
        for (turn = 0; ftrylockfile(streams[index]) != 0; turn++) {
            if (turn == 100) return 0;
            poll(NULL, 0, 1);
        }
        funlockfile(streams[index]);
    }
    return 1;
}

static int hr__is_traced(void)
{
    char text[4096], *line;
    const int file = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    const ssize_t size = file < 0 ? -1 : read(file, text, sizeof text - 1);
    if (file >= 0) close(file);
    text[size > 0 ? size : 0] = '\0';
    line = strstr(text, "\nTracerPid:");
    return line && strtol(line + 11, NULL, 10) != 0;
}

/* Ends a call that uses too much processor time. Milliseconds until it wants to look again; -1: never. */
static int hr__guard_watch(hr_host *host)
{
    hr__guard *guard = host->guard;
    const int limit = host->desc.loop_ms ? host->desc.loop_ms : 10000;
    const int tick = limit < 40 ? 10 : limit > 4000 ? 1000 : limit / 4;
    const int trying = guard && hr__load(guard->trial.thread) != 0;
    struct timespec now;
    const void *call;
    uint64_t calls;
    double spent;
    if (!guard || limit < 0 || (!trying && (!hr__load(guard->armed) || !guard->old))) return -1;
    call = trying ? (const void *)&guard->trial : (const void *)hr__load(guard->current);
    calls = trying ? guard->trial.count : guard->calls;
    if (!call || clock_gettime(guard->clock, &now) != 0) return limit;
    spent = (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
    if (call != guard->watched || calls != guard->watched_calls) {
        guard->watched = call;
        guard->watched_calls = calls;
        guard->watched_us = spent;
        guard->tries = 0;
    }
    if (spent - guard->watched_us < limit * 1e3 || guard->tries > HR__TRIES || hr__is_traced()) return tick;
    pthread_mutex_lock(&hr__faults_lock);
    if ((trying ? hr__load(guard->trial.thread) && guard->trial.count == calls
                : guard->armed && (const void *)hr__load(guard->current) == call) &&
        hr__load(guard->fired) == hr__load(guard->seen)) {
        guard->tries++;
        hr__store(guard->fired, guard->fired + 1);
        if (syscall(SYS_tgkill, (long)guard->process, (long)guard->task, (long)SIGTRAP) != 0)
            hr__store(guard->seen, guard->fired);
    }
    pthread_mutex_unlock(&hr__faults_lock);
    return 5;
}

/* The handler's questions. */
static void hr__guard_answer(hr_host *host)
{
    hr__guard *guard = host->guard;
    const int question = guard ? hr__load(guard->question) : 0;
    if (!question || hr__load(guard->answer)) return;
    if (question == HR__WRITE) {
        hr__write_record(host, 0);
        hr__store(guard->answer, question << 1 | 1);
    } else {
        hr__store(guard->answer, question << 1 | hr__may_go_on(question));
    }
}

/* Why there is no guard, or NULL. */
static const char *hr__guard_make(hr_host *host)
{
    const size_t page = 4096;
    const size_t stubs = ((host->count + 2) * HR__STUB + page - 1) & ~(page - 1); /* clang reads before a function */
    const size_t data = (sizeof(hr__guard) + (host->count + 1) * sizeof(hr__stub) + page - 1) & ~(page - 1);
    unsigned char *memory, *stack, *snapshot;
    hr__guard *guard;
    size_t index;
    int pool, place;
    uint64_t shadow = 0;
    if (host->desc.unguarded) return "desc.unguarded";
#ifdef HR__SANITIZED
    return "the program has a sanitizer, which handles faults itself";
#endif
    if (!host->count) return "the host has no functions in its list";
    __asm__ volatile(".byte 0xf3, 0x48, 0x0f, 0x1e, 0xc8" : "+a"(shadow)); /* rdsspq %rax: does nothing without one */
    if (shadow) return "the program has a shadow stack";
    if (hr__peek((uintptr_t)&shadow, &index, sizeof shadow) != sizeof shadow)
        return "process_vm_readv is not allowed here";
    memory = (unsigned char *)mmap(NULL, stubs + data + HR__SIGNAL_STACK, PROT_READ | PROT_WRITE,
                                   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    snapshot = (unsigned char *)mmap(NULL, HR_STATE_RESERVE, PROT_READ | PROT_WRITE,
                                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED || snapshot == MAP_FAILED) {
        if (memory != MAP_FAILED) munmap(memory, stubs + data + HR__SIGNAL_STACK);
        if (snapshot != MAP_FAILED) munmap(snapshot, HR_STATE_RESERVE);
        return "there is no memory for it";
    }
    guard = (hr__guard *)(void *)(memory + stubs);
    stack = memory + stubs + data;
    guard->host = host;
    guard->stubs = (hr__stub *)(void *)(guard + 1);
    guard->snapshot = snapshot;
    guard->process = getpid();
    guard->enter = hr__guard_enter;
    guard->finish = hr__guard_finish;
    guard->enough = UINT64_MAX;
    guard->stack.ss_sp = stack;
    guard->stack.ss_size = HR__SIGNAL_STACK;
    sigemptyset(&guard->unblocked);
    sigemptyset(&guard->faults);
    for (pool = 0; pool < HR__FAULTS; pool++) sigaddset(&guard->faults, hr__faults[pool]);
    for (pool = 0; pool < 2; pool++)
        for (place = 0; place < HR__CALLS; place++) {
            guard->pools[pool][place].guard = guard;
            guard->pools[pool][place].home = &guard->spare[pool];
        }
    for (index = 0; index <= host->count; index++) { /* one more: for PLUGIN_after_reload */
        static const unsigned char load[] = {0xF3, 0x0F, 0x1E, 0xFA, 0x49, 0xBB}; /* endbr64; movabsq $stub, %r11 */
        static const unsigned char jump[] = {0x41, 0xFF, 0x23};                   /* jmpq *(%r11) */
        hr__stub *const stub = &guard->stubs[index];
        unsigned char *code = (unsigned char *)guard - (index + 1) * HR__STUB;
        stub->gate = hr__gate;
        stub->guard = guard;
        stub->index = index;
        memcpy(code, load, sizeof load);
        memcpy(code + sizeof load, &stub, sizeof stub);
        memcpy(code + sizeof load + sizeof stub, jump, sizeof jump);
    }
    if (mprotect(memory, stubs, PROT_READ | PROT_EXEC) != 0) {
        munmap(memory, stubs + data + HR__SIGNAL_STACK);
        munmap(snapshot, HR_STATE_RESERVE);
        return "memory may not be made executable here";
    }
    host->guard = guard;
    return NULL;
}

/* hr_close: the stubs stay, as the code does; pointers to them may be about. */
static void hr__guard_close(hr_host *host)
{
    if (!host->guard) return;
    hr__guard_end(host);
    munmap(host->guard->snapshot, HR_STATE_RESERVE);
    host->guard = NULL;
}

/* The child of a fork: nothing is guarded in it. */
static void hr__guard_forked(hr_host *host)
{
    int index;
    if (host->guard) hr__store(host->guard->thread, (uintptr_t)0);
    if (host->guard) hr__store(host->guard->trial.thread, (uintptr_t)0);
    for (index = 0; hr__faults_users && index < HR__FAULTS; index++)
        sigaction(hr__faults[index], &hr__faults_before[index], NULL);
    hr__faults_users = 0;
    pthread_mutex_init(&hr__faults_lock, NULL);
    hr__store(hr__loaders, 0);
}

static void hr__put_guard(const hr_host *host, char *record)
{
    const hr__generation *told = host->guard ? hr__load(host->guard->told) : NULL;
    char line[NAME_MAX + 512];
    hr__put_line(record, "guard %s\n", host->guard ? "on" : host->unguarded ? host->unguarded : "off");
    if (!told) return;
    *hr__put_crash(line, line + sizeof line - 1, told) = '\0';
    hr__put_line(record, "%s", line);
}

static void hr__count_loader(int more) { __atomic_fetch_add(&hr__loaders, more, __ATOMIC_ACQ_REL); }

#else /* not HR__GATE */

static void hr__put_guard(const hr_host *host, char *record) { hr__put_line(record, "guard %s\n", host->unguarded); }
static const char *hr__guard_make(hr_host *host)
{
    (void)host;
    return "this machine is not x86-64";
}
static void hr__guard_snapshot(hr_host *host) { (void)host; }
static int hr__try(hr_host *host, hr__generation *code, const char *cause, const char *loop, void (*call)(void *),
                   void *argument)
{
    (void)host, (void)code, (void)cause, (void)loop;
    call(argument);
    return 1;
}
static void hr__guard_tell(hr_host *host, const hr__generation *crashed) { (void)host, (void)crashed; }
static void hr__guard_begin(hr_host *host, hr__generation *generation)
{
    if (host->count) memcpy(host->desc.functions, generation->functions, host->count * sizeof(void *));
}
static hr_after_reload_fn *hr__guard_hook(hr_host *host, const hr__generation *generation)
{
    return (void)host, generation->after;
}
static int hr__guard_may_undo(const hr_host *host, const hr__generation *generation) { return (void)host, (void)generation, 0; }
static void hr__guard_news(hr_host *host) { (void)host; }
static void hr__guard_opening(hr_host *host, hr__generation *generation) { (void)host, (void)generation; }
static void hr__guard_prepare(hr_host *host, hr__generation *generation) { (void)host, (void)generation; }
static void hr__guard_drop(hr__generation *generation) { (void)generation; }
static void hr__guard_answer(hr_host *host) { (void)host; }
static int hr__guard_watch(hr_host *host) { return (void)host, -1; }
static void hr__guard_close(hr_host *host) { (void)host; }
static void hr__guard_forked(hr_host *host) { (void)host; }
static void hr__count_loader(int more) { (void)more; }

#endif


/* --- loading (loader thread) -------------------------------------------------------------------------------------- */

static int hr__inside(unsigned long long offset, unsigned long long length, unsigned long long size)
{
    return offset <= size && length <= size - offset;
}

/* Whether the program headers say that a complete library follows. */
static int hr__check_segments(int file, const ElfW(Ehdr) *header, unsigned long long size)
{
    ElfW(Phdr) segment;
    unsigned index, loaded = 0;
    if (header->e_phentsize != sizeof segment) return 0;
    for (index = 0; index < header->e_phnum; index++) {
        const unsigned long long offset = header->e_phoff + (unsigned long long)index * sizeof segment;
        if (!hr__inside(offset, sizeof segment, size) ||
            pread(file, &segment, sizeof segment, (off_t)offset) != (ssize_t)sizeof segment ||
            !hr__inside(segment.p_offset, segment.p_filesz, size))
            return 0;
        loaded += segment.p_type == PT_LOAD;
    }
    return loaded > 0;
}

/* A complete library for this machine? Generations are immutable, so what was checked is what is opened. */
static int hr__check_file(const char *path, unsigned long long size, char *reason)
{
    ElfW(Ehdr) mine, header;
    struct stat status;
    int good = 0, own, file = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (file < 0 || fstat(file, &status) != 0) {
        hr__say(reason, "%s: %s: build again", path, strerror(errno));
        if (file >= 0) close(file);
        return 0;
    }
    memset(&mine, 0, sizeof mine); /* stays so without /proc: then dlopen alone decides about the machine */
    own = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    if (own >= 0) {
        if (pread(own, &mine, sizeof mine, 0) != (ssize_t)sizeof mine) memset(&mine, 0, sizeof mine);
        close(own);
    }
    if (!S_ISREG(status.st_mode)) {
        hr__say(reason, "%s is not a file: build again", path);
    } else if (!hr__trusted(&status, path, reason)) {
    } else if ((unsigned long long)status.st_size != size) {
        hr__say(reason, "%s has %lld bytes, %llu were published: it was changed or cut; build again", path,
                (long long)status.st_size, size);
    } else if (pread(file, &header, sizeof header, 0) != (ssize_t)sizeof header ||
               memcmp(header.e_ident, ELFMAG, SELFMAG) != 0) {
        hr__say(reason, "%s is not an ELF file: let the linker make it", path);
    } else if (mine.e_machine && (memcmp(header.e_ident, mine.e_ident, EI_VERSION) != 0 || /* class, byte order */
                                  header.e_machine != mine.e_machine)) {
        hr__say(reason, "%s is built for another machine (ELF machine %u, class %u; this host: %u, %u): build it for "
                        "this one", path, (unsigned)header.e_machine, (unsigned)header.e_ident[EI_CLASS],
                (unsigned)mine.e_machine, (unsigned)mine.e_ident[EI_CLASS]);
    } else if (header.e_type != ET_DYN) {
        hr__say(reason, "%s is not a shared library: link it with -shared", path);
    } else if (!hr__inside(header.e_shoff, (unsigned long long)header.e_shnum * header.e_shentsize, size) ||
               !hr__check_segments(file, &header, size)) {
        hr__say(reason, "%s is cut off: build again", path);
    } else {
        good = 1;
    }
    close(file);
    return good;
}

static void hr__announce(hr_host *host)
{
    hr__store(host->news, 1);
    hr__raise(host->ready_fd);
}

/* --- migration: the plan (loader thread) -------------------------------------------------------------------------- */

#define HR__NONE 0xFFFFFFFFu
#define HR__GONE 0xFFFFFFFFFFFFFFFFu
#define HR__LOST INT64_MIN /* in a table: the enumerator is gone, and its number means another one now */
#define HR__PLAN_LIMIT ((off_t)256 << 20)
#define HR__NESTING 64

enum { HR__COPY, HR__NUMBER, HR__BITS, HR__POINTER, HR__EACH, HR__END_OF_TEXT, HR__CALL_OWN };
#define HR__BITS_OF(number) ((number) & 0x3FFFFFFFu)
#define HR__TO_CHANGED 1u /* HR__POINTER: the layout of what it points to has changed */

static const uint64_t hr__number_sizes[] = {1, 2, 4, 8, 1, 2, 4, 8, 4, 8, sizeof(long double), 1};

/* Bytes that an operation reads or writes in one step, from its offset on; 0: it is not valid. */
static uint64_t hr__width(const hr__plan *plan, const hr__operation *operation, int writes)
{
    const uint32_t number = writes ? operation->b : operation->a;
    const uint64_t offset = writes ? operation->to : operation->from;
    switch (operation->kind) {
    case HR__COPY: return operation->a;
    case HR__NUMBER: return number < sizeof hr__number_sizes / sizeof *hr__number_sizes ? hr__number_sizes[number] : 0;
    case HR__BITS: return HR__BITS_OF(number) > 64 ? 0 : (offset % 8 + HR__BITS_OF(number) + 7) / 8;
    case HR__POINTER: return sizeof(void *);
    case HR__EACH:
        if (operation->a >= plan->head->programs) return 0;
        return writes ? plan->programs[operation->a].new_size : plan->programs[operation->a].old_size;
    case HR__END_OF_TEXT: return writes ? operation->a : 1;
    case HR__CALL_OWN: return number;
    default: return 0;
    }
}

static int hr__in_bounds(const hr__plan *plan, const hr__operation *operation, int writes, uint64_t size)
{
    const uint64_t step = writes ? operation->to_step : operation->from_step;
    const uint64_t width = hr__width(plan, operation, writes);
    uint64_t offset = writes ? operation->to : operation->from;
    if (operation->kind == HR__END_OF_TEXT && !writes) return 1;
    if (operation->kind == HR__CALL_OWN && !writes && !operation->a) return operation->count == 1;
    if (operation->kind == HR__BITS) offset /= 8;
    return width > 0 && operation->count > 0 && offset <= size && width <= size - offset &&
           (operation->count - 1) * step <= size - offset - width;
}

static int hr__check_program(const hr__plan *plan, uint32_t number, unsigned depth)
{
    const hr__program *program;
    uint32_t index;
    if (number >= plan->head->programs || depth > HR__NESTING) return 0;
    program = &plan->programs[number];
    if ((uint64_t)program->first + program->count > plan->head->operations) return 0;
    for (index = 0; index < program->count; index++) {
        const hr__operation *operation = &plan->operations[program->first + index];
        if (!hr__in_bounds(plan, operation, 0, program->old_size) ||
            !hr__in_bounds(plan, operation, 1, program->new_size) || operation->text >= plan->head->strings ||
            (uint64_t)operation->table + operation->pairs > plan->head->pairs ||
            (operation->kind == HR__EACH && !hr__check_program(plan, operation->a, depth + 1)))
            return 0;
    }
    return 1;
}

/* Points into the bytes and checks every count, offset and number in them; 0: they are no plan of this version. */
static int hr__check_plan(const hr_host *host, const hr__generation *generation, hr__plan *plan, uint64_t size)
{
    static const char magic[] = "HRPLAN2\n";
    const hr__generation *from = generation->from;
    const unsigned char *at = (const unsigned char *)plan->bytes;
    const hr__plan_head *head;
    uint64_t whole;
    uint32_t sums[2], index;
    if (size < 16 + sizeof *head || memcmp(at, magic, 8) != 0) return 0;
    memcpy(sums, at + 8, sizeof sums);
    if (sums[1] != size - 16 || sums[0] != hr__crc((const char *)at + 16, size - 16)) return 0;
    head = (const hr__plan_head *)(const void *)(at + 16);
    whole = sizeof *head + (uint64_t)head->programs * sizeof(hr__program) +
            (uint64_t)head->operations * sizeof(hr__operation) + (uint64_t)head->statics * sizeof(hr__static) +
            (uint64_t)head->landmarks * sizeof(hr__landmark) + (uint64_t)head->blocks * sizeof(hr__block_type) +
            (uint64_t)head->pairs * 16 + head->strings;
    if (whole != size - 16 || head->strings == 0 || at[size - 1] != '\0') return 0;
    plan->head = head;
    plan->programs = (const hr__program *)(const void *)(head + 1);
    plan->operations = (const hr__operation *)(const void *)(plan->programs + head->programs);
    plan->statics = (const hr__static *)(const void *)(plan->operations + head->operations);
    plan->landmarks = (const hr__landmark *)(const void *)(plan->statics + head->statics);
    plan->blocks = (const hr__block_type *)(const void *)(plan->landmarks + head->landmarks);
    plan->pairs = (const int64_t *)(const void *)(plan->blocks + head->blocks);
    plan->strings = (const char *)(plan->pairs + 2 * (size_t)head->pairs);
    if (head->words >= head->strings || head->refusal >= head->strings) return 0;
    if (head->old_state && head->old_state != from->state_size) return 0;
    if (head->new_state > HR_STATE_RESERVE || head->old_state > HR_STATE_RESERVE) return 0;
    for (index = 0; index < head->programs; index++)
        if (!hr__check_program(plan, index, 0) || plan->programs[index].name >= head->strings) return 0;
    if (head->state != HR__NONE &&
        (head->state >= head->programs || plan->programs[head->state].old_size != head->old_state ||
         plan->programs[head->state].new_size != head->new_state))
        return 0;
    for (index = 0; index < head->operations; index++) {
        const hr__operation *each = &plan->operations[index];
        if (each->kind == HR__CALL_OWN) plan->calls = 1;
        if (each->kind == HR__CALL_OWN &&
            (each->pairs != 1 || (uint64_t)each->table >= head->pairs ||
             !(hr__segment(&generation->image,
                           generation->image.base + (uintptr_t)plan->pairs[2 * (size_t)each->table], 1) & PF_X)))
            return 0;
    }
    for (index = 0; index < head->statics; index++) {
        const hr__static *each = &plan->statics[index];
        if (each->program >= head->programs || each->title >= head->strings ||
            !hr__segment(&from->image, from->image.base + each->from, plan->programs[each->program].old_size) ||
            !(hr__segment(&generation->image, generation->image.base + each->to,
                          plan->programs[each->program].new_size) & PF_W))
            return 0;
    }
    for (index = 0; index < head->landmarks; index++) {
        const hr__landmark *mark = &plan->landmarks[index];
        if ((mark->program != HR__NONE && mark->program >= head->programs) || mark->title >= head->strings ||
            (index && mark->from < mark[-1].from))
            return 0;
    }
    for (index = 0; index < head->blocks; index++) {
        const hr__block_type *type = &plan->blocks[index];
        if ((type->program != HR__NONE && (type->program >= head->programs || !plan->programs[type->program].old_size)) ||
            type->name >= head->strings || type->refusal >= head->strings || type->renamed >= head->strings)
            return 0;
    }
    (void)host;
    return 1;
}

static void *hr__read_whole(int file, off_t size)
{
    char *bytes = (char *)malloc((size_t)size + 1);
    off_t done = 0;
    while (bytes && done < size) {
        const ssize_t got = pread(file, bytes + done, (size_t)(size - done), done);
        if (got <= 0) {
            free(bytes);
            return NULL;
        }
        done += got;
    }
    return bytes;
}

/* Reads how to get here from `from`; 0: there is no way, reason said. Without a plan by a builder that makes none the state
   goes over as it is. */
static int hr__find_plan(hr_host *host, hr__generation *generation, hr__generation *from, int planned, char *reason)
{
    char path[PATH_MAX], name[NAME_MAX + 2];
    struct stat status;
    int file, good = 0;
    generation->from = from;
    if (!from) return 1;
    snprintf(name, sizeof name, ".from.%s", hr__file_of(from) + strlen(host->base) + 1);
    if (!hr__join(path, generation->path, name)) return 1;
    file = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (file < 0 || fstat(file, &status) != 0) {
        if (file >= 0) close(file);
        if (!planned) return 1;
        hr__say(reason, "no plan leads from generation %u to %u: run scons reload, which makes one", from->number,
                generation->number);
        return 0;
    }
    if (!S_ISREG(status.st_mode) || status.st_size > HR__PLAN_LIMIT) {
        hr__say(reason, "%s is no plan: remove it, and run scons reload", path);
    } else if (hr__trusted(&status, path, reason)) {
        generation->plan.bytes = hr__read_whole(file, status.st_size);
        if (!generation->plan.bytes)
            hr__say(reason, "%s cannot be read: run scons reload", path);
        else if (!hr__check_plan(host, generation, &generation->plan, (uint64_t)status.st_size))
            hr__say(reason, "%s is damaged or of another version of hotreload: remove it, and run scons reload", path);
        else if (generation->plan.head->refusal)
            hr__say(reason, "%s", generation->plan.strings + generation->plan.head->refusal);
        else
            good = 1;
    }
    close(file);
    return good;
}

/* The new state begins as the plugin's default; the safe point fills in what is carried over. */
static int hr__prepare_state(hr__generation *generation, char *reason)
{
    const size_t size = generation->state_size;
    if (generation->from && generation->from->before && generation->from->state_size)
        generation->kept = (unsigned char *)malloc(generation->from->state_size);
    if (!generation->plan.bytes) return 1;
    if (generation->plan.head->new_state && generation->plan.head->new_state != size) {
        hr__say(reason, "the plan is for a state of %llu bytes, the plugin has %llu: run scons reload",
                (unsigned long long)generation->plan.head->new_state, (unsigned long long)size);
        return 0;
    }
    generation->plan.state = (unsigned char *)malloc(size ? size : 1);
    if (!generation->plan.state) {
        hr__say(reason, "out of memory for the new state: end something else");
        return 0;
    }
    if (generation->initial)
        memcpy(generation->plan.state, generation->initial, size);
    else
        memset(generation->plan.state, 0, size);
    return 1;
}

/* --- migration: the safe point ------------------------------------------------------------------------------------ */

/* What a process leaves for the one that is started in its place: a page with this, the state, and the plugin's writable
   memory; each part lies as it lay in the process, modulo a page. */
#define HR__LEFT_MAGIC "HRSTATE1"
#define HR__LEFT_PAGE 4096u
typedef struct hr__left_head {
    char magic[8];
    uint32_t sum, number;     /* CRC-32 of all that follows these 16 bytes; of the generation */
    uint64_t size;            /* of the file */
    uint64_t parent;          /* the process that starts whoever may take it */
    uint64_t state, state_size, base; /* addresses in the process that has ended */
    uint64_t count;
    struct {
        uint64_t begin, end, flags; /* of a segment */
        uint64_t offset;            /* in the file; 0: it is not writable, and not in here */
    } parts[8];
    char file[NAME_MAX + 1]; /* of the generation */
} hr__left_head;
typedef char hr__left_fits[sizeof(hr__left_head) <= HR__LEFT_PAGE ? 1 : -1];

typedef struct hr__move {
    hr_host *host;
    hr__generation *old;
    const hr__generation *now;
    const hr__plan *plan;
    uintptr_t state; /* where the old state is, or was */
    int apart;       /* the old code ran in another process: nothing that its pointers lead to is here */
    const hr__carried *blocks; /* typed ones, by address */
    size_t count;
    unsigned lost; /* values that did not fit, or have no name any more */
    char *reason;  /* not empty: it cannot be done */
} hr__move;

enum { HR__SIGNED, HR__UNSIGNED, HR__REAL };
typedef struct hr__value {
    int kind;
    int64_t whole;
    uint64_t natural;
    long double real;
} hr__value;

static hr__value hr__read_number(uint32_t kind, const unsigned char *from)
{
    hr__value value;
    value.kind = kind < 4 ? HR__SIGNED : kind < 8 || kind == 11 ? HR__UNSIGNED : HR__REAL;
    value.whole = 0;
    value.natural = 0;
    value.real = 0;
    switch (kind) {
    case 0: value.whole = (int8_t)from[0]; break;
    case 1: { int16_t raw; memcpy(&raw, from, sizeof raw); value.whole = raw; break; }
    case 2: { int32_t raw; memcpy(&raw, from, sizeof raw); value.whole = raw; break; }
    case 3: memcpy(&value.whole, from, 8); break;
    case 4: value.natural = from[0]; break;
    case 5: { uint16_t raw; memcpy(&raw, from, sizeof raw); value.natural = raw; break; }
    case 6: { uint32_t raw; memcpy(&raw, from, sizeof raw); value.natural = raw; break; }
    case 7: memcpy(&value.natural, from, 8); break;
    case 8: { float raw; memcpy(&raw, from, sizeof raw); value.real = (long double)raw; break; }
    case 9: { double raw; memcpy(&raw, from, sizeof raw); value.real = (long double)raw; break; }
    case 10: memcpy(&value.real, from, sizeof value.real); break;
    default: value.natural = from[0] != 0; break;
    }
    return value;
}

/* As a whole number within [-2^(bits-1), 2^(bits-1)-1] or [0, 2^bits-1]; what is outside becomes the nearest. */
static uint64_t hr__fit(hr__move *move, hr__value value, unsigned bits, int is_signed)
{
    const uint64_t most = is_signed ? (UINT64_C(1) << (bits - 1)) - 1 : bits == 64 ? UINT64_MAX : (UINT64_C(1) << bits) - 1;
    const int64_t least = is_signed ? -(int64_t)most - 1 : 0;
    if (value.kind == HR__REAL) {
        if (!(value.real > (long double)least - 1)) { /* NaN too */
            move->lost++;
            return value.real < 0 ? (uint64_t)least : 0;
        }
        if (value.real >= (long double)most + 1) {
            move->lost++;
            return most;
        }
        return value.real < 0 ? (uint64_t)(int64_t)value.real : (uint64_t)value.real;
    }
    if (value.kind == HR__SIGNED && value.whole < 0) {
        if (value.whole >= least) return (uint64_t)value.whole;
        move->lost++;
        return (uint64_t)least;
    }
    if (value.kind == HR__SIGNED) value.natural = (uint64_t)value.whole;
    if (value.natural <= most) return value.natural;
    move->lost++;
    return most;
}

static void hr__write_number(hr__move *move, uint32_t kind, unsigned char *to, hr__value value)
{
    const uint64_t size = hr__number_sizes[kind];
    uint64_t raw;
    if (kind >= 8 && kind <= 10) {
        const long double real = value.kind == HR__REAL     ? value.real
                                 : value.kind == HR__SIGNED ? (long double)value.whole
                                                            : (long double)value.natural;
        if (kind == 8) {
            float narrow = (float)real;
            if (real == real && narrow - narrow != 0 && real - real == 0) move->lost++; /* became infinite */
            memcpy(to, &narrow, sizeof narrow);
        } else if (kind == 9) {
            double narrow = (double)real;
            if (real == real && narrow - narrow != 0 && real - real == 0) move->lost++;
            memcpy(to, &narrow, sizeof narrow);
        } else {
            memcpy(to, &real, sizeof real);
        }
        return;
    }
    if (kind == 11) {
        to[0] = value.kind == HR__REAL ? value.real != 0 : value.kind == HR__SIGNED ? value.whole != 0 : value.natural != 0;
        return;
    }
    raw = hr__fit(move, value, (unsigned)size * 8, kind < 4);
    switch (size) {
    case 1: { const uint8_t part = (uint8_t)raw; memcpy(to, &part, 1); break; }
    case 2: { const uint16_t part = (uint16_t)raw; memcpy(to, &part, 2); break; }
    case 4: { const uint32_t part = (uint32_t)raw; memcpy(to, &part, 4); break; }
    default: memcpy(to, &raw, 8); break;
    }
}

/* An enumerator's number by its name's; 0: leave the new field as it is. */
static int hr__by_name(hr__move *move, const hr__operation *operation, hr__value *value)
{
    const int64_t *pair = move->plan->pairs + 2 * (size_t)operation->table;
    const int64_t number = value->kind == HR__SIGNED ? value->whole : (int64_t)value->natural;
    uint32_t index;
    for (index = 0; index < operation->pairs; index++, pair += 2)
        if (pair[0] == number) {
            if (pair[1] == HR__LOST) {
                move->lost++;
                return 0;
            }
            value->kind = HR__SIGNED;
            value->whole = pair[1];
            return 1;
        }
    return 1;
}

static uint64_t hr__read_bits(const unsigned char *from, unsigned shift, unsigned width)
{
    uint64_t value = 0;
    unsigned bit;
    for (bit = 0; bit < width; bit++)
        value |= (uint64_t)(from[(shift + bit) / 8] >> (shift + bit) % 8 & 1) << bit;
    return value;
}

static void hr__write_bits(unsigned char *to, unsigned shift, unsigned width, uint64_t value)
{
    unsigned bit;
    for (bit = 0; bit < width; bit++) {
        unsigned char *byte = &to[(shift + bit) / 8];
        const unsigned mask = 1u << (shift + bit) % 8;
        *byte = (unsigned char)((value >> bit & 1) ? *byte | mask : *byte & ~mask);
    }
}

static void hr__move_bits(hr__move *move, const hr__operation *operation, const unsigned char *from, unsigned char *to)
{
    const unsigned old_width = HR__BITS_OF(operation->a), new_width = HR__BITS_OF(operation->b);
    const uint64_t raw = hr__read_bits(from + operation->from / 8, operation->from % 8, old_width);
    hr__value value;
    memset(&value, 0, sizeof value);
    value.kind = HR__UNSIGNED;
    value.natural = raw;
    if (operation->a >> 31) {
        value.kind = HR__SIGNED;
        value.whole = (int64_t)(old_width < 64 && (raw >> (old_width - 1) & 1) ? raw | ~UINT64_C(0) << old_width : raw);
    }
    if (operation->pairs && !hr__by_name(move, operation, &value)) return;
    if (operation->b >> 30 & 1) {
        value.kind = HR__UNSIGNED;
        value.natural = raw != 0;
    }
    hr__write_bits(to + operation->to / 8, operation->to % 8, new_width,
                   hr__fit(move, value, new_width, (operation->b >> 31) != 0));
}

/* Where byte `offset` of an old object is in the new one, for a pointer to an object of program `target` (HR__NONE: not
   known); HR__GONE: its field is gone. The whole comes before its first member, which may have moved. */
static uint64_t hr__where(const hr__plan *plan, uint32_t number, uint64_t offset, uint32_t target)
{
    const hr__program *program = &plan->programs[number];
    uint32_t index;
    if (offset == 0 && (target == number || target == HR__NONE)) return 0;
    if (offset == program->old_size) return program->new_size;
    for (index = 0; index < program->count; index++) {
        const hr__operation *operation = &plan->operations[program->first + index];
        const uint64_t width = hr__width(plan, operation, 0);
        const uint64_t begin = operation->kind == HR__BITS ? operation->from / 8 : operation->from;
        const uint64_t end = operation->kind == HR__BITS ? operation->to / 8 : operation->to;
        uint64_t step, inner;
        if (operation->kind == HR__END_OF_TEXT || offset < begin) continue;
        step = operation->from_step && operation->count > 1 ? (offset - begin) / operation->from_step : 0;
        inner = offset - begin - step * operation->from_step;
        if (step >= operation->count || inner >= width) continue;
        if (operation->kind == HR__EACH) inner = hr__where(plan, operation->a, inner, target);
        if (operation->kind == HR__CALL_OWN && inner) return HR__GONE;
        return inner == HR__GONE ? HR__GONE : end + step * operation->to_step + inner;
    }
    /* A number or a pointer that an object began with, or the object as another type calls it. */
    return offset == 0 && !(target < plan->head->programs && !plan->programs[target].name) ? 0 : HR__GONE;
}

static void hr__refuse(hr__move *move, const hr__operation *operation, const char *why, const char *what)
{
    const char *path = move->plan->strings + operation->text, *arrow = move->apart ? strstr(path, "->") : NULL;
    if (move->reason[0]) return;
    hr__say(move->reason, "%.*s %s%s", (int)(arrow ? (size_t)(arrow - path) : strlen(path)), path, why, what);
}

/* An address in the old library → the same thing in the new one. */
static uintptr_t hr__new_home(hr__move *move, const hr__operation *operation, uintptr_t address)
{
    const hr__plan *plan = move->plan;
    const uint64_t at = address - move->old->image.base;
    const uint32_t flags = hr__segment(&move->old->image, address, 1);
    uint32_t low = 0, high = plan->head->landmarks;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        if (plan->landmarks[middle].from <= at)
            low = middle + 1;
        else
            high = middle;
    }
    if (low > 0 && at - plan->landmarks[low - 1].from < plan->landmarks[low - 1].size) {
        const hr__landmark *mark = &plan->landmarks[low - 1];
        const uint64_t inner = at - mark->from;
        const uint64_t moved =
            mark->program == HR__NONE ? inner : hr__where(plan, mark->program, inner, operation->b);
        if (mark->to != HR__GONE && moved != HR__GONE) return move->now->image.base + mark->to + moved;
        hr__refuse(move, operation, "points to something that the new code does not have: ",
                   plan->strings + mark->title);
        return 0;
    }
    if (flags & (PF_W | PF_X)) {
        hr__refuse(move, operation, "points into the old code, to something without a name", "");
        return 0;
    }
    if (move->apart) {
        hr__refuse(move, operation, "points to a text or constant of the old code", "");
        return 0;
    }
    move->old->keep = 1; /* a string literal, say */
    return address;
}

/* Whether an object of program `target` begins at byte `offset` of one of program `number`. */
static int hr__holds(const hr__plan *plan, uint32_t number, uint64_t offset, uint32_t target)
{
    const hr__program *program = &plan->programs[number];
    const hr__program *wanted = target < plan->head->programs ? &plan->programs[target] : program;
    const int pointer = wanted->count == 1 && plan->operations[wanted->first].kind == HR__POINTER;
    uint32_t index;
    if (number == target) return offset == 0;
    for (index = 0; index < program->count; index++) {
        const hr__operation *each = &plan->operations[program->first + index];
        uint64_t step;
        if ((each->kind != HR__EACH && each->kind != HR__POINTER) || offset < each->from) continue;
        step = each->from_step ? (offset - each->from) / each->from_step : 0;
        if (each->kind == HR__POINTER) {
            if (pointer && step < each->count && offset == each->from + step * each->from_step) return 1;
        } else if (step < each->count && hr__holds(plan, each->a, offset - each->from - step * each->from_step, target)) return 1;
    }
    return 0;
}

/* The typed block that an address is in, its end too; NULL: none that is carried over. */
static const hr__carried *hr__block_at(const hr__move *move, uintptr_t address)
{
    size_t low = 0, high = move->count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if ((uintptr_t)move->blocks[middle].from <= address)
            low = middle + 1;
        else
            high = middle;
    }
    return low > 0 && address - (uintptr_t)move->blocks[low - 1].from <= move->blocks[low - 1].size
               ? &move->blocks[low - 1]
               : NULL;
}

/* An address in a typed block → the same thing when that is carried over. */
static uintptr_t hr__new_place(hr__move *move, const hr__operation *operation, const hr__carried *into, uintptr_t address)
{
    const uint32_t number = into->kind->type->program;
    const hr__program *program = &move->plan->programs[number];
    const uint64_t at = address - (uintptr_t)into->from;
    const uint64_t element = at / program->old_size, inner = at % program->old_size;
    const uint64_t moved = inner ? hr__where(move->plan, number, inner, operation->b)
                           : at == into->size ? 0
                                              : hr__where(move->plan, number, 0, operation->b);
    if (moved == HR__GONE)
        hr__refuse(move, operation, "points to a field that is gone, of a block of ", into->kind->name);
    else if ((operation->a & HR__TO_CHANGED) && at != into->size &&
             !hr__holds(move->plan, number, inner, operation->b))
        hr__refuse(move, operation, "changed its layout, and lies in a block of another type: ", into->kind->name);
    return (uintptr_t)into->to + element * program->new_size + moved;
}

static void hr__move_pointer(hr__move *move, const hr__operation *operation, const unsigned char *from,
                             unsigned char *to)
{
    const uintptr_t state = move->state;
    const hr__carried *into;
    uintptr_t value;
    memcpy(&value, from, sizeof value);
    if (value >= state && value <= state + move->old->state_size && move->old->state_size) {
        const uint64_t moved = move->plan->head->state == HR__NONE
                                   ? value - state
                                   : hr__where(move->plan, move->plan->head->state, value - state, operation->b);
        if (moved == HR__GONE)
            hr__refuse(move, operation, "points to a field of the state that is gone", "");
        else
            value = (uintptr_t)move->host->state + moved;
    } else if (hr__segment(&move->old->image, value, 1)) {
        value = hr__new_home(move, operation, value);
    } else if (value && move->apart) {
        hr__refuse(move, operation, "points to memory of the process that has ended", "");
    } else if ((into = hr__block_at(move, value)) != NULL) {
        value = hr__new_place(move, operation, into, value);
    } else if (value && (operation->a & HR__TO_CHANGED)) {
        hr__refuse(move, operation, "changed its layout, and memory of the old layout is in use (hr_new gives memory that goes over)", "");
    }
    memcpy(to, &value, sizeof value);
}

/* The user's own migration of a field: a function of the new code. `object`: the old one that the field is in. */
static void hr__call_own(const hr__move *move, const hr__operation *operation, const unsigned char *object, void *now)
{
    const uintptr_t address = move->now->image.base + (uintptr_t)move->plan->pairs[2 * (size_t)operation->table];
    hr_migrate_fn *function;
    memcpy(&function, &address, sizeof function);
    function(now, operation->a ? object + operation->from : NULL, object);
}

/* Turns one object of the old type into one of the new; `to` holds the new one's default. */
static void hr__apply(hr__move *move, uint32_t number, const unsigned char *from, unsigned char *to)
{
    const hr__program *program = &move->plan->programs[number];
    uint32_t index, step;
    for (index = 0; index < program->count; index++) {
        const hr__operation *operation = &move->plan->operations[program->first + index];
        const unsigned char *source = from + (operation->kind == HR__BITS ? 0 : operation->from);
        unsigned char *target = to + (operation->kind == HR__BITS ? 0 : operation->to);
        for (step = 0; step < operation->count; step++) {
            switch (operation->kind) {
            case HR__COPY: memcpy(target, source, operation->a); break;
            case HR__NUMBER: {
                hr__value value = hr__read_number(operation->a, source);
                if (!operation->pairs || hr__by_name(move, operation, &value))
                    hr__write_number(move, operation->b, target, value);
                break;
            }
            case HR__BITS: hr__move_bits(move, operation, source, target); break;
            case HR__POINTER: hr__move_pointer(move, operation, source, target); break;
            case HR__EACH: hr__apply(move, operation->a, source, target); break;
            case HR__CALL_OWN:
                if (move->apart && operation->text)
                    hr__refuse(move, operation, "is migrated by a function, and there are pointers in it", "");
                if (!move->reason[0]) hr__call_own(move, operation, from, target);
                break;
            default:
                if (!memchr(target, '\0', operation->a)) target[operation->a - 1] = '\0';
                break;
            }
            source += operation->from_step;
            target += operation->to_step;
        }
    }
}

/* The bytes of a variable of the old code; NULL: they are not to be had. */
static const unsigned char *hr__was_at(const hr__move *move, uintptr_t address, uint64_t size)
{
    const hr__left_head *head = (const hr__left_head *)(const void *)move->host->left;
    uint32_t index;
    if (!move->apart) return (const unsigned char *)address;
    for (index = 0; index < head->count; index++)
        if (head->parts[index].offset && address >= head->parts[index].begin && address < head->parts[index].end &&
            size <= head->parts[index].end - address)
            return move->host->left + head->parts[index].offset + (address - head->parts[index].begin);
    return NULL;
}

/* Whether all that a program does is to leave bytes as they are. */
static int hr__is_copy(const hr__plan *plan, uint32_t number)
{
    const hr__program *program = &plan->programs[number];
    const hr__operation *only = &plan->operations[program->first];
    return program->count == 1 && only->kind == HR__COPY && !only->from && !only->to && only->count == 1 &&
           only->a == program->old_size && program->old_size == program->new_size;
}

/* Frees what was made for the typed blocks, and did not come to be. */
static void hr__drop_moves(hr__plan *plan)
{
    size_t index;
    for (index = 0; index < plan->count; index++) {
        free(plan->moves[index].bytes);
        free(plan->moves[index].spare);
    }
    free(plan->moves);
    plan->moves = NULL;
    plan->count = 0;
}

static int hr__by_address(const void *one, const void *two)
{
    const uintptr_t left = (uintptr_t)((const hr__carried *)one)->from, right = (uintptr_t)((const hr__carried *)two)->from;
    return left < right ? -1 : left > right;
}

/* Which type of the plan each kind is, and what it will be; how many blocks there are to do: 0 where none has changed. */
static size_t hr__find_types(hr_host *host, const hr__plan *plan, char *reason)
{
    size_t count = 0;
    int changed = 0;
    uint32_t index;
    hr__kind *kind;
    for (kind = host->heap.kinds; kind; kind = kind->next) {
        const hr__block_type *type = NULL;
        const hr__program *program;
        const int empty = kind->blocks.next == &kind->blocks;
        kind->type = NULL;
        if (kind->generation != host->heap.generation) continue; /* of code that crashed, or that should not run any more */
        for (index = 0; index < plan->head->blocks && !type; index++)
            if (strcmp(kind->name, plan->strings + plan->blocks[index].name) == 0) type = &plan->blocks[index];
        if (!type) continue;
        if (type->program == HR__NONE) {
            if (!empty && !reason[0]) hr__say(reason, "blocks of %s: %s", kind->name, plan->strings + type->refusal);
            continue;
        }
        program = &plan->programs[type->program];
        if (kind->size != program->old_size) {
            if (!empty && (type->flags & HR__TO_CHANGED) && !reason[0])
                hr__say(reason, "blocks of %s have %llu bytes an element, and %llu in the code that runs: build the host again",
                        kind->name, (unsigned long long)kind->size, (unsigned long long)program->old_size);
            continue;
        }
        if (type->renamed && !(kind->next_name = strdup(plan->strings + type->renamed)))
            hr__say(reason, "out of memory for the blocks: end something else");
        if (program->new_size != program->old_size) kind->next_size = program->new_size;
        if (hr__is_copy(plan, type->program)) continue;
        kind->type = type;
        if (!empty && (type->flags & HR__TO_CHANGED)) changed = 1;
    }
    for (kind = changed ? host->heap.kinds : NULL; kind; kind = kind->next) {
        const hr__block *block = kind->blocks.next;
        for (; kind->type && block != &kind->blocks; block = block->next) count += !block->doomed;
    }
    return count;
}

/* Makes room for the typed blocks as they will be, each where it is or elsewhere. 0: reason said. Under the lock. */
static int hr__place_blocks(hr_host *host, hr__plan *plan, char *reason)
{
    const size_t count = hr__find_types(host, plan, reason);
    hr__kind *kind;
    if (reason[0]) return 0;
    if (!count) return 1;
    plan->moves = (hr__carried *)calloc(count, sizeof *plan->moves);
    for (kind = plan->moves ? host->heap.kinds : NULL; kind; kind = kind->next) {
        const size_t old_size = kind->size, new_size = kind->next_size ? kind->next_size : old_size;
        hr__block *block;
        if (!kind->type) continue;
        for (block = kind->blocks.next; block != &kind->blocks; block = block->next) {
            hr__carried *each = &plan->moves[plan->count];
            const size_t room = hr__room(new_size, block->count);
            if (block->doomed) continue;
            each->block = block;
            each->kind = kind;
            each->from = each->to = block->data;
            each->size = block->count * old_size;
            each->span = block->count * (new_size > old_size ? new_size : old_size);
            if (room && each->span <= block->capacity) {
                each->bytes = (unsigned char *)calloc(1, each->span ? each->span : 1);
            } else if (room) {
                each->capacity = room;
                each->to = each->spare = (unsigned char *)calloc(1, room);
            }
            if (!each->bytes && !each->spare) break;
            plan->count++;
        }
    }
    if (plan->count < count) {
        hr__say(reason, "out of memory for the blocks: end something else");
        return 0;
    }
    qsort(plan->moves, plan->count, sizeof *plan->moves, hr__by_address);
    return 1;
}

static void hr__carry_blocks(hr__move *move)
{
    const hr__plan *plan = move->plan;
    size_t index, element;
    for (index = 0; index < plan->count; index++) {
        const hr__carried *each = &plan->moves[index];
        const hr__program *program = &plan->programs[each->kind->type->program];
        unsigned char *to = each->bytes ? each->bytes : each->to;
        for (element = 0; element < each->block->count && !move->reason[0]; element++)
            hr__apply(move, each->kind->type->program, each->from + element * program->old_size,
                      to + element * program->new_size);
    }
}

/* A change-over that does not come to be: what HR_MIGRATE freed is there again. */
static void hr__keep_blocks(hr_host *host, hr__plan *plan)
{
    hr__block *block = host->heap.freed;
    hr__kind *kind = host->heap.kinds;
    for (; block; block = block->doomed_next) block->doomed = 0;
    for (; kind; kind = kind->next) {
        free(kind->next_name);
        kind->next_name = NULL;
        kind->next_size = 0;
    }
    host->heap.freed = NULL;
    host->heap.carrying = 0;
    hr__drop_moves(plan);
}

/* What hr__carry_blocks made becomes the blocks; all of the plugin are blocks of the new generation's. */
static void hr__settle_blocks(hr_host *host, hr__generation *generation)
{
    hr__heap *heap = &host->heap;
    hr__kind *kind;
    unsigned moved = 0;
    size_t index;
    hr__drop_undo(heap);
    heap->moves = generation->plan.moves;
    heap->count = generation->plan.count;
    generation->plan.moves = NULL;
    generation->plan.count = 0;
    for (index = 0; index < heap->count; index++) moved += heap->moves[index].bytes == NULL;
    hr__store(host->blocks, (unsigned)heap->count);
    hr__store(host->moved, moved);
    for (kind = heap->kinds; kind; kind = kind->next) {
        if (kind->generation != heap->generation) continue;
        kind->held = 1;
        kind->other_name = kind->next_name;
        kind->other_size = kind->next_size;
        kind->next_name = NULL;
        kind->next_size = 0;
    }
    heap->undo = heap->generation;
    hr__exchange_blocks(heap, generation->number);
    heap->newest = hr__blocks_made;
    heap->doomed = heap->freed;
    heap->freed = NULL;
    heap->carrying = 0;
    heap->undoable = hr__guard_may_undo(host, generation);
    if (!heap->undoable) hr__drop_undo(heap);
}

/* Carries state, statics and typed blocks from `old` to `generation`, in memory of their own. 0: it cannot be done, reason
   said; nothing of the old generation is touched in either case. Under the lock of the blocks. */
static int hr__carry(hr_host *host, hr__generation *old, hr__generation *generation, char *reason)
{
    hr__plan *plan = &generation->plan;
    const size_t old_size = old->state_size, new_size = generation->state_size;
    const unsigned char *state = (const unsigned char *)host->state;
    hr__move move;
    uint32_t index;
    host->heap.carrying = 1;
    if (!hr__place_blocks(host, plan, reason)) {
        hr__say(reason, ": put it back as it was, or restart the host");
        return 0;
    }
    move.blocks = plan->moves;
    move.count = plan->count;
    move.host = host;
    move.old = old;
    move.now = generation;
    move.plan = plan;
    move.lost = 0;
    move.reason = reason;
    move.apart = old == host->left_by;
    move.state = (uintptr_t)host->state;
    if (move.apart) {
        move.state = (uintptr_t)((const hr__left_head *)(const void *)host->left)->state;
        state = host->left + HR__LEFT_PAGE;
    }
    if (plan->head->state != HR__NONE)
        hr__apply(&move, plan->head->state, state, plan->state);
    else if (!move.apart)
        memcpy(plan->state, state, old_size < new_size ? old_size : new_size);
    else if (old_size)
        hr__say(reason, "the debug information does not tell what is in the state (compile with -g)");
    for (index = 0; index < plan->head->statics && !reason[0]; index++) {
        const hr__static *each = &plan->statics[index];
        const unsigned char *was =
            hr__was_at(&move, move.old->image.base + each->from, plan->programs[each->program].old_size);
        if (was)
            hr__apply(&move, each->program, was, (unsigned char *)(generation->image.base + each->to));
        else
            hr__say(reason, "%s is not in what was left", plan->strings + each->title);
    }
    if (!reason[0]) hr__carry_blocks(&move);
    if (reason[0]) {
        if (!move.apart) hr__say(reason, ": put it back as it was, or restart the host");
        return 0;
    }
    if (plan->head->keep) move.old->keep = 1;
    generation->lost = move.lost;
    return 1;
}

typedef struct hr__carrying {
    hr_host *host;
    hr__generation *old, *generation;
    char *reason;
    int good;
} hr__carrying;

static void hr__carry_it(void *argument)
{
    hr__carrying *it = (hr__carrying *)argument;
    it->good = hr__carry(it->host, it->old, it->generation, it->reason);
}

/* hr__carry; -1: a function of HR_MIGRATE has crashed, reason said. */
static int hr__try_carry(hr_host *host, hr__generation *old, hr__generation *generation, char *reason)
{
    hr__carrying it;
    it.host = host;
    it.old = old;
    it.generation = generation;
    it.reason = reason;
    it.good = 0;
    if (!generation->plan.calls) {
        hr__carry_it(&it);
    } else if (!hr__try(host, generation, "call", "loop", hr__carry_it, &it)) {
        reason[0] = '\0';
        hr__say(reason, "generation %u crashed: %s", generation->number, hr__crash_what(&generation->crash));
        return -1;
    }
    return it.good;
}

/* What hr__carry made becomes the state. */
static void hr__settle_state(hr_host *host, hr__generation *generation)
{
    const size_t old_size = host->current ? host->current->state_size : 0, new_size = generation->state_size;
    memcpy(host->state, generation->plan.state, new_size);
    if (old_size > new_size) memset((unsigned char *)host->state + new_size, 0, old_size - new_size);
    free(generation->plan.state);
    generation->plan.state = NULL;
    hr__store(host->lost, generation->lost);
}

static int hr__is_mapped(const char *path)
{
    void *handle = dlopen(path, RTLD_NOLOAD | RTLD_LAZY);
    if (handle) dlclose(handle);
    return handle != NULL;
}

/* Frees the bookkeeping alone; the code stays mapped. */
static void hr__forget(hr__generation *generation)
{
    if (!generation) return;
    free(generation->plan.bytes);
    free(generation->plan.state);
    free(generation->kept);
    hr__drop_moves(&generation->plan);
    free(generation->refusal);
    free(generation);
}

/* dlclose returns 0 always; RTLD_NOLOAD tells whether the library has really gone (dlopen(3)). */
static void hr__unload(hr_host *host, hr__generation *generation)
{
    hr__guard_drop(generation);
    if (!generation->keep) dlclose(generation->handle);
    if (!hr__is_mapped(generation->path)) host->kept--;
    hr__forget(generation);
}

/* Finds every function of the list; 0: some are missing, all of them named. */
static int hr__find_functions(const hr_host *host, hr__generation *generation, char *reason)
{
    size_t index, missing = 0;
    for (index = 0; index < host->count; index++) {
        generation->functions[index] = dlsym(generation->handle, host->desc.names[index]);
        if (!generation->functions[index]) {
            const char *error = dlerror();
            hr__say(reason, missing++ ? ", %s" : "functions missing: %s", host->desc.names[index]);
            if (host->count == 1 && error) hr__say(reason, " (dlsym: %s)", error);
        }
    }
    if (missing) hr__say(reason, ": define them, or take them out of the list and build the host again");
    return missing == 0;
}

/* In the place of PLUGIN_after_reload, when that has crashed. */
static void hr__nothing(void *state, const hr_migration *what) { (void)state, (void)what; }

/* PLUGIN_before_reload and PLUGIN_after_reload, where the plugin has them. */
static void hr__find_hooks(const hr_host *host, hr__generation *generation)
{
    hr_after_reload_fn *const nothing = hr__nothing;
    char name[NAME_MAX + 32];
    void *symbol = NULL;
    memcpy(&generation->functions[host->count], &nothing, sizeof nothing);
    if (!host->desc.name || strlen(host->desc.name) >= NAME_MAX) return;
    snprintf(name, sizeof name, "%s_before_reload", host->desc.name);
    symbol = dlsym(generation->handle, name);
    memcpy(&generation->before, &symbol, sizeof symbol);
    snprintf(name, sizeof name, "%s_after_reload", host->desc.name);
    symbol = dlsym(generation->handle, name);
    memcpy(&generation->after, &symbol, sizeof symbol);
    generation->functions[host->count + 1] = symbol;
    dlerror();
}

/* Reads what the plugin says of its state; 0: it does not fit this host, reason said. */
static int hr__check_state(const hr_host *host, hr__generation *generation, char *reason)
{
    const hr__generation *running = hr__load(host->running);
    const hr_plugin_info *info = NULL;
    char name[NAME_MAX + 2];
    if (host->desc.name && strlen(host->desc.name) < NAME_MAX - 16) {
        snprintf(name, sizeof name, "hr_plugin_%s", host->desc.name);
        info = (const hr_plugin_info *)dlsym(generation->handle, name);
        dlerror();
    }
    if (info && info->abi != HR_ABI) {
        hr__say(reason, "the plugin is built with another version of hotreload.h (%u, this host: %u): build both again",
                info->abi, HR_ABI);
        return 0;
    }
    generation->state_size = info ? info->state_size : host->desc.state_size;
    generation->initial = info ? info->initial : NULL;
    if (running && !generation->plan.bytes && running->state_size != generation->state_size)
        hr__say(reason, "the state's size changed, %llu to %llu bytes: put the field back, or restart the host",
                (unsigned long long)running->state_size, (unsigned long long)generation->state_size);
    else if (host->desc.state_size && generation->state_size != host->desc.state_size)
        hr__say(reason, "the host was compiled with a state of %llu bytes, the plugin has %llu: build the host again",
                (unsigned long long)host->desc.state_size, (unsigned long long)generation->state_size);
    else if (generation->state_size > HR_STATE_RESERVE)
        hr__say(reason, "the state has %llu bytes, more than HR_STATE_RESERVE: define that larger in the host",
                (unsigned long long)generation->state_size);
    else if (info && info->state_alignment > (size_t)sysconf(_SC_PAGESIZE))
        hr__say(reason, "the state's type is aligned to %llu bytes, more than a page: align it to less",
                (unsigned long long)info->state_alignment);
    return reason[0] == '\0';
}

/* --- a new start by the builder: the process that takes over (hr_open) -------------------------------------------- */

/* What the process before left cannot be had: the state begins as a new one, and why is told. */
static void hr__begin_anew(hr_host *host, hr__generation *generation, const char *why)
{
    snprintf(host->inherited, sizeof host->inherited, "%s", why);
    if (host->left) munmap(host->left, host->left_size);
    hr__forget(host->left_by);
    host->left = NULL;
    host->left_by = NULL;
    if (!generation) return;
    free(generation->plan.bytes);
    free(generation->plan.state);
    memset(&generation->plan, 0, sizeof generation->plan);
    generation->from = NULL;
}

static int hr__find_way(hr_host *host, hr__generation *generation, int planned, char *reason)
{
    char why[HR__REASON_SIZE] = "";
    hr__generation *running = hr__load(host->running);
    if (running || !host->left_by) return hr__find_plan(host, generation, running, planned, reason);
    if (!hr__find_plan(host, generation, host->left_by, 1, why)) hr__begin_anew(host, generation, why);
    return 1;
}

static int hr__prepare_first(hr_host *host, hr__generation *generation, char *reason)
{
    char why[HR__REASON_SIZE] = "";
    if (hr__prepare_state(generation, why)) return 1;
    if (host->left_by && generation->from == host->left_by) {
        hr__begin_anew(host, generation, why);
        return 1;
    }
    hr__say(reason, "%s", why);
    return 0;
}

/* Whether the bytes are what a process left, whole, for us: 1; 0: for another process; -1: reason said. */
static int hr__check_left(const hr_host *host, const unsigned char *bytes, size_t size, const char *path, char *reason)
{
    const hr__left_head *head = (const hr__left_head *)(const void *)bytes;
    const size_t length = strlen(host->base);
    size_t index;
    int good = memcmp(head->magic, HR__LEFT_MAGIC, 8) == 0 && head->size == size &&
               head->sum == hr__crc((const char *)bytes + 16, size - 16) && head->count <= 8 &&
               head->state_size <= size - HR__LEFT_PAGE && head->state_size <= HR_STATE_RESERVE &&
               memchr(head->file, '\0', sizeof head->file) && !strchr(head->file, '/') &&
               strncmp(head->file, host->base, length) == 0 && head->file[length] == '.';
    for (index = 0; good && index < head->count; index++)
        good = head->parts[index].begin <= head->parts[index].end && head->parts[index].offset <= size &&
               (!head->parts[index].offset ||
                head->parts[index].end - head->parts[index].begin <= size - head->parts[index].offset);
    if (good) return head->parent == (uint64_t)getppid();
    hr__say(reason, "%s is damaged or of another version of hotreload", path);
    return -1;
}

static hr__generation *hr__left_generation(const hr__left_head *head)
{
    hr__generation *generation = (hr__generation *)calloc(1, sizeof *generation);
    size_t index;
    if (!generation) return NULL;
    generation->number = head->number;
    generation->state_size = (size_t)head->state_size;
    generation->image.base = (uintptr_t)head->base;
    generation->image.count = (unsigned)head->count;
    for (index = 0; index < head->count; index++) {
        generation->image.segments[index].begin = (uintptr_t)head->parts[index].begin;
        generation->image.segments[index].end = (uintptr_t)head->parts[index].end;
        generation->image.segments[index].flags = (uint32_t)head->parts[index].flags;
    }
    snprintf(generation->path, sizeof generation->path, "/%s", head->file);
    return generation;
}

/* Takes what the process before left, if the builder says so and this is the process that it is for. Once: the file goes. */
static void hr__inherit(hr_host *host)
{
    const char *token = getenv("HOTRELOAD_STATE");
    char path[PATH_MAX], name[NAME_MAX + HR__TOKEN + 16], reason[HR__REASON_SIZE] = "";
    unsigned char *bytes = NULL;
    struct stat status;
    size_t size = 0, done = 0;
    int file, ours = -1;
    if (!token || !*token || strlen(token) > HR__TOKEN || token[strspn(token, "0123456789abcdef")]) return;
    if (hr__enter(host, reason) <= 0) return;
    snprintf(name, sizeof name, "/%s.state.%s", host->base, token);
    if (!hr__join(path, host->directory, name)) return;
    file = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (file < 0 && errno == ENOENT) return; /* this plugin's was not left, or somebody has had it */
    if (file < 0 || fstat(file, &status) != 0) {
        hr__say(reason, "%s: %s", path, strerror(errno));
    } else if (!S_ISREG(status.st_mode) || status.st_uid != geteuid() || (status.st_mode & 077)) {
        hr__say(reason, "%s is not a file of ours alone", path);
    } else if (status.st_size < (off_t)HR__LEFT_PAGE || status.st_size > HR__PLAN_LIMIT) {
        hr__say(reason, "%s is cut off", path);
    } else {
        size = (size_t)status.st_size;
        bytes = (unsigned char *)mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (bytes == MAP_FAILED) bytes = NULL;
        while (bytes && done < size) {
            const ssize_t got = pread(file, bytes + done, size - done, (off_t)done);
            if (got <= 0) break;
            done += (size_t)got;
        }
        if (!bytes || done < size)
            hr__say(reason, "%s cannot be read", path);
        else
            ours = hr__check_left(host, bytes, size, path, reason);
    }
    if (file >= 0) close(file);
    if (ours) unlink(path);
    if (ours > 0) {
        host->left_by = hr__left_generation((const hr__left_head *)(const void *)bytes);
        if (!host->left_by) hr__say(reason, "there is no memory for it");
    }
    host->left = bytes;
    host->left_size = size;
    if (!host->left_by) hr__begin_anew(host, NULL, reason);
}

/* Carries what was left over to the first generation. What cannot be carried begins anew as a whole, statics too. */
static void hr__take_over(hr_host *host, hr__generation *generation)
{
    const hr__plan *plan = &generation->plan;
    char reason[HR__REASON_SIZE] = "";
    unsigned char *before, *at;
    size_t size = 1;
    uint32_t index;
    for (index = 0; index < plan->head->statics; index++) size += plan->programs[plan->statics[index].program].new_size;
    before = (unsigned char *)malloc(size);
    for (at = before, index = 0; before && index < plan->head->statics; index++) {
        const hr__static *each = &plan->statics[index];
        memcpy(at, (const void *)(generation->image.base + each->to), plan->programs[each->program].new_size);
        at += plan->programs[each->program].new_size;
    }
    if (!before) {
        hr__begin_anew(host, generation, "there is no memory for it");
    } else if (hr__try_carry(host, host->left_by, generation, reason) > 0) {
        snprintf(host->inherited, sizeof host->inherited, "yes");
    } else {
        while (index-- > 0) {
            const hr__static *each = &plan->statics[index];
            at -= plan->programs[each->program].new_size;
            memcpy((void *)(generation->image.base + each->to), at, plan->programs[each->program].new_size);
        }
        hr__begin_anew(host, generation, reason);
    }
    free(before);
}

/* --- a new start by the builder: the process that goes ------------------------------------------------------------ */

/* Whole segments: with what AddressSanitizer puts between variables, which no memcpy may read. */
__attribute__((no_sanitize_address)) static void hr__copy_segment(unsigned char *to, uintptr_t begin, uintptr_t end)
{
    const volatile unsigned char *from = (const volatile unsigned char *)begin;
    size_t index = 0;
    for (; (begin + index) % 8 && begin + index < end; index++) to[index] = from[index];
    for (; begin + index + 8 <= end; index += 8) {
        const uint64_t word = *(const volatile uint64_t *)(const volatile void *)(from + index);
        memcpy(to + index, &word, sizeof word);
    }
    for (; begin + index < end; index++) to[index] = from[index];
}

/* The safe point: the bytes that are left, but for what the loader knows. NULL: there is no memory. */
static unsigned char *hr__park(const hr_host *host, size_t *whole)
{
    const hr__image *image = &host->current->image;
    hr__left_head head;
    unsigned char *bytes;
    size_t size = HR__LEFT_PAGE + host->current->state_size;
    unsigned index;
    memset(&head, 0, sizeof head);
    memcpy(head.magic, HR__LEFT_MAGIC, sizeof head.magic);
    head.number = host->current->number;
    head.state = (uintptr_t)host->state;
    head.state_size = host->current->state_size;
    head.base = image->base;
    head.count = image->count;
    snprintf(head.file, sizeof head.file, "%s", hr__file_of(host->current));
    for (index = 0; index < image->count; index++) {
        head.parts[index].begin = image->segments[index].begin;
        head.parts[index].end = image->segments[index].end;
        head.parts[index].flags = image->segments[index].flags;
        if (!(image->segments[index].flags & PF_W) || image->segments[index].begin == image->segments[index].end) continue;
        size = (size + HR__LEFT_PAGE - 1) / HR__LEFT_PAGE * HR__LEFT_PAGE + image->segments[index].begin % HR__LEFT_PAGE;
        head.parts[index].offset = size;
        size += image->segments[index].end - image->segments[index].begin;
    }
    head.size = size;
    if (size > (size_t)HR__PLAN_LIMIT) return NULL;
    bytes = (unsigned char *)mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (bytes == MAP_FAILED) return NULL;
    memcpy(bytes, &head, sizeof head);
    memcpy(bytes + HR__LEFT_PAGE, host->state, host->current->state_size);
    for (index = 0; index < image->count; index++)
        if (head.parts[index].offset)
            hr__copy_segment(bytes + head.parts[index].offset, image->segments[index].begin, image->segments[index].end);
    *whole = size;
    return bytes;
}

/* The loader: whether the builder asks for the state. The request goes when it is read. */
static void hr__hear(hr_host *host)
{
    static const char magic[] = "hotreload-save 1\n";
    char path[PATH_MAX], name[NAME_MAX + 1], text[1024], token[HR__TOKEN + 1], parent[32], *sum;
    struct stat status;
    char reason[HR__REASON_SIZE] = "";
    ssize_t size = 0;
    int file, trusted;
    snprintf(name, sizeof name, "/%s.save.%ld.%u", host->base, (long)getpid(), host->serial);
    if (host->record_fd < 0 || !hr__join(path, host->directory, name)) return;
    file = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (file < 0) return;
    trusted = fstat(file, &status) == 0 && S_ISREG(status.st_mode) && hr__trusted(&status, path, reason);
    if (trusted) size = read(file, text, sizeof text - 1);
    close(file);
    unlink(path);
    text[size > 0 ? size : 0] = '\0';
    sum = strstr(text, "\nsum ");
    if (strncmp(text, magic, sizeof magic - 1) != 0 || !sum ||
        strtoul(sum + 5, NULL, 16) != hr__crc(text, (size_t)(sum + 1 - text)) ||
        !hr__field(text, "token", token, sizeof token) || token[strspn(token, "0123456789abcdef")] || !token[0] ||
        !hr__field(text, "parent", parent, sizeof parent))
        return;
    memcpy(host->token, token, sizeof token);
    host->parent_pid = hr__number(parent, LLONG_MAX);
    hr__store(host->asked, 1);
    hr__announce(host);
}

/* The loader: writes what the safe point has left, complete before it has its name, and answers. */
static void hr__write_left(hr_host *host)
{
    char path[PATH_MAX], temporary[PATH_MAX], name[NAME_MAX + HR__TOKEN + 16];
    const char *why = NULL;
    unsigned char *bytes = host->parked;
    size_t done = 0;
    int file = -1;
    if (!hr__load(host->parking)) return;
    bytes = host->parked;
    snprintf(name, sizeof name, "/.%s.state.%s", host->base, host->token);
    if (!hr__join(temporary, host->directory, name)) why = "the path is too long";
    snprintf(name, sizeof name, "/%s.state.%s", host->base, host->token);
    if (!hr__join(path, host->directory, name)) why = "the path is too long";
    if (!bytes) why = "there is no memory for a copy of it, or it is too large";
    if (!why) {
        hr__left_head *head = (hr__left_head *)(void *)bytes;
        head->parent = host->parent_pid;
        head->sum = hr__crc((const char *)bytes + 16, host->parked_size - 16);
        unlink(temporary);
        file = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
        while (file >= 0 && done < host->parked_size) {
            const ssize_t written = write(file, bytes + done, host->parked_size - done);
            if (written <= 0) break;
            done += (size_t)written;
        }
        if (file < 0 || done < host->parked_size || rename(temporary, path) != 0) {
            why = strerror(errno);
            unlink(temporary);
        }
        if (file >= 0) close(file);
    }
    if (bytes) munmap(bytes, host->parked_size);
    host->parked = NULL;
    snprintf(host->saved, sizeof host->saved, "%s %s", host->token, why ? why : "-");
    hr__store(host->parking, 0);
    hr__write_record(host, 0);
}

/* --- loading, as a whole (loader thread) -------------------------------------------------------------------------- */

static hr__generation *hr__open_generation(hr_host *host, const hr__pointer *pointer, char *reason)
{
    const double begun = hr__now_us();
    char name[NAME_MAX + 2];
    hr__generation *generation = (hr__generation *)calloc(1, sizeof *generation + (host->count + 2) * sizeof(void *));
    if (!generation) {
        hr__say(reason, "out of memory: end something else");
        return NULL;
    }
    generation->functions = (void **)(generation + 1);
    generation->number = pointer->number;
    generation->keep = pointer->keep;
    snprintf(name, sizeof name, "/%s", pointer->file);
    if (!hr__join(generation->path, host->directory, name)) {
        hr__say(reason, "the path of %s is too long: build into a directory with a shorter one", pointer->file);
    } else if (hr__check_file(generation->path, pointer->size, reason)) {
        const int again = hr__is_mapped(generation->path);
        hr__guard_opening(host, generation);
        generation->handle = dlopen(generation->path, (host->desc.lazy ? RTLD_LAZY : RTLD_NOW) | RTLD_LOCAL);
        hr__guard_opening(host, NULL);
        if (!generation->handle)
            hr__say(reason, "dlopen: %s: define or link what it needs, and build again", dlerror());
        else if (!again)
            host->kept++;
    }
    if (!generation->handle) {
        free(generation);
        return NULL;
    }
    hr__find_image(generation);
    hr__find_hooks(host, generation);
    hr__fill_allocator(host, generation);
    if (!hr__find_functions(host, generation, reason) || !hr__find_way(host, generation, pointer->planned, reason) ||
        !hr__check_state(host, generation, reason) || !hr__prepare_first(host, generation, reason)) {
        hr__unload(host, generation);
        return NULL;
    }
    if (host->count) hr__populate(&generation->image);
    hr__guard_prepare(host, generation);
    generation->load_us = hr__now_us() - begun;
    return generation;
}

/* Sets what hr_poll and the record say; 1: it is news. Not that all is well while a crash waits for the loader, which may
   have come during this very look. */
static int hr__tell(hr_host *host, int refused, const char *reason)
{
    int news;
    pthread_mutex_lock(&host->lock);
    if (!refused && hr__load(host->crashed)) {
        pthread_mutex_unlock(&host->lock);
        return 0;
    }
    news = refused != host->refused || strcmp(reason, host->reason) != 0;
    /* A refusal again after a signal is news too; not so a retry by time, while we cannot register. */
    if (refused && host->record_fd >= 0) news = 1;
    host->refused = refused;
    if (news) host->untold = refused;
    host->reason[0] = '\0';
    hr__say(host->reason, "%s", reason);
    pthread_mutex_unlock(&host->lock);
    return news;
}

static hr__generation *hr__withdraw(hr_host *host);

/* Whether `file` is what runs, or waits for the safe point. */
static int hr__has(hr_host *host, const char *file)
{
    hr__generation *pending;
    if (strcmp(file, host->loaded) == 0) return 1;
    if (strcmp(file, hr__file_of(hr__load(host->running))) != 0) return 0;
    pending = hr__withdraw(host); /* the builder took it back */
    if (!pending) return 0; /* the owner has just changed over to it */
    hr__unload(host, pending);
    memcpy(host->loaded, file, strlen(file) + 1);
    return 1;
}

/* --- several plugins in one process ------------------------------------------------------------------------------- */

/* The builder writes into a pointer what its generation must not run without: "together NUMBER LIBRARY", that number or a
   later one of another plugin. What is loaded waits until each of those that this process has open runs or can be taken
   at the same time. One that is refused makes the others refuse; one that was never published is waited for a limited
   time. Everything here but hr__agree and hr__take is called with hr__slots_lock held. */

/* The number of `other`'s generation that `host`'s must not run without; 0: it does not name it. */
static unsigned hr__names(const hr_host *host, const hr_host *other)
{
    const char *line = host->together;
    const size_t length = strlen(other->place);
    while (*line && length) {
        char *path;
        const unsigned long number = strtoul(line + strcspn(line, " "), &path, 10);
        const size_t size = strcspn(path, "\n");
        if (size == length + 1 && memcmp(path + 1, other->place, length) == 0) return (unsigned)number;
        line = path + size + (path[size] == '\n');
    }
    return 0;
}

/* Whom `host` must wait for; NULL: nobody. `taken`: those, by slot, whose waiting generation would be taken too. */
static hr_host *hr__blocker(const hr_host *host, const unsigned char *taken)
{
    int slot;
    for (slot = 0; slot < HR_MAX_HOSTS && host->runs; slot++) { /* the first generation waits for nobody */
        hr_host *other = hr__load(hr__slots[slot].host);
        const unsigned wanted = other && other != host ? hr__names(host, other) : 0;
        if (!wanted || other->runs >= wanted || (taken[slot] && other->waits >= wanted)) continue;
        if (other->newest < wanted && time(NULL) - host->published > HR__TOGETHER_S) continue;
        return other;
    }
    return NULL;
}

/* Who refuses what `host` must not run without, or what that one must not run without, and so on; NULL: nobody. */
static hr_host *hr__refuser(const hr_host *host)
{
    unsigned char seen[HR_MAX_HOSTS] = {0};
    int from, to, again;
    seen[host->slot] = 1;
    do {
        for (again = from = 0; from < HR_MAX_HOSTS; from++)
            for (to = 0; to < HR_MAX_HOSTS && seen[from]; to++) {
                hr_host *other = hr__load(hr__slots[to].host);
                const unsigned wanted = other && !seen[to] ? hr__names(hr__slots[from].host, other) : 0;
                if (!wanted || other->runs >= wanted) continue;
                if (other->refuses >= wanted) return other;
                seen[to] = 1;
                again = 1;
            }
    } while (again);
    return NULL;
}

/* Decides anew, for all hosts, what may be taken: as many as can be together. 1: `caller`'s may be from now on. */
static int hr__release(const hr_host *caller)
{
    unsigned char taken[HR_MAX_HOSTS];
    int slot, again, news = 0;
    for (slot = 0; slot < HR_MAX_HOSTS; slot++) {
        const hr_host *host = hr__load(hr__slots[slot].host);
        taken[slot] = host && host->waits;
    }
    do {
        for (again = slot = 0; slot < HR_MAX_HOSTS; slot++)
            if (taken[slot] && hr__blocker(hr__slots[slot].host, taken)) {
                taken[slot] = 0;
                again = 1;
            }
    } while (again);
    for (slot = 0; slot < HR_MAX_HOSTS; slot++) {
        hr_host *host = hr__load(hr__slots[slot].host);
        if (!host) continue;
        if (taken[slot] && !host->released && host == caller) news = 1;
        if (taken[slot] && !host->released && host != caller) hr__announce(host);
        host->released = taken[slot];
    }
    return news;
}

static int hr__is_held(hr_host *host)
{
    int held;
    pthread_mutex_lock(&hr__slots_lock);
    held = host->waits && !host->released;
    pthread_mutex_unlock(&hr__slots_lock);
    return held;
}

/* Gives `generation` to the safe point, when it is released; the one that waited before is returned. Decided at once: those
   that were to go with that one must not be taken without it. `ready` as of hr__agree. */
static hr__generation *hr__offer(hr_host *host, const hr__pointer *pointer, hr__generation *generation, int *ready)
{
    hr__generation *superseded;
    pthread_mutex_lock(&hr__slots_lock);
    superseded = hr__swap(host->pending, generation);
    host->waits = generation->number;
    host->newest = pointer->number;
    host->released = 0;
    host->published = pointer->published;
    memcpy(host->together, pointer->together, sizeof host->together);
    *ready = hr__release(host);
    pthread_mutex_unlock(&hr__slots_lock);
    return superseded;
}

/* Takes back what waits, and with it what was to go with it; NULL: nothing waits. */
static hr__generation *hr__withdraw(hr_host *host)
{
    hr__generation *pending;
    pthread_mutex_lock(&hr__slots_lock);
    pending = hr__swap(host->pending, (hr__generation *)NULL);
    if (pending) {
        host->waits = 0;
        hr__release(host);
    }
    pthread_mutex_unlock(&hr__slots_lock);
    return pending;
}

/* At the end of a look; `number` is the newest one's, 0 when there is none to be read. 1: what waits may be taken from now
   on. `refused` is set when it is dropped for another plugin's reason, which is then said. */
static int hr__agree(hr_host *host, unsigned number, int *refused, char *reason)
{
    hr__generation *dropped = NULL;
    hr_host *refuser;
    int slot, news, held;
    pthread_mutex_lock(&hr__slots_lock);
    if (!hr__join(host->place, host->parent, "/") || !hr__join(host->place, host->place, host->base))
        host->place[0] = '\0';
    if (number) host->newest = number;
    host->refuses = *refused ? number : 0;
    memcpy(host->because, reason, sizeof host->because);
    if (!hr__load(host->pending)) host->waits = 0;
    news = hr__release(host);
    held = host->waits && !host->released;
    refuser = held ? hr__refuser(host) : NULL;
    if (refuser) {
        dropped = hr__swap(host->pending, (hr__generation *)NULL);
        host->waits = 0;
        memcpy(host->loaded, hr__file_of(hr__load(host->running)), strlen(hr__file_of(hr__load(host->running))) + 1);
        reason[0] = '\0';
        hr__say(reason, "%s, which was built together with it, is refused: %s", refuser->base, refuser->because);
        *refused = 1;
    }
    for (slot = 0; slot < HR_MAX_HOSTS; slot++) {
        const hr_host *other = hr__load(hr__slots[slot].host);
        const unsigned wanted = other && other != host ? hr__names(host, other) : 0;
        const int may_not_know = held && !refuser && other && other->runs < wanted && other->waits < wanted;
        const int waits_for_us = host->refuses && other && other->waits && !other->released;
        if (may_not_know || waits_for_us) hr__raise(hr__slots[slot].wake_fd);
    }
    pthread_mutex_unlock(&hr__slots_lock);
    if (dropped) hr__unload(host, dropped);
    return news;
}

/* For hr_poll: which of them go on in turns in one thread. */
static __thread unsigned hr__turn;

static void hr__take_turn(hr_host *host)
{
    __atomic_store_n(&host->turn_before, host->turn, __ATOMIC_RELAXED);
    __atomic_store_n(&host->turn, ++hr__turn, __ATOMIC_RELAXED);
    __atomic_store_n(&host->thread, (const void *)&hr__turn, __ATOMIC_RELAXED);
}

/* 1: the calling thread polls both, one after the other: `other`'s last hr_poll was after the one before of `host`. */
static int hr__in_turns(hr_host *host, hr_host *other)
{
    return __atomic_load_n(&other->thread, __ATOMIC_RELAXED) == (const void *)&hr__turn &&
           __atomic_load_n(&other->turn, __ATOMIC_RELAXED) > host->turn_before;
}

typedef struct hr__taken {
    hr_host *host;
    hr__generation *generation;
} hr__taken;

/* What is to be changed over to now: `host`'s, and with it those that belong to it and that this thread polls in turns
   with it. The number of them in `taken` (HR_MAX_HOSTS); `host` is the first. */
static unsigned hr__take(hr_host *host, hr__taken *taken)
{
    unsigned count = 0;
    int slot;
    pthread_mutex_lock(&hr__slots_lock);
    for (slot = -1; slot < HR_MAX_HOSTS; slot++) {
        hr_host *other = slot < 0 ? host : hr__load(hr__slots[slot].host);
        hr__generation *generation;
        if (!other || (slot >= 0 && other == host)) continue;
        if (slot < 0 ? !host->released
                     : !count || !other->released || !hr__in_turns(host, other) ||
                           !(hr__names(host, other) || hr__names(other, host)))
            continue;
        hr__store(other->taken, 1);
        generation = hr__swap(other->pending, (hr__generation *)NULL);
        if (!generation) hr__store(other->taken, 0);
        if (!generation) continue;
        other->runs = generation->number;
        other->waits = 0;
        other->released = 0;
        taken[count].host = other;
        taken[count++].generation = generation;
    }
    pthread_mutex_unlock(&hr__slots_lock);
    return count;
}

/* Reads the pointer and loads what it names, if that is not what is loaded already. */
static void hr__look(hr_host *host)
{
    char reason[HR__REASON_SIZE] = "", deaf[HR__REASON_SIZE] = "";
    hr__pointer pointer;
    hr__generation *generation = NULL, *superseded;
    int found, news, refused, ready = 0;
    if (hr__lost(host)) return;
    found = hr__enter(host, reason);
    if (found > 0) {
        if (host->record_fd < 0) hr__register(host, deaf);
        found = hr__read_pointer(host, &pointer, reason);
        if (found == 0 && !hr__load(host->running))
            hr__say(reason, "%s/%s is not published yet: run scons, or scons watch", host->parent, host->base);
    }
    if (found > 0) {
        if (strcmp(pointer.file, host->given_up) == 0)
            hr__say(reason, "%s", host->given_up_why);
        else if (!hr__has(host, pointer.file) && !hr__is_marked(host, &pointer, reason))
            generation = hr__open_generation(host, &pointer, reason);
        host->tried = pointer.number;
    }
    refused = found != 0 && reason[0];
    if (found == 0 && hr__load(host->running)) reason[0] = '\0'; /* a clean build is under way: nothing to tell */
    if (generation) {
        memcpy(host->loaded, pointer.file, sizeof host->loaded);
        host->load_us = generation->load_us;
        superseded = hr__offer(host, &pointer, generation, &ready);
        if (superseded) hr__unload(host, superseded); /* the safe point never came to it */
    }
    ready |= hr__agree(host, found > 0 ? pointer.number : 0, &refused, reason);
    news = hr__tell(host, refused, reason[0] ? reason : deaf);
    hr__write_record(host, 0);
    if (ready || news) hr__announce(host);
    if (refused && news && host->desc.verbose) dprintf(STDERR_FILENO, "hotreload: refused: %s\n", reason);
}

/* Generations that crashed: the record tells, then the mark; what ran before them is what is loaded. They stay mapped. */
static void hr__settle_crashes(hr_host *host)
{
    hr__generation *crashed = hr__swap(host->crashed, (hr__generation *)NULL);
    while (crashed) {
        hr__generation *next = crashed->next;
        const char *running = hr__file_of(hr__load(host->running));
        if (strcmp(host->loaded, hr__file_of(crashed)) == 0) memcpy(host->loaded, running, strlen(running) + 1);
        hr__tell_crash(host, crashed);
        hr__write_record(host, 0);
        hr__mark(host, crashed);
        hr__guard_drop(crashed);
        crashed->next = host->marked;
        host->marked = crashed;
        if (host->desc.verbose) dprintf(STDERR_FILENO, "hotreload: %s\n", host->reason);
        crashed = next;
    }
}

/* The safe point could not change over: says why, or, where its plan was for another generation, loads it again. */
static void hr__take_back(hr_host *host, hr__generation *rejected)
{
    const char *file = hr__file_of(hr__load(host->running));
    char reason[HR__REASON_SIZE] = "";
    int again = !rejected->refusal;
    if (!again) hr__say(reason, "%s", rejected->refusal);
    if (rejected->given_up) {
        memcpy(host->given_up, hr__file_of(rejected), strlen(hr__file_of(rejected)) + 1);
        memcpy(host->given_up_why, reason, sizeof reason);
    }
    hr__unload(host, rejected);
    if (hr__load(host->pending)) return; /* a newer one is there already */
    memcpy(host->loaded, file, strlen(file) + 1); /* the next signal tries again */
    if (again) {
        hr__look(host);
        return;
    }
    hr__tell(host, 1, reason);
    hr__write_record(host, 0);
    hr__announce(host);
    if (host->desc.verbose) dprintf(STDERR_FILENO, "hotreload: refused: %s\n", reason);
}

/* If the owner has changed over: answer, then close what is older than the previous generation. */
static void hr__settle(hr_host *host)
{
    const unsigned swaps = hr__load(host->swaps);
    hr__generation *rejected = hr__swap(host->rejected, (hr__generation *)NULL);
    hr__generation *retired = hr__swap(host->retired, (hr__generation *)NULL);
    if (rejected) hr__take_back(host, rejected);
    if (hr__load(host->remarks) != host->remarked) {
        host->remarked = hr__load(host->remarks);
        hr__write_record(host, 0);
    }
    if (swaps != host->recorded) {
        host->recorded = swaps;
        hr__write_record(host, 0);
        if (host->desc.verbose) dprintf(STDERR_FILENO, "hotreload: runs %s\n", hr__file_of(hr__load(host->running)));
    }
    if (!retired) return;
    while (retired) {
        hr__generation *next = retired->next;
        hr__unload(host, retired);
        retired = next;
    }
    hr__write_record(host, 0);
}

/* What the plugin put off is tried again. Milliseconds until then; -1: nothing is put off. */
static int hr__try_again(hr_host *host)
{
    double left;
    if (!hr__load(host->deferred)) return -1;
    left = host->again_us - hr__now_us();
    if (left > 0) return (int)(left / 1e3) + 1;
    hr__store(host->deferred, 0);
    hr__announce(host);
    return -1;
}

static void *hr__loader(void *argument)
{
    hr_host *host = (hr_host *)argument;
    const int wake_fd = hr__slots[host->slot].wake_fd;
    char events[1024];
    sigset_t mine;
    int index, patience = -1;
    sigemptyset(&mine);
    sigaddset(&mine, host->signal);
    for (index = 0; index < HR__FAULTS; index++) sigaddset(&mine, hr__faults[index]); /* of constructors */
    pthread_sigmask(SIG_UNBLOCK, &mine, NULL);
    while (!hr__load(host->stop)) {
        struct pollfd wait_for[3];
        const int opened = hr__load(host->opened); /* until then hr_open does all but watch for endless loops */
        int woken;
        wait_for[0].fd = opened ? wake_fd : -1; /* poll(2) ignores a negative one */
        wait_for[1].fd = host->nudge_fd;
        wait_for[2].fd = opened ? host->inotify_fd : -1;
        wait_for[0].events = wait_for[1].events = wait_for[2].events = POLLIN;
        wait_for[0].revents = wait_for[1].revents = wait_for[2].revents = 0;
        if (opened && hr__is_held(host) && (patience < 0 || patience > HR__TOGETHER_S * 1000)) patience = HR__TOGETHER_S * 1000;
        if (opened && host->record_fd < 0 && (patience < 0 || patience > HR__RETRY_MS)) patience = HR__RETRY_MS;
        index = opened ? hr__try_again(host) : -1;
        if (index >= 0 && (patience < 0 || patience > index)) patience = index;
        woken = poll(wait_for, 3, patience);
        hr__guard_answer(host);
        patience = hr__guard_watch(host);
        if (woken < 0) continue; /* the signal came here: it has raised wake_fd */
        if (wait_for[0].revents) hr__lower(wake_fd);
        if (wait_for[1].revents) hr__lower(host->nudge_fd);
        if (!hr__load(host->opened)) continue;
        while (wait_for[2].revents && read(host->inotify_fd, events, sizeof events) > 0) {
        }
        if (hr__load(host->stop)) break;
        hr__settle_crashes(host);
        hr__settle(host);
        hr__write_left(host);
        if (wait_for[0].revents) hr__hear(host);
        if (!wait_for[1].revents || wait_for[0].revents || wait_for[2].revents) hr__look(host);
    }
    return NULL;
}

/* --- the face ----------------------------------------------------------------------------------------------------- */

/* Cuts the version off a library's name: libplug.so.1.2.3 and the links that lead to it are all libplug.so. */
static void hr__unversion(char *base)
{
    char *end = base + strlen(base), *digit;
    for (;;) {
        for (digit = end; digit > base && digit[-1] >= '0' && digit[-1] <= '9'; digit--) {
        }
        if (digit == end || digit == base || digit[-1] != '.') break;
        end = digit - 1;
    }
    if (end - base > 3 && strncmp(end - 3, ".so", 3) == 0) *end = '\0';
}

/* desc->library → absolute path, lexically, as scons names what it publishes. */
static int hr__locate(hr_host *host)
{
    static const char origin[] = "$ORIGIN/";
    const char *tail = host->desc.library ? host->desc.library : "$ORIGIN/libplug.so";
    char head[PATH_MAX] = "", *base;
    if (strncmp(tail, origin, sizeof origin - 1) == 0) {
        const ssize_t size = readlink("/proc/self/exe", head, sizeof head - 1);
        char *slash;
        head[size > 0 ? size : 0] = '\0';
        slash = strrchr(head, '/');
        if (!slash) return 0;
        slash[1] = '\0';
        tail += sizeof origin - 1;
    } else if (tail[0] != '/') {
        if (!getcwd(head, sizeof head) || head[0] != '/' || !hr__join(head, head, "/")) return 0;
    }
    if (!hr__join(host->library, head, tail)) return 0;
    base = strrchr(host->library, '/') + 1;
    hr__unversion(base);
    host->base = base;
    return host->base[0] != '\0';
}

/* Gives a generation back to the loader: it cannot be had from here. `reason` NULL: it was made for another one. */
static void hr__reject(hr_host *host, hr__generation *generation, const char *reason)
{
    pthread_mutex_lock(&hr__slots_lock);
    host->runs = host->current ? host->current->number : 0;
    hr__release(host); /* others may have been told that it runs that one */
    pthread_mutex_unlock(&hr__slots_lock);
    generation->refusal = reason ? strdup(reason) : NULL;
    generation = hr__swap(host->rejected, generation);
    if (generation) hr__push(&host->retired, generation); /* the loader has not come to an earlier one yet */
    hr__store(host->taken, 0);
    hr__raise(host->nudge_fd);
}

/* Gives a generation to the loader that has crashed before it ran: nobody loads it again. */
static void hr__condemn(hr_host *host, hr__generation *generation)
{
    pthread_mutex_lock(&hr__slots_lock);
    host->runs = host->current->number;
    pthread_mutex_unlock(&hr__slots_lock);
    hr__guard_tell(host, generation);
    hr__store(host->taken, 0);
    hr__push(&host->crashed, generation); /* first: see hr__tell */
    hr__tell_crash(host, generation);
    hr__raise(host->nudge_fd);
}

/* --- the plugin's hooks (safe point) ------------------------------------------------------------------------------ */

/* Calls PLUGIN_after_reload of what runs now. `from`: of the generation before. New code may run in here: hr__guard_hook
   gives a guarded way to it. */
static void hr__call_after(hr_host *host, hr_after_reload_fn *after, unsigned from, const char *words)
{
    const hr__plan *plan = &host->current->plan;
    hr_migration what;
    if (!after) return;
    memset(&what, 0, sizeof what);
    what.from = from;
    what.to = host->current->number;
    what.old_size = what.new_size = host->current->state_size;
    what.words = words;
    if (!words) {
        what.words = plan->bytes ? plan->strings + plan->head->words : "";
        what.old_size = host->previous ? host->previous->state_size : host->left_by ? host->left_by->state_size : 0;
        what.restarted = host->left_by != NULL;
        what.statics = plan->bytes ? plan->head->statics : 0;
        what.lost = host->current->lost;
        what.blocks = host->blocks;
    }
    after(host->state, &what);
}

typedef struct hr__asking {
    hr_before_reload_fn *before;
    void *state;
    int answer;
    char reason[HR__REASON_SIZE - 32];
} hr__asking;

static void hr__ask_before(void *argument)
{
    hr__asking *it = (hr__asking *)argument;
    it->answer = it->before(it->state, it->reason, sizeof it->reason);
}

/* Calls a hook of what runs, the old code. 0: it has crashed; the state's bytes are as before it, by way of `kept` (room for
   them), and the record tells of it. */
static int hr__try_hook(hr_host *host, unsigned char *kept, const char *cause, const char *loop, void (*call)(void *),
                        void *argument)
{
    hr__generation *code = host->current;
    if (code->state_size) memcpy(kept, host->state, code->state_size);
    if (hr__try(host, code, cause, loop, call, argument)) return 1;
    if (code->state_size) memcpy(host->state, kept, code->state_size);
    hr__guard_tell(host, code);
    return 0;
}

/* Asks PLUGIN_before_reload of what runs, the old code. 0: not now, excuse said; -1: it has crashed, which is said; the state
   is as before, by way of `kept`, and that hook is not called again. */
static int hr__call_before(hr_host *host, unsigned char *kept, char *excuse)
{
    hr__generation *code = host->current;
    hr__asking it;
    if (!code || !code->before) return 1;
    it.before = code->before;
    it.state = host->state;
    it.answer = 0;
    it.reason[0] = '\0';
    if (!kept && code->state_size) { /* there was no memory */
        hr__ask_before(&it);
    } else if (!hr__try_hook(host, kept, "before", "before-loop", hr__ask_before, &it)) {
        code->before = NULL;
        hr__say(excuse, "%s_before_reload of generation %u crashed: %s; generation %u goes on, with the state as it was: "
                        "save again, the next generation is taken without asking it",
                host->desc.name, code->number, hr__crash_what(&code->crash), code->number);
        return -1;
    }
    if (it.answer == 0) return 1;
    it.reason[sizeof it.reason - 1] = '\0';
    hr__say(excuse, "not now: %s", it.reason[0] ? it.reason : "the plugin gives no reason");
    return 0;
}

typedef struct hr__telling {
    hr_host *host;
    unsigned from;
    const char *words;
} hr__telling;

static void hr__tell_after(void *argument)
{
    const hr__telling *it = (const hr__telling *)argument;
    hr__call_after(it->host, it->host->current->after, it->from, it->words);
}

/* PLUGIN_after_reload of the old code, which goes on after all; `words`: why. If it crashes, the state's bytes are as before
   it, that hook is not called again, and hr_poll tells of it. */
static void hr__go_on(hr_host *host, unsigned from, const char *words)
{
    hr__generation *code = host->current;
    unsigned char *kept;
    hr__telling it;
    if (!code->after) return;
    kept = (unsigned char *)malloc(code->state_size + 1);
    it.host = host;
    it.from = from;
    it.words = words;
    if (!kept) {
        hr__tell_after(&it);
        return;
    }
    if (!hr__try_hook(host, kept, "told", "told-loop", hr__tell_after, &it)) {
        code->after = NULL;
        host->aside[0] = '\0';
        hr__say(host->aside, "%s_after_reload of generation %u crashed: %s; generation %u goes on, with the state as it was before "
                             "that; it is not called again",
                host->desc.name, code->number, hr__crash_what(&code->crash), code->number);
        hr__announce(host);
        __atomic_fetch_add(&host->remarks, 1, __ATOMIC_ACQ_REL);
        if (host->has_loader) hr__raise(host->nudge_fd);
    }
    free(kept);
}

/* "Not now" is told, and the loader announces another try when `delay_ms` are over. */
static void hr__excuse(hr_host *host, const char *excuse)
{
    pthread_mutex_lock(&host->lock);
    memcpy(host->excuse, excuse, sizeof host->excuse);
    pthread_mutex_unlock(&host->lock);
    host->delay_ms = host->delay_ms ? host->delay_ms < 1000 ? 2 * host->delay_ms : 2000 : 50;
    host->again_us = hr__now_us() + host->delay_ms * 1e3;
    __atomic_fetch_add(&host->remarks, 1, __ATOMIC_ACQ_REL);
    hr__store(host->deferred, 1);
    if (host->has_loader) hr__raise(host->nudge_fd);
}

/* `generation` waits on, unless a newer one has come; the loader announces it again when `delay_ms` are over. */
static void hr__put_off(hr_host *host, hr__generation *generation, const char *excuse)
{
    hr__generation *none = NULL;
    pthread_mutex_lock(&hr__slots_lock);
    host->runs = host->current ? host->current->number : 0;
    if (__atomic_compare_exchange_n(&host->pending, &none, generation, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
        host->waits = generation->number;
        host->released = 0;
    } else {
        hr__push(&host->retired, generation);
    }
    hr__release(host);
    pthread_mutex_unlock(&hr__slots_lock);
    hr__store(host->taken, 0);
    hr__excuse(host, excuse);
}

/* Whether the plugins of all that is `taken` let go: all or none. Those that had said yes before one said no, or crashed, are
   told that they go on. */
static int hr__may_change_over(const hr__taken *taken, unsigned count)
{
    char excuse[HR__REASON_SIZE] = "";
    unsigned index, asked;
    int said = 1;
    for (index = 0; index < count; index++)
        if (taken[index].host->current && taken[index].generation->from != taken[index].host->current)
            return 1; /* it goes back to its loader without a word */
    for (asked = 0; asked < count; asked++) {
        said = hr__call_before(taken[asked].host, taken[asked].generation->kept, excuse);
        if (said <= 0) break;
    }
    if (asked == count) return 1;
    for (index = 0; index < count; index++) {
        hr_host *host = taken[index].host;
        char why[HR__REASON_SIZE] = "";
        if (index != asked)
            hr__say(why, "%s, which was built together with it, %s: ", taken[asked].host->base, said ? "is refused" : "waits");
        hr__say(why, "%s", excuse);
        if (index < asked) hr__go_on(host, host->current->number, why);
        taken[index].generation->given_up = said && index == asked;
        if (said)
            hr__reject(host, taken[index].generation, why);
        else
            hr__put_off(host, taken[index].generation, why);
    }
    return 0;
}

/* Whether all of `taken` can be changed over to: all or none, so nothing is touched before that is known. What cannot be
   goes back to its loader. 1: the typed blocks are locked until all have changed over. */
static int hr__can_change_over(const hr__taken *taken, unsigned count)
{
    char reason[HR__REASON_SIZE] = "";
    unsigned index, bad = count;
    int stale = 0, carried = 1;
    hr__lock_blocks();
    for (index = 0; index < count && bad == count; index++) {
        hr_host *host = taken[index].host;
        hr__generation *generation = taken[index].generation;
        stale = host->current && generation->from != host->current;
        if (host->current && !stale && generation->plan.bytes)
            carried = hr__try_carry(host, host->current, generation, reason);
        if (stale || carried <= 0) bad = index;
        if (!host->current && generation->plan.bytes) hr__take_over(host, generation);
    }
    if (bad == count) return 1;
    for (index = 0; index < count; index++) hr__keep_blocks(taken[index].host, &taken[index].generation->plan);
    hr__unlock_blocks();
    for (index = 0; index < count; index++) {
        char why[HR__REASON_SIZE] = "";
        if (index != bad) hr__say(why, "%s, which was built together with it, is refused: ", taken[bad].host->base);
        hr__say(why, "%s", reason);
        if (carried < 0 && index == bad)
            hr__condemn(taken[index].host, taken[index].generation);
        else
            hr__reject(taken[index].host, taken[index].generation, stale ? NULL : why);
        if (!stale && taken[index].host->current) /* it had been asked, and goes on */
            hr__go_on(taken[index].host, taken[index].host->current->number, why);
    }
    return 0;
}

/* Changes over to `generation`: the only thing that happens at the safe point. Under the lock of the typed blocks. */
static void hr__change_over(hr_host *host, hr__generation *generation, double begun)
{
    hr__generation *retired = host->previous;
    hr__guard_snapshot(host);
    if (generation->plan.state)
        hr__settle_state(host, generation);
    else if (!host->current && generation->initial)
        memcpy(host->state, generation->initial, generation->state_size);
    hr__guard_begin(host, generation);
    hr__settle_blocks(host, generation);
    host->previous = host->current;
    host->current = generation;
    host->result.generation = generation->number;
    host->result.state_size = generation->state_size;
    host->result.load_us = generation->load_us;
    host->result.changed = 1;
    host->result.pause_us = hr__now_us() - begun;
    __atomic_store(&host->pause_us, &host->result.pause_us, __ATOMIC_RELEASE);
    pthread_mutex_lock(&host->lock);
    host->excuse[0] = '\0';
    pthread_mutex_unlock(&host->lock);
    host->delay_ms = 0;
    hr__store(host->deferred, 0);
    hr__store(host->running, generation);
    hr__store(host->taken, 0);
    if (retired) hr__push(&host->retired, retired);
}

/* Then the plugin is told, and the loader. */
static void hr__changed_over(hr_host *host, hr__generation *generation)
{
    hr__call_after(host, hr__guard_hook(host, generation),
                   host->previous ? host->previous->number : host->left_by ? host->left_by->number : 0, NULL);
    __atomic_fetch_add(&host->swaps, 1, __ATOMIC_ACQ_REL);
    if (host->has_loader) hr__raise(host->nudge_fd);
}

/* The safe point leaves its state, if the builder asked for it and the plugin lets go. */
static int hr__leave(hr_host *host)
{
    char excuse[HR__REASON_SIZE] = "";
    unsigned char *kept;
    int said;
    if (!hr__load(host->asked) || !host->current) return 0;
    kept = host->current->before ? (unsigned char *)malloc(host->current->state_size + 1) : NULL;
    said = hr__call_before(host, kept, excuse);
    free(kept);
    if (said == 0) {
        hr__excuse(host, excuse);
        return 0;
    }
    hr__store(host->asked, 0);
    pthread_mutex_lock(&host->lock);
    host->excuse[0] = '\0';
    pthread_mutex_unlock(&host->lock);
    host->parked = hr__park(host, &host->parked_size);
    hr__store(host->parking, 1);
    hr__raise(host->nudge_fd);
    return 1;
}

/* The builder starts this process again: the plugins of this thread leave what they have, and it waits here for its end, so
   that nothing happens which the next process would not know of. A signal that has a handler here ends the wait. */
static void hr__hand_over(hr_host *host)
{
    const double until = hr__now_us() + HR__HOLD_MS * 1e3;
    hr_host *gone[HR_MAX_HOSTS + 1], *others[HR_MAX_HOSTS];
    unsigned count = 0, index, found;
    int slot;
    if (!hr__leave(host)) return;
    gone[count++] = host;
    do {
        found = 0;
        pthread_mutex_lock(&hr__slots_lock);
        for (slot = 0; slot < HR_MAX_HOSTS; slot++) {
            hr_host *other = hr__load(hr__slots[slot].host);
            if (other && other != host && hr__load(other->asked) && hr__in_turns(host, other)) others[found++] = other;
        }
        pthread_mutex_unlock(&hr__slots_lock);
        for (index = 0; index < found && count <= HR_MAX_HOSTS; index++)
            if (hr__leave(others[index])) gone[count++] = others[index];
    } while (poll(NULL, 0, 1) == 0 && hr__now_us() < until);
    for (index = 0; index < count; index++)
        hr__go_on(gone[index], gone[index]->current->number, "the host was to be started again, and goes on");
}

/* There is news: a loaded generation, a refusal, or both. `changed` and `refused` are of this call alone. */
static hr_result hr__take_news(hr_host *host)
{
    static const char *const texts[] = {
#define HR__TEXT(name, text) text,
        HR_CODES(HR__TEXT)
#undef HR__TEXT
    };
    const double begun = hr__now_us();
    hr__taken taken[HR_MAX_HOSTS];
    unsigned index, count;
    hr_result result;
    hr__lower(host->ready_fd);
    hr__store(host->news, 0);
    hr__guard_news(host);
    if (hr__load(host->asked)) hr__hand_over(host);
    count = hr__take(host, taken);
    if (!hr__may_change_over(taken, count) || !hr__can_change_over(taken, count)) {
        count = 0;
    } else {
        for (index = 0; index < count; index++) hr__change_over(taken[index].host, taken[index].generation, begun);
        hr__unlock_blocks();
    }
    for (index = 0; index < count; index++) {
        hr__changed_over(taken[index].host, taken[index].generation);
        if (taken[index].host != host) hr__announce(taken[index].host); /* its own hr_poll tells of it */
    }
    if (count) hr__guard_news(host); /* PLUGIN_after_reload may have crashed */
    pthread_mutex_lock(&host->lock);
    host->result.refused = host->untold;
    host->untold = 0;
    host->result.code = host->refused ? HR_REFUSED : host->current ? HR_RUNNING : HR_WAITING;
    memcpy(host->text, host->reason[0] ? host->reason : host->excuse, sizeof host->text);
    pthread_mutex_unlock(&host->lock);
    if (host->aside[0]) {
        hr__say(host->text, "%s%s", host->text[0] ? "; " : "", host->aside);
        host->aside[0] = '\0';
        host->result.refused = 1;
    }
    host->result.text = host->text[0] ? host->text : texts[host->result.code];
    result = host->result;
    host->result.changed = host->result.refused = 0;
    return result;
}

static hr_result hr__failed(hr_host *host, const char *text)
{
    hr_result result;
    memset(&result, 0, sizeof result);
    result.code = HR_FAILED;
    result.text = text;
    if (host) host->result = result;
    return result;
}

hr_result hr_open(hr_host **out, const hr_desc *desc)
{
    hr_host *host = (hr_host *)calloc(1, sizeof *host);
    const char *reason = NULL;
    hr_result result;
    sigset_t all, before;
    int failed;
    *out = host;
    if (!host) return hr__failed(NULL, "out of memory");
    if (desc) host->desc = *desc;
    host->signal = host->desc.signal ? host->desc.signal : SIGURG;
    host->record_fd = host->inotify_fd = host->ready_fd = host->nudge_fd = host->slot = -1;
    host->started = hr__stat_field(22); /* when this process began, in clock ticks since boot */
    pthread_mutex_init(&host->lock, NULL);
    while (host->desc.names && host->desc.names[host->count]) host->count++;
    if (host->count && !host->desc.functions)
        return hr__failed(host, "desc.names without desc.functions: use HR_DESC, or give the table to fill");
    if (host->signal < 1 || host->signal >= NSIG || host->signal == SIGKILL || host->signal == SIGSTOP)
        return hr__failed(host, "desc.signal is not a signal that can be caught: use 0 for SIGURG, or SIGUSR1");
    if (!hr__locate(host))
        return hr__failed(host, "desc.library names no file, or its path is too long: name what the linker makes");
    host->state = mmap(NULL, HR_STATE_RESERVE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
                       0);
    if (host->state == MAP_FAILED) {
        host->state = NULL;
        return hr__failed(host, "no address space for the state: define HR_STATE_RESERVE smaller");
    }
    host->ready_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    host->nudge_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (host->ready_fd < 0 || host->nudge_fd < 0)
        return hr__failed(host, "no descriptor to be had (eventfd): raise ulimit -n");
    if (hr__take_slot(host, &reason) != 0) return hr__failed(host, reason);
    host->result.state = host->state;
    hr__open_heap(host);
    host->unguarded = hr__guard_make(host);

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    host->has_loader = 1; /* the thread reads it */
    hr__count_loader(1);
    failed = pthread_create(&host->loader, NULL, hr__loader, host);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed) {
        host->has_loader = 0;
        hr__count_loader(-1);
        return hr__failed(host, "the loader thread does not start: raise ulimit -u");
    }

    hr__inherit(host);
    hr__look(host);
    result = hr__take_news(host);
    if (host->left_by && !host->current) hr__begin_anew(host, NULL, "there was no generation to take it");
    if (host->left) munmap(host->left, host->left_size);
    hr__forget(host->left_by);
    host->left = NULL;
    host->left_by = NULL;
    hr__settle(host);
    hr__store(host->opened, 1);
    hr__raise(host->nudge_fd);
    return result;
}

hr_result hr_poll(hr_host *host)
{
    if (!host) return hr__failed(NULL, "hr_poll: no host: look at the result of hr_open");
    hr__take_turn(host);
    if (!hr__load(host->news) || host->forked) return host->result;
    return hr__take_news(host);
}

hr_result hr_status(hr_host *host)
{
    return host ? host->result : hr__failed(NULL, "hr_status: no host: look at the result of hr_open");
}

int hr_fd(hr_host *host) { return host && !host->forked ? host->ready_fd : -1; }

int hr_wait(hr_host *host, int milliseconds)
{
    struct pollfd wait_for;
    wait_for.fd = hr_fd(host);
    wait_for.events = POLLIN;
    wait_for.revents = 0;
    return poll(&wait_for, 1, milliseconds) > 0;
}

void hr_close(hr_host *host)
{
    if (!host) return;
    if (host->has_loader && !host->forked) {
        hr__store(host->stop, 1);
        hr__raise(host->nudge_fd);
        pthread_join(host->loader, NULL);
        hr__count_loader(-1);
    }
    if (!host->forked) {
        hr__generation *pending = hr__swap(host->pending, (hr__generation *)NULL);
        if (pending) hr__unload(host, pending);
        pending = hr__swap(host->rejected, (hr__generation *)NULL);
        if (pending) hr__unload(host, pending);
        hr__guard_news(host);
        hr__guard_close(host);
        hr__settle_crashes(host);
        hr__settle(host);
        if (host->record_fd >= 0) {
            hr__write_record(host, 1);
            unlink(host->record_path);
        }
        if (host->slot >= 0) hr__give_slot(host);
        if (host->parked) munmap(host->parked, host->parked_size);
        pthread_mutex_destroy(&host->lock);
    }
    hr__close_heap(host);
    hr__shut(&host->record_fd);
    hr__shut(&host->inotify_fd);
    hr__shut(&host->ready_fd);
    hr__shut(&host->nudge_fd);
    if (host->state) munmap(host->state, HR_STATE_RESERVE);
    while (host->marked) {
        hr__generation *next = host->marked->next;
        hr__forget(host->marked);
        host->marked = next;
    }
    hr__forget(host->previous);
    hr__forget(host->current);
    free(host);
}

#endif /* HOTRELOAD_IMPLEMENTATION */
