"""What may stand in the way of carrying state over: C++, odd debug information, damage, hosts that come late."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

import pytest

from harness import need
from hotreload_engine import debug, dwarf
from hotreload_engine.plan import NONE, encode
from migration_kit import Workshop, carried, plan_of, source

STATE = "typedef struct state { %s } state;"



# --- C++ ----------------------------------------------------------------------------------------------------


def test_a_plain_struct_of_cxx(plus: Workshop) -> None:
    """Plain old data in C++: bases, namespaces, enum classes and statics with guards are carried like C's."""
    types = """
namespace app {{ enum class Mode : unsigned char {{ {modes} }}; struct Base {{ int id; }}; }}
struct state : app::Base {{ {fields} app::Mode mode; }};
static int first() {{ return 7; }}
int counted() {{ static int calls = first(); return ++calls; }}
"""
    old = types.format(modes="Run, Stop", fields="")
    new = types.format(modes="Idle, Run, Stop", fields="double extra;")
    one = plus.library(source(old, set_="s->id = 3; s->mode = app::Mode::Stop; counted();"))
    two = plus.library(source(new, show='"%d %d %g %d", s->id, s->mode == app::Mode::Stop, s->extra, counted()'))
    with carried(plus.place(), plus.host(), one) as host:
        host.ask("set")
        plan, said = host.reload(two)
        assert said.startswith("changed 2"), (said, plan.refusal)
        assert host.ask("show") == "3 1 0 9"


def test_texts_that_the_compiler_gave_a_name(tmp_path: Path) -> None:
    """clang with AddressSanitizer numbers its texts: a pointer to one is not taken for one to another of that number."""
    workshop = Workshop("clang", tmp_path, ("-g", "-fsanitize=address"))
    types = "typedef struct state {{ const char *name; int x; {} }} state;"
    one = workshop.library(source(types.format(""), set_='s->name = "Ada";', show='"%s", s->name'))
    two = workshop.library(source(types.format("int y;"), set_='s->name = "Ben"; puts("Cleo");', show='"<%s>", s->name'))
    titles = [mark.title for mark in plan_of(one, two).landmarks]
    assert titles and not [title for title in titles if title.startswith((".str", "___asan"))]


@pytest.mark.parametrize(
    ("types", "why"),
    [
        ("struct state { virtual void f(); int a; }; void state::f() {}", "it has virtual functions"),
        ("struct state { virtual void f() {} int a; };", "state"),
        ("#include <string>\nstruct state { int a; std::string name; };", "name"),
        ("struct held { ~held() {} int a; }; struct state { held h[2]; };", "h: it has a destructor"),
        ("struct state { int a; int &b; };", "b: it is a reference"),
        ("struct base { int a; }; struct state : virtual base { int b; state(); }; state::state() {}", "virtual"),
    ],
)
def test_objects_with_a_life_of_their_own_are_refused(plus: Workshop, types: str, why: str) -> None:
    """Bytes of what has virtual functions, destructors or references are not carried over, and the reason is given."""
    use = "\nstate *hr_unused(state *s) { return s + 1; }"
    library = plus.library(
        source(
            types + use,
            more="void hr_more(state *s) { s->a = 1; }" if "int a; " in types and "held" not in types else "",
        )
    )
    other = plus.library(
        source(types.replace("state {", "state { int more;").replace("base { int b", "base { int more; int b") + use)
    )
    refusal = plan_of(library, other).refusal
    assert refusal.startswith("state") and why in refusal


def test_a_static_with_a_destructor_begins_anew(plus: Workshop) -> None:
    """The old library's copy is destroyed with it, so its memory cannot be shared: it is named."""
    text = source(
        STATE % "int a;",
        more="#include <vector>\nstatic std::vector<int> seen;\nint hr_unused() { seen.push_back(1); return seen[0]; }",
    )
    words = plan_of(plus.library(text), plus.library(text.replace("int a;", "int a, b;"))).words
    assert "1 anew (seen" in words


# --- debug information --------------------------------------------------------------------------------------


def test_without_debug_information_bytes_go_over_if_their_number_is_the_same(workshop: Workshop) -> None:
    """The state as it is, statics anew, and both are said; another size is refused with the reason."""
    bare = Workshop(workshop.compiler, workshop.directory, ())
    old = bare.library(source(STATE % "int a; int b;", set_="s->a = 4;"))
    same = bare.library(source(STATE % "int a; int c;", show='"%d", s->a'))
    other = bare.library(source(STATE % "int a;"))
    with carried(workshop.place(), workshop.host(), old) as host:
        host.ask("set")
        plan, said = host.reload(same)
        assert said.startswith("changed 2") and host.ask("show") == "4"
        assert "state: 8 bytes as they are · statics: begin anew" in plan.words and "no debug information" in plan.words
        _, said = host.reload(other)
        assert said.startswith("refused 2 the state's size changed, 8 to 4 bytes") and "no debug information" in said


def test_split_debug_information_is_named(workshop: Workshop) -> None:
    """-gsplit-dwarf leaves the types in another file: no migration, and that is why."""
    split = Workshop(workshop.compiler, workshop.directory, ("-g", "-gsplit-dwarf"))
    plan = plan_of(split.library(source(STATE % "int a;")), split.library(source(STATE % "int a; int b;")))
    assert "-gsplit-dwarf" in plan.refusal


def test_two_source_files_that_see_the_state_differently(workshop: Workshop) -> None:
    """A stale object, or a macro that changes the struct: refused, with the type and the field."""
    directory = workshop.directory / "two"
    directory.mkdir(exist_ok=True)
    (directory / "a.c").write_text(source(STATE % "int a; int b;"))
    (directory / "b.c").write_text((STATE % "int b; int a;") + "\nint other(state *s) { return s->a; }\n")
    out = directory / "two.so"
    from migration_kit import HERE, ROOT

    subprocess.run(
        [need(workshop.compiler), "-g", "-fPIC", "-shared", f"-I{ROOT / 'src'}", f"-I{HERE}", "-o", out, "a.c", "b.c"],
        cwd=directory, check=True,
    )  # fmt: skip
    refusal = plan_of(workshop.library(source(STATE % "int a; int b;")), out.read_bytes()).refusal
    assert "two source files see state differently (at a)" in refusal or "(at b)" in refusal


def test_type_units(tmp_path: Path) -> None:
    """-fdebug-types-section puts types into units of their own; they are found by their signature."""
    for flags in (("-gdwarf-5",), ("-gdwarf-4",)):
        shop = Workshop("gcc", tmp_path, ("-g", *flags, "-fdebug-types-section"))
        old, new = (
            shop.library(source(STATE % fields))
            for fields in ("int a; struct { short x; } n;", "int c; struct { int x; } n; int a;")
        )
        assert plan_of(old, new).words == "state: 1 moved, 1 new (c = 0), 1 widened (n.x: short int → int)"


def test_a_library_that_is_damaged_makes_no_traceback(workshop: Workshop) -> None:
    """Whatever the bytes are, it is an error of ours with words, or a plan."""
    from hotreload_engine.model import HotReloadError

    data = bytearray(workshop.library(source(STATE % "int a; int b;")))
    generator = random.Random(20261126)
    begin = data.find(b"plug.c")
    for _ in range(300):
        broken = bytearray(data)
        for _ in range(8):
            broken[generator.randrange(begin % 4096, len(broken))] = generator.randrange(256)
        try:
            dwarf.read(bytes(broken), "broken.so")
        except HotReloadError as error:
            assert "damaged" in error.what and error.remedy


# --- plans --------------------------------------------------------------------------------------------------


def test_a_damaged_plan_is_refused(workshop: Workshop) -> None:
    """Bytes changed at random, also with a right sum: refused or carried out, never a crash, and the host goes on."""
    import struct
    import zlib

    old = workshop.library(
        source(STATE % "int a; struct state *me; char t[8];", set_="s->a = 4; s->me = s;", show='"%d", s->a')
    )
    new = workshop.library(source(STATE % "int b; char t[4]; long a; struct state *me;", show='"%d", (int)s->a'))
    good = encode(plan_of(old, new))
    generator = random.Random(20261126)
    flags = ("-fsanitize=address,undefined", "-fno-sanitize-recover=undefined") if workshop.compiler == "gcc" else ()
    with carried(workshop.place(), workshop.host(*flags), old) as host:
        host.ask("set")
        running = host.slot.newest()
        assert running is not None
        for turn in range(40):
            broken = bytearray(good)
            for _ in range(generator.randrange(1, 4)):
                broken[generator.randrange(16, len(broken))] = generator.choice(
                    (0, 1, 2, 4, 255, generator.randrange(256))
                )
            if turn % 4:
                broken[8:12] = struct.pack("=I", zlib.crc32(bytes(broken[16:])))
            data = workshop.library(
                source(STATE % "int b; char t[4]; long a; struct state *me;", show=f'"%d %d", (int)s->a, {turn}')
            )
            origin = host.slot.read_record(host.slot.records()[0]).file
            from hotreload_engine import elf

            host.slot.publish(elf.read(data, "x"), data, plans={origin: bytes(broken)})
            host.signal()
            said = host.ask("poll")
            if said.startswith("changed"):
                break  # harmless damage; what it carried is not asked
            assert said.startswith("refused 1"), said
            assert host.ask("show") == "4"


def test_a_host_that_polls_late_goes_by_the_plan_of_what_it_runs(workshop: Workshop) -> None:
    """Two generations come before the safe point does: the second plan begins where the host is, not at the first."""
    texts = [source(STATE % f"int n{i}; int a;", set_="s->a = 4;", show=f'"%d {i}", s->a') for i in range(4)]
    with carried(workshop.place(), workshop.host(), workshop.library(texts[0])) as host:
        host.ask("set")
        for text in texts[1:]:
            host.publish_from_running(workshop.library(text))
        assert host.ask("poll").startswith("changed")
        while host.ask("show") != "4 3":
            assert host.ask("poll").startswith("changed")


def test_ten_generations_in_a_row(workshop: Workshop) -> None:
    """A state that grows ten times loses nothing; a text of the first generation is still there at the end."""
    fields = ["int a; const char *text;", *(f"int n{i};" for i in range(10))]
    first = source(STATE % fields[0], set_='s->a = 1; s->text = "first";', show='"%d", s->a')
    with carried(workshop.place(), workshop.host(), workshop.library(first)) as host:
        host.ask("set")
        for count in range(1, 10):
            body = " ".join(reversed(fields[: count + 1]))
            _, said = host.reload(workshop.library(source(STATE % body, show='"%d %s", s->a, s->text')))
            assert said.startswith(f"changed {count + 1}"), said
        assert host.ask("show") == "1 first"


def test_no_plan_no_change(workshop: Workshop) -> None:
    """A generation of a builder that makes plans is not taken without one: statics would be lost and nobody told."""
    old, new = (workshop.library(source(STATE % fields)) for fields in ("int a;", "int a; int b;"))
    from hotreload_engine import elf

    with carried(workshop.place(), workshop.host(), old) as host:
        host.slot.publish(elf.read(new, "x"), new, plans={})
        host.signal()
        assert host.ask("poll").startswith("refused 1 no plan leads from generation 1 to 2: run scons reload")
        running = host.slot.newest()
        assert running is not None
        host.carrier.complete(running, host.slot.read_record(host.slot.records()[0]).file, 4)
        host.signal()
        assert host.ask("poll").startswith("changed 2")


def test_a_plan_without_anything_to_do_is_one_copy(workshop: Workshop) -> None:
    """An edit of code alone costs the safe point one copy of the state."""
    text = source(STATE % "int a; char c; double d; struct { short x; int y; } n[100];")
    plan = plan_of(workshop.library(text), workshop.library(text + "int more;"))
    assert plan.state != NONE and [op.kind.name for op in plan.programs[plan.state].operations] == ["COPY"]


def test_units_that_have_not_changed_are_not_read_again(workshop: Workshop) -> None:
    """Reading a library beside its earlier state gives what reading it alone does, whatever was edited."""
    from migration_kit import HERE, ROOT

    directory = workshop.directory / "units"
    directory.mkdir(exist_ok=True)
    for number in range(4):
        (directory / f"u{number}.c").write_text(
            f"struct item{number} {{ int long_name_{number}; short b; }};\nstatic struct item{number} kept{number};\n"
            f"int touch{number}(int a) {{ static int calls; kept{number}.b++; return calls += a; }}\n"
        )
    (directory / "plug.c").write_text(source(STATE % "int a; int b;"))

    def built() -> bytes:
        out = directory / "made.so"
        subprocess.run(
            [need(workshop.compiler), "-g", "-fPIC", "-shared", f"-I{ROOT / 'src'}", f"-I{HERE}", "-o", out,
             *sorted(path.name for path in directory.glob("*.c"))],
            cwd=directory, check=True,
        )  # fmt: skip
        return out.read_bytes()

    def seen(debug: debug.Debug) -> list[object]:
        found = [(v.unit, v.scope, v.name, v.address, v.external, shown(v.type())) for v in debug.variables]
        records = {name: [shown(each()) for each in types] for name, types in debug.records.items()}
        return [sorted(found), records, {name: function().text for name, function in debug.functions.items()}]

    def shown(type_: debug.Type) -> object:
        if isinstance(type_, debug.Record):
            return type_.name, type_.size, [(m.name, m.bits_at, m.bits, shown(m.type)) for m in type_.members]
        if isinstance(type_, debug.Array):
            return type_.count, shown(type_.of)
        return "pointer" if isinstance(type_, debug.Pointer) else repr(type_)

    known = dwarf.read(built(), "made.so")
    for file, old, new, kept in (
        ("u1.c", "return calls += a", "int long_local_name = a; return calls += long_local_name", 4),
        ("u2.c", "long_name_2", "long_nama_2", 4),  # of the same length: only its name says so
        ("u3.c", "short b", "short c", 4),
        ("u0.c", "int long_name_0; short b;", "short b; int long_name_0;", 4),
        ("plug.c", "int a; int b;", "int a; int b; int c;", 4),
        ("u0.c", "static int calls", "int calls = 0; static int other; other", 4),
        ("u1.c", "(int a)", "(long a)", 4),
        ("u2.c", "a;", "a;\n/* nothing */", 5),
        ("u1.c", "long_local_name", "long_locul_nume", 5 if workshop.compiler == "gcc" else 4),  # clang numbers all names
    ):
        text = (directory / file).read_text()
        assert old in text
        field = "kept3.c" if "short c" in new else "kept3.b"
        (directory / file).write_text(text.replace(old, new).replace("kept3.b", field))
        dwarf.prepare(known)
        data = built()
        again = dwarf.read(data, "made.so", known)
        assert seen(again) == seen(dwarf.read(data, "made.so"))
        assert len(set(map(id, again.units_read)) & set(map(id, known.units_read))) == kept
        assert len({id(each.unit.strings) for each in again.units_read}) == 1, "of the earlier file nothing is kept"
        dwarf.prepare(again)
        assert all(each.unit.reader is None for each in again.units_read)
        known = again


def test_a_static_that_cannot_be_carried_leaves_the_others_alone(workshop: Workshop) -> None:
    """It begins anew and is named; those behind it are carried each by its own program."""
    types = "static struct {{ union {{ int i; {real} f; }} u; }} odd;\nstatic struct {{ int x{more}; }} first;\nstatic struct {{ {small} s; int t; }} second;\n"
    use = "void hr_unused(void) { odd.u.i++; first.x++; second.t++; }\n"
    old = types.format(real="float", more="", small="short") + use
    new = types.format(real="double", more=", y", small="long") + use
    one = workshop.library(source(STATE % "int a;", set_="odd.u.i = 1; first.x = 2; second.s = 3; second.t = 4;", more=old))
    two = workshop.library(source(STATE % "int a;", show='"%d %d %d %ld %d", odd.u.i, first.x, first.y, second.s, second.t', more=new))
    with carried(workshop.place(), workshop.host(), one) as host:
        host.ask("set")
        plan, said = host.reload(two)
        assert said.startswith("changed 2"), said
        assert host.ask("show") == "0 2 0 3 4"
        assert "1 anew (odd.u.f: a member of a union changed" in plan.words
