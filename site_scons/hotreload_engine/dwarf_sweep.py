"""One walk over a unit's entries → what is in it: variables, records, functions.

At every save, over megabytes: what is not wanted is passed over without a look at its attributes.
"""

from __future__ import annotations

from collections.abc import Callable

from .debug import Function, Type, Variable

from .dwarf_format import (  # isort: skip
    LEXICAL_BLOCK, NAMESPACE, RECORDS, SUBPROGRAM, TYPEDEF, VARIABLE,
    DECLARATION, EXTERNAL, LINKAGE_NAME, LOCATION, MIPS_LINKAGE_NAME, NAME, ORIGIN, SPECIFICATION, TYPE,
    ADDRESSED, OP_ADDR, OP_ADDRX, OP_DEREF, OP_DEREF_SIZE, OP_GNU_ADDRX, OP_PIECE, OP_PLUS_UCONST,
    uleb,
)  # fmt: skip

from .dwarf_units import Attributes, Unit

_SCOPES = frozenset({NAMESPACE, SUBPROGRAM, LEXICAL_BLOCK, *RECORDS})
_NOTED = frozenset({TYPEDEF, *_SCOPES})


class Found:
    """What a sweep found in one unit."""

    def __init__(self) -> None:
        self.variables: list[tuple[int, int, Variable]] = []
        """With the offsets of the entry that has the address and, where it is nothing but that, of the address."""
        self.apart: set[str] = set()
        self.records: dict[str, list[Callable[[], Type]]] = {}
        self.functions: dict[str, Callable[[], Function]] = {}

    def record(self, name: str, unit: Unit, at: int) -> None:
        self.records.setdefault(name, []).append(lambda: unit.type((unit, at)))

    def typedef(self, name: str, unit: Unit, at: int) -> None:
        """Of a struct without a name of its own; one that has a name is found by it."""
        _, attributes, _ = unit.entry(at)
        target = attributes.get(TYPE)
        if target and target[0] != "signature":
            abbrev, of, _ = target[0].entry(target[1])
            if abbrev and abbrev.tag in RECORDS and NAME not in of:
                self.records.setdefault(name, []).append(lambda: unit.type((unit, at)))

    def function(self, name: str, unit: Unit, at: int, own: Attributes) -> None:
        def prototype() -> Function:
            abbrev, _, inside = unit.entry(at)
            return unit.function(name, own, inside if abbrev and abbrev.children else 0)

        self.functions.setdefault(name, prototype)


class Sweep:
    """One walk over a unit: its variables, the names of its structs and of its functions."""

    def __init__(self, unit: Unit) -> None:
        self._unit, self._found = unit, Found()

    def run(self) -> Found:
        unit = self._unit
        info, table = unit.info, unit.table
        at, end = unit.first, len(info)
        scopes: list[tuple[str, ...]] = []
        """For each open list of children, the scope that it is in."""
        blocks = 0
        while at < end:
            begin = at
            code = info[at]
            at += 1
            if code & 0x80:
                code, at = uleb(info, begin)
            if code == 0:
                if not scopes:
                    break
                scopes.pop()
                continue
            abbrev = table[code]
            tag = abbrev.tag
            scope = scopes[-1] if scopes else ()
            if tag == VARIABLE:
                place, at = unit.locate(abbrev, at)
                if place and info[place] in ADDRESSED:
                    self._variable(unit.entry(begin)[1], scope, begin, place)
                if abbrev.children:
                    scopes.append(scope)
                continue
            if tag not in _NOTED:
                at = unit.skip(abbrev, at)
                if abbrev.children:
                    scopes.append(scope)
                continue
            if tag == LEXICAL_BLOCK:
                at = unit.skip(abbrev, at)
                if abbrev.children:
                    blocks += 1
                    scopes.append((*scope, str(blocks)))
                continue
            _, attributes, at = unit.entry(begin)
            if tag in RECORDS:
                name = str(attributes.get(NAME, ""))
                if name and not attributes.get(DECLARATION):
                    self._found.record("::".join([*scope, name]), unit, begin)
                scope = (*scope, name)
            elif tag == TYPEDEF:
                self._found.typedef("::".join([*scope, str(attributes.get(NAME, ""))]), unit, begin)
            elif tag == SUBPROGRAM:
                name = self._function(attributes, begin)
                scope = (*scope, name)
                blocks = 0
            elif tag == NAMESPACE:
                scope = (*scope, str(attributes.get(NAME, "(anonymous)")))
            if abbrev.children:
                scopes.append(scope)
        return self._found

    def _variable(self, attributes: Attributes, scope: tuple[str, ...], begin: int, place: int) -> None:
        """``place``: of its location. What has none is optimised away or in a register: no object to carry."""
        unit = self._unit
        location = attributes[LOCATION]
        address = address_of(unit, location)
        if address is None and not _is_apart(unit, location):
            return
        whole = _whole(attributes, NAME, TYPE)
        name = whole.get(LINKAGE_NAME) if SPECIFICATION in attributes else None
        name = str(name or whole.get(NAME, ""))
        if not name:
            return
        if address is None:
            self._found.apart.add("::".join([*(part for part in scope if not part.isdigit()), name]))
            return
        target = whole.get(TYPE)
        variable = Variable(name, scope, unit.name, bool(whole.get(EXTERNAL)), address, lambda: unit.type(target))
        is_plain = location[0] == OP_ADDR and len(location) == 1 + unit.address_size
        self._found.variables.append((begin, place + 1 if is_plain else 0, variable))

    def _function(self, attributes: Attributes, begin: int) -> str:
        """Its name for the linker, noted when others can call it."""
        whole = _whole(attributes, NAME)
        name = str(whole.get(LINKAGE_NAME) or whole.get(MIPS_LINKAGE_NAME) or whole.get(NAME, ""))
        if whole.get(EXTERNAL) and not attributes.get(DECLARATION) and name and ORIGIN not in attributes:
            self._found.function(name, self._unit, begin, whole)
        return name


def _whole(attributes: Attributes, *needed: int) -> Attributes:
    """A definition's attributes with those of its declaration, as far as it does not say what is ``needed`` itself."""
    for _ in range(4):
        if all(each in attributes for each in needed):
            break
        reference = attributes.get(SPECIFICATION, attributes.get(ORIGIN))
        if not reference or reference[0] == "signature":
            break
        _, more, _ = reference[0].entry(reference[1])
        own = {key: value for key, value in attributes.items() if key not in (SPECIFICATION, ORIGIN)}
        attributes = {**more, **own}
    return attributes


def address_of(unit: Unit, expression: bytes) -> int | None:
    """The address that an expression is, and nothing but that: pieces and thread-locals have none."""
    operation = expression[0] if expression else 0
    if operation == OP_ADDR and len(expression) >= 1 + unit.address_size:
        address, at = int.from_bytes(expression[1 : 1 + unit.address_size], unit.strings.order), 1 + unit.address_size
    elif operation in (OP_ADDRX, OP_GNU_ADDRX):
        index, at = uleb(expression, 1)
        address = unit.address(index)
    else:
        return None
    if at < len(expression) and expression[at] == OP_PLUS_UCONST:
        more, at = uleb(expression, at + 1)
        address += more
    return address if at == len(expression) else None


def _is_apart(unit: Unit, expression: bytes) -> bool:
    """Whether it is made of memory that has an address, in pieces or by a calculation; not one in a register."""
    operation, at = expression[0] if expression else 0, 0
    if operation == OP_ADDR:
        at = 1 + unit.address_size
    elif operation in (OP_ADDRX, OP_GNU_ADDRX):
        at = uleb(expression, 1)[1]
    return 0 < at < len(expression) and expression[at] in (OP_DEREF, OP_DEREF_SIZE, OP_PIECE)
