import ctypes
import itertools
import platform
import shutil
import struct
import subprocess

import pytest

from devices.kernels.elf import LinkError, link

llvm = pytest.importorskip("llvmlite.binding")
EXTERNALS = frozenset({"memset", "memcpy", "memmove"})

CODE = """
@counter = internal global i64 40
@room = internal global [64 x i64] zeroinitializer
@table = internal global [2 x ptr] [ptr @double, ptr @square]
@primes = internal constant [8 x i64] [i64 2, i64 3, i64 5, i64 7, i64 11, i64 13, i64 17, i64 19]

declare ptr @memset(ptr, i32, i64)

define internal i64 @double(i64 %x) noinline {
  %r = add i64 %x, %x
  ret i64 %r
}
define internal i64 @square(i64 %x) noinline {
  %r = mul i64 %x, %x
  ret i64 %r
}
define i64 @count(i64 %by) {
  %old = load i64, ptr @counter
  %new = add i64 %old, %by
  store i64 %new, ptr @counter
  ret i64 %new
}
define i64 @choose(i64 %which, i64 %x) {
  %slot = getelementptr [2 x ptr], ptr @table, i64 0, i64 %which
  %f = load ptr, ptr %slot
  %r = call i64 %f(i64 %x)
  ret i64 %r
}
define i64 @prime(i64 %i) {
  %p = getelementptr [8 x i64], ptr @primes, i64 0, i64 %i
  %v = load i64, ptr %p
  ret i64 %v
}
define i64 @keep(i64 %i, i64 %v) {
  %p = getelementptr [64 x i64], ptr @room, i64 0, i64 %i
  %old = load i64, ptr %p
  store i64 %v, ptr %p
  ret i64 %old
}
define void @clear(ptr %p, i64 %n) {
  %r = call ptr @memset(ptr %p, i32 7, i64 %n)
  ret void
}
define double @scale(double %x) {
  %r = fmul double %x, 0x400921FB54442D18
  ret double %r
}
"""
EXPORTS = ("count", "choose", "prime", "keep", "clear", "scale")


def emit(code: str, triple: str | None = None) -> bytes:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    if triple is not None:
        llvm.initialize_all_targets()
        llvm.initialize_all_asmprinters()
    triple = triple or llvm.get_process_triple()
    machine = llvm.Target.from_triple(triple).create_target_machine(opt=2, reloc="pic", codemodel="small")
    module = llvm.parse_assembly(f'target triple = "{triple}"\n' + code)
    return bytes(machine.emit_object(module))


def load(path) -> ctypes.CDLL:
    library = ctypes.CDLL(str(path))
    for name in EXPORTS[:4]:
        getattr(library, name).restype = ctypes.c_int64
        getattr(library, name).argtypes = [ctypes.c_int64] * (2 if name in ("choose", "keep") else 1)
    library.clear.argtypes = [ctypes.c_void_p, ctypes.c_int64]
    library.scale.argtypes, library.scale.restype = [ctypes.c_double], ctypes.c_double
    return library


def behaviour(library: ctypes.CDLL) -> list[object]:
    buffer = ctypes.create_string_buffer(8)
    library.clear(ctypes.addressof(buffer), 5)
    return [
        library.count(2), library.count(3), library.choose(0, 21), library.choose(1, 9), [library.prime(i) for i in range(8)],
        [library.keep(63, 5), library.keep(63, 6), library.keep(0, 1)], buffer.raw, library.scale(2.0),
    ]  # fmt: skip


def segments(data: bytes) -> list[tuple[int, ...]]:
    offset, size, count = struct.unpack_from("<Q", data, 32)[0], *struct.unpack_from("<HH", data, 54)
    return [struct.unpack_from("<IIQQQQQQ", data, offset + i * size) for i in range(count)]


@pytest.mark.skipif(platform.machine() not in ("x86_64", "aarch64"), reason="the linker knows x86-64 and AArch64")
def test_linked_code_loads_and_runs(tmp_path):
    path = tmp_path / "linked.so"
    path.write_bytes(link(emit(CODE), exports=EXPORTS, externals=EXTERNALS))
    assert behaviour(load(path)) == [42, 45, 42, 81, [2, 3, 5, 7, 11, 13, 17, 19], [0, 5, 0], b"\7\7\7\7\7\0\0\0", 2.0 * 3.141592653589793]


@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc to compare with")
def test_behaves_like_a_real_linker(tmp_path):
    (tmp_path / "code.o").write_bytes(emit(CODE))
    subprocess.run(["gcc", "-shared", "-o", tmp_path / "gcc.so", tmp_path / "code.o"], check=True)
    (tmp_path / "ours.so").write_bytes(link(emit(CODE), exports=EXPORTS, externals=EXTERNALS))
    assert behaviour(load(tmp_path / "ours.so")) == behaviour(load(tmp_path / "gcc.so"))


def test_no_segment_is_writable_and_executable():
    found = segments(link(emit(CODE), exports=EXPORTS, externals=EXTERNALS))
    loaded = [segment for segment in found if segment[0] == 1]
    assert [flags for _, flags, *_ in loaded] == [4, 5, 6]
    assert all(offset % align == address % align for _, _, offset, address, _, _, _, align in loaded)
    pages = [range(address // align, -(-(address + size) // align)) for _, _, _, address, _, _, size, align in loaded]
    assert all(left.stop <= right.start for left, right in itertools.pairwise(pages))
    assert [flags for kind, flags, *_ in found if kind == 0x6474E551] == [6]


def test_library_is_named_only_when_something_comes_from_it():
    code = "define i64 @one() {\n ret i64 1\n}"
    assert b"libc" not in link(emit(code), exports=("one",))
    assert b"libc.so.6" in link(emit(CODE), exports=EXPORTS, externals=EXTERNALS)


def test_unknown_symbol_is_refused():
    with pytest.raises(LinkError, match="expected no undefined symbol but none, got memset"):
        link(emit(CODE), exports=EXPORTS)


def test_missing_export_is_refused():
    with pytest.raises(LinkError, match=r"expected the object to define gone, got .*choose"):
        link(emit(CODE), exports=("gone",), externals=EXTERNALS)


def test_thread_local_storage_is_refused():
    with pytest.raises(LinkError, match="thread-local"):
        link(emit("@x = thread_local global i64 1\ndefine i64 @f() {\n %v = load i64, ptr @x\n ret i64 %v\n}"), exports=("f",))


@pytest.mark.parametrize("kept", [0, 3, 16, 63, 64, 100, 500])
def test_truncated_object_is_refused(kept):
    with pytest.raises(LinkError, match="ELF"):
        link(emit(CODE)[:kept], exports=EXPORTS, externals=EXTERNALS)


def test_every_truncation_ends_in_a_link_error():
    data = emit(CODE)
    for kept in range(0, len(data) - 1, 7):
        with pytest.raises(LinkError):
            link(data[:kept], exports=EXPORTS, externals=EXTERNALS)


def arm_pairs(data: bytes) -> list[tuple[int, int, int]]:
    """(address, page of adrp + low part of the next instruction, that instruction) of each adrp in the executable segment."""
    _, _, offset, address, _, size, _, _ = next(s for s in segments(data) if s[0] == 1 and s[1] == 5)
    words = struct.unpack_from(f"<{size // 4}I", data, offset)
    found = []
    for i, word in enumerate(words[:-1]):
        if word & 0x9F000000 == 0x90000000:
            distance = (word >> 5 & 0x7FFFF) << 2 | word >> 29 & 3
            distance -= (distance >> 20) << 21
            at = address + 4 * i
            user = next(w for w in words[i + 1 :] if (w >> 5 & 31) == (word & 31))
            shift = 0 if user & 0x7F800000 == 0x11000000 else user >> 30
            found.append((at, ((at >> 12) + distance << 12) + ((user >> 10 & 0xFFF) << shift), user))
    return found


def test_arm_addresses_point_at_their_sections():
    try:
        data = emit(CODE, "aarch64-unknown-linux-gnu")
    except RuntimeError:
        pytest.skip("this llvmlite has no AArch64 target")
    out = link(data, exports=EXPORTS, externals=EXTERNALS)
    read, _, write = [s for s in segments(out) if s[0] == 1]
    assert all(s[7] == 0x10000 for s in (read, write))
    targets = [target for _, target, _ in arm_pairs(out)]
    initial = [struct.unpack_from("<q", out, t)[0] for t in targets if write[3] <= t < write[3] + write[5] and t + 8 <= len(out)]
    assert 40 in initial, "no instruction points at the counter"
    constants = [struct.unpack_from("<q", out, t)[0] for t in targets if t < read[5]]
    assert 2 in constants, "no instruction points at the primes"
    assert any(t >= write[3] + write[5] for t in targets), "no instruction points at zeroed memory"


def test_arm_calls_reach_stubs():
    try:
        data = emit(CODE, "aarch64-unknown-linux-gnu")
    except RuntimeError:
        pytest.skip("this llvmlite has no AArch64 target")
    out = link(data, exports=EXPORTS, externals=EXTERNALS)
    _, _, offset, _, _, size, _, _ = next(s for s in segments(out) if s[0] == 1 and s[1] == 5)
    words = struct.unpack_from(f"<{size // 4}I", out, offset)
    reached = set()
    for i, word in enumerate(words):
        if word >> 26 in (0b000101, 0b100101):  # b, bl
            distance = word & 0x03FFFFFF
            distance -= (distance >> 25) << 26
            reached.add(i + distance)
    assert any(0 <= i < len(words) and words[i] & 0x9F00001F == 0x90000010 for i in reached), "no branch reaches `adrp x16`"
