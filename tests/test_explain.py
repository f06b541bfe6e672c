"""Programs, and what the compiler makes of their loops: order, form, parts, storage, bytes."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
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
    compiled,
    elman,
    h0,
    leaky,
    m,
    n,
    nested,
    readout,
    scan,
    stopping,
    v0,
    w,
    x,
)
from loop_table import TABLE, Expected

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
        assert (s.steps, s.outputs[0].slots, s.order) == (None, 3, "lanes")
    assert explain(f, v0=(WIDTH,), m=(STEPS, None)).peak_bytes is not None
    assert explain(f).peak_bytes is None and "?" in str(explain(f))


def test_unknown_shapes_that_do_not_fit() -> None:
    with pytest.raises(UserTypeError, match="count as larger than 16.* give the shapes of m"):
        explain(scanlib.function([m], m + T.zeros(3)))
    # The shape of a scalar is a shape, too.
    assert explain(scanlib.function([x, h0], leaky()[-1]), (STEPS,), ()).scans[0].steps == STEPS


def test_scans_within_a_scan_of_no_steps() -> None:
    f, _ = compiled(nested(lambda t: t[-2:].sum()))
    for steps in (0, STEPS):
        e = explain(f, (steps, WIDTH), 0.5)
        assert [s.steps for s in e.walk()] == ([0, None] if steps == 0 else [STEPS, WIDTH])
        assert str(e) and e.html()


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
  h0      float64  recurrence  3     ring     3      24 B

most bytes at once: 32 B"""


def test_text() -> None:
    f = scanlib.function([x, h0], leaky(name="leaky")[-3], name="smooth")
    e = explain(f, (STEPS,), 0.5)
    assert str(e) == repr(e) == TEXT
    assert e.scan("leaky").output("h0").slots == 3


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


def test_bytes_of_an_ifelse_are_those_of_the_arm_that_runs() -> None:
    """Of the larger one where the condition is not known; in a loop steps may run both."""
    c, x = T.lscalar("c"), T.vector("x")
    trace, _ = scanlib.scan(lambda u, a: T.tanh(a + u), sequences=x, outputs_info=T.zeros((100,)))
    f = scanlib.function([c, x], ifelse(c, trace[::-1] * 2, trace[-1:] * 2))
    small, _ = scanlib.scan(lambda u, a: T.tanh(a - u), sequences=x, outputs_info=T.zeros((100,)))
    g = scanlib.function([c, x], ifelse(c, trace[::-1] * 2, small[-1:] * 2))
    for h in (f, g):
        used = []
        for value in (0, 1):
            h(value, np.ones(1000))
            used.append(h.peak_bytes)
            assert explain(h, value, (1000,)).peak_bytes == h.peak_bytes
        assert explain(h, (), (1000,)).peak_bytes == max(used)
    assert used[0] < used[1]
