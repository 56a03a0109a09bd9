"""Bundles: packed the same every time, and whole or refused."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manifests.bundle.archive import Archive, write
from manifests.bundle.bundle import Bundle
from manifests.bundle.canonical import BundleError, decode, digest, encode
from manifests.bundle.items import Blob, ItemDocument, read_item
from manifests.bundle.pack import pack
from manifests.errors import ManifestError
from tests.manifests.sync.conftest import MANIFESTS, bundles, packed, place, wanted

__all__ = ["bundles", "place"]


def test_the_same_manifests_give_the_same_bytes(tmp_path: Path) -> None:
    one, two = tmp_path / "one.ace", tmp_path / "two.ace"
    assert packed(tmp_path / "here", golden=True).save(one) == packed(tmp_path / "there", golden=True).save(two)
    assert one.read_bytes() == two.read_bytes()


def test_how_a_manifest_is_written_does_not_matter(tmp_path: Path) -> None:
    packed(tmp_path).save(tmp_path / "one.ace")
    folder = next(path for path in tmp_path.iterdir() if path.is_dir())
    text = (folder / "all.yaml").read_text()
    (folder / "all.yaml").write_text("# a comment\n" + text.replace("labels: [cat, dog]", "labels:\n  - cat\n  - dog"))
    pack(folder).save(tmp_path / "two.ace")
    assert (tmp_path / "one.ace").read_bytes() == (tmp_path / "two.ace").read_bytes()


def test_what_is_in_it(bundles: Callable[..., Bundle]) -> None:
    bundle = bundles(golden=True)
    assert [item.selector for item in bundle.document.items] == [
        "business/pet@1.0.0", "device/living-room@1.0.0", "golden/pet@1.0.0", "model/eye@1.0.0",
    ]  # fmt: skip
    (lock,) = bundle.document.locks
    assert lock.golden is not None
    assert bundle.items[lock.golden].pair == lock.pair
    assert bundle.items[lock.pair.models["detector"]].files["eye.onnx"].size == 7
    assert bundle.identity == digest(bundle.archive.read("bundle.json", 1 << 20))


def test_another_weight_is_another_model_and_the_same_business(bundles: Callable[..., Bundle]) -> None:
    one, two = bundles("one"), bundles("two", weights=b"WEIGHTS")
    different = {item.digest for item in one.document.items} ^ {item.digest for item in two.document.items}
    assert {bundle.items[each].kind for bundle in (one, two) for each in different if each in bundle.items} == {"model"}


def test_a_business_in_two_versions_runs_in_the_newer(tmp_path: Path) -> None:
    packed(tmp_path)
    folder = next(path for path in tmp_path.iterdir() if path.is_dir())
    business = (folder / "all.yaml").read_text().split("---\n")[1]
    for version in ("1.9.0", "1.10.0"):
        (folder / f"{version}.yaml").write_text(business.replace("version: 1.0.0", f"version: {version}"))
    pack(folder).save(tmp_path / "x.ace")
    with Bundle(tmp_path / "x.ace") as bundle:
        assert [each.business.version for each in wanted(bundle, 1).active] == ["1.10.0"]


def test_a_device_manifest_has_a_version_so_that_it_can_be_signed_again(tmp_path: Path) -> None:
    packed(tmp_path)
    folder = next(path for path in tmp_path.iterdir() if path.is_dir())
    text = (folder / "all.yaml").read_text()
    versions = []
    for name in ("living-room", "living-room\nversion: 1.1.0"):
        (folder / "all.yaml").write_text(text.replace("name: living-room", f"name: {name}"))
        pack(folder).save(tmp_path / "x.ace")
        with Bundle(tmp_path / "x.ace") as bundle:
            versions += [item.selector for item in bundle.document.items if item.kind == "device"]
    assert versions == ["device/living-room@1.0.0", "device/living-room@1.1.0"]


def test_versions_that_nothing_offers_are_told(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(MANIFESTS.format(model="2.0.0", business="1.0.0"))
    (tmp_path / "eye.onnx").write_bytes(b"w")
    with pytest.raises(ManifestError, match=r"a version of eye in"):
        pack(tmp_path)


def again(bundle: Bundle, path: Path, change: Callable[[dict[str, bytes]], None]) -> None:
    """Writes the bundle with its entries changed."""
    with Archive(bundle.path) as archive:
        entries = {name: archive.read(name, 1 << 20) for name in archive.entries}
    change(entries)
    target = io.BytesIO()
    write(target, dict(entries))
    path.write_bytes(target.getvalue())


def edited(change: Callable[[dict[str, object]], None]) -> Callable[[dict[str, bytes]], None]:
    """A change of bundle.json."""

    def apply(entries: dict[str, bytes]) -> None:
        value = json.loads(entries["bundle.json"])
        change(value)
        entries["bundle.json"] = encode(value)

    return apply


def blob(entries: dict[str, bytes], number: int = 0) -> str:
    return sorted(name for name in entries if name.startswith("blobs/"))[number]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda entries: entries.pop(blob(entries)), "every entry described once"),
        (lambda entries: entries.update({"blobs/" + "0" * 64: b"more"}), "every entry described once"),
        (lambda entries: entries.update({blob(entries): entries[blob(entries)][::-1]}), "bytes of that sha256"),
        (lambda entries: entries.update({blob(entries): b""}), "bytes of blobs/"),
        (lambda entries: entries.update({"bundle.json": entries["bundle.json"] + b" "}), "canonical JSON"),
        (lambda entries: entries.update({"bundle.json": b"[" * 100_000}), "JSON"),
        (edited(lambda value: value.update(extra=1)), "extra"),
        (edited(lambda value: value.update(format="ace.bundle/v2")), "format"),
        (edited(lambda value: value["items"].pop()), "only what an item needs"),  # type: ignore[attr-defined]
        (edited(lambda value: value["items"].append(value["items"][0])), "once"),  # type: ignore[attr-defined,index]
        (edited(lambda value: value["items"][0].update(name="other")), "expected"),  # type: ignore[index]
        (edited(lambda value: value["locks"][0]["pair"].update(models={})), "locked to its models"),  # type: ignore[index]
        (edited(lambda value: value["locks"][0]["pair"].update(business="0" * 64)), "a lock of a business"),  # type: ignore[index]
    ],
)
def test_what_does_not_fit_together_is_refused(
    bundles: Callable[..., Bundle], tmp_path: Path, change: Callable[[dict[str, bytes]], None], message: str
) -> None:
    again(bundles(), tmp_path / "x.ace", change)
    with pytest.raises(BundleError, match=message):
        Bundle(tmp_path / "x.ace")


@pytest.mark.parametrize("path", ["../x", "/x", "a/../x", "a/./x", ".x", "a/.x", "a\\x", "a//x", "", "x" * 300, "a\0", "a ", "con/é"])
def test_no_path_leaves_its_folder(path: str) -> None:
    files = {"manifest.json": Blob.of(b""), path: Blob.of(b"")}
    with pytest.raises(ValueError, match=r"relative path"):
        ItemDocument(kind="model", name="eye", version="1.0.0", files=files)


@pytest.mark.parametrize("paths", [["a", "A"], ["a", "a/b"], ["A/b", "a"]], ids=str)
def test_paths_that_meet_are_refused(paths: list[str]) -> None:
    files = {path: Blob.of(b"") for path in ["manifest.json", *paths]}
    with pytest.raises(ValueError, match=r"expected (paths|a file)"):
        ItemDocument(kind="model", name="eye", version="1.0.0", files=files)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 53), 1 << 53) | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=20,
)


@settings(max_examples=100, deadline=None)
@given(value=JSON.filter(lambda value: "\\ud8" not in json.dumps(value)))
def test_canonical_json_has_one_form(value: object) -> None:
    data = encode(value)
    assert encode(decode(data, what="x", limit=1 << 20)) == data
    with pytest.raises(BundleError):
        decode(data + b"\n", what="x", limit=1 << 20)


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_an_item_or_refused(data: bytes) -> None:
    with pytest.raises(BundleError):
        read_item(data)
