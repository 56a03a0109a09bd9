"""What goes wrong, as an HTTP answer: a message that says what was expected, and nothing of what was sent."""

from __future__ import annotations

import logging

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import DataError, OperationalError

from manifests.cloud.errors import Refusal, TooSlow

log = logging.getLogger(__name__)

MOST = 20
"""Problems that one answer names."""


def refused(refusal: Refusal) -> JSONResponse:
    """A refusal. Of a request that did not come in time the rest is not read."""
    headers = {"Connection": "close"} if isinstance(refusal, TooSlow) else {}
    if (seconds := refusal.details.get("retry_s")) is not None:
        headers["Retry-After"] = str(seconds)
    return JSONResponse({"error": _said(refusal.reason), **refusal.details}, refusal.status, headers)


def misasked(error: RequestValidationError) -> JSONResponse:
    """What is wrong with which field. The values are not repeated: some that JSON readers take cannot be written."""
    problems = []
    for each in error.errors()[:MOST]:
        place = [_said(str(part))[:128] for part in each["loc"]]
        problems.append({"loc": place, "msg": _said(each["msg"]), "type": each["type"]})
    return JSONResponse({"detail": problems}, 422)


def add_answers(app: FastAPI) -> None:
    """Makes answers of everything that may go wrong without anybody's mistake in the program."""

    @app.exception_handler(Refusal)
    async def refusing(_: Request, refusal: Refusal) -> JSONResponse:
        return refused(refusal)

    @app.exception_handler(RequestValidationError)
    async def misasking(_: Request, error: RequestValidationError) -> JSONResponse:
        return misasked(error)

    @app.exception_handler(DataError)
    async def unspeakable(_: Request, error: DataError) -> JSONResponse:
        return JSONResponse({"error": "expected text and numbers that the database can hold"}, 422)

    @app.exception_handler(OperationalError)
    @app.exception_handler(OSError)
    async def failed(request: Request, error: Exception) -> JSONResponse:
        log.error("%s %s failed", request.method, request.url.path, exc_info=error)
        return JSONResponse({"error": "the cloud cannot read or write what this needs: nothing was changed; look at its disk and log"}, 503)


def _said(text: str) -> str:
    """Without what UTF-8 cannot say."""
    return text.encode("utf-8", "replace").decode()
