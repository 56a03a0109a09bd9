"""The way to the cloud: the channel in a thread of its own, and HTTP for what is long."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

from manifests.store.effects import write_file
from manifests.store.store import Store
from manifests.sync.agent import membership
from manifests.sync.agent.connection import Connection
from manifests.sync.agent.http import CloudHttp
from manifests.sync.agent.membership import Membership
from manifests.sync.agent.mirror import Mirror
from manifests.sync.agent.rows import Rows
from manifests.sync.channel.curve import KeyPair
from manifests.sync.fetch import FetchError

PATIENCE_S = 5.0
"""After so long without an answer it is said once that there is none."""


class Link:
    """One device's way to its cloud. It is there or not; whoever uses it goes on without."""

    def __init__(
        self, store: Store, keys: KeyPair, member: Membership, mirror: Mirror, *, session: str, now: Callable[[], float],
        say: Callable[[str], None],
    ) -> None:  # fmt: skip
        self._folder, self._effects = store.root / "keys", store.effects
        self._member, self._say, self._now = member, say, now
        authority = None
        if member.authority:
            authority = self._folder / "authority.pem"
            if not authority.is_file() or authority.read_bytes() != member.authority.encode():
                write_file(self._effects, authority, member.authority.encode())
        self.http = CloudHttp(member.http, lambda: self._channel().token(), lambda: self._channel().renew(), authority)
        self.connection = Connection(
            member.endpoint, bytes.fromhex(member.key), keys, mirror, Rows(session, mirror.waiting, mirror.acknowledge, now),
            read=self.http.desired, token=member.token or None,
        )  # fmt: skip
        self._thread = threading.Thread(target=self.connection.run, name="cloud", daemon=True)
        self._told = ""
        self._began = self._silent = now()

    def _channel(self) -> Connection:
        return self.connection

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self.connection.stop()
        if self._thread.ident is not None:
            self._thread.join()
        self.http.close()

    @property
    def greeted(self) -> bool:
        """Whether the cloud has answered on this connection."""
        return self.connection.session.greeted

    def fetch(self, sha256: str, offset: int, source: str) -> Iterator[bytes]:
        """A blob. Raises FetchError."""
        try:
            yield from self.http.fetch(sha256, offset, source)
        except OSError as error:
            raise FetchError(str(error)) from None

    def look(self) -> None:
        """Says what has changed, and forgets the token once the cloud has let the device in. By the store's thread. Raises OSError."""
        session = self.connection.session
        if session.greeted:
            self._silent = self._now()
            if self._member.token:
                self._member = self._member.model_copy(update={"token": ""})
                membership.write(self._folder / membership.NAME, self._member, self._effects)
            self._tell(f"cloud: connected to {self._member.endpoint} as {session.name}")
        elif session.refusal:
            self._tell(f"cloud: {session.refusal}; the device goes on as it is")
        elif self._now() - self._silent > PATIENCE_S:
            why = "no answer yet" if self._silent == self._began else "no answer any more"
            self._tell(f"cloud: {why} from {self._member.endpoint}; the device goes on as it is, and tries again")

    def _tell(self, what: str) -> None:
        if what != self._told:
            self._told = what
            self._say(what)
