# ruff: noqa: E501 (whole messages)
from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import manifests
from manifests import Business, Deployment, ManifestError
from manifests.bind import absolute, check_source
from manifests.position import Position

Broken = Any


def business(name: str, *inputs: str) -> Business:
    graph = {"node": {"op": "x", "in": {item: item for item in inputs}}}
    return Business.model_validate(
        {"name": name, "version": "1.0.0", "inputs": dict.fromkeys(inputs, "image"), "graph": graph, "outputs": {"o": "node"}}
    )


PET, PEN, PAIR = business("pet", "camera"), business("pen", "camera"), business("pair", "left", "right")


def load(*businesses: Business, **bind: str) -> Deployment:
    return manifests.load(*businesses, bind={key.replace("__", "."): value for key, value in bind.items()})


def bound(deployment: Deployment) -> dict[str, Mapping[str, str]]:
    return {use.business.name: use.bind for use in deployment.uses}


def sources(deployment: Deployment) -> dict[str, str]:
    return {name: stream.source for name, stream in deployment.streams.items()}


def problems(*businesses: Business, **bind: str) -> list[str]:
    with pytest.raises(ManifestError) as caught:
        load(*businesses, **bind)
    return str(caught.value).splitlines()


def test_equal_sources_are_one_stream() -> None:
    deployment = load(PET, PEN, camera="/a.mp4")
    assert bound(deployment) == {"pet": {"camera": "camera"}, "pen": {"camera": "camera"}}
    assert sources(deployment) == {"camera": "/a.mp4"}
    assert sources(load(PAIR, left="/a.mp4", right="/a.mp4")) == {"left": "/a.mp4"}
    assert sources(load(PET, PEN, pet__camera="file:///a.mp4", pen__camera="/./a.mp4")) == {"camera": "/a.mp4"}


def test_other_sources_are_streams_of_unique_names() -> None:
    deployment = load(PET, PEN, pet__camera="/a.mp4", pen__camera="/b.mp4")
    assert bound(deployment) == {"pet": {"camera": "camera"}, "pen": {"camera": "camera-2"}}
    assert sources(deployment) == {"camera": "/a.mp4", "camera-2": "/b.mp4"}


def test_the_more_exact_name_wins() -> None:
    assert sources(load(PET, PEN, camera="/a.mp4", pen__camera="/b.mp4")) == {"camera": "/a.mp4", "camera-2": "/b.mp4"}


def test_where_a_stream_comes_from() -> None:
    assert load(PET, camera="/a.mp4").stream_positions == {"camera": Position("--bind camera")}


def test_missing() -> None:
    assert problems(PAIR, left="/a.mp4") == [
        "<built in Python>: inputs.right: expected a source for this input, got none - --bind right=SOURCE"
    ]


def test_unknown() -> None:
    lines = problems(PET, camra="/a.mp4", camera="/a.mp4")
    assert lines == ["--bind camra: expected one of `camera`, `pet.camera`, got `camra` - did you mean `camera`?"]
    assert "did you mean `pet.camera`?" in problems(PET, pat__camera="/a.mp4", camera="/a.mp4")[0]


def test_without_effect() -> None:
    lines = problems(PET, camera="/a.mp4", pet__camera="/b.mp4")
    assert lines == ["--bind camera: expected a name that has an effect, got an input that more exact names bind everywhere - remove it"]


@pytest.mark.parametrize("source", ["", "x" * 3000, "rtsp://u:hunter2@h/1", "rtsp://h/?password=hunter2"])
def test_bad_sources(source: str) -> None:
    (line,) = problems(PET, camera=source)
    assert line.startswith("--bind camera: expected a source")
    assert "hunter2" not in line


@pytest.mark.parametrize(("source", "url"), [("0", "v4l2:/dev/video0"), ("2", "v4l2:/dev/video2"), ("/dev/video1", "v4l2:/dev/video1")])
def test_a_camera_by_its_number_or_device_is_told_its_url(source: str, url: str) -> None:
    (line,) = problems(PET, camera=source)
    assert line == f"--bind camera: expected a file, a folder or a URL, got `{source}` - a camera is `{url}`"


def test_a_folder_of_that_number_is_a_folder(folder: Path) -> None:
    (folder / "0").mkdir()
    assert sources(load(PET, camera="0")) == {"camera": str(folder / "0")}


def test_unbound_inputs_of_a_check() -> None:
    deployment = manifests.load(PET, PAIR, bind={"left": "/a.mp4"}, unbound="synthetic:pets")
    assert sources(deployment) == {"camera": "synthetic:pets", "left": "/a.mp4"}
    assert bound(deployment)["pair"] == {"left": "left", "right": "camera"}


def test_relative_files_start_from_the_current_folder(folder: Path) -> None:
    assert sources(load(PET, camera="clip.mp4")) == {"camera": str(folder / "clip.mp4")}
    assert sources(manifests.load(PET, bind={"camera": Path("clip.mp4")})) == {"camera": str(folder / "clip.mp4")}


@pytest.mark.parametrize(
    ("source", "result"),
    [
        ("clip.mp4", "/d/clip.mp4"),
        ("../clip.mp4", "/d/../clip.mp4"),
        ("./a//clip.mp4", "/d/a/clip.mp4"),
        ("photos/*.jpg", "/d/photos/*.jpg"),
        ("file:clip.mp4", "/d/clip.mp4"),
        ("file:ab:c.mp4", "/d/ab:c.mp4"),
        ("/a/clip.mp4", "/a/clip.mp4"),
        ("file:/a/clip.mp4", "/a/clip.mp4"),
        ("file:///a/my%20clip.mp4", "/a/my clip.mp4"),
        ("file://host/clip.mp4", "file://host/clip.mp4"),
        ("rtsp://h/1", "rtsp://h/1"),
        ("v4l2:/dev/video0", "v4l2:/dev/video0"),
        ("synthetic:pets", "synthetic:pets"),
        ("zmq:tcp://h:1", "zmq:tcp://h:1"),
        ("12:30.mp4", "/d/12:30.mp4"),
    ],
)
def test_absolute(source: str, result: str) -> None:
    assert absolute(source, Path("/d")) == result
    assert absolute(result, Path("/e")) == result


def test_glob_below_a_folder_with_brackets() -> None:
    assert absolute("*.jpg", Path("/d[1]")) == "/d[[]1]/*.jpg"
    assert absolute("a.jpg", Path("/d[1]")) == "/d[1]/a.jpg"


def test_user_without_password_and_files_are_no_secrets() -> None:
    for source in ("rtsp://admin@host/1", "rtsp://host:554/a@b", "clips/password=1.mp4"):
        assert check_source(source, Position("f")) is None


def test_device_binds(folder: Path) -> None:
    deployment = manifests.load("pet.yaml")
    assert bound(deployment) == {"pet": {"camera": "front"}}
    stream = deployment.streams["front"]
    assert (stream.source, stream.secret, stream.overload) == ("rtsp://camera.local/1", "FRONT_CAMERA", "latest")
    assert deployment.stream_positions["front"].line == 34


def test_bind_gives_a_stream_of_the_device_another_source(folder: Path) -> None:
    stream = manifests.load("pet.yaml", bind={"front": "clip.mp4"}).streams["front"]
    assert (stream.source, stream.overload) == (str(folder / "clip.mp4"), "latest")
    assert stream.secret is None, "a secret must not be sent to another address"


@pytest.mark.parametrize("key", ["pet.camera", "camera"])
def test_bind_gives_an_input_a_stream_of_its_own(folder: Path, key: str) -> None:
    deployment = manifests.load("pet.yaml", bind={key: "clip.mp4"})
    assert sources(deployment) == {"camera": str(folder / "clip.mp4")}
    assert bound(deployment) == {"pet": {"camera": "camera"}}


def test_sources_of_a_device_start_from_its_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (folder / "pet.yaml").read_text().replace("rtsp://camera.local/1", "clip.mp4")
    (folder / "pet.yaml").write_text(text)
    monkeypatch.chdir(folder.parent)
    deployment = manifests.load(Path(folder.name) / "pet.yaml")
    assert sources(deployment) == {"front": str(folder / "clip.mp4")}
    assert deployment.base == folder


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("bind: {camera: front}", "bind: {camera: frnt}", ["businesses.0.bind.camera: expected `front`, got `frnt` - did you mean `front`?"]),
        ("bind: {camera: front}", "bind: {camra: front}", ["businesses.0.bind.camra: expected an input of pet: `camera`, got `camra` - did you mean `camera`?"]),
        ("bind: {camera: front}, ", "", ["businesses.0.bind: expected a stream for the input `camera` of pet, got none - bind: {camera: front}"]),
        ("rtsp://", "rtsp://admin:hunter2@", ["pet.yaml:34:11: streams.front.source: expected a source without a password in it, got `rtsp://admin:***@camera.local/1`"]),
    ],
)  # fmt: skip
def test_device_refused(broken: Broken, old: str, new: str, said: list[str]) -> None:
    lines = broken(old, new)
    assert len(lines) == len(said)
    assert all(part in line for part, line in zip(said, lines, strict=True))


def test_bind_of_a_stream_that_nobody_reads(broken: Broken) -> None:
    assert (
        "got a stream that no business here reads" in broken("streams:\n", "streams:\n  back: {source: a.mp4}\n", bind={"back": "b.mp4"})[0]
    )


def test_streams_that_nobody_reads_are_left_out(folder: Path) -> None:
    text = (folder / "pet.yaml").read_text().replace("streams:\n", "streams:\n  back: {source: a.mp4}\n")
    (folder / "pet.yaml").write_text(text)
    assert list(manifests.load("pet.yaml").streams) == ["front"]
