"""What every manifest shares: names, versions, version ranges, and models that refuse unknown keys."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints
from pydantic_core import PydanticCustomError

from manifests import versions

API_VERSION = "ace/v1"

NAME = r"^[a-z0-9]([a-z0-9_-]{0,62}[a-z0-9])?$"
VERSION = rf"^{versions.VERSION}$"
SELECTOR = r"^[a-z0-9]([a-z0-9_-]{0,62}[a-z0-9])?(@[0-9A-Za-z.^~*<>=| ,-]{1,64})?$"
ENVIRONMENT = r"^[A-Z_][A-Z0-9_]{0,127}$"

WORDS = {
    NAME: "a name of lower-case letters, digits, `-` and `_` (inside), at most 64",
    VERSION: "a version such as `1.2.0`",
    SELECTOR: "`name` or `name@range`, such as `yolox-nano@^1`",
    ENVIRONMENT: "the name of an environment variable, such as `FRONT_CAMERA`",
}
"""What the patterns mean, for messages."""


def check_range(selector: str) -> str:
    """Refuses a selector whose range cannot be read."""
    try:
        versions.split_selector(selector)
    except ValueError:
        expected = "a version range such as `^1`, `~1.2`, `>=1.0,<2` or `1.2.3`"
        raise PydanticCustomError("expected", "expected {expected}", {"expected": expected}) from None
    return selector


Name = Annotated[str, StringConstraints(pattern=NAME)]
"""Lower-case letters, digits, `-` and `_`; at most 64."""

Version = Annotated[str, StringConstraints(pattern=VERSION, max_length=72)]
"""Semantic version, as https://semver.org defines it, without build data."""

Selector = Annotated[str, StringConstraints(pattern=SELECTOR), AfterValidator(check_range)]
"""`name` or `name@range`, as in `yolox-nano@^1`."""

ApiVersion = Literal["ace/v1"]


class Strict(BaseModel):
    """Frozen; unknown keys and non-finite numbers are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)


def identify(schema: dict[str, Any]) -> None:
    """In a file, unlike in Python, a manifest must say what it is."""
    schema["required"] = ["apiVersion", "kind", *schema.get("required", ())]


class Manifest(Strict):
    """A whole document."""

    model_config = ConfigDict(json_schema_extra=identify)

    apiVersion: ApiVersion = "ace/v1"  # noqa: N815
