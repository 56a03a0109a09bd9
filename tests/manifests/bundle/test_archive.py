"""The container: written in one way, and nothing else is read."""

from __future__ import annotations

import io
import random
import struct
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from manifests.bundle.archive import ALIGN, Archive, write
from manifests.bundle.canonical import BundleError

ENTRIES = {"bundle.json": b"{}", "blobs/b": b"second" * 5, "blobs/a": b"", "blobs/c.bin": bytes(range(256))}


def written(entries: dict[str, bytes], last: str = "") -> bytes:
    target = io.BytesIO()
    write(target, dict(entries), last=last)
    return target.getvalue()


def read(path: Path, content: bytes) -> dict[str, bytes]:
    path.write_bytes(content)
    with Archive(path) as archive:
        return {name: archive.read(name, 1 << 20) for name in archive.entries if archive.sha256(name)}


def test_what_was_written_is_read(tmp_path: Path) -> None:
    found = read(tmp_path / "x.ace", written(ENTRIES))
    assert found == ENTRIES
    assert list(found) == ["bundle.json", "blobs/a", "blobs/b", "blobs/c.bin"]


def test_any_unzip_reads_it(tmp_path: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(written(ENTRIES))) as archive:
        assert archive.testzip() is None
        assert {info.filename: archive.read(info) for info in archive.infolist()} == ENTRIES
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_contents_are_aligned_and_bytes_are_the_same_every_time(tmp_path: Path) -> None:
    (tmp_path / "x.ace").write_bytes(written(ENTRIES))
    assert written(ENTRIES) == written(dict(reversed(ENTRIES.items())))
    with Archive(tmp_path / "x.ace") as archive:
        assert {offset % ALIGN for offset, _, _ in archive.entries.values()} == {0}


def test_every_truncation_and_every_addition_is_refused(tmp_path: Path) -> None:
    whole = written(ENTRIES)
    for end in range(0, len(whole), 3):
        with pytest.raises(BundleError):
            read(tmp_path / "x.ace", whole[:end])
    for more in (b"\0", whole[-22:], whole):
        with pytest.raises(BundleError):
            read(tmp_path / "x.ace", whole + more)
        with pytest.raises(BundleError):
            read(tmp_path / "x.ace", more + whole)


def test_every_flipped_byte_is_refused(tmp_path: Path) -> None:
    """Also in contents, by their CRC-32."""
    whole = written({"bundle.json": b"{}", "blobs/a": b"abc"})
    for at in range(len(whole)):
        with pytest.raises(BundleError):
            read(tmp_path / "x.ace", whole[:at] + bytes([whole[at] ^ 0x41]) + whole[at + 1 :])


@pytest.mark.parametrize("name", ["../a", "/etc/passwd", "a\\b", "a/../b", ".hidden", "a//b", "a\nb", "a" * 200, "caf\u00e9"])
def test_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    entries = {"bundle.json": b"{}", name: b"x"}
    with pytest.raises(BundleError, match="plain characters"):
        written(entries)
    monkeypatch.setattr("manifests.bundle.archive._name", str.encode)
    content = written(entries)
    monkeypatch.undo()
    with pytest.raises(BundleError, match="plain characters"):
        read(tmp_path / "x.ace", content)


@pytest.mark.parametrize("order", [(0, 2, 1), (0, 1, 1), (0, 0)], ids=["out of order", "twice", "the first twice"])
def test_every_name_once_and_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, order: tuple[int, ...]) -> None:
    names = ["bundle.json", "blobs/a", "blobs/b"]
    monkeypatch.setattr("manifests.bundle.archive.sorted", lambda _: [names[place] for place in order[1:]], raising=False)
    content = written({"bundle.json": b"{}", "blobs/a": b"a", "blobs/b": b"b"})
    with pytest.raises(BundleError, match="every name once"):
        read(tmp_path / "x.ace", content)


def test_entries_that_overlap_or_hide_are_refused(tmp_path: Path) -> None:
    """Two names for the same bytes, and a local header that says something else than the directory."""
    whole = bytearray(written({"bundle.json": b"{}", "blobs/a": b"abc", "blobs/b": b"abc"}))
    places = [at for at in range(len(whole) - 4) if whole[at : at + 4] == b"PK\x01\x02"]
    overlap = bytearray(whole)
    overlap[places[2] + 42 : places[2] + 46] = whole[places[1] + 42 : places[1] + 46]
    with pytest.raises(BundleError):
        read(tmp_path / "x.ace", bytes(overlap))
    local = whole.index(b"blobs/a")
    other = bytearray(whole)
    other[local : local + 7] = b"blobs/z"
    with pytest.raises(BundleError, match="header of blobs/a"):
        read(tmp_path / "x.ace", bytes(other))


def test_zip64_and_comments_are_refused(tmp_path: Path) -> None:
    whole = written(ENTRIES)
    with pytest.raises(BundleError):
        read(tmp_path / "x.ace", whole[:-2] + struct.pack("<H", 3) + b"hey")
    with pytest.raises(BundleError):
        read(tmp_path / "x.ace", whole[:-14] + b"\xff\xff" * 2 + whole[-10:])


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 1 << 32))
def test_no_damage_is_read_as_something_else(tmp_path: Path, seed: int) -> None:
    """Bytes changed, moved, doubled or cut out at random: what is still read is what was written."""
    chance = random.Random(seed)
    content = bytearray(written(ENTRIES))
    for _ in range(chance.randint(1, 4)):
        start, end = sorted(chance.randrange(len(content)) for _ in range(2))
        match chance.randrange(4):
            case 0:
                content[start] = chance.randrange(256)
            case 1:
                del content[start : start + chance.randint(1, 40)]
            case 2:
                content[start:start] = content[start : start + min(64, end - start)]
            case _:
                struct.pack_into("<I", content, min(start, len(content) - 4), chance.choice([0, 1, 0xFFFFFFFF, 0x7FFFFFFF, len(content)]))
    try:
        found = read(tmp_path / "x.ace", bytes(content))
    except BundleError:
        return
    assert found == ENTRIES


def test_no_regular_file(tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "pipe")
    for place in (tmp_path / "pipe", tmp_path):
        with pytest.raises((BundleError, OSError)):
            Archive(place)
