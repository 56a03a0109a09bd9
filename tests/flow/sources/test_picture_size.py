from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flow.sources.picture_size import picture_size


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
@pytest.mark.parametrize("size", [(1, 1), (640, 3), (17, 500)])
def test_reads_the_header(tmp_path: Path, suffix: str, size: tuple[int, int]) -> None:
    path = tmp_path / f"a{suffix}"
    cv2.imwrite(str(path), np.zeros((size[1], size[0], 3), np.uint8))
    assert picture_size(path) == size


def test_progressive_jpeg_behind_long_segments(tmp_path: Path) -> None:
    _, data = cv2.imencode(".jpg", np.zeros((20, 30, 3), np.uint8), [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])
    body = data.tobytes()
    comment = b"\xff\xfe" + (60_000).to_bytes(2) + bytes(59_998)
    path = tmp_path / "a.jpg"
    path.write_bytes(body[:2] + comment * 3 + b"\xff" + body[2:])
    assert picture_size(path) == (30, 20)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(head=st.sampled_from([b"", b"\xff\xd8", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"]), rest=st.binary(max_size=200))
def test_whatever_comes_it_answers(tmp_path: Path, head: bytes, rest: bytes) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(head + rest)
    size = picture_size(path)
    assert size is None or all(side >= 0 for side in size)
