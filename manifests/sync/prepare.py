"""The steps of an update before the switch: resolve, reserve, fetch, stage, load beside what runs. What runs is not touched."""

from __future__ import annotations

from manifests.bundle.canonical import BundleError, digest
from manifests.bundle.items import MANIFEST, MAX_DOCUMENT, missing_of
from manifests.store.blobs import CHUNK, BlobError
from manifests.store.collect import collect
from manifests.store.generations import Generation, items_of
from manifests.store.release import Mismatch, check, identity
from manifests.store.space import NoSpace, reserve
from manifests.sync.context import Context
from manifests.sync.fetch import FetchError
from manifests.sync.runtime import RuntimeRefusal, Verification
from manifests.sync.states import Failed, Machine, Next, Pause, State
from manifests.sync.trust import Untrusted


def resolve(context: Context, machine: Machine) -> Next:
    """Verifies the envelope once more, brings documents and manifests, and checks that all fits together and fits this device."""
    store = context.store
    envelope = bytes(store.database.value("SELECT envelope FROM wanted WHERE id = 1"))
    try:
        verified = context.verifier.verify(envelope, now=context.clock.now())
    except Untrusted as error:
        raise Failed(error.code, str(error)) from None
    context.clock.signed(verified.signed)
    desired = verified.desired
    for item in items_of(desired):
        _bring(context, item.digest, f"the document of {item.selector}", machine.source)
    try:
        for document in context.documents(desired):
            if manifest := document.files.get(MANIFEST):
                _bring(context, manifest.sha256, f"the manifest of {document.item.selector}", machine.source)
        check(store, desired, context.device_file)
    except (Mismatch, BundleError) as error:
        raise Failed("mismatch", str(error)) from None
    with store.transaction():
        number = store.generations.add(desired, identity(desired), made=context.clock.now())
        store.generations.assign("staged", number)
    store.leases.clear()
    return Next(State.RESERVE, changes={"generation": number})


def reserve_space(context: Context, machine: Machine) -> Next:
    """Takes the disk space of everything that is missing."""
    store = context.store
    documents = context.documents(_target(context, machine).desired)
    needed = missing_of(documents, lambda _: False)
    store.blobs.forget([sha256 for sha256 in needed if store.blobs.has(sha256) and not store.blobs.is_sound(sha256)])
    missing = missing_of(documents, store.blobs.has)
    try:
        try:
            reserve(store, missing)
        except NoSpace:
            collect(store)
            reserve(store, missing)
    except NoSpace as error:
        raise Failed("space", str(error)) from None
    return Next(State.FETCH, report={"missing_bytes": sum(missing.values()), "missing_blobs": len(missing)})


def fetch(context: Context, machine: Machine) -> Next | None:
    """One part of one blob; None as long as some are missing."""
    store = context.store
    missing = missing_of(context.documents(_target(context, machine).desired), store.blobs.has)
    if not missing:
        context.drop_stream()
        return Next(State.STAGED)
    sha256 = next(iter(sorted(missing)))
    try:
        _part(context, sha256, missing[sha256], machine.source)
    except FetchError as error:
        context.drop_stream()
        raise Pause("fetch", str(error)) from None
    except BlobError as error:
        context.drop_stream()
        raise Pause("digest", str(error)) from None
    except BaseException:
        context.drop_stream()
        raise
    return None


def staged(context: Context, machine: Machine) -> Next:
    """Everything is here: makes the folder of the release. Where it is what runs already, nothing is switched; else it waits here for a
    good moment, on the disk, where it takes nothing from what runs."""
    target = _target(context, machine)
    try:
        wanted = context.release(target, machine.order)
        current = None if context.store.fact("reconcile") else context.release(context.active(), machine.order).digest
    except (Mismatch, BundleError) as error:
        raise Failed("mismatch", str(error)) from None
    if wanted.digest == current:
        return Next(State.COMMITTED, report={"switched": False}, within=lambda: _same(context, target))
    if why := context.gate(context.active().desired):
        raise Pause("gate", why)
    if target.desired.shadow is None:
        return Next(State.PRELOAD)
    with context.store.transaction():
        order = context.next_order()
    return Next(State.SHADOW, changes={"order": order})


def preload(context: Context, machine: Machine) -> Next:
    """Asks the engine whether it fits, loads it beside what runs, and replays the golden clips."""
    runtime = context.runtime
    with context.store.transaction():
        order = context.next_order()
    try:
        asked = context.release(_target(context, machine), order)
    except (Mismatch, BundleError) as error:
        raise Failed("mismatch", str(error)) from None
    try:
        admission = runtime.admit(asked)
        if not admission.admitted:
            raise Failed("admission", "; ".join(admission.problems) or "the engine does not admit it")
        staging = runtime.stage(asked)
        if not staging.ready:
            raise Failed("load", "; ".join(staging.problems) or "the engine could not load it")
        verification = runtime.verify(order) if asked.golden else Verification(order, True, 0)
    except RuntimeRefusal as error:
        raise Failed("refused", str(error)) from None
    except (ConnectionError, TimeoutError) as error:
        raise Pause("runtime", f"expected the engine to answer, got: {error}") from None
    if not verification.passed:
        raise Failed("golden", "; ".join(verification.problems) or "the golden clips gave other results")
    report = {"beside": admission.beside, "gap_s": admission.gap_s, "ram_bytes": admission.ram_bytes, "compared": verification.compared}
    return Next(State.GATE, changes={"order": order}, report=report)


def drop(context: Context, machine: Machine) -> None:
    """What was loaded beside what runs is not needed. The engine may be away: then it has lost it anyway."""
    context.drop_stream()
    if machine.state in (State.SHADOW, State.PRELOAD, State.GATE):
        try:
            context.runtime.abort(max(machine.order, int(context.store.fact("order", 0))))
        except (RuntimeRefusal, ConnectionError, TimeoutError):
            return


def _target(context: Context, machine: Machine) -> Generation:
    assert machine.generation is not None
    return context.store.generations.get(machine.generation)


def _same(context: Context, target: Generation) -> None:
    """The new generation is active without a switch. Stands inside a transaction."""
    context.store.generations.assign("active", target.id)
    context.store.generations.assign("staged", None)


def _bring(context: Context, sha256: str, what: str, source: str) -> None:
    """A small blob, unless it is here and right."""
    blobs = context.store.blobs
    context.store.leases.add(sha256)
    if blobs.is_sound(sha256):
        return
    data = bytearray()
    try:
        for part in context.fetcher.fetch(sha256, 0, source):
            data += part
            if len(data) > MAX_DOCUMENT:
                raise Pause("digest", f"expected at most {MAX_DOCUMENT} bytes for {what}, got more")
    except FetchError as error:
        raise Pause("fetch", str(error)) from None
    if digest(bytes(data)) != sha256:
        raise Pause("digest", f"expected sha256 {sha256} of {what}, got {digest(bytes(data))}")
    blobs.forget([sha256])
    blobs.put(bytes(data))


def _part(context: Context, sha256: str, size: int, source: str) -> None:
    """Takes in what comes next of a blob. It is written in parts of CHUNK, and survives a cut from then on."""
    blobs = context.store.blobs
    done = blobs.begin(sha256, size)
    if context.stream is None or context.stream[0] != sha256:
        context.drop_stream()
        context.stream = (sha256, iter(context.fetcher.fetch(sha256, done, source)) if done < size else iter(()))
    part = b"" if done + len(context.held) == size else next(context.stream[1], None)
    if part is None:
        raise FetchError(f"expected {size - done - len(context.held)} more bytes of {sha256}, got the end")
    context.held += part[: size - done - len(context.held)]
    if len(context.held) >= CHUNK or done + len(context.held) == size:
        if context.held:
            done = blobs.append(sha256, bytes(context.held), done)
            context.held.clear()
        if done == size:
            blobs.finish(sha256)
            context.drop_stream()
