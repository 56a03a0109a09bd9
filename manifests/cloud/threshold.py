"""What stands before the HTTP API: who asks too much, or says too much or too slowly, is told so before anything of it is kept."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from manifests.cloud.answers import refused
from manifests.cloud.errors import Refusal, TooLong, TooSlow
from manifests.cloud.limits import Limiter

MAX_JSON = 1 << 20
BODY_S = 20.0
"""A body of JSON must have come by then."""
PIECE_S = 60.0
"""Of a file that is sent, the next bytes must come within this time."""


class Threshold:
    """ASGI middleware. `device` gives the device that a token was made for, though it may have expired; None where it is no such token."""

    def __init__(self, app: ASGIApp, limiter: Limiter, device: Callable[[str], str | None]) -> None:
        self._app, self._limiter, self._device = app, limiter, device

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            self._count(scope)
            heard = self._streamed(receive) if scope["method"] == "PUT" else await self._whole(scope, receive)
        except Refusal as refusal:
            await refused(refusal)(scope, receive, send)
            return
        await self._app(scope, heard, send)

    def _count(self, scope: Scope) -> None:
        secret = bearer(scope)
        key = self._device(secret)
        if key is not None:
            self._limiter.device(key)
        else:
            self._limiter.enter(address(scope), secret)

    async def _whole(self, scope: Scope, receive: Receive) -> Receive:
        """The body, read; it must have been said how long it is."""
        length = header(scope, b"content-length") or "0"
        if header(scope, b"transfer-encoding") or not length.isdecimal() or len(length) > 10 or int(length) > MAX_JSON:
            raise TooLong(f"expected a body of at most {MAX_JSON} bytes, with its length")
        if not int(length):
            return receive
        parts: list[Message] = []
        try:
            async with asyncio.timeout(BODY_S):
                while not parts or parts[-1].get("more_body"):
                    parts.append(await receive())
        except TimeoutError:
            raise TooSlow(f"expected {length} bytes within {BODY_S:g} s") from None
        parts.reverse()

        async def again() -> Message:
            return parts.pop() if parts else await receive()

        return again

    @staticmethod
    def _streamed(receive: Receive) -> Receive:
        async def soon() -> Message:
            try:
                async with asyncio.timeout(PIECE_S):
                    return await receive()
            except TimeoutError:
                raise TooSlow(f"expected the next bytes within {PIECE_S:g} s") from None

        return soon


def bearer(scope: Scope) -> str:
    """The token of a request; empty where there is none."""
    scheme, _, secret = header(scope, b"authorization").partition(" ")
    return secret.strip() if scheme.lower() == "bearer" else ""


def address(scope: Scope) -> str:
    """Where a request comes from; empty where nobody knows."""
    client: tuple[str, Any] | None = scope.get("client")
    return client[0] if client else ""


def header(scope: Scope, name: bytes) -> str:
    """The first of this name, which is in small letters; empty where there is none."""
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == name), "")
