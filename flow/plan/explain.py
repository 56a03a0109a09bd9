"""What businesses share, and what that saves: inferences a frame, other work a frame, model memory."""

from __future__ import annotations

from devices.engine import ModelInfo
from flow.plan.text import size, table
from flow.plan.value import Batch, Node, Plan


def explain(plan: Plan) -> str:
    """Shared nodes, shared models, and the sum of what runs once instead of several times."""
    shared = [node for node in plan.nodes if len(node.names) > 1]
    lines = [_headline(plan, shared)]
    if shared:
        rows = [(node.op, str(len(node.names)), ", ".join(node.names), _once(node)) for node in shared]
        lines += ["", "Shared work", *table(("", "wanted by", "as", "runs"), rows)]
    models = [(model, users) for model in _files(plan) if len(users := _users(plan, model)) > 1]
    if models:
        loaded = [(f"{model.name}@{model.version}", ", ".join(users), size(_bytes(model))) for model, users in models]
        lines += ["", "Shared models", *table(("", "used by", "loaded once"), loaded)]
    batches = [(_model_names(plan, batch), _streams(plan, batch), _batch(batch)) for lane in plan.lanes for batch in lane.batches]
    if batches:
        lines += ["", "Sessions that streams share", *table(("", "streams", "in one call"), batches)]
    alone = [node for node in plan.nodes if len(node.names) == 1 and node.engine is not None]
    if alone and len(_businesses(plan)) > 1:
        reasons = [(node.names[0], _why(plan, node)) for node in alone]
        lines += ["", "Inference that is not shared", *table(("", "because"), reasons)]
    return "\n".join(lines)


def saved_runs(plan: Plan) -> int:
    """Operator runs a frame that merging saves."""
    return sum(len(node.names) - 1 for node in plan.nodes)


def saved_inferences(plan: Plan) -> int:
    """Inferences a frame that merging saves."""
    return sum(len(node.names) - 1 for node in plan.nodes if node.engine is not None)


def saved_model_bytes(plan: Plan) -> int:
    """Bytes of model files that would be loaded again if every business had its own."""
    return sum((len(_users(plan, model)) - 1) * _bytes(model) for model in _files(plan))


def _headline(plan: Plan, shared: list[Node]) -> str:
    businesses = _businesses(plan)
    who = ", ".join(businesses) or "nothing"
    asked = sum(len(node.names) for node in plan.nodes)
    if not shared and not saved_model_bytes(plan):
        return f"{who}: {asked} node{'' if asked == 1 else 's'}, nothing to share"
    inferred = sum(node.engine is not None for node in plan.nodes) + saved_inferences(plan)
    inferences = f"{saved_inferences(plan)} of {inferred} inferences, " if inferred else ""
    files = f"; {size(saved_model_bytes(plan))} of model files loaded once instead of again" if saved_model_bytes(plan) else ""
    saved = f"{inferences}{saved_runs(plan)} of {asked} operator runs{files}"
    return f"{who}: {asked} nodes wanted, {len(plan.nodes)} run. Saved on every frame: {saved}"


def _model_names(plan: Plan, batch: Batch) -> str:
    """What runs frames together: models, and operators without one."""
    nodes = [plan.node(group[0]) for group in batch.nodes]
    return ", ".join(f"{model.name}@{model.version}" if (model := plan.model(node)) else node.op for node in nodes)


def _streams(plan: Plan, batch: Batch) -> str:
    return ", ".join(dict.fromkeys(plan.node(address).streams[0] for group in batch.nodes for address in group))


def _batch(batch: Batch) -> str:
    return f"up to {batch.most} frames, " + (f"none waits over {batch.delay_ms:g} ms" if batch.delay_ms else "of those that wait already")


def _once(node: Node) -> str:
    return "one inference a frame" if node.engine is not None else "once a frame"


def _why(plan: Plan, node: Node) -> str:
    """What sets an inference apart from those of other businesses."""
    same_file = [other for other in plan.nodes if other.model == node.model and other.engine is not None and other is not node]
    if not same_file:
        return "no other business uses this model"
    other = same_file[0]
    if other.streams != node.streams:
        return f"{other.names[0]} infers on {', '.join(other.streams)}, this on {', '.join(node.streams)}"
    if other.config != node.config:
        return f"{other.names[0]} has other settings"
    return f"{other.names[0]} prepares its input in another way"


def _files(plan: Plan) -> list[ModelInfo]:
    """One model for each file."""
    return list({model.digest: model for model in plan.models}.values())


def _users(plan: Plan, model: ModelInfo) -> list[str]:
    """Businesses that infer with a model."""
    return list(
        dict.fromkeys(name for node in plan.nodes if node.model == model.digest and node.engine is not None for name in node.businesses)
    )


def _businesses(plan: Plan) -> list[str]:
    return list(dict.fromkeys(name for node in plan.nodes for name in node.businesses))


def _bytes(model: ModelInfo) -> int:
    try:
        return model.path.stat().st_size
    except OSError:
        return 0
