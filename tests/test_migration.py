"""A state whose type was edited: each case is a pair of real plugins, a real host, what it says and what it then has."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from migration_kit import Workshop, carried, plan_of, source


class Case(NamedTuple):
    name: str
    old: str
    """Fields of the old state, or whole types if it has the word ``state`` in it."""
    new: str
    set: str
    """What the old code puts into ``s``."""
    show: str
    """What the new code prints: arguments of printf."""
    out: str
    words: str = ""
    """What the plan says; "" where another case asks."""
    state: str = "HR_STATE(plug, state)"
    more: str = ""


def types(text: str) -> str:
    return text if " state;" in text else f"typedef struct state {{ {text} }} state;"


FIELDS = [
    Case(
        "nothing changed",
        "int a; float b;",
        "int a; float b;",
        "s->a = 7; s->b = 1.5f;",
        '"%d %g", s->a, s->b',
        "7 1.5",
        "state: 2 kept",
    ),
    Case(
        "a field added at the end",
        "int a;",
        "int a; int b;",
        "s->a = 7;",
        '"%d %d", s->a, s->b',
        "7 0",
        "state: 1 kept, 1 new (b = 0)",
    ),
    Case(
        "a field added in front",
        "int a;",
        "int b; int a;",
        "s->a = 7;",
        '"%d %d", s->a, s->b',
        "7 0",
        "state: 1 moved, 1 new (b = 0)",
    ),
    Case(
        "a field added in a gap",
        "char a; int b;",
        "char a; char c; int b;",
        "memset(s, 255, sizeof *s); s->a = 1; s->b = 2;",
        '"%d %d %d", s->a, s->b, s->c',
        "1 2 0",
        "state: 2 kept, 1 new (c = 0)",
    ),
    Case(
        "a field removed",
        "int a; int b; int c;",
        "int a; int c;",
        "s->a = 1; s->b = 2; s->c = 3;",
        '"%d %d", s->a, s->c',
        "1 3",
        "state: 1 kept, 1 moved, 1 gone (b)",
    ),
    Case(
        "one removed, one of its size added",
        "int a; int b; int c;",
        "int a; int d; int c;",
        "s->a = 1; s->b = 2; s->c = 3;",
        '"%d %d %d", s->a, s->d, s->c',
        "1 0 3",
        "state: 2 kept, 1 new (d = 0), 1 gone (b)",
    ),
    Case(
        "two swapped",
        "int a; int b;",
        "int b; int a;",
        "s->a = 1; s->b = 2;",
        '"%d %d", s->a, s->b',
        "1 2",
        "state: 2 moved",
    ),
    Case("all fields gone", "int a;", "int b;", "s->a = 1;", '"%d", s->b', "0", "state: 1 new (b = 0), 1 gone (a)"),
    Case(
        "a default for what is new",
        "int a;",
        "int a; float speed; char name[8];",
        "s->a = 1;",
        '"%d %g %s", s->a, s->speed, s->name',
        "1 2.5 ann",
        'state: 1 kept, 2 new (speed = 2.5, name = "ann")',
        state='static const state first = {9, 2.5f, "ann"};\nHR_STATE_INIT(plug, state, first)',
    ),
]
NUMBERS = [
    Case(
        "short to int", "short a;", "int a;", "s->a = -7;", '"%d", s->a', "-7", "state: 1 widened (a: short int → int)"
    ),
    Case("unsigned char to long", "unsigned char a;", "long a;", "s->a = 200;", '"%ld", s->a', "200"),
    Case(
        "int to short, that fits",
        "int a;",
        "short a;",
        "s->a = -300;",
        '"%d", s->a',
        "-300",
        "state: 1 narrowed (a: int → short int)",
    ),
    Case("int to short, too large", "int a;", "short a;", "s->a = 70000;", '"%d", s->a', "32767"),
    Case("int to short, too small", "int a;", "short a;", "s->a = -70000;", '"%d", s->a', "-32768"),
    Case(
        "negative to unsigned",
        "int a;",
        "unsigned a;",
        "s->a = -1;",
        '"%u", s->a',
        "0",
        "state: 1 converted (a: int → unsigned int)",
    ),
    Case("large unsigned to signed", "unsigned a;", "int a;", "s->a = 4000000000u;", '"%d", s->a', "2147483647"),
    Case("unsigned long to int", "uint64_t a;", "int a;", "s->a = UINT64_MAX;", '"%d", s->a', "2147483647"),
    Case(
        "long to unsigned long",
        "int64_t a;",
        "uint64_t a;",
        "s->a = INT64_MAX;",
        '"%llu", (unsigned long long)s->a',
        "9223372036854775807",
    ),
    Case("int to float", "int a;", "float a;", "s->a = 3;", '"%g", s->a', "3", "state: 1 converted (a: int → float)"),
    Case("float to int", "float a;", "int a;", "s->a = -2.75f;", '"%d", s->a', "-2"),
    Case("float to int, too large", "double a;", "int a;", "s->a = 1e30;", '"%d", s->a', "2147483647"),
    Case("not a number to int", "double a;", "int a;", "s->a = 0.0; s->a /= s->a;", '"%d", s->a', "0"),
    Case("float to unsigned, negative", "double a;", "unsigned a;", "s->a = -5;", '"%u", s->a', "0"),
    Case(
        "float to double",
        "float a;",
        "double a;",
        "s->a = 0.5f;",
        '"%g", s->a',
        "0.5",
        "state: 1 widened (a: float → double)",
    ),
    Case(
        "double to float",
        "double a;",
        "float a;",
        "s->a = 0.1;",
        '"%.6f", s->a',
        "0.100000",
        "state: 1 narrowed (a: double → float)",
    ),
    Case(
        "long double",
        "long double a; double b;",
        "double a; long double b;",
        "s->a = 1.25L; s->b = 2.5;",
        '"%g %Lg", s->a, s->b',
        "1.25 2.5",
    ),
    Case("a new long double", "int a;", "int a; long double b;", "s->a = 3;", '"%d %Lg", s->a, s->b', "3 0", "state: 1 kept, 1 new (b = 0)"),
    Case("int to bool", "int a; int b;", "_Bool a; _Bool b;", "s->a = 5;", '"%d %d", s->a, s->b', "1 0"),
    Case("bool to int", "_Bool a;", "int a;", "s->a = 1;", '"%d", s->a', "1"),
    Case("char to int", "char a;", "int a;", "s->a = 'x';", '"%c", s->a', "x"),
    Case(
        "a number became a pointer",
        "int a; int b;",
        "int *a; int b;",
        "s->a = 5; s->b = 6;",
        '"%d %d", s->a == NULL, s->b',
        "1 6",
        "state: 1 moved, 1 replaced (a: int → pointer)",
    ),
    Case(
        "a number became a struct",
        "int a;",
        "struct { int x; } a;",
        "s->a = 5;",
        '"%d", s->a.x',
        "0",
        "state: 1 replaced (a: int → struct)",
    ),
]
ENUMS = [
    Case(
        "an enumerator added in front",
        "typedef enum { RUN, STOP } mode; typedef struct state { mode m; } state;",
        "typedef enum { IDLE, RUN, STOP } mode; typedef struct state { mode m; } state;",
        "s->m = STOP;",
        '"%d %d", s->m == STOP, s->m',
        "1 2",
        "state: 1 re-mapped (m: RUN, STOP)",
    ),
    Case(
        "enumerators reordered",
        "enum mode { A, B, C }; typedef struct state { enum mode m[3]; } state;",
        "enum mode { C, A, B }; typedef struct state { enum mode m[3]; } state;",
        "s->m[0] = A; s->m[1] = B; s->m[2] = C;",
        '"%d %d %d", s->m[0] == A, s->m[1] == B, s->m[2] == C',
        "1 1 1",
    ),
    Case(
        "an enumerator added at the end",
        "enum mode { A, B }; typedef struct state { enum mode m; } state;",
        "enum mode { A, B, C }; typedef struct state { enum mode m; } state;",
        "s->m = B;",
        '"%d", s->m == B',
        "1",
        "state: 1 kept",
    ),
    Case(
        "an enumerator gone whose number is another's now",
        "enum mode { A, B, C }; typedef struct state { enum mode m, n; } state;",
        "enum mode { A, C }; typedef struct state { enum mode m, n; } state;",
        "s->m = B; s->n = C;",
        '"%d %d", s->m == A, s->n == C',
        "1 1",
        "state: 2 re-mapped (m: B is gone, C, n: B is gone, C)",
    ),
    Case(
        "an enumerator renamed by a hint",
        "enum mode { A, OLD }; typedef struct state { enum mode m; } state;",
        "enum mode { NEW, A }; typedef struct state { enum mode m; } state; HR_RENAMED(enum mode, OLD, NEW)",
        "s->m = OLD;",
        '"%d", s->m == NEW',
        "1",
    ),
    Case(
        "an enumeration became an int",
        "enum mode { A, B }; typedef struct state { enum mode m; } state;",
        "int m;",
        "s->m = B;",
        '"%d", s->m',
        "1",
    ),
    Case(
        "negative enumerators",
        "enum mode { A = -5, B = 3 }; typedef struct state { enum mode m; } state;",
        "enum mode { B = -7, A = 9 }; typedef struct state { enum mode m; } state;",
        "s->m = A;",
        '"%d", s->m',
        "9",
    ),
]
NESTED = [
    Case(
        "a nested struct grew",
        "struct { int x, y; } p; int a;",
        "struct { int x, z, y; } p; int a;",
        "s->p.x = 1; s->p.y = 2; s->a = 3;",
        '"%d %d %d %d", s->p.x, s->p.z, s->p.y, s->a',
        "1 0 2 3",
        "state: 1 kept, 2 moved, 1 new (p.z = 0)",
    ),
    Case(
        "a nested struct moved",
        "struct { int x, y; } p; int a;",
        "int b; struct { int x, y; } p; int a;",
        "s->p.x = 1; s->p.y = 2; s->a = 3;",
        '"%d %d %d", s->p.x, s->p.y, s->a',
        "1 2 3",
        "state: 3 moved, 1 new (b = 0)",
    ),
    Case(
        "anonymous members",
        "struct { int x, y; }; int a;",
        "int a; struct { int y; struct { int x; }; };",
        "s->x = 1; s->y = 2; s->a = 3;",
        '"%d %d %d", s->x, s->y, s->a',
        "1 2 3",
        "state: 1 kept, 2 moved",
    ),
    Case(
        "fields put into an anonymous struct",
        "int x; int y;",
        "int w; struct { int x; int y; };",
        "s->x = 1; s->y = 2;",
        '"%d %d", s->x, s->y',
        "1 2",
    ),
    Case(
        "three deep",
        "struct { struct { struct { short v; } c; } b; } a;",
        "struct { int n; struct { struct { int v; } c; } b; } a;",
        "s->a.b.c.v = 9;",
        '"%d", s->a.b.c.v',
        "9",
        "state: 1 new (a.n = 0), 1 widened (a.b.c.v: short int → int)",
    ),
    Case(
        "a field renamed by a hint",
        "int health; int b;",
        "typedef struct state { int b; int hp; } state;\nHR_RENAMED(state, health, hp)",
        "s->health = 5; s->b = 6;",
        '"%d %d", s->hp, s->b',
        "5 6",
        "state: 2 moved, 1 renamed (health → hp)",
    ),
    Case(
        "the state's type itself was renamed",
        "typedef struct { int a; } old_state; typedef old_state state;",
        "typedef struct fresh { int b; int a; } state;",
        "s->a = 4;",
        '"%d %d", s->a, s->b',
        "4 0",
    ),
    Case(
        "a struct in a gap",
        "char a; double d;",
        "char a; struct { char x; } g; double d;",
        "memset(s, 255, sizeof *s); s->a = 1; s->d = 2;",
        '"%d %d %g", s->a, s->g.x, s->d',
        "1 0 2",
    ),
]
ARRAYS = [
    Case(
        "an array grew",
        "int a[2]; int b;",
        "int a[4]; int b;",
        "s->a[0] = 1; s->a[1] = 2; s->b = 3;",
        '"%d %d %d %d %d", s->a[0], s->a[1], s->a[2], s->a[3], s->b',
        "1 2 0 0 3",
        "state: 1 kept, 1 moved, 1 grown (a: 2 → 4)",
    ),
    Case(
        "an array shrank",
        "int a[4]; int b;",
        "int a[2]; int b;",
        "s->a[0] = 1; s->a[1] = 2; s->a[2] = 9; s->b = 3;",
        '"%d %d %d", s->a[0], s->a[1], s->b',
        "1 2 3",
        "state: 1 kept, 1 moved, 1 shrunk (a: 4 → 2)",
    ),
    Case(
        "an array's elements widened",
        "short a[3];",
        "int a[3];",
        "s->a[0] = -1; s->a[2] = 7;",
        '"%d %d %d", s->a[0], s->a[1], s->a[2]',
        "-1 0 7",
        "state: 1 kept, 1 widened (a[]: short int → int)",
    ),
    Case(
        "an array of structs that grew",
        "struct { int x; } e[3];",
        "struct { int id; int x; } e[4];",
        "s->e[0].x = 1; s->e[2].x = 3;",
        '"%d %d %d %d", s->e[0].x, s->e[2].x, s->e[2].id, s->e[3].x',
        "1 3 0 0",
        "state: 1 kept, 1 new (e[].id), 1 grown (e: 3 → 4)",
    ),
    Case(
        "two dimensions",
        "int a[2][2];",
        "int a[3][3];",
        "s->a[0][1] = 1; s->a[1][0] = 2; s->a[1][1] = 3;",
        '"%d %d %d %d", s->a[0][1], s->a[1][0], s->a[1][1], s->a[0][2]',
        "1 2 3 0",
    ),
    Case(
        "a text that is cut",
        "char name[16]; int b;",
        "char name[4]; int b;",
        'strcpy(s->name, "abcdefgh"); s->b = 1;',
        '"%s %d", s->name, s->b',
        "abc 1",
        "state: 1 kept, 1 moved, 1 shrunk (name: 16 → 4)",
    ),
    Case(
        "a text that grows",
        "char name[4]; int b;",
        "char name[16]; int b;",
        'strcpy(s->name, "abc"); s->b = 1;',
        '"%s %d", s->name, s->b',
        "abc 1",
    ),
    Case(
        "texts within an array",
        "char names[2][8];",
        "char names[3][4];",
        'strcpy(s->names[0], "abcdef"); strcpy(s->names[1], "xy");',
        '"%s %s %s.", s->names[0], s->names[1], s->names[2]',
        "abc xy .",
    ),
    Case(
        "a large array of structs",
        "struct { char c; short v; } e[5000];",
        "struct { char c; int v; } e[5000];",
        "for (int i = 0; i < 5000; i++) { s->e[i].c = (char)(i % 100); s->e[i].v = (short)i; }",
        '"%d %d %d", s->e[0].v, s->e[4999].v, s->e[4999].c',
        "0 4999 99",
    ),
    Case(
        "an array of enumerations in structs",
        "enum k { A, B }; typedef struct state { struct { enum k k; } e[2]; } state;",
        "enum k { B, A }; typedef struct state { struct { int n; enum k k; } e[2]; } state;",
        "s->e[1].k = B;",
        '"%d %d", s->e[0].k == A, s->e[1].k == B',
        "1 1",
    ),
]
BITS = [
    Case(
        "bit-fields moved",
        "unsigned a : 3; unsigned b : 5;",
        "unsigned b : 5; unsigned c : 2; unsigned a : 3;",
        "s->a = 5; s->b = 17;",
        '"%d %d %d", s->a, s->b, s->c',
        "5 17 0",
        "state: 2 moved, 1 new (c)",
    ),
    Case(
        "a bit-field widened",
        "int a : 3;",
        "int a : 9;",
        "s->a = -2;",
        '"%d", s->a',
        "-2",
        "state: 1 widened (a: int:3 → int:9)",
    ),
    Case(
        "a bit-field narrowed",
        "unsigned a : 9; int b : 9;",
        "unsigned a : 3; int b : 3;",
        "s->a = 300; s->b = -100;",
        '"%d %d", s->a, s->b',
        "7 -4",
    ),
    Case(
        "a bit-field became an int",
        "unsigned a : 3; unsigned b : 7;",
        "int b; int a;",
        "s->a = 5; s->b = 99;",
        '"%d %d", s->a, s->b',
        "5 99",
    ),
    Case(
        "an int became a bit-field",
        "int b; int a;",
        "unsigned a : 3; int b : 7;",
        "s->a = 5; s->b = -60;",
        '"%d %d", s->a, s->b',
        "5 -60",
    ),
    Case(
        "a signed bit of one",
        "int a : 1; int x;",
        "int x; int a : 1;",
        "s->a = -1; s->x = 4;",
        '"%d %d", s->a, s->x',
        "-1 4",
    ),
    Case(
        "bit-fields beside bytes",
        "char c; unsigned a : 4; unsigned b : 4; char d;",
        "char c; unsigned b : 4; unsigned a : 4; char d;",
        "s->c = 1; s->a = 2; s->b = 3; s->d = 4;",
        '"%d %d %d %d", s->c, s->a, s->b, s->d',
        "1 2 3 4",
    ),
    Case(
        "a wide bit-field",
        "uint64_t a : 40; uint64_t b : 24;",
        "uint64_t b : 24; uint64_t a : 40;",
        "s->a = 0xABCDEF0123; s->b = 0x123456;",
        '"%llx %x", (unsigned long long)s->a, (unsigned)s->b',
        "abcdef0123 123456",
    ),
]
UNIONS = [
    Case("a union beside a new field", "union { int i; float f; } u; int a;", "int b; union { int i; float f; } u; int a;", "s->u.f = 1.5f; s->a = 2;", '"%g %d", s->u.f, s->a', "1.5 2"),
    Case("a union that got a member", "union { int i; float f; } u;", "union { int i; float f; double d; } u;", "s->u.i = 77;", '"%d", s->u.i', "77", "state: 1 kept, 1 new (u.d)"),
    Case("an anonymous union that moved", "union { int i; float f; };", "int b; union { int i; float f; };", "s->i = 5;", '"%d %d", s->i, s->b', "5 0"),
]  # fmt: skip
POINTERS = [
    Case("to the state itself", "struct state *self; int a;", "int n; int a; struct state *self;", "s->self = s; s->a = 3;", '"%d %d", s->self == s, s->a', "1 3"),
    Case("to a field that moved", "int a; int b; int *p;", "int n; int b; int a; int *p;", "s->p = &s->b; s->b = 8;", '"%d %d", s->p == &s->b, *s->p', "1 8"),
    Case("to a nested struct whose first member moved", "typedef struct { int x; } in; typedef struct state { int a; in i; in *p; } state;", "typedef struct { int w; int x; } in; typedef struct state { int a; in i; in *p; } state;", "s->p = &s->i; s->i.x = 6;", '"%d %d", s->p == &s->i, s->p->x', "1 6"),
    Case("to an element of an array of structs that grew", "typedef struct { int x; } in; typedef struct state { in e[4]; in *p; } state;", "typedef struct { int w; int x; } in; typedef struct state { in *p; in e[4]; } state;", "s->p = &s->e[2]; s->e[2].x = 6;", '"%d %d", s->p == &s->e[2], s->p->x', "1 6"),
    Case("to a function", "int (*f)(int); int a;", "int a; int (*f)(int);", "s->f = twice; s->a = 1;", '"%d %d", s->f == twice, s->f(4)', "1 8", more="static int twice(int x) { return 2 * x; }\nint hr_unused(int x) { return twice(x); }"),
    Case("to a variable", "int *p;", "int a; int *p;", "s->p = &spot; spot = 12;", '"%d %d", s->p == &spot, *s->p', "1 12", more="static int spot = 1;\nint hr_unused(void) { return spot++; }"),
    Case("into the middle of a table", "int *p;", "int a; int *p;", "s->p = &table[2]; table[2] = 5;", '"%d %d", (int)(s->p - table), *s->p', "2 5", more="int table[4];"),
    Case("to a string literal", "const char *t;", "int a; const char *t;", 's->t = "from the first";', '"%s", s->t', "from the first"),
    Case("to the heap, its type unchanged", "int *p;", "int a; int *p;", "s->p = (int *)malloc(4); *s->p = 31;", '"%d", *s->p', "31"),
    Case("nothing", "int *p; void *q;", "void *q; int *p;", "s->p = NULL; s->q = s;", '"%d %d", s->p == NULL, s->q == s', "1 1"),
    Case("a ring within the state", "struct { void *next; int v; } n[3];", "struct { int v; int w; void *next; } n[3];", "for (int i = 0; i < 3; i++) { s->n[i].next = &s->n[(i + 1) % 3]; s->n[i].v = i; }", '"%d %d %d", s->n[0].next == &s->n[1], s->n[2].next == &s->n[0], s->n[2].v', "1 1 2"),
]  # fmt: skip
CASES = [*FIELDS, *NUMBERS, *ENUMS, *NESTED, *ARRAYS, *BITS, *UNIONS, *POINTERS]


@pytest.fixture(scope="module", params=["gcc", "clang", "gcc -gdwarf-4 -O1", "clang -gdwarf-4 -O2"])
def workshop(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    compiler, *flags = request.param.split()
    yield Workshop(compiler, tmp_path_factory.mktemp("migration"), ("-g", *flags))


@pytest.fixture(scope="module", params=["gcc -gz -O2", "gcc -flto -O1"])
def unusual(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    compiler, *flags = request.param.split()
    yield Workshop(compiler, tmp_path_factory.mktemp("migration"), ("-g", *flags))


def pair(workshop: Workshop, case: Case) -> tuple[bytes, bytes]:
    old = source(types(case.old), set_=case.set, more=case.more)
    new = source(types(case.new), case.state, show=case.show, more=case.more)
    return workshop.library(old), workshop.library(new)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name.replace(" ", "-"))
def test_the_state_is_carried_over(workshop: Workshop, case: Case) -> None:
    """The new code finds what the old code left, field by field; the plan's words say what became of them."""
    old, new = pair(workshop, case)
    with carried(workshop.place(), workshop.host(), old) as host:
        host.ask("set")
        plan, said = host.reload(new)
        assert said.startswith("changed 2"), (said, plan)
        assert host.ask("show") == case.out
        if case.words:
            said_of = plan.words.split(" · ")[0].replace("short int", "short").replace("long int", "long")
            assert said_of == case.words.replace("short int", "short").replace("long int", "long")


@pytest.mark.parametrize("case", CASES[::5], ids=lambda case: case.name.replace(" ", "-"))
def test_compressed_and_link_time_optimised(unusual: Workshop, case: Case) -> None:
    """Debug information that is compressed, or made at link time for all files at once, is read as well."""
    test_the_state_is_carried_over(unusual, case)


@pytest.fixture(scope="module", params=["gcc", "clang", "gcc -gdwarf-4", "clang -gdwarf-4"])
def plain(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    """Without optimisation: with it compilers make constants of statics, or take them apart."""
    compiler, *flags = request.param.split()
    yield Workshop(compiler, tmp_path_factory.mktemp("migration"), ("-g", *flags))


# --- statics ------------------------------------------------------------------------------------------------

STATICS = [
    Case("kept", "int a;", "int a; int b;", "count = 5; s->a = 1;", '"%d %d", count, s->a', "5 1", "statics: 1 kept", more="static int count = 1;"),
    Case("of a function", "int a;", "int a;", "step(); step();", '"%d", step()', "3", "statics: 1 kept", more="static int step(void) { static int calls; return ++calls; }"),
    Case("two of one name in two functions", "int a;", "int a;", "one(); one(); two();", '"%d %d", one(), two()', "3 12", "statics: 2 kept", more="static int one(void) { static int n; return ++n; }\nstatic int two(void) { static int n = 10; return ++n; }"),
    Case("an array and a struct", "int a;", "int a;", "table[3] = 4; last.y = 6;", '"%d %d", table[3], last.y', "4 6", "statics: 2 kept", more="static int table[8];\nstatic struct { int x, y; } last;"),
    Case("a global", "int a;", "int a;", "total = 9;", '"%d", total', "9", "statics: 1 kept", more="int total;"),
    Case("a pointer to another static", "int a;", "int a;", "at = &table[2]; table[2] = 3;", '"%d %d", (int)(at - table), *at', "2 3", "statics: 2 kept", more="static int table[4];\nstatic int *at;\nint hr_unused(void) { return (*at)++; }"),
    Case("a pointer to a function", "int a;", "int a;", "hook = up;", '"%d", hook(1)', "101", "statics: 1 kept", more="static int up(int x) { return x + 100; }\nstatic int down(int x) { return x - 100; }\nstatic int (*hook)(int) = down;\nvoid hr_unused(int x) { hook = x ? up : down; }"),
]  # fmt: skip
EDITED = [
    # what the source was, what it is, what the old code does, what the new code says, the plan's words
    ("the initialiser edited", "static int speed = 3;", "static int speed = 4;", "speed = 9;", '"%d", speed', "4", "statics: 1 anew (speed = 4: its initialiser was edited)", "speed++"),
    ("one field of the initialiser edited", "static struct { int x, y; } p = {1, 2};", "static struct { int x, y; } p = {1, 3};", "p.x = 9; p.y = 9;", '"%d %d", p.x, p.y', "1 3", "statics: 1 anew (p.y = 3: its initialiser was edited)", "p.x++; p.y++"),
    ("a text's initialiser edited", 'static const char *greeting = "hello";', 'static const char *greeting = "hullo";', 'greeting = "changed";', '"%s", greeting', "hullo", "statics: 1 anew (greeting: its initialiser was edited)", 'greeting = greeting[0] ? "" : "x"'),
    ("a text that stays", 'static const char *greeting = "hello";', 'static volatile int n = 4; static const char *greeting = "hello";', 'greeting = "changed";', '"%s %d", greeting, n', "changed 4", "statics: 1 kept, 1 new (n)", 'greeting = greeting[0] ? "" : "x"'),
    ("a bit-field's initialiser edited", "static struct { unsigned a : 3, b : 3; } p = {1, 2};", "static struct { unsigned a : 3, b : 3; } p = {1, 5};", "p.a = 7; p.b = 7;", '"%d %d", p.a, p.b', "1 5", "statics: 1 anew (p.b = 5: its initialiser was edited)", "p.a++; p.b++"),
    ("widened", "static short n = 3;", "static long n = 3;", "n = -9;", '"%ld", n', "-9", "statics: 1 widened (n: short → long)", "n++"),
    ("a field added", "static struct { int x; } p;", "static struct { int w, x; } p;", "p.x = 9;", '"%d %d", p.w, p.x', "0 9", "statics: 1 new (p.w)", "p.x++"),
    ("an array that grew", "static int t[2] = {1, 2};", "static int t[3] = {1, 2, 3};", "t[0] = 9;", '"%d %d %d", t[0], t[1], t[2]', "9 2 3", "statics: 1 grown (t: 2 → 3)", "t[0]++"),
    ("one gone, one new", "static int before = 1;", "static int after = 2;", "before = 9;", '"%d", after', "2", "statics: 1 new (after), 1 gone (before)", None),
    ("kept out of it", "static int n = 3;", "HR_FRESH static int n = 3;", "n = 9;", '"%d", n', "3", "statics: 1 anew (n: HR_FRESH)", "n++"),
    ("moved to a struct", "static int n = 3;", "static struct { int n; } n;", "n = 9;", '"%d", n.n', "0", "statics: 1 replaced (n: int → struct)", None),
]  # fmt: skip


@pytest.mark.parametrize("case", STATICS, ids=lambda case: case.name.replace(" ", "-"))
def test_statics_keep_their_values(plain: Workshop, case: Case) -> None:
    """Globals, statics and statics of functions go on with the value that they had."""
    both = source(types(case.old), set_=case.set, show=case.show, more=case.more)
    old, new = plain.library(both), plain.library(both.replace(types(case.old), types(case.new) + "\n\n"), "-DNEW")
    with carried(plain.place(), plain.host(), old) as host:
        host.ask("set")
        plan, said = host.reload(new)
        assert said.startswith("changed 2"), (said, plan)
        assert host.ask("show") == case.out
        assert plan.words.split(" · ")[1] == case.words


@pytest.mark.parametrize("case", EDITED, ids=lambda case: case[0].replace(" ", "-"))
def test_statics_whose_declaration_was_edited(plain: Workshop, case: tuple[str, ...]) -> None:
    """An edited initialiser counts, since that is why it was edited; types are converted; all of it is said."""
    _, before, after, set_, show, out, words, use = case
    uses = f"void hr_unused(void) {{ {use}; }}\n" if use else ""
    old = plain.library(source("typedef struct { int a; } state;", set_=set_, more=before + "\n" + uses))
    new = plain.library(source("typedef struct { int a; } state;", show=show, more=after + "\n" + uses))
    with carried(plain.place(), plain.host(), old) as host:
        host.ask("set")
        plan, said = host.reload(new)
        assert said.startswith("changed 2"), (said, plan)
        assert host.ask("show") == out
        assert plan.words.split(" · ")[1].replace("short int", "short").replace("long int", "long") == words


def test_statics_that_the_compiler_takes_apart_are_named(tmp_path: Path) -> None:
    """clang -O2 keeps a static that is only ever 1 or 5 as one bit: nobody can carry it, and that is said."""
    text = source(
        "typedef struct { int a; } state;", set_="count = 5;", show='"%d", count', more="static int count = 1;"
    )
    library = Workshop("clang", tmp_path, ("-g", "-O2")).library(text)
    words = plan_of(library, library).words
    assert "statics: 1 anew (count: the compiler took it apart; -O0 or volatile keeps it whole)" in words


# --- refusals -----------------------------------------------------------------------------------------------

REFUSED = [
    Case("memory of a type that changed", "struct item { int v; }; typedef struct state { struct item *first; } state;", "struct item { int w, v; }; typedef struct state { struct item *first; } state;", "s->first = (struct item *)calloc(1, sizeof *s->first);", '"%d", s->first->v', "state.first->v changed its layout"),
    Case("far away", "struct tile { int v; }; struct chunk { struct tile *tile; }; struct world { struct chunk *chunks; }; typedef struct state { struct world *world; } state;", "struct tile { char k; int v; }; struct chunk { struct tile *tile; }; struct world { struct chunk *chunks; }; typedef struct state { struct world *world; } state;", "s->world = (struct world *)calloc(1, sizeof *s->world);", '"%p", (void *)s->world->chunks->tile', "state.world->chunks->tile->v changed its layout"),
    Case("a member of a union that changed", "typedef struct state { union { int i; float f; } u; } state;", "typedef struct state { union { int i; double f; } u; } state;", "s->u.i = 1;", '"%d", s->u.i', "state.u.f: a member of a union changed"),
    Case("a function that is gone", "int (*f)(int); int a;", "int (*f)(int); int b;", "s->f = thrice;", '"%d", s->b', "state.f points to something that the new code does not have: thrice", more="#ifndef NEW\nstatic int thrice(int x) { return 3 * x; }\nint hr_unused(int x) { return thrice(x); }\n#endif"),
    Case("a field that is gone", "int *p; int a;", "int *p; int b;", "s->p = &s->a;", '"%d", s->b', "state.p points to a field of the state that is gone"),
]  # fmt: skip


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.name.replace(" ", "-"))
def test_what_cannot_be_carried_is_refused(workshop: Workshop, case: Case) -> None:
    """Old code and old state go on, the reason names the place, and the next generation that fits is taken."""
    old = workshop.library(source(types(case.old), set_=case.set, show='"old %d", 1', more=case.more))
    new = workshop.library(source(types(case.new), show=case.show, more=case.more), "-DNEW")
    good = workshop.library(source(types(case.old), set_=case.set, show='"good %d", 2', more=case.more))
    with carried(workshop.place(), workshop.host(), old) as host:
        host.ask("set")
        _, said = host.reload(new)
        assert said.startswith(f"refused 1 {case.out}"), said
        assert host.ask("show") == "old 1"
        host.publish_from_running(good)
        assert host.ask("poll").startswith("changed 3")
        assert host.ask("show") == "good 2"
