"""Why the cloud does not do what was asked."""

from __future__ import annotations


class Refusal(Exception):
    """What was expected, what came, what to do next. Nothing has changed. `status` is the HTTP status."""

    status = 409

    def __init__(self, reason: str, **details: object) -> None:
        super().__init__(reason)
        self.reason, self.details = reason, details


class Unknown(Refusal):
    """There is no such thing."""

    status = 404


class Wrong(Refusal):
    """The request cannot be understood."""

    status = 422


class Forbidden(Refusal):
    """This person may not."""

    status = 403


class Unauthorised(Refusal):
    """Nobody knows who asks."""

    status = 401


class TooLong(Refusal):
    """More than is taken."""

    status = 413


class TooSlow(Refusal):
    """The rest of the request has not come."""

    status = 408


class Full(Refusal):
    """There is no room for it."""

    status = 507
