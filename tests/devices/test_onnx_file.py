from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import helper

from devices import onnx_file
from devices.engine import EngineError

LONG = 4096


@pytest.fixture
def external_model(save_model: Callable[..., Path]) -> Path:
    """A model whose only tensor lies in `weights.bin` beside it."""
    path = save_model(
        [helper.make_node("Add", ["x", "w"], ["y"])], [("x", "float32", [LONG])], [("y", "float32", [LONG])],
        {"w": np.arange(LONG, dtype=np.float32)},
    )  # fmt: skip
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    return path


def set_entry(path: Path, key: str, value: str) -> None:
    model = onnx.load(path, load_external_data=False)
    entries = model.graph.initializer[0].external_data
    for entry in list(entries):
        if entry.key == key:
            entries.remove(entry)
    entries.add(key=key, value=value)
    path.write_bytes(model.SerializeToString())


def refusal(path: Path) -> str:
    with pytest.raises(EngineError) as refused:
        onnx_file.read(path)
    return str(refused.value)


def test_digest_is_that_of_the_bytes(scale_model: Path) -> None:
    assert onnx_file.digest(scale_model) == hashlib.sha256(scale_model.read_bytes()).hexdigest() == onnx_file.file_digest(scale_model)


def test_missing(tmp_path: Path) -> None:
    assert "nothing at this path" in refusal(tmp_path / "no.onnx")


def test_folder(tmp_path: Path) -> None:
    assert "a folder" in refusal(tmp_path)


def test_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.onnx")
    assert "no regular file" in refusal(tmp_path / "pipe.onnx")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_no_permission(scale_model: Path) -> None:
    scale_model.chmod(0)
    assert "permissions" in refusal(scale_model)


def test_larger_than_protobuf_can_hold(tmp_path: Path) -> None:
    path = tmp_path / "huge.onnx"
    with path.open("wb") as file:
        file.truncate(2**31)  # sparse: takes no space
    assert "expected at most 2147483647 bytes, got 2147483648" in refusal(path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "an empty file"),
        (b"\x93NUMPY" * 50, "do not decode"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"PK\x03\x04" + bytes(50), "torch.onnx.export"),
        (b"<!DOCTYPE html><html>", "a web page"),
        (b"\x1c\x00\x00\x00TFL3" + bytes(50), "tf2onnx"),
        (b"\x08\x08", "without a graph"),
    ],
)
def test_other_files(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "other.onnx"
    path.write_bytes(content)
    assert said in refusal(path)


def test_every_truncation_is_noticed(scale_model: Path) -> None:
    whole = scale_model.read_bytes()
    for length in range(len(whole)):
        scale_model.write_bytes(whole[:length])
        assert str(scale_model) in refusal(scale_model)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
@given(changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=4))
def test_damage_never_ends_in_another_error(scale_model: Path, changes: list[tuple[float, int]]) -> None:
    data = bytearray(scale_model.read_bytes())
    for place, byte in changes:
        data[int(place * len(data))] = byte
    damaged = scale_model.with_name("damaged.onnx")
    damaged.write_bytes(data)
    with contextlib.suppress(EngineError):
        assert onnx_file.read(damaged).digest == hashlib.sha256(data).hexdigest()


def test_empty_graph(tmp_path: Path) -> None:
    path = tmp_path / "empty.onnx"
    onnx.save(helper.make_model(helper.make_graph([], "empty", [], [])), path)
    assert "an empty one" in refusal(path)


@pytest.mark.parametrize("name", [b"x", b"y", b"Mul", b"three"])
def test_names_that_are_no_text(scale_model: Path, name: bytes) -> None:
    scale_model.write_bytes(scale_model.read_bytes().replace(name, b"\xff" * len(name)))
    assert "expected names in UTF-8" in refusal(scale_model)


def test_tensor_shorter_than_its_shape(scale_model: Path) -> None:
    model = onnx.load(scale_model)
    model.graph.initializer[0].dims[:] = [1 << 40, 1 << 20]
    scale_model.write_bytes(model.SerializeToString())
    assert "'three': expected 4611686018427387904 bytes" in refusal(scale_model)


def test_negative_tensor_size(scale_model: Path) -> None:
    model = onnx.load(scale_model)
    model.graph.initializer[0].dims[:] = [-1]
    scale_model.write_bytes(model.SerializeToString())
    assert "at least 0" in refusal(scale_model)


def test_external_data_is_part_of_the_digest(external_model: Path) -> None:
    before = onnx_file.read(external_model)
    weights = external_model.with_name("weights.bin")
    assert before.external == (weights.resolve(),)
    data = bytearray(weights.read_bytes())
    data[5] ^= 1
    weights.write_bytes(data)
    assert onnx_file.digest(external_model) != before.digest


@pytest.mark.parametrize(
    "location", ["../weights.bin", "sub/../../weights.bin", "/etc/passwd", "", "..", "*/_ORT_MEM_ADDR_/*", "a\\..\\b", "a\0b"]
)
def test_external_data_stays_in_the_folder(external_model: Path, location: str) -> None:
    (external_model.parent.parent / "weights.bin").write_bytes(bytes(4 * LONG))
    set_entry(external_model, "location", location)
    assert "in the model's folder" in refusal(external_model)


def test_external_data_behind_a_link_out(external_model: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = tmp_path_factory.mktemp("outside") / "weights.bin"
    weights = external_model.with_name("weights.bin")
    weights.rename(outside)
    weights.symlink_to(outside)
    assert "outside it" in refusal(external_model)


def test_external_data_behind_a_linked_folder(external_model: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = tmp_path_factory.mktemp("outside")
    external_model.with_name("weights.bin").rename(outside / "weights.bin")
    external_model.with_name("sub").symlink_to(outside)
    set_entry(external_model, "location", "sub/weights.bin")
    assert "outside it" in refusal(external_model)


def test_external_data_missing(external_model: Path) -> None:
    external_model.with_name("weights.bin").unlink()
    assert "got none" in refusal(external_model)


def test_external_data_link_loop(external_model: Path) -> None:
    weights = external_model.with_name("weights.bin")
    weights.unlink()
    weights.symlink_to(weights)
    assert "got none" in refusal(external_model)


def test_external_data_is_a_folder(external_model: Path) -> None:
    external_model.with_name("weights.bin").unlink()
    external_model.with_name("weights.bin").mkdir()
    assert "a regular file" in refusal(external_model)


def test_external_data_truncated(external_model: Path) -> None:
    os.truncate(external_model.with_name("weights.bin"), 4 * LONG - 1)
    assert f"at least {4 * LONG} bytes, got {4 * LONG - 1}" in refusal(external_model)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("offset", "-1", "a whole number as offset"),
        ("offset", "9" * 30, "a whole number as offset"),
        ("offset", "0x10", "a whole number as offset"),
        ("offset", "4", "truncated"),
        ("length", "one", "a whole number as length"),
        ("length", "8", f"expected {4 * LONG} bytes of external data, got 8"),
    ],
)
def test_external_data_numbers(external_model: Path, key: str, value: str, said: str) -> None:
    set_entry(external_model, key, value)
    assert said in refusal(external_model)


def test_external_data_in_a_subgraph_is_checked(external_model: Path, tmp_path: Path) -> None:
    inner = onnx.load(external_model, load_external_data=False).graph.initializer[0]
    inner.external_data[0].value = "../out.bin"
    body = helper.make_graph(
        [helper.make_node("Identity", ["w"], ["r"])], "body", [], [helper.make_tensor_value_info("r", 1, [LONG])], [inner]
    )
    graph = helper.make_graph(
        [helper.make_node("If", ["c"], ["y"], then_branch=body, else_branch=body)], "outer",
        [helper.make_tensor_value_info("c", 9, [])], [helper.make_tensor_value_info("y", 1, [LONG])],
    )  # fmt: skip
    path = tmp_path / "nested.onnx"
    path.write_bytes(helper.make_model(graph).SerializeToString())
    assert "in the model's folder" in refusal(path)
