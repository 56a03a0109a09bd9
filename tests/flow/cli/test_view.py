from __future__ import annotations

import manifests
from flow.cli.view import PICTURE, is_view, view_of, with_views
from flow.plan import make_plan
from manifests import examples


def test_every_stream_gets_one_picture_of_all_its_results() -> None:
    deployment = with_views(manifests.load(examples.path()))
    views = {use.business.name: use for use in deployment.uses if is_view(use.business.name)}
    assert set(views) == {view_of("home"), view_of("desk")}
    home = views[view_of("home")].business
    drawn = [node for node in home.graph.values() if node.op == "draw.results"]
    assert len(drawn) == 2
    assert [set(node.inputs) for node in drawn] == [{"image", "detections"}] * 2
    assert set(home.outputs) == {PICTURE}


def test_a_view_asks_for_no_work_that_is_not_done_already() -> None:
    deployment = manifests.load(examples.path())
    alone = {node.address for node in make_plan(deployment).nodes}
    seen = make_plan(with_views(deployment)).nodes
    assert alone <= {node.address for node in seen}
    assert {node.op for node in seen if node.address not in alone} == {"image.convert", "draw.results"}
