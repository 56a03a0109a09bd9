from __future__ import annotations

from manifests.labels import COCO80


def test_coco80() -> None:
    assert len(COCO80) == len(set(COCO80)) == 80
    assert [COCO80.index(name) for name in ("person", "car", "cat", "dog", "chair", "tv", "toothbrush")] == [0, 2, 15, 16, 56, 62, 79]
