"""Which cloud a device belongs to: what `ace fleet invite` wrote into a file, kept in the store until the cloud has let the device in."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from manifests.schema.common import Strict
from manifests.store.effects import Effects, make_folder, write_file
from manifests.sync.desired import Digest

NAME = "cloud.json"
MAX_BYTES = 1 << 20


class MembershipError(ValueError):
    """A file of `ace fleet invite` that cannot be used: expected, got, what to do next."""


class Membership(Strict):
    """Where the cloud is and how it is known: `key` its public CURVE key, `root` the first root metadata (TUF), as text.

    `token` lets the device ask to be let in, once; it is forgotten when the cloud has let it in. `authority` is the certificate (PEM) of
    the authority that signed the one of the cloud's HTTPS; empty: those that the system knows.
    """

    format: Literal["ace.join/v1"] = "ace.join/v1"
    endpoint: Annotated[str, Field(pattern=r"^tcp://[^\s/]+:[0-9]{1,5}$", max_length=256)]
    key: Digest
    http: Annotated[str, Field(pattern=r"^https?://[^\s]+$", max_length=512)]
    root: Annotated[str, Field(min_length=2, max_length=512 * 1024)]
    token: Annotated[str, Field(max_length=128)] = ""
    authority: Annotated[str, Field(max_length=64 * 1024)] = ""


def read(path: Path) -> Membership:
    """Raises MembershipError, OSError."""
    with path.open("rb") as stream:
        data = stream.read(MAX_BYTES + 1)
    if path.stat().st_mode & 0o077:
        raise MembershipError(f"{path}: expected a file that only its owner may read, for it holds a token (chmod 600 {path})")
    try:
        if len(data) > MAX_BYTES:
            raise ValueError(f"expected at most {MAX_BYTES} bytes, got more")
        return Membership.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise MembershipError(f"{path}: {where}: {first['msg']}; make it with `ace fleet invite NAME --join FILE`") from None
    except ValueError as error:
        raise MembershipError(f"{path}: {error}") from None


def write(path: Path, membership: Membership, effects: Effects | None = None) -> None:
    """Whole and durable, readable by its owner alone. Raises OSError."""
    effects = effects or Effects()
    effects.unlink(path.with_name(f"{path.name}.part"))  # whoever else may read what was left there must not read this
    write_file(effects, path, membership.model_dump_json(indent=1, exclude_defaults=True).encode())


def joined(store: Path, given: Path | None, effects: Effects | None = None) -> Membership | None:
    """The cloud of the device whose store this is, made where there is none; `given`: a file that says so, taken once.

    None for a device without a cloud. Raises MembershipError, OSError.
    """
    effects = effects or Effects()
    keys = store / "keys"
    kept = keys / NAME
    known = read(kept) if kept.exists() else None
    if given is None:
        return known
    asked = read(given)
    if known is None:
        for folder in (store, keys):
            make_folder(effects, folder)
        write(kept, asked, effects)
        return asked
    if known.key != asked.key:
        raise MembershipError(
            f"{given}: expected the cloud that this device belongs to (key {known.key[:12]}), got another one (key {asked.key[:12]}); "
            f"to change it, remove {kept} and {store / 'trust'} first"
        )
    moved = known.model_copy(
        update={"endpoint": asked.endpoint, "http": asked.http, "authority": asked.authority, "token": known.token and asked.token}
    )
    if moved != known:
        write(kept, moved, effects)
    return moved


def reachable(endpoint: str, http: str) -> str:
    """The address that devices connect to: where the cloud listens everywhere, its host is that of its HTTP address."""
    from urllib.parse import urlsplit

    host, _, port = endpoint.removeprefix("tcp://").rpartition(":")
    if host in ("0.0.0.0", "*", "[::]"):  # noqa: S104
        host = urlsplit(http).hostname or host
    return f"tcp://{host}:{port}"
