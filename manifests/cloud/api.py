"""The HTTP API. Every route is thin: who asks, what is asked, one call of the service."""

from __future__ import annotations

import tempfile
from pathlib import Path
from shutil import disk_usage
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, FastAPI, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import AfterValidator, Field

from manifests.bundle.canonical import BundleError, encode
from manifests.cloud import audit, inventory, library, resets, rollout
from manifests.cloud.answers import add_answers
from manifests.cloud.errors import Full, Unauthorised, Unknown, Wrong
from manifests.cloud.limits import HEAVY, HttpLimits, Limiter, bytes_asked
from manifests.cloud.people import Person
from manifests.cloud.service import Ask, Cloud
from manifests.cloud.threshold import Threshold, address
from manifests.schema.common import Name, Strict
from manifests.sync.desired import Shadow
from manifests.trust.roots import MOST_BYTES

MAX_BUNDLE = 8 << 30
RESERVE = 512 << 20
"""Bytes of disk that bundles leave to the database."""
Text = Annotated[str, Field(max_length=1000)]


def plain(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings that can be signed. Raises ValueError."""
    if not all(isinstance(value, bool | int | float | str) for value in settings.values()):
        raise ValueError("expected numbers, texts, true or false")
    try:
        encode(settings)
    except BundleError as error:
        raise ValueError(str(error)) from None
    return settings


class NewPerson(Strict):
    """Somebody who is to get a token."""

    name: Name
    role: str


class Invitation(Strict):
    """`lasts_s`: seconds until the token expires."""

    name: Name
    cohort: Name = "default"
    lasts_s: Annotated[float, Field(gt=0, le=30 * 86_400)] = 86_400.0


class Change(Strict):
    """Of one device, or of a cohort."""

    device: Text = ""
    cohort: Text = ""
    items: Annotated[tuple[Text, ...], Field(min_length=1, max_length=64)]
    all: bool = False
    set: Annotated[dict[str, Any], Field(max_length=256), AfterValidator(plain)] = Field(default={})
    reason: Text = ""
    probation_s: Annotated[float, Field(ge=0, le=86_400)] | None = None
    shadow: Shadow | None = None
    """Of a reload: what it must show beside what runs, before anything is switched."""

    def ask(self) -> Ask:
        return Ask(self.items, self.device, self.cohort, self.all, self.set, self.reason, self.probation_s, self.shadow)


class Reset(Strict):
    """Of these devices, or of a cohort."""

    devices: Annotated[tuple[Text, ...], Field(max_length=10_000)] = ()
    cohort: Text = ""
    reason: Annotated[str, Field(min_length=1, max_length=1000)]


class Roots(Strict):
    """Signed root metadata, each as its file is, in the order of their versions."""

    roots: Annotated[tuple[Annotated[str, Field(max_length=MOST_BYTES)], ...], Field(min_length=1, max_length=64)]


bearer = HTTPBearer(auto_error=False)
Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]


def cloud_of(request: Request) -> Cloud:
    """The service behind this application."""
    cloud: Cloud = request.app.state.cloud
    return cloud


def limiter_of(request: Request) -> Limiter:
    """Who counts what is asked."""
    limiter: Limiter = request.app.state.limiter
    return limiter


There = Annotated[Cloud, Depends(cloud_of)]
Limits = Annotated[Limiter, Depends(limiter_of)]


def person(cloud: There, limiter: Limits, request: Request, credentials: Credentials) -> Person:
    """Who asks, by the token in the header."""
    secret = credentials.credentials if credentials else ""
    try:
        who = cloud.who(secret)
    except Unauthorised:
        limiter.unwelcome(secret)
        raise
    limiter.welcome(address(request.scope), secret, who.name)
    return who


def device(cloud: There, credentials: Credentials) -> str:
    """Which device asks, by the short-lived token that it got over its encrypted channel."""
    key = cloud.desk.bearer(credentials.credentials if credentials else "")
    if key is None:
        raise Unauthorised("expected the token of the last welcome: it may have expired, say hello again")
    return key


Who = Annotated[Person, Depends(person)]


def heavy(limiter: Limits, who: Who) -> Person:
    """Who asks for something that takes long."""
    limiter.person(who.name, HEAVY - 1)
    return who


WhoPatiently = Annotated[Person, Depends(heavy)]
Which = Annotated[str, Depends(device)]
Number = Annotated[int, Field(ge=0, lt=1 << 53)]

people = APIRouter(prefix="/v1", tags=["people"])
devices = APIRouter(prefix="/v1/device", tags=["devices"])


@people.get("/devices")
def list_devices(
    cloud: There,
    who: Who,
    cohort: str | None = None,
    state: str | None = None,
    after: str = "",
    limit: Annotated[int, Query(ge=1, le=10_000)] = 1000,
) -> list[dict[str, Any]]:
    """Devices in the order of their names; `after` goes on behind a name."""
    with cloud.database.read() as connection:
        return inventory.listing(connection, cohort=cohort, state=state, after=after, limit=limit)


@people.get("/devices/{name}")
def query(cloud: There, who: Who, name: str) -> dict[str, Any]:
    """What a device runs, what it should run, and what happened to it."""
    return cloud.query(name)


@people.get("/devices/{name}/history")
def history(cloud: There, who: Who, name: str, limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> list[dict[str, Any]]:
    """Transitions, the newest first."""
    with cloud.database.read() as connection:
        return inventory.history(connection, inventory.find(connection, name).id, limit)


@people.post("/devices/{name}/approve")
def approve(cloud: There, who: Who, name: str) -> dict[str, str]:
    """Lets a device in that has enrolled."""
    cloud.set_state(who, name, "approved")
    return {"device": name, "state": "approved"}


@people.post("/devices/{name}/revoke")
def revoke(cloud: There, who: Who, name: str) -> dict[str, str]:
    """Shuts a device out, at once and for good."""
    cloud.set_state(who, name, "revoked")
    return {"device": name, "state": "revoked"}


@people.post("/invitations", status_code=201)
def invite(cloud: There, who: Who, body: Invitation) -> dict[str, str]:
    """A token with which one device may ask to be let in; shown once."""
    return {
        "token": cloud.invite(who, body.name, body.cohort, body.lasts_s),
        "server_key": cloud.keys.name,
        "endpoint": cloud.gateway.endpoint,
        "root": cloud.repository.first_root().decode(),
    }


@people.post("/download")
def download(cloud: There, who: Who, body: Change) -> dict[str, Any]:
    """Devices fetch and keep these; what runs does not change."""
    return cloud.download(who, body.ask())


@people.post("/reload")
def reload(cloud: There, who: Who, body: Change) -> dict[str, Any]:
    """Devices run this version of a model or business."""
    return cloud.reload(who, body.ask())


@people.post("/remove")
def remove(cloud: There, who: Who, body: Change) -> dict[str, Any]:
    """Devices run this business no longer, or keep no longer what was only downloaded."""
    return cloud.remove(who, body.ask())


@people.post("/assign")
def assign(cloud: There, who: Who, body: Change) -> dict[str, Any]:
    """A device takes its streams and bindings from a device document that was signed for it."""
    return cloud.assign(who, body.ask())


@people.post("/impact/{verb}")
def impact(cloud: There, who: WhoPatiently, verb: Literal["download", "reload", "remove"], body: Change) -> dict[str, Any]:
    """What a change would do. Nothing is sent."""
    return cloud.impact(verb, body.ask())


@people.post("/resets")
def reset(cloud: There, who: Who, body: Reset) -> JSONResponse:
    """Back to the factory state. 202 where a second person must agree first."""
    done = cloud.reset(who, body.devices, body.cohort, body.reason)
    return JSONResponse(done, 202 if "waits" in done else 200)


@people.get("/resets")
def waiting_resets(cloud: There, who: Who) -> list[dict[str, Any]]:
    """Those that wait for a second person."""
    with cloud.database.read() as connection:
        return resets.waiting(connection)


@people.post("/resets/{number}/agree")
def agree(cloud: There, who: Who, number: Number) -> dict[str, Any]:
    """A second person agrees."""
    return cloud.agree(who, number)


@people.get("/items")
def list_items(cloud: There, who: Who) -> list[dict[str, Any]]:
    """Models and businesses, and who uses whom."""
    with cloud.database.read() as connection:
        return library.listing(connection, cloud.repository.signed)


@people.put("/bundles")
async def upload(cloud: There, who: Who, request: Request) -> list[dict[str, Any]]:
    """The body is a bundle."""
    who.must_be("operator")  # before anything of it is kept
    with tempfile.NamedTemporaryFile(suffix=".ace", dir=cloud.folder) as file:
        size = 0
        async for piece in request.stream():
            size += len(piece)
            if size > MAX_BUNDLE:
                raise Wrong(f"expected a bundle of at most {MAX_BUNDLE} bytes")
            if disk_usage(cloud.folder).free < size + RESERVE:  # what is in it is stored beside it
                raise Full("the cloud has no room for this bundle and what else it must store")
            await run_in_threadpool(file.write, piece)
        await run_in_threadpool(file.flush)
        added = await run_in_threadpool(cloud.upload, who, Path(file.name))
    return [item.model_dump() for item in added]


@people.get("/trust")
def trusted(cloud: There, who: Who) -> dict[str, int]:
    """The versions of the newest root and targets that devices get."""
    return cloud.repository.versions()


@people.post("/trust/roots")
def publish_roots(cloud: There, who: Who, body: Roots) -> dict[str, int]:
    """Takes the roots that follow the newest one: each signed by the keys of the one before it, and by its own."""
    return {"version": cloud.publish_roots(who, [root.encode() for root in body.roots])}


@people.put("/trust/targets")
async def publish(cloud: There, who: Who, request: Request) -> dict[str, int]:
    """The body is targets metadata that were signed offline."""
    who.must_be("approver")
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > 5_000_000:
            raise Wrong("expected targets of at most 5,000,000 bytes, which is what devices take")
    return {"version": await run_in_threadpool(cloud.publish, who, bytes(body))}


@people.post("/rollouts", status_code=201)
def create_rollout(cloud: There, who: Who, body: rollout.Spec) -> dict[str, int]:
    """Begins a rollout."""
    return {"id": cloud.begin(who, body)}


@people.get("/rollouts/{number}")
def show_rollout(cloud: There, who: Who, number: Number) -> dict[str, Any]:
    """How a rollout stands."""
    with cloud.database.read() as connection:
        return rollout.show(connection, number)


@people.post("/rollouts/{number}/{action}")
def turn_rollout(cloud: There, who: Who, number: Number, action: Literal["pause", "resume", "abort"]) -> dict[str, Any]:
    """A person stops it for a while, lets it go on, or takes it back."""
    return cloud.turn(who, number, action)


@people.post("/people", status_code=201)
def create_person(cloud: There, who: Who, body: NewPerson) -> dict[str, str]:
    """Gives a person a token; shown once."""
    return {"token": cloud.create_person(who, body.name, body.role)}


@people.post("/people/{name}/revoke")
def revoke_person(cloud: There, who: Who, name: str) -> dict[str, str]:
    """Ends a person's token."""
    cloud.revoke_person(who, name)
    return {"person": name, "state": "revoked"}


@people.get("/audit")
def audit_log(
    cloud: There, who: WhoPatiently, before: Number | None = None, limit: Annotated[int, Query(ge=1, le=1000)] = 100
) -> dict[str, Any]:
    """Who did what, the newest first, and the number of the first row that was tampered with."""
    who.must_be("approver")
    with cloud.database.read() as connection:
        return {"entries": audit.entries(connection, limit, before), "first_broken": audit.first_broken(connection)}


@devices.get("/desired/{revision}", response_class=PlainTextResponse)
def signed_desired(cloud: There, which: Which, revision: Number) -> PlainTextResponse:
    """The signed desired state of the device that asks."""
    return PlainTextResponse(cloud.signed_desired(which, revision), media_type="application/json")


@devices.get("/blobs/{digest}")
def blob(cloud: There, limiter: Limits, which: Which, digest: str, request: Request) -> FileResponse:
    """The bytes of a blob, or of the document of an item; ranges are honoured."""
    path = cloud.blob_for(which, digest)
    limiter.blob(which, bytes_asked(path.stat().st_size, request.headers.get("range"), request.headers.get("if-range")))
    return FileResponse(path, media_type="application/octet-stream", headers={"ETag": f'"{digest}"'})


@devices.get("/trust/{name}")
def trust(cloud: There, which: Which, name: str) -> FileResponse:
    """Signed metadata."""
    path = cloud.repository.metadata / name
    if not name.replace(".", "").isalnum() or not name.endswith(".json") or not path.is_file():
        raise Unknown("there are no such metadata")
    return FileResponse(path, media_type="application/json")


def make_app(cloud: Cloud, limits: HttpLimits | None = None) -> FastAPI:
    """The application; its OpenAPI document is at /openapi.json."""
    app = FastAPI(title="ACE cloud", version="1", docs_url=None, redoc_url=None)
    app.state.cloud = cloud
    app.state.limiter = limiter = Limiter(limits)
    app.include_router(people)
    app.include_router(devices)

    add_answers(app)
    app.add_middleware(Threshold, limiter=limiter, device=cloud.desk.device_of)
    return app
