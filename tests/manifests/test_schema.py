from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from manifests.schema import Business, Device, Model, json_schema


def definition(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json_schema()["$defs"][name]
    return found


def test_one_schema_for_all_kinds() -> None:
    schema = json_schema()
    assert json.loads(json.dumps(schema)) == schema
    assert schema["discriminator"]["propertyName"] == "kind"
    assert {item["$ref"].rpartition("/")[2] for item in schema["oneOf"]} == {"Model", "Business", "Device"}


@pytest.mark.parametrize("kind", ["Model", "Business", "Device"])
def test_documents_say_what_they_are(kind: str) -> None:
    assert {"apiVersion", "kind", "name"} <= set(definition(kind)["required"])
    assert definition(kind)["properties"]["kind"]["const"] == kind
    assert definition(kind)["additionalProperties"] is False


def test_keys_are_those_of_the_files_and_explained() -> None:
    node = definition("NodeManifest")["properties"]
    assert "in" in node
    assert "inputs" not in node
    assert "business input" in node["in"]["description"]


def test_contract_example_fits_the_schema() -> None:
    # Every key of the contract's example is known to the schema.
    text = (Path(__file__).parent / "contract.yaml").read_text()
    for kind, keys in (
        ("Model", "file input labels license"),
        ("Business", "title priority graph goals"),
        ("Device", "streams businesses"),
    ):
        for key in keys.split():
            assert f"\n{key}:" in text
            assert key in definition(kind)["properties"]


def test_in_python_kind_and_version_need_not_be_said() -> None:
    model = Model(name="m", version="1.0.0", file="m.onnx")
    assert (model.apiVersion, model.kind) == ("ace/v1", "Model")
    assert Device(name="d", streams={}).businesses == ()


def test_frozen_and_strict_about_keys() -> None:
    business = Business.model_validate({"name": "b", "version": "1.0.0", "inputs": {}, "graph": {"a": {"op": "x"}}, "outputs": {"a": "a"}})
    with pytest.raises(ValidationError):
        business.priority = 5  # type: ignore[misc]
    with pytest.raises(ValidationError):
        Model.model_validate({"name": "m", "version": "1.0.0", "file": "m.onnx", "fiel": 1})


def test_gray_needs_one_number() -> None:
    base = {"name": "m", "version": "1.0.0", "file": "m.onnx"}
    assert Model.model_validate({**base, "input": {"format": "gray8", "mean": [128], "std": [128]}}).input is not None
    with pytest.raises(ValidationError):
        Model.model_validate({**base, "input": {"format": "gray8", "mean": [128, 128, 128]}})


def test_a_model_may_name_its_engine() -> None:
    assert Model(name="m", version="1.0.0", file="m.onnx").engine == "auto"
    assert definition("Model")["properties"]["engine"]["enum"] == ["auto", "native", "onnxruntime"]
    with pytest.raises(ValidationError, match="'auto', 'native' or 'onnxruntime'"):
        Model.model_validate({"name": "m", "version": "1.0.0", "file": "m.onnx", "engine": "tensorrt"})
