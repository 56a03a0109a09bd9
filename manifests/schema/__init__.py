"""The three kinds of manifests, and the JSON Schema from which editors complete and check them."""

from __future__ import annotations

from typing import Annotated, Any

from manifests.schema.business import Business, Goals, NodeManifest
from manifests.schema.device import Device, StreamManifest, UseManifest
from manifests.schema.model import Batch, Model, ModelInput

__all__ = ["Batch", "Business", "Device", "Goals", "Model", "ModelInput", "NodeManifest", "StreamManifest", "UseManifest", "json_schema"]


def json_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of one document of any kind, told apart by `kind`."""
    from pydantic import Field, TypeAdapter

    adapter: TypeAdapter[Any] = TypeAdapter(Annotated[Model | Business | Device, Field(discriminator="kind")])
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "ACE manifest", **adapter.json_schema()}
