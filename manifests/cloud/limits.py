"""How much may be asked over HTTP: by an address whose tokens nobody knows, by a person, by a device. Memory is bounded, whoever asks."""

from __future__ import annotations

import ipaddress
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from manifests.cloud.errors import Refusal
from manifests.cloud.people import digest
from manifests.sync.channel.guard import Bucket

HEAVY = 25.0
"""A question about all devices, or the whole audit log, counts as so many."""


class TooMany(Refusal):
    """Nothing was done. `retry_s`: seconds until it may be asked again."""

    status = 429

    def __init__(self, who: str, retry_s: float) -> None:
        seconds = max(1, math.ceil(retry_s))
        super().__init__(f"too many requests of {who}: ask again in {seconds} s", retry_s=seconds)
        self.retry_s = seconds


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """Token buckets: so many a second on average, so many at once."""

    stranger: tuple[float, float] = (1.0, 30.0)
    """Requests from one address (of IPv6: one /64) without a token that is known to be good."""
    person: tuple[float, float] = (50.0, 500.0)
    """Requests; a heavy one counts as HEAVY."""
    device: tuple[float, float] = (5.0, 300.0)
    """Requests."""
    device_bytes: tuple[float, float] = (8 << 20, 16 << 30)
    """Bytes of blobs: at once two bundles of the largest size."""
    remembered: int = 16_384
    """So many addresses, people and devices each; who was not heard of for longest is forgotten, and begins anew."""


class Buckets:
    """One bucket for each key, of so many keys."""

    def __init__(self, figures: tuple[float, float], most: int) -> None:
        self._figures, self._most = figures, most
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def of(self, key: str, now: float) -> Bucket:
        found = self._buckets.get(key)
        if found is None:
            found = self._buckets[key] = Bucket(*self._figures, now)
            if len(self._buckets) > self._most:
                self._buckets.popitem(last=False)
        self._buckets.move_to_end(key)
        return found


class Limiter:
    """Counts what is asked. From any thread. Every method that takes something raises TooMany, and then nothing was taken.

    A token that was good is known by its hash: who has one is not kept waiting by those who guess from behind the same address.
    """

    def __init__(self, limits: HttpLimits | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        figures = limits or HttpLimits()
        self._clock, self._most = clock, figures.remembered
        self._lock = threading.Lock()
        self.strangers = Buckets(figures.stranger, self._most)
        self.people = Buckets(figures.person, self._most)
        self.devices = Buckets(figures.device, self._most)
        self.bytes = Buckets(figures.device_bytes, self._most)
        self.known: OrderedDict[str, str] = OrderedDict()
        """Whose token it is, by its hash."""

    def enter(self, address: str, secret: str) -> None:
        """Somebody asks who is no device: by a token that was good before, or by one of few that this address may try."""
        name = self.known.get(digest(secret))
        if name is not None:
            self.person(name)
        else:
            self._take(self.strangers, network(address), 1.0, "this address without a valid token")

    def welcome(self, address: str, secret: str, name: str) -> None:
        """It was the token of this person: what its first use took from the address is given back."""
        token = digest(secret)
        with self._lock:
            new = token not in self.known
            self.known[token] = name
            self.known.move_to_end(token)
            if len(self.known) > self._most:
                self.known.popitem(last=False)
            if new:
                self.strangers.of(network(address), self._clock()).give_back()
        if new:
            self.person(name)

    def unwelcome(self, secret: str) -> None:
        """The token is good no longer."""
        with self._lock:
            self.known.pop(digest(secret), None)

    def person(self, name: str, many: float = 1.0) -> None:
        self._take(self.people, name, many, name)

    def device(self, key: str) -> None:
        self._take(self.devices, key, 1.0, "this device")

    def blob(self, key: str, size: int) -> None:
        """A device asks for so many bytes."""
        self._take(self.bytes, key, float(size), f"this device for {size} bytes")

    def _take(self, buckets: Buckets, key: str, many: float, who: str) -> None:
        with self._lock:
            now = self._clock()
            bucket = buckets.of(key, now)
            if not bucket.take(now, min(many, bucket.burst)):
                raise TooMany(who, bucket.wait(min(many, bucket.burst)))


def network(address: str) -> str:
    """Whose address it is: one of IPv4, or the 64 bits of one of IPv6 that a site has."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:64]
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.IPv6Network((parsed, 64), strict=False))


def bytes_asked(size: int, wanted: str | None, condition: str | None) -> int:
    """What a request for a file comes to at most: from a first byte on where that is all it says, or else all of it."""
    first = (wanted or "").removeprefix("bytes=").removesuffix("-")
    plain = condition is None and wanted == f"bytes={first}-" and first.isascii() and first.isdecimal() and len(first) < 20
    return max(0, size - int(first)) if plain else size
