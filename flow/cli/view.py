"""Adds to a deployment a business for each stream that draws the results of all its businesses into one picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from manifests.deployment import Deployment, Use

PICTURE = "picture"
"""The output of such a business."""


def view_of(stream: str) -> str:
    """Name of the business that draws this stream."""
    return f"{stream}-view"


def is_view(business: str) -> bool:
    """Whether a business is one of those."""
    return business.endswith("-view")


def with_views(deployment: Deployment) -> Deployment:
    """The deployment, and `STREAM-view.picture` for every stream. Equal work is merged, so drawing costs no second inference."""
    views = []
    for stream in deployment.streams:
        reading = [use for use in deployment.uses if set(use.bind.values()) == {stream}]
        if reading:
            views.append(_view(stream, reading))
    return replace(deployment, uses=(*deployment.uses, *views))


def _view(stream: str, uses: list[Use]) -> Use:
    from manifests import Business
    from manifests.deployment import Use

    graph: dict[str, Any] = {}
    models: dict[str, Any] = {}
    picture = "camera"
    for use in uses:
        graph.update(_nodes(use))
        models.update({f"{use.business.name}-{name}": model for name, model in use.models.items()})
        for output, wire in use.business.outputs.items():
            drawing = f"{use.business.name}-{output}-drawn"
            graph[drawing] = {"op": "draw.results", "in": {"image": picture, _kind(use, wire): _inside(use, wire)}}
            picture = drawing
    business = Business.model_validate({
        "apiVersion": "ace/v1", "kind": "Business", "name": view_of(stream), "version": "1.0.0", "priority": 0,
        "inputs": {"camera": "image"}, "models": {name: model.manifest.name for name, model in models.items()},
        "graph": graph, "outputs": {PICTURE: picture},
    })  # fmt: skip
    return Use(business=business, bind={"camera": stream}, models=models)


def _nodes(use: Use) -> Mapping[str, Any]:
    """The nodes of a business, renamed so that those of several fit into one graph."""
    nodes = {}
    for name, node in use.business.graph.items():
        value = node.model_dump(by_alias=True, exclude_unset=True)
        value["in"] = {port: _inside(use, wire) for port, wire in node.inputs.items()}
        if node.model is not None:
            value["model"] = f"{use.business.name}-{node.model}"
        nodes[f"{use.business.name}-{name}"] = value
    return nodes


def _inside(use: Use, wire: str) -> str:
    return "camera" if wire in use.business.inputs else f"{use.business.name}-{wire}"


def _kind(use: Use, wire: str) -> str:
    """What flows on a wire: the name of the port that draws it."""
    from ops import catalog

    node, _, port = wire.partition(".")
    ports = catalog.find(use.business.graph[node].op).outputs
    return ports[port or next(iter(ports))].kinds[0]
