"""Products with packed matrices: the library kernels, and the loops that use them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import pytest

import scanlib
import scanlib.tensor as T
from scanlib import _core
from scanlib.function import Function
from scanlib.graph import Variable
from scanlib.lengths import step_axes
from scanlib.lower import lower
from scanlib.passes import optimise
from scanlib.plan import Branch, Instruction, Library, Loop
from scanlib.statements import products

FLOATS = ["float32", "float64"]


def draw(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    return rng.normal(size=shape).astype(dtype)


def close(got: np.ndarray, expected: np.ndarray) -> None:
    tolerance = 2e-4 if got.dtype == np.float32 else 1e-10
    np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance)


def width(dtype: str) -> int:
    return _core.PACKED_PANEL_BYTES // np.dtype(dtype).itemsize


def packed(b: np.ndarray) -> np.ndarray:
    """`b` laid out by the kernel, in memory that was not zero."""
    w = width(b.dtype.name)
    out = np.full((-(-b.shape[1] // w), b.shape[0], w), np.nan, b.dtype)
    assert _core.run_library("pack", [b], [out]) == "ok"
    return out


def product(a: np.ndarray, panels: np.ndarray, out: np.ndarray, accumulate: int = 0) -> np.ndarray:
    assert _core.run_library("matmul_packed", [a, panels], [out], (accumulate,)) == "ok"
    return out


def layouts(x: np.ndarray) -> list[np.ndarray]:
    """The same matrix in several memory layouts."""
    wide = np.zeros((*x.shape[:-1], 2 * x.shape[-1]), x.dtype)
    wide[..., ::2] = x
    flipped = np.ascontiguousarray(x[..., ::-1, ::-1])
    transposed = np.ascontiguousarray(np.swapaxes(x, -1, -2))
    return [x, np.swapaxes(transposed, -1, -2), wide[..., ::2], flipped[..., ::-1, ::-1]]


# --- kernels ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("shape", [(1, 1), (3, 70), (33, 32), (0, 5), (5, 0), (200, 130)])
def test_pack(dtype: str, shape: tuple[int, int]) -> None:
    b, w = draw(np.random.default_rng(1), shape, dtype), width(dtype)
    filled = np.zeros((shape[0], -(-shape[1] // w) * w), dtype)
    filled[:, : shape[1]] = b
    expected = filled.reshape(shape[0], filled.shape[1] // w, w).swapaxes(0, 1)
    for layout in layouts(b):
        np.testing.assert_array_equal(packed(layout), expected)


ROWS = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 13, 17, 40]
COLUMNS = [0, 1, 15, 16, 17, 31, 33, 64, 100, 130, 300]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("inner", [0, 1, 2, 37])
def test_matmul_packed(dtype: str, inner: int) -> None:
    """All numbers of rows of a tile, and all widths."""
    rng = np.random.default_rng(2)
    for m, n, accumulate in itertools.product(ROWS, COLUMNS, (0, 1)):
        a, b, start = (draw(rng, shape, dtype) for shape in ((m, inner), (inner, n), (m, n)))
        close(product(a, packed(b), start.copy(), accumulate), a @ b + accumulate * start)


@pytest.mark.parametrize("dtype", FLOATS)
def test_layouts_of_left_operand_and_result(dtype: str) -> None:
    rng = np.random.default_rng(3)
    for m, k, n in [(1, 6, 70), (70, 6, 1), (30, 40, 20), (3, 2, 45)]:
        a, b = draw(rng, (m, k), dtype), draw(rng, (k, n), dtype)
        outs = [np.ones((m, n), dtype), np.ones((n, m), dtype).T, np.ones((m, 3 * n), dtype)[:, ::3]]
        for left, out, accumulate in itertools.product(layouts(a), outs, (0, 1)):
            start = out.copy()
            close(product(left, packed(b), out, accumulate), a @ b + accumulate * start)
        around = np.full((m + 2, n + 2), 7, dtype)
        product(a, packed(b), around[1:-1, 1:-1])
        close(around[1:-1, 1:-1], a @ b)
        around[1:-1, 1:-1] = 7
        assert (around == 7).all()


@pytest.mark.parametrize("dtype", FLOATS)
def test_batches(dtype: str) -> None:
    rng = np.random.default_rng(4)
    for m, k, n in [(1, 6, 7), (5, 20, 30)]:
        full, b = draw(rng, (3, 4, m, k), dtype), draw(rng, (k, n), dtype)
        lefts = [full, full[::-1, ::2], full.swapaxes(0, 1), np.broadcast_to(full[0, 0], full.shape)]
        for a in lefts:
            close(product(a, packed(b), np.zeros((*a.shape[:-1], n), dtype)), a @ b)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("rows", [1, 5, 300])
def test_several_products_with_one_left_operand(dtype: str, rows: int) -> None:
    rng = np.random.default_rng(5)
    a = draw(rng, (rows, 90), dtype)
    rights = [draw(rng, (90, n), dtype) for n in (1, 70, 128, 500)]
    outs = [np.empty((rows, b.shape[1]), dtype) for b in rights]
    arrays = [x for b, out in zip(rights, outs, strict=True) for x in (packed(b), out)]
    for threads in (1, 3):
        with scanlib.threads(threads):
            assert _core.run_library("matmul_packed", [a, *arrays], [], (0,)) == "ok"
        for b, out in zip(rights, outs, strict=True):
            close(out, a @ b)
            out[:] = 0


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("columns", [20, 64, 300])
def test_rows_do_not_depend_on_each_other(dtype: str, columns: int) -> None:
    """To the last bit: with whatever rows, and on however many threads, a row is computed."""
    rng = np.random.default_rng(6)
    a, panels = draw(rng, (61, 200), dtype), packed(draw(rng, (200, columns), dtype))
    start = draw(rng, (61, columns), dtype)
    whole = product(a, panels, start.copy(), 1)
    for size in (1, 2, 3, 7, 10, 25):
        for first in range(0, 61, size):
            part = slice(first, first + size)
            np.testing.assert_array_equal(product(a[part], panels, start[part].copy(), 1), whole[part])
    for threads in (1, 2, 5):
        with scanlib.threads(threads):
            np.testing.assert_array_equal(product(a, panels, start.copy(), 1), whole)


def test_kernels_report_shapes() -> None:
    a, panels, out = np.ones((2, 3)), packed(np.ones((3, 4))), np.ones((2, 4))
    status = [
        _core.run_library("matmul_packed", [np.ones((2, 4)), panels], [out], (0,)),
        _core.run_library("matmul_packed", [a, panels], [np.ones((3, 4))], (0,)),
        _core.run_library("matmul_packed", [a, panels], [np.ones((2, 40))], (0,)),
        _core.run_library("matmul_packed", [a, panels[:, :, :8]], [out], (0,)),
        _core.run_library("pack", [np.ones((3, 40))], [panels]),
    ]
    assert status == ["shape_mismatch"] * 5
    assert _core.run_library("matmul_packed", [a.astype("float32"), panels], [out], (0,)) == "bad_dtype"


# --- loops ------------------------------------------------------------------------------------------------------

x, W, U, h0 = T.dtensor3("x"), T.dmatrix("W"), T.dmatrix("U"), T.dmatrix("h0")
INPUTS = [x, W, U, h0]


def flat(instructions: Iterable[Instruction]) -> Iterable[Instruction]:
    for i in instructions:
        yield i
        if isinstance(i, Loop):
            yield from flat([*i.start, *i.prologue, *i.recurrence, *i.epilogue])
        if isinstance(i, Branch):
            yield from flat([*i.then, *i.otherwise])


def kernels(f: Function) -> list[str]:
    """The library calls of a function at run-time sizes, and the products that its kernels call.

    A product with k right operands is named "matmul_packed k".
    """
    graph = optimise(f.program.graph)
    lowered = lower(graph, [(-1,) * v.ndim for v in graph.inputs], step_axes(graph))
    calls = [i for i in flat(lowered.plan.instructions) if isinstance(i, Library)]
    names = [(c.kernel, (len(c.operands) - 1) // 2) for c in calls]
    called = ["product" for kernel in lowered.kernels for _ in products(kernel.body)]
    return sorted([f"{name} {k}" if name == "matmul_packed" else name for name, k in names] + called)


def loop(step: Callable[..., Variable], **named: object) -> Variable:
    """step(x[t], h[t-1], W, U) for all t."""
    trace, _ = scanlib.scan(step, sequences=x, outputs_info=h0, non_sequences=[W, U], **named)
    return trace


def nested(
    step: Callable[..., Variable], around: Callable[[Variable, Variable], Variable] = lambda a, inner: inner
) -> Variable:
    """Loops of three steps g ← step(g, h, w, u) in a loop."""

    def outer(a: Variable, h: Variable, w: Variable, u: Variable) -> Variable:
        inner, _ = scanlib.scan(lambda g: step(g, h, w, u), outputs_info=a, n_steps=3)
        return around(a, inner[-1])

    return loop(outer)


def gates(a: Variable, h: Variable, w: Variable, u: Variable) -> Variable:
    return T.tanh(a @ w + h @ u + (h @ w) * (h @ u.T))


# name: (the trace, the library calls)
CONSTANT = np.linspace(-1, 1, 17 * 40).reshape(17, 40)
LOOPS: dict[str, tuple[Callable[[], Variable], Sequence[str]]] = {
    "right operand": (lambda: loop(lambda a, h, w, u: T.tanh(a + h @ u)), ["matmul_packed 1", "pack"]),
    "left operand": (lambda: loop(lambda a, h, w, u: T.tanh(a + (u @ h.T).T)), ["matmul_packed 1", "pack"]),
    "transposed": (lambda: loop(lambda a, h, w, u: T.tanh(a + h @ u.T)), ["matmul_packed 1", "pack"]),
    "view": (
        lambda: loop(lambda a, h, w, u: T.tanh(a + h[:, ::2] @ u[::-2, ::-1])),
        ["matmul_packed 1", "pack"],
    ),
    "vector": (
        lambda: loop(lambda a, h, w, u: T.tanh(a + h[0] @ u + u @ h[0])),
        ["pack", "pack", "product", "product"],
    ),
    "twice the same": (
        lambda: loop(lambda a, h, w, u: T.tanh(a + (h @ u) @ u)),
        ["matmul_packed 1", "matmul_packed 1", "pack"],
    ),
    "one left operand": (
        lambda: loop(gates),
        ["matmul_packed 1", "matmul_packed 3", "pack", "pack", "pack", "pack"],
    ),
    "row of the step": (
        lambda: scanlib.scan(lambda u, h: T.tanh(h @ T.outer(u, u)), sequences=W, outputs_info=h0)[0],
        ["matmul"],
    ),
    "state": (lambda: loop(lambda a, h, w, u: T.tanh(a + h @ h.T @ h)), ["matmul", "matmul"]),
    "last step": (
        lambda: loop(lambda a, h, w, u: T.tanh(a + h @ u))[-1:],
        ["matmul_packed 1", "pack"],
    ),
    "in an inner loop": (
        lambda: nested(lambda g, h, w, u: T.tanh(g @ u + h @ u)),
        ["matmul_packed 1", "matmul_packed 1", "pack"],
    ),
    "a view in an inner loop": (
        lambda: nested(lambda g, h, w, u: T.tanh(g @ u[::-1].T + h)),
        ["matmul_packed 1", "pack"],
    ),
    "a constant in an inner loop": (
        lambda: nested(lambda g, h, w, u: T.tanh(h + (g[:, :17] @ CONSTANT).mean(axis=1, keepdims=True))),
        ["matmul_packed 1", "pack"],
    ),
    "in an inner loop of an arm": (
        lambda: nested(
            lambda g, h, w, u: T.tanh(g @ u + h), lambda a, inner: scanlib.ifelse(a.sum() > 0, inner, -a)
        ),
        ["matmul_packed 1", "pack"],
    ),
}
# The same for all steps of an inner loop, but not for those of the loop around it.
INNER = {
    "made from weights": lambda: nested(lambda g, h, w, u: T.tanh(g @ (u * h.mean()) + h)),
    "a state": lambda: nested(lambda g, h, w, u: T.tanh(g @ (h.T @ h))),
}
SIZES = [(5, 3, 20), (1, 1, 17), (0, 2, 20), (9, 40, 33), (70, 2, 64)]


def arguments(steps: int, batch: int, size: int) -> list[np.ndarray]:
    rng = np.random.default_rng(7)
    shapes = [(steps, batch, size), (size, size), (size, size), (batch, size)]
    return [rng.uniform(-1, 1, shape) / np.sqrt(size) for shape in shapes]


@pytest.mark.parametrize("name", LOOPS)
def test_loops_pack_what_does_not_change(name: str) -> None:
    make, expected = LOOPS[name]
    f = scanlib.function(INPUTS, make(), on_unused_input="ignore")
    assert kernels(f) == sorted(expected)


@pytest.mark.parametrize("name", LOOPS)
def test_matrices_are_packed_once_per_call(name: str) -> None:
    """Before the outermost loop, not in it."""
    graph = optimise(scanlib.function(INPUTS, LOOPS[name][0](), on_unused_input="ignore").program.graph)
    plan = lower(graph, [(-1,) * v.ndim for v in graph.inputs], step_axes(graph)).plan
    loops = [i for i in plan.instructions if isinstance(i, Loop)]
    inside = flat([i for p in loops for part in (p.prologue, p.recurrence, p.epilogue) for i in part])
    assert not [i for i in inside if isinstance(i, Library) and i.kernel == "pack"]


@pytest.mark.parametrize("name", INNER)
def test_inner_loops_pack_what_changes_around_them(name: str) -> None:
    f = scanlib.function(INPUTS, INNER[name](), on_unused_input="ignore")
    assert "pack" in kernels(f)


@pytest.mark.parametrize("name", [*LOOPS, *INNER])
def test_loops_with_packed_matrices(name: str) -> None:
    """Compiled against the interpreter, with gradients."""
    trace = LOOPS[name][0]() if name in LOOPS else INNER[name]()
    cost = (trace**2).sum()
    outputs = [trace, *scanlib.grad(cost, INPUTS, disconnected_inputs="ignore")]
    native, reference = (
        scanlib.function(INPUTS, outputs, mode=mode, on_unused_input="ignore")
        for mode in ("native", "reference")
    )
    for sizes in SIZES:
        values = arguments(*sizes)
        for got, want in zip(native(*values), reference(*values), strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-11)


def step_of(rows: int, axis: int) -> Variable:
    """A loop whose products have as many rows as h0 has, or columns."""
    h = T.alloc(0.5, rows, W.shape[0]) if axis == 0 else T.alloc(0.5, W.shape[0], rows)
    trace, _ = scanlib.scan(
        lambda w, h: T.tanh((h @ U if axis == 0 else U @ h) + w.sum()), sequences=W, outputs_info=h
    )
    return trace


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("rows", [1, 2, 8, 15, 16, 17])
def test_few_rows_are_multiplied_inside_the_kernel(rows: int, axis: int) -> None:
    """With fewer rows than threads could share, a body with products is one kernel all the same."""
    f, reference = (
        scanlib.function([W, U], step_of(rows, axis), mode=mode) for mode in ("native", "reference")
    )
    rng = np.random.default_rng(rows)
    values = [rng.normal(size=(20, 70)) / 9, rng.normal(size=(20, 20)) / 5]
    np.testing.assert_allclose(f(*values), reference(*values), rtol=1e-9, atol=1e-11)
    (scan,) = scanlib.explain(f).scans
    assert scan.form == ("native" if rows < 16 else "instructions")


@pytest.mark.parametrize("threads", [1, 2])
def test_products_inside_a_kernel_on_threads(threads: int) -> None:
    """Wide enough for threads; the panels of a row are computed by whichever thread, to the same bits."""
    rng = np.random.default_rng(3)
    values = [rng.normal(size=(40, 600)) / 25, rng.normal(size=(600, 600)).astype("float64") / 25]
    trace, _ = scanlib.scan(lambda w, h: T.tanh(w + h @ U), sequences=W, outputs_info=T.zeros_like(W[0]))
    f = scanlib.function([W, U], trace)
    h, expected = np.zeros(600), []
    for w in values[0]:
        h = np.tanh(w + h @ values[1])
        expected.append(h)
    with scanlib.threads(threads):
        np.testing.assert_allclose(f(*values), expected, rtol=1e-9, atol=1e-11)
