from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from flow.cli.latest import TAIL, last_row, told


def test_the_last_whole_row_is_read(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    assert last_row(file) is None
    file.write_text('{"seq":0}\n{"seq":1}\n{"se')
    assert last_row(file) == {"seq": 1}


def test_a_long_file_is_read_from_its_end(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps({"seq": seq, "pad": "x" * 100}) + "\n" for seq in range(TAIL // 50)))
    row = last_row(file)
    assert row is not None
    assert row["seq"] == TAIL // 50 - 1


def test_a_row_longer_than_the_tail_is_left_out(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps({"pad": "x" * TAIL}) + "\n")
    assert last_row(file) is None


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (None, "-"),
        ({"detections": []}, "nothing seen"),
        ({"detections": [{"box": [0, 0, 1, 1], "score": 0.9123, "label": "cat", "class_id": 0, "track": 3}]}, "cat #3 0.91"),
        ({"points": [{"point": [12.4, 7.6], "score": 0.5}]}, "(12, 8) 0.50"),
        ({"event": [{"event": "in", "value": 1.0, "point": [3.0, 4.0], "track": 2}]}, "in #2 (3, 4)"),
        ({"classes": [{"label": f"l{n}", "score": 0.5} for n in range(6)]}, "l0 0.50, l1 0.50, l2 0.50, l3 0.50"),
    ],
)
def test_a_result_is_told_in_few_words(row: dict[str, Any] | None, said: str) -> None:
    assert told(row) == said
