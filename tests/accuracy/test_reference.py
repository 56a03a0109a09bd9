from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest


def test_hits_and_false_detections(reference: ModuleType) -> None:
    labelled = [(0, 0, 20, 20), (50, 50, 55, 55)]  # the second is smaller than 1 % of the picture
    found = [(0, 0, 20, 18), (50, 50, 55, 56), (80, 80, 90, 90)]
    assert reference.match(found, labelled, (100, 100)) == (1, 1, 1)
    assert reference.match([], labelled, (100, 100)) == (0, 1, 0)
    assert reference.match(found, [], (100, 100)) == (0, 0, 3)
    assert reference.match([(0, 0, 20, 9)], labelled, (100, 100)) == (0, 1, 0)  # met, but not well enough for a hit


def test_same_boxes_pairs_best_with_best(reference: ModuleType) -> None:
    boxes = [(0, 0, 10, 10), (5, 0, 15, 10)]
    assert reference.same_boxes(boxes, boxes[::-1]) == 1
    assert reference.same_boxes(boxes, boxes[:1]) == 0
    assert reference.same_boxes([], []) == 1
    assert reference.same_boxes([(0, 0, 10, 10)], [(0, 0, 10, 5)]) == pytest.approx(0.5)


def test_visits_are_seen_from_end_to_end(reference: ModuleType) -> None:
    present = [*range(95, 205), *range(400, 450)]
    assert reference.visits(present, [(100, 200), (400, 500), (600, 700)], 18) == [True, False, False]


def test_anchors_are_laid_out_cell_by_cell(reference: ModuleType) -> None:
    anchors = reference.palm_anchors()
    assert anchors.shape == (2016, 2)
    assert anchors[[0, 1]].tolist() == [[1 / 48, 1 / 48]] * 2
    assert (np.diff(anchors[1152:1158], axis=0) == 0).all()
