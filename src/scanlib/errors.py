"""The two error channels: what a user did wrong, and what scanlib did wrong."""

from __future__ import annotations


class ScanlibError(Exception):
    """Base of every error scanlib raises on purpose."""


class UserError(ScanlibError):
    """A mistake in a program: names the variable, what was expected, what was got, and the fix."""


class UserTypeError(UserError, TypeError):
    """A wrong dtype, number of dimensions or kind of argument."""


class UserValueError(UserError, ValueError):
    """A wrong shape, length or value."""


class UserIndexError(UserError, IndexError):
    """An index outside the axis it reads."""


class MissingInputError(UserError, TypeError):
    """A graph needs a variable that is neither an input nor has a value."""


class DisconnectedInputError(UserError, ValueError):
    """A gradient was asked for with respect to something the cost does not depend on."""


class GradientNotDefinedError(UserError, NotImplementedError):
    """A gradient passes through an operation that has none."""


class StepError(UserError, RuntimeError):
    """A failure while a compiled function ran: names the scan, the step and the operation."""


class StepValueError(StepError, UserValueError):
    """A wrong shape or value met in a step."""


class StepIndexError(StepError, UserIndexError):
    """An index outside its axis met in a step."""


def step_error(kind: type[UserError]) -> type[StepError]:
    """The error to raise in a step for an error of `kind`, so that both kinds catch it."""
    if issubclass(kind, StepError):
        return kind
    if issubclass(kind, UserIndexError):
        return StepIndexError
    return StepValueError if issubclass(kind, UserValueError) else StepError


class InternalError(ScanlibError, AssertionError):
    """A broken invariant inside scanlib; never the user's fault."""

    def __init__(self, message: str) -> None:
        super().__init__(
            f"scanlib internal error: {message}\nThis is a defect in scanlib, not in your program; please report it."
        )
