"""Programs written for Theano, with only their imports changed."""

from __future__ import annotations

import os
import subprocess
import sys
from io import StringIO
from pathlib import Path

import numpy as np
import pytest

import scanlib as theano
import scanlib.tensor as T
import scanlib.tensor as tensor


def test_names() -> None:
    assert theano.config.floatX == "float64"
    assert theano.scan_module.until is theano.scan_module.scan_utils.until is theano.scan_utils.until
    assert theano.tensor is T
    assert theano.Param is theano.In
    assert theano.gradient.grad is theano.grad
    assert callable(theano.Rop) and callable(theano.Lop) and callable(theano.dot)
    assert theano.ifelse.ifelse(T.constant(1), T.constant(2.0), T.constant(3.0)).ndim == 0
    assert theano.tensor.shared_randomstreams.RandomStreams is T.shared_randomstreams.RandomStreams
    assert theano.sandbox.rng_mrg.MRG_RandomStreams(1).uniform((2,)).ndim == 1
    assert theano.gof.Variable is theano.Variable
    assert theano.as_tensor_variable(1.0).ndim == 0


def test_names_of_linear_algebra() -> None:
    m = T.matrix("m")
    f = theano.function([m], [T.nlinalg.trace(m), T.nlinalg.extract_diag(m), T.nlinalg.norm(m), T.ravel(m)])
    total, diagonal, length, flat = f([[3.0, 0.0], [0.0, 4.0]])
    assert (float(total), diagonal.tolist(), float(length)) == (7.0, [3.0, 4.0], 5.0)
    assert flat.tolist() == [3.0, 0.0, 0.0, 4.0]


def test_clone(mode: str) -> None:
    x, y = T.vectors("x", "y")
    s, _ = theano.scan(lambda a, s: s + a, x, 0.0)
    both = theano.clone([s[-1], y.sum()], replace={x: y * 2, y: x})
    f = theano.function([x, y], both, mode=mode)
    assert [float(v) for v in f(np.ones(3), np.full(4, 5.0))] == [40.0, 3.0]
    assert theano.clone(s) is s
    with pytest.raises(theano.errors.UserTypeError, match="clone: 'x' is float64.*its replacement is"):
        theano.clone(s, replace=[(x, T.matrix("m"))])


def test_unknown_names_are_attribute_errors() -> None:
    with pytest.raises(AttributeError):
        theano.no_such_name  # noqa: B018
    assert all(hasattr(theano, name) for name in dir(theano))


def test_settings_without_meaning_are_accepted() -> None:
    theano.config.warn.subtensor_merge_bug = False
    assert theano.config.warn.subtensor_merge_bug is False
    assert not theano.config.scan.allow_gc
    theano.config.scan.allow_gc = True
    theano.config.optimizer = "fast_compile"
    assert theano.config.optimizer == "fast_compile"
    theano.config.compute_test_value = "off"


def test_settings_with_meaning_are_checked() -> None:
    with pytest.raises(theano.errors.UserError, match="floatX"):
        theano.config.floatX = "float16"
    with pytest.raises(theano.errors.UserError, match="mode"):
        theano.config.mode = "slow"


def test_floatx() -> None:
    try:
        theano.config.floatX = "float32"
        assert T.matrix().dtype == "float32"
        assert theano.shared(1.0).dtype == "float32"
        assert T.constant(1.5).dtype == "float32"
    finally:
        theano.config.floatX = "float64"


@pytest.mark.parametrize("name", ["FAST_RUN", "FAST_COMPILE", "reference", "native", None])
def test_modes_by_name(name: str | None) -> None:
    x = T.scalar("x")
    if name == "reference":
        assert theano.function([x], x + 1, mode=name)(1.0) == 2
    else:
        made = theano.config.mode if name is None else name
        pytest.importorskip("scanlib._core")
        assert theano.function([x], x + 1, mode=made)(1.0) == 2
        assert theano.function([x], x + 1, mode=theano.Mode(linker="cvm", optimizer=made))(1.0) == 2


def test_the_guide_on_a_recurrent_network(mode: str) -> None:
    """Input to hidden to output with a truncated gradient and updates of the weights."""
    n, nin, nout = 5, 3, 2
    rng = np.random.RandomState(0)
    u, t = T.matrix(), T.matrix()
    h0, lr = T.vector(), T.scalar()
    W = theano.shared(rng.uniform(size=(n, n), low=-0.01, high=0.01), name="W")
    W_in = theano.shared(rng.uniform(size=(nin, n), low=-0.01, high=0.01))
    W_out = theano.shared(rng.uniform(size=(n, nout), low=-0.01, high=0.01))

    def step(u_t, h_tm1, W, W_in, W_out):  # type: ignore[no-untyped-def]
        h_t = T.tanh(T.dot(u_t, W_in) + T.dot(h_tm1, W))
        y_t = T.dot(h_t, W_out)
        return h_t, y_t

    [_, y], _ = theano.scan(step, sequences=u, outputs_info=[h0, None], non_sequences=[W, W_in, W_out])
    error = ((y - t) ** 2).sum()
    gW, gW_in, gW_out = T.grad(error, [W, W_in, W_out])
    fn = theano.function(
        [h0, u, t, lr],
        error,
        updates=[(W, W - lr * gW), (W_in, W_in - lr * gW_in), (W_out, W_out - lr * gW_out)],
        mode=mode,
    )
    us, ts = rng.randn(8, nin), rng.randn(8, nout)
    errors = [float(fn(np.zeros(n), us, ts, 0.05)) for _ in range(6)]
    assert errors == sorted(errors, reverse=True) and errors[-1] < errors[0]


def test_jacobian_and_hessian_by_scan(mode: str) -> None:
    x = T.dvector("x")
    y = x**2
    J, updates = theano.scan(
        lambda i, y, x: T.grad(y[i], x), sequences=T.arange(y.shape[0]), non_sequences=[y, x]
    )
    f = theano.function([x], J, updates=updates, mode=mode)
    np.testing.assert_array_equal(f([4, 4]), [[8, 0], [0, 8]])
    cost = (x**3).sum()
    gy = T.grad(cost, x)
    H, updates = theano.scan(
        lambda i, gy, x: T.grad(gy[i], x), sequences=T.arange(gy.shape[0]), non_sequences=[gy, x]
    )
    np.testing.assert_array_equal(
        theano.function([x], H, updates=updates, mode=mode)([4, 2]), [[24, 0], [0, 12]]
    )


def test_logistic_regression(mode: str) -> None:
    """The classic first program: shared weights, a gradient, updates."""
    rng = np.random.RandomState(3)
    features, labels = rng.randn(40, 6), (rng.rand(40) > 0.5).astype("int64")
    x, y = T.dmatrix("x"), T.lvector("y")
    w, b = theano.shared(rng.randn(6), name="w"), theano.shared(0.0, name="b")
    p_1 = 1 / (1 + T.exp(-T.dot(x, w) - b))
    xent = -y * T.log(p_1) - (1 - y) * T.log(1 - p_1)
    cost = xent.mean() + 0.01 * (w**2).sum()
    gw, gb = T.grad(cost, [w, b])
    train = theano.function(
        inputs=[x, y], outputs=[p_1 > 0.5, xent], updates=((w, w - 0.1 * gw), (b, b - 0.1 * gb)), mode=mode
    )
    first = train(features, labels)[1].mean()
    for _ in range(30):
        prediction, error = train(features, labels)
    assert error.mean() < first and prediction.dtype == bool


def test_printing() -> None:
    x, u = T.scalar("x"), T.vector("u")
    assert theano.pp(x + 1) == "(x + 1.0)" or theano.pprint(x + 1).startswith("(x + 1")
    sums, _ = theano.scan(lambda a, s: T.tanh(s) * a, sequences=u, outputs_info=x, name="loop")
    text = theano.printing.debugprint(sums, file="str")
    assert isinstance(text, str)
    assert "scan{loop}" in text and "step of scan 'loop'" in text and "tanh" in text
    stream = StringIO()
    theano.printing.debugprint([sums, x], file=stream, print_type=True, depth=1)
    assert "<float64()>" in stream.getvalue() and "step of" in stream.getvalue()
    f = theano.function([x], [x * 2], mode="reference")
    assert "mul" in str(theano.printing.debugprint(f, file="str"))


def test_import_is_quick_and_light(tmp_path: Path) -> None:
    """Processor time with cached bytecode, so that a busy machine does not matter."""
    code = (
        "import time, sys, numpy; start = time.process_time(); import scanlib; taken = time.process_time() "
        "- start;"
        "heavy = {'cupy', 'scipy', 'matplotlib', 'jax', 'torch'} & {m.split('.')[0] for m in "
        "sys.modules};"
        "assert not heavy, heavy; print(taken)"
    )
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPYCACHEPREFIX"] = str(tmp_path)
    times = []
    for _ in range(4):
        run = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
        )
        times.append(float(run.stdout))
    assert min(times) < 0.2


def test_tensor_namespace_is_the_same() -> None:
    assert tensor.tanh is T.tanh and T.nnet.sigmoid is not None
