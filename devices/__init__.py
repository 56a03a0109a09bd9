"""Where work is computed: specs of what flows, devices, engines, models."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from devices.bench import BenchResult as BenchResult
    from devices.bench import bench_model as bench_model
    from devices.engine import Engine as Engine
    from devices.engine import EngineError as EngineError
    from devices.engine import ModelInfo as ModelInfo
    from devices.engine import PixelInput as PixelInput
    from devices.engine import Session as Session
    from devices.model import Signature as Signature
    from devices.model import inspect as inspect
    from devices.model import model_info as model_info
    from devices.registry import available as available
    from devices.registry import broken as broken
    from devices.session import load as load
    from devices.spec import ImageSpec as ImageSpec
    from devices.spec import ManySpec as ManySpec
    from devices.spec import RecordsSpec as RecordsSpec
    from devices.spec import TensorSpec as TensorSpec
    from devices.spec import TensorsSpec as TensorsSpec

_HOME = {
    "bench": ("BenchResult", "bench_model"),
    "engine": ("Engine", "EngineError", "ModelInfo", "PixelInput", "Session"),
    "model": ("Signature", "inspect", "model_info"),
    "registry": ("available", "broken"),
    "session": ("load",),
    "spec": ("ImageSpec", "ManySpec", "RecordsSpec", "TensorSpec", "TensorsSpec"),
}
_WHERE = {name: module for module, names in _HOME.items() for name in names}

__all__ = [*_WHERE]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(import_module(f"devices.{_WHERE[name]}"), name)
    raise AttributeError(f"module 'devices' has no attribute {name!r}")
