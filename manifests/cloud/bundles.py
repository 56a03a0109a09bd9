"""What the cloud keeps of a bundle that is uploaded."""

from __future__ import annotations

from manifests.bundle.items import ItemDocument


def blobs_of(document: ItemDocument) -> dict[str, int]:
    """sha256: bytes, of the document and of its files."""
    files = {blob.sha256: blob.size for blob in document.blobs}
    return {**files, document.item.digest: len(document.encoded())}


def ram_of(document: ItemDocument) -> int:
    """Bytes of memory that a second copy takes while both are loaded: as measured, or else at least the file."""
    return document.cost.get("ram-bytes", document.cost.get("file-bytes", 0))
