"""Memory of hr_new: blocks whose type changed its layout are carried over, and the pointers to and in them with it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

import ticker
from harness import ROOT, need, project, until
from hotreload_engine import elf
from hotreload_engine.carry import Carrier
from hotreload_engine.plan import encode
from hotreload_engine.slot import Slot
from migration_kit import HERE, Workshop, carried, source
from runtime_kit import GUARDED, PATIENCE, RUNNING, STRICT, UNSANITIZED, Kit, compile_command
from runtime_kit import HERE as RUNTIME

SANITIZED = ("-fsanitize=address,undefined", "-fno-sanitize-recover=undefined")



class Case(NamedTuple):
    name: str
    old: str
    new: str
    state: str
    set: str
    show: str
    out: str
    words: str = ""
    more: str = ""


MANY = "double a[40]; int light; int tile; double b[40];"
LIST = "struct chunk { %s struct chunk *next; };"
MAKE = "for (int i = 0; i < 5; i++) { struct chunk *c = hr_new(struct chunk, 1); c->tile = i; c->next = s->first; s->first = c; }"
SUM = """
static int sum(state *s) { int n = 0; for (struct chunk *c = s->first; c; c = c->next) n = n * 10 + c->tile; return n; }
int hr_unused(state *s) { return sum(s); }"""
CASES = [
    Case("a field is added", "struct chunk { int tile; };", "struct chunk { int tile; int light; };", "struct chunk *c;",
         "s->c = hr_new(struct chunk, 1); s->c->tile = 7; s->at = s->c;", '"%d %d %d", s->c->tile, s->c->light, (void *)s->c == s->at', "7 0 1",
         "blocks of struct chunk: 1 kept, 1 new (light = 0)"),
    Case("so many that it moves", "struct chunk { int tile; };", f"struct chunk {{ {MANY} }};", "struct chunk *c;",
         "s->c = hr_new(struct chunk, 1); s->c->tile = 7; s->at = s->c;", '"%d %d %d", s->c->tile, s->c->light, (void *)s->c == s->at', "7 0 1"),
    Case("a list, in place", LIST % "int tile;", LIST % "int light; int tile;", "struct chunk *first; struct chunk **end;",
         MAKE + " s->end = &s->first->next;", '"%d %d", sum(s), s->end == &s->first->next', "43210 1",
         more=SUM),
    Case("a list that moves", LIST % "int tile;", LIST % MANY, "struct chunk *first; struct chunk **end;",
         MAKE + " s->end = &s->first->next;", '"%d %d", sum(s), s->end == &s->first->next', "43210 1",
         more=SUM),
    Case("an array with pointers into it", "struct chunk { short tile; };", "struct chunk { int light; int tile; char more[9]; };",
         "struct chunk *all, *third, *end; struct chunk **index;",
         "s->all = hr_new(struct chunk, 10); for (int i = 0; i < 10; i++) s->all[i].tile = (short)(i * i); s->third = &s->all[3]; s->end = s->all + 10;"
         " s->index = hr_new(struct chunk *, 10); for (int i = 0; i < 10; i++) s->index[i] = &s->all[9 - i];",
         '"%d %d %d %d %d %d", s->all[9].tile, s->third == &s->all[3], s->third->tile, (int)(s->end - s->all), s->index[2] == &s->all[7], s->index[9]->tile',
         "81 1 9 10 1 0", "blocks of struct chunk: 2 new (light = 0, more = \"\"), 1 widened (tile: short → int)"),
    Case("fields that are pointed to", "struct chunk { int tile; double heat; };", f"struct chunk {{ {MANY} double heat; }};",
         "struct chunk *c; int *tile; double *heat; void *whole;",
         "s->c = hr_new(struct chunk, 2); s->tile = &s->c[0].tile; s->heat = &s->c[1].heat; s->whole = s->c; *s->tile = 3; *s->heat = 2.5;",
         '"%d %d %d %g %d", s->tile == &s->c[0].tile, *s->tile, s->heat == &s->c[1].heat, *s->heat, s->whole == (void *)s->c', "1 3 1 2.5 1"),
    Case("from a static", "struct chunk { int tile; };", f"struct chunk {{ {MANY} }};", "int a;",
         "top = hr_new(struct chunk, 1); top->tile = 5;", '"%d", top->tile', "5", more="static struct chunk *top; void hr_put(struct chunk *c) { top = c; } struct chunk *hr_get(void) { return top; }"),
    Case("a pointer within another type's block", "struct chunk { int tile; }; struct holder { int n; int *at; struct chunk *c; };",
         f"struct chunk {{ {MANY} }}; struct holder {{ int n; int *at; struct chunk *c; }};", "struct holder *h;",
         "s->h = hr_new(struct holder, 1); s->h->c = hr_new(struct chunk, 1); s->h->c->tile = 8; s->h->at = &s->h->c->tile;",
         '"%d %d", s->h->at == &s->h->c->tile, *s->h->at', "1 8"),
    Case("known by a typedef", "typedef struct chunk { int tile; } chunk_t;", f"typedef struct chunk {{ {MANY} }} chunk_t;", "struct chunk *c; chunk_t *d;",
         "s->c = hr_new(chunk_t, 1); s->d = hr_new(struct chunk, 1); s->c->tile = 1; s->d->tile = 2;", '"%d %d", s->c->tile, s->d->tile', "1 2"),
    Case("a struct without a name of its own", "typedef struct { int tile; } chunk_t;", f"typedef struct {{ {MANY} }} chunk_t;", "chunk_t *c;",
         "s->c = hr_new(chunk_t, 1); s->c->tile = 1;", '"%d", s->c->tile', "1"),
    Case("the code makes no more of them", "struct chunk { int tile; };", f"struct chunk {{ {MANY} }};", "struct chunk *c;",
         "s->c = hr_new(struct chunk, 1); s->c->tile = 6;", '"%d", s->c->tile', "6"),
    Case("a function and a static of the plugin", "struct chunk { int tile; int (*f)(int); int *p; };", "struct chunk { int light; int tile; int *p; int (*f)(int); };", "struct chunk *c;",
         "s->c = hr_new(struct chunk, 1); s->c->f = twice; s->c->p = &spot;", '"%d %d", s->c->f == twice, s->c->p == &spot', "1 1",
         more="static int spot; static int twice(int a) { return 2 * a; } int hr_unused(void) { return twice(spot++); }"),
    Case("numbers of another kind", "enum kind { A, B }; struct chunk { enum kind k; unsigned bits : 3; };", "enum kind { N, B, A }; struct chunk { unsigned bits : 5; enum kind k; };", "struct chunk *c;",
         "s->c = hr_new(struct chunk, 1); s->c->k = A; s->c->bits = 5;", '"%d %d", s->c->k == A, s->c->bits', "1 5"),
    Case("unchanged ones stay", "struct chunk { int tile; };", "struct chunk { int tile; }; struct extra { int a; };", "struct chunk *c;",
         "s->c = hr_new(struct chunk, 1); s->c->tile = 3; s->at = s->c;", '"%d %d", s->c->tile, (void *)s->c == s->at', "3 1"),
]  # fmt: skip


_OWN = re.compile(r"\b(chunk|chunk_t|holder|kind|sum|top|spot|twice|hr_unused|state)\b|\b([NAB])\b(?!\[)")


def plugins(shop: Workshop, *flags: str) -> tuple[bytes, bytes]:
    """All cases in one plugin, before and after: each has its own names, and its part of the state."""
    sides = []
    for new in (False, True):
        parts, members, steps = [], [], []
        for number, case in enumerate(CASES):
            again = "chunk_t" if "without a name" in case.name else "" if "makes no more" in case.name else "struct chunk"
            body = f"""{case.new if new else case.old}
typedef struct state {{ {case.state} void *at; }} state;
{case.more}
{f"void *again{number}(void) {{ return hr_new({again}, 2); }}" if again and new else ""}
static int step{number}(state *s, char *text, size_t size)
{{ (void)s, (void)text, (void)size; {f"return snprintf(text, size, {case.show});" if new else f"{case.set} return 0;"} }}"""
            parts.append(_OWN.sub(lambda found: f"{found[0]}{number}", body))  # noqa: B023 - used at once
            members.append(f"state{number} s{number};")
            call = f"step{number}(&s->s{number}, {'text + strlen(text), size - strlen(text)' if new else 'NULL, 0'});"
            steps.append(f'{call} strcat(text, "\\n");' if new else call)
        whole = "\n".join([*parts, f"typedef struct state {{ {' '.join(members)} }} state;"])
        shown = f"int show_all(state *s, char *text, size_t size) {{ {' '.join(steps)} return (int)strlen(text); }}"
        text = source(whole, set_="" if new else " ".join(steps), more=shown if new else "")
        if new:
            text = text.replace("(void)size; return 0;", "return show_all(s, text, size);")
        sides.append(shop.library(text, *flags))
    return sides[0], sides[1]


@pytest.mark.parametrize(
    ("workshop", "flags"),
    [("gcc", ()), ("gcc", SANITIZED), ("gcc", ("-O2",)), ("clang", ()), ("clang", ("-O2",))],
    indirect=["workshop"], ids=["gcc", "gcc-sanitized", "gcc-optimised", "clang", "clang-optimised"],
)  # fmt: skip
def test_blocks_are_carried_over(workshop: Workshop, flags: tuple[str, ...]) -> None:
    """The new code finds in its blocks what the old code left there, whether they stay where they are or move."""
    old, new = plugins(workshop, *(flag for flag in flags if "sanitize" not in flag))
    with carried(workshop.place(), workshop.host(*flags), old) as host:
        host.ask("set")
        plan, said = host.reload(new)
        assert said.startswith("changed 2"), (said, plan)
        shown = host.ask("show").splitlines()
        assert dict(zip([case.name for case in CASES], shown, strict=True)) == {case.name: case.out for case in CASES}
        words = plan.words.replace("short int", "short")
        for number, case in enumerate(CASES):
            assert re.sub(r"\bchunk\b", f"chunk{number}", case.words) in words, words


@UNSANITIZED
def test_what_nothing_points_to(workshop: Workshop) -> None:
    """It is in the registry, so it goes over as well; a field more leaves a block where it is."""
    types = "struct chunk { %s int tile; }; typedef struct state { size_t hidden; } state;\nint hr_more(struct chunk *c) { return c->tile; }"
    old = source(types % "", set_="{ struct chunk *c = hr_new(struct chunk, 3); c[2].tile = 6; s->hidden = ~(size_t)c; }")
    new = source(types % "short light;", show='"%d", ((struct chunk *)~s->hidden)[2].tile')
    with carried(workshop.place(), workshop.host(), workshop.library(old.replace("int tile", "double heat[2]; int tile"))) as host:
        host.ask("set")
        _, said = host.reload(workshop.library(new.replace("int tile", "double heat[2]; int tile")))
        assert said.startswith("changed 2") and host.ask("show") == "6"


# --- what is refused ----------------------------------------------------------------------------------------

CHUNK = "struct chunk { %s int tile; struct chunk *next; };"


@pytest.mark.parametrize(
    ("workshop", "types", "state", "set_", "why"),
    [
        ("gcc", CHUNK, "struct chunk *c;", "s->c = (struct chunk *)malloc(sizeof *s->c);",
         "state.c->tile changed its layout, and memory of the old layout is in use"),
        ("clang", CHUNK, "struct chunk *c;",
         "s->c = hr_new(struct chunk, 1); s->c->next = (struct chunk *)calloc(1, sizeof *s->c);",
         "state.c->next->tile changed its layout, and memory of the old layout is in use"),
        ("gcc", CHUNK, "struct chunk *c; char *bytes;",
         "s->bytes = hr_new(char, 1000); s->c = (struct chunk *)(void *)s->bytes;",
         "state.c->tile changed its layout, and memory of the old layout is in use"),
        ("clang", CHUNK + " struct other { %s char b[100]; };", "struct chunk *c; struct other *o;",
         "s->o = hr_new(struct other, 1); s->c = (struct chunk *)(void *)s->o->b;",
         "state.c->tile changed its layout, and lies in a block of another type: struct other"),
        ("gcc", "struct chunk { %s int tile; };", "int *light; struct chunk *c;",
         "s->c = hr_new(struct chunk, 1); s->light = (int *)(void *)s->c;", ""),
        ("clang", "struct chunk { union { int i; %s } u; };", "size_t hidden;",
         "s->hidden = ~(size_t)hr_new(struct chunk, 1);",
         "blocks of struct chunk: struct chunk.u"),
    ],
    indirect=["workshop"],
    ids=["from-malloc", "behind-a-block", "carved-out", "in-another-type", "a-field-that-goes", "a-union"],
)  # fmt: skip
def test_what_cannot_be_carried_over(workshop: Workshop, types: str, state: str, set_: str, why: str) -> None:
    """Refused with the path, the old code goes on, and the blocks are what they were."""
    old, new = types.replace("%s", ""), types.replace("%s", "double light;")
    if not why:
        old, new = types.replace("%s", "int light;"), types.replace("%s", "double a;")
        why = "state.light points to a field that is gone, of a block of struct chunk"
    if "union" in types:
        old, new = types.replace("%s", "float f;"), types.replace("%s", "double f;")
    whole = f"typedef struct state {{ {state} int kept; }} state;"
    more = "int hr_more(struct chunk *c) { return c != NULL; }"
    one = source(f"{old}\n{whole}", set_=f"{set_} s->kept = 5;", show='"%d", s->kept', more=more)
    two = source(f"{new}\n{whole}", show='"%d", s->kept', more=more)
    with carried(workshop.place(), workshop.host(), workshop.library(one)) as host:
        host.ask("set")
        _, said = host.reload(workshop.library(two))
        assert said.startswith(f"refused 1 {why}"), said
        assert host.ask("show") == "5"
        host.publish_from_running(workshop.library(one.replace('"%d", s->kept', '"%d again", s->kept')))
        assert host.ask("poll").startswith("changed 3") and host.ask("show") == "5 again"


def test_a_type_of_two_meanings(workshop: Workshop) -> None:
    """Two structs of one name in one library: blocks of that name are left alone while neither changes, else refused."""
    body = """
static void *one(void) {{ struct chunk {{ int a; {first} }}; return hr_new(struct chunk, 1); }}
static void *two(void) {{ struct chunk {{ double b; }}; return hr_new(struct chunk, 1); }}
void *hr_both(int which) {{ return which ? one() : two(); }}"""
    state = "typedef struct state { void *a; } state;"
    old = source(state, set_="s->a = hr_both(1);", show='"%d", s->a != NULL', more=f"void *hr_both(int which);{body.format(first='')}")
    with carried(workshop.place(), workshop.host(), workshop.library(old)) as host:
        host.ask("set")
        _, said = host.reload(workshop.library(old.replace("a != NULL", "a == NULL")))
        assert said.startswith("changed 2")
        _, said = host.reload(workshop.library(old.replace("int a; ", "int a; int more;")))
        assert said.startswith("refused 2 blocks of struct chunk: source files mean different types by that name"), said


def test_what_another_source_file_defines(workshop: Workshop) -> None:
    """A type that is only declared where the state points to it is found where it is defined: refused, or carried over."""
    directory = workshop.directory / "files"
    directory.mkdir(exist_ok=True)
    state = "struct world; typedef struct state { struct world *w; } state; struct world *make(int how); int ask(struct world *w);"
    world = """#include <stdlib.h>
#include "hotreload.h"
struct world { %s int size; };
struct world *make(int how) { struct world *w = how ? hr_new(struct world, 1) : (struct world *)calloc(1, sizeof *w); w->size = 9; return w; }
int ask(struct world *w) { return w->size; }
"""

    def built(how: int, fields: str) -> bytes:
        (directory / "plug.c").write_text(source(state, set_=f"s->w = make({how});", show='"%d", ask(s->w)'))
        (directory / "world.c").write_text(world % fields)
        out = directory / "made.so"
        subprocess.run(
            [need(workshop.compiler), "-g", "-fPIC", "-shared", f"-I{ROOT / 'src'}", f"-I{HERE}", "-o", out, "plug.c", "world.c"],
            cwd=directory, check=True,
        )  # fmt: skip
        return out.read_bytes()

    for how in (0, 1):
        with carried(workshop.place(), workshop.host(), built(how, "")) as host:
            host.ask("set")
            _, said = host.reload(built(how, "double light[9];"))
            if how:
                assert said.startswith("changed 2") and host.ask("show") == "9"
            else:
                assert said.startswith("refused 1 state.w->size changed its layout, and memory"), said


# --- back again ---------------------------------------------------------------------------------------------

TREE = """
struct leaf {{ {fields} int value; }};
struct node {{ struct node *left, *right; struct leaf *leaf; int *at; {more} }};
typedef struct state {{ struct node *root; struct leaf *spare; int freed; }} state;
static struct node *grow(int depth)
{{
    struct node *n = hr_new(struct node, 1);
    n->leaf = hr_new(struct leaf, 2);
    n->leaf[1].value = depth;
    n->at = &n->leaf[1].value;
    if (depth) n->left = grow(depth - 1), n->right = grow(depth - 1);
    return n;
}}
static int sum(const struct node *n)
{{
    return n ? (n->at == &n->leaf[1].value ? *n->at : -1000) + sum(n->left) + sum(n->right) : 0;
}}
static void fell(struct node *n) {{ if (n) fell(n->left), fell(n->right), hr_free(n->leaf), hr_free(n); }}
int hr_unused(struct state *s) {{ s->root = grow(1); fell(s->root); return sum(s->root); }}
"""
PLANT = "s->root = grow(5); s->spare = hr_new(struct leaf, 1); s->spare->value = 11;"
SHOW = '"%d %d", sum(s->root), s->spare ? s->spare->value : -1'
SUMMED = "57 11"


def tree(fields: str = "", more: str = "", show: str = SHOW, extra: str = "") -> str:
    return source(TREE.format(fields=fields, more=more), set_=PLANT, show=show, more=extra)


WIDE = ("double heat[9];", "double weight[20];")


@GUARDED
@pytest.mark.parametrize("wide", [("short more;", ""), WIDE], ids=["in place", "moved"])
def test_a_crash_costs_no_block(workshop: Workshop, wide: tuple[str, str]) -> None:
    """New code changes blocks, frees some, makes others, and crashes: the old code has them all as they were."""
    crash = """
static int crash(state *s)
{
    s->root->leaf[1].value = 99;
    hr_free(s->spare);
    s->spare = hr_new(struct leaf, 50);
    fell(s->root->left);
    s->root->left = grow(3);
    *(volatile int *)0 = 1;
    return 0;
}"""
    bad = tree(*wide, show='"%d", crash(s)', extra=crash)
    good = tree(*wide)
    with carried(workshop.place(), workshop.host(), workshop.library(tree())) as host:
        host.ask("set")
        assert host.ask("show") == SUMMED
        _, said = host.reload(workshop.library(bad))
        assert said.startswith("changed 2"), said
        assert host.ask("show") == SUMMED, "the old code, with everything as it was"
        assert host.ask("poll").startswith("changed 1 generation 2 crashed: SIGSEGV")
        assert host.ask("show") == SUMMED
        host.publish_from_running(workshop.library(good))
        assert host.ask("poll").startswith("changed 3") and host.ask("show") == SUMMED
        host.ask("set")  # and the heap is whole
        assert host.ask("show") == SUMMED


@pytest.mark.parametrize(
    ("workshop", "flags"), [("gcc", SANITIZED), ("clang", ())], indirect=["workshop"], ids=["gcc-sanitized", "clang"]
)
def test_there_and_back(workshop: Workshop, flags: tuple[str, ...]) -> None:
    """An undo is a plan like any other: blocks grow and shrink again, move or stay, and what is freed is freed once."""
    texts = [tree(), tree("char a;"), tree(*WIDE), tree("", WIDE[1]), tree()]
    cut = "static int cut(state *s) { fell(s->root->left); s->root->left = NULL; hr_free(s->spare); s->spare = NULL; return sum(s->root); }\n"
    with carried(workshop.place(), workshop.host(*flags), workshop.library(texts[0])) as host:
        host.ask("set")
        for number, text in enumerate(texts[1:] + texts[::-1], 2):
            _, said = host.reload(workshop.library(f"{text}\nint hr_number(void) {{ return {number}; }}"))
            assert said.startswith(f"changed {number}"), said
            assert host.ask("show") == SUMMED
        _, said = host.reload(workshop.library(tree(*WIDE, show='"%d", cut(s)', extra=cut)))
        assert said.startswith("changed") and host.ask("show") == "31"
        _, said = host.reload(workshop.library(tree("char b;")))
        assert said.startswith("changed") and host.ask("show") == "31 -1"


# --- threads, several plugins, release, no host at all ------------------------------------------------------


class Turning:
    """tests/runtime/threads.c, and a builder for its plugin."""

    def __init__(self, kit: Kit, directory: Path, *flags: str) -> None:
        directory.chmod(0o700)
        self._kit, self._flags = kit, flags
        self.slot = Slot(str(directory / "libplug.so"))
        self._carrier = Carrier(self.slot)
        self.publish("")
        self.process = subprocess.Popen(
            [kit.compile("threads.c", *flags), directory / "libplug.so"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True, bufsize=1,
        )  # fmt: skip

    def publish(self, more: str) -> None:
        data = self._kit.compile("threads_plug.c", *self._flags, f"-DMORE={more}", shared=True).read_bytes()
        newest = self.slot.newest()
        plans = self._carrier.plans(data, {os.path.basename(newest.path): 0} if newest else {})
        generation = self.slot.publish(elf.read(data, "x"), data, plans={name: encode(p) for name, p in plans.items()})
        self._carrier.published(generation, plans)

    def turn(self, command: str = "turn") -> tuple[int, int, int]:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(command + "\n")
        code, generation, total = map(int, self.process.stdout.readline().split())
        return code, generation, total

    def takes(self, more: str) -> tuple[int, int, int]:
        self.publish(more)
        self.process.send_signal(signal.SIGURG)
        return self.turn("poll")


@UNSANITIZED
@pytest.mark.parametrize(
    ("compiler", "flags"),
    [("gcc", SANITIZED), ("clang", ("-O2",)), ("gcc", ("-fsanitize=thread",))],
    ids=["gcc-address", "clang", "gcc-thread"],
)
def test_threads_that_allocate_during_reloads(compiler: str, flags: tuple[str, ...], tmp_path: Path) -> None:
    """Three threads of the host make and free blocks all the time; the plugin's own list goes over three times."""
    place = tmp_path / "place"
    place.mkdir()
    turning = Turning(Kit(compiler, tmp_path), place, *flags)
    with turning.process as process:
        try:
            assert turning.turn() == (RUNNING, 1, 1)
            total, count = 1, 1
            for number in range(2, 5):
                more = f"char a[{1 + number % 3 * 90}];" if number % 4 else "double b;"
                count += 1
                total += count
                assert turning.takes(more) == (RUNNING, number, total)
            assert process.stdin
            process.stdin.close()
            assert process.wait(PATIENCE) == 0
        finally:
            process.kill()


def test_two_plugins_have_blocks_of_their_own(tmp_path: Path) -> None:
    """Types of one name in two plugins do not meet: each reload carries over its own plugin's blocks."""
    tmp_path.chmod(0o700)
    kit = Kit("gcc", tmp_path)
    state = "typedef struct state { struct chunk *c; } state;"
    text = "#include <stdio.h>\n" + '#include "hotreload.h"\n' + "struct chunk { %s int tile; };\n" + state + """
HR_STATE(%s, state)
HR_EXPORT int %s_tile(state *s);
int %s_tile(state *s) { if (!s->c) { s->c = hr_new(struct chunk, 2); s->c[1].tile = 3; } return s->c[1].tile; }
"""
    (tmp_path / "host.c").write_text(TWO)
    host = kit.compile(str(tmp_path / "host.c"))
    carriers = {}

    def publish(name: str, fields: str) -> None:
        directory = tmp_path / name
        directory.mkdir(exist_ok=True, mode=0o700)
        (tmp_path / f"{name}.c").write_text(text % (fields, name, name, name))
        out = directory / "built.so"
        subprocess.run(
            [need("gcc"), "-g", "-fPIC", "-shared", f"-I{ROOT / 'src'}", "-o", out, f"{name}.c"], cwd=tmp_path, check=True
        )
        data = out.read_bytes()
        slot = Slot(str(directory / f"lib{name}.so"))
        carrier = carriers.setdefault(name, Carrier(slot))
        newest = slot.newest()
        plans = carrier.plans(data, {os.path.basename(newest.path): 0} if newest else {})
        generation = slot.publish(elf.read(data, "x"), data, plans={each: encode(plan) for each, plan in plans.items()})
        carrier.published(generation, plans)

    for name in ("one", "two"):
        publish(name, "")
    with subprocess.Popen([host, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as process:
        try:
            assert process.stdin and process.stdout

            def ask() -> str:
                process.stdin.write("\n")  # type: ignore[union-attr]
                return process.stdout.readline().strip()  # type: ignore[union-attr]

            def reaches(wanted: str) -> None:
                process.send_signal(signal.SIGURG)
                until(lambda: ask() == wanted, wanted, PATIENCE)

            assert ask() == "1 3 1 3"
            publish("one", "double light[30];")
            reaches("2 3 1 3")
            publish("two", "short light;")
            reaches("2 3 2 3")
            publish("one", "")
            reaches("3 3 2 3")
            process.stdin.close()
            assert process.wait(PATIENCE) == 0
        finally:
            process.kill()


TWO = """#define HOTRELOAD_IMPLEMENTATION
#include "hotreload.h"
#include <stdio.h>
#define ONE(X) X(one_tile, int, (void *state))
#define TWO(X) X(two_tile, int, (void *state))
HR_FUNCTIONS(one, ONE)
HR_FUNCTIONS(two, TWO)
HR_TABLE(one, ONE)
HR_TABLE(two, TWO)
int main(int count, char **arguments)
{
    char paths[2][4096], line[8];
    hr_host *hosts[2];
    hr_desc first = HR_DESC(one, paths[0]), second = HR_DESC(two, paths[1]);
    if (count < 2) return 2;
    snprintf(paths[0], sizeof paths[0], "%s/one/libone.so", arguments[1]);
    snprintf(paths[1], sizeof paths[1], "%s/two/libtwo.so", arguments[1]);
    hr_open(&hosts[0], &first);
    hr_open(&hosts[1], &second);
    while (fgets(line, sizeof line, stdin)) {
        const hr_result a = hr_poll(hosts[0]), b = hr_poll(hosts[1]);
        printf("%u %d %u %d\\n", a.generation, one.one_tile(a.state), b.generation, two.two_tile(b.state));
        fflush(stdout);
    }
    hr_close(hosts[0]);
    hr_close(hosts[1]);
    return 0;
}
"""


@pytest.mark.parametrize(("compiler", "standard"), [("gcc", "c99"), ("clang", "c++11")])
def test_release_and_no_host_at_all(compiler: str, standard: str, tmp_path: Path) -> None:
    """With HR_RELEASE hr_new is calloc and no more; and a test that is linked with the plugin alone gets the same."""
    command = [*compile_command(compiler, standard), *STRICT, "-g", f"-I{ROOT / 'src'}", f"-I{RUNTIME}"]
    alone = tmp_path / "alone.c"
    alone.write_text(
        '#include "threads.h"\nint main(void)\n{\n    plug_state state = {0, 0};\n'
        "    volatile size_t huge = (size_t)-1 / 4;\n    plug_turn(&state);\n    return hr_new(double, huge) != NULL || plug_turn(&state) != 3;\n}\n"
    )
    plug, host = RUNTIME / "threads_plug.c", RUNTIME / "threads.c"
    subprocess.run([*command, "-DHR_RELEASE", "-c", plug, "-o", tmp_path / "plug.o"], check=True)
    listed = subprocess.run([need("nm", "binutils"), tmp_path / "plug.o"], capture_output=True, text=True, check=True)
    assert not re.search(r"hr__|block", listed.stdout), listed.stdout
    for flags, sources in ((["-DHR_RELEASE"], (host, plug)), ([], (alone, plug)), (["-DHR_RELEASE"], (alone, plug))):
        out = tmp_path / "out"
        subprocess.run([*command, *flags, *sources, "-o", out, "-ldl", "-pthread"], check=True)
        done = subprocess.run([out], input="turn\nturn\n", capture_output=True, text=True, check=False, timeout=PATIENCE)
        assert done.returncode == 0, (flags, done)
        if host in sources:
            assert done.stdout.split() == ["0", "1", "1", "0", "1", "3"]


# --- C++, and the plugin's own migration --------------------------------------------------------------------


def test_classes(plus: Workshop) -> None:
    """A class in a namespace, called by its short name inside, and a struct with a base."""
    types = """
namespace app {{
struct Base {{ int id; }};
class Chunk : public Base {{ public: {fields} int tile; Chunk *next; }};
inline Chunk *make(int tile) {{ Chunk *c = hr_new(Chunk, 1); c->id = 4; c->tile = tile; return c; }}
}}
struct state {{ app::Chunk *c; app::Base *base; }};
app::Chunk *hr_more() {{ return hr_new(app::Chunk, 2); }}"""
    old = source(types.format(fields=""), set_="s->c = app::make(1); s->c->next = hr_new(app::Chunk, 1); s->c->next->tile = 2; s->base = s->c;")
    new = source(types.format(fields="double light[20];"), show='"%d %d %d %d", s->c->id, s->c->tile, s->c->next->tile, s->base == s->c')
    with carried(plus.place(), plus.host(), plus.library(old)) as host:
        host.ask("set")
        plan, said = host.reload(plus.library(new))
        assert said.startswith("changed 2"), (said, plan)
        assert host.ask("show") == "4 1 2 1"


def test_a_migration_of_ones_own(workshop: Workshop) -> None:
    """HR_MIGRATE and HR_MIGRATE_TYPE hold for blocks; a function of them may call hr_new."""
    state = "typedef struct state { struct chunk *c; } state;\nvoid *hr_more(void) { return hr_new(struct chunk, 1); }"
    old = source("struct chunk { int degrees; char name[8]; };\n" + state, set_='s->c = hr_new(struct chunk, 2); s->c[1].degrees = 180; strcpy(s->c[1].name, "east");')
    new = source("struct chunk { float degrees; char *name; };\nHR_MIGRATE(chunk, degrees, to_radians)\nHR_MIGRATE(chunk, name, to_text)\n" + state + """
void to_radians(void *now, const void *was, const void *object) { (void)object; *(float *)now = (float)*(const int *)was / 180; }
void to_text(void *now, const void *was, const void *object)
{
    char *text = hr_new(char, 9);
    (void)object;
    strcpy(text, (const char *)was);
    memcpy(now, &text, sizeof text);
}""", show='"%g %s", s->c[1].degrees, s->c[1].name')  # fmt: skip
    with carried(workshop.place(), workshop.host(), workshop.library(old)) as host:
        host.ask("set")
        _, said = host.reload(workshop.library(new))
        assert said.startswith("changed 2"), said
        assert host.ask("show") == "1 east"
        _, said = host.reload(workshop.library(new.replace("char *name;", "char *name; double more[9];")))
        assert said.startswith("changed 3") and host.ask("show") == "1 east"


# --- the whole way ------------------------------------------------------------------------------------------


def test_the_report_tells_of_blocks(tmp_path: Path) -> None:
    """scons reload says what became of the blocks and how many there were; an undo takes them back."""
    with project(tmp_path / "tree") as made:
        ticker.lay(made)
        made.edit("src/plug.h", "unsigned calls; }", "unsigned calls; struct chunk *first; }")
        made.edit(
            "src/plug.c",
            "void plug_tick(plug_state *state) { state->calls++; }",
            "struct chunk { int tile; struct chunk *next; };\n"
            "void plug_tick(plug_state *state)\n{\n    struct chunk *made = state->calls < 12 ? hr_new(struct chunk, 1) : NULL;\n"
            "    if (!made) return;\n    made->next = state->first;\n    state->first = made;\n    if (++state->calls == 12) fprintf(stderr, \"twelve\\n\");\n}\n"
            "static unsigned many(const struct chunk *c) { return c ? 1 + many(c->next) : 0; }\n",
        )
        made.edit("src/plug.c", "number_variable, state->calls", "number_variable, many(state->first)")
        made.scons()
        host = made.host()
        host.wait_line("twelve")
        made.edit("src/plug.c", "int tile;", "int tile, light;")
        ticker.set_number(made, 2)
        output = made.scons("reload", "-Q")
        assert "blocks of struct chunk: 2 kept, 1 new (light = 0) · 12 blocks carried over" in output
        host.wait_line("numbers 2 2 2 calls 12")
        output = made.scons("reload", "-Q", "--hot-undo")
        assert "1 gone (light) · 12 blocks carried over" in output
        host.wait_line("generation 3 numbers 1 1 1 calls 12")
        made.edit("src/plug.c", "int tile, light;", "int tile; double light[20];")
        ticker.set_number(made, 4)
        assert "12 blocks carried over, 12 to another address" in made.scons("reload", "-Q")
        host.wait_line("numbers 4 4 4 calls 12")
