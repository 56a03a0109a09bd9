"""The store by itself: blobs, roles, what is collected, what is left when something breaks."""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from manifests.bundle.bundle import Bundle
from manifests.bundle.canonical import digest, encode
from manifests.store.blobs import BlobError
from manifests.store.collect import collect
from manifests.store.effects import Effects, make_folder
from manifests.store.generations import FACTORY
from manifests.store.release import Mismatch, check, device_of, release
from manifests.store.reset import MARKER, apply_reset, request_reset
from manifests.store.space import NoSpace, reserve
from manifests.store.store import FACTORY_FILE, Store, StoreError, StoreInUse, install_factory
from manifests.sync.desired import Desired
from tests.manifests.sync.conftest import bundles, place, wanted

__all__ = ["bundles", "place"]

Bundles = Callable[..., Bundle]


@pytest.fixture
def root(place: Path, bundles: Bundles) -> Path:
    install_factory(place / "store", bundles("factory").path)
    return place / "store"


def taken(store: Store, bundle: Bundle, role: str, **changes: object) -> Desired:
    """Everything of the bundle in the store, as a generation of this role."""
    store.take(bundle, {entry.sha256 for entry in bundle.document.entries})
    desired = wanted(bundle, 1, **changes)
    with store.transaction():
        store.generations.assign(role, store.generations.add(desired, "", made=0.0))  # type: ignore[arg-type]
    return desired


def test_a_blob_is_written_once_and_never_again(root: Path) -> None:
    with Store(root) as store:
        name = store.blobs.put(b"content")
        assert store.blobs.read(name) == b"content"
        status = store.blobs.path(name).stat()
        assert stat.S_IMODE(status.st_mode) == 0o444
        assert store.blobs.put(b"content") == name
        assert store.blobs.path(name).stat().st_mtime_ns == status.st_mtime_ns


def test_what_comes_in_goes_on_where_it_was_and_is_checked(root: Path) -> None:
    data = b"0123456789"
    with Store(root) as store:
        assert store.blobs.begin(digest(data), 10) == 0
        assert store.blobs.append(digest(data), data[:4], 0) == 4
    with Store(root) as store:
        assert store.blobs.begin(digest(data), 10) == 4
        with pytest.raises(BlobError, match="expected bytes 4 to 10"):
            store.blobs.append(digest(data), data, 4)
        with pytest.raises(BlobError, match="fetch the rest"):
            store.blobs.finish(digest(data))
        store.blobs.append(digest(data), b"xxxxxx", 4)
        with pytest.raises(BlobError, match="expected sha256"):
            store.blobs.finish(digest(data))
        assert not store.blobs.has(digest(data))
        assert list(store.blobs.partial.iterdir()) == []


def test_what_a_role_needs_stays_and_the_rest_goes(root: Path, bundles: Bundles) -> None:
    with Store(root) as store:
        one, two, three = (bundles(f"n{n}", model=f"1.{n}.0", weights=b"%d" % n) for n in (1, 2, 3))
        desired = {role: taken(store, bundle, role) for role, bundle in (("active", two), ("previous", one), ("staged", three))}
        stray, held = store.blobs.put(b"stray"), store.blobs.put(b"held")
        store.leases.add(held)
        (store.blobs.path(stray).parent / ("0" * 64)).write_bytes(b"nobody names it")
        assert collect(store) == 1
        assert not store.blobs.path(stray).exists()
        assert store.blobs.has(held)
        for each in desired.values():
            assert all(map(store.blobs.is_sound, store.generations.needs(each)))
        with store.transaction():
            store.generations.assign("staged", None)
            store.generations.assign("previous", None)
        # What the other generations share stays, only their own models, documents and manifests go.
        assert collect(store) == 6
        assert collect(store) == 0
        for role in ("active", "factory"):
            generation = store.generations.role(role)  # type: ignore[arg-type]
            assert generation is not None
            assert store.generations.is_sound(generation)
        names = {path.name for folder in store.blobs.folder.iterdir() for path in folder.iterdir()}
        assert names == {row[0] for row in store.database.rows("SELECT sha256 FROM blob")}


def test_space_is_reserved_before_anything_comes(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Store(root) as store:
        monkeypatch.setattr(store, "free", lambda: 1000)
        with pytest.raises(NoSpace, match=r"expected 1100 bytes free .* got 1000"):
            reserve(store, {"0" * 64: 100}, headroom=1000)
        reserve(store, {"0" * 64: 100}, headroom=900)
        assert (store.blobs.partial / ("0" * 64)).stat().st_size == 100
        reserve(store, {"0" * 64: 100}, headroom=1000)


def test_one_process_has_it_open(root: Path) -> None:
    with Store(root), pytest.raises(StoreInUse, match="no other process"):
        Store(root)


@pytest.mark.parametrize("damage", ["garbage", "empty", "truncated", "other", "gone"])
def test_a_broken_database_is_set_aside_and_the_factory_runs(root: Path, bundles: Bundles, damage: str) -> None:
    with Store(root) as store:
        taken(store, bundles("new", weights=b"new"), "active")
        with store.transaction():
            store.state("floor", 7)
        store.raise_floor(7)
        collect(store)
    path = root / "state.db"
    whole = path.read_bytes()
    match damage:
        case "garbage":
            path.write_bytes(os.urandom(len(whole)))
        case "empty":
            path.write_bytes(b"")
        case "truncated":
            path.write_bytes(whole[: len(whole) // 2])
        case "other":
            path.write_bytes(whole.replace(b"CREATE TABLE blob", b"CREATE TABLE bl0b"))
        case _:
            path.unlink()
    with Store(root) as store:
        assert int(store.fact("floor")) == 7, "nothing older is taken, whatever was lost"
        if damage in ("garbage", "truncated"):
            assert store.lost == root / "state.db.broken-0"
            assert "database-lost" in store.database.value("SELECT body FROM outbox")
        active = store.generations.role("active")
        assert active is not None
        assert active.id == FACTORY
        assert store.generations.is_sound(active)
        for (sha256,) in store.database.rows("SELECT sha256 FROM blob"):
            assert store.blobs.is_sound(sha256)


PASSING = [sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_NOMEM]


@pytest.mark.parametrize("code", PASSING)
def test_a_full_disk_is_no_broken_database(root: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """SQLite's log and its index need space as soon as a database is opened."""
    with Store(root) as store, store.transaction():
        store.state("floor", 7)

    def full(*_: object) -> None:
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = code
        raise error

    with monkeypatch.context() as disk:
        disk.setattr("manifests.store.database._connect", full)
        with pytest.raises(sqlite3.OperationalError):
            Store(root)
    with Store(root) as store:
        assert store.lost is None
        assert store.fact("floor") == 7


def test_a_database_that_cannot_be_read_is_broken(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from manifests.store import database

    Store(root).close()
    connect, tries = database._connect, [sqlite3.SQLITE_IOERR_READ]

    def bad(path: Path) -> sqlite3.Connection:
        if tries:
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = tries.pop()
            raise error
        return connect(path)

    monkeypatch.setattr(database, "_connect", bad)
    with Store(root) as store:
        assert store.lost is not None


def test_databases_that_were_set_aside_do_not_fill_the_disk(root: Path) -> None:
    for _ in range(6):
        (root / "state.db").write_bytes(b"broken" * 500)
        Store(root).close()
    assert len(list(root.glob("state.db.broken-?"))) == 3


def test_a_factory_is_installed_once(root: Path, bundles: Bundles) -> None:
    assert stat.S_IMODE((root / FACTORY_FILE).stat().st_mode) == 0o444
    with pytest.raises(StoreError, match="a place without a store"):
        install_factory(root, bundles("other", weights=b"other").path)


def test_the_device_s_own_manifest_counts_before_the_factory_s(root: Path, bundles: Bundles, tmp_path: Path) -> None:
    """From the first start on, and after a reset: streams do not change with an update."""
    own = tmp_path / "own.yaml"
    device = 'streams: {front: {source: "synthetic:pets"}}\nbusinesses: [{use: pet@^1, bind: {camera: front}}]\n'
    own.write_text(f"apiVersion: ace/v1\nkind: Device\nname: own\n{device}")
    with Store(root) as store:
        active = store.generations.role("active")
        assert active is not None
        for desired in (active.desired, wanted(bundles("new", weights=b"new"), 1, document=None)):
            for file, name in ((own, "own"), (None, "living-room")):
                found = device_of(store, desired, file)
                assert found is not None
                assert found.name == name


def test_a_store_without_a_factory_runs_nothing(tmp_path: Path) -> None:
    with Store(tmp_path / "store") as store:
        active = store.generations.role("active")
        assert active is not None
        assert active.desired.active == ()
        assert release(store, active.desired, None, revision=1).manifests == ()


def test_a_reset_holds_whatever_is_cut(root: Path, bundles: Bundles) -> None:
    with Store(root) as store:
        taken(store, bundles("new", weights=b"new"), "active")
        with store.transaction():
            store.state("floor", 3)
    request_reset(root, "lent out")
    marker = (root / MARKER).read_bytes()
    for _ in range(2):  # the second time as if the power had been cut before the marker went
        with Store(root) as store:
            assert apply_reset(store)
            active = store.generations.role("active")
            assert active is not None
            assert active.id == FACTORY
            assert (store.fact("hold"), store.fact("floor")) == (1, 3)
            bodies = [row[0] for row in store.database.rows("SELECT body FROM outbox")]
            assert len([body for body in bodies if "lent out" in body]) == 1
            assert not apply_reset(store)
        (root / MARKER).write_bytes(marker)
    (root / MARKER).write_bytes(b"torn")
    with Store(root) as store:
        assert apply_reset(store)


def test_enrolment_keys_stay(root: Path) -> None:
    with Store(root):
        (root / "keys" / "device.key").write_text("secret")
    request_reset(root, "x")
    with Store(root) as store:
        apply_reset(store)
    assert (root / "keys" / "device.key").read_text() == "secret"


def test_a_release_is_mended_where_it_was_cut(root: Path, bundles: Bundles) -> None:
    with Store(root) as store:
        desired = taken(store, bundles("new", golden=True), "active")
        made = release(store, desired, None, revision=1)
        first = {path: path.read_bytes() for path in sorted((root / "releases").rglob("*")) if path.is_file()}
        for number, path in enumerate(first):
            path.unlink()
            if number % 2:
                path.write_bytes(b"torn")
        assert release(store, desired, None, revision=2).digest == made.digest
        assert {path: path.read_bytes() for path in sorted((root / "releases").rglob("*")) if path.is_file()} == first
        for (sha256,) in store.database.rows("SELECT sha256 FROM blob"):
            assert store.blobs.is_sound(sha256)
        import manifests

        (use,) = manifests.load(*made.manifests).uses
        assert use.business.models == {"detector": "eye@1.0.0"}


def test_what_does_not_fit_together_or_this_device(root: Path, bundles: Bundles, tmp_path: Path) -> None:
    with Store(root) as store:
        desired = taken(store, bundles("new", golden=True), "active")
        other = taken(store, bundles("other", model="2.0.0", weights=b"other"), "staged") if False else None
        assert other is None
        (business,) = desired.active

        def refused(match: str, device: Path | None = None, **changes: object) -> None:
            with pytest.raises(Mismatch, match=match):
                check(store, desired.model_copy(update=changes), device)

        def one(**changes: object) -> tuple[object, ...]:
            return (business.model_copy(update=changes),)

        refused("one version of each business", active=(business, business))
        refused("its models one of|its models `detector`", active=one(models={}))
        refused("in its range", active=one(models={"detector": business.models["detector"].model_copy(update={"version": "2.0.0"})}))
        refused("a setting that is tunable", active=one(set={"boxes.scor": 0.5}))
        refused(r"a number from 0\.1 to 0\.9, got 0\.95", active=one(set={"boxes.score": 0.95}))
        refused("a number from", active=one(set={"boxes.score": True}))
        check(store, desired.model_copy(update={"active": one(set={"boxes.score": 0.5})}), None)
        own = tmp_path / "device.yaml"
        text = (
            "apiVersion: ace/v1\nkind: Device\nname: mine\nstreams: {a: {source: clip.mp4}}\nbusinesses: [{use: USE, bind: {camera: a}}]\n"
        )
        own.write_text(text.replace("USE", "pet@^1"))
        check(store, desired.model_copy(update={"document": None}), own)
        own.write_text(text.replace("USE", "pet@^2"))
        refused("a version that mine takes", own, document=None)
        own.write_text(text.replace("USE", "pets"))
        refused("a business that mine binds.*did you mean `pets`", own, document=None)
        own.write_text("kind: nonsense")
        refused("apiVersion", own, document=None)


def test_streams_are_those_of_the_factory_where_nothing_else_declares_them(root: Path, place: Path, bundles: Bundles) -> None:
    bundle = bundles("new")
    with Store(root) as store:
        check(store, taken(store, bundle, "active", document=None), None)
    with Store(place / "bare") as store:
        desired = taken(store, bundle, "active", document=None)
        with pytest.raises(Mismatch, match="a Device manifest that binds the businesses to streams, got none on this device"):
            check(store, desired, None)


def test_older_manifests_are_migrated_in_memory_and_never_rewritten(root: Path, bundles: Bundles) -> None:
    """A business stored in v1alpha1 runs in today's words; its stored bytes stay."""
    from manifests.bundle.items import Blob, ItemDocument
    from manifests.sync.desired import DesiredBusiness

    old = {
        "apiVersion": "ace/v1alpha1", "kind": "Business", "name": "pet", "version": "1.5.0", "inputs": {"camera": "image"},
        "nodes": {"move": {"op": "motion.background", "inputs": {"image": "camera"}}}, "outputs": {"moves": "move.detections"},
    }  # fmt: skip
    data = encode(old)
    document = ItemDocument(kind="business", name="pet", version="1.5.0", files={"manifest.json": Blob.of(data)})
    with Store(root) as store:
        bundle = taken(store, bundles("new"), "active")
        store.blobs.put(data)
        store.blobs.put(document.encoded())
        desired = bundle.model_copy(update={"active": (DesiredBusiness(business=document.item),)})
        made = release(store, desired, None, revision=1)
        text = next(path for path in made.manifests if "business-pet" in str(path)).read_text()
        assert '"graph"' in text
        assert '"ace/v1"' in text
        assert store.blobs.read(digest(data)) == data


def test_a_folder_is_synced_into_the_one_above_unless_something_is_mounted_there(tmp_path: Path) -> None:
    """The name of a mount point lies on another file system, which may take no sync at all."""
    synced: list[Path] = []

    class Watched(Effects):
        def sync_folder(self, path: Path) -> None:
            synced.append(path)

    make_folder(Watched(), tmp_path / "store")
    make_folder(Watched(), Path("/proc"))
    assert synced == [tmp_path]
