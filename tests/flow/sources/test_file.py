from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from flow.sources import SourceError, open_reader, probe


def read_all(uri: object, **options: object):
    reader = open_reader(str(uri), options)
    pictures = []
    while (picture := reader.read()) is not None:
        pictures.append(picture)
    reader.close()
    return pictures, reader


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv", "clip.avi", "clip.mov", "clip.ts"])
def test_reads_every_picture_in_its_own_format(tmp_path: Path, video, name: str) -> None:
    path = video(tmp_path / name, frames=9, codec="mpeg4" if name.endswith("avi") else "libx264")
    seen = probe(str(path))
    assert (seen.spec.width, seen.spec.height, seen.spec.format, seen.fps, seen.live) == (64, 48, "yuv420p", 25.0, False)
    pictures, reader = read_all(path)
    assert len(pictures) == 9
    assert reader.corrupt == 0
    assert all(tuple(plane.shape for plane in picture.planes) == picture.spec.planes for picture in pictures)
    assert [round((picture.pts_ns - pictures[0].pts_ns) / 1e6) for picture in pictures] == [40 * index for index in range(9)]
    assert all(picture.time_ns is None for picture in pictures)


def test_planes_are_views_of_what_the_decoder_made(tmp_path: Path, video) -> None:
    import av

    path = video(tmp_path / "a.mp4", size=(50, 38))  # rows padded by the decoder, chroma of odd size
    with av.open(path) as container:
        frames = [frame.to_ndarray() for frame in container.decode(video=0)]
    pictures, _ = read_all(path)
    for picture, expected in zip(pictures, frames, strict=True):
        y, u, v = picture.planes
        assert not y.flags.writeable
        assert not y.flags.owndata
        assert y.strides[0] > y.shape[1]
        assert np.array_equal(np.concatenate([y.ravel(), u.ravel(), v.ravel()]), expected.ravel())


def test_threads_change_nothing_but_speed(tmp_path: Path, video) -> None:
    path = video(tmp_path / "a.mp4", frames=20)
    one, _ = read_all(path, threads=1)
    two, _ = read_all(path, threads=2)
    assert [picture.pts_ns for picture in one] == [picture.pts_ns for picture in two]
    assert all(np.array_equal(a.planes[0], b.planes[0]) for a, b in zip(one, two, strict=True))


def test_uri_forms_name_the_same_file(tmp_path: Path, video) -> None:
    path = video(tmp_path / "with space.mp4")
    for uri in (str(path), f"file:{path}", path.as_uri()):
        assert probe(uri).frames == 12


def test_a_gif_is_bgra(tmp_path: Path, video) -> None:
    path = video(tmp_path / "a.gif", codec="gif", pix="rgb8", frames=5)
    pictures, _ = read_all(path)
    assert {picture.spec.format for picture in pictures} == {"bgra"}
    assert len(pictures) == 5


def test_rotation_is_clockwise_to_upright(tmp_path: Path, video) -> None:
    for degrees in (90, 180, 270):
        spec = probe(str(video(tmp_path / f"{degrees}.mp4", rotation=-degrees))).spec
        assert spec.rotation == degrees
        assert spec.upright == ((48, 64) if degrees != 180 else (64, 48))


def test_a_bottom_up_picture_comes_upright(tmp_path: Path) -> None:
    """Uncompressed RGB in an AVI is stored bottom row first."""
    width, height = 8, 4
    rows = np.arange(height, dtype=np.uint8)[:, None, None] * 50 + np.zeros((height, width, 3), np.uint8)
    path = tmp_path / "a.bmp.avi"
    path.write_bytes(_raw_avi(rows))
    pictures, _ = read_all(path)
    assert pictures[0].spec.format == "bgr24"
    assert np.array_equal(pictures[0].planes[0], rows)


def test_a_size_that_changes_midway_is_told_with_each_picture(tmp_path: Path, video) -> None:
    small = video(tmp_path / "a.h264", frames=5, size=(64, 48), format="h264")
    large = video(tmp_path / "b.h264", frames=4, size=(96, 80), format="h264")
    both = tmp_path / "both.h264"
    both.write_bytes(small.read_bytes() + large.read_bytes())
    pictures, _ = read_all(both)
    assert [(picture.spec.width, picture.spec.height) for picture in pictures] == [(64, 48)] * 5 + [(96, 80)] * 4
    assert all(picture.planes[0].shape == (picture.spec.height, picture.spec.width) for picture in pictures)


def test_damaged_pictures_are_skipped_and_counted(tmp_path: Path, video) -> None:
    path = video(tmp_path / "a.avi", codec="mjpeg", pix="yuvj420p", frames=10)
    data = bytearray(path.read_bytes())
    starts = [index for index in range(len(data)) if data[index : index + 3] == b"\xff\xd8\xff"]
    data[starts[4] : starts[5] - 8] = bytes(starts[5] - 8 - starts[4])
    path.write_bytes(data)
    pictures, reader = read_all(path)
    assert len(pictures) == 9
    assert reader.corrupt == 1


def test_a_file_cut_off_gives_what_is_whole(tmp_path: Path, video) -> None:
    path = video(tmp_path / "a.mp4", frames=40, size=(160, 120), options={"movflags": "faststart"}, codec_options={"crf": "1"})
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 6 // 10])
    pictures, _ = read_all(path)
    assert 0 < len(pictures) < 40


def _text(path: Path) -> None:
    path.write_text("this is no video\n" * 100)


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _noise(path: Path) -> None:
    path.write_bytes(np.random.default_rng(1).bytes(20_000))


def _playlist(path: Path) -> None:
    path.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n/etc/passwd\n#EXT-X-ENDLIST\n")


def _concat(path: Path) -> None:
    path.write_text("ffconcat version 1.0\nfile '/etc/passwd'\n")


@pytest.mark.parametrize("make", [_text, _empty, _noise, _playlist, _concat])
@pytest.mark.parametrize("name", ["a.mp4", "a.m3u8"])
def test_no_video_is_an_error_that_names_it(tmp_path: Path, make, name: str, capfd) -> None:
    path = tmp_path / name
    make(path)
    with pytest.raises(SourceError, match=r"expected .* got"):
        probe(str(path))
    assert capfd.readouterr().err == ""


def test_a_file_whose_index_is_missing_is_an_error(tmp_path: Path, video) -> None:
    path = video(tmp_path / "a.mp4")
    path.write_bytes(path.read_bytes()[:-600])
    with pytest.raises(SourceError, match="expected a video"):
        probe(str(path))


def test_sound_alone_is_no_video(tmp_path: Path) -> None:
    import av

    path = tmp_path / "a.wav"
    with av.open(path, "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.int16), "s16", "mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(SourceError, match="with audio only"):
        probe(str(path))


def test_a_missing_file_is_named_with_the_nearest(tmp_path: Path, video) -> None:
    video(tmp_path / "kitchen.mp4")
    with pytest.raises(SourceError, match=r"did you mean .*kitchen\.mp4"):
        probe(str(tmp_path / "kitchn.mp4"))


def test_a_pipe_is_refused_rather_than_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.mp4")
    with pytest.raises(SourceError, match="regular file"):
        probe(str(tmp_path / "a.mp4"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_without_permission_is_an_error(tmp_path: Path, video) -> None:
    path = video(tmp_path / "a.mp4")
    path.chmod(0)
    with pytest.raises(SourceError, match="permission"):
        probe(str(path))


def test_reading_and_closing_leaves_no_file_open(tmp_path: Path, video, descriptors) -> None:
    path = video(tmp_path / "a.mp4")
    read_all(path)
    before = descriptors()
    for _ in range(5):
        read_all(path)
        probe(str(path))
    assert descriptors() <= before


def test_close_ends_reading(tmp_path: Path, video) -> None:
    reader = open_reader(str(video(tmp_path / "a.mp4")))
    assert reader.read() is not None
    reader.close()
    reader.close()
    assert reader.read() is None


def _raw_avi(pixels: np.ndarray) -> bytes:
    import struct

    height, width, _ = pixels.shape
    data = pixels[::-1].tobytes()

    def chunk(tag: bytes, body: bytes) -> bytes:
        return tag + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)

    header = struct.pack("<14I", 40_000, 0, 0, 0x10, 1, 0, 1, len(data), width, height, 0, 0, 0, 0)
    stream = b"vidsDIB " + struct.pack("<IHHIIIIIIIIhhhh", 0, 0, 0, 0, 1, 25, 0, 1, len(data), 0, 0, 0, 0, width, height)
    bitmap = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, len(data), 0, 0, 0, 0)
    streams = chunk(b"LIST", b"strl" + chunk(b"strh", stream) + chunk(b"strf", bitmap))
    body = b"AVI " + chunk(b"LIST", b"hdrl" + chunk(b"avih", header) + streams) + chunk(b"LIST", b"movi" + chunk(b"00db", data))
    return chunk(b"RIFF", body)
