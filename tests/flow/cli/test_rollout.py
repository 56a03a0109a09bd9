from __future__ import annotations

from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from flow.cli import remote
from flow.cli.reload import reload
from flow.cli.rollout import rollout
from manifests.cloud.rollout import Spec
from manifests.sync.desired import Shadow


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The bodies that a cloud was sent."""
    bodies: list[Any] = []

    def ask(cloud: str, method: str, path: str, body: Any = None) -> dict[str, Any]:
        bodies.append(body)
        return {"id": 1, "devices": [], "businesses": [], "kept": {}}

    monkeypatch.setattr(remote, "ask", ask)
    return bodies


def test_a_shadow_is_a_condition_that_the_cloud_understands(asked: list[Any]) -> None:
    pytest.importorskip("sqlalchemy", reason="the cloud needs the extra `cloud`")
    given = ["--shadow", "30", "--agreement", "0.95", "--slower", "1.5", "--memory", "200", "--share", "0.2", "--cpu", "0.5"]
    done = CliRunner().invoke(rollout, ["create", "model/detector@1.1.0", "--cohort", "home", *given])
    assert done.exit_code == 0, done.output
    wanted = Shadow(seconds=30, agreement=0.95, latency=1.5, memory_bytes=200_000_000, share=0.2, cpu=0.5)
    assert Spec.model_validate(asked[0]).shadow == wanted
    CliRunner().invoke(rollout, ["create", "model/detector@1.1.0", "--cohort", "home"])
    assert Spec.model_validate(asked[1]).shadow is None


def test_a_reload_of_one_device_has_the_same_condition(asked: list[Any]) -> None:
    pytest.importorskip("fastapi", reason="the cloud needs the extra `cloud`")
    from manifests.cloud.api import Change

    app = typer.Typer()
    app.command()(reload)
    done = CliRunner().invoke(app, ["porch", "model/detector@1.1.0", "--shadow", "30", "--agreement", "0.95"])
    assert done.exit_code == 0, done.output
    assert Change.model_validate(asked[0]).ask().shadow == Shadow(seconds=30, agreement=0.95)
    done = CliRunner().invoke(app, ["porch", "model/detector@1.1.0", "--cpu", "1"])
    assert done.exit_code == 2
    assert len(asked) == 1


def test_what_a_shadow_must_show_needs_a_shadow(asked: list[Any]) -> None:
    done = CliRunner().invoke(rollout, ["create", "model/detector@1.1.0", "--cohort", "home", "--agreement", "0.9"])
    assert done.exit_code == 2
    assert "expected --shadow SECONDS" in done.output
    assert not asked
