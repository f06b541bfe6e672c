"""Programs, and what the compiler makes of their loops: order, form, parts, storage, bytes."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from loop_programs import (
    SHAPES,
    STEPS,
    WIDTH,
    B,
    U,
    W,
    both,
    c,
    carried,
    cholesky,
    compiled,
    covariance,
    deep_taps,
    elman,
    h0,
    leaky,
    lstm,
    m,
    n,
    nested,
    random_walk,
    readout,
    scan,
    stopping,
    two_taps,
    v0,
    w,
    x,
)  # fmt: skip

pytest.importorskip("scanlib._core")

import scanlib
import scanlib.tensor as T
from scanlib.errors import UserTypeError
from scanlib.explain import Explanation, ScanExplanation, explain
from scanlib.graph import Variable
from scanlib.ifelse import ifelse


def explained(outputs: Any) -> Explanation:
    f, inputs = compiled(outputs)
    return explain(f, *[SHAPES[v] for v in inputs])


# -- the table --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Expected:
    """`outputs` are "keep storage"; kernels are those of prologue, recurrence, epilogue, each as one text."""

    outputs: tuple[str, ...]
    order: str = "time"
    form: str = "native"
    prologue: tuple[str, ...] = ()
    epilogue: int = 0
    sums: int = 0
    kernels: tuple[str, str, str] = ("", "", "")
    reasons: dict[str, str] = field(default_factory=dict)


def lanes(*outputs: str, **arguments: Any) -> Expected:
    return Expected(outputs, "lanes", **arguments)


def native(*outputs: str, **arguments: Any) -> Expected:
    return Expected(outputs, **arguments)


def steps(*outputs: str, **arguments: Any) -> Expected:
    return Expected(outputs, form="instructions", **arguments)


LAST, TRACE = "1 last", "all trace"
PRODUCT = {"lanes": "contract mixes lanes"}
CHOICE = {"native": "ifelse runs outside of compiled kernels"}
OUTER = {"native": "scan runs outside of compiled kernels", "batched": "scan runs step by step"}

TABLE: dict[str, tuple[Callable[[], Any], list[Expected]]] = {
    "trace": (lambda: leaky(), [native(TRACE, reasons={"lanes": "states are small"})]),
    "last": (lambda: leaky()[-1], [native(LAST)]),
    "third from the end": (lambda: leaky()[-3], [native("3 ring")]),
    "last four": (lambda: leaky()[-4:], [native("4 ring")]),
    "last thousand": (lambda: leaky()[-1000:], [native("1000 ring")]),
    "strided near the end": (lambda: leaky()[-6::2], [native("6 ring")]),
    "length": (lambda: leaky().shape[0], []),
    "sum over time": (lambda: leaky().sum(), [native("0 last", LAST)]),
    "sum and last": (lambda: [(t := leaky()).sum(), t[-1]], [native(LAST, LAST)]),
    "two taps": (lambda: two_taps(), [native(TRACE)]),
    "two taps, last": (lambda: two_taps()[-1], [native("1 ring")]),
    "until": (lambda: stopping(), [native(TRACE)]),
    "until, last": (lambda: stopping()[-1], [native(LAST)]),
    "n steps": (lambda: scan(lambda h: 0.5 * h, states=h0, n_steps=n)[-1], [native(LAST)]),
    "state and dear mapped output": (lambda: both(), [native(TRACE, TRACE, epilogue=1)]),
    "mapped output alone": (lambda: both()[1], [native(TRACE, epilogue=1)]),
    "state behind a mapped output": (
        lambda: scan(lambda a, h: [0.5 * h + a, h * h], x, states=[h0, None])[1],
        [native("0 last", TRACE)],
    ),
    "small dense states": (lambda: covariance(), [native(TRACE)]),
    "exp of a scalar sequence": (
        lambda: scan(lambda a, h: T.exp(a) * h, x, states=h0)[-1],
        [native(LAST, prologue=("exp(x[t])",))],
    ),
    "map": (lambda: scan(lambda a: T.exp(a) * w, m), [native(TRACE, epilogue=1)]),
    "map of products": (
        lambda: scan(lambda a: a @ W, m),
        [native(TRACE, epilogue=1, kernels=("", "", "matmul"))],
    ),
    "shared variable that adds up": (carried, [native(LAST, sums=1)]),
    "sum of outer products": (
        lambda: scan(lambda a, s: s + T.outer(a, a), m, states=T.zeros((WIDTH, WIDTH)))[-1],
        [native(LAST, sums=1)],
    ),
    "rows": (lambda: leaky(m, v0), [lanes(TRACE)]),
    "mean of rows": (lambda: leaky(m, v0).mean(0), [lanes("0 last", LAST)]),
    "max of rows": (lambda: leaky(m, v0).max(0), [lanes("0 last", LAST)]),
    "deep taps of rows": (lambda: deep_taps()[-2:], [lanes("2 ring")]),
    "logistic map": (
        lambda: scan(lambda v: 3.9 * v * (1 - v), states=v0, n_steps=n)[-1],
        [lanes(LAST)],
    ),
    "power": (lambda: scan(lambda p: p * B, states=T.ones_like(B), n_steps=100)[-1], [lanes(LAST)]),
    "diagonal recurrence": (lambda: scan(lambda a, h: w * h + a, c, states=B), [lanes(TRACE)]),
    "exp of a sequence": (
        lambda: scan(lambda a, h: T.exp(a) * h, m, states=v0)[-1],
        [lanes(LAST, prologue=("exp(m[t])",))],
    ),
    "exp outside of the loop": (
        lambda: scan(lambda a, h: a * h, T.exp(m), states=v0)[-1],
        [lanes(LAST, prologue=("(exp(m))[t]",))],
    ),
    "sum of the lanes": (
        lambda: scan(lambda a, h: h / h.sum() + a, m, states=v0)[-1],
        [native(LAST, reasons={"lanes": "sum mixes lanes"})],
    ),
    "Elman": (
        lambda: elman(),
        [native(TRACE, prologue=("m[t] @ W",), kernels=("matmul", "matmul", ""))],
    ),
    "Elman, last": (
        lambda: elman()[-1],
        [native(LAST, prologue=("m[t] @ W",), kernels=("matmul", "matmul", ""), reasons=PRODUCT)],
    ),
    "Elman of a batch": (
        lambda: elman(c, B)[-1],
        [steps(LAST, order="rows", prologue=("c[t] @ W",), kernels=("matmul", "matmul", ""))],
    ),
    "Elman without products of inputs": (
        lambda: scan(lambda a, h: T.tanh(a + h @ U), m, states=v0)[-1],
        [native(LAST, kernels=("", "matmul", ""))],
    ),
    "readout": (
        lambda: readout()[1],
        [native("0 last", TRACE, prologue=("m[t] @ W",), epilogue=1, kernels=("matmul", "matmul", "matmul"))],
    ),
    "readout and states": (
        lambda: readout(),
        [native(TRACE, TRACE, prologue=("m[t] @ W",), epilogue=1, kernels=("matmul", "matmul", "matmul"))],
    ),
    "gated, last": (
        lambda: lstm()[-1],
        [native(LAST, "0 last", prologue=("m[t] @ W",), kernels=("matmul", "matmul matmul", ""))],
    ),
    "factorization of a sequence": (
        lambda: scan(lambda a, h: 0.5 * h + cholesky(a)[0, 0], c, states=h0)[-1],
        [native(LAST, prologue=("cholesky((c[t] @ c[t]))[…]",), kernels=("matmul cholesky", "", ""))],
    ),
    "factorization of a state": (
        lambda: scan(lambda a, h: cholesky(h) + a, x, states=W)[-1],
        [steps(LAST, kernels=("", "matmul cholesky", ""))],
    ),
    "choice": (
        lambda: scan(lambda a, h: ifelse(T.gt(a, 0), h @ U, h), x, states=W)[-1],
        [steps(LAST, kernels=("", "matmul", ""), reasons=CHOICE)],
    ),
    "random numbers": (random_walk, [steps(LAST, "0 last", kernels=("", "mt_normal", ""))]),
    "inner last": (lambda: nested(lambda t: t[-1]), [steps(TRACE, reasons=OUTER), native(LAST)]),
    "inner last, outer last": (lambda: nested(lambda t: t[-1])[-1], [steps(LAST), native(LAST)]),
    "inner sum": (lambda: nested(lambda t: t.sum()), [steps(TRACE), native("0 last", LAST)]),
    "inner last two, outer last three": (
        lambda: nested(lambda t: t[-2:].sum())[-3:],
        [steps("3 ring"), native("2 ring")],
    ),
    # Of the trace, the reverse loop reads the length of a row at most.
    "gradient by the start": (lambda: scanlib.grad(leaky(m, v0)[-1].sum(), v0), [lanes(LAST)]),
    "gradient by a number": (
        lambda: scanlib.grad(scan(lambda a, h: w * h + a, x, states=h0)[-1], w),
        [native(TRACE), native("0 last", LAST)],
    ),
    "gradient by a matrix": (
        lambda: scanlib.grad(elman()[-1].sum(), W),
        [
            native(TRACE, prologue=("m[t] @ W",), kernels=("matmul", "matmul", "")),
            native("0 last", LAST, sums=1, kernels=("", "matmul", "matmul")),
        ],
    ),
    "gradient by two matrices": (
        lambda: scanlib.grad((elman() ** 2).sum(), [W, U]),
        [
            native(TRACE, prologue=("m[t] @ W",), kernels=("matmul", "matmul", "")),
            native("0 last", LAST, LAST, sums=2, kernels=("", "matmul", "matmul matmul")),
        ],
    ),
}  # fmt: skip


def found(scan: ScanExplanation, reasons: dict[str, str]) -> Expected:
    return Expected(
        tuple(f"{'all' if o.keep is None else o.keep} {o.storage}" for o in scan.outputs),
        scan.order,
        scan.form,
        scan.prologue,
        len(scan.epilogue),
        len(scan.accumulated),
        (*(" ".join(scan.kernels[part]) for part in ("prologue", "recurrence", "epilogue")),),
        {k: scan.reasons.get(k, "") for k in reasons},
    )


@pytest.mark.parametrize("name", TABLE)
def test_table(name: str) -> None:
    program, expected = TABLE[name]
    scans = list(explained(program()).walk())
    assert len(scans) == len(expected)
    assert [found(s, e.reasons) for s, e in zip(scans, expected)] == expected


def test_sources_of_the_number_of_steps() -> None:
    e = explained([leaky()[-1], scan(lambda h: h / 2, states=w, n_steps=n)[-1], stopping()[-1]])
    assert [(s.steps_source, s.steps, s.until) for s in e.scans] == [
        ("x.shape[0]", STEPS, False),
        ("n", STEPS, False),
        ("20", 20, True),
    ]


def test_blocks_stay_in_the_cache() -> None:
    (s,) = explained(elman()[-1]).scans
    assert s.block_length is not None and s.temporary_bytes is not None
    assert 64 <= s.block_length <= 4096 and s.temporary_bytes < 1 << 20


# -- arguments, text, drawing -----------------------------------------------------------------------------


def test_unknown_shapes() -> None:
    f, _ = compiled(leaky(m, v0)[-3:])
    for e in (explain(f), explain(f, (None, WIDTH))):
        (s,) = e.scans
        assert (s.steps, s.outputs[0].slots, s.order) == (None, 4, "lanes")
    assert explain(f, v0=(WIDTH,), m=(STEPS, None)).peak_bytes is not None
    assert explain(f).peak_bytes is None and "?" in str(explain(f))


def test_small_dims_change_the_form() -> None:
    f = scanlib.function([c, W, U, B], elman(c, B)[-1])
    weights = [(WIDTH, WIDTH), (WIDTH, WIDTH)]
    (few,) = explain(f, (STEPS, 3, WIDTH), *weights, (3, WIDTH)).scans
    (many,) = explain(f, (STEPS, 30, WIDTH), *weights, (30, WIDTH)).scans
    assert (few.form, many.form) == ("native", "instructions")


def test_wrong_arguments() -> None:
    f = scanlib.function([x, h0], leaky()[-1], name="smooth")
    with pytest.raises(UserTypeError, match="smooth takes 2 input"):
        explain(f, 1, 2, 3)
    with pytest.raises(UserTypeError, match="no input named 'y'.* x, h0"):
        explain(f, y=3)
    fixed = T.TensorType("float64", shape=(3,))("fixed")
    with pytest.raises(UserTypeError, match="'fixed': axis 0 is 3 long"):
        explain(scanlib.function([fixed], fixed * 2), (4,))


def test_shared_variables_and_defaults_are_known() -> None:
    k = scanlib.shared(np.zeros(30), "k")
    f = scanlib.function([x, scanlib.In(n, value=7)], scan(lambda h: h + x[0], states=k, n_steps=n))
    e = explain(f, (3,))
    assert e.scans[0].steps == 7 and e.inputs[-1].shape == (30,) and e.inputs[-1].shared


TEXT = """\
function 'smooth': x float64 (10000,), h0 float64

scan 'leaky'
  steps     10000, from x.shape[0]
  reads     x[t]
  block     4096 steps, 0 B of its own
  form      native, time outside, in groups of 8 steps, 1 thread
  no lanes  states are small
  output  dtype    computed    keep  storage  slots  bytes
  h0      float64  recurrence  3     ring     4      32 B

most bytes at once: 40 B"""


def test_text() -> None:
    f = scanlib.function([x, h0], leaky(name="leaky")[-3], name="smooth")
    e = explain(f, (STEPS,), 0.5)
    assert str(e) == repr(e) == TEXT
    assert e.scan("leaky").output("h0").slots == 4


@pytest.mark.parametrize("program", [lambda: leaky(), lambda: nested(lambda t: t.sum()), lambda: both()])
def test_html(program: Callable[[], Any]) -> None:
    e = explained(program())
    made = e.html()
    tree = ElementTree.fromstring(made)
    assert tree.find(".//{http://www.w3.org/2000/svg}svg") is not None
    assert made.count("<b>scan") == len(list(e.walk())) and e._repr_html_() == made


def test_what_a_scan_reads() -> None:
    (s,) = explained(readout()[1]).scans
    assert (s.sequences, s.non_sequences) == (("m[t]",), ("W", "U", "V"))
    first, reverse = explained(scanlib.grad((elman() ** 2).sum(), [W, U])).scans
    assert first.sequences == ("m[t]",) and {"m[t]", "v0[t-1]"} <= set(reverse.sequences)


def test_drawing_says_what_is_kept() -> None:
    """Of the graph only inputs, scans, dear operations and outputs are drawn: no lengths and no views."""
    e = explained([leaky(name="first")[-3], T.tanh(readout()[1])])
    kinds = [(node.label, node.kind) for node in e.nodes if node.kind in ("scan", "operation")]
    assert kinds == [("first", "scan"), ("scan", "scan"), ("tanh", "operation")]
    details = {node.label: node.details for node in e.nodes}
    assert details["first"] == ("over x[t]", "h0: last 3 steps")
    assert details["scan"] == ("over m[t]", "v0: not kept", "output 1: all steps")
    made = e.html()
    assert all(f">{line}</text>" in made for lines in details.values() for line in lines)
    assert e.nodes[-1].inputs and e.nodes[-1].kind == "output"


@pytest.mark.parametrize("count", [1, 3])
def test_threads(count: int) -> None:
    """Lanes, rows, or the steps of a block."""
    programs = (lambda: scan(lambda a: T.exp(a) * w, m), lambda: elman(c, B)[-1], lambda: leaky(m, v0))
    with scanlib.threads(count):
        by_steps, by_rows, few_lanes = (explained(program()).scans[0].threads for program in programs)
    # 18 rows are cut in eights, and 20 lanes are one range.
    assert (by_steps, by_rows, few_lanes) == (count, count, 1)


def test_large_graphs_are_drawn_without_operations() -> None:
    y: Variable = x
    for _ in range(40):
        y = T.cumsum(y * 2)
    e = explained([leaky(y)[-1], y])
    made = e.html()
    assert len(e.nodes) > 60 and ">cumsum<" not in made and ">scan<" in made


def test_explaining_computes_nothing() -> None:
    f, inputs = compiled(leaky())
    explain(f, *[SHAPES[v] for v in inputs])
    assert f.peak_bytes == 0
