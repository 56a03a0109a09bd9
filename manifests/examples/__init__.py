"""Example manifests that come with ACE, with the model they share."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path


def path() -> Path:
    """The folder of the examples: `gesture.yaml`, `pet.yaml`, `pen.yaml`, `scenes.yaml`, `demo.yaml`."""
    return Path(str(files(__name__)))
