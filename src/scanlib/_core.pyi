"""The compiled core: executables, the fast path of a call, memory counters, library kernels.

Library kernels (also the table of cpp/include/scanlib/library.hpp, which is the one to keep up to date).
Matrices are the last two dims; all leading dims are batch dims, equal in all operands (broadcast by stride 0).

=====================  ==================================================  ===================================
kernel                 operands, in order                                  parameters
=====================  ==================================================  ===================================
matmul                 a[..,m,k], b[..,k,n], out[..,m,n]  any dtype        accumulate
pack                   b[k,n], packed[p,k,w]                               -
matmul_packed          a[..,m,k], then once or more:                       accumulate
                       packed[p,k,w], out[..,m,n]
solve                  a[..,n,n], b[..,n,k], out[..,n,k]                   -
solve_triangular       a[..,n,n], b[..,n,k], out[..,n,k]                   lower, transpose, unit_diagonal
cholesky               a[..,n,n], out[..,n,n]                              lower
inv                    a[..,n,n], out[..,n,n]                              -
det                    a[..,n,n], out[..]                                  -
slogdet                a[..,n,n], sign[..], logabsdet[..]                  -
eigh                   a[..,n,n], w[..,n], v[..,n,n]                       lower
qr                     a[..,m,n], q[..,m,p], r[..,p,n]                     complete
svd                    a[..,m,n], u[..,m,p], s[..,min(m,n)], vt[..,q,n]    full
pinv                   a[..,m,n], rcond[..], out[..,n,m]                   -
sort                   x[..,n], out[..,n]  any dtype                       -
argsort                x[..,n], out int64[..,n]                            -
searchsorted           sorted[..,n], v[..,m], out int64[..,m]              right
mt_*, philox_*         see library.hpp                                     see library.hpp
=====================  ==================================================  ===================================
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal, final

import numpy as np
from numpy.typing import NDArray

from scanlib.plan import Plan

EXACT_DIM_LIMIT: int
LARGEST_MULTIPLE: int
"""The largest dim that a specialisation treats as a compile-time constant."""

PACKED_PANEL_BYTES: int
"""The bytes of a row of a panel, the form in which the kernel `pack` lays out a matrix."""

Signature = tuple[tuple[int, ...], ...]
"""Per input its dims; -1 for a dim that stays a run-time value."""

OnFailure = Callable[[str, int, tuple[int, int, int], list[tuple[str, int]], str], Exception]
"""Makes the exception for a failed call from (kind, code, values, path, instruction).

kind is "check" (code: the check id a kernel returned), "library" (code: see `library_statuses`), "memory" (code:
bytes asked for), "steps" (code: the negative number of steps) or "internal".  path is [(loop name, step), ...],
outermost loop first; a step of -1 is not known (an instruction that treats a whole block at once).
"""

@final
class Memory:
    """Owns one block of the core's memory; the base of arrays returned without a copy."""

@final
class Executable:
    """A plan bound to its compiled kernels.

    `addresses` are the kernels' addresses, in the order `Call.kernel` counts; `owner` is anything that must live
    as long as they do.  Raises InternalError if the plan is broken.  Calls release the GIL and may overlap.
    """

    plan: Plan
    owner: object
    last_peak_bytes: int
    """Most bytes live at once in buffers of the call that ended last."""

    def __init__(
        self, plan: Plan, addresses: Sequence[int], on_failure: OnFailure | None = None, owner: object = None
    ) -> None: ...
    def start_profile(self) -> None:
        """From now on calls are counted and timed.  Must not run while a call does."""
    def profile(self) -> tuple[int, int, list[tuple[int, int, int, int, int, int, int, int]]] | None:
        """(calls, ns, loops) once started; the loops in the order of the plan, each before those inside it.

        A loop is (calls, steps, blocks, ns, ns in prologue, in recurrence, in epilogue, most bytes).
        """
    def run(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Outputs for inputs of exactly the plan's dtypes and ndims.  Outputs are fresh arrays."""
    def __call__(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]: ...

@final
class Dispatcher:
    """The fast path of a call: converts arguments, finds the executable for their dims, runs it.

    `dtypes`, `ndims` and `dynamic` have one entry per input; dynamic[i][axis] is true where a dim is never part
    of a specialisation (a sequence length).  specialise(signature) makes an executable; convert(i, value) makes
    an array of the declared dtype and ndim from anything the fast path does not take (or raises the user error).
    `bases` are the axes, as (input, axis), of whose lengths other lengths are told as multiples (lengths.py).
    With `unpack` a call returns the first output instead of the list of all.
    """

    def __init__(
        self,
        specialise: Callable[[Signature], Executable],
        convert: Callable[[int, Any], np.ndarray],
        dtypes: Sequence[str],
        ndims: Sequence[int],
        dynamic: Sequence[Sequence[bool]],
        unpack: bool = False,
        bases: Sequence[tuple[int, int]] = (),
    ) -> None: ...
    def __call__(self, *args: Any) -> Any: ...
    @property
    def specialisations(self) -> list[tuple[Signature, Executable]]:
        """All executables made so far."""
    def clear(self) -> None:
        """Forgets all executables."""

class Caller:
    """What is called as f(…): `direct` is called where it is set and the arguments are as many as its inputs, by
    position; else the subclass's method `call` gets the arguments."""

    direct: Dispatcher | None
    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...

def allocated_bytes() -> int:
    """Bytes of core memory live now, outputs held by arrays and the arenas of idle workspaces included."""

def peak_bytes() -> int:
    """Most bytes live at once since `reset_peak_bytes`."""

def reset_peak_bytes() -> None:
    """Lets the peak start again from what is live now."""

def allocation_count() -> int:
    """Allocations since the program started."""

def get_threads() -> int:
    """The number of threads that calls may use, at least 1."""

def set_threads(count: int) -> None:
    """Sets it; 0 stands for all cores this process may run on.  At most 256 are used."""

def ring_slots(keep: int, depth: int, in_place: bool = False) -> int:
    """Slots of a ring that keeps the last `keep` steps and is read `depth` steps back; 0: nothing is stored.

    With `in_place`, what a step or a block of steps overwrites has been read before: no further slot is needed.
    """

def lane_parts(lanes: int, work: int, grain: Literal["lanes", "rows", "steps"] = "lanes") -> int:
    """Threads that share so many lanes, rows or steps of a loop, `work` arithmetic operations in all."""

def library_kernels() -> list[str]:
    """Names of all library kernels."""

def library_symbols() -> dict[str, int]:
    """Addresses of the scalar C functions which compiled kernels may call: scanlib_<name>_f64 and _f32."""

def library_statuses() -> dict[str, int]:
    """The code of each status a library kernel may return."""

def instruction_set() -> str:
    """What the matrix kernels use on this machine: "baseline", "avx2" or "avx512"."""

def run_library(
    name: str, inputs: Sequence[NDArray[Any]], outputs: Sequence[NDArray[Any]], parameters: Sequence[int] = ()
) -> str:
    """Runs one library kernel on arrays (for tests) and returns the name of its status."""
