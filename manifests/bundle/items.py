"""Item documents: what one model, business, device document or golden clip consists of, file by file."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, Field, ValidationError, model_validator

from manifests.bundle.canonical import BundleError, decode, digest, encode
from manifests.schema.common import Name, Selector, Strict
from manifests.sync.desired import Digest, Item

MAX_DOCUMENT = 1 << 20
MAX_BLOB = 4 << 30
MAX_FILES = 1024
MAX_PATH = 256

MANIFEST = "manifest.json"
"""The file of an item that holds its manifest."""

PART = re.compile(r"(?!\.)[A-Za-z0-9 _.,+@=~()-]{1,128}(?<![ .])")


def check_path(path: str) -> str:
    """A relative path of plain names, none of them hidden: it cannot leave its folder, on any system. Raises ValueError."""
    if len(path) > MAX_PATH or not all(PART.fullmatch(part) for part in path.split("/")):
        raise ValueError("a relative path of letters, digits and ` _.,+@=~()-`, without `..` and hidden names")
    return path


Cost = Annotated[dict[Name, Annotated[int, Field(ge=0, lt=1 << 53)]], Field(max_length=32)]
"""What something takes, by what is counted: `file-bytes`, `ram-bytes`, `shared-memory-bytes`."""

FilePath = Annotated[str, AfterValidator(check_path)]


class Blob(Strict):
    """Some bytes, by what they are."""

    sha256: Digest
    size: Annotated[int, Field(ge=0, le=MAX_BLOB)]

    @classmethod
    def of(cls, data: bytes) -> Blob:
        """The blob of these bytes."""
        return cls(sha256=digest(data), size=len(data))


class ItemDocument(Strict):
    """One item of exactly one content. Its canonical JSON's sha256 is the item's digest; what one device lacks of it is counted by blob.

    `models` are the version ranges that a business asks for, by its own names. `cost` are figures that hold on every device. `pair` ties
    a golden clip to the business and the models (by the business's names) that it was recorded with.
    """

    format: Literal["ace.item/v1"] = "ace.item/v1"
    kind: Literal["model", "business", "device", "golden"]
    name: Name
    version: Annotated[str, Field(max_length=72)]
    files: Annotated[dict[FilePath, Blob], Field(min_length=1, max_length=MAX_FILES)]
    license: Annotated[str, Field(max_length=256)] = ""
    models: Annotated[dict[Name, Selector], Field(max_length=64)] = Field(default={})
    cost: Cost = Field(default={})
    pair: Pair | None = None

    @model_validator(mode="after")
    def check(self) -> ItemDocument:
        """Paths do not meet; what must be there is."""
        folded = {path.casefold() for path in self.files}
        if len(folded) < len(self.files):
            raise ValueError("expected paths that differ by more than upper and lower case")
        for path in folded:
            parts = path.split("/")
            if any("/".join(parts[:end]) in folded for end in range(1, len(parts))):
                raise ValueError(f"expected a file or a folder at {path}, got both")
        if self.kind == "golden" and self.pair is None:
            raise ValueError("expected the pair that a golden clip was recorded with")
        if self.kind != "golden" and MANIFEST not in self.files:
            raise ValueError(f"expected {MANIFEST} among the files")
        return self

    def encoded(self) -> bytes:
        """The canonical document."""
        return encode(self.model_dump(mode="json", exclude_defaults=True) | {"format": self.format})

    @property
    def item(self) -> Item:
        """How others refer to it."""
        return Item(kind=self.kind, name=self.name, version=self.version, digest=digest(self.encoded()))

    @property
    def blobs(self) -> frozenset[Blob]:
        """Every file's content, each once."""
        return frozenset(self.files.values())


class Pair(Strict):
    """A business with the models it was recorded with: item digests."""

    business: Digest
    models: Annotated[dict[Name, Digest], Field(max_length=64)] = Field(default={})


ItemDocument.model_rebuild()

Shape = TypeVar("Shape", bound=BaseModel)


def read_item(data: bytes, expected: Item | None = None) -> ItemDocument:
    """An item document from its bytes, as `expected` where that is given. Raises BundleError."""
    what = f"the document of {expected.selector}" if expected else "an item document"
    if expected is not None and digest(data) != expected.digest:
        raise BundleError(f"{what}: expected sha256 {expected.digest}, got {digest(data)}; fetch it again")
    document = read_as(ItemDocument, data, what=what, limit=MAX_DOCUMENT)
    if document.encoded() != data:
        raise BundleError(f"{what}: expected no default written out, got one; pack it again")
    if expected is not None and document.item != expected:
        raise BundleError(f"{what}: expected {expected.selector}, got {document.item.selector}")
    return document


def read_as(shape: type[Shape], data: bytes, *, what: str, limit: int) -> Shape:
    """A canonical document of this shape. Raises BundleError with the first thing that is wrong."""
    value = decode(data, what=what, limit=limit)
    try:
        return shape.model_validate_json(encode(value), strict=True)
    except ValidationError as error:
        raise BundleError(f"{what}: {first_of(error)}") from None


def first_of(error: ValidationError) -> str:
    """The first error of Pydantic's in one line."""
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(map(str, first["loc"]))[:200]
    return f"{where + ': ' if where else ''}{first['msg']}"


def missing_of(documents: Iterable[ItemDocument], has: Callable[[str], bool]) -> Mapping[str, int]:
    """digest: size of every blob that is not there yet, each once."""
    found: dict[str, int] = {}
    for document in documents:
        found.update({blob.sha256: blob.size for blob in document.blobs if not has(blob.sha256)})
    return found


def plain(value: BaseModel) -> Any:
    """The value as JSON has it, without what is default."""
    return value.model_dump(mode="json", by_alias=True, exclude_defaults=True)
