"""One kind of surprise for whoever decodes JSON that may be damaged. Both sides; Python >= 3.8."""

from __future__ import annotations

import functools
from typing import Any, Callable, TypeVar

Decode = TypeVar("Decode", bound=Callable[..., Any])

# A list where an object should be has no `get`, or too few items; Infinity is no whole number;
# nesting has no end.
SURPRISES = (AttributeError, IndexError, OverflowError, RecursionError)


def checked(decode: Decode) -> Decode:
    """`decode` raises KeyError, TypeError or ValueError, and nothing else, for whatever JSON it is
    given."""

    @functools.wraps(decode)
    def decoded(*args: Any) -> Any:
        try:
            return decode(*args)
        except SURPRISES as error:
            raise ValueError(f"{type(error).__name__}: {error}") from error

    return decoded  # type: ignore[return-value]
