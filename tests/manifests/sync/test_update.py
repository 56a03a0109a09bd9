"""What is taken, what is refused, and what the cloud learns."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from manifests.bundle.bundle import Bundle
from manifests.store.reset import request_reset
from manifests.sync.outbox import KEPT, KEPT_FINAL, post
from manifests.sync.runtime import RuntimeRefusal
from manifests.sync.states import State, backoff
from manifests.sync.trust import Untrusted
from manifests.trust import keys
from manifests.trust.envelope import seal
from tests.manifests.sync.conftest import Rig, reach, wanted

Bundles = Callable[..., Bundle]


def settled(rig: Rig, revision: int) -> None:
    """No update is under way, and this revision runs."""
    rig.run(State.IDLE)
    rig.run(State.IDLE)
    assert rig.updater.desired.revision == revision
    assert rig.engine.running is not None


@pytest.fixture
def two(rig: Rig, bundles: Bundles) -> Bundle:
    bundle = bundles("two", model="1.1.0", weights=b"two" * 1000, golden=True)
    rig.fetcher.add(bundle)
    return bundle


def test_a_switch_is_proven_to_the_cloud(rig: Rig, two: Bundle) -> None:
    rig.submit(wanted(two, 1))
    rig.run(State.COMMITTED)
    bodies = {body["state"]: body for body in rig.bodies()}
    assert bodies["PROBATION"]["switch"]["last_old"] == {"front": 7}
    assert bodies["PROBATION"]["switch"]["lost"] == 0
    assert bodies["GATE"]["compared"] == 8
    assert bodies["FETCH"]["missing_bytes"] > 3000


def test_why_an_update_failed_is_known_on_the_device(rig: Rig, two: Bundle) -> None:
    """Where there is no cloud to ask, the agent says it."""
    rig.engine.faults["admit"] = [RuntimeRefusal("no room")]
    rig.submit(wanted(two, 1))
    rig.run(State.FAILED)
    assert rig.updater.reason == "no room"
    rig.run(State.IDLE)
    assert rig.updater.reason == ""


def test_reports_stay_until_they_are_acknowledged(rig: Rig, two: Bundle) -> None:
    rig.submit(wanted(two, 1))
    rig.run(State.COMMITTED)
    rig.restart()
    reports = rig.updater.reports()
    assert [report.seq for report in reports] == list(range(reports[0].seq, reports[0].seq + len(reports)))
    rig.updater.acknowledge(reports[3].seq)
    assert rig.updater.reports() == reports[4:]


def test_a_cloud_that_is_away_for_long_loses_steps_but_no_endings(rig: Rig) -> None:
    with rig.store.transaction():
        for number in range(KEPT + 50):
            post(rig.store, {"number": number})
        post(rig.store, {"ending": 1}, final=True)
    rows = rig.updater.reports(KEPT * 3)
    assert len([row for row in rows if "number" in row.body]) == KEPT
    assert rows[-1].body == {"ending": 1}
    assert KEPT_FINAL > KEPT


def test_settings_change_without_a_new_blob(rig: Rig, two: Bundle) -> None:
    rig.submit(wanted(two, 1))
    rig.run(State.COMMITTED)
    (business,) = wanted(two, 2).active
    asked = len(rig.fetcher.asked)
    rig.submit(wanted(two, 2, active=(business.model_copy(update={"set": {"boxes.score": 0.5}}),)))
    rig.run(State.COMMITTED)
    assert len(rig.fetcher.asked) == asked
    assert rig.engine.running is not None
    assert any(b'"boxes.score":0.5' in path.read_bytes() for path in rig.engine.running.manifests)


def test_what_runs_already_is_not_switched(rig: Rig, two: Bundle) -> None:
    rig.submit(wanted(two, 1))
    rig.run(State.COMMITTED)
    rig.chain()
    calls = rig.engine.calls.count("switch")
    rig.submit(wanted(two, 2))
    rig.run(State.COMMITTED)
    assert rig.chain() == ["RESOLVE", "RESERVE", "FETCH", "STAGED", "COMMITTED"]
    assert rig.engine.calls.count("switch") == calls


def test_only_what_is_staged_is_downloaded(rig: Rig, two: Bundle, bundles: Bundles) -> None:
    """The verb `download`: it is there, kept, and not active."""
    three = bundles("three", model="1.2.0", weights=b"three" * 1000)
    rig.fetcher.add(three)
    (model,) = (item for item in three.document.items if item.kind == "model")
    rig.submit(wanted(two, 1, staged=(model,)))
    rig.run(State.COMMITTED)
    settled(rig, 1)
    assert rig.store.blobs.is_sound(three.items[model.digest].files["eye.onnx"].sha256)


def refused(rig: Rig, code: str, envelope: bytes) -> None:
    with pytest.raises(Untrusted) as caught:
        rig.updater.submit(envelope)
    assert caught.value.code == code
    assert rig.bodies()[-1]["kind"] == "refused"
    assert rig.bodies()[-1]["code"] == code


def test_what_is_not_trusted_changes_nothing(rig: Rig, two: Bundle, tmp_path: Path) -> None:
    rig.submit(wanted(two, 5))
    rig.run(State.COMMITTED)
    settled(rig, 5)
    good = rig.sealed(wanted(two, 6))
    refused(rig, "signature", seal(wanted(two, 6), keys.create(tmp_path / "stranger.pem")).encode())
    refused(rig, "signature", good.replace(b'"sig":"', b'"sig":"00'))
    refused(rig, "form", good[:-1])
    refused(rig, "form", b"")
    refused(rig, "device", rig.sealed(wanted(two, 6, device="another")))
    refused(rig, "rollback", rig.sealed(wanted(two, 4)))
    refused(rig, "equivocation", rig.sealed(wanted(two, 5, probation_s=1.0)))
    assert not rig.updater.submit(rig.sealed(wanted(two, 5)))
    for _ in range(20):
        rig.updater.step()
    settled(rig, 5)


def test_a_stolen_online_key_cannot_age_the_device(rig: Rig, two: Bundle) -> None:
    """Each message says that more than a year has passed: what was signed offline would be out of date for good."""
    rig.refresh()
    for revision in range(1, 6):
        issued = datetime.fromtimestamp(rig.clock.now(), UTC) + timedelta(days=399)
        rig.updater.submit(rig.sealed(wanted(two, revision, active=(), document=None, issued=issued)))
    assert rig.clock.now() <= rig.repository.targets().expires.timestamp()


@pytest.mark.parametrize("rig", ["offline"], indirect=True)
def test_a_stick_that_is_pulled_out_is_waited_for(rig: Rig, two: Bundle, place: Path) -> None:
    rig.submit(wanted(two, 9))
    path = two.path.rename(place / "away.ace")
    for _ in range(20):
        rig.updater.step()
        rig.time.at += 10
    assert rig.updater.state is State.RESOLVE
    assert "two.ace" in rig.updater.waiting_for
    path.rename(two.path)
    rig.run(State.COMMITTED)
    settled(rig, 9)


@pytest.mark.parametrize("state", [State.STAGED, State.GATE])
def test_a_gate_that_is_closed_is_waited_for(rig: Rig, two: Bundle, state: State) -> None:
    """On the disk; or beside what runs, where it closes while the update is loaded."""
    rig.submit(wanted(two, 1))
    rig.run(state, tick=0.1)
    rig.gate = lambda: "we are on air"
    for _ in range(50):
        assert rig.updater.step() is state
        assert rig.updater.held_back == "we are on air"
        rig.time.at += 3600
    assert (rig.engine.staged is None) == (state is State.STAGED)
    rig.gate = lambda: ""
    rig.refresh()
    rig.run(State.COMMITTED)
    assert rig.updater.held_back == ""


def test_a_gate_that_stays_closed_fails_the_update_and_it_is_tried_again(rig: Rig, two: Bundle) -> None:
    rig.gate = lambda: "we are on air"
    rig.submit(wanted(two, 1))
    rig.run(State.FAILED, tick=3600)
    assert (rig.last()["code"], rig.last()["reason"]) == ("deadline", "expected STAGED to end in time: we are on air")
    rig.gate = lambda: ""
    rig.run(State.COMMITTED)


@pytest.mark.parametrize("state", [state for state in State if state is not State.IDLE])
@pytest.mark.parametrize("where", ["local", "cloud"])
def test_a_reset_pre_empts_every_state(rig: Rig, two: Bundle, state: State, where: str) -> None:
    reach(rig, two, state, revision=5)
    if where == "local":
        request_reset(rig.root, "lent out")
    else:
        rig.submit(wanted(two, 7, active=(), staged=(), document=None, reset_epoch=1, hold=True))
    assert rig.updater.step() is State.IDLE
    settled(rig, 0)
    (reset,) = (body for body in rig.bodies() if body["kind"] == "reset")
    assert reset["where"] == where
    assert rig.bodies()[-1] == {"kind": "running", "generation": 0, "revision": 0}
    for _ in range(30):
        assert rig.updater.step() is State.IDLE
        rig.time.at += 100_000
    rig.refresh()
    if where == "local" and state is not State.SUPERSEDED:
        refused(rig, "hold", rig.sealed(wanted(two, 5)))
    rig.submit(wanted(two, 8, reset_epoch=1 if where == "cloud" else 0))
    rig.run(State.COMMITTED)
    settled(rig, 8)


def test_a_release_that_is_damaged_on_the_disk_is_not_run(rig: Rig, two: Bundle) -> None:
    rig.submit(wanted(two, 1))
    rig.run(State.COMMITTED)
    settled(rig, 1)
    blob = rig.store.blobs.path(next(iter(two.items.values())).files["manifest.json"].sha256)
    weights = next(document.files["eye.onnx"] for document in two.items.values() if "eye.onnx" in document.files)
    blob = rig.store.blobs.path(weights.sha256)
    blob.chmod(0o644)
    blob.write_bytes(b"rot")
    rig.restart(power=True)
    rig.run(State.IDLE)
    assert rig.updater.desired.revision == 0
    assert [body["kind"] for body in rig.bodies()[-2:]] == ["fell-back", "running"]
    rig.run(State.COMMITTED)  # it is still wanted: fetched again, and whole
    settled(rig, 1)


def test_an_engine_that_refuses_what_runs_gets_what_ran_before(rig: Rig, two: Bundle) -> None:
    rig.submit(wanted(two, 1))
    rig.run(State.COMMITTED)
    settled(rig, 1)
    rig.engine.faults = {"stage": [RuntimeRefusal("no")] * 3}
    rig.restart(power=True)
    for _ in range(8):
        rig.updater.step()
        rig.time.at += 6
    assert "fell-back" in [body["kind"] for body in rig.bodies()]
    assert rig.engine.running is not None


def test_waits_grow_and_end() -> None:
    for code, longest in (("fetch", 3_600.0), ("golden", 86_400.0)):
        waits = [backoff(count, code) for count in range(1, 40)]
        assert waits == sorted(waits)
        assert waits[-1] == longest


def test_drift_is_told_from_what_this_device_has_seen(rig: Rig, two: Bundle) -> None:
    """Windows are kept while nothing changes, and survive a restart."""
    for _ in range(20):
        rig.updater.step()
        rig.time.at += 700
    rig.restart()
    (count,) = rig.store.database.rows("SELECT count(*) FROM baseline")[0]
    assert 0 < count <= 16
    rig.engine.figures = {"outputs": {"pet.pets": {"": 600}}}
    rig.submit(wanted(two, 1))
    rig.run(State.ROLLED_BACK)
    assert rig.last()["code"] == "drift"
    assert "0% -> 100%" in rig.last()["reason"]
