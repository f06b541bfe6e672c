"""Native code from LLVM IR text: optimised by llvmlite once, kept in memory and on disk.

What a function's modules became is found again by the hash of their IR, the CPU and its features, the versions of
LLVM and scanlib, and the text of this file, which says how IR becomes code.  The directory is private: it is created
with mode 0700 and not used if it belongs to somebody else.
"""

from __future__ import annotations

import ctypes
import hashlib
import mmap
import os
import stat
import struct
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
from llvmlite.binding import ffi

from ._core import get_threads, library_symbols
from .errors import InternalError
from .llvm_metadata import THOROUGH, VECTORISE

# Modules longer than this (in characters of IR) are not packed into vectors where there is no loop.
PACKED_LENGTH = 15_000
# Bytes from one part of loaded code to another, half of what LLVM's addresses reach.
NEAR = 1 << 30
# A process may have some 65 000 mappings.
MOST_PIECES = 10_000
# Before each object file in a file of the cache.
_SIZE = struct.Struct("<Q")

_lock = threading.Lock()
_machine: Machine | None = None
# Never emptied: an engine owns the target machine that all of them share, and would take it along.
_loaded: dict[str, Code] = {}


@dataclass(frozen=True)
class Machine:
    """What code is generated for: how to make a target, the one for loading code, and idle ones for compiling it."""

    make: Callable[[], Any]
    target: Any
    description: str
    targets: list[Any] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class Code:
    """Loaded code; the engine owns its memory."""

    engine: Any

    def address(self, function: str) -> int:
        return int(self.engine.get_function_address(function))


def machine() -> Machine:
    """The host, initialised at the first use."""
    global _machine
    if _machine is None:
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        cpu, features = llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()
        host = llvm.Target.from_default_triple()

        def make() -> Any:
            return host.create_target_machine(
                cpu=cpu, features=features, opt=3, reloc="pic", codemodel="small", jit=True
            )

        for name, address in library_symbols().items():
            llvm.add_symbol(name, address)
        version = ".".join(map(str, llvm.llvm_version_info))
        made_by = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
        target = make()
        _machine = Machine(
            make, target, f"{target.triple} {cpu} {features} LLVM {version} {made_by}", [make(), make()]
        )
    return _machine


def load(texts: Sequence[str]) -> Code:
    """The code of these modules, which do not call each other."""
    from . import __version__

    with _lock:
        host = machine()
        key = hashlib.sha256("\n".join([__version__, host.description, *texts]).encode()).hexdigest()
        loaded = _loaded.get(key)
        if loaded is None:
            path = _directory() / f"{key}.o" if _directory() is not None else None  # type: ignore[operator]
            objects = _read(path)
            if objects is None:
                objects = _compile(texts, host)
                _write(path, objects)
            loaded = _loaded[key] = _link(objects, host)
        return loaded


# -- LLVM -------------------------------------------------------------------------------------------------


def _unlocked(name: str) -> Any:
    """A function of llvmlite's library without its lock, which lets in one thread at a time.

    LLVM asks for no more than that a context and what is made in it, and a target machine, are those of one thread.
    Should llvmlite wrap its functions otherwise one day, threads take turns.
    """
    locked = getattr(ffi.lib, name)
    return getattr(locked, "_cfn", locked)


_parse = _unlocked("LLVMPY_ParseAssembly")
_run_on_module = _unlocked("LLVMPY_RunNewModulePassManager")
_run_on_function = _unlocked("LLVMPY_RunNewFunctionPassManager")
_emit = _unlocked("LLVMPY_TargetMachineEmitToMemory")


def parse(ir: str) -> Any:
    """The module of `ir`, in a context of its own."""
    context = llvm.create_context()
    with ffi.OutputString() as error:
        module = llvm.ModuleRef(_parse(context, ir.encode(), error), context)
        if error:
            module.close()
            raise InternalError(f"LLVM does not take the text of a kernel: {error}")
    return module


def optimise(ir: str, target: Any) -> Any:
    """The module of `ir` after LLVM's passes: those of a whole module where it has loops for the vectoriser."""
    module = parse(ir)
    whole = ir.startswith(VECTORISE)
    options = llvm.create_pipeline_tuning_options(speed_level=2)
    options.loop_vectorization = True
    # Packing straight-line code is superlinear in its length: unrolled matrix bodies took 1.2 s instead of 0.04 s.
    options.slp_vectorization = len(ir) <= PACKED_LENGTH
    options.loop_unrolling = True
    builder = llvm.create_pass_builder(target, options)
    if whole:
        _run_on_module(builder.getModulePassManager(), module, builder)
        return module
    inline = llvm.create_new_module_pass_manager()
    inline.add_always_inliner_pass()
    inline.add_global_dead_code_eliminate_pass()
    _run_on_module(inline, module, builder)
    simplify, tidy = builder.getFunctionPassManager(), _tidy()
    for function in module.functions:
        if not function.is_declaration:
            thorough = any(THOROUGH in attribute for attribute in function.attributes)
            _run_on_function(simplify if thorough else tidy, function, builder)
    return module


def _tidy() -> Any:
    """The passes for kernels that were emitted with care: what is left to do.

    Nothing leaves a loop here, so loops over steps must hold nothing that stays the same, and others nothing dear.
    """
    passes = llvm.create_new_function_pass_manager()
    passes.add_sroa_pass()
    passes.add_simplify_cfg_pass()
    passes.add_instruction_combine_pass()
    passes.add_loop_rotate_pass()
    passes.add_loop_unroll_pass()
    passes.add_simplify_cfg_pass()
    return passes


def _object(ir: str, target: Any) -> bytes:
    """The object file of one module."""
    module = optimise(ir, target)
    with ffi.OutputString() as error:
        made = _emit(target, module, 1, error)
        if not made:
            raise InternalError(f"LLVM makes no code of a kernel: {error}")
    try:
        start, size = ffi.lib.LLVMPY_GetBufferStart(made), ffi.lib.LLVMPY_GetBufferSize(made)
        return ctypes.string_at(start, size)
    finally:
        ffi.lib.LLVMPY_DisposeMemoryBuffer(made)


def _compile(texts: Sequence[str], host: Machine) -> list[bytes]:
    """The object files of all modules, the longest first, on as many threads as compiled functions may use."""
    waiting = iter(sorted(range(len(texts)), key=lambda i: len(texts[i]), reverse=True))
    objects: dict[int, bytes] = {}
    errors: list[BaseException] = []

    def work() -> None:
        target = host.targets.pop() if host.targets else host.make()
        try:
            for i in waiting:
                objects[i] = _object(texts[i], target)
                if errors:
                    break
        except BaseException as error:
            errors.append(error)
        host.targets.append(target)

    helpers = [threading.Thread(target=work) for _ in range(min(get_threads(), len(texts)) - 1)]
    for helper in helpers:
        helper.start()
    work()
    for helper in helpers:
        helper.join()
    if errors:
        raise errors[0]
    return [objects[i] for i in range(len(texts))]


def _link(objects: Sequence[bytes], host: Machine) -> Code:
    empty = llvm.parse_assembly("")
    engine = llvm.create_mcjit_compiler(empty, host.target)
    with _far_pieces_held(2 * sum(map(len, objects)) + (1 << 20)):
        for code in objects:
            engine.add_object_file(llvm.ObjectFileRef.from_data(code))
        engine.finalize_object()
    return Code(engine)


@contextmanager
def _far_pieces_held(size: int) -> Iterator[None]:
    """Inside, what takes at most `size` bytes of memory finds its parts close together.

    The system looks from one end of memory for the first free piece that is large enough, so smaller parts may come to
    lie anywhere between that end and where the whole would.  LLVM ends the process when the code and the constants of a
    kernel are 2 GB apart.
    """
    with mmap.mmap(-1, size) as whole:
        place = _address(whole)
    held: list[mmap.mmap] = []
    for _ in range(MOST_PIECES):
        held.append(mmap.mmap(-1, mmap.PAGESIZE))
        if abs(_address(held[-1]) - place) <= NEAR:
            held.pop().close()
            break
    try:
        yield
    finally:
        for piece in held:
            piece.close()


def _address(piece: mmap.mmap) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(piece))


# -- the directory ----------------------------------------------------------------------------------------


def _directory() -> Path | None:
    """Where object files are kept, or None: SCANLIB_CACHE=off, or no directory of one's own."""
    wanted = os.environ.get("SCANLIB_CACHE", "")
    if wanted.lower() in ("off", "0", "no"):
        return None
    base = (
        Path(wanted)
        if wanted
        else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "scanlib"
    )
    try:
        base.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = base.stat()
    except OSError:
        return None
    private = found.st_uid == os.getuid() and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return base if private else None


def _read(path: Path | None) -> list[bytes] | None:
    """The object files; None when they are missing or damaged."""
    if path is None:
        return None
    try:
        content = path.read_bytes()
    except OSError:
        return None
    digest, code = content[:32], content[32:]
    if hashlib.sha256(code).digest() != digest:
        return None
    objects, position = [], 0
    while position < len(code):
        (size,) = _SIZE.unpack_from(code, position)
        position += _SIZE.size + size
        objects.append(code[position - size : position])
    return objects


def _write(path: Path | None, objects: Sequence[bytes]) -> None:
    if path is None:
        return
    content = b"".join(_SIZE.pack(len(code)) + code for code in objects)
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(hashlib.sha256(content).digest() + content)
        # Renaming is atomic: another process sees the whole file or none.
        os.replace(temporary, path)
    except OSError:
        return


def addresses(code: Code, count: int) -> Sequence[int]:
    """The addresses of kernels k0, k1, …"""
    return [code.address(f"k{i}") for i in range(count)]
