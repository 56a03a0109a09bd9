"""The four verbs, through real sockets: cloud and device, signatures included."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from manifests.cloud.errors import Refusal, Unknown, Wrong
from manifests.cloud.people import Person
from manifests.cloud.service import Ask, Cloud

from .fleet import DETECTOR, PET, ROOT, RUNNING, Device, wait_for

Make = Callable[..., Device]
OPERATOR = Person("olga", "operator")


def settled(device: Device, revision: int) -> None:
    def there() -> bool:
        reported = device.cloud.query(device.name)["reported"]
        return bool(reported and reported["revision"] == revision)

    wait_for(there, f"{device.name} has settled revision {revision}")


def test_query_tells_what_runs(cloud: Cloud, device: Make) -> None:
    device("kitchen")
    told = cloud.query("kitchen")
    assert told["state"] == "approved"
    assert told["desired"] is None
    assert [each["business"]["name"] for each in told["reported"]["active"]] == ["pet", "door"]


def test_download_stages_without_changing_what_runs(cloud: Cloud, device: Make) -> None:
    kitchen = device("kitchen")
    cloud.download(OPERATOR, Ask(("model/detector@2.0.0", "business/pet@1.1.0"), device="kitchen"))
    settled(kitchen, 1)
    assert kitchen.active == RUNNING
    assert kitchen.stored == (DETECTOR["2.0.0"], PET["1.1.0"])


def test_a_model_is_reloaded_in_every_business_that_takes_it(cloud: Cloud, device: Make) -> None:
    kitchen = device("kitchen")
    done = cloud.reload(OPERATOR, Ask(("model/detector@1.1.0",), device="kitchen"))
    assert done["businesses"] == ["door", "pet"]
    settled(kitchen, 1)
    assert {each.models["detector"].version for each in kitchen.active} == {"1.1.0"}


def test_a_business_whose_range_refuses_the_model_keeps_the_old_one_beside_it(cloud: Cloud, device: Make) -> None:
    kitchen = device("kitchen")
    done = cloud.reload(OPERATOR, Ask(("model/detector@2.0.0",), device="kitchen"))
    assert done["businesses"] == ["door"]
    assert done["kept"] == {"pet": "business/pet@1.0.0 takes detector@^1"}
    settled(kitchen, 1)
    assert {each.business.name: each.models["detector"].version for each in kitchen.active} == {"pet": "1.0.0", "door": "2.0.0"}


def test_with_all_the_whole_reload_is_refused(cloud: Cloud, device: Make) -> None:
    kitchen = device("kitchen")
    with pytest.raises(Refusal, match=r"business/pet@1.0.0 takes detector@\^1: nothing was reloaded"):
        cloud.reload(OPERATOR, Ask(("model/detector@2.0.0",), device="kitchen", all=True))
    assert cloud.query("kitchen")["desired"] is None
    assert not kitchen.applied


def test_a_business_is_reloaded_with_its_settings(cloud: Cloud, device: Make) -> None:
    kitchen = device("kitchen")
    cloud.reload(OPERATOR, Ask(("business/pet",), device="kitchen", settings={"boxes.score": 0.5}))
    settled(kitchen, 1)
    pet = kitchen.active[0]
    assert pet.business == PET["1.1.0"]
    assert pet.models["detector"] == DETECTOR["1.0.0"]
    assert pet.set == {"boxes.score": 0.5}


def test_a_business_is_removed_and_added(cloud: Cloud, device: Make) -> None:
    kitchen = device("kitchen")
    cloud.remove(OPERATOR, Ask(("business/door",), device="kitchen"))
    settled(kitchen, 1)
    assert [each.business.name for each in kitchen.active] == ["pet"]
    cloud.reload(OPERATOR, Ask(("business/door@1.0.0",), device="kitchen"))
    settled(kitchen, 2)
    assert [each.business.name for each in kitchen.active] == ["pet", "door"]
    assert kitchen.active[1].models["detector"] == DETECTOR["1.0.0"]


def test_what_was_only_downloaded_is_let_go(cloud: Cloud, device: Make) -> None:
    """What does not fit would otherwise fail every later change of the device."""
    kitchen = device("kitchen")
    cloud.download(OPERATOR, Ask(("model/detector@2.0.0", "business/pet@1.1.0"), device="kitchen"))
    settled(kitchen, 1)
    cloud.remove(OPERATOR, Ask(("model/detector",), device="kitchen"))
    settled(kitchen, 2)
    assert (kitchen.active, kitchen.stored) == (RUNNING, (PET["1.1.0"],))
    with pytest.raises(Unknown, match="neither runs nor was to download model/detector: expected one of `business/door`, `business/pet`"):
        cloud.remove(OPERATOR, Ask(("model/detector",), device="kitchen"))


def test_a_reset_returns_to_the_factory_and_holds_until_an_approver(cloud: Cloud, device: Make) -> None:
    kitchen = device("kitchen")
    cloud.reload(OPERATOR, Ask(("model/detector@1.1.0",), device="kitchen"))
    settled(kitchen, 1)
    cloud.reset(OPERATOR, ["kitchen"], "", "the door opens by itself")
    settled(kitchen, 2)
    assert kitchen.epoch == 1
    assert kitchen.active == RUNNING
    with pytest.raises(Refusal, match="is held since its reset: expected an approver, got operator olga"):
        cloud.reload(OPERATOR, Ask(("model/detector@1.1.0",), device="kitchen"))
    cloud.reload(Person("anna", "approver"), Ask(("model/detector@1.1.0",), device="kitchen"))
    settled(kitchen, 3)
    assert {each.models["detector"].version for each in kitchen.active} == {"1.1.0"}


def test_what_failed_is_told(cloud: Cloud, device: Make) -> None:
    device("kitchen", bad=("model/detector@1.1.0",))
    cloud.reload(OPERATOR, Ask(("model/detector@1.1.0",), device="kitchen"))
    [step] = wait_for(lambda: cloud.query("kitchen")["history"], "the failure has come in")
    assert (step["revision"], step["outcome"], step["state"], step["code"]) == (1, "failed", "rolled_back", "probation.errors")


def test_a_device_that_was_away_gets_only_the_newest(cloud: Cloud, device: Make) -> None:
    kitchen = device("kitchen")
    kitchen.stop()
    for version in ("1.1.0", "1.0.0", "1.1.0"):
        cloud.reload(OPERATOR, Ask((f"model/detector@{version}",), device="kitchen"))
    kitchen.start()
    settled(kitchen, 3)
    assert kitchen.applied == [3]


def test_what_is_wrong_is_said(cloud: Cloud, device: Make) -> None:
    device("kitchen")
    for ask, error, said in (
        (Ask(("model/detektor",), device="kitchen"), Unknown, "did you mean `detector`"),
        (Ask(("model/detector@^9",), device="kitchen"), Unknown, "expected one of `1.0.0`, `1.1.0`, `2.0.0`"),
        (Ask(("detector",), device="kitchen"), Wrong, "expected model/NAME"),
        (Ask(("model/detector",), device="kitchn"), Unknown, "did you mean `kitchen`"),
        (Ask(("model/detector",)), Wrong, "a device or a cohort"),
        (Ask(("model/detector",), cohort="nowhere"), Unknown, "no approved device"),
    ):
        with pytest.raises(error, match=said):
            cloud.reload(OPERATOR, ask)


def test_a_viewer_may_look_only(cloud: Cloud, device: Make) -> None:
    device("kitchen")
    for change in (cloud.download, cloud.reload, cloud.remove):
        with pytest.raises(Refusal, match="vera is viewer: expected operator"):
            change(Person("vera", "viewer"), Ask(("model/detector",), device="kitchen"))


def test_what_is_not_signed_cannot_be_asked_for(cloud: Cloud, device: Make) -> None:
    from datetime import UTC, datetime

    device("kitchen")
    cloud.repository.withdraw(["model/detector@2.0.0"], datetime.now(UTC))
    with pytest.raises(Refusal, match=r"model/detector@2\.0\.0 is not among the signed targets"):
        cloud.reload(ROOT, Ask(("model/detector@2.0.0",), device="kitchen"))


def test_a_device_that_took_signed_files_meanwhile_gets_a_newer_revision(cloud: Cloud, device: Make) -> None:
    kitchen = device("kitchen")
    kitchen.held = kitchen.settled = 40
    settled(kitchen, 40)
    done = cloud.reload(OPERATOR, Ask(("model/detector@1.1.0",), device="kitchen"))
    assert [each["revision"] for each in done["devices"]] == [41]
    settled(kitchen, 41)


def test_how_long_a_change_must_prove_itself_is_said_and_kept(cloud: Cloud, device: Make) -> None:
    kitchen = device("kitchen")
    cloud.reload(OPERATOR, Ask(("model/detector@1.1.0",), device="kitchen", probation_s=7.0))
    settled(kitchen, 1)
    assert cloud.query("kitchen")["desired"]["probation_s"] == 7.0
    cloud.reload(OPERATOR, Ask(("model/detector@1.0.0",), device="kitchen"))
    settled(kitchen, 2)
    assert cloud.query("kitchen")["desired"]["probation_s"] == 7.0
