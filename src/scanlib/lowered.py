"""The lowered form: scalar expressions that both emitters print; the statements around them are in statements.py.

An expression is a hash-consed DAG node, so equal expressions are one object and are emitted once per scope.
`Int` is an int known when the kernel is generated, or an int64 expression known when it runs.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

NOTHING: frozenset[str] = frozenset()
# Bytes; what the core allocates begins with one.
CACHE_LINE = 64


class Expr:
    """One scalar value.

    op      meaning                                     args              value
    const   a literal                                                     the Python number
    dim     an entry of the dims table (int64)                            the slot
    index   a loop variable (int64); "t…" are steps of scans, "l…" lanes  its name
    bound   "start" or "stop": the steps this kernel was asked to run     which
    load    an element of a buffer                      (offset,)         the buffer
    reg     a loop-carried register                                       its name
    guard   args[0], after checking that args[1] holds  (x, cond, *vals)  the check id
    cast    args[0] converted to this dtype             (x,)
    select  args[1] if args[0] else args[2]; the other  (cond, a, b)
            arm is not computed where that could trap
    where   the same, both arms computed                (cond, a, b)
    other   the elementwise row of that name            its operands
    """

    __slots__ = ("__weakref__", "args", "dtype", "minimum", "op", "reads", "value")
    op: str
    args: tuple[Expr, ...]
    dtype: str
    value: Any
    reads: frozenset[str]
    minimum: int | None

    def __repr__(self) -> str:
        inner = ", ".join(map(repr, self.args))
        return f"{self.op}{'' if self.value is None else f'<{self.value}>'}({inner})"


Int: TypeAlias = int | Expr
_table: weakref.WeakValueDictionary[tuple[Any, ...], Expr] = weakref.WeakValueDictionary()


def expr(op: str, args: tuple[Expr, ...], dtype: str, value: Any = None, minimum: int | None = None) -> Expr:
    """The one expression of this content.  `minimum` is a lower bound known for an integer."""
    # repr tells -0.0 from 0.0 and nan from nan, which == does not.
    key: tuple[Any, ...] = (op, tuple(map(id, args)), dtype, repr(value) if op == "const" else value)
    if op == "dim":
        # A slot is another number in another function, with another bound; the table serves all functions.
        key += (minimum,)
    found = _table.get(key)
    if found is not None:
        if minimum is not None and (found.minimum is None or found.minimum < minimum):
            found.minimum = minimum
        return found
    made = Expr()
    made.op, made.args, made.dtype, made.value, made.minimum = op, args, dtype, value, minimum
    reads = NOTHING.union(*(a.reads for a in args)) if args else NOTHING
    if op == "load":
        reads |= {f"b{value}"}
    elif op == "reg":
        # A register of a lane is named after it.
        reads |= {f"r{value}", value.split(".")[0]} if value[0] == "l" else {f"r{value}"}
    elif op == "dim":
        reads |= {f"d{value}"}
    elif op == "index" and value[0] in "tl":
        reads |= {value}
    elif op == "bound":
        reads |= {"t@"}
    made.reads = reads
    _table[key] = made
    return made


def constant(value: Any, dtype: str) -> Expr:
    if dtype == "bool":
        value = bool(value)
    elif dtype.startswith("float"):
        value = float(value)
    else:
        value = int(value)
    return expr("const", (), dtype, value, value if dtype == "int64" else None)


def as_expr(value: Int) -> Expr:
    """An Int as an int64 expression."""
    return value if isinstance(value, Expr) else constant(value, "int64")


def fold(value: Int) -> Int:
    """The int behind a constant integer expression, else the expression."""
    return int(value.value) if isinstance(value, Expr) and value.op == "const" else value


def dim(slot: int, minimum: int | None = 0) -> Expr:
    return expr("dim", (), "int64", slot, minimum)


def index(name: str) -> Expr:
    return expr("index", (), "int64", name, 0)


def bound(which: str) -> Expr:
    return expr("bound", (), "int64", which, 0)


def load(buffer: int, offset: Int, dtype: str) -> Expr:
    return expr("load", (as_expr(offset),), dtype, buffer)


def register(name: str, dtype: str) -> Expr:
    return expr("reg", (), dtype, name)


def guard(value: Expr, condition: Expr, check: int, values: Sequence[Int] = ()) -> Expr:
    """`value`, usable only where `condition` holds; else the kernel stops with `check`."""
    return expr("guard", (value, condition, *(as_expr(v) for v in values)), value.dtype, check, value.minimum)


def under(value: Expr, index: Int) -> Expr:
    """`value`, after the check that `index` stands for, if it does and `value` does not check it by itself."""
    if isinstance(index, int) or index.op != "guard" or _always_needs(value, index):
        return value
    return expr("guard", (value, *index.args[1:]), value.dtype, index.value, value.minimum)


def _always_needs(value: Expr, part: Expr) -> bool:
    """Whether `part` is computed wherever `value` is: not if it stands in what a choice may leave out."""
    stack, seen = [value], set[Expr]()
    while stack:
        e = stack.pop()
        if e is part:
            return True
        if e not in seen and part.reads <= e.reads:
            seen.add(e)
            stack += e.args[:1] if e.op == "select" else e.args
    return False


def cast(value: Expr, dtype: str) -> Expr:
    if value.dtype == dtype:
        return value
    if value.op == "const" and dtype.startswith("float"):
        return constant(value.value, dtype)
    return expr("cast", (value,), dtype, None, value.minimum if dtype == "int64" else None)


def select(condition: Expr, yes: Expr, no: Expr) -> Expr:
    if condition.op == "const":
        return yes if condition.value else no
    if yes is no:
        return yes
    low = None
    if yes.minimum is not None and no.minimum is not None:
        low = min(yes.minimum, no.minimum)
    return expr("select", (condition, yes, no), yes.dtype, None, low)


def where(condition: Expr, yes: Expr, no: Expr) -> Expr:
    """`select` between values that may both be computed."""
    if condition.op == "const":
        return yes if condition.value else no
    return yes if yes is no else expr("where", (condition, yes, no), yes.dtype)


# Integer algebra on Int: folds what is known, keeps lower bounds, so that shapes and indices that are
# constants stay Python ints all the way to the emitters.  Sums and products here never overflow (they are
# sizes and positions in memory), unlike the rows `add`, `sub`, `mul`, which wrap as NumPy does.

_INDEX_LIKE = frozenset(
    {"const", "dim", "index", "bound", "index_add", "index_sub", "index_mul", "udiv", "urem"}
)


def is_index(e: Expr) -> bool:
    """Whether an int64 expression is made of sizes, steps and constants only at its top."""
    return e.dtype == "int64" and e.op in _INDEX_LIKE


# What `linear` looks into.
_SUMS = frozenset({"const", "index_add", "index_sub", "index_mul"})

# Σ factor · part + constant: the factor of each part, that of None being the constant.
Linear: TypeAlias = dict["Expr | None", int]
_linear: weakref.WeakKeyDictionary[Expr, Linear] = weakref.WeakKeyDictionary()


def linear(e: Int) -> Linear:
    """`e` as a sum of multiples; its parts are whatever is no sum and no multiple."""
    if isinstance(e, int):
        return {None: e}
    found = _linear.get(e)
    if found is None:
        if e.op == "const":
            found = {None: int(e.value)}
        elif e.op in ("index_add", "index_sub"):
            found = _plus(linear(e.args[0]), linear(e.args[1]), 1 if e.op == "index_add" else -1)
        elif e.op == "index_mul" and e.args[1].op == "const":
            found = _plus({None: 0}, linear(e.args[0]), int(e.args[1].value))
        else:
            return {None: 0, e: 1}  # not remembered: an entry that holds its own key would never go
        _linear[e] = found
    return found


def _plus(a: Linear, b: Linear, times: int) -> Linear:
    total = dict(a)
    for part, factor in b.items():
        total[part] = total.get(part, 0) + times * factor
    return {part: factor for part, factor in total.items() if factor or part is None}


def from_linear(total: Linear) -> Int:
    made: Int = 0
    for part, factor in total.items():
        if part is not None:
            made = add(made, mul(part, factor))
    return add(made, total[None])


def least(total: Linear) -> int | None:
    """A lower bound, as far as those of the parts tell."""
    low = total[None]
    for part, factor in total.items():
        if part is not None:
            if factor < 0 or part.minimum is None:
                return None
            low += factor * part.minimum
    return low


def at_least(a: Int, b: Int) -> bool:
    """Whether a ≥ b can be told."""
    if isinstance(a, Expr) and isinstance(b, int) and a.minimum is not None and a.minimum >= b:
        return True
    low = least(_plus(linear(a), linear(b), -1))
    return low is not None and low >= 0


def add(a: Int, b: Int) -> Int:
    if isinstance(a, int) and isinstance(b, int):
        return a + b
    if isinstance(a, int):
        a, b = b, a
    if isinstance(b, int):
        if b == 0:
            return a
        assert isinstance(a, Expr)
        if a.op == "index_add" and a.args[1].op == "const":
            return add(a.args[0], int(a.args[1].value) + b)
    x, y = as_expr(a), as_expr(b)
    low = x.minimum + y.minimum if x.minimum is not None and y.minimum is not None else None
    return expr("index_add", (x, y), "int64", None, low)


def sub(a: Int, b: Int) -> Int:
    if isinstance(b, int):
        return add(a, -b)
    if a is b:
        return 0
    left, right = linear(a), linear(b)
    total = _plus(left, right, -1)
    if len(total) < len(left) + len(right) - 1:
        # Parts cancel, or come together.
        return from_linear(total)
    return expr("index_sub", (as_expr(a), as_expr(b)), "int64")


def mul(a: Int, b: Int) -> Int:
    if isinstance(a, int) and isinstance(b, int):
        return a * b
    if isinstance(a, int):
        a, b = b, a
    if isinstance(b, int):
        if b == 1:
            return a
        if b == 0:
            # Where an index does not matter it is checked all the same.
            return fold(under(constant(0, "int64"), a))
    x, y = as_expr(a), as_expr(b)
    both = x.minimum is not None and y.minimum is not None and x.minimum >= 0 and y.minimum >= 0
    return expr("index_mul", (x, y), "int64", None, x.minimum * y.minimum if both else None)  # type: ignore[operator]


# No memory has more bytes than this.
MOST_BYTES = (1 << 63) - 1


def size(a: Int, b: Int) -> Int:
    """The product of two numbers from 0 on, or MOST_BYTES: the bytes of memory that there cannot be.

    Positions in memory never overflow, as there is memory for them.  This is what makes it so.
    """
    if isinstance(a, int) and isinstance(b, int):
        return min(a * b, MOST_BYTES)
    if a == 0 or b == 0 or a == 1 or b == 1:
        return mul(a, b)
    return expr("size_mul", (as_expr(a), as_expr(b)), "int64", None, 0)


def bytes_of(shape: Sequence[Int], itemsize: int) -> Int:
    """What an array takes."""
    total: Int = 1
    for d in reversed(shape):
        total = size(total, d)
    return size(total, itemsize)


def floordiv(a: Int, b: Int) -> Int:
    """Floor division; the divisor must be positive."""
    if isinstance(a, int) and isinstance(b, int):
        return a // b
    if isinstance(b, int) and b == 1:
        return a
    x, y = as_expr(a), as_expr(b)
    if x.minimum is not None and x.minimum >= 0:
        return expr("udiv", (x, y), "int64", None, 0)
    return expr("floor_divide", (x, y), "int64")


def mod(a: Int, b: Int) -> Int:
    """Remainder with the sign of the divisor, which must be positive."""
    if isinstance(a, int) and isinstance(b, int):
        return a % b
    if isinstance(b, int) and b == 1:
        return 0
    x, y = as_expr(a), as_expr(b)
    if x.minimum is not None and x.minimum >= 0:
        return expr("urem", (x, y), "int64", None, 0)
    return expr("mod", (x, y), "int64", None, 0)


def maximum(a: Int, b: Int) -> Int:
    return _extreme("maximum", a, b)


def minimum(a: Int, b: Int) -> Int:
    return _extreme("minimum", a, b)


def _extreme(op: str, a: Int, b: Int) -> Int:
    largest = op == "maximum"
    if isinstance(a, int) and isinstance(b, int):
        return max(a, b) if largest else min(a, b)
    if isinstance(a, int):
        a, b = b, a
    if at_least(a, b):
        return a if largest else b
    if at_least(b, a):
        return b if largest else a
    x, y = as_expr(a), as_expr(b)
    lows = [m for m in (x.minimum, y.minimum) if m is not None]
    low = max(lows, default=None) if largest else min(lows) if len(lows) == 2 else None
    return expr(op, (x, y), "int64", None, low)


def compare(op: str, a: Int, b: Int) -> Expr:
    """`op` is one of eq ne lt le gt ge; folds when it is decided by constants or lower bounds."""
    if isinstance(a, int) and isinstance(b, int):
        known = {"eq": a == b, "ne": a != b, "lt": a < b, "le": a <= b, "gt": a > b, "ge": a >= b}[op]
        return constant(known, "bool")
    if isinstance(a, Expr) and isinstance(b, int):
        low = a.minimum
        if low is not None and low >= b and (op in ("ge", "lt") or low > b):
            return constant(op in ("ge", "gt", "ne"), "bool")
        if a.op not in _SUMS:
            # Nothing more is known of it.
            return expr(op, (a, as_expr(b)), "bool")
    difference = _plus(linear(a), linear(b), -1)
    if len(difference) == 1:
        return compare(op, difference[None], 0)
    for sign, strict, weak, never in ((1, "gt", "ge", "lt"), (-1, "lt", "le", "gt")):
        low = least(_plus({None: 0}, difference, sign))
        if low is not None and (low > 0 or (low == 0 and op in (weak, never))):
            return constant(op in (strict, weak, "ne") if low > 0 else op == weak, "bool")
    return expr(op, (as_expr(a), as_expr(b)), "bool")


def logical(op: str, a: Expr, b: Expr) -> Expr:
    """`op` is logical_and or logical_or, on booleans, folding constants."""
    absorbing = op == "logical_or"
    for x, y in ((a, b), (b, a)):
        if x.op == "const":
            return x if bool(x.value) is absorbing else y
    return expr(op, (a, b), "bool")


def negation(condition: Expr) -> Expr:
    known = condition.op == "const"
    return constant(not condition.value, "bool") if known else expr("logical_not", (condition,), "bool")


def choose(condition: Expr, yes: Int, no: Int) -> Int:
    """`select` on Int."""
    return fold(select(condition, as_expr(yes), as_expr(no)))


# What makes an integer expression anew from other operands, folding what is known of them.
INDEX_RULES = {
    "index_add": add,
    "index_sub": sub,
    "index_mul": mul,
    "size_mul": size,
    "udiv": floordiv,
    "urem": mod,
}


class Substitution:
    """Expressions with some of their parts replaced, folding again what becomes known."""

    def __init__(self, replacements: Mapping[Expr, Int]) -> None:
        self.known: dict[Expr, Int] = dict(replacements)
        # Indices of loops over elements are not among what an expression is known to read.
        self.anywhere = any(not e.reads for e in replacements)
        self.names = NOTHING.union(*(e.reads for e in replacements))

    def __call__(self, e: Int) -> Int:
        if isinstance(e, int) or not (self.anywhere or self.names & e.reads):
            return e
        if e not in self.known:
            args = [self(a) for a in e.args]
            if e.op in INDEX_RULES:
                self.known[e] = INDEX_RULES[e.op](fold(args[0]), fold(args[1]))
            else:
                self.known[e] = expr(e.op, tuple(map(as_expr, args)), e.dtype, e.value, e.minimum)
        return self.known[e]
