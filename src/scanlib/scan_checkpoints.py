"""`scan_checkpoints`: a scan of scans that hands back every N-th step only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .errors import UserTypeError, UserValueError
from .graph import Variable
from .scan import OrderedUpdates, scan
from .scan_arguments import as_list
from .tensor.types import as_tensor_variable


def _lengthened(sequence: Variable, steps: Variable, every: int, padding: bool) -> Variable:
    """The first `steps` elements as (blocks, every, …); padded with zeros to whole blocks."""
    from .tensor import concatenate, reshape, stack, zeros

    row = [sequence.shape[i] for i in range(1, sequence.ndim)]
    value = sequence[:steps]
    if padding:
        missing = (every - steps % every) % every
        value = concatenate([value, zeros((missing, *row), dtype=value.dtype)], axis=0)
    blocks = value.shape[0] // every
    return reshape(
        value[: blocks * every], stack([blocks, as_tensor_variable(every), *row]), ndim=value.ndim + 1
    )


def scan_checkpoints(
    fn: Callable[..., Any],
    sequences: Any = None,
    outputs_info: Any = None,
    non_sequences: Any = None,
    name: str = "checkpointscan_fn",
    n_steps: Any = None,
    save_every_N: int = 10,
    padding: bool = True,
) -> tuple[Any, OrderedUpdates]:
    """A scan whose outputs are those of steps N, 2 N, … only; its gradient computes the steps between again.

    Every output must be a state with the tap -1.  If the number of steps is no multiple of `save_every_N`,
    the sequences are lengthened with zeros (`padding`), else the last steps are left out.

    Raises UserTypeError and UserValueError.
    """
    if isinstance(save_every_N, bool) or not isinstance(save_every_N, int) or save_every_N < 1:
        raise UserValueError(
            f"scan_checkpoints '{name}': save_every_N must be a positive integer, got {save_every_N!r}"
        )
    given = [as_tensor_variable(s) for s in as_list(sequences)]
    states = as_list(outputs_info)
    for k, entry in enumerate(states):
        if entry is None or (isinstance(entry, dict) and entry.get("taps", [-1]) not in ([-1], (-1,), -1)):
            raise UserTypeError(
                f"scan_checkpoints '{name}': outputs_info[{k}] must be an initial value with the one tap -1"
            )
    if not given and n_steps is None:
        raise UserValueError(f"scan_checkpoints '{name}': give sequences or n_steps")
    steps = as_tensor_variable(given[0].shape[0] if n_steps is None else n_steps)
    blocks = steps // save_every_N if not padding else (steps + (save_every_N - 1)) // save_every_N
    pieces = [_lengthened(s, steps, save_every_N, padding) for s in given]

    def block(*arguments: Any) -> tuple[list[Variable], OrderedUpdates]:
        first, second = len(pieces), len(pieces) + len(states)
        outputs, updates = scan(
            fn, arguments[:first], list(arguments[first:second]), list(arguments[second:]),
            n_steps=save_every_N, name=f"{name}_block", return_list=True,
        )  # fmt: skip
        return [v[-1] for v in outputs], updates

    return scan(block, pieces, states, non_sequences, n_steps=blocks, name=name)
