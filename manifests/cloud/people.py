"""Who may do what. A person is known by a token; only its hash is kept."""

from __future__ import annotations

import hashlib
import secrets
import time
from dataclasses import dataclass

from sqlalchemy import Connection, insert, select, update

from manifests.cloud.audit import record
from manifests.cloud.errors import Forbidden, Refusal, Unauthorised, Unknown, Wrong
from manifests.cloud.tables import tokens

ROLES = ("viewer", "operator", "approver", "admin")
"""Each may do what those before it may. A viewer looks; an operator changes what devices run, and resets one; an approver lets devices
in and agrees to what others ask for; an admin manages people."""


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who asks for something."""

    name: str
    role: str

    def must_be(self, role: str) -> None:
        """Raises Forbidden."""
        if ROLES.index(self.role) < ROLES.index(role):
            raise Forbidden(f"{self.name} is {self.role}: expected {role} or more; ask somebody who is")


def digest(secret: str) -> str:
    """What is kept of a secret. Secrets are 256 random bits, so that one round is enough."""
    return hashlib.sha256(secret.encode()).hexdigest()


def create(connection: Connection, by: str, name: str, role: str) -> str:
    """Gives a person a token, which is shown once. Raises Wrong."""
    if role not in ROLES:
        raise Wrong(f"role: expected one of {', '.join(ROLES)}, got {role!r}")
    if connection.execute(select(tokens.c.hash).where(tokens.c.person == name)).first():
        raise Wrong(f"{name} has a token already: revoke it first, or choose another name")
    secret = f"ace_{secrets.token_urlsafe(32)}"
    connection.execute(insert(tokens).values(hash=digest(secret), person=name, role=role, created=time.time(), revoked=False))
    record(connection, by, "person.create", name, role=role)
    return secret


def revoke(connection: Connection, by: str, name: str) -> None:
    """Ends a person's token; the name is not given again. Raises Unknown, Refusal."""
    admins = list(connection.execute(select(tokens.c.person).where(tokens.c.role == ROLES[-1], ~tokens.c.revoked)).scalars())
    if admins == [name]:
        raise Refusal(f"{name} is the last {ROLES[-1]}: expected another one first, or nobody could let people in any more")
    if not connection.execute(update(tokens).where(tokens.c.person == name).values(revoked=True)).rowcount:
        raise Unknown(f"there is no person {name!r}")
    record(connection, by, "person.revoke", name)


def authenticate(connection: Connection, secret: str) -> Person:
    """Raises Unauthorised."""
    row = connection.execute(select(tokens).where(tokens.c.hash == digest(secret), ~tokens.c.revoked)).first()
    if row is None:
        raise Unauthorised("expected a valid token in the header `Authorization: Bearer TOKEN`")
    return Person(row.person, row.role)
