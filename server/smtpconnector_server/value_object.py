"""Value objects: made once, then only read, and as cheap to make as any object.

A frozen dataclass calls ``object.__setattr__`` for each of its fields, and a mail makes more than a dozen values. These
are frozen for the type checker, which all of this code has to pass, and not at run time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar, dataclass_transform

if TYPE_CHECKING:
    from collections.abc import Callable

_T = TypeVar("_T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def value_object(*, kw_only: bool = False) -> Callable[[type[_T]], type[_T]]:
    """Make a class of what is created for each mail a dataclass with slots.

    Args:
        kw_only: Whether its fields are given by name only.
    """
    return dataclass(slots=True, kw_only=kw_only)
