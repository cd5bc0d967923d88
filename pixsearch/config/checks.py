"""Checks of values that several options share."""

from collections.abc import Sequence
from typing import Any

from omegaconf import MISSING


def check_at_least(least: int, section: str, options: Any, names: Sequence[str]) -> None:
    """See that numbers are large enough, where they are given.

    Raises:
        ValueError: one is not.
    """
    for name in names:
        value = getattr(options, name)
        if value not in (MISSING, None) and value < least:
            raise ValueError(f"{section}.{name}={value}: at least {least} is needed")


def check_positive(section: str, options: Any, names: Sequence[str]) -> None:
    """See that numbers are above 0, where they are given.

    Raises:
        ValueError: one is not.
    """
    for name in names:
        value = getattr(options, name)
        if value is not None and value <= 0:
            raise ValueError(f"{section}.{name}={value}: more than 0 is needed")
