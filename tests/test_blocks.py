"""Memory of hr_new: blocks whose type changed its layout are carried over, and the pointers to and in them with it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from migration_kit import Workshop, carried, plan_of, source

_places = itertools.count()
SANITIZED = ("-fsanitize=address,undefined", "-fno-sanitize-recover=undefined")


@pytest.fixture(scope="module", params=["gcc", "clang"])
def workshop(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    yield Workshop(request.param, tmp_path_factory.mktemp("blocks"))


@pytest.fixture(scope="module", params=["gcc", "clang"])
def plus(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    flags = ("-g", "-std=c++17", *(["-fno-gnu-unique"] if request.param == "gcc" else []))
    yield Workshop(request.param, tmp_path_factory.mktemp("blocks"), flags, plusplus=True)


def place(workshop: Workshop) -> Path:
    return workshop.directory / f"p{next(_places)}"


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
         "top = hr_new(struct chunk, 1); top->tile = 5;", '"%d", top->tile', "5", more="static struct chunk *top;"),
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


def pair(shop: Workshop, case: Case) -> tuple[bytes, bytes]:
    state = f"typedef struct state {{ {case.state} void *at; }} state;"
    keep = "" if "makes no more" in case.name else "\nvoid *hr_again(void) { return hr_new(struct chunk, 2); }"
    keep = "\nvoid *hr_again(void) { return hr_new(chunk_t, 2); }" if "without a name" in case.name else keep
    old = source(f"{case.old}\n{state}", set_=case.set, more=case.more)
    new = source(f"{case.new}\n{state}", show=case.show, more=case.more + keep)
    return shop.library(old), shop.library(new)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name.replace(" ", "-"))
@pytest.mark.parametrize("flags", [(), SANITIZED], ids=["plain", "sanitized"])
def test_blocks_are_carried_over(workshop: Workshop, case: Case, flags: tuple[str, ...]) -> None:
    """The new code finds in its blocks what the old code left there, whether they stay where they are or move."""
    old, new = pair(workshop, case)
    with carried(place(workshop), workshop.host(*flags), old) as host:
        host.ask("set")
        plan, said = host.reload(new)
        assert said.startswith("changed 2"), (said, plan)
        assert host.ask("show") == case.out
        assert case.words in plan.words.replace("short int", "short"), plan.words


def test_what_nothing_points_to(workshop: Workshop) -> None:
    """It is in the registry, so it goes over as well; a field more leaves a block where it is."""
    types = "struct chunk { %s int tile; }; typedef struct state { size_t hidden; } state;\nint hr_more(struct chunk *c) { return c->tile; }"
    old = source(types % "", set_="{ struct chunk *c = hr_new(struct chunk, 3); c[2].tile = 6; s->hidden = ~(size_t)c; }")
    new = source(types % "short light;", show='"%d", ((struct chunk *)~s->hidden)[2].tile')
    with carried(place(workshop), workshop.host(), workshop.library(old.replace("int tile", "double heat[2]; int tile"))) as host:
        host.ask("set")
        _, said = host.reload(workshop.library(new.replace("int tile", "double heat[2]; int tile")))
        assert said.startswith("changed 2") and host.ask("show") == "6"
