"""Native code from LLVM IR text: optimised by llvmlite once, kept in memory and on disk.

An object file is found again by the hash of the IR, the CPU and its features, the versions of LLVM and scanlib, and
the text of this file, which says how the IR becomes code.  The directory is private: it is created with mode 0700 and
not used if it belongs to somebody else.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm

from .llvm_metadata import VECTORISE

# Modules longer than this (in characters of IR) are not packed into vectors where there is no loop.
PACKED_LENGTH = 15_000

_lock = threading.Lock()
_machine: Machine | None = None
# Never emptied: an engine owns the target machine that all of them share, and would take it along.
_loaded: dict[str, Module] = {}


@dataclass(frozen=True)
class Machine:
    """What code is generated for."""

    target: Any
    description: str


@dataclass(frozen=True, eq=False)
class Module:
    """Loaded code; the engine owns its memory."""

    engine: Any

    def address(self, function: str) -> int:
        return int(self.engine.get_function_address(function))


def machine() -> Machine:
    """The host, initialised at the first use."""
    global _machine
    if _machine is None:
        from ._core import library_symbols

        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        cpu, features = llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()
        target = llvm.Target.from_default_triple().create_target_machine(
            cpu=cpu, features=features, opt=3, reloc="pic", codemodel="small", jit=True
        )
        for name, address in library_symbols().items():
            llvm.add_symbol(name, address)
        version = ".".join(map(str, llvm.llvm_version_info))
        made_by = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
        _machine = Machine(target, f"{target.triple} {cpu} {features} LLVM {version} {made_by}")
    return _machine


def load(ir: str) -> Module:
    """The compiled module of `ir`."""
    from . import __version__

    with _lock:
        host = machine()
        key = hashlib.sha256(f"{__version__}\n{host.description}\n{ir}".encode()).hexdigest()
        module = _loaded.get(key)
        if module is None:
            path = _directory() / f"{key}.o" if _directory() is not None else None  # type: ignore[operator]
            code = _read(path)
            if code is None:
                code = _compile(ir, host)
                _write(path, code)
            module = _loaded[key] = _link(code, host)
        return module


def optimise(ir: str, host: Machine) -> Any:
    """The module of `ir` after LLVM's passes: those of a whole module where it has loops for the vectoriser."""
    module = llvm.parse_assembly(ir)
    whole = ir.startswith(VECTORISE)
    options = llvm.create_pipeline_tuning_options(speed_level=2)
    options.loop_vectorization = True
    # Packing straight-line code is superlinear in its length: unrolled matrix bodies took 1.2 s instead of 0.04 s.
    options.slp_vectorization = len(ir) <= PACKED_LENGTH
    options.loop_unrolling = True
    builder = llvm.create_pass_builder(host.target, options)
    if whole:
        builder.getModulePassManager().run(module, builder)
        return module
    inline = llvm.create_new_module_pass_manager()
    inline.add_always_inliner_pass()
    inline.add_global_dead_code_eliminate_pass()
    inline.run(module, builder)
    simplify = builder.getFunctionPassManager()
    for function in module.functions:
        if not function.is_declaration:
            simplify.run(function, builder)
    return module


def _compile(ir: str, host: Machine) -> bytes:
    code: bytes = host.target.emit_object(optimise(ir, host))
    return code


def _link(code: bytes, host: Machine) -> Module:
    empty = llvm.parse_assembly("")
    engine = llvm.create_mcjit_compiler(empty, host.target)
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    return Module(engine)


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


def _read(path: Path | None) -> bytes | None:
    """The object file, without its checksum; None when it is missing or damaged."""
    if path is None:
        return None
    try:
        content = path.read_bytes()
    except OSError:
        return None
    digest, code = content[:32], content[32:]
    return code if hashlib.sha256(code).digest() == digest else None


def _write(path: Path | None, code: bytes) -> None:
    if path is None:
        return
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(hashlib.sha256(code).digest() + code)
        # Renaming is atomic: another process sees the whole file or none.
        os.replace(temporary, path)
    except OSError:
        return


def addresses(module: Module, count: int) -> Sequence[int]:
    """The addresses of kernels k0, k1, …"""
    return [module.address(f"k{i}") for i in range(count)]
