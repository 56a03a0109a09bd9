"""Rollouts, resets and what is foreseen: devices are rows that answer as they are told."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from sqlalchemy import event, func, select, update

from manifests.cloud import inventory, participants, resets, rollout
from manifests.cloud.errors import Forbidden, Refusal, Unknown, Wrong
from manifests.cloud.people import Person
from manifests.cloud.rollout import Spec, Tools
from manifests.cloud.service import Ask, Cloud
from manifests.cloud.tables import participants as table
from manifests.cloud.tables import seen
from manifests.sync.desired import Item, Shadow
from manifests.sync.reported import Reported, Transition

from .fleet import DETECTOR, RUNNING, make_cloud, populate

OPERATOR, APPROVER = Person("olga", "operator"), Person("anna", "approver")
NEW = "model/detector@1.1.0"


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Cloud]:
    """A cloud that serves nobody: its rollouts go on when the test says so."""
    made = make_cloud(tmp_path)
    yield made
    made.stop()


def go(cloud: Cloud, *, now: float | None = None) -> None:
    """Until nothing changes any more."""
    tools = Tools(cloud.sign, cloud._planned, cloud._base)
    for _ in range(20):
        with cloud.database.write() as connection:
            before = rollout.show(connection, 1)
            if not rollout.advance(connection, tools, now) and before == rollout.show(connection, 1):
                return


def show(cloud: Cloud, number: int = 1) -> dict[str, Any]:
    """As people see it; what is counted as states change is what there is."""
    with cloud.database.read() as connection:
        query = select(table.c.state, func.count()).where(table.c.rollout == number).group_by(table.c.state)
        shown = rollout.show(connection, number)
        assert shown["devices"] == {row[0]: row[1] for row in connection.execute(query)}
    return shown


def sent(cloud: Cloud) -> dict[str, int]:
    """Devices that have the new model as desired: their revision."""
    with cloud.database.read() as connection:
        ids = inventory.cohort(connection, "home")
        found = inventory.wanted(connection, ids)
    new = DETECTOR["1.1.0"]
    return {each: state.revision for each, state in found.items() if any(new in business.models.values() for business in state.active)}


def answer(cloud: Cloud, outcome: Callable[[str], str]) -> None:
    """Every device that has the new model says how it went."""
    steps = []
    for device, revision in sent(cloud).items():
        steps.append((device, Transition(revision=revision, outcome=outcome(device), state="x", at=datetime.now(UTC))))  # type: ignore[arg-type]
    with cloud.database.write() as connection:
        rollout.heard(connection, steps)


def begin(cloud: Cloud, **changes: Any) -> int:
    return cloud.begin(OPERATOR, Spec(**{"cohort": "home", "item": NEW, "stages": ("2", "50%", "100%"), **changes}))


def test_a_good_change_goes_to_a_canary_then_to_more_then_to_all(cloud: Cloud) -> None:
    populate(cloud, 20)
    begin(cloud)
    for expected in (2, 10, 20):
        go(cloud)
        assert len(sent(cloud)) == expected
        assert show(cloud)["state"] == "running"
        answer(cloud, lambda _: "done")
    go(cloud)
    assert show(cloud)["state"] == "done"
    assert show(cloud)["devices"] == {"done": 20}


def test_a_bad_change_is_taken_back_from_all_that_got_it(cloud: Cloud) -> None:
    populate(cloud, 20)
    begin(cloud)
    go(cloud)
    canary = sent(cloud)
    answer(cloud, lambda _: "failed")
    go(cloud)
    assert show(cloud)["state"] == "aborted"
    assert show(cloud)["why"] == "2 of 2 devices that answered have failed: more than 10%"
    assert show(cloud)["devices"] == {"returned": 2, "waiting": 18}
    assert not sent(cloud)
    with cloud.database.read() as connection:
        for device, state in inventory.wanted(connection, list(canary)).items():
            assert state.active == RUNNING
            assert state.revision == canary[device] + 1


def test_one_failure_is_not_judged_before_the_minimum_has_answered(cloud: Cloud) -> None:
    ids = populate(cloud, 40)
    begin(cloud, stages=("20", "100%"), minimum=10)
    go(cloud)
    first = sorted(sent(cloud))
    answer(cloud, lambda device: "failed" if device == first[0] else "working")
    go(cloud)
    assert show(cloud)["state"] == "running"
    answer(cloud, lambda device: "done" if device in first[1:] else "working")
    go(cloud)
    assert len(sent(cloud)) == len(ids)


def test_a_stage_that_falls_short_waits_for_a_person(cloud: Cloud) -> None:
    populate(cloud, 20)
    begin(cloud, stages=("10", "100%"), success=0.95, abort=0.2)
    go(cloud)
    bad = min(sent(cloud))
    answer(cloud, lambda device: "failed" if device == bad else "done")
    go(cloud)
    assert (show(cloud)["state"], show(cloud)["why"]) == ("paused", "stage 1: 9 of 10 are done, less than 95%")
    cloud.turn(OPERATOR, 1, "resume")
    go(cloud)
    assert len(sent(cloud)) == 20


def test_a_last_stage_that_falls_short_and_is_accepted_ends_the_rollout(cloud: Cloud) -> None:
    populate(cloud, 20, online=19)
    begin(cloud, stages=("100%",), success=0.95, abort=0.2)
    go(cloud)
    bad = min(sent(cloud))
    answer(cloud, lambda device: "failed" if device == bad else "done")
    go(cloud)
    assert (show(cloud)["state"], show(cloud)["why"]) == ("paused", "stage 1: 18 of 19 are done, less than 95%")
    cloud.turn(OPERATOR, 1, "resume")
    go(cloud)
    assert (show(cloud)["state"], show(cloud)["stage"]) == ("done", 0)
    assert len(sent(cloud)) == 20, "the one that was away gets it too"


def test_offline_devices_are_left_out_and_get_it_last(cloud: Cloud) -> None:
    populate(cloud, 20, online=8)
    begin(cloud, stages=("5", "100%"))
    go(cloud)
    assert show(cloud)["devices"] == {"sent": 5, "waiting": 15}
    answer(cloud, lambda _: "done")
    go(cloud)
    assert show(cloud)["devices"] == {"done": 5, "sent": 3, "offline": 12}
    answer(cloud, lambda _: "done")
    go(cloud)
    assert show(cloud)["state"] == "done"
    assert show(cloud)["devices"] == {"done": 8, "offline": 12}
    assert len(sent(cloud)) == 20


def test_with_nobody_online_nothing_is_decided(cloud: Cloud) -> None:
    populate(cloud, 20, online=0)
    begin(cloud)
    go(cloud)
    assert (show(cloud)["state"], show(cloud)["devices"]) == ("running", {"waiting": 20})


def test_who_does_not_answer_has_failed_unless_it_went_offline(cloud: Cloud) -> None:
    populate(cloud, 20)
    begin(cloud, stages=("4", "100%"), abort=1.0, success=0.0, deadline_s=60)
    go(cloud)
    later = time.time() + 120
    quiet = sorted(sent(cloud))[:3]
    with cloud.database.write() as connection:
        connection.execute(update(seen).where(seen.c.device.in_(quiet)).values(at=later - 1000))
        rollout.advance(connection, Tools(cloud.sign, cloud._planned, cloud._base), later)
    assert (show(cloud)["devices"]["failed"], show(cloud)["devices"]["offline"]) == (1, 3)


def test_pause_resume_and_abort_by_a_person(cloud: Cloud) -> None:
    populate(cloud, 20)
    begin(cloud)
    go(cloud)
    cloud.turn(OPERATOR, 1, "pause")
    answer(cloud, lambda _: "done")
    go(cloud)
    assert len(sent(cloud)) == 2
    cloud.turn(OPERATOR, 1, "resume")
    go(cloud)
    assert len(sent(cloud)) == 10
    cloud.turn(OPERATOR, 1, "abort")
    go(cloud)
    assert not sent(cloud)
    assert show(cloud)["why"] == "aborted by olga"
    with pytest.raises(Refusal, match="rollout 1 is aborted: expected paused"):
        cloud.turn(OPERATOR, 1, "resume")
    with pytest.raises(Forbidden):
        cloud.turn(Person("vera", "viewer"), 1, "pause")


def test_what_changed_since_is_not_taken_back(cloud: Cloud) -> None:
    populate(cloud, 20)
    begin(cloud)
    go(cloud)
    device = min(sent(cloud))
    cloud.reload(OPERATOR, Ask(("model/detector@1.0.0",), device=device))
    cloud.reload(OPERATOR, Ask((NEW,), device=device))
    cloud.turn(OPERATOR, 1, "abort")
    go(cloud)
    assert list(sent(cloud)) == [device]


def test_a_refused_or_held_device_is_left_out(cloud: Cloud) -> None:
    ids = populate(cloud, 20)
    cloud.reset(OPERATOR, [ids[0]], "", "a test")
    begin(cloud, stages=("100%",))
    go(cloud)
    assert show(cloud)["devices"] == {"sent": 19, "skipped": 1}
    steps = [(ids[1], Transition(revision=0, outcome="refused", state="refused", at=datetime.now(UTC), code="rollback"))]
    with cloud.database.write() as connection:
        rollout.heard(connection, steps)
    assert show(cloud)["devices"]["failed"] == 1


def test_one_rollout_of_a_cohort_at_a_time_and_stages_that_grow(cloud: Cloud) -> None:
    populate(cloud, 20)
    begin(cloud)
    with pytest.raises(Refusal, match="rollout 1 of cohort home is not finished"):
        begin(cloud)
    populate(cloud, 5, "yard")
    with pytest.raises(Wrong, match="cumulative sizes that grow"):
        begin(cloud, cohort="yard", stages=("100%", "1"))
    with pytest.raises(Unknown, match="did you mean `detector`"):
        begin(cloud, cohort="yard", item="model/detectr")
    for stage in ("0", "101%", "-1", "x"):
        with pytest.raises(ValidationError):
            Spec(cohort="home", item=NEW, stages=(stage,))


def test_devices_are_drawn_once_and_passed_over_while_they_are_away(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(participants, "PAGE", 3)
    ids = populate(cloud, 20, online=0)
    begin(cloud, stages=("2", "50%", "100%"))
    with cloud.database.read() as connection:
        drawn = list(connection.execute(select(table.c.device).order_by(table.c.place)).scalars())
    assert sorted(drawn) == sorted(ids)
    here = [drawn[place] for place in (1, 8, 9, 19)]
    with cloud.database.write() as connection:
        inventory.note_seen(connection, dict.fromkeys(here, time.time()))
    go(cloud)
    assert sorted(sent(cloud)) == sorted(here[:2])
    answer(cloud, lambda _: "done")
    with cloud.database.write() as connection:
        inventory.note_seen(connection, dict.fromkeys([drawn[0]], time.time()))
    go(cloud)
    assert sorted(sent(cloud)) == sorted([drawn[0], *here]), "who is back has its turn in the next stage"
    answer(cloud, lambda _: "done")
    go(cloud)
    assert (show(cloud)["state"], show(cloud)["devices"]) == ("done", {"done": 5, "offline": 15})
    assert len(sent(cloud)) == 20


def test_a_device_costs_the_same_in_a_larger_fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Instructions of the database's machine, and statements, of a whole rollout."""
    monkeypatch.setattr(rollout, "AT_ONCE", 10)
    monkeypatch.setattr(participants, "PAGE", 10)

    def cost(devices: int) -> tuple[float, float]:
        folder = tmp_path / str(devices)
        folder.mkdir()
        cloud = make_cloud(folder)
        populate(cloud, devices, online=devices * 2 // 3)
        begin(cloud, stages=("10", "100%"))
        counted = [0, 0]

        def instructions() -> int:
            counted[0] += 100
            return 0

        def statement(*_: object) -> None:
            counted[1] += 1

        with cloud.database.write() as connection:
            raw = connection.connection.dbapi_connection
            assert raw is not None
            raw.set_progress_handler(instructions, 100)  # type: ignore[attr-defined]
        event.listen(cloud.database.engine, "before_cursor_execute", statement)
        tools = Tools(cloud.sign, cloud._planned, cloud._base)
        state = "running"
        while state == "running":
            with cloud.database.write() as connection:
                revisions = dict.fromkeys(rollout.advance(connection, tools), 2)
                told = [Transition(revision=revision, outcome="done", state="x", at=datetime.now(UTC)) for revision in revisions.values()]
                rollout.heard(connection, list(zip(revisions, told, strict=True)))
                state = rollout.find(connection, 1).state
        assert show(cloud)["devices"] == {"done": devices}
        cloud.stop()
        return counted[0] / devices, counted[1] / devices

    small, large = cost(60), cost(240)
    assert large[0] < 1.1 * small[0], (small, large)
    assert large[1] < 1.1 * small[1], (small, large)


def test_a_rollout_that_cannot_go_on_keeps_no_other_from_it(cloud: Cloud, caplog: pytest.LogCaptureFixture) -> None:
    populate(cloud, 2, "broken")
    populate(cloud, 6)
    broken = cloud.begin(OPERATOR, Spec(cohort="broken", item=NEW, stages=("100%",)))
    begin(cloud, stages=("100%",))

    def plan(connection: Any, spec: Spec, ids: Any) -> Any:
        if spec.cohort == "broken":
            rollout._end(connection, broken, "done", "half of a step")
            raise ZeroDivisionError("what nobody thought of")
        return cloud._planned(connection, spec, ids)

    with cloud.database.write() as connection:
        assert len(rollout.advance(connection, Tools(cloud.sign, plan, cloud._base))) == 6
    assert "rollout 1 cannot be taken on" in caplog.text
    assert show(cloud, broken)["state"] == "running", "nothing of the step that failed is left"
    go(cloud)
    assert show(cloud, broken)["devices"] == {"sent": 2}


# Resets


def test_one_device_is_reset_at_once_with_a_reason(cloud: Cloud) -> None:
    ids = populate(cloud, 20)
    with pytest.raises(Wrong, match="needs a reason"):
        cloud.reset(OPERATOR, [ids[0]], "", " ")
    with pytest.raises(Forbidden, match="vera is viewer"):
        cloud.reset(Person("vera", "viewer"), [ids[0]], "", "why not")
    assert cloud.reset(OPERATOR, [ids[0]], "", "it smokes")["devices"] == [{"device": ids[0], "revision": 1}]
    with cloud.database.read() as connection:
        state = inventory.wanted(connection, ids)[ids[0]]
    assert (state.hold, state.reset_epoch, state.active) == (True, 1, ())


def test_a_device_that_was_reset_by_hand_waits_for_an_approver(cloud: Cloud) -> None:
    """And starts again from what it then runs."""
    ids = populate(cloud, 3)
    cloud.reload(OPERATOR, Ask((NEW,), device=ids[0]))
    with cloud.database.write() as connection:
        inventory.note_shadows(connection, {ids[0]: Reported(revision=1, hold=True, active=RUNNING)}, 0.0)
    assert cloud.impact("reload", Ask(("business/pet@1.1.0",), device=ids[0]))["held"]["count"] == 1
    with pytest.raises(Refusal, match="is held since its reset: expected an approver, got operator olga"):
        cloud.reload(OPERATOR, Ask(("business/pet@1.1.0",), device=ids[0]))
    cloud.reload(APPROVER, Ask(("business/pet@1.1.0",), device=ids[0]))
    with cloud.database.read() as connection:
        state = inventory.wanted(connection, ids)[ids[0]]
    assert [business.models["detector"].version for business in state.active] == ["1.0.0", "1.0.0"]


def test_what_a_device_was_given_in_files_is_what_is_changed(cloud: Cloud) -> None:
    ids = populate(cloud, 3)
    cloud.reload(OPERATOR, Ask(("model/detector@1.0.0",), device=ids[0]))
    cameras = Item(kind="device", name="hall", version="1.0.0", digest="0" * 64)
    given = tuple(business.model_copy(update={"models": {"detector": DETECTOR["1.1.0"]}}) for business in RUNNING)
    with cloud.database.write() as connection:
        inventory.note_shadows(connection, {ids[0]: Reported(revision=7, active=given, document=cameras)}, 0.0)
    cloud.reload(OPERATOR, Ask(("business/pet@1.1.0",), device=ids[0]))
    with cloud.database.read() as connection:
        state = inventory.wanted(connection, ids)[ids[0]]
    assert (state.revision, state.document) == (8, cameras)
    assert [business.models["detector"].version for business in state.active] == ["1.1.0", "1.1.0"]


def test_more_than_a_hundredth_needs_a_second_person_in_time(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = populate(cloud, 250)
    assert "devices" in cloud.reset(OPERATOR, ids[:2], "", "two of 250")
    asked = cloud.reset(OPERATOR, ids[2:4], "", "two more: together they are more than a hundredth")["waits"]
    assert asked["devices"] == 2
    with cloud.database.read() as connection:
        assert [each["id"] for each in resets.waiting(connection)] == [asked["id"]]
        assert not inventory.wanted(connection, ids[2:3])[ids[2]].hold
    with pytest.raises(Forbidden, match="olga is operator: expected approver"):
        cloud.agree(OPERATOR, asked["id"])
    assert len(cloud.agree(APPROVER, asked["id"])["devices"]) == 2
    with pytest.raises(Refusal, match="was agreed to by anna already"):
        cloud.agree(Person("otto", "admin"), asked["id"])
    own = cloud.reset(APPROVER, [], "home", "all of them")["waits"]
    assert own["devices"] == 250
    with pytest.raises(Forbidden, match="expected a second person"):
        cloud.agree(APPROVER, own["id"])
    later = time.time() + 601
    monkeypatch.setattr(time, "time", lambda: later)
    with pytest.raises(Refusal, match="has expired"):
        cloud.agree(Person("otto", "admin"), own["id"])


def test_one_device_of_each_of_many_cohorts_is_many(cloud: Cloud) -> None:
    """However they are asked for: together, or one after the other."""
    rooms = [populate(cloud, 5, f"room-{number}")[0] for number in range(3)]
    assert cloud.reset(OPERATOR, rooms, "", "all at once")["waits"]["devices"] == 3
    assert "devices" in cloud.reset(OPERATOR, rooms[:1], "", "one")
    assert "devices" in cloud.reset(OPERATOR, rooms[:1], "", "the same again")
    assert cloud.reset(OPERATOR, rooms[1:2], "", "the next")["waits"]["devices"] == 1


def test_a_condition_goes_with_the_change_and_with_nothing_after_it(cloud: Cloud) -> None:
    populate(cloud, 4)
    condition = Shadow(seconds=30, agreement=0.95)
    begin(cloud, shadow=condition, minimum=1)

    def conditions() -> set[Shadow | None]:
        with cloud.database.read() as connection:
            found = inventory.wanted(connection, inventory.cohort(connection, "home"))
        return {state.shadow for state in found.values() if state.revision}

    go(cloud)
    assert len(sent(cloud)) == 2
    assert conditions() == {condition}
    reason = "pets.boxes: expected an agreement of at least 0.95, got 0.5 over 40 frames"
    device, revision = next(iter(sent(cloud).items()))
    said = Transition(revision=revision, outcome="failed", state="failed", at=datetime.now(UTC), code="shadow", detail=reason)
    with cloud.database.write() as connection:
        inventory.note_transitions(connection, [(device, said)], time.time())
    answer(cloud, lambda _: "failed")
    go(cloud)
    assert show(cloud)["state"] == "aborted"
    assert show(cloud)["why"].endswith(reason)
    assert conditions() == {None}
