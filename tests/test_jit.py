"""The disk cache of machine code: used again, never trusted blindly, never in the way."""

from __future__ import annotations

import ctypes
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import scanlib
import scanlib.tensor as T
from scanlib import jit

# A function with several kernels, most of them long: the gradient of a checkpointed loop over rows.
PROGRAM = """
import numpy as np, scanlib, scanlib.tensor as T
x, w = T.dmatrix("x"), T.dvector("w")
ys, _ = scanlib.scan(lambda r, h: T.tanh(h * w + r) + h[::-1], sequences=x, outputs_info=w, checkpoint=3)
f = scanlib.function([x, w], scanlib.grad((ys**2).sum(), [x, w]))
print([a.sum() for a in f(np.linspace(0, 1, 60).reshape(10, 6), np.ones(6))])
"""

# Loads code where free memory is in pieces: pages apart, and then nothing for three gigabytes.
PIECES = """
import ctypes, numpy as np, scanlib, scanlib.tensor as T
x, w = T.dmatrix("x"), T.dvector("w")
step = lambda r, h: T.tanh(T.exp(h * w + r) - T.sigmoid(T.log1p(h**2)) * T.erf(h)) + T.sin(h[::-1])
ys, _ = scanlib.scan(step, sequences=x, outputs_info=w)
f = scanlib.function([x, w], scanlib.grad((ys**2).sum(), [x, w]))

libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
PROT_NONE, PRIVATE_ANONYMOUS_NORESERVE = 0, 0x4022
reserve = lambda size: libc.mmap(None, size, PROT_NONE, PRIVATE_ANONYMOUS_NORESERVE, -1, 0)
page, size = 4096, 3 << 30
base = reserve(size)
for i in range(1, 200):
    assert libc.munmap(base + size - 2 * i * page, page) == 0
for piece in (1 << 20, 1 << 16, 1 << 14, 1 << 13, page):
    while reserve(piece) > base + size:
        pass
print([np.isfinite(a).all() for a in f(np.linspace(0, 1, 60).reshape(10, 6), np.ones(6))])
"""

# Code that has been loaded stays: an engine owns the one target machine that all engines share.
ALIVE: list[dict[str, jit.Code]] = []


def forget_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is loaded in this process is looked for on disk again."""
    ALIVE.append({})
    monkeypatch.setattr(jit, "_loaded", ALIVE[-1])


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this test's object files go; nothing is loaded yet."""
    found = tmp_path / "cache"
    monkeypatch.setenv("SCANLIB_CACHE", str(found))
    forget_loaded(monkeypatch)
    return found


def doubled(value: float = 3.0) -> float:
    """One small kernel, in a function of its own."""
    x = T.dscalar("x")
    return float(scanlib.function([x], T.exp(x) * 2)(value))


def files(directory: Path) -> dict[str, int]:
    """The object files and when each was written."""
    return {p.name: p.stat().st_mtime_ns for p in directory.glob("*")}


def test_another_process_compiles_nothing_again(directory: Path) -> None:
    """The text of a graph's kernels is the same in each process, so all of them are found."""
    made = []
    for _ in range(3):
        done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
        made.append((done.stdout, files(directory)))
    assert len(made[0][1]) > 0
    assert made[1] == made[0] and made[2] == made[0]


def test_the_directory_is_private(directory: Path) -> None:
    doubled()
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert len(files(directory)) == 1


@pytest.mark.parametrize("mode", [0o770, 0o707])
def test_a_directory_others_may_write_to_is_not_used(directory: Path, mode: int) -> None:
    directory.mkdir()
    directory.chmod(mode)
    assert doubled() == pytest.approx(2 * np.exp(3.0), rel=1e-15)
    assert files(directory) == {}


@pytest.mark.parametrize("content", [b"", b"short", bytes(100), None])
def test_a_damaged_file_is_compiled_again(
    directory: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None
) -> None:
    """`None`: one byte of the code has changed."""
    doubled()
    (path,) = directory.glob("*.o")
    good = path.read_bytes()
    path.write_bytes(good[:-1] + bytes([good[-1] ^ 1]) if content is None else content)
    forget_loaded(monkeypatch)
    assert doubled() == pytest.approx(2 * np.exp(3.0), rel=1e-15)
    assert path.read_bytes() == good


def test_off_keeps_nothing(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCANLIB_CACHE", "off")
    monkeypatch.setenv("XDG_CACHE_HOME", str(directory))
    assert doubled() == pytest.approx(2 * np.exp(3.0), rel=1e-15)
    assert not directory.exists()


def test_a_directory_that_cannot_be_made_is_no_error(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory.write_text("a file is in the way")
    monkeypatch.setenv("SCANLIB_CACHE", str(directory / "below"))
    assert doubled() == pytest.approx(2 * np.exp(3.0), rel=1e-15)


def test_code_made_in_another_way_is_not_found(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What says how the code is made is part of its name."""
    doubled()
    before = files(directory)
    host = jit.machine()
    monkeypatch.setattr(jit, "_machine", replace(host, description=host.description + " otherwise"))
    forget_loaded(monkeypatch)
    doubled()
    assert len(files(directory)) == 2 and before.items() <= files(directory).items()


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_code_does_not_depend_on_the_number_of_threads(directory: Path, threads: int) -> None:
    texts = [f"define i64 @k{i}() {{ ret i64 {i} }}" for i in range(7)]
    with scanlib.threads(threads):
        code = jit.load(texts)
    (path,) = directory.glob("*.o")
    with scanlib.threads(3):
        assert jit._compile(texts, jit.machine()) == jit._read(path)
    called = [ctypes.CFUNCTYPE(ctypes.c_int64)(address)() for address in jit.addresses(code, 7)]
    assert called == list(range(7))


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("wrong", range(3))
def test_an_error_in_any_thread_arrives(directory: Path, threads: int, wrong: int) -> None:
    texts = [f"define i64 @k{i}() {{ ret i64 {i} }}" for i in range(3)]
    texts[wrong] = "define i64 @k() { ret i64 %nothing }"
    with scanlib.threads(threads), pytest.raises(scanlib.errors.InternalError, match="nothing"):
        jit.load(texts)
    assert files(directory) == {}
    assert doubled() == pytest.approx(2 * np.exp(3.0), rel=1e-15)


@pytest.mark.skipif(sys.platform != "linux", reason="free memory is laid out by Linux's calls and constants")
def test_code_is_loaded_where_free_memory_is_in_pieces(directory: Path) -> None:
    """The parts of a kernel must lie close together, or LLVM would end the process."""
    done = subprocess.run([sys.executable, "-c", PIECES], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[np.True_, np.True_]\n"
