"""From businesses to one list of low-level operators: names looked up, settings checked, models read, composites expanded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from devices.engine import EngineError, ModelInfo
from flow.plan.problems import Problems
from flow.plan.settings import check_set_names, raw_settings, validated
from manifests.deployment import Deployment, Position, ResolvedModel, Use
from manifests.errors import did_you_mean, nearest, one_of
from ops.contract import Composite, Operator, SpecError, Step

DEPTH = 16
"""Composites inside composites; more is one that contains itself."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an input comes from: a stream, or an output port of a draft (by its place in the list; port "": its only one).

    `label` is the manifest's name, `path` (into the document of `position`) where it was written.
    """

    label: str
    position: Position
    path: str
    stream: str | None = None
    draft: int = -1
    port: str = "image"


@dataclass(frozen=True, slots=True)
class Draft:
    """One low-level operator as one business asks for it, before equal work is merged."""

    name: str
    node: str
    use: Use
    op: type[Operator]
    config: Any
    model: ModelInfo | None
    inputs: Mapping[str, Origin]

    @property
    def position(self) -> Position:
        return self.use.at(f"graph.{self.node}")


@dataclass(frozen=True, slots=True)
class Output:
    """An output of a business."""

    use: Use
    name: str
    origin: Origin

    @property
    def position(self) -> Position:
        return self.use.at(f"outputs.{self.name}")


@dataclass(slots=True)
class Resolved:
    """Drafts in an order in which each comes after what it reads. `read` are those that a node of a manifest stands for."""

    drafts: list[Draft] = field(default_factory=list)
    outputs: list[Output] = field(default_factory=list)
    read: set[int] = field(default_factory=set)


Made = Mapping[str, Origin]
"""A node's output ports, and where they are computed."""


def resolve(deployment: Deployment, problems: Problems) -> Resolved:
    """Every business of the deployment as low-level drafts; what cannot be resolved is left out and reported."""
    resolver = _Resolver(problems)
    for use in deployment.uses:
        resolver.business(use)
    return resolver.done


class _Resolver:
    def __init__(self, problems: Problems) -> None:
        self.problems = problems
        self.done = Resolved()
        self.models: dict[tuple[str, str], ModelInfo | None] = {}

    def business(self, use: Use) -> None:
        check_set_names(use, self.problems)
        made: dict[str, Made | None] = {}
        for node in self._order(use):
            made[node] = self._node(use, node, made)
            self.done.read.update(origin.draft for origin in (made[node] or {}).values())
        for name, reference in use.business.outputs.items():
            origin = self._refer(use, reference, made, f"outputs.{name}")
            if origin is not None and origin.stream is not None:
                path = f"outputs.{name}"
                self.problems.add(use.at(path), path, expected="a node, or node.port", got=f"the input {reference}")
            elif origin is not None:
                self.done.outputs.append(Output(use, name, origin))

    def _order(self, use: Use) -> list[str]:
        """Nodes after what they read."""
        graph = use.business.graph
        state: dict[str, bool] = {}
        order: list[str] = []

        def visit(node: str, way: tuple[str, ...]) -> None:
            if state.get(node):
                return
            if node in state:
                around = " → ".join((*way[way.index(node) :], node))
                self.problems.add(use.at(f"graph.{node}.in"), f"graph.{node}.in", expected="a graph without a cycle", got=around)
                return
            state[node] = False
            for reference in graph[node].inputs.values():
                source = reference.partition(".")[0]
                if source in graph:
                    visit(source, (*way, node))
            state[node] = True
            order.append(node)

        for node in graph:
            visit(node, ())
        return order

    def _refer(self, use: Use, reference: str, made: Mapping[str, Made | None], path: str) -> Origin | None:
        """What `input`, `node` or `node.port` stands for; None when that is (or was) a problem."""
        name, dot, port = reference.partition(".")
        label = f"{use.business.name}.{reference}"
        if name in use.business.inputs and not dot:
            stream = use.bind.get(name)
            if stream is None:
                hint = f"give it one with --bind {name}=SOURCE"
                path = f"inputs.{name}"
                self.problems.add(use.at(path), path, expected="a stream bound to this input", got="none", hint=hint)
                return None
            return Origin(label, use.at(path), path, stream=stream)
        if name not in use.business.graph:
            known = [*use.business.inputs, *use.business.graph]
            self.problems.add(use.at(path), path, expected=one_of(known), got=reference, hint=did_you_mean(name, known))
            return None
        ports = made.get(name)
        return None if ports is None else self._port(use, path, label, ports, port)

    def _port(self, use: Use, path: str, label: str, ports: Made, port: str) -> Origin | None:
        drafts = {origin.draft for origin in ports.values()}
        if port in ports or (not port and len(drafts) == 1):
            meant = ports[port] if port else next(iter(ports.values()))
            only = meant.port if port or len(ports) == 1 else ""
            return replace(meant, label=label, position=use.at(path), path=path, port=only)
        node = label.partition(".")[2].partition(".")[0]
        expected = one_of(f"{node}.{each}" for each in ports)
        self.problems.add(use.at(path), path, expected=expected, got=label.partition(".")[2], hint=_nearest_port(node, port, ports))
        return None

    def _node(self, use: Use, node: str, made: Mapping[str, Made | None]) -> Made | None:
        manifest = use.business.graph[node]
        operator = self._find(use, node, manifest.op)
        inputs = {port: self._refer(use, reference, made, f"graph.{node}.in.{port}") for port, reference in manifest.inputs.items()}
        if operator is None:
            return None
        config = validated(operator, raw_settings(use, node, self.problems), use, node, self.problems)
        model, fits = self._model(use, node, operator)
        known = self._check_ports(use, node, operator, inputs)
        if config is None or not fits or not known or any(origin is None for origin in inputs.values()):
            return None
        name = f"{use.business.name}.{node}"
        return self._place(use, node, name, operator, config, model, {port: origin for port, origin in inputs.items() if origin}, 0)

    def _find(self, use: Use, node: str, op: str) -> Any:
        from ops import catalog

        try:
            return catalog.find(op)
        except catalog.UnknownOperator as error:
            path = f"graph.{node}.op"
            others = "`ace ops` lists them; one of your own is found once its distribution is installed"
            near = f"did you mean `{error.nearest[0]}`?" if error.nearest else others
            got, hint = (f"`{op}`: {error.reason}", "") if error.reason else (op, near)
            self.problems.add(use.at(path), path, expected="the name of an operator", got=got, hint=hint)
            return None

    def _check_ports(self, use: Use, node: str, operator: type[Operator] | type[Composite], given: Iterable[str]) -> bool:
        fits = True
        for port in given:
            if port not in operator.inputs:
                path, fits = f"graph.{node}.in.{port}", False
                hint = did_you_mean(port, operator.inputs)
                self.problems.add(use.at(path), path, expected=f"{one_of(operator.inputs)} (inputs of {operator.op})", got=port, hint=hint)
        for port, kind in operator.inputs.items():
            if port not in given and not kind.optional:
                path, fits = f"graph.{node}.in", False
                expected = f"{operator.op} to read {port} ({' or '.join(kind.kinds)})"
                self.problems.add(use.at(path), f"{path}.{port}", expected=expected, got="no such input")
        return fits

    def _model(self, use: Use, node: str, operator: type[Operator] | type[Composite]) -> tuple[ModelInfo | None, bool]:
        """The node's model, and whether it is as the operator wants it."""
        name = use.business.graph[node].model
        path = f"graph.{node}.model"
        if not operator.needs_model:
            if name is not None:
                self.problems.add(use.at(path), path, expected=f"no model ({operator.op} uses none)", got=name)
            return None, name is None
        if name is None:
            expected = f"{operator.op} to name its model" + (f": {one_of(use.models)}" if use.models else "")
            hint = "" if use.models else "declare it under `models` first"
            self.problems.add(use.at(path), path, expected=expected, got="none", hint=hint)
            return None, False
        resolved = use.models.get(name)
        if resolved is None:
            self.problems.add(use.at(path), path, expected=one_of(use.models), got=name, hint=did_you_mean(name, use.models))
            return None, False
        model = self._read(resolved, f"{use.business.name}.{node}")
        return model, model is not None

    def _read(self, resolved: ResolvedModel, reader: str) -> ModelInfo | None:
        from devices.model import model_info

        key = (resolved.digest, resolved.manifest.model_dump_json())
        if key not in self.models:
            try:
                self.models[key] = model_info(resolved)
            except EngineError as error:
                self.models[key] = None
                expected = f"a model that {reader} can use"
                self.problems.add(resolved.position, f"{resolved.manifest.name}.file", expected=expected, got=str(error))
        return self.models[key]

    def _place(
        self,
        use: Use,
        node: str,
        name: str,
        operator: type[Operator] | type[Composite],
        config: Any,
        model: ModelInfo | None,
        inputs: Mapping[str, Origin],
        depth: int,
    ) -> Made | None:
        """Adds the operator, or all that a composite stands for."""
        if issubclass(operator, Operator):
            self.done.drafts.append(Draft(name, node, use, operator, config, model, inputs))
            draft = len(self.done.drafts) - 1
            position = use.at(f"graph.{node}")
            return {port: Origin(f"{name}.{port}", position, f"graph.{node}", draft=draft, port=port) for port in operator.outputs}
        path = f"graph.{node}"
        if depth == DEPTH:
            self.problems.add(use.at(path), path, expected=f"composites at most {DEPTH} deep", got=name)
            return None
        try:
            expansion = operator.expand(config, model)
        except SpecError as error:
            where = f"{path}.{error.port}" if error.port == "model" else path
            self.problems.add(use.at(where), where, expected=f"{name}: {error.expected}", got=error.got, hint=error.hint)
            return None
        except Exception as error:
            self._broken(use, node, name, operator, "expand", error)
            return None
        made: dict[str, Made] = {}
        operations = [step.op for step in expansion.steps.values()]
        for step_name in _step_order(expansion.steps):
            step = expansion.steps[step_name]
            part = self._find(use, node, step.op)
            own = f"{name} › {step.op}" + (f" ({step_name})" if operations.count(step.op) > 1 else "")
            if part is None:
                return None
            try:
                wired = {port: _step_input(reference, inputs, made) for port, reference in step.inputs.items()}
                settings = part.Config.model_validate(dict(step.config))
            except ValueError as error:
                self._broken(use, node, own, operator, "expand", error)
                return None
            present = {port: origin for port, origin in wired.items() if origin is not None}
            ports = self._place(use, node, own, part, settings, model if step.model else None, present, depth + 1)
            if ports is None:
                return None
            made[step_name] = ports
        try:
            outputs = {port: _step_input(reference, inputs, made) for port, reference in expansion.outputs.items()}
        except ValueError as error:
            self._broken(use, node, name, operator, "expand", error)
            return None
        return {port: origin for port, origin in outputs.items() if origin is not None}

    def _broken(self, use: Use, node: str, name: str, operator: type, method: str, error: Exception) -> None:
        path = f"graph.{node}"
        got = f"{type(error).__name__}: {error}"
        hint = "this is a fault of the operator, not of the manifest"
        self.problems.add(use.at(path), path, expected=f"{operator.__name__}.{method} to work for {name}", got=got, hint=hint)


def _nearest_port(node: str, port: str, ports: Iterable[str]) -> str:
    near = nearest(port, ports)
    return f"did you mean `{node}.{near}`?" if near else ""


def _step_order(steps: Mapping[str, Step]) -> list[str]:
    """Steps of a composite after what they read."""
    seen: set[str] = set()
    order: list[str] = []

    def visit(name: str) -> None:
        if name not in seen:
            seen.add(name)
            for reference in steps[name].inputs.values():
                source = reference.partition(".")[0]
                if source in steps:
                    visit(source)
            order.append(name)

    for name in steps:
        visit(name)
    return order


def _step_input(reference: str, inputs: Mapping[str, Origin], made: Mapping[str, Made]) -> Origin | None:
    """`$name` (None: the composite's optional input is not given), or `step.port`. Raises ValueError for what is no step before."""
    if reference.startswith("$"):
        return inputs.get(reference[1:])
    name, _, port = reference.partition(".")
    ports = made.get(name, {})
    if port in ports:
        return ports[port]
    if not port and len(ports) == 1:
        return next(iter(ports.values()))
    known = [f"{step}.{each}" for step, found in made.items() for each in found]
    raise ValueError(f"expected {one_of(known)}, got {reference!r}")
