import os
import subprocess
import sys
import threading
import time

import pytest

from devices.kernels import KernelError, cache, load


@pytest.fixture
def empty(tmp_path, monkeypatch):
    monkeypatch.setenv("ACE_CACHE", str(tmp_path / "ace"))
    load.functions.cache_clear()
    yield tmp_path / "ace"
    load.functions.cache_clear()


def test_ensure_builds_once_and_then_finds(empty, monkeypatch):
    calls = []
    monkeypatch.setattr(load, "_build", lambda say: calls.append(1) or b"object")
    first, second = load.ensure(), load.ensure()
    assert first == second
    assert first.read_bytes() == b"object"
    assert len(calls) == 1


def test_folder_is_private(empty, monkeypatch):
    monkeypatch.setattr(load, "_build", lambda say: b"object")
    load.ensure()
    assert empty.stat().st_mode & 0o777 == 0o700
    assert (empty / "kernels").stat().st_mode & 0o777 == 0o700


def test_two_at_once_build_once_and_the_second_says_that_it_waits(empty, monkeypatch):
    calls, said, started = [], [], threading.Event()

    def build(say):
        calls.append(1)
        started.set()
        time.sleep(0.2)
        return b"object"

    monkeypatch.setattr(load, "_build", build)
    first = threading.Thread(target=load.ensure)
    first.start()
    assert started.wait(10)
    found = load.ensure(said.append)
    first.join()
    assert found.read_bytes() == b"object"
    assert len(calls) == 1
    assert said == ["another process is building the kernels, waiting for it"]


def test_changed_object_is_built_again(empty, monkeypatch):
    contents = iter([b"first", b"second"])
    monkeypatch.setattr(load, "_build", lambda say: next(contents))
    path = load.ensure()
    path.write_bytes(b"broken")
    assert cache.find() is None
    assert load.ensure().read_bytes() == b"second"


def test_failed_build_leaves_nothing(empty, monkeypatch):
    def build(say):
        raise KernelError("no")

    monkeypatch.setattr(load, "_build", build)
    with pytest.raises(KernelError, match="no"):
        load.ensure()
    assert [entry.name for entry in (empty / "kernels").iterdir()] == ["lock"]


@pytest.mark.parametrize("mode", [0o770, 0o702, 0o777])
def test_folder_that_others_can_write_is_refused(empty, mode):
    empty.mkdir(mode=0o700)
    empty.chmod(mode)
    with pytest.raises(KernelError, match=f"writable by its owner only, got mode {mode:o}; run: chmod go-w"):
        load.ensure()


def test_folder_of_somebody_else_is_refused(empty, monkeypatch):
    empty.mkdir(mode=0o700)
    monkeypatch.setattr(os, "geteuid", lambda: empty.stat().st_uid + 1)
    with pytest.raises(KernelError, match="to belong to user"):
        cache.find()


def test_unbuilt_kernels_say_what_to_do(empty):
    with pytest.raises(KernelError, match=r"not built for this machine; call devices\.kernels\.ensure"):
        load.functions()


def test_object_that_cannot_be_loaded_says_which(empty, monkeypatch):
    monkeypatch.setattr(load, "_build", lambda say: b"no object at all")
    path = load.ensure()
    with pytest.raises(KernelError, match=f"{path} cannot be loaded"):
        load.functions()


def test_key_depends_on_cpu_and_compiler(monkeypatch):
    keys = {cache.key.__wrapped__()}
    monkeypatch.setattr(cache, "cpu", lambda: ["flags: other"])
    keys.add(cache.key.__wrapped__())
    monkeypatch.setattr(cache, "version", lambda name: "99")
    keys.add(cache.key.__wrapped__())
    assert len(keys) == 3


def test_old_entries_go(empty, monkeypatch):
    cache.folder(create=True)
    for i in range(cache.KEPT + 3):
        monkeypatch.setattr(cache, "key", lambda i=i: f"entry{i}")
        os.utime(cache.install(b"x").parent, (i, i))
    left = {entry.name for entry in (empty / "kernels").iterdir()}
    assert len(left) == cache.KEPT
    assert "entry0" not in left


def test_kernels_of_one_kind_leave_those_of_another(empty):
    """However many image kernels are built, those of an engine stay."""
    other = cache.install(b"engine", "native-avx2-0123")
    os.utime(other.parent, (0, 0))
    for i in range(cache.KEPT + 2):
        cache.install(b"x", f"entry{i}")
    assert cache.find("native-avx2-0123") == other


def test_no_home_says_what_to_do(monkeypatch):
    monkeypatch.delenv("ACE_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)

    def home():
        raise RuntimeError("no home")

    monkeypatch.setattr(cache.Path, "home", home)
    with pytest.raises(KernelError, match="set ACE_CACHE"):
        cache.root()


def test_a_worker_loads_without_a_compiler():
    load.ensure()
    code = (
        "import sys, devices.kernels.image as image, devices.kernels as kernels; kernels.functions(); "
        "loaded = {'numba', 'llvmlite'} & set(sys.modules); assert not loaded, loaded"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, timeout=60)
