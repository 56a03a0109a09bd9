from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from flow.sources import SourceError, open_reader, probe


def save(path: Path, size: tuple[int, int] = (40, 30), value: int = 80, orientation: int | None = None) -> Path:
    width, height = size
    pixels = np.full((height, width, 3), value, np.uint8)
    pixels[: height // 2, : width // 2] = (0, 0, 250)  # a red top left corner tells how it lies
    done, data = cv2.imencode(path.suffix, pixels)
    assert done
    body = data.tobytes()
    if orientation is not None:  # one EXIF tag: 0x0112, a short
        tiff = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0" + bytes([orientation, 0, 0, 0]) + b"\0\0\0\0"
        exif = b"Exif\0\0" + tiff
        body = body[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2) + exif + body[2:]
    path.write_bytes(body)
    return path


def read_all(uri: object, **options: object):
    reader = open_reader(str(uri), options)
    pictures = []
    while (picture := reader.read()) is not None:
        pictures.append(picture)
    return pictures, reader


def test_a_folder_in_the_order_of_its_names(tmp_path: Path) -> None:
    for index, suffix in enumerate([".png", ".jpg", ".bmp", ".webp", ".tiff", ".ppm", ".JPEG"]):
        save(tmp_path / f"{index}{suffix}", value=20 + 10 * index)
    (tmp_path / "notes.txt").write_text("no picture")
    save(tmp_path / ".hidden.png")
    seen = probe(str(tmp_path))
    assert (seen.spec.width, seen.spec.height, seen.spec.format, seen.fps, seen.live, seen.frames) == (40, 30, "bgr24", 25.0, False, 7)
    pictures, _ = read_all(tmp_path)
    assert [int(picture.planes[0][25, 35, 0]) // 10 for picture in pictures] == [2, 3, 4, 5, 6, 7, 8]
    assert [picture.pts_ns for picture in pictures] == [index * 40_000_000 for index in range(7)]


def test_a_glob_and_one_picture(tmp_path: Path) -> None:
    for name in ("a1.png", "a2.png", "b1.png"):
        save(tmp_path / name)
    assert probe(f"{tmp_path}/a*.png").frames == 2
    assert probe(f"file:{tmp_path}/?1.png").frames == 2
    assert probe(str(tmp_path / "b1.png")).frames == 1
    with pytest.raises(SourceError, match="expected picture files"):
        probe(f"{tmp_path}/c*.png")


def test_fps_of_the_stream_paces_it(tmp_path: Path) -> None:
    save(tmp_path / "a.png")
    save(tmp_path / "b.png")
    assert probe(str(tmp_path), {"fps": 2.0}).fps == 2.0
    assert [picture.pts_ns for picture in read_all(tmp_path, fps=2.0)[0]] == [0, 500_000_000]


def test_sizes_may_differ_and_the_largest_is_told(tmp_path: Path) -> None:
    save(tmp_path / "a.png", (40, 30))
    save(tmp_path / "b.jpg", (64, 48))
    save(tmp_path / "c.bmp", (8, 90))
    assert probe(str(tmp_path)).spec.upright == (64, 48)
    assert [picture.spec.upright for picture in read_all(tmp_path)[0]] == [(40, 30), (64, 48), (8, 90)]


@pytest.mark.parametrize(("orientation", "corner"), [(1, (0, 0)), (3, (1, 1)), (6, (0, 1)), (8, (1, 0))])
def test_exif_turns_the_picture_upright(tmp_path: Path, orientation: int, corner: tuple[int, int]) -> None:
    save(tmp_path / "a.jpg", (40, 24), orientation=orientation)
    spec = probe(str(tmp_path)).spec
    assert (spec.upright, spec.rotation) == ((24, 40) if orientation in (6, 8) else (40, 24), 0)
    (picture,), _ = read_all(tmp_path)
    assert picture.spec == spec
    height, width, _ = picture.planes[0].shape
    row, column = corner
    assert picture.planes[0][2 + row * (height - 5), 2 + column * (width - 5), 2] > 200


def test_broken_pictures_among_good_ones_are_counted(tmp_path: Path, capfd) -> None:
    for name in ("a.png", "c.png", "e.jpg"):
        save(tmp_path / name)
    (tmp_path / "b.png").write_text("no picture")
    whole = save(tmp_path / "d.jpg", (200, 200)).read_bytes()
    (tmp_path / "d.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "f.jpg").write_bytes(b"")
    assert probe(str(tmp_path)).spec.upright == (40, 30)
    pictures, reader = read_all(tmp_path)
    assert (len(pictures), reader.corrupt) == (3, 3)
    assert [picture.pts_ns for picture in pictures] == [0, 40_000_000, 80_000_000]
    assert capfd.readouterr().err == ""


def test_nothing_but_broken_pictures_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("no picture")
    with pytest.raises(SourceError, match="got none among 1 files"):
        probe(str(tmp_path))
    with pytest.raises(SourceError, match="got none among 1 files"):
        read_all(tmp_path)


def test_an_empty_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="got none among 0 entries"):
        probe(str(tmp_path))


def test_a_header_that_asks_for_gigabytes_is_not_decoded(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png")
    data = bytearray(path.read_bytes())
    data[16:24] = (60_000).to_bytes(4) * 2
    path.write_bytes(data)
    with pytest.raises(SourceError, match="got none among"):
        probe(str(tmp_path))
