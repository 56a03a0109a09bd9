from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import manifests
from manifests.document import Document, collect
from manifests.migrate import STEPS, migrate, step
from manifests.schema.common import API_VERSION

OLD = """
apiVersion: ace/v1alpha1
kind: Business
name: pet
version: 1.0.0
inputs: {camera: image}
nodes:
  boxes:
    op: detect.yolox
    inputs: {image: camera}
    config: {score: 0.35}
outputs: {pets: boxes}
"""
NEW = OLD.replace("v1alpha1", "v1").replace("nodes:", "graph:").replace("    inputs:", "    in:")


def test_alpha_is_read_as_what_it_means(tmp_path: Path) -> None:
    (tmp_path / "old.yaml").write_text(OLD)
    (tmp_path / "new.yaml").write_text(NEW)
    old, new = (manifests.load(tmp_path / name, bind={"camera": "a.mp4"}) for name in ("old.yaml", "new.yaml"))
    assert old.uses[0].business == new.uses[0].business
    assert old.uses[0].at("graph.boxes.in.image").line == 10


def test_problems_stand_where_the_old_form_has_them(tmp_path: Path) -> None:
    (tmp_path / "old.yaml").write_text(OLD.replace("image: camera", "image: camra"))
    with pytest.raises(manifests.ManifestError) as caught:
        manifests.load(tmp_path / "old.yaml", bind={"camera": "a.mp4"})
    (problem, *_) = caught.value.problems
    assert (problem.position.line, problem.path) == (10, "graph.boxes.in.image")


def test_old_and_new_key_together_are_refused(tmp_path: Path) -> None:
    (tmp_path / "old.yaml").write_text(OLD + "graph: {}\n")
    with pytest.raises(manifests.ManifestError, match=r"nodes: expected one of"):
        manifests.load(tmp_path / "old.yaml", bind={"camera": "a.mp4"})


@pytest.mark.parametrize(
    ("version", "said"),
    [
        ("ace/v2", "newer ACE"),
        ("ace/v2beta1", "newer ACE"),
        ("ace/v11", "newer ACE"),
        ("ace/1", "did you mean `ace/v1`?"),
        ("v1", "expected one of `ace/v1`, `ace/v1alpha1`, got `v1`"),
        ("[ace/v1]", "got a list of 1"),
        ("1", "got 1"),
        ("", "got nothing"),
    ],
)
def test_other_versions(tmp_path: Path, version: str, said: str) -> None:
    (tmp_path / "a.yaml").write_text(f"kind: Business\napiVersion: {version}\n")
    (document,) = collect([tmp_path / "a.yaml"], [])
    problem = migrate(document)
    assert problem is not None
    assert said in str(problem)
    assert problem.position.line == 2


def test_no_version() -> None:
    assert "is this a manifest?" in str(migrate(Document("f", Path(), {"services": {}})))
    assert "write `apiversion` as `apiVersion`" in str(migrate(Document("f", Path(), {"apiversion": "ace/v1"})))
    assert "expected a mapping" in str(migrate(Document("f", Path(), [1])))


def test_every_version_leads_to_the_current_one() -> None:
    for version in STEPS:
        document = Document("f", Path(), {"apiVersion": version, "kind": "Business"})
        assert migrate(document) is None
        assert document.value["apiVersion"] == API_VERSION
    assert API_VERSION not in STEPS


def test_one_step_from_each_version() -> None:
    with pytest.raises(ValueError, match="one step from ace/v1alpha1"):
        step("ace/v1alpha1", "ace/v1")(lambda _: None)


PLAIN = st.recursive(
    st.none() | st.text(max_size=5) | st.integers(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["nodes", "graph", "inputs", "in", "a.b"]), inner),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from(["nodes", "graph", "kind", "name"]), PLAIN))
def test_steps_meet_anything(value: dict[str, Any]) -> None:
    document = Document("f", Path(), {**value, "apiVersion": "ace/v1alpha1", "kind": "Business"})
    assert migrate(document) is None
