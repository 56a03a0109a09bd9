from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ANYWHERE = frozenset({"accuracy", "devices", "flow/plan", "flow/scenes", "manifests", "ops"})
"""Folders whose tests take as long as they take, and leave nothing that others could stumble over."""
WHOLE_DEVICES = frozenset({"flow/agent", "flow/cli"})
"""Folders whose tests wait for processes more than they compute."""
MADE_ONCE = {
    "test_through_run.py::test_photos": "accuracy of coco",
    "test_through_run.py::test_signs": "accuracy of signs",
    "test_through_run.py::test_hands": "accuracy of signs",
    "vnni-spelled-out": "kernels with VNNI spelled out",
}
"""Tests that share what takes seconds to make, by a part of their names."""
FIRST = ("streams", "devices", "accuracy")


def group(nodeid: str) -> str:
    """Which tests follow one another in one process where they are shared out (`--dist loadgroup`): those that stream, those of whole
    devices, those of the house; of others a file, and in `accuracy`, where each takes long, a test."""
    path = nodeid.partition("::")[0]
    first, second, *_ = *path.removeprefix("tests/").split("/"), ""
    if not second:
        return "house"
    if not {first, f"{first}/{second}"} & ANYWHERE:
        return "devices" if f"{first}/{second}" in WHOLE_DEVICES else "streams"
    shared = (name for part, name in MADE_ONCE.items() if part in nodeid)
    return next(shared, f"accuracy: {nodeid}" if first == "accuracy" else path)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """By what the name of a test says, since the marker `xdist_group` does nothing with pytest 9.2 and pytest-xdist 3.8."""
    if config.getvalue("dist") != "loadgroup":
        return None
    from xdist.scheduler import LoadScopeScheduling

    class Groups(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            return group(nodeid)

    config.option.loadscopereorder = False
    return Groups(config, log)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where tests are shared out, the groups that take longest begin first."""
    if hasattr(config, "workerinput"):
        rank = {name: place for place, name in enumerate(FIRST)}
        items.sort(key=lambda item: rank.get(group(item.nodeid).split()[0].rstrip(":"), len(FIRST)))


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """What is there before the first test stays: nobody looks through it for garbage again, however often a test asks for that."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real videos, photos and models, which is not part of the repository."""
    default = Path(__file__).resolve().parents[1].parent / "shared" / "data"
    folder = Path(os.environ.get("ACE_TEST_DATA", default))
    if not (folder / "INDEX.json").is_file():
        pytest.skip(f"no real test data at {folder}; set ACE_TEST_DATA to the folder that holds INDEX.json")
    return folder


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache with this user's kernels and nothing else: what was prepared here before does not choose the engines of tests."""
    from devices.kernels import cache

    folder = tmp_path_factory.mktemp("cache")
    (folder / "kernels").symlink_to(cache.folder(create=True))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ACE_CACHE", str(folder))
        yield folder


@pytest.fixture
def fake_device(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A second device `fake`, with its own memory domain and an engine `fake`, installed for this process and those it starts.

    Gives the folder that is put on the path. Bytes of the domain are XORed with 0x5A.
    """
    from devices import registry

    folder = Path(__file__).parent / "devices" / "fake_device"
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH")))))
    registry.refresh()
    yield folder
    monkeypatch.undo()
    registry.refresh()


@pytest.fixture
def save_model(tmp_path: Path) -> Callable[..., Path]:
    """Writes a small ONNX model: `save_model(nodes, inputs, outputs, constants)`, values as (name, dtype, shape), constants as arrays."""

    def save(
        nodes: Sequence[Any],
        inputs: Sequence[tuple[str, str, Sequence[int | str | None]]],
        outputs: Sequence[tuple[str, str, Sequence[int | str | None]]],
        constants: Mapping[str, np.ndarray] | None = None,
        *,
        name: str = "model.onnx",
        opset: int = 17,
    ) -> Path:
        import onnx
        from onnx import helper, numpy_helper

        def value(tensor: str, dtype: str, shape: Sequence[int | str | None]) -> Any:
            return helper.make_tensor_value_info(tensor, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), shape)

        graph = helper.make_graph(
            nodes, "test", [value(*item) for item in inputs], [value(*item) for item in outputs],
            [numpy_helper.from_array(array, key) for key, array in (constants or {}).items()],
        )  # fmt: skip
        path = tmp_path / name
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8), path)
        return path

    return save


@pytest.fixture
def scale_model(save_model: Callable[..., Path]) -> Path:
    """A model that multiplies by three: `x` float32 [1, 3, 4, 6] -> `y` of the same shape."""
    from onnx import helper

    shape = (1, 3, 4, 6)
    return save_model(
        [helper.make_node("Mul", ["x", "three"], ["y"])], [("x", "float32", shape)], [("y", "float32", shape)], {"three": np.float32([3])}
    )
