"""The signed repository: what offline keys say may run, kept fresh by online keys.

offline/   root-1.pem … targets.pem updates.pem      never on the server
online/    snapshot.pem timestamp.pem desired.pem
metadata/  1.root.json … timestamp.json  what devices get
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from manifests.errors import did_you_mean
from manifests.sync.desired import Desired, Item
from manifests.sync.offline import Update, make
from manifests.sync.trust import Untrusted
from manifests.trust import keys
from manifests.trust.envelope import OFFLINE, ONLINE, seal
from manifests.trust.roots import chain
from manifests.trust.targets import Terms, path_of, target

if TYPE_CHECKING:
    from securesystemslib.signer import CryptoSigner
    from tuf.api.metadata import Metadata, Root, TargetFile, Targets

LASTS = {"root": timedelta(days=365), "targets": timedelta(days=180), "snapshot": timedelta(days=14), "timestamp": timedelta(days=7)}
SERVED = ("snapshot", "timestamp", ONLINE)
"""What the keys of the server sign."""


class TargetRefusal(ValueError):
    """What cannot be signed: what was expected, what came."""


class Repository:
    """A folder. What needs an offline key needs it only then."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.metadata = folder, folder / "metadata"
        self._known: tuple[int, Targets] | None = None

    @classmethod
    def create(cls, folder: Path, now: datetime, *, root_keys: int = 1, threshold: int = 1) -> Repository:
        """Makes all keys and the first metadata. Raises FileExistsError, TargetRefusal."""
        from tuf.api.metadata import DelegatedRole, Delegations, Metadata, Root, Targets

        if not 1 <= threshold <= root_keys <= 16:
            raise TargetRefusal(f"expected a threshold between 1 and the number of root keys (at most 16), got {threshold} of {root_keys}")
        if (folder / "metadata").exists():
            raise FileExistsError(17, "there is a repository already", str(folder))
        made = cls(folder)
        phrase = os.environ.get(keys.PASSPHRASE, "")
        roots = [keys.create(folder / "offline" / f"root-{number}.pem", phrase) for number in range(1, root_keys + 1)]
        offline = keys.create(folder / "offline" / "targets.pem", phrase)
        online = {role: keys.create(folder / "online" / f"{role}.pem") for role in SERVED}
        root = Root(expires=_until(now, "root"), consistent_snapshot=True)
        for signer in roots:
            root.add_key(signer.public_key, "root")
        root.roles["root"].threshold = threshold
        root.add_key(offline.public_key, "targets")
        for role in ("snapshot", "timestamp"):
            root.add_key(online[role].public_key, role)
        signers = {
            ONLINE: online[ONLINE].public_key,
            OFFLINE: keys.create(folder / "offline" / f"{OFFLINE}.pem", phrase).public_key,
        }
        delegated = {role: DelegatedRole(role, [key.keyid], 1, True, paths=[f"{role}/*"]) for role, key in signers.items()}
        delegations = Delegations({key.keyid: key for key in signers.values()}, delegated)
        targets = Targets(expires=_until(now, "targets"), delegations=delegations)
        made.metadata.mkdir(parents=True)
        made._write(made._sign(Metadata(root), roots), "1.root.json")
        made._write(made._sign(Metadata(targets), [offline]), "1.targets.json")
        made.freshen(now, always=True)
        return made

    def root(self) -> Metadata[Root]:
        """Raises OSError, Untrusted."""
        return self._read(f"{self._newest('root')}.root.json")

    def first_root(self) -> bytes:
        """What a device must come with."""
        return (self.metadata / "1.root.json").read_bytes()

    def versions(self) -> dict[str, int]:
        """Of the newest root and targets."""
        return {role: self._newest(role) for role in ("root", "targets")}

    def roots_after(self, version: int) -> list[bytes]:
        """The roots to publish where this one is known. Raises OSError."""
        return [(self.metadata / f"{number}.root.json").read_bytes() for number in range(version + 1, self._newest("root") + 1)]

    def newest_targets(self) -> Path:
        """The file to publish."""
        return self.metadata / f"{self._newest('targets')}.targets.json"

    def targets(self) -> Targets:
        """The newest; not to be changed. Raises OSError, Untrusted."""
        version = self._newest("targets")
        known = self._known
        if known is None or known[0] != version:
            known = self._known = (version, self._read(f"{version}.targets.json").signed)
        return known[1]

    def signed(self, item: Item) -> bool:
        """Whether this is among the targets now."""
        found: TargetFile | None = self.targets().targets.get(path_of(item))
        return found is not None and found.hashes.get("sha256") == item.digest

    def add(self, items: Mapping[Item, tuple[bytes, Terms]], now: datetime) -> int:
        """Signs items as targets, with the offline key; gives the new version of the targets. Raises TargetRefusal, OSError."""
        targets = self._targets()
        for item, (document, terms) in items.items():
            made = target(item, document, terms)
            there = targets.signed.targets.get(made.path)
            if there is not None and there.hashes != made.hashes:
                raise TargetRefusal(f"{item.selector} is signed with other content: expected a new version number")
            targets.signed.targets[made.path] = made
        return self._sign_targets(targets, now)

    def withdraw(self, selectors: Sequence[str], now: datetime) -> int:
        """Signs that these (`model/yolox@1.0.0`) are targets no longer: no device accepts them any more. Raises TargetRefusal, OSError."""
        targets = self._targets()
        for selector in selectors:
            path = selector.replace("@", "/") + ".json"
            if targets.signed.targets.pop(path, None) is None:
                near = did_you_mean(path, targets.signed.targets)
                raise TargetRefusal(f"expected one of the signed targets, got {selector}{near and ' - ' + near}")
        return self._sign_targets(targets, now)

    def replace_key(self, role: str, now: datetime) -> int:
        """A new key for desired states (ONLINE) or update files (OFFLINE); what the old one signed is refused from now on.

        Raises OSError.
        """
        path = self.folder / ("online" if role == ONLINE else "offline") / f"{role}.pem"
        path.unlink(missing_ok=True)
        key = keys.create(path, "" if role == ONLINE else os.environ.get(keys.PASSPHRASE, "")).public_key
        targets = self._targets()
        delegations = targets.signed.delegations
        assert delegations is not None
        assert delegations.roles is not None
        for old in delegations.roles[role].keyids:
            del delegations.keys[old]
        delegations.keys[key.keyid] = key
        delegations.roles[role].keyids = [key.keyid]
        return self._sign_targets(targets, now)

    def renew(self, now: datetime, *, replace_online: bool = False) -> int:
        """The next root, good for another year; gives its version. `replace_online`: with new keys for snapshot and timestamp.

        What a stolen online key has signed, versions far ahead included, is then forgotten by devices. Raises OSError, KeyRefusal,
        TargetRefusal.
        """
        root = self.root()
        present, phrase = root.signed, os.environ.get(keys.PASSPHRASE, "")
        signers = [keys.load(path, phrase) for path in sorted((self.folder / "offline").glob("root-*.pem"))]
        if len(signers) < (needed := present.roles["root"].threshold):
            raise TargetRefusal(f"{self.folder / 'offline'}: expected {needed} root keys to sign with, got {len(signers)}")
        present.version += 1
        present.expires = _until(now, "root")
        for role in ("snapshot", "timestamp") if replace_online else ():
            path = self.folder / "online" / f"{role}.pem"
            path.unlink(missing_ok=True)
            for old in list(present.roles[role].keyids):
                present.revoke_key(old, role)
            present.add_key(keys.create(path).public_key, role)
        self._write(self._sign(root, signers), f"{present.version}.root.json")
        if (self.folder / "online" / "snapshot.pem").exists():
            self.freshen(now, always=True)
        return int(present.version)

    def _sign_targets(self, targets: Metadata[Targets], now: datetime) -> int:
        targets.signed.version += 1
        targets.signed.expires = _until(now, "targets")
        signer = keys.load(self.folder / "offline" / "targets.pem", os.environ.get(keys.PASSPHRASE, ""))
        self._write(self._sign(targets, [signer]), f"{targets.signed.version}.targets.json")
        if (self.folder / "online" / "snapshot.pem").exists():
            self.freshen(now, always=True)
        return int(targets.signed.version)

    def accept_targets(self, data: bytes, now: datetime) -> int:
        """Takes targets that were signed elsewhere, and publishes them. Raises Untrusted."""
        from tuf.api.exceptions import RepositoryError
        from tuf.api.metadata import Metadata
        from tuf.api.serialization import DeserializationError

        try:
            targets: Metadata[Targets] = Metadata.from_bytes(data)
            if targets.signed.type != "targets":
                raise Untrusted("metadata", f"expected targets, got {targets.signed.type}")
            self.root().signed.verify_delegate("targets", targets.signed_bytes, targets.signatures)
        except (DeserializationError, RepositoryError) as error:
            raise Untrusted("signature", f"expected targets that the offline key has signed: {error}") from None
        present = self.targets().version
        if targets.signed.version <= present:
            raise Untrusted("rollback", f"expected targets of a version after {present}, got {targets.signed.version}")
        if targets.signed.is_expired(now):
            raise Untrusted("expired", f"these targets expired at {targets.signed.expires:%Y-%m-%d}")
        self._write(data, f"{targets.signed.version}.targets.json")
        self.freshen(now, always=True)
        return int(targets.signed.version)

    def accept_roots(self, roots: Sequence[bytes], now: datetime) -> int:
        """Takes the roots that follow the newest one, signed elsewhere, and publishes them; gives the last version. Raises Untrusted.

        Keys for snapshot and timestamp that come with them lie in `online/next`, and take the place of those in `online`. A root after
        which this repository could not go on is refused: devices would take nothing more.
        """
        from tuf.api.exceptions import RepositoryError

        followed = chain(self.root(), roots, now)
        last = followed[-1].signed
        targets = self._targets()
        try:
            last.verify_delegate("targets", targets.signed_bytes, targets.signatures)
        except RepositoryError as error:
            said = (
                f"root {last.version}: expected one whose keys for targets have signed targets {targets.signed.version}, which are served"
            )
            raise Untrusted(
                "signature", f"{said}: {error}; let one root name old and new keys, then publish targets, then the next root"
            ) from None
        used = [self._signer(role, last)[1] for role in ("snapshot", "timestamp")]
        for root, data in zip(followed, roots, strict=True):
            self._write(data, f"{root.signed.version}.root.json")
        self.freshen(now, always=True)
        for path in used:
            path.replace(self.folder / "online" / path.name)
        return int(last.version)

    def _signer(self, role: str, root: Root) -> tuple[CryptoSigner, Path]:
        """The key that this root names for a role: in use, or next. Raises Untrusted, OSError, KeyRefusal."""
        for folder in (self.folder / "online", self.folder / "online" / "next"):
            path = folder / f"{role}.pem"
            if path.exists() and (signer := keys.load(path)).public_key.keyid in root.roles[role].keyids:
                return signer, path
        said = f"root {root.version} names another key for {role}: put its file into {self.folder.name}/online/next of the cloud"
        raise Untrusted("keys", f"{said}, then publish that root")

    def freshen(self, now: datetime, *, always: bool = False) -> bool:
        """Signs snapshot and timestamp again where something is new or they expire soon. Needs the online keys alone.

        Raises OSError, Untrusted, KeyRefusal.
        """
        from tuf.api.metadata import Metadata, MetaFile, Snapshot, Timestamp

        if not always and self._read("timestamp.json").signed.expires - now > LASTS["timestamp"] - timedelta(days=1):
            return False
        root = self.root().signed
        signers = {role: self._signer(role, root)[0] for role in ("snapshot", "timestamp")}
        version = self._newest("snapshot") + 1
        snapshot = Snapshot(version, expires=_until(now, "snapshot"), meta={"targets.json": MetaFile(self.targets().version)})
        self._write(self._sign(Metadata(snapshot), [signers["snapshot"]]), f"{version}.snapshot.json")
        before = self._read("timestamp.json").signed.version if (self.metadata / "timestamp.json").exists() else 0
        timestamp = Timestamp(before + 1, expires=_until(now, "timestamp"), snapshot_meta=MetaFile(version))
        self._write(self._sign(Metadata(timestamp), [signers["timestamp"]]), "timestamp.json")
        return True

    def director(self) -> CryptoSigner:
        """The online key that signs desired states. Raises OSError."""
        return self._online(ONLINE)

    def update(self, desired: Desired, now: datetime) -> Update:
        """What makes a bundle an update file: the desired state, signed with the offline key for such files, and the metadata of now.

        Where the online keys are here, the metadata are signed anew. Raises OSError, Untrusted, KeyRefusal.
        """
        if (self.folder / "online" / "timestamp.pem").exists():
            self.freshen(now, always=True)
        signer = keys.load(self.folder / "offline" / f"{OFFLINE}.pem", os.environ.get(keys.PASSPHRASE, ""))
        newest = [f"{self._newest(role)}.{role}.json" for role in ("snapshot", "targets")]
        roots = [f"{version}.root.json" for version in range(2, self._newest("root") + 1)]
        names = ["timestamp.json", *newest, *roots]
        return make({name: (self.metadata / name).read_bytes() for name in names}, seal(desired, signer))

    def _online(self, role: str) -> CryptoSigner:
        return keys.load(self.folder / "online" / f"{role}.pem")

    def _newest(self, role: str) -> int:
        numbers = [path.name.partition(".")[0] for path in self.metadata.glob(f"*.{role}.json")]
        return max((int(number) for number in numbers if number.isdecimal()), default=0)

    def _targets(self) -> Metadata[Targets]:
        return self._read(f"{self._newest('targets')}.targets.json")

    def _read(self, name: str) -> Metadata[Any]:
        from tuf.api.metadata import Metadata
        from tuf.api.serialization import DeserializationError

        try:
            return Metadata.from_bytes((self.metadata / name).read_bytes())
        except DeserializationError as error:
            raise Untrusted("metadata", f"{self.metadata / name}: {error}") from None

    @staticmethod
    def _sign(metadata: Metadata[Any], signers: list[CryptoSigner]) -> bytes:
        from tuf.api.serialization.json import JSONSerializer

        metadata.signatures.clear()
        for signer in signers:
            metadata.sign(signer, append=True)
        return metadata.to_bytes(JSONSerializer(compact=True))

    def _write(self, data: bytes, name: str) -> None:
        with tempfile.NamedTemporaryFile(dir=self.metadata, delete=False) as part:
            part.write(data)
            part.flush()
            os.fsync(part.fileno())
        Path(part.name).chmod(0o644)
        Path(part.name).replace(self.metadata / name)


def _until(now: datetime, role: str) -> datetime:
    return (now.astimezone(UTC) + LASTS[role]).replace(microsecond=0)
