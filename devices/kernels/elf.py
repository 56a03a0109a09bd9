"""Makes a shared object out of one relocatable object, so that a machine without compiler and linker can load what LLVM emits.

Covers what position-independent code of the small model needs on x86-64 and AArch64 (System V gABI chapters 4 and 5, and the two
psABIs): no thread-local storage, no constructors, no unwinding tables. The result has three segments (read, execute, write), no text
relocations and a stack that is not executable; calls to the outside go through stubs over a table that the loader fills at once.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

X86_64, AARCH64 = 62, 183
SHT_RELA, SHT_NOBITS, SHT_NOTE, SHT_SYMTAB = 4, 8, 7, 2
SHF_WRITE, SHF_ALLOC, SHF_EXECINSTR, SHF_TLS = 1, 2, 4, 0x400
CONSTRUCTORS = frozenset({14, 15, 16})
"""SHT_INIT_ARRAY, SHT_FINI_ARRAY, SHT_PREINIT_ARRAY."""
SHN_UNDEF, SHN_ABS, SHN_COMMON = 0, 0xFFF1, 0xFFF2
PAGE = {X86_64: 0x1000, AARCH64: 0x10000}
"""The largest page of each machine: a segment may not share one with another."""
GLOB_DAT = {X86_64: 6, AARCH64: 1025}
RELATIVE = {X86_64: 8, AARCH64: 1027}
HEADER, PROGRAM_HEADER, SECTION_HEADER, SYMBOL, RELA = "<16sHHIQQQIHHHHHH", "<IIQQQQQQ", "<IIQQQQIIQQ", "<IBBHQQ", "<QQq"
STUB_BYTES = 16


class LinkError(Exception):
    """An object that cannot become a shared object: says what it needs that is not offered here."""


@dataclass(slots=True)
class Section:
    """A section of the object; `data` is a copy that relocations are written into, `address` its place in the shared object."""

    name: str
    type: int
    flags: int
    align: int
    size: int
    data: bytearray
    link: int
    info: int
    address: int = -1


@dataclass(frozen=True, slots=True)
class Symbol:
    """A name of the object; `section` is None where it is not defined."""

    name: str
    section: Section | None
    value: int


@dataclass(frozen=True, slots=True)
class Relocation:
    """A place in `section` that waits for the address of `symbol`."""

    section: Section
    offset: int
    type: int
    symbol: Symbol
    addend: int


@dataclass(slots=True)
class Object:
    """A relocatable object, read."""

    machine: int
    sections: list[Section] = field(default_factory=list)
    symbols: list[Symbol] = field(default_factory=list)
    relocations: list[Relocation] = field(default_factory=list)


def read(data: bytes) -> Object:
    """The object's loadable sections, symbols and relocations. Raises LinkError for anything that is not such an object."""
    try:
        return _read(data)
    except (struct.error, IndexError, ValueError) as error:
        raise LinkError(f"expected a whole ELF object, got one that ends or points outside itself ({error})") from None


def _read(data: bytes) -> Object:
    ident, kind, machine, _, _, _, start, _, _, _, _, entry, count, names = struct.unpack_from(HEADER, data)
    if ident[:6] != b"\x7fELF\x02\x01" or kind != 1 or machine not in PAGE or entry != struct.calcsize(SECTION_HEADER):
        raise LinkError("expected a relocatable little-endian ELF64 object for x86-64 or AArch64")
    headers = [struct.unpack_from(SECTION_HEADER, data, start + i * entry) for i in range(count)]

    def content(header: tuple[int, ...]) -> bytes:
        if header[1] == SHT_NOBITS:
            return b""
        if header[4] + header[5] > len(data):
            raise ValueError("a section lies beyond the end")
        return data[header[4] : header[4] + header[5]]

    strings = content(headers[names])
    result = Object(machine)
    sections = [Section(_name(strings, h[0]), h[1], h[2], max(1, h[8]), h[5], bytearray(content(h)), h[6], h[7]) for h in headers]
    result.sections = [section for section in sections if _loaded(section)]
    for section in sections:
        if section.type == SHT_SYMTAB:
            strings = bytes(sections[section.link].data)
            for name, _, _, index, value, _ in struct.iter_unpack(SYMBOL, section.data):
                text = _name(strings, name)
                if index in (SHN_ABS, SHN_COMMON):
                    result.symbols.append(Symbol(f"{text} (absolute or common)", None, value))
                else:
                    result.symbols.append(Symbol(text, None if index == SHN_UNDEF else sections[index], value))
    for section in sections:
        if section.type == SHT_RELA and any(sections[section.info] is kept for kept in result.sections):
            for offset, info, addend in struct.iter_unpack(RELA, section.data):
                symbol = result.symbols[info >> 32]
                result.relocations.append(Relocation(sections[section.info], offset, info & 0xFFFFFFFF, symbol, addend))
    return result


def _name(strings: bytes, offset: int) -> str:
    return strings[offset : strings.index(b"\0", offset)].decode()


def _loaded(section: Section) -> bool:
    if not section.flags & SHF_ALLOC or section.type == SHT_NOTE or section.name.startswith(".eh_frame"):
        return False
    if section.flags & SHF_TLS or section.type in CONSTRUCTORS:
        raise LinkError(f"expected neither thread-local storage nor constructors, got section {section.name}")
    return True


def link(data: bytes, *, exports: Sequence[str], externals: Iterable[str] = (), needed: Sequence[str] = ("libc.so.6",)) -> bytes:
    """A shared object (ET_DYN) with the functions `exports`, out of the relocatable object `data`.

    `externals` are the undefined symbols that may remain; the loader finds them in the libraries `needed`, named only when one is used.
    Raises LinkError for a missing export, another undefined symbol, or a relocation that is not position-independent.
    """
    return _Linker(read(data), exports, frozenset(externals), needed).image()


class _Linker:
    def __init__(self, source: Object, exports: Sequence[str], externals: frozenset[str], needed: Sequence[str]) -> None:
        self.source = source
        self.page = PAGE[source.machine]
        defined = {symbol.name: symbol for symbol in source.symbols if symbol.name and symbol.section in source.sections}
        missing = [name for name in exports if name not in defined]
        if missing:
            raise LinkError(f"expected the object to define {', '.join(missing)}, got {', '.join(sorted(defined)) or 'no symbol at all'}")
        used = sorted({r.symbol.name for r in source.relocations if r.symbol.section is None})
        unknown = [name for name in used if name not in externals]
        if unknown:
            raise LinkError(f"expected no undefined symbol but {', '.join(sorted(externals)) or 'none'}, got {', '.join(unknown)}")
        self.exports = [defined[name] for name in exports]
        self.imports = used
        self.needed = tuple(needed) if used else ()
        rule = X86_RULES if source.machine == X86_64 else ARM_RULES
        for r in source.relocations:
            if r.type not in rule:
                raise LinkError(f"expected position-independent code, got relocation type {r.type} in {r.section.name}")
        self.got = {name: i for i, name in enumerate(used)}
        for r in source.relocations:
            if rule[r.type].through_table and r.symbol.section is not None:
                self.got.setdefault(self._key(r.symbol), len(self.got))
        self.local = {self._key(r.symbol): r.symbol for r in source.relocations if r.symbol.section is not None}
        self.dynamic_relocations: list[tuple[int, int, int]] = []
        self.rules = rule

    @staticmethod
    def _key(symbol: Symbol) -> str:
        """What names a table entry: section symbols have no name of their own."""
        return symbol.name if symbol.section is None else f"{id(symbol.section)}+{symbol.value}"

    def image(self) -> bytes:
        strings = bytearray(b"\0")
        offsets = {}
        for name in (*self.imports, *(symbol.name for symbol in self.exports), *self.needed):
            offsets[name] = len(strings)
            strings += name.encode() + b"\0"
        symbols = 1 + len(self.imports) + len(self.exports)
        absolute = [r for r in self.source.relocations if self.rules[r.type].absolute]
        relocation_bytes = (len(self.got) + len(absolute)) * struct.calcsize(RELA)

        # Read-only: headers, dynamic symbols, then constants.
        at = struct.calcsize(HEADER) + 5 * struct.calcsize(PROGRAM_HEADER)
        hash_at = at
        symbols_at = _up(hash_at + 4 * (2 + 1 + symbols), 8)
        strings_at = symbols_at + symbols * struct.calcsize(SYMBOL)
        rela_at = _up(strings_at + len(strings), 8)
        read_end = self._place(rela_at + relocation_bytes, lambda s: not s.flags & (SHF_WRITE | SHF_EXECINSTR))
        text_at = _up(read_end, self.page)
        self.stubs_at = _up(self._place(text_at, lambda s: bool(s.flags & SHF_EXECINSTR)), STUB_BYTES)
        text_end = self.stubs_at + STUB_BYTES * len(self.imports)
        data_at = _up(text_end, self.page)
        entries = len(self.needed) + 10
        self.got_at = data_at + 16 * entries
        got_end = self.got_at + 8 * len(self.got)
        file_end = self._place(got_end, lambda s: bool(s.flags & SHF_WRITE) and s.type != SHT_NOBITS)
        memory_end = self._place(file_end, lambda s: bool(s.flags & SHF_WRITE) and s.type == SHT_NOBITS)

        for relocation in self.source.relocations:
            self._relocate(relocation)
        for name, slot in self.got.items():
            where = self.got_at + 8 * slot
            if name in self.local:
                self.dynamic_relocations.append((where, RELATIVE[self.source.machine], self._address(self.local[name])))
            else:
                info = (1 + self.imports.index(name)) << 32 | GLOB_DAT[self.source.machine]
                self.dynamic_relocations.append((where, info, 0))
        out = bytearray(file_end)
        self._header(out, read_end, text_at, text_end, data_at, file_end, memory_end, entries)
        chains = [0] * symbols
        for i in range(1 + len(self.imports), symbols - 1):
            chains[i] = i + 1
        first = 1 + len(self.imports) if self.exports else 0
        struct.pack_into(f"<{3 + symbols}I", out, hash_at, 1, symbols, first, *chains)
        for i, name in enumerate(self.imports, 1):
            struct.pack_into(SYMBOL, out, symbols_at + i * struct.calcsize(SYMBOL), offsets[name], 0x12, 0, SHN_UNDEF, 0, 0)
        for i, symbol in enumerate(self.exports, 1 + len(self.imports)):
            # Any index but the reserved ones says "defined": there is no section table.
            struct.pack_into(
                SYMBOL, out, symbols_at + i * struct.calcsize(SYMBOL), offsets[symbol.name], 0x12, 0, 1, self._address(symbol), 0
            )
        out[strings_at : strings_at + len(strings)] = strings
        for i, (where, info, addend) in enumerate(self.dynamic_relocations):
            struct.pack_into(RELA, out, rela_at + i * struct.calcsize(RELA), where, info, addend)
        for section in self.source.sections:
            if section.type != SHT_NOBITS:
                out[section.address : section.address + section.size] = section.data
        for i, name in enumerate(self.imports):
            at = self.stubs_at + i * STUB_BYTES
            out[at : at + STUB_BYTES] = _stub(self.source.machine, at, self.got_at + 8 * self.got[name])
        tags = [
            *((1, offsets[name]) for name in self.needed), (4, hash_at), (5, strings_at), (6, symbols_at), (10, len(strings)),
            (11, struct.calcsize(SYMBOL)), (7, rela_at), (8, relocation_bytes), (9, struct.calcsize(RELA)), (30, 8), (0, 0),
        ]  # fmt: skip
        for i, (tag, value) in enumerate(tags):
            struct.pack_into("<QQ", out, data_at + 16 * i, tag, value)
        return bytes(out)

    def _place(self, at: int, wanted: Callable[[Section], bool]) -> int:
        for section in self.source.sections:
            if wanted(section):
                section.address = _up(at, section.align)
                at = section.address + section.size
        return at

    def _header(self, out: bytearray, read_end: int, text: int, text_end: int, data: int, file_end: int, end: int, entries: int) -> None:
        ident = b"\x7fELF\x02\x01\x01" + bytes(9)
        size = struct.calcsize(HEADER)
        struct.pack_into(
            HEADER, out, 0, ident, 3, self.source.machine, 1, 0, size, 0, 0, size, struct.calcsize(PROGRAM_HEADER), 5, 64, 0, 0
        )
        segments = [
            (1, 4, 0, read_end, read_end, self.page),
            (1, 5, text, text_end - text, text_end - text, self.page),
            (1, 6, data, file_end - data, end - data, self.page),
            (2, 6, data, 16 * entries, 16 * entries, 8),
            (0x6474E551, 6, 0, 0, 0, 16),
        ]
        for i, (kind, flags, at, in_file, in_memory, align) in enumerate(segments):
            where = size + i * struct.calcsize(PROGRAM_HEADER)
            struct.pack_into(PROGRAM_HEADER, out, where, kind, flags, at, at, at, in_file, in_memory, align)

    def _address(self, symbol: Symbol) -> int:
        if symbol.section is None:
            return self.stubs_at + STUB_BYTES * self.imports.index(symbol.name)
        if symbol.section.address < 0:
            raise LinkError(f"expected symbols of loaded sections, got {symbol.name or 'one'} of {symbol.section.name}")
        return symbol.section.address + symbol.value

    def _relocate(self, r: Relocation) -> None:
        rule = self.rules[r.type]
        place = r.section.address + r.offset
        if r.offset + rule.bytes > len(r.section.data):
            raise LinkError(f"expected a relocation inside {r.section.name}, got offset {r.offset}")
        if rule.absolute:
            if r.symbol.section is None or not r.section.flags & SHF_WRITE:
                raise LinkError(f"expected no address of {r.symbol.name or 'a section'} in {r.section.name}: it would be a text relocation")
            self.dynamic_relocations.append((place, RELATIVE[self.source.machine], self._address(r.symbol) + r.addend))
            return
        if r.symbol.section is None and not (rule.through_table or rule.call):
            raise LinkError(f"expected a call or a table entry for {r.symbol.name}, got relocation type {r.type}")
        target = self.got_at + 8 * self.got[self._key(r.symbol)] if rule.through_table else self._address(r.symbol)
        rule.apply(r.section.data, r.offset, target + r.addend, place)


@dataclass(frozen=True, slots=True)
class Rule:
    """What a relocation type does: `apply(data, offset, target, place)` writes `bytes` bytes at `offset`."""

    bytes: int
    apply: Callable[[bytearray, int, int, int], None]
    call: bool = False
    through_table: bool = False
    absolute: bool = False


def _up(value: int, align: int) -> int:
    return -(-value // align) * align


def _fits(value: int, bits: int) -> int:
    if not -(1 << bits - 1) <= value < 1 << bits - 1:
        raise LinkError(f"expected a distance of {bits} bits, got {value:#x}: the object is too large for the small code model")
    return value


def _relative32(data: bytearray, offset: int, target: int, place: int) -> None:
    struct.pack_into("<i", data, offset, _fits(target - place, 32))


def _relative64(data: bytearray, offset: int, target: int, place: int) -> None:
    struct.pack_into("<q", data, offset, target - place)


def _nothing(data: bytearray, offset: int, target: int, place: int) -> None:
    """Absolute words are written by the loader."""


def _patch(data: bytearray, offset: int, mask: int, bits: int) -> None:
    (word,) = struct.unpack_from("<I", data, offset)
    struct.pack_into("<I", data, offset, word & ~mask & 0xFFFFFFFF | bits & mask)


def _branch26(data: bytearray, offset: int, target: int, place: int) -> None:
    _patch(data, offset, 0x03FFFFFF, _fits(target - place, 28) >> 2)


def _branch19(data: bytearray, offset: int, target: int, place: int) -> None:
    _patch(data, offset, 0x00FFFFE0, _fits(target - place, 21) >> 2 << 5)


def _split21(distance: int) -> int:
    return (distance & 3) << 29 | (distance >> 2 & 0x7FFFF) << 5


def _address21(data: bytearray, offset: int, target: int, place: int) -> None:
    _patch(data, offset, 0x60FFFFE0, _split21(_fits(target - place, 21)))


def _page21(data: bytearray, offset: int, target: int, place: int) -> None:
    _patch(data, offset, 0x60FFFFE0, _split21(_fits((target >> 12) - (place >> 12), 21)))


def _low12(shift: int) -> Callable[[bytearray, int, int, int], None]:
    """The low 12 bits of an address, as the immediate of an add (shift 0) or of a load of 2^shift bytes."""

    def apply(data: bytearray, offset: int, target: int, place: int) -> None:
        if target & ((1 << shift) - 1):
            raise LinkError(f"expected an address aligned to {1 << shift}, got {target:#x}")
        _patch(data, offset, 0x003FFC00, (target & 0xFFF) >> shift << 10)

    return apply


def _stub(machine: int, at: int, slot: int) -> bytes:
    if machine == X86_64:
        return (b"\xff\x25" + struct.pack("<i", _fits(slot - at - 6, 32))).ljust(STUB_BYTES, b"\xcc")  # jmp *slot(%rip)
    code = bytearray(struct.pack("<4I", 0x90000010, 0xF9400211, 0xD61F0220, 0xD503201F))  # adrp x16; ldr x17, [x16]; br x17; nop
    _page21(code, 0, slot, at)
    _low12(3)(code, 4, slot, at)
    return bytes(code)


X86_RULES = {
    1: Rule(8, _nothing, absolute=True),  # R_X86_64_64
    2: Rule(4, _relative32),  # PC32
    4: Rule(4, _relative32, call=True),  # PLT32
    9: Rule(4, _relative32, through_table=True),  # GOTPCREL
    24: Rule(8, _relative64),  # PC64
    41: Rule(4, _relative32, through_table=True),  # GOTPCRELX
    42: Rule(4, _relative32, through_table=True),  # REX_GOTPCRELX
}

ARM_RULES = {
    257: Rule(8, _nothing, absolute=True),  # R_AARCH64_ABS64
    260: Rule(8, _relative64),  # PREL64
    261: Rule(4, _relative32),  # PREL32
    274: Rule(4, _address21),  # ADR_PREL_LO21
    275: Rule(4, _page21),  # ADR_PREL_PG_HI21
    277: Rule(4, _low12(0)),  # ADD_ABS_LO12_NC
    278: Rule(4, _low12(0)),  # LDST8_ABS_LO12_NC
    280: Rule(4, _branch19),  # CONDBR19
    282: Rule(4, _branch26, call=True),  # JUMP26
    283: Rule(4, _branch26, call=True),  # CALL26
    284: Rule(4, _low12(1)),  # LDST16_ABS_LO12_NC
    285: Rule(4, _low12(2)),  # LDST32_ABS_LO12_NC
    286: Rule(4, _low12(3)),  # LDST64_ABS_LO12_NC
    299: Rule(4, _low12(4)),  # LDST128_ABS_LO12_NC
    311: Rule(4, _page21, through_table=True),  # ADR_GOT_PAGE
    312: Rule(4, _low12(3), through_table=True),  # LD64_GOT_LO12_NC
}
