"""Packing: matrices that do not change during a loop are laid out for products once, before its first step, or before
that of the outermost loop in which they stay the same.

A packed matrix is a right operand.  For a fixed left operand the product is the transposed one, as strides have it:
(a @ b).T = b.T @ a.T.  Products of one level with one left operand run as one library call.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from .. import lowered
from .._core import PACKED_PANEL_BYTES
from ..graph import Apply, Constant, Variable, describe
from ..lowered import Int
from ..ops.base import Affine, Reshape
from ..plan import Instruction
from ..plan import Library as LibraryCall
from ..statements import Matrix, Product
from .program import FEWEST_ROWS, View

if TYPE_CHECKING:
    from .region import Region


def packed_view(region: Region, node: Apply, k: int) -> View | None:
    """Operand k of a product as a packed right operand, if it is a matrix that stays the same during the loop."""
    from .region import itemsize

    v = node.inputs[k]
    if v.dtype[0] != "f":
        return None
    loops = list(_loops_around(region, v))
    if not loops:
        return None
    view = region.memory(v)
    known = [view.offset, *view.shape, *view.strides]
    home = None
    for inside, loop in loops:
        if any(r.data_level(known) >= 0 or f"b{view.buffer}" in r.buffer_levels for r in inside):
            break
        home = loop
    if home is None or any(d != 1 for d in view.shape[:-2]):
        return None
    view = View(view.buffer, view.offset, view.shape[-2:], view.strides[-2:], view.dtype)
    if k == 0:
        view = transposed(view)
    found = home.packed.get(view)
    if found is None:
        width = PACKED_PANEL_BYTES // itemsize(v.dtype)
        panels = lowered.floordiv(lowered.add(view.shape[1], width - 1), width)
        found = home.packed[view] = _pack(home, view, (panels, view.shape[0], width), describe(v))
    return found


def _loops_around(region: Region, v: Variable) -> Iterator[tuple[list[Region], Region]]:
    """The bodies of loops during which `v` stays the same, inner ones first, each with the regions one enters there."""
    inside: list[Region] = []
    at: Region | None = region
    while at is not None:
        inside.append(at)
        while at.owns(v) and v.owner is not None and isinstance(v.owner.op.lower, (Affine, Reshape)):
            v = v.owner.inputs[0]
        if id(v) in at.fixed:
            yield inside, at
            v, inside = at.fixed[id(v)], []
        elif isinstance(v, Constant):
            if at.step is not None:
                yield inside, at
                inside = []
        elif at.owns(v):
            return
        at = at.parent


def _pack(region: Region, view: View, shape: tuple[Int, ...], name: str) -> View:
    """New memory with the packed form of `view`, filled before the first step."""
    from .region import Region

    # The same for all steps of a block: the methods of a region that runs once.
    made = Region.temporary(region, name, view.dtype, shape, 0)
    operands = (Region.operand(region, view), Region.operand(region, made))
    region.barriers.setdefault(-1, []).append(LibraryCall("pack", operands, (), name))
    return made


def transposed(view: View) -> View:
    *batch, m, n = view.shape
    *outer, row, col = view.strides
    return View(view.buffer, view.offset, (*batch, n, m), (*outer, col, row), view.dtype)


def has_few_rows(region: Region, node: Apply, k: int) -> bool:
    """Whether a product with operand k packed has too few rows for threads to share them."""
    *batch, rows, columns = region.shape(node.output)
    count = rows if k == 1 else columns
    return all(d == 1 for d in batch) and isinstance(count, int) and count < FEWEST_ROWS


def call_product(region: Region, node: Apply) -> bool:
    """A product with a packed operand and few rows as a statement of a kernel; False if it is not one."""
    for k in (1, 0):
        packed = packed_view(region, node, k) if has_few_rows(region, node, k) else None
        if packed is None:
            continue
        left = region.memory(node.inputs[1 - k])
        result = region.target(node.output, 0)
        region.values[id(node.output)] = result
        if k == 0:
            left, result = transposed(left), transposed(result)
        sizes = (result.shape[-2], packed.shape[1], result.shape[-1])
        region.kernels.setdefault(0, []).append(Product(_matrix(left), packed.buffer, _matrix(result), sizes))
        return True
    return False


def _matrix(view: View) -> Matrix:
    row, column = view.strides[-2:]
    return Matrix(view.buffer, view.offset, (row, column))


def packed_product(
    region: Region, node: Apply, k: int, packed: View, out: View, allocate: list[Instruction], level: int
) -> list[Instruction]:
    """The product with its operand k packed: instructions to append, or none if another product takes it along."""
    from .barriers import broadcast_view
    from .region import Region

    other = region.memory(node.inputs[1 - k])
    other = broadcast_view(region.program, other, (*out.shape[:-2], *other.shape[-2:]))
    if k == 0:
        other, out = transposed(other), transposed(out)
    left = region.operand(other)
    pair = (Region.operand(region, packed), region.operand(out))
    made = region.barriers.get(level, [])
    for i, instruction in enumerate(made):
        if _takes_along(instruction, left):
            assert isinstance(instruction, LibraryCall)
            joined = LibraryCall(
                instruction.kernel, (*instruction.operands, *pair), instruction.parameters, instruction.name
            )
            made[i : i + 1] = [*allocate, joined]
            return []
    return [*allocate, LibraryCall("matmul_packed", (left, *pair), (0,), describe(node.output))]


def _takes_along(instruction: Instruction, left: object) -> bool:
    return (
        isinstance(instruction, LibraryCall)
        and instruction.kernel == "matmul_packed"
        and instruction.operands[0] == left
    )
