"""Asking the cloud: one request, its answer as JSON, its refusal as a message."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    import httpx

ADDRESS = "http://127.0.0.1:8480"
PATIENCE_S = 60
"""So long at most a command waits for a cloud that is asked too often."""

Cloud = Annotated[
    str,
    typer.Option(
        "--cloud", metavar="URL", envvar="ACE_CLOUD", help="The cloud's HTTP address. The token comes from ACE_TOKEN or ACE_TOKEN_FILE."
    ),
]
Device = Annotated[str, typer.Argument(metavar="DEVICE", help="A device's name, or the beginning of its key.", show_default=False)]


class CloudRefusal(Exception):
    """The cloud did not do it, and says why."""


class Misasked(CloudRefusal):
    """What was asked cannot be done by anybody: another question is needed."""


def token() -> str:
    """This person's token. Raises CloudRefusal, OSError."""
    if value := os.environ.get("ACE_TOKEN"):
        return value
    name = os.environ.get("ACE_TOKEN_FILE")
    if not name:
        raise Misasked("expected your token in ACE_TOKEN, or in the file that ACE_TOKEN_FILE names; an admin gives it to you")
    path = Path(name)
    if path.stat().st_mode & 0o077:
        raise Misasked(f"{path}: expected a file that only its owner may read (chmod 600 {path})")
    return path.read_text().strip()


def ask(cloud: str, method: str, path: str, body: Any = None, *, file: Path | None = None) -> Any:
    """One request, again where the cloud was asked too often. Raises CloudRefusal, OSError."""
    waited = 0.0
    while True:
        response = _once(cloud, method, path, body, file)
        if response.is_success:
            return response.json()
        again = response.headers.get("Retry-After", "")
        # Nothing was done of what came too often.
        if response.status_code != 429 or not again.isdecimal() or waited + int(again) > PATIENCE_S:
            raise (Misasked if response.status_code in {404, 413, 422} else CloudRefusal)(_message(response))
        waited += int(again)
        time.sleep(int(again))


def _once(cloud: str, method: str, path: str, body: Any, file: Path | None) -> httpx.Response:
    import httpx

    headers = {"Authorization": f"Bearer {token()}"}
    try:
        with httpx.Client(base_url=cloud, timeout=60.0, headers=headers) as client:
            if file is None:
                return client.request(method, path, json=body)
            with file.open("rb") as stream:
                return client.request(method, path, content=stream, timeout=600.0)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise CloudRefusal(f"{cloud}: expected the cloud to answer, got: {error or type(error).__name__}; is --cloud right?") from None


def _message(response: Any) -> str:
    try:
        said = response.json()
    except ValueError:
        said = None
    if isinstance(said, dict) and "error" in said:
        return str(said["error"])
    if isinstance(said, dict) and isinstance(said.get("detail"), list):
        return "\n".join(f"{'.'.join(map(str, each.get('loc', ())))}: {each.get('msg', '')}" for each in said["detail"])
    return f"the cloud answered with status {response.status_code}"


def changed(done: dict[str, Any]) -> None:
    """Says what a change came to."""
    for each in done["devices"][:20]:
        print(f"{each['device'][:12]}  revision {each['revision']}")
    if len(done["devices"]) > 20:
        print(f"... {len(done['devices'])} devices in all")
    if done["businesses"]:
        print(f"touches: {', '.join(done['businesses'])}")
    for name, why in done["kept"].items():
        print(f"keeps its version: {name} ({why})")


def foreseen(told: dict[str, Any]) -> None:
    """Says what a change would come to."""
    print(f"devices: {told['devices']} ({told['touched']['count']} touched, {told['unchanged']['count']} unchanged)")
    print(f"businesses: {', '.join(f'{name} on {count}' for name, count in told['businesses'].items()) or 'none'}")
    print(f"download: {told['download_bytes'] / 2**20:.1f} MB")
    for name, why in told["kept"].items():
        print(f"keeps its version: {name} ({why})")
    gap = f"do not hold old and new at once: the old one ends first, up to about {told['gap_s']:.1f} s without results"
    for key, words in (
        ("sequential", gap),
        ("lacks_ram", "lack memory for the new one"),
        ("unreported", "have not said what memory they have"),
        ("lacks_disk", "lack disk"),
        ("offline", "are offline"),
        ("held", "are held"),
    ):
        if told[key]["count"]:
            print(f"{told[key]['count']} {words}: {', '.join(told[key]['devices'])}")
    for what in told["without_figures"]:
        print(f"needs more memory than is counted: {what} (its bundle does not say how much: its files alone are counted)")
    for why, which in told["refused"].items():
        print(f"{which['count']} refuse: {why}: {', '.join(which['devices'])}")
