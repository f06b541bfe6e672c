"""Programs, and what the compiler makes of their loops: order, form, parts and storage of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from loop_programs import (
    B,
    U,
    W,
    both,
    c,
    carried,
    cholesky,
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
    stopping_late,
    two_taps,
    v0,
    w,
    x,
)  # fmt: skip

import scanlib
import scanlib.tensor as T
from scanlib.ifelse import ifelse


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
PRODUCT = {"lanes": "a product mixes lanes"}
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
    "until near the end": (lambda: stopping_late(), [native(TRACE, "0 last")]),
    "until near the end, last": (lambda: stopping_late()[-1], [native(LAST, "0 last")]),
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
        lambda: scan(lambda a, s: s + T.outer(a, a), m, states=T.zeros_like(W))[-1],
        [native(LAST, sums=1)],
    ),
    "rows": (lambda: leaky(m, v0), [lanes(TRACE)]),
    "every other row": (lambda: leaky(m, v0)[::2], [lanes(TRACE)]),
    "mean of rows": (lambda: leaky(m, v0).mean(0), [lanes("0 last", LAST)]),
    "variance of rows": (lambda: leaky(m, v0).var(0), [lanes("0 last", LAST, LAST, LAST)]),
    "logsumexp of rows": (lambda: T.logsumexp(leaky(m, v0), 0), [lanes("0 last", LAST, LAST, LAST)]),
    "max of rows": (lambda: leaky(m, v0).max(0), [lanes("0 last", LAST)]),
    "place of the largest row but the first": (
        lambda: T.argmax(leaky(m, v0)[1:], 0),
        [lanes("0 last", "0 last", LAST)],
    ),
    "increments, the last two": (lambda: ((t := leaky(m, v0))[1:] - t[:-1])[-2:], [lanes("3 ring")]),
    "until, sum of all but the last three": (lambda: stopping()[:-3].sum(), [native("0 last", "0 ring", LAST)]),
    "last rows, one of them replaced": (
        lambda: T.set_subtensor(leaky(m, v0)[-2], 0.0)[-3:],
        [lanes("3 ring")],
    ),
    "rows between others": (
        lambda: T.concatenate([m, leaky(m, v0), T.stack([v0])])[-3:],
        [lanes("2 ring")],
    ),
    "places from the front": (
        lambda: (t := leaky(m, v0))[T.stack([t.shape[0] - 1, t.shape[0] - 4])],
        [lanes("4 ring")],
    ),
    "squared distance from other rows": (
        lambda: ((elman() - c[:, 0]) ** 2).mean(),
        [native(LAST, LAST, prologue=("m[t] @ W",), kernels=("matmul", "matmul", ""))],
    ),
    "crossentropy of classes": (
        lambda: T.nnet.categorical_crossentropy(T.nnet.softmax(readout()[1]), T.cast(x, "int64")).mean(),
        [
            native(
                "0 last",
                LAST,
                LAST,
                prologue=("m[t] @ W",),
                epilogue=1,
                sums=1,
                kernels=("matmul", "matmul", "matmul"),
            )
        ],
    ),
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
    # A thread that takes rows through all steps computes what its rows alone need, but for products.
    "functions of a batch": (
        lambda: scan(lambda a, h: T.tanh(T.exp(a @ W) + T.exp(a) + h @ U), c, states=B)[-1],
        [steps(LAST, order="rows", prologue=("c[t] @ W",), kernels=("matmul", "matmul", ""))],
    ),
    "product of functions of a batch": (
        lambda: scan(lambda a, h: T.tanh((e := T.exp(a)) @ W + e + h @ U), c, states=B)[-1],
        [
            steps(
                LAST, order="rows", prologue=("exp(c[t])", "exp(c[t]) @ W"), kernels=("matmul", "matmul", "")
            )
        ],
    ),
    "functions of a batch whose rows meet": (
        lambda: scan(lambda a, h: T.exp(a) + h / (h @ U).sum(0), c, states=B)[-1],
        [steps(LAST, prologue=("exp(c[t])",), kernels=("", "matmul", ""))],
    ),
    "functions of a batch that meet before the loop": (
        lambda: scan(lambda a, h: T.exp(a).sum(0) + h @ U, c, states=B)[-1],
        [steps(LAST, order="rows", prologue=("sum(exp(c[t]))",), kernels=("", "matmul", ""))],
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
        [native(LAST, prologue=("cholesky((… + …))[…]",), kernels=("matmul cholesky", "", ""))],
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
