"""Published models through `ace run` on real photos and videos: the reference figures, and box for box against a plain loop."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest

pytestmark = pytest.mark.timeout(600)  # some run a model over a whole video

MANIFESTS = Path(__file__).parent / "manifests"
PERSON, CAT, DOG = 0, 15, 16

Rows = dict[str, list[dict[str, Any]]]


@pytest.fixture(scope="module")
def index(data: Path) -> dict[str, Any]:
    """Entries of INDEX.json by file."""
    return {entry["file"]: entry for entry in json.loads((data / "INDEX.json").read_text())["entries"]}


@pytest.fixture(scope="module")
def ace(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., tuple[Rows, dict[str, Any]]]:
    """Runs `ace run` on a manifest with its models beside it; rows by output, and the report."""

    def run(
        manifest: str, models: Iterable[str], source: Path | str, outputs: Mapping[str, str], *more: str
    ) -> tuple[Rows, dict[str, Any]]:
        folder = tmp_path_factory.mktemp("run")
        shutil.copy(MANIFESTS / manifest, folder)
        for model in models:
            shutil.copy(data / "models" / model, folder)
        command = [str(Path(sys.executable).with_name("ace")), "run", str(folder / manifest), "--report", str(folder / "report.json")]
        command += ["--bind", f"camera={source}", *more]
        for output, file in outputs.items():
            command += ["--out", f"{output}={folder / file}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=540)
        assert done.returncode == 0, done.stderr
        rows = {output: [json.loads(line) for line in (folder / file).read_text().splitlines()] for output, file in outputs.items()}
        return rows, json.loads((folder / "report.json").read_text())

    return run


def boxes(row: Mapping[str, Any], *classes: int) -> np.ndarray:
    found = [one["box"] for one in row["detections"] if not classes or one["class_id"] in classes]
    return np.array(found, float).reshape(-1, 4)


@pytest.fixture(scope="module")
def coco(ace: Callable[..., Any], data: Path) -> Rows:
    rows, _ = ace(
        "detectors.yaml",
        ["yolox_nano.onnx", "FastestDet.onnx"],
        data / "images" / "coco",
        {"yolox.boxes": "y.jsonl", "fastest.boxes": "f.jsonl"},
    )
    return rows


def totals(
    reference: ModuleType, index: Mapping[str, Any], rows: list[dict[str, Any]], names: set[str], ids: set[int], data: Path
) -> tuple[int, int, int]:
    """(hits, labelled, false) over all photos that the figures count."""
    files = sorted(index["images/coco/"]["files"], key=lambda one: Path(one["file"]).name)
    assert len(files) == len(rows)
    total = np.zeros(3, int)
    for photo, row in zip(files, rows, strict=True):
        labelled = [box["xyxy"] for box in photo["boxes"] if box["name"] in names]
        total += reference.match(boxes(row, *ids), labelled, (photo["width"], photo["height"]))
    return int(total[0]), int(total[1]), int(total[2])


@pytest.mark.parametrize(
    ("output", "names", "ids", "hits", "labelled", "false"),
    [
        ("yolox.boxes", {"person"}, {PERSON}, 68, 81, 9),
        ("yolox.boxes", {"cat", "dog"}, {CAT, DOG}, 6, 10, None),
        ("fastest.boxes", {"person"}, {PERSON}, 60, 81, 35),
        ("fastest.boxes", {"cat", "dog"}, {CAT, DOG}, 7, 10, None),
    ],
)
def test_photos(
    coco: Rows,
    reference: ModuleType,
    index: Any,
    data: Path,
    output: str,
    names: set[str],
    ids: set[int],
    hits: int,
    labelled: int,
    false: int | None,
) -> None:
    found = totals(reference, index, coco[output], names, ids, data)
    print(f"{output} {sorted(names)}: {found[0]}/{found[1]} hits, {found[2]} false; reference {hits}/{labelled}, {false} false")
    assert found[1] == labelled
    assert found[0] >= hits - 1
    if false is not None:
        assert found[2] <= false + 1


@pytest.mark.parametrize(
    ("output", "model", "plain"),
    [("yolox.boxes", "yolox_nano", "reference_yolox"), ("fastest.boxes", "FastestDet", "reference_fastestdet")],
)
def test_photos_box_for_box(coco: Rows, reference: ModuleType, data: Path, output: str, model: str, plain: str) -> None:
    """Every box of every class overlaps the plain loop's by at least 0.95."""
    session = reference.session(data / "models" / f"{model}.onnx")
    worst, compared = 1.0, 0
    for photo, row in zip(sorted((data / "images" / "coco").iterdir()), coco[output], strict=True):
        theirs = getattr(reference, plain)(cv2.imread(str(photo)), session)
        for class_id in {one["class_id"] for one in row["detections"]} | set(theirs[:, 5].astype(int)):
            same = reference.same_boxes(boxes(row, class_id), theirs[theirs[:, 5] == class_id, :4])
            assert same >= 0.95, (photo.name, class_id, boxes(row, class_id), theirs)
            worst = min(worst, same)
            compared += 1
    print(f"{output}: worst IoU {worst:.4f} over {compared} classes of photos")
    assert compared > 100


def test_faces(ace: Callable[..., Any], index: Any, data: Path, reference: ModuleType) -> None:
    rows, _ = ace(
        "faces.yaml",
        ["ultraface_RFB_320.onnx", "yunet_n_320.onnx"],
        data / "images" / "faces",
        {"ultra.faces": "u.jsonl", "yu.faces": "y.jsonl"},
    )
    photos = sorted(index["images/faces/"]["files"], key=lambda one: Path(one["file"]).name)
    expected = [photo["faces"] for photo in photos]
    for output in ("ultra.faces", "yu.faces"):
        assert [len(row["detections"]) for row in rows[output]] == expected
    yunet, ultraface = (reference.session(data / "models" / f"{name}.onnx") for name in ("yunet_n_320", "ultraface_RFB_320"))
    for photo, yu, ultra in zip(photos, rows["yu.faces"], rows["ultra.faces"], strict=True):
        bgr = cv2.imread(str(data / photo["file"]))
        assert reference.same_boxes(boxes(yu), reference.reference_yunet(bgr, yunet)[0][:, :4]) >= 0.95
        assert reference.same_boxes(boxes(ultra), reference.reference_ultraface(bgr, ultraface)[:, :4]) >= 0.95


@pytest.fixture(scope="module")
def sign_photos(index: Any) -> list[dict[str, Any]]:
    """The photos of the digits 0, 1 and 5."""
    photos = [one for one in index["images/sign_digits/"]["files"] if one["label"] in (0, 1, 5)]
    assert len(photos) == 102
    return photos


@pytest.fixture(scope="module")
def signs(ace: Callable[..., Any], data: Path, reference: ModuleType, sign_photos: Any, tmp_path_factory: pytest.TempPathFactory) -> Rows:
    """Palms, hands and signs of those photos, padded and resized as the figures say."""
    folder = tmp_path_factory.mktemp("photos")
    for number, photo in enumerate(sign_photos):
        cv2.imwrite(str(folder / f"{number:04d}.png"), reference.sign_photo(cv2.imread(str(data / photo["file"]))))
    models = ["palm_detection_lite.onnx", "hand_landmark_lite.onnx", "keypoint_classifier.onnx"]
    rows, _ = ace("signs.yaml", models, folder, {"signs": "s.jsonl", "hands": "h.jsonl", "palms": "p.jsonl"})
    return rows


def test_signs(signs: Rows, sign_photos: Any) -> None:
    """Palm, landmarks and classifier: 99 of 102."""
    right = sum(
        bool(row["classes"]) and row["classes"][0]["label"] == photo["gesture"]
        for photo, row in zip(sign_photos, signs["signs"], strict=True)
    )
    print(f"signs: {right}/{len(sign_photos)}; reference 99/102")
    assert right >= 98


def test_hands_box_for_box(signs: Rows, sign_photos: Any, data: Path, reference: ModuleType) -> None:
    """Every palm overlaps the plain loop's by at least 0.95; the box around each hand's points too; the signs are the same."""
    palm, landmark, classifier = (
        reference.session(data / "models" / f"{name}.onnx") for name in ("palm_detection_lite", "hand_landmark_lite", "keypoint_classifier")
    )
    names = ["Open", "Close", "Pointer"]
    worst_palm = worst_hand = 1.0
    compared = 0
    for photo, palms, hands, classes in zip(sign_photos, signs["palms"], signs["hands"], signs["signs"], strict=True):
        bgr = reference.sign_photo(cv2.imread(str(data / photo["file"])))
        rows, keys = reference.reference_palm(bgr, palm)
        worst_palm = min(worst_palm, reference.same_boxes(boxes(palms), rows[:, :4]))
        theirs = [reference.reference_landmarks(bgr, row[:4], points, landmark) for row, points in zip(rows, keys, strict=True)]
        theirs = [hand for hand, presence, _ in theirs if presence >= 0.5]
        ours = [np.array(hand["points"], float) for hand in hands["landmarks"]]
        around = [np.array([[*points[:, :2].min(0), *points[:, :2].max(0)] for points in side]) for side in (ours, theirs)]
        worst_hand = min(worst_hand, reference.same_boxes(*around))
        said = [names[int(classifier.run(None, {"input": reference.reference_features(hand)})[0][0])] for hand in theirs]
        assert [one["label"] for one in classes["classes"]] == said, photo["file"]
        compared += len(theirs)
    print(f"worst IoU of palms {worst_palm:.4f}, of {compared} hands {worst_hand:.4f}")
    assert worst_palm >= 0.95
    assert worst_hand >= 0.95
    assert compared >= 95


LIMITED = 1  # AVCOL_RANGE_MPEG
BT601 = (5, 6)  # AVCOL_SPC_BT470BG and _SMPTE170M


def decoded(path: Path) -> Iterable[np.ndarray]:
    """BGR pixels of a clip: the decoder's planes, converted by OpenCV where it can (BT.601, limited range), otherwise by FFmpeg."""
    import av

    with av.open(str(path)) as clip:
        for frame in clip.decode(video=0):
            if frame.format.name == "yuv420p" and frame.color_range == LIMITED and int(frame.colorspace) in BT601:
                yield cv2.cvtColor(frame.to_ndarray(), cv2.COLOR_YUV2BGR_I420)
            else:
                yield frame.to_ndarray(format="bgr24")


def test_dog_on_video(ace: Callable[..., Any], data: Path, reference: ModuleType) -> None:
    clip = data / "videos" / "pet_dog.mp4"
    rows, _ = ace("detectors.yaml", ["yolox_nano.onnx", "FastestDet.onnx"], clip, {"yolox.boxes": "y.jsonl", "fastest.boxes": "f.jsonl"})
    seen = [bool(len(boxes(row, DOG))) for row in rows["yolox.boxes"]][0:211:10]
    print(f"dog in {sum(seen)} of {len(seen)} sampled frames; reference 19 of 22")
    assert len(seen) == 22
    assert sum(seen) >= 18
    session = reference.session(data / "models" / "yolox_nano.onnx")
    worst, compared = 1.0, 0
    for number, bgr in enumerate(decoded(clip)):
        if number % 10:
            continue
        theirs = reference.reference_yolox(bgr, session)
        row = rows["yolox.boxes"][number]
        for class_id in {one["class_id"] for one in row["detections"]} | set(theirs[:, 5].astype(int)):
            same = reference.same_boxes(boxes(row, class_id), theirs[theirs[:, 5] == class_id, :4])
            worst, compared = min(worst, same), compared + 1
    print(f"worst IoU {worst:.4f} over {compared} classes of frames")
    assert worst >= 0.95
    assert compared >= 10


def test_example_of_the_contract(data: Path, tmp_path: Path) -> None:
    """The manifest as it stands, with a video in the place of its camera: dogs with a track, at the device's own score."""
    shutil.copy(MANIFESTS.parents[1] / "manifests" / "contract.yaml", tmp_path / "pet.yaml")
    (tmp_path / "models").mkdir()
    shutil.copy(data / "models" / "yolox_nano.onnx", tmp_path / "models")
    rows_file, report_file = tmp_path / "pets.jsonl", tmp_path / "report.json"
    command = [
        str(Path(sys.executable).with_name("ace")),
        "run",
        str(tmp_path / "pet.yaml"),
        "--bind",
        f"front={data / 'videos' / 'pet_dog.mp4'}",
    ]
    command += ["--out", f"pets={rows_file}", "--report", str(report_file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=540)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in rows_file.read_text().splitlines()]
    found = [one for row in rows for one in row["detections"]]
    assert {(row["business"], row["version"], row["output"], row["stream"]) for row in rows} == {("pet", "1.0.0", "pets", "front")}
    assert {"dog"} <= {one["label"] for one in found} <= {"cat", "dog"}
    assert all("track" in one and one["score"] >= 0.5 for one in found)
    stream = json.loads(report_file.read_text())["streams"]["front"]
    assert stream["in"] == len(rows) + sum(sum(causes.values()) for causes in stream["dropped"].values())


def test_six_visits_by_tracking(ace: Callable[..., Any], data: Path, reference: ModuleType) -> None:
    """Six people, six tracks; on every 18th frame, as the labels were read off, each visit begins and ends within 18 frames of them."""
    clip = data / "videos" / "one-by-one-person-detection.mp4"
    rows, _ = ace("visits.yaml", ["yolox_nano.onnx"], clip, {"people": "p.jsonl"})
    labels = json.loads((data / "videos" / "references.json").read_text())["videos/one-by-one-person-detection.mp4"]
    lives: dict[int, list[int]] = defaultdict(list)
    for row in rows["people"]:
        for person in row["detections"]:
            lives[person["track"]].append(row["seq"])
    print({track: (frames[0], frames[-1]) for track, frames in lives.items()}, labels["person_present"])
    assert len(lives) == labels["visits"] == 6
    for frames, span in zip(lives.values(), labels["person_present"], strict=True):
        assert reference.visits([seq for seq in frames if seq % labels["step"] == 0], [span], 18) == [True]
