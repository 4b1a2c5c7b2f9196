"""A plugin that knows its own number, and a host that prints it: a mix of old and new code would show.

``plug_report`` gets the number three ways: from its own file, through a non-static function and from a global variable
of another translation unit. All three must be those of the generation that runs.
"""

from __future__ import annotations

from harness import HostProcess, Project

PLUG_H = """\
#include "hotreload.h"
typedef struct plug_state { unsigned calls; } plug_state;
#define PLUG_FUNCTIONS(X) \\
    X(plug_report, void, (plug_state *state, char *text)) \\
    X(plug_tick, void, (plug_state *state))
HR_FUNCTIONS(plug, PLUG_FUNCTIONS)
int number_function(void);
extern int number_variable;
"""

PLUG_C = """\
#include "plug.h"
#include <stdio.h>
#include "number.h"
HR_STATE(plug, plug_state)
void plug_tick(plug_state *state) { state->calls++; }
void plug_report(plug_state *state, char *text)
{
    sprintf(text, "numbers %d %d %d calls %u", NUMBER, number_function(), number_variable, state->calls);
}
"""

NUMBER_C = """\
#include "plug.h"
#include "number.h"
int number_variable = NUMBER;
int number_function(void) { return NUMBER; }
"""

MAIN_C = """\
#define HOTRELOAD_IMPLEMENTATION
#include "hotreload.h"
#include <stdio.h>
#include <stdlib.h>
#include "plug.h"
HR_TABLE(plug, PLUG_FUNCTIONS)
int main(int count, char **arguments)
{
    char text[256];
    unsigned ticks = 0;
    hr_host *host;
    hr_desc desc = HR_DESC(plug, "$ORIGIN/libplug.so");
    hr_result now;
    if (count > 1) desc.signal = atoi(arguments[1]);
    now = hr_open(&host, &desc);
    printf("opened: %s\\n", now.text);
    for (;;) {
        if (now.refused) printf("refused: %s\\n", now.text);
        if (now.changed) {
            plug.plug_report((plug_state *)now.state, text);
            printf("generation %u %s of %u\\n", now.generation, text, ticks);
        }
        if (now.code == HR_FAILED) return 1;
        fflush(stdout);
        hr_wait(host, 10);
        now = hr_poll(host);
        if (now.generation && !now.changed) {
            plug.plug_tick((plug_state *)now.state);
            ticks++;
        }
    }
}
"""

SCONSTRUCT = """\
env = Environment(tools=["default", "hotreload"], CC="{cc}", CCFLAGS=["-O0"])
plug = env.HotLibrary("build/plug", ["src/plug.c", "src/number.c"])
main = env.HotProgram("build/main", ["src/main.c"], plugins=[plug])
"""


def lay(project: Project, cc: str = "gcc") -> None:
    project.write("SConstruct", SCONSTRUCT.format(cc=cc))
    project.write("src/plug.h", PLUG_H)
    project.write("src/plug.c", PLUG_C)
    project.write("src/number.c", NUMBER_C)
    project.write("src/main.c", MAIN_C)
    set_number(project, 1)


def set_number(project: Project, number: int) -> None:
    project.write("src/number.h", f"#define NUMBER {number}\n")


def runs(host: HostProcess, number: int) -> str:
    """Wait until the host runs the code with this number; all of it."""
    line = host.wait_line(f" numbers {number} ")
    assert f"numbers {number} {number} {number} " in line, line
    calls, _, ticks = line.split("calls ")[1].partition(" of ")
    assert calls == ticks, f"the plugin's state counts {calls} calls, the host {ticks}"
    return line
