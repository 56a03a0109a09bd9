"""The one model that a command works on: a Model manifest, or an ONNX file and how pixels become its input."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from flow.cli.options import nearest

if TYPE_CHECKING:
    from devices.engine import ModelInfo


def find(path: Path, name: str | None, pixels: dict[str, Any], dims: dict[str, int]) -> ModelInfo:
    """The model of a manifest, or of a bare ONNX file with these words of an `input:` section (empty: it takes no pixels).

    Raises EngineError, ManifestError and typer.BadParameter.
    """
    if path.suffix.lower() in (".yaml", ".yml", ".json") or path.is_dir():
        if pixels or dims:
            given = ", ".join(f"--{key}" for key in (*pixels, *(["dims"] if dims else [])))
            raise typer.BadParameter(f"expected what the manifest says alone, got {given} as well; change the manifest", param_hint="MODEL")
        return _of_manifest(path, name)
    if name is not None:
        raise typer.BadParameter("it chooses among the models of a manifest, and MODEL is none", param_hint="'--name'")
    return _of_file(path, pixels, dims)


def _of_manifest(path: Path, name: str | None) -> ModelInfo:
    import devices
    from manifests.document import collect
    from manifests.errors import ManifestError, Problem
    from manifests.model_file import resolve_model
    from manifests.schema import Model
    from manifests.validate import validate

    problems: list[Problem] = []
    documents = collect([path], problems)
    models = {found.name: (found, document) for document in documents if isinstance(found := validate(document, problems), Model)}
    if not problems and not models:
        raise typer.BadParameter(f"expected a manifest of kind Model, got none in {path}", param_hint="MODEL")
    if not problems and name is None and len(models) > 1:
        raise typer.BadParameter(f"expected one model, got {', '.join(models)} in {path}; choose one with --name", param_hint="MODEL")
    if not problems and name is not None and name not in models:
        raise typer.BadParameter(f"expected {', '.join(models)}, got {name!r}{nearest(name, list(models))}", param_hint="'--name'")
    resolved = None if problems else resolve_model(*models[name or next(iter(models))], problems)
    if resolved is None:
        raise ManifestError(problems)
    return devices.model_info(resolved)


def _of_file(path: Path, pixels: dict[str, Any], dims: dict[str, int]) -> ModelInfo:
    from pydantic import ValidationError

    import devices
    from devices import onnx_file
    from manifests.deployment import ResolvedModel
    from manifests.position import PYTHON
    from manifests.schema import Model
    from manifests.schema.model import ModelInput

    try:
        taken = ModelInput(**pixels) if pixels else None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"][:1])
        raise typer.BadParameter(f"{first['msg'].lower()}, got {pixels.get(where)!r}", param_hint=f"'--{where}'") from None
    manifest = Model(apiVersion="ace/v1", kind="Model", name="model", version="0.0.0", file=path.name, input=taken, dims=dims)
    return devices.model_info(ResolvedModel(manifest, path, onnx_file.digest(path), (), PYTHON))
