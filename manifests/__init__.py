"""What should run: manifests of models, businesses and devices, checked and resolved to one deployment."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from manifests.builder import build, dump
    from manifests.deployment import Deployment, ResolvedModel, Use
    from manifests.errors import ManifestError, Problem, nearest
    from manifests.loading import load
    from manifests.position import Position
    from manifests.schema import Business, Device, Model, StreamManifest, json_schema

__all__ = [
    "Business", "Deployment", "Device", "ManifestError", "Model", "Position", "Problem", "ResolvedModel", "StreamManifest", "Use",
    "build", "dump", "json_schema", "load", "nearest",
]  # fmt: skip

HOMES = {
    "Business": "schema",
    "Deployment": "deployment",
    "Device": "schema",
    "ManifestError": "errors",
    "Model": "schema",
    "Position": "position",
    "Problem": "errors",
    "ResolvedModel": "deployment",
    "StreamManifest": "schema",
    "Use": "deployment",
    "build": "builder",
    "dump": "builder",
    "json_schema": "schema",
    "load": "loading",
    "nearest": "errors",
}
"""Loaded when first used, because Pydantic and YAML take a tenth of a second that `ace --help` need not pay."""


def __getattr__(name: str) -> Any:
    if name in HOMES:
        value = getattr(import_module(f"manifests.{HOMES[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'manifests' has no attribute {name!r}")
