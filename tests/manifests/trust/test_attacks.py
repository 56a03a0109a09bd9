"""What an attacker tries who holds the network, the server, or its online keys: each is refused with its reason."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from manifests.bundle.bundle import Bundle
from manifests.schema.business import Tunable
from manifests.sync.desired import Desired, DesiredBusiness, Item
from manifests.sync.trust import Untrusted
from manifests.trust import keys
from manifests.trust.contents import signable
from manifests.trust.envelope import ONLINE, seal
from manifests.trust.policy import Held, pair_of
from manifests.trust.repository import Repository, TargetRefusal
from manifests.trust.store import TrustStore, folder_fetch
from manifests.trust.targets import Terms
from tests.manifests.sync.conftest import bundles, place

__all__ = ["bundles", "place"]

NOW = datetime(2026, 11, 1, tzinfo=UTC)
DEVICE, OTHER = "ab" * 32, "cd" * 32


def item(kind: str, name: str, version: str) -> tuple[Item, bytes]:
    document = f"{kind} {name} {version}".encode()
    return Item.model_validate({"kind": kind, "name": name, "version": version, "digest": hashlib.sha256(document).hexdigest()}), document


OLD, MODEL, NEXT = (item("model", "eye", version) for version in ("1.0.0", "1.1.0", "2.0.0"))
PET, CAMERAS, FOREIGN = item("business", "pet", "1.0.0"), item("device", "hall", "1.0.0"), item("device", "yard", "1.0.0")
TERMS = Terms(
    uses={"detector": "eye@^1"}, tunable={"boxes.score": Tunable(min=0.1, max=0.9), "boxes.mode": Tunable(choices=("day", "night"))}
)
GOOD = DesiredBusiness(business=PET[0], models={"detector": MODEL[0]})
HELD = Held(DEVICE)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = Repository.create(tmp_path / "repository", NOW, root_keys=3, threshold=2)
    signed = {each[0]: (each[1], Terms()) for each in (OLD, MODEL, NEXT)}
    signed |= {
        PET[0]: (PET[1], TERMS),
        CAMERAS[0]: (CAMERAS[1], Terms(devices=(DEVICE,))),
        FOREIGN[0]: (FOREIGN[1], Terms(devices=(OTHER,))),
    }
    made.add(signed, NOW)
    return made


@pytest.fixture
def store(tmp_path: Path, repository: Repository) -> TrustStore:
    made = TrustStore(tmp_path / "device", repository.first_root())
    made.refresh(folder_fetch(repository.metadata), NOW)
    return made


def wanted(**changes: Any) -> Desired:
    return Desired(**{"device": DEVICE, "revision": 1, "issued": NOW, "active": (GOOD,), **changes})


def code(call: Callable[[], object]) -> str:
    with pytest.raises(Untrusted) as refused:
        call()
    assert str(refused.value)
    return refused.value.code


def verify(repository: Repository, store: TrustStore, desired: Desired, held: Held = HELD, now: datetime = NOW) -> Desired:
    return store.verify(seal(desired, repository.director()).encode(), held, now)


def snapshot_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def serve(files: dict[str, bytes]) -> Callable[[str, int], bytes | None]:
    return lambda name, most: files[name][:most] if name in files else None


# The network, or the server


def test_what_was_signed_is_accepted(repository: Repository, store: TrustStore) -> None:
    assert verify(repository, store, wanted()) == wanted()


def test_rollback_of_the_metadata(repository: Repository, store: TrustStore) -> None:
    before = snapshot_of(repository.metadata)
    repository.withdraw(["model/eye@1.1.0"], NOW)
    store.refresh(folder_fetch(repository.metadata), NOW)
    assert code(lambda: store.refresh(serve(before), NOW)) == "rollback"
    assert code(lambda: verify(repository, store, wanted())) == "withdrawn"


def test_freeze(repository: Repository, store: TrustStore) -> None:
    later = NOW + timedelta(days=8)
    assert code(lambda: store.refresh(folder_fetch(repository.metadata), later)) == "expired"
    assert code(lambda: verify(repository, store, wanted(), now=later)) == "expired"
    repository.freshen(later)
    store.refresh(folder_fetch(repository.metadata), later)
    assert verify(repository, store, wanted(), now=later)


def test_what_expires_stops_installs_and_nothing_that_runs(repository: Repository, store: TrustStore) -> None:
    later = NOW + timedelta(days=400)
    running = replace(HELD, running=frozenset({PET[0].digest, MODEL[0].digest}))
    assert verify(repository, store, wanted(), running, later)
    assert code(lambda: verify(repository, store, wanted(staged=(NEXT[0],)), running, later)) == "expired"
    assert verify(repository, store, wanted(active=(), hold=True, reset_epoch=1), HELD, later).hold


def test_the_system_clock_is_not_asked(repository: Repository, store: TrustStore) -> None:
    """Neither direction: the metadata of this test expired, or begin, by the time that is given."""
    for now in (NOW - timedelta(days=3650), NOW):
        store.refresh(folder_fetch(repository.metadata), now)
    assert code(lambda: store.refresh(folder_fetch(repository.metadata), NOW + timedelta(days=3650))) == "expired"


def test_mix_and_match(repository: Repository, store: TrustStore, tmp_path: Path) -> None:
    files = snapshot_of(repository.metadata)
    repository.withdraw(["model/eye@1.1.0"], NOW)
    newer = snapshot_of(repository.metadata)
    newer["3.targets.json"] = files["2.targets.json"]
    fresh = TrustStore(tmp_path / "fresh", repository.first_root())
    assert code(lambda: fresh.refresh(serve(newer), NOW)) in {"rollback", "mixed"}


def test_withheld_targets_count_as_out_of_date(repository: Repository, store: TrustStore) -> None:
    repository.withdraw(["model/eye@1.1.0"], NOW)
    files = snapshot_of(repository.metadata)
    del files["3.targets.json"]
    code(lambda: store.refresh(serve(files), NOW))
    assert code(lambda: verify(repository, store, wanted())) == "expired"


def test_endless_data(repository: Repository, store: TrustStore) -> None:
    for name in ("timestamp.json", "2.root.json"):
        files = snapshot_of(repository.metadata) | {name: b" " * 6_000_000}
        assert code(lambda files=files: store.refresh(serve(files), NOW)) in {"endless", "metadata"}  # type: ignore[misc]
    assert verify(repository, store, wanted())


def test_wrong_keys(repository: Repository, store: TrustStore, tmp_path: Path) -> None:
    stranger = Repository.create(tmp_path / "stranger", NOW)
    stranger.add({MODEL[0]: (MODEL[1], Terms())}, NOW)
    foreign = snapshot_of(stranger.metadata)
    assert code(lambda: store.refresh(serve(foreign), NOW)) == "signature"
    assert code(lambda: store.verify(seal(wanted(), stranger.director()).encode(), HELD, NOW)) == "signature"


def test_one_root_key_of_three_changes_nothing(repository: Repository, store: TrustStore) -> None:
    from tuf.api.metadata import Metadata

    root: Metadata[Any] = Metadata.from_bytes(repository.first_root())
    root.signed.version += 1
    thief = keys.create(repository.folder / "thief.pem")
    root.signed.add_key(thief.public_key, "targets")
    root.signatures.clear()
    root.sign(keys.load(repository.folder / "offline" / "root-1.pem"))
    files = snapshot_of(repository.metadata) | {"2.root.json": root.to_bytes()}
    assert code(lambda: store.refresh(serve(files), NOW)) == "signature"


def test_what_is_no_metadata(repository: Repository, store: TrustStore) -> None:
    for data in (b"", b"{}", b"[" * 100_000, b"\xff", b'{"signed": 1, "signatures": []}'):
        files = snapshot_of(repository.metadata) | {"timestamp.json": data}
        assert code(lambda files=files: store.refresh(serve(files), NOW))  # type: ignore[misc]


def test_without_a_network_nothing_is_lost(repository: Repository, store: TrustStore) -> None:
    def away(name: str, most: int) -> bytes | None:
        raise ConnectionError(111, "refused")

    with pytest.raises(OSError, match="refused"):
        store.refresh(away, NOW)
    assert verify(repository, store, wanted())


def test_a_broken_copy_is_fetched_again(repository: Repository, store: TrustStore) -> None:
    """The client's cache may be torn by a power cut."""
    for name in ("timestamp.json", "snapshot.json", "targets.json"):
        (store.folder / name).write_bytes(b"")
    assert code(lambda: verify(repository, store, wanted())) == "metadata"
    store.refresh(folder_fetch(repository.metadata), NOW)
    assert verify(repository, store, wanted())


# The online key


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"device": OTHER}, "device"),
        ({"device": "*"}, "device"),
        ({"document": FOREIGN[0]}, "document"),
        ({"document": MODEL[0]}, "document"),
        ({"active": (GOOD.model_copy(update={"models": {"detector": NEXT[0]}}),)}, "range"),
        ({"active": (GOOD.model_copy(update={"models": {}}),)}, "alias"),
        ({"active": (GOOD.model_copy(update={"models": {"detector": MODEL[0], "sink": OLD[0]}}),)}, "alias"),
        ({"active": (GOOD.model_copy(update={"models": {"detector": PET[0]}}),)}, "kind"),
        ({"active": (GOOD.model_copy(update={"business": MODEL[0]}),)}, "kind"),
        ({"active": (GOOD.model_copy(update={"golden": MODEL[0]}),)}, "kind"),
        ({"active": (GOOD.model_copy(update={"set": {"front.source": "rtsp://elsewhere"}}),)}, "tunable"),
        ({"active": (GOOD.model_copy(update={"set": {"boxes.score": 0.95}}),)}, "tunable"),
        ({"active": (GOOD.model_copy(update={"set": {"boxes.score": True}}),)}, "tunable"),
        ({"active": (GOOD.model_copy(update={"set": {"boxes.mode": "dusk"}}),)}, "tunable"),
        ({"staged": (item("model", "eye", "9.9.9")[0],)}, "withdrawn"),
        ({"staged": (MODEL[0].model_copy(update={"digest": "0" * 64}),)}, "digest"),
    ],
)
def test_a_stolen_online_key_cannot(repository: Repository, store: TrustStore, changes: dict[str, Any], expected: str) -> None:
    """Add a sink, rebind a stream, take another device's, leave a range, turn a knob too far, or bring what nobody signed."""
    assert code(lambda: verify(repository, store, wanted(**changes))) == expected


CLIP = item("golden", "pet", "1.0.0")
PROVEN = GOOD.model_copy(update={"golden": CLIP[0]})


@pytest.fixture
def proving(repository: Repository, store: TrustStore) -> TrustStore:
    """Pet with this model must replay a clip, and prove itself for ten seconds."""
    terms = {
        PET[0]: (PET[1], TERMS.model_copy(update={"probation_s": 5.0})),
        MODEL[0]: (MODEL[1], Terms(probation_s=10.0)),
        CLIP[0]: (CLIP[1], Terms(pair=pair_of(GOOD))),
    }
    repository.add(terms, NOW)
    store.refresh(folder_fetch(repository.metadata), NOW)
    return store


@pytest.mark.parametrize(
    ("active", "probation_s", "expected"),
    [(GOOD, 60.0, "golden"), (PROVEN, 0.0, "probation"), (PROVEN, 9.9, "probation"), (GOOD, 0.0, "probation")],
)
def test_a_stolen_online_key_cannot_drop_the_proof(
    repository: Repository, proving: TrustStore, active: DesiredBusiness, probation_s: float, expected: str
) -> None:
    desired = wanted(active=(active,), probation_s=probation_s)
    assert code(lambda: verify(repository, proving, desired)) == expected
    running = replace(HELD, running=frozenset({PET[0].digest, MODEL[0].digest}))
    assert code(lambda: verify(repository, proving, desired, running)) == expected, "each runs, but not with the other"
    assert verify(repository, proving, desired, replace(running, pairs=(pair_of(GOOD),))), "what runs has proven itself"
    assert verify(repository, proving, wanted(active=(active.model_copy(update={"enabled": False}),), probation_s=probation_s))
    file = seal(desired, keys.load(repository.folder / "offline" / "updates.pem"))
    assert proving.verify(file.encode(), HELD, NOW), "who signs offline may do what it likes"


def test_the_online_key_may_ask_for_more_proof(repository: Repository, proving: TrustStore) -> None:
    for probation_s in (10.0, 600.0):
        assert verify(repository, proving, wanted(active=(PROVEN,), probation_s=probation_s))
    unclipped = GOOD.model_copy(update={"models": {"detector": OLD[0]}})
    assert verify(repository, proving, wanted(active=(unclipped,))), "no clip was signed for this pair"


def test_what_is_signed_must_prove_itself(bundles: Callable[..., Bundle]) -> None:
    signed = {item.kind: terms for item, (_, terms) in signable(bundles("clip", golden=True)).items()}
    assert signed["business"].probation_s == signed["model"].probation_s == 5.0
    assert signed["golden"].pair is not None


def test_a_stolen_online_key_cannot_return_to_a_withdrawn_bundle(repository: Repository, store: TrustStore) -> None:
    repository.withdraw(["model/eye@1.0.0"], NOW)
    store.refresh(folder_fetch(repository.metadata), NOW)
    back = GOOD.model_copy(update={"models": {"detector": OLD[0]}})
    running = replace(HELD, running=frozenset({OLD[0].digest}))
    assert code(lambda: verify(repository, store, wanted(active=(back,)), running)) == "withdrawn"


def test_a_stolen_online_key_can_choose_within_what_was_signed(repository: Repository, store: TrustStore) -> None:
    tuned = GOOD.model_copy(update={"models": {"detector": OLD[0]}, "set": {"boxes.score": 0.5, "boxes.mode": "night"}})
    assert verify(repository, store, wanted(active=(tuned,), document=CAMERAS[0], staged=(NEXT[0],)))


def test_the_streams_that_run_may_stay(repository: Repository, store: TrustStore) -> None:
    """A document that a signed file brought for every device is none that the online key may bring, and one that it need not take away."""
    running = replace(HELD, running=frozenset({FOREIGN[0].digest}))
    assert verify(repository, store, wanted(document=FOREIGN[0]), running)
    assert code(lambda: verify(repository, store, wanted(document=FOREIGN[0]))) == "document"


def test_old_desired_states_stay_old(repository: Repository, store: TrustStore) -> None:
    held = replace(HELD, revision=7, reset_epoch=2)
    assert code(lambda: verify(repository, store, wanted(revision=6, reset_epoch=2), held)) == "rollback"
    assert code(lambda: verify(repository, store, wanted(revision=8, reset_epoch=1), held)) == "rollback"


@pytest.mark.parametrize("number", ["revision", "reset_epoch"])
def test_a_stolen_online_key_cannot_use_up_the_numbers(repository: Repository, store: TrustStore, number: str) -> None:
    last = (1 << 53) - 1
    assert code(lambda: verify(repository, store, wanted(**{number: last}))) == "ahead"
    assert verify(repository, store, wanted(**{number: 20261123}))
    file = seal(wanted(**{number: last}), keys.load(repository.folder / "offline" / "updates.pem"))
    assert store.verify(file.encode(), HELD, NOW), "who signs offline may do what it likes"


def test_a_replaced_online_key_is_believed_no_more(repository: Repository, store: TrustStore) -> None:
    stolen = repository.director()
    repository.replace_key(ONLINE, NOW)
    store.refresh(folder_fetch(repository.metadata), NOW)
    assert code(lambda: store.verify(seal(wanted(), stolen).encode(), HELD, NOW)) == "signature"
    assert verify(repository, store, wanted())


def test_a_root_is_renewed_before_it_expires(repository: Repository, store: TrustStore) -> None:
    later = NOW + timedelta(days=360)
    repository.add({}, later)
    assert repository.renew(later) == 2
    for now in (later, NOW + timedelta(days=370)):
        repository.freshen(now)
        store.refresh(folder_fetch(repository.metadata), now)
        assert verify(repository, store, wanted(), now=now)
    (repository.folder / "offline" / "root-1.pem").unlink()
    assert repository.renew(later) == 3, "two of three sign"
    (repository.folder / "offline" / "root-2.pem").unlink()
    with pytest.raises(TargetRefusal, match="expected 2 root keys to sign with, got 1"):
        repository.renew(later)


def test_versions_far_ahead_of_stolen_keys_are_forgotten(repository: Repository, store: TrustStore) -> None:
    """TUF's fast-forward attack: with it, no later metadata would ever be newer."""
    from tuf.api.metadata import Metadata

    timestamp: Metadata[Any] = Metadata.from_file(str(repository.metadata / "timestamp.json"))
    timestamp.signed.version = 1_000_000
    stolen = repository._sign(timestamp, [keys.load(repository.folder / "online" / "timestamp.pem")])
    store.refresh(serve(snapshot_of(repository.metadata) | {"timestamp.json": stolen}), NOW)
    assert code(lambda: store.refresh(folder_fetch(repository.metadata), NOW)) == "rollback"
    repository.renew(NOW, replace_online=True)
    store.refresh(folder_fetch(repository.metadata), NOW)
    assert verify(repository, store, wanted())
    assert code(lambda: store.refresh(serve(snapshot_of(repository.metadata) | {"timestamp.json": stolen}), NOW)) == "signature"


def test_the_signature_covers_every_byte(repository: Repository, store: TrustStore) -> None:
    import base64
    import json

    envelope = json.loads(seal(wanted(), repository.director()))
    payload = base64.b64decode(envelope["payload"]).replace(b'"revision":1', b'"revision":2')
    envelope["payload"] = base64.b64encode(payload).decode()
    assert code(lambda: store.verify(json.dumps(envelope).encode(), HELD, NOW)) == "signature"


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"null", b"\xff\xfe", b"[" * 50_000, b'{"payload": 3}', b" " * (5 << 20)])
def test_what_is_no_desired_state(store: TrustStore, data: bytes) -> None:
    assert code(lambda: store.verify(data, HELD, NOW)) in {"form", "size"}


def test_the_factory_needs_no_signature(repository: Repository, store: TrustStore) -> None:
    built_in, _ = item("model", "built-in", "1.0.0")
    desired = wanted(staged=(built_in,))
    assert code(lambda: verify(repository, store, desired)) == "withdrawn"
    assert verify(repository, store, desired, replace(HELD, factory=frozenset({built_in.digest})))


# The repository


def test_published_targets_must_be_signed_and_newer(repository: Repository, tmp_path: Path) -> None:
    present = repository.newest_targets().read_bytes()
    assert code(lambda: repository.accept_targets(present, NOW)) == "rollback"
    stranger = Repository.create(tmp_path / "stranger", NOW)
    assert code(lambda: repository.accept_targets(stranger.newest_targets().read_bytes(), NOW)) == "signature"
    assert code(lambda: repository.accept_targets(b"{}", NOW)) == "signature"


def test_one_version_has_one_content(repository: Repository) -> None:
    other = MODEL[0].model_copy(update={"digest": hashlib.sha256(b"other").hexdigest()})
    with pytest.raises(TargetRefusal, match="expected a new version number"):
        repository.add({other: (b"other", Terms())}, NOW)
    with pytest.raises(TargetRefusal, match="did you mean"):
        repository.withdraw(["model/ey@1.0.0"], NOW)


def test_keys_are_their_owners_alone(repository: Repository) -> None:
    key = repository.folder / "offline" / "targets.pem"
    assert key.stat().st_mode & 0o077 == 0
    key.chmod(0o644)
    with pytest.raises(keys.KeyRefusal, match="chmod 600"):
        repository.add({}, NOW)
