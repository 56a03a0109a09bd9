from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ops.track import kalman

TRACK = np.dtype(kalman.FIELDS)


class Matrices:
    """The same filter for one track as the papers write it: 8 states, 8 x 8 covariance."""

    def __init__(self, z: np.ndarray) -> None:
        self.mean = np.concatenate([z, np.zeros(4)])
        self.cov = np.diag(np.square([z[3] / 10, z[3] / 10, 1e-2, z[3] / 10, z[3] / 16, z[3] / 16, 1e-5, z[3] / 16]))
        self.step = np.eye(8) + np.eye(8, k=4)
        self.look = np.eye(4, 8)

    def predict(self) -> None:
        h = self.mean[3]
        noise = np.diag(np.square([h / 20, h / 20, 1e-2, h / 20, h / 160, h / 160, 1e-5, h / 160]))
        self.mean = self.step @ self.mean
        self.cov = self.step @ self.cov @ self.step.T + noise

    def update(self, z: np.ndarray) -> None:
        h = self.mean[3]
        spread = self.look @ self.cov @ self.look.T + np.diag(np.square([h / 20, h / 20, 1e-1, h / 20]))
        gain = self.cov @ self.look.T @ np.linalg.inv(spread)
        self.mean = self.mean + gain @ (z - self.look @ self.mean)
        self.cov = self.cov - gain @ spread @ gain.T


PLACE = st.tuples(st.floats(0, 500), st.floats(0, 500), st.floats(0.2, 3), st.floats(20, 200)).map(np.array)


@given(st.lists(st.tuples(PLACE, PLACE), min_size=1, max_size=8), st.lists(st.booleans(), min_size=8, max_size=8))
def test_the_blocks_are_the_matrices(seen: list[tuple[np.ndarray, np.ndarray]], looks: list[bool]) -> None:
    tracks = np.empty(2, TRACK)
    kalman.start(tracks, np.array(seen[0]))
    plain = [Matrices(z) for z in seen[0]]
    for both, look in zip(seen[1:], looks, strict=False):
        kalman.predict(tracks)
        if look:
            tracks = kalman.update(tracks, np.array(both))
        for one, z in zip(plain, both, strict=True):
            one.predict()
            if look:
                one.update(z)
    for track, one in zip(tracks, plain, strict=True):
        np.testing.assert_allclose(np.concatenate([track["position"], track["velocity"]]), one.mean, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(np.concatenate([track["pp"], track["vv"]]), np.diag(one.cov), rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(track["pv"], np.diag(one.cov, 4), rtol=1e-6, atol=1e-9)


def test_boxes_and_measurements_are_inverse() -> None:
    box = np.array([(10.0, 20.0, 40.0, 80.0)])
    tracks = np.empty(1, TRACK)
    kalman.start(tracks, kalman.measure(box))
    assert tracks["position"].tolist() == [[25, 50, 0.5, 60]]
    np.testing.assert_allclose(kalman.boxes(tracks), box)


def test_a_box_without_area_can_be_measured() -> None:
    assert np.isfinite(kalman.measure(np.array([(5.0, 5.0, 5.0, 5.0)]))).all()
