"""What is too long for a message comes over HTTP(S): blobs from any byte on, signed metadata, long desired states."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from manifests.sync.channel.messages import Offer

if TYPE_CHECKING:
    import httpx

PIECE = 1 << 18
TIMEOUT_S = 10.0
MAX_DESIRED = 4 << 20


class HttpError(OSError):
    """Bytes that did not come: what was asked, what came instead. It is tried again later."""


class CloudHttp:
    """The cloud's HTTP side. `token` gives the newest token of the channel, `renew` asks the channel for another one.

    `authority`: a PEM file of the authority that signed the cloud's certificate; None: those that the system knows.
    """

    def __init__(self, address: str, token: Callable[[], str], renew: Callable[[], None], authority: Path | None = None) -> None:
        import ssl

        import httpx

        verify = ssl.create_default_context(cafile=str(authority)) if authority is not None else True
        self._client = httpx.Client(base_url=address, timeout=TIMEOUT_S, verify=verify, follow_redirects=False)
        self._token, self._renew = token, renew

    def close(self) -> None:
        self._client.close()

    def fetch(self, sha256: str, offset: int = 0, source: str = "") -> Iterator[bytes]:
        """The bytes of a blob from `offset` on, in pieces; the caller checks digest and length. Raises HttpError, also midway."""
        yield from self._get(f"/v1/device/blobs/{sha256}", offset)

    def metadata(self, name: str, most: int) -> bytes | None:
        """A file of the signed metadata; None where there is none. Raises HttpError."""
        try:
            return self._whole(f"/v1/device/trust/{name}", most)
        except FileNotFoundError:
            return None

    def desired(self, offer: Offer, token: str = "") -> bytes:
        """A signed desired state. Raises HttpError."""
        if not offer.url.startswith("/v1/"):
            raise HttpError(f"expected a path of this cloud, got {offer.url[:80]!r}")
        return self._whole(offer.url, MAX_DESIRED)

    def _whole(self, path: str, most: int) -> bytes:
        data = bytearray()
        for piece in self._get(path, 0):
            data += piece
            if len(data) > most:
                break
        return bytes(data[:most])

    def _get(self, path: str, offset: int) -> Iterator[bytes]:
        import httpx

        headers = {"Authorization": f"Bearer {self._token()}", "Accept-Encoding": "identity"}
        if offset:
            headers["Range"] = f"bytes={offset}-"
        try:
            with self._client.stream("GET", path, headers=headers) as response:
                self._check(response, path, offset)
                yield from response.iter_raw(PIECE)
        except httpx.HTTPError as error:
            raise HttpError(f"{path}: expected bytes, got: {error or type(error).__name__}") from None

    def _check(self, response: httpx.Response, path: str, offset: int) -> None:
        if response.status_code == 401:
            self._renew()
        if response.status_code == 404:
            raise FileNotFoundError(2, "the cloud has no such file for this device", path)
        if response.status_code != (206 if offset else 200):
            raise HttpError(f"{path}: expected status {206 if offset else 200}, got {response.status_code}")
        if offset and not response.headers.get("Content-Range", "").startswith(f"bytes {offset}-"):
            raise HttpError(f"{path}: expected bytes from {offset} on, got {response.headers.get('Content-Range', 'no range')[:80]}")
