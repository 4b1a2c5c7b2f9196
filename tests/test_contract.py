"""The functions that a host was compiled against and those of the new library: real compilers, real hosts, real scons."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

import ticker
from harness import ROOT, Project, Watch, need, until
from hotreload_engine import contract, debug, dwarf

LANGUAGES = {"gcc": "c", "clang": "c", "g++": "cc", "clang++": "cc"}


# --- prototypes, compared -----------------------------------------------------------------------------------

TYPES = """
typedef struct plug_state { int a; } plug_state;
typedef unsigned word;
typedef struct { int x, y; } point;
typedef struct box { point at; const char *name; } box;
enum mode { RUN, STOP };
typedef int (*callback)(const char *, word);
struct handle;
box seen; /* clang++ describes only what is used */
"""


class Case(NamedTuple):
    name: str
    was: str
    """What ``plug_f`` returns, and its parameters."""
    now: str
    difference: str = ""
    """Of what is said of it, "" when the two are the same to a caller."""
    edit: tuple[str, str] = ("", "")
    """Of the types."""


CASES = [
    Case("the same", "int|(plug_state *s)", "int|(plug_state *s)"),
    Case("another name for a parameter", "int|(plug_state *s, word n)", "int|(plug_state *state, word count)"),
    Case("a typedef and what it stands for", "int|(word n)", "int|(unsigned int n)"),
    Case("a struct by its tag", "int|(plug_state *s)", "int|(struct plug_state *s)"),
    Case("long by another spelling", "unsigned long|(long n)", "long unsigned|(long int n)"),
    Case("a constant parameter", "int|(int n, point *p)", "int|(const int n, point *const p)"),
    Case("a promise more", "int|(plug_state *s)", "int|(const plug_state *s)"),
    Case("a promise less", "int|(const plug_state *s)", "int|(plug_state *s)", "int plug_f(const plug_state *) became"),
    Case("deeper promises", "int|(const char *const *s)", "int|(const char **s)", "became int plug_f(const char **)"),
    Case("a result with a promise more", "char *|(void)", "const char *|(void)", "became const char *plug_f(void)"),
    Case("a result with a promise less", "const char *|(void)", "char *|(void)"),
    Case("one parameter more", "void|(plug_state *s)", "void|(plug_state *s, float f)", "void plug_f(plug_state *) became"),
    Case("one parameter fewer", "void|(int a, int b)", "void|(int a)", "void plug_f(int, int) became void plug_f(int)"),
    Case("none any more", "void|(int a)", "void|(void)", "became void plug_f(void)"),
    Case("another result", "int|(void)", "double|(void)", "int plug_f(void) became double plug_f(void)"),
    Case("a result at last", "void|(void)", "int|(void)", "became int plug_f(void)"),
    Case("wider", "int|(int n)", "int|(long n)", "int plug_f(int) became int plug_f(long"),
    Case("without a sign", "int|(int n)", "int|(unsigned n)", "became int plug_f(unsigned int)"),
    Case("another struct", "int|(point p)", "int|(box p)", "int plug_f(point) became int plug_f(box)"),
    Case("by value, not by pointer", "int|(point *p)", "int|(point p)", "became int plug_f(point)"),
    Case("swapped", "int|(float a, int b)", "int|(int b, float a)", "became int plug_f(int, float)"),
    Case("more arguments", "int|(int a)", "int|(int a, ...)", "became int plug_f(int, ...)"),
    Case("more arguments, as before", "int|(const char *f, ...)", "int|(const char *format, ...)"),
    Case("an array is a pointer", "int|(int v[3])", "int|(int *v)"),
    Case("an enumeration", "int|(enum mode m)", "int|(enum mode m)"),
    Case("a function's pointer", "int|(callback f)", "int|(int (*f)(const char *, word))"),
    Case("another function's pointer", "int|(callback f)", "int|(int (*f)(const char *))", "became"),
    Case("a handle", "int|(struct handle *h)", "int|(struct handle *h)", "", ("struct handle;", "struct handle { int a; };")),
    Case("the state grows", "int|(plug_state *s)", "int|(plug_state *s)", "", ("{ int a; }", "{ int b; int a; }")),
    Case("a struct grows", "int|(box *b)", "int|(box *b)", "at box.at.z", ("int x, y;", "int x, y, z;")),
    Case("a struct by value grows", "int|(point p)", "int|(point p)", "at point.z", ("int x, y;", "int x, y, z;")),
    Case("fields change places", "int|(box **b)", "int|(box **b)", "at box.at.x", ("int x, y;", "int y, x;")),
    Case("a field widens", "point|(void)", "point|(void)", "at point.x", ("int x, y;", "long x, y;")),
    Case("enumerators move", "int|(enum mode m)", "int|(enum mode m)", "at mode: RUN", ("RUN, STOP", "IDLE, RUN, STOP")),
    Case("an enumerator comes", "int|(enum mode m)", "int|(enum mode m)", "", ("RUN, STOP", "RUN, STOP, IDLE")),
    Case("what a field points to", "int|(box *b)", "int|(box *b)", "at box.name", ("const char *name", "char name[8]")),
]  # fmt: skip


def compiled(directory: Path, compiler: str, name: str, text: str, *flags: str) -> debug.Debug:
    source, out = directory / f"{name}.{LANGUAGES[compiler]}", directory / name
    source.write_text(text)
    tool = need(compiler, "clang" if "clang" in compiler else compiler)
    subprocess.run([tool, "-g", "-fPIC", "-shared", *flags, f"-I{ROOT / 'src'}", "-o", out, source], check=True)
    return dwarf.read(out.read_bytes(), str(out))


def host_text(types: str, prototype: str) -> str:
    returns, parameters = prototype.split("|")
    return f"""#include "hotreload.h"
{types}
#define PLUG_FUNCTIONS(X) X(plug_other, void, (plug_state *s)) X(plug_f, {returns}, {parameters})
HR_FUNCTIONS(plug, PLUG_FUNCTIONS)
HR_TABLE(plug, PLUG_FUNCTIONS)
void start(hr_host **host) {{ hr_desc desc = HR_DESC(plug, 0); hr_open(host, &desc); }}
"""


def library_text(types: str, prototype: str) -> str:
    returns, parameters = prototype.split("|")
    body = "" if returns == "void" else f"static {returns} found; return found;"
    return f"""#include "hotreload.h"
{types}
#define PLUG_FUNCTIONS(X) X(plug_other, void, (plug_state *s)) X(plug_f, {returns}, {parameters}) X(plug_g, int, (void))
HR_FUNCTIONS(plug, PLUG_FUNCTIONS)
HR_STATE(plug, plug_state)
void plug_other(plug_state *s) {{ s->a = 1; }}
int plug_g(void) {{ return 1; }}
{returns} plug_f{parameters} {{ {body} }}
"""


@pytest.mark.parametrize("compiler", list(LANGUAGES))
def test_what_is_the_same_function_and_what_is_not(compiler: str, tmp_path: Path) -> None:
    """Every case, in C and C++ (extern "C" by HR_FUNCTIONS): what is said of it, and nothing where a caller sees none."""
    wrong = []
    for case in CASES:
        host = compiled(tmp_path, compiler, "host", host_text(TYPES, case.was))
        types = TYPES.replace(*case.edit) if case.edit[0] else TYPES
        text = library_text(types, case.now)
        library = compiled(tmp_path, compiler, "plug.so", text, "-O2")
        names = ["plug_other", "plug_f"]
        (known,) = contract.of_host(host, names)
        assert list(known) == names
        new = contract.of_library(library, names)
        assert list(new) == names
        said = [difference.words for difference in contract.differences(known, new, "plug_state")]
        good = case.difference in said[0] if len(said) == 1 and case.difference else not said and not case.difference
        if not good:
            wrong.append((case.name, said))
    assert not wrong


def test_another_compiler_than_the_hosts(tmp_path: Path) -> None:
    """gcc and clang spell types differently in their debug information; the functions are the same."""
    prototype = (
        "unsigned long|(const volatile int *p, long long n, struct handle *h, enum mode m, callback f, int v[3][4])"
    )
    for one, other in (("gcc", "clang"), ("clang", "gcc"), ("gcc", "g++"), ("clang++", "g++")):
        host = compiled(tmp_path, one, "host", host_text(TYPES, prototype))
        library = compiled(tmp_path, other, "plug.so", library_text(TYPES, prototype))
        (known,) = contract.of_host(host, ["plug_other", "plug_f"])
        assert not list(contract.differences(known, contract.of_library(library, ["plug_other", "plug_f"])))


def test_only_the_hosts_own_list_counts(tmp_path: Path) -> None:
    """The table is found by the functions in it; a list of another plugin, or no list, is no contract of this one."""
    host = compiled(tmp_path, "gcc", "host", host_text(TYPES, "int|(void)"))
    assert contract.of_host(host, ["plug_other", "plug_f"]) and contract.of_host(host, ["plug_other"])
    assert contract.of_host(host, ["other", "plug_f"]) == [] and contract.of_host(host, []) == []


# --- the loop -----------------------------------------------------------------------------------------------


def lay(project: Project, compiler: str) -> None:
    """The ticker with one function more, which the host calls with what it was compiled for."""
    ticker.lay(project, compiler)
    project.edit("src/plug.h", "HR_FUNCTIONS", "typedef struct pair { int a, b; } pair;\nHR_FUNCTIONS")
    project.edit("src/plug.h", "(plug_state *state))\n", "(plug_state *state)) \\\n    X(plug_sum, int, SUM)\n")
    project.edit("src/plug.h", "#define PLUG", "#define SUM (const struct pair *p)\n#define PLUG")
    project.edit(
        "src/plug.c", "void plug_report", "int plug_sum(const struct pair *p) { return p->a + p->b; }\nvoid plug_report"
    )
    project.edit("src/main.c", "unsigned ticks = 0;", "unsigned ticks = 0; pair sum = {3, 4};")
    project.edit(
        "src/main.c", 'printf("generation', 'printf("sum %d\\n", plug.plug_sum(&sum));\n            printf("generation'
    )


def change_signature(project: Project) -> None:
    """All of it at once, as a person does who edits a prototype, its function and its caller."""
    project.edit("src/plug.h", "SUM (const struct pair *p)", "SUM (const struct pair *p, int factor)")
    project.edit("src/main.c", "plug_sum(&sum)", "plug_sum(&sum, 10)")
    project.edit("src/plug.c", "(const struct pair *p) { return p->a + p->b; }",
                 "(const struct pair *p, int factor) { return (p->a + p->b) * factor; }")  # fmt: skip


def refusal(watch: Watch) -> str:
    """What was found against the library when it was refused, whole."""
    event = watch.wait("refused", lambda e: any(f["severity"] == "error" for f in e["findings"]))
    return "\n".join(f"{f['what']} / {f['remedy']}" for f in event["findings"] if f["severity"] == "error")


WAS, NOW = "int plug_sum(const pair *)", "int plug_sum(const pair *, int)"


def spelt(text: str) -> str:
    return text.replace("const struct pair", "const pair")


def test_a_changed_signature_is_refused_until_the_host_is_started_again(made: Project, compiler: str) -> None:
    """Refused with both prototypes; the old code goes on; the end of the host publishes; its new start has the new code."""
    lay(made, compiler)
    watch, host = made.watch(), made.host()
    host.wait_line("sum 7")
    watch.wait("host")
    change_signature(made)
    said = spelt(refusal(watch))
    assert f"{WAS} became {NOW}, and pid {host.pid} was compiled against the old one" in said
    assert "start the host again" in said
    assert "plug_sum" in made.scons("hosts", "-Q") and "needs" not in watch.output
    lines = len(host.lines)
    made.write("src/other.txt", "")
    assert host.alive and len(host.lines) >= lines and not any("#2" in line for line in host.lines)
    host.kill()
    assert watch.wait("published")["generation"] == 2
    again = made.host()
    again.wait_line("sum 70")
    watch.wait("host", lambda e: e["pid"] == again.pid)
    ticker.set_number(made, 2)
    watch.reloaded(host=again.pid)


def test_putting_it_back_ends_the_refusal(made: Project) -> None:
    """The library that fits the running host is delivered to it, whatever the program on disk is by now."""
    lay(made, "gcc")
    watch, host = made.watch(), made.host()
    watch.wait("host")
    made.edit("src/plug.h", "X(plug_sum, int", "X(plug_sum, float")
    made.edit("src/plug.c", "int plug_sum", "float plug_sum")
    assert "became float plug_sum" in spelt(refusal(watch))
    made.edit("src/plug.h", "X(plug_sum, float", "X(plug_sum, int")
    made.edit("src/plug.c", "float plug_sum", "int plug_sum")
    ticker.set_number(made, 2)
    watch.reloaded(host=host.pid)
    ticker.runs(host, 2)


def test_a_struct_that_a_function_takes(made: Project, compiler: str) -> None:
    """The host makes it with the old layout: refused, naming the field; a plain scons and reload refuse it too."""
    lay(made, compiler)
    made.scons("-Q")
    host = made.host()
    host.wait_line("sum 7")
    made.edit("src/plug.h", "{ int a, b; }", "{ int b, a; }")
    output = spelt(made.scons("reload", "-Q", code=2))
    assert f"{WAS} takes another layout than before (at pair.a), and pid {host.pid}" in output
    assert host.alive and "generation 2" not in host.output


def test_the_state_may_change_though_the_host_saw_it(made: Project) -> None:
    """Its layout is the runtime's concern: carried over, and one warning that the host must not look inside."""
    lay(made, "gcc")
    watch, host = made.watch(), made.host()
    watch.wait("host")
    for number, field in ((2, "int more; "), (3, "int again; ")):
        made.edit("src/plug.h", "typedef struct plug_state { ", "typedef struct plug_state { " + field)
        ticker.set_number(made, number)
        until(lambda number=number: f"numbers {number} " in host.output, "the new code")
    assert watch.output.count("was compiled with another layout of plug_state") == 1


def test_another_type_of_the_hosts_that_has_the_states_name(made: Project) -> None:
    """In a source file that does not know the plugin the name is the host's own affair."""
    lay(made, "gcc")
    made.write("src/own.c", "struct plug_state { char other[3]; } unrelated;\n")
    made.edit("SConstruct", '["src/main.c"]', '["src/main.c", "src/own.c"]')
    watch, host = made.watch(), made.host()
    watch.wait("host")
    ticker.set_number(made, 2)
    watch.reloaded(host=host.pid)
    assert "layout" not in watch.output


def test_what_a_host_does_not_know_may_come(made: Project) -> None:
    """A function added to the list is no concern of a host that was compiled before; one that goes is refused."""
    lay(made, "gcc")
    watch, host = made.watch(), made.host()
    watch.wait("host")
    made.edit("src/plug.h", "X(plug_report", "X(plug_new, int, (float f)) \\\n    X(plug_report")
    made.edit("src/plug.c", "void plug_tick", "int plug_new(float f) { return (int)f; }\nvoid plug_tick")
    ticker.set_number(made, 2)
    watch.reloaded(host=host.pid)
    ticker.runs(host, 2)


@pytest.mark.parametrize("strip", ["-s", "-g0"])
def test_a_host_without_debug_information(made: Project, compiler: str, strip: str) -> None:
    """What it runs is what it was compiled against; a program that was built after that cannot be judged by it."""
    lay(made, compiler)
    text = made.path("SConstruct").read_text()
    flag = 'LINKFLAGS=["-s"]' if strip == "-s" else 'CCFLAGS=["-g0"]'
    made.write("SConstruct", text.replace("plugins=[plug])", f"plugins=[plug], {flag})"))
    watch, host = made.watch(), made.host()
    host.wait_line("sum 7")
    watch.wait("host")
    change_signature(made)
    said = spelt(refusal(watch))
    assert f"{WAS} became {NOW}, and pid {host.pid}" in said
    host.kill()
    assert watch.wait("published")["generation"] == 2
    again = made.host()
    again.wait_line("sum 70")


def test_hot_run_starts_its_host_again(made: Project, compiler: str) -> None:
    """The host that watch owns is ended and started with the newest code, and that is said, with the state's fate."""
    lay(made, compiler)
    watch = made.watch("--hot-run", ready=False)
    first = watch.meets()
    change_signature(made)
    assert f"{WAS} became {NOW}, and pid {first}" in spelt(refusal(watch))
    event = watch.wait("host", lambda e: e["state"].startswith("restarted: "))
    assert event["pid"] != first and event["before"] == first and "its state was carried over" in event["state"]
    until(lambda: "sum 70" in watch.output, "the host's new code")
    assert not os.path.exists(f"/proc/{first}")
    ticker.set_number(made, 2)
    watch.reloaded(host=event["pid"])
    assert not any(e["event"] == "host" and "ended" in e["state"] for e in watch.events)
    assert watch.stop() == 130
    until(lambda: not os.path.exists(f"/proc/{event['pid']}"), "the host's end")


def test_hot_run_waits_for_the_program(made: Project) -> None:
    """While the program does not compile the old host goes on; when it does, the host is started again."""
    lay(made, "gcc")
    watch = made.watch("--hot-run", ready=False)
    first = watch.meets()
    made.edit("src/main.c", "unsigned ticks = 0;", "unsigned ticks = 0 ")
    watch.wait("error")
    made.edit("src/plug.h", "SUM (const struct pair *p)", "SUM (const struct pair *p, int factor)")
    made.edit("src/main.c", "plug_sum(&sum)", "plug_sum(&sum, 10)")
    made.edit("src/plug.c", "(const struct pair *p) { return p->a + p->b; }",
              "(const struct pair *p, int factor) { return (p->a + p->b) * factor; }")  # fmt: skip
    assert "build the host again" in refusal(watch)
    assert os.path.exists(f"/proc/{first}")
    made.edit("src/main.c", "unsigned ticks = 0 ", "unsigned ticks = 0;")
    event = watch.wait("host", lambda e: e["state"].startswith("restarted: "))
    assert event["before"] == first
    until(lambda: "sum 70" in watch.output, "the host's new code")
