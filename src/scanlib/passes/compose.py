"""A basic index of a basic index as one index, axis by axis, where that is exact for every length."""

from __future__ import annotations

from ..ops.index_rules import At, Index, Span

Entry = At | Span


def compose(inner: Index, outer: Index) -> Index | None:
    """The index that reads x[inner][outer], with the numbers of each as they are; None if there is none."""
    made: list[Entry] = []
    remaining = iter(outer)
    for entry in inner:
        if isinstance(entry, At):
            made.append(entry)
            continue
        both = _compose(entry, next(remaining))
        if both is None:
            return None
        made.append(both)
    return tuple(made)


def _compose(a: Span, b: Entry) -> Entry | None:
    if a.whole:
        return b
    if isinstance(b, Span) and b.whole:
        return a
    if not (_known(a) and _known(b)):
        return None
    step = 1 if a.step is None else int(a.step)  # type: ignore[arg-type]
    start, stop = _number(a.start), _number(a.stop)
    if step < 0 and stop is None and (start is None or start < 0):
        return _of_reversed(0 if start is None else -1 - start, -step, b)
    if step != 1:
        return None
    if (start or 0) >= 0 and (stop is None or stop < 0) and isinstance(b, Span):
        made = _of_middle(start or 0, stop, b)
        if made is not None:
            return made
    if stop is None and start is not None:
        return _of_tail(start, b) if start >= 0 else _of_last(-start, b)
    if start is None and stop is not None:
        return _of_head(stop, b) if stop >= 0 else _of_all_but(-stop, b)
    return None


def _known(e: Entry) -> bool:
    numbers = (e.index,) if isinstance(e, At) else (e.start, e.stop, e.step)
    return all(n is None or isinstance(n, int) for n in numbers)


def _number(n: object) -> int | None:
    assert n is None or isinstance(n, int)
    return n


def _parts(b: Span) -> tuple[int | None, int | None, int]:
    step = _number(b.step)
    return _number(b.start), _number(b.stop), 1 if step is None else step


def _span(start: int | None, stop: int | None, step: int) -> Span:
    return Span(start, stop, None if step == 1 else step)


def _of_middle(a: int, end: int | None, b: Span) -> Entry | None:
    """x[a:end][b], for a ≥ 0 and an end that counts from behind: numbers from the front move on by a, those
    from behind back by -end."""
    start, stop, step = _parts(b)
    start = 0 if start is None else start
    if step < 0 or start < 0 or (stop is not None and stop >= 0):
        return None
    return _span(a + start, end if stop is None else stop + (end or 0), step)


def _of_tail(a: int, b: Entry) -> Entry | None:
    """x[a:][b] for a ≥ 0: positions from the front move on by a."""
    if isinstance(b, At):
        i = _number(b.index)
        return At(a + i) if i is not None and i >= 0 else None
    start, stop, step = _parts(b)
    start = 0 if start is None else start
    if step < 0 or start < 0 or (stop is not None and stop < 0):
        return None
    return _span(a + start, None if stop is None else a + stop, step)


def _of_last(k: int, b: Entry) -> Entry | None:
    """x[-k:][b]: positions from the end, of which there are k, stay."""
    if isinstance(b, At):
        i = _number(b.index)
        return At(i) if i is not None and -k <= i < 0 else None
    start, stop, step = _parts(b)
    if step < 0 or start is None or start >= 0 or (stop is not None and stop >= 0):
        return None
    return _span(max(start, -k), stop, step)


def _of_head(n: int, b: Entry) -> Entry | None:
    """x[:n][b] for n ≥ 0: positions from the front, of which there are n, stay."""
    if isinstance(b, At):
        i = _number(b.index)
        return At(i) if i is not None and 0 <= i < n else None
    start, stop, step = _parts(b)
    if step < 0 or (start is not None and start < 0) or (stop is not None and stop < 0):
        return None
    return _span(start, n if stop is None else min(stop, n), step)


def _of_all_but(k: int, b: Entry) -> Entry | None:
    """x[:-k][b]: positions from the end move back by k."""
    if isinstance(b, At):
        i = _number(b.index)
        return At(i - k) if i is not None and i < 0 else None
    start, stop, step = _parts(b)
    if step < 0 or start is None or start >= 0 or (stop is not None and stop >= 0):
        return None
    return _span(start - k, -k if stop is None else stop - k, step)


def _of_reversed(first: int, s: int, b: Entry) -> Entry | None:
    """x[-1-first::-s][b]: position p is the element 1 + first + s·p from the end."""
    if isinstance(b, At):
        i = _number(b.index)
        if i is not None and i >= 0:
            return At(-1 - first - s * i)
        return At(-1 - i) if i is not None and s == 1 and first == 0 else None
    start, stop, step = _parts(b)
    if step > 0 and (start is None or start >= 0) and (stop is None or stop >= 0):
        last = None if stop is None else -1 - first - s * stop
        return _span(-1 - first - s * (start or 0), last, -s * step)
    if s != 1 or first != 0:
        return None
    if step > 0 and start is not None and start < 0 and stop is None:
        return _span(-1 - start, None, -step)
    if step == -1 and start is None and stop is None:
        return Span()
    return None
