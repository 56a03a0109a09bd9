import numpy as np
import pytest
from pydantic import ValidationError

from devices.spec import ImageSpec, ManySpec, RecordsSpec
from ops.contract import OperatorError, SpecError
from ops.image.crop import Crop
from ops.testing import run
from ops.value import apply


def crop(**config):
    return Crop(Crop.Config(**config))


def test_fixed_rectangle_is_a_view_of_the_picture(ramp):
    image = ramp(100, 80)
    operator = crop(rect=(10, 20, 50, 60), output="rgb24")
    got = run(operator, image=image)
    assert got.spec == operator.infer({"image": image.spec})["image"] == ImageSpec(40, 40, "rgb24")
    assert np.array_equal(got.planes[0], image.planes[0][20:60, 10:50])
    assert np.allclose(apply(got.transform, np.array([1.0, 2.0])), [11, 22])


def test_fractions(ramp):
    image = ramp(100, 80)
    got = run(crop(rect=(0.5, 0.25, 1, 1), unit="fractions", output="rgb24"), image=image)
    assert np.array_equal(got.planes[0], image.planes[0][20:, 50:])


def test_rectangle_counts_in_the_upright_picture(ramp):
    image = ramp(100, 80, rotation=90)
    got = run(crop(rect=(0, 0, 30, 10), output="rgb24"), image=image)
    assert np.array_equal(got.planes[0], np.rot90(ramp(100, 80).planes[0], -1)[:10, :30])


def test_rectangle_is_cut_at_the_edge(ramp):
    got = run(crop(rect=(90, 70, 200, 200), output="rgb24"), image=ramp(100, 80))
    assert got.spec == ImageSpec(10, 10, "rgb24")


def test_rectangle_outside_is_an_error(ramp):
    operator = crop(rect=(90, 70, 95, 75))
    with pytest.raises(OperatorError, match="expected a rectangle inside the picture of 40x30"):
        run(operator, image=ramp(40, 30))
    with pytest.raises(SpecError, match="expected a picture that holds `rect`"):
        operator.infer({"image": ImageSpec(40, 30, "rgb24")})


def test_one_crop_for_each_detection(ramp, detections):
    image = ramp(100, 80)
    found = detections(((10, 20, 30, 40), 0.9, 0), ((50, 50, 50, 60), 0.8, 0), ((60, 10, 100, 50), 0.7, 0))
    operator = crop(width=20, height=20, output="rgb24", capacity=5)
    assert operator.infer({"image": image.spec, "detections": RecordsSpec("detections", 64)}) == {
        "image": ManySpec(ImageSpec(20, 20, "rgb24"), 5)
    }
    got = run(operator, image=image, detections=found)
    assert got.parents == [0, 2]
    assert np.array_equal(got.items[0].planes[0], image.planes[0][20:40, 10:30])
    assert np.allclose(apply(got.items[1].transform, np.array([10.0, 10.0])), [80, 30])


def test_items_keep_memory_of_their_own(ramp, detections):
    found = detections(((0, 0, 10, 10), 0.9, 0), ((80, 60, 100, 80), 0.8, 0))
    got = run(crop(width=8, height=8), image=ramp(100, 80), detections=found)
    assert not np.shares_memory(got.items[0].planes[0], got.items[1].planes[0])
    assert got.items[0].planes[0].mean() < got.items[1].planes[0].mean()


def test_capacity_keeps_the_best(ramp, detections):
    found = detections(*(((i, i, i + 10, i + 10), score, 0) for i, score in enumerate([0.2, 0.9, 0.5, 0.8])))
    assert run(crop(width=8, height=8, capacity=2), image=ramp(100, 80), detections=found).parents == [1, 3]


def test_margin_and_square(ramp, detections):
    found = detections(((40, 30, 60, 40), 0.9, 0))
    got = run(crop(width=8, height=8, margin=0.25, square=True), image=ramp(100, 80), detections=found)
    assert np.allclose(apply(got.items[0].transform, np.array([[0.0, 0.0], [8.0, 8.0]])), [[35, 20], [65, 50]])


def test_detections_count_in_the_source_frame(ramp, detections):
    """A picture that is itself a part of the frame: boxes are still those of the frame."""
    image = ramp(100, 80)
    part = run(crop(rect=(50, 40, 100, 80), output="rgb24"), image=image)
    got = run(crop(width=10, height=10, output="rgb24"), image=part, detections=detections(((60, 50, 70, 60), 0.9, 0)))
    assert np.array_equal(got.items[0].planes[0], image.planes[0][50:60, 60:70])


def test_no_detections_give_an_empty_list(ramp, detections):
    assert run(crop(width=8, height=8), image=ramp(20, 20), detections=detections()).items == []


def test_wiring_is_checked():
    image, found = ImageSpec(64, 64, "rgb24"), RecordsSpec("detections", 4)
    with pytest.raises(SpecError, match="connect detections or set `rect`"):
        crop().infer({"image": image})
    with pytest.raises(SpecError, match="remove one of the two"):
        crop(rect=(0, 0, 4, 4)).infer({"image": image, "detections": found})
    with pytest.raises(SpecError, match="expected width and height in the config"):
        crop().infer({"image": image, "detections": found})


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"rect": (4, 0, 4, 9)}, "0 <= left < right"),
        ({"rect": (0, 0, 2, 1), "unit": "fractions"}, "fractions up to 1"),
        ({"width": 4}, "both"),
    ],
)
def test_wrong_config_is_refused(config, message):
    with pytest.raises(ValidationError, match=message):
        Crop.Config(**config)
