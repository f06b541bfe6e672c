"""Fixtures every test may use: `mode`, the two ways to run a graph."""

from __future__ import annotations

import importlib.util

import pytest

NATIVE = importlib.util.find_spec("scanlib._core") is not None


@pytest.fixture(params=["reference", "native"])
def mode(request: pytest.FixtureRequest) -> str:
    """Tests with this fixture run once in the interpreter and once compiled."""
    if request.param == "native" and not NATIVE:
        pytest.skip("scanlib._core is not built")
    return str(request.param)
