"""The device's copy of the signed metadata: brought up to date by TUF's client workflow, read without a network."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from manifests.store.effects import Effects, make_folder, write_file
from manifests.sync.desired import Desired
from manifests.sync.trust import Untrusted, Verified
from manifests.trust import policy
from manifests.trust.envelope import OFFLINE, unseal

if TYPE_CHECKING:
    from tuf.api.metadata import TargetFile, Targets

Fetch = Callable[[str, int], bytes | None]
"""Gets a metadata file by its name, at most so many bytes and one more; None where there is none. Raises OSError where it cannot."""

HISTORY = "root_history"
ROLES = ("root", "timestamp", "snapshot", "targets")
CODES = {
    "ExpiredMetadataError": "expired",
    "BadVersionNumberError": "rollback",
    "EqualVersionNumberError": "rollback",
    "UnsignedMetadataError": "signature",
    "LengthOrHashMismatchError": "mixed",
    "DownloadLengthMismatchError": "endless",
}


@dataclass(frozen=True, slots=True)
class View:
    """The metadata as they are on the device. `expires`: role: when. `whole`: these are the targets that the snapshot names."""

    targets: Targets
    expires: Mapping[str, datetime]
    whole: bool

    @property
    def items(self) -> Mapping[str, TargetFile]:
        return self.targets.targets

    def expired(self, now: datetime) -> str:
        """What is out of date; empty where nothing is."""
        if not self.whole:
            return "there are newer targets than this device was given"
        late = [f"{role} expired at {when:%Y-%m-%d %H:%M} UTC" for role, when in self.expires.items() if when <= now]
        return ", ".join(late)


class TrustStore:
    """Files below `folder`. `root`: the first root metadata, which came with the device; everything else is believed through it."""

    def __init__(self, folder: Path, root: bytes, effects: Effects | None = None) -> None:
        self.folder, self._root, self._effects = folder, root, effects or Effects()
        for each in (folder, folder / HISTORY):
            make_folder(self._effects, each)
            self._effects.sync_folder(each)  # what an agent that was killed had renamed, and not yet synced

    def refresh(self, fetch: Fetch, now: datetime) -> None:
        """Gets newer metadata, or finds that there are none. Raises Untrusted, OSError; what was known before stays known.

        `now` is the time that the device trusts; its system clock is not asked.
        """
        from tuf.api.exceptions import DownloadError, RepositoryError

        try:
            updater = _updater(self.folder, self._root, self._effects, fetch)
            # The client workflow has no parameter for the time.
            updater._trusted_set.reference_time = now.astimezone(UTC)
            updater.refresh()
        except (RepositoryError, DownloadError) as error:
            if isinstance(error.__cause__, OSError):
                raise error.__cause__ from None
            name = type(error).__name__
            raise Untrusted(CODES.get(name, "metadata"), f"the signed metadata were refused: {error}") from None

    def view(self) -> View:
        """What is known, whether or not it has expired. Raises Untrusted where nothing is known yet."""
        from tuf.api.exceptions import RepositoryError
        from tuf.api.metadata import Metadata
        from tuf.api.serialization import DeserializationError

        try:
            documents: dict[str, Metadata[Any]] = {role: Metadata.from_bytes((self.folder / f"{role}.json").read_bytes()) for role in ROLES}
            targets = documents["targets"].signed
            if [documents[role].signed.type for role in ROLES] != list(ROLES):
                raise Untrusted("metadata", "the stored metadata are others than their names say: remove them, and refresh")
            documents["root"].signed.verify_delegate("targets", documents["targets"].signed_bytes, documents["targets"].signatures)
        except (OSError, DeserializationError, RepositoryError):
            raise Untrusted(
                "metadata", "no signed targets are known to this device yet: it must reach the cloud, or be given a signed file"
            ) from None
        named = getattr(documents["snapshot"].signed, "meta", {}).get("targets.json")
        expires = {role: document.signed.expires for role, document in documents.items()}
        return View(targets, expires, whole=named is not None and named.version == targets.version)

    def verify(self, document: bytes, held: policy.Held, now: datetime) -> Desired:
        """A signed desired state that its signer was entitled to. Raises Untrusted with the reason."""
        view = self.view()
        desired, signer = unseal(document, view.targets)
        expired = view.expired(now)
        policy.check(desired, held, view.items, fresh=not expired, expired=expired, offline=signer == OFFLINE)
        return desired


def check_root(data: bytes) -> str:
    """What is wrong with a first root; empty where nothing is."""
    from tuf.api.exceptions import RepositoryError
    from tuf.api.metadata import Metadata
    from tuf.api.serialization import DeserializationError

    try:
        root: Metadata[Any] = Metadata.from_bytes(data)
        if root.signed.type != "root":
            return f"metadata of {root.signed.type}"
        root.signed.verify_delegate("root", root.signed_bytes, root.signatures)
    except (DeserializationError, RepositoryError) as error:
        return str(error)
    return ""


class TargetsVerifier:
    """Verifies for the update machine: what the cloud wants is believed within what the signed targets allow."""

    def __init__(self, store: TrustStore, held: Callable[[], policy.Held]) -> None:
        self._store, self._held = store, held

    def verify(self, envelope: bytes, *, now: float) -> Verified:
        """Raises Untrusted. A time is believed as far as what was signed offline is good for: a stolen online key cannot end all that."""
        desired = self._store.verify(envelope, self._held(), datetime.fromtimestamp(now, UTC))
        latest = self._store.view().expires["targets"]
        return Verified(desired, min(desired.issued, latest).timestamp())


def folder_fetch(folder: Path) -> Fetch:
    """From a folder: a signed file on a stick, or a repository beside."""

    def fetch(name: str, most: int) -> bytes | None:
        if not name.replace(".", "").isalnum():
            return None
        try:
            with (folder / name).open("rb") as file:
                return file.read(most)
        except FileNotFoundError:
            return None

    return fetch


def _updater(folder: Path, root: bytes, effects: Effects, fetch: Fetch) -> Any:
    """TUF's client workflow. What it keeps goes through the seam, each file whole and durable before the next."""
    from tuf.api.metadata import Metadata
    from tuf.api.serialization import DeserializationError
    from tuf.ngclient import Updater

    class Durable(Updater):
        """Its own way of writing syncs nothing, and begins each time by making the first root the current one."""

        def _persist_file(self, filename: str, data: bytes) -> None:
            path = Path(filename)
            if _read(path) != data:
                write_file(effects, path, data)

        def _update_root_symlink(self) -> None:
            current, trusted = folder / "root.json", self._trusted_set.root.version
            try:
                known = Metadata.from_bytes(_read(current)).signed.version
            except DeserializationError:
                known = 0
            if known < trusted:
                self._persist_file(str(current), _read(folder / HISTORY / f"{trusted}.root.json"))

    return Durable(str(folder), "tuf:", fetcher=_fetcher(fetch), bootstrap=root)


def _read(path: Path) -> bytes:
    """What the file holds; nothing where there is none."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


def _fetcher(fetch: Fetch) -> Any:
    from tuf.api.exceptions import DownloadHTTPError
    from tuf.ngclient import FetcherInterface

    class Fetcher(FetcherInterface):
        """Names of files in place of URLs."""

        def _fetch(self, url: str) -> Iterator[bytes]:
            # One byte more than the largest metadata may have shows that there is more.
            data = fetch(url.rpartition("/")[2], 5_000_001)
            if data is None:
                raise DownloadHTTPError(f"there is no {url.rpartition('/')[2]}", 404)
            return iter((data,))

    return Fetcher()
