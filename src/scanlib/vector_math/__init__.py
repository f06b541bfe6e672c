"""Elementary and special functions as LLVM IR text, one definition per function and type."""

from scanlib.vector_math.builder import symbol
from scanlib.vector_math.registry import FUNCTIONS, Function, definitions

__all__ = ["FUNCTIONS", "Function", "definitions", "symbol"]
