"""Checks an answer against its JSON schema: the part of the language that our schemas use.

That is `type` (one or a list), `enum`, `properties` with `required` and `additionalProperties:
false`, and `items`: what servers with strict answers take, too.
"""

from collections.abc import Sequence
from typing import Any

_KINDS: dict[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "integer": int,
    "null": type(None),
}


def record(**properties: dict[str, Any]) -> dict[str, Any]:
    """The schema of an object with exactly these fields."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def sequence(items: dict[str, Any]) -> dict[str, Any]:
    """The schema of a list."""
    return {"type": "array", "items": items}


def choice(values: Sequence[str]) -> dict[str, Any]:
    """The schema of one of several words."""
    return {"type": "string", "enum": [str(value) for value in values]}


TEXT = {"type": "string"}
TEXT_OR_NULL = {"type": ["string", "null"]}
NUMBER = {"type": "integer"}
YES_OR_NO = {"type": "boolean"}


def check(value: Any, schema: dict[str, Any], where: str = "the answer") -> None:
    """See that a parsed value is what the schema says.

    >>> check({"chosen": 2}, record(chosen=NUMBER))
    >>> check({"chosen": "2"}, record(chosen=NUMBER))
    Traceback (most recent call last):
    ValueError: the answer.chosen is a string, not integer

    Raises:
        ValueError: it is not; names the place in the value.
    """
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    if not any(_is_of(value, kind) for kind in kinds):
        raise ValueError(f"{where} is {_kind_of(value)}, not {' or '.join(kinds)}")
    if value not in schema.get("enum", [value]):
        raise ValueError(f"{where} is {value!r}, not one of {', '.join(schema['enum'])}")
    if isinstance(value, dict):
        _check_fields(value, schema, where)
    if isinstance(value, list):
        for number, item in enumerate(value, start=1):
            check(item, schema["items"], f"{where}[{number}]")


def _check_fields(value: dict[str, Any], schema: dict[str, Any], where: str) -> None:
    fields = schema["properties"]
    if missing := [name for name in fields if name not in value]:
        raise ValueError(f"{where} lacks {', '.join(missing)}")
    if unknown := [name for name in value if name not in fields]:
        raise ValueError(f"{where} has {', '.join(unknown)}, of which nothing is known")
    for name, field in fields.items():
        check(value[name], field, f"{where}.{name}")


def _is_of(value: Any, kind: str) -> bool:
    is_number_by_name = kind == "integer" and isinstance(value, bool)  # True is an int in Python
    return isinstance(value, _KINDS[kind]) and not is_number_by_name


def _kind_of(value: Any) -> str:
    for kind in _KINDS:
        if _is_of(value, kind):
            return f"{'an' if kind[0] in 'aio' else 'a'} {kind}"
    return f"a {type(value).__name__}"
