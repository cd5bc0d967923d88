"""Options as command-line overrides, so that one script can pass them on to another."""

import re
from collections.abc import Collection, Iterator
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

PLAIN = re.compile(r"[A-Za-z_/.][\w/.-]*")  # what Hydra's grammar reads as one string unquoted
RESERVED = ("null", "true", "false", "nan", "inf")


def to_overrides(name: str, options: Any, *, but: Collection[str] = ()) -> list[str]:
    """One `name.field=value` for each leaf of an options object.

    Args:
        but: fields of the top level that are left out.

    >>> from pixsearch.config import PathOptions
    >>> to_overrides("paths", PathOptions(data="my data"), but=["outputs", "miniature"])
    ["paths.data='my data'", 'paths.foundation=assets/miniature']
    """
    kept = [field.name for field in fields(options) if field.name not in but]
    return [line for field in kept for line in _leaves(f"{name}.{field}", getattr(options, field))]


def override(key: str, value: Any) -> str:
    """One value.

    >>> override("checkpoint", "my models/final")
    "checkpoint='my models/final'"
    """
    return f"{key}={_written(value)}"


def _leaves(key: str, value: Any) -> Iterator[str]:
    if is_dataclass(value):
        yield from to_overrides(key, value)
    elif isinstance(value, dict):  # its keys may be new to the other script: `++` adds or replaces
        for inner, item in value.items():
            yield from _leaves(f"++{key.removeprefix('++')}.{inner}", item)
    else:
        yield override(key, value)


def _written(value: Any) -> str:
    """The value in Hydra's override grammar."""
    if isinstance(value, list | tuple):
        return "[" + ",".join(_written(item) for item in value) + "]"
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    text = str(value.value if isinstance(value, Enum) else value)
    is_plain = not isinstance(value, str) or PLAIN.fullmatch(text)
    if is_plain and text.lower() not in RESERVED:
        return text
    # Hydra reads a backslash as an escape before a quote alone, the closing one included
    escaped = re.sub(r"\\+(?='|$)", lambda slashes: slashes[0] * 2, text).replace("'", "\\'")
    return f"'{escaped}'"
