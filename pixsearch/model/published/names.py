"""Published tensor names -> ours, by rules that each published family brings."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pixsearch.model.published.read import Tensors

Rule = tuple[str, str]
"""A regular expression that matches a whole name, and what becomes of it."""


@dataclass(kw_only=True)
class Renamed:
    """Tensors under our names, and what was left out.

    Attributes:
        dropped: reason -> the names that it holds for.
    """

    tensors: Tensors = field(default_factory=dict)
    dropped: dict[str, list[str]] = field(default_factory=dict)


def rename(
    tensors: Tensors, *, rules: Iterable[Rule], dropped: Mapping[str, str], family: str
) -> Renamed:
    """Bring a published checkpoint's tensors under our names.

    Args:
        dropped: pattern of names that are not used -> the reason.
        family: for the message.

    Raises:
        ValueError: there is a name that nobody has told of; lists them all.
    """
    renamed, unknown = Renamed(), []
    for name, tensor in tensors.items():
        reason = next((why for what, why in dropped.items() if re.fullmatch(what, name)), None)
        ours = our_name(name, rules)
        if reason is not None:
            renamed.dropped.setdefault(reason, []).append(name)
        elif ours is not None:
            renamed.tensors[ours] = tensor
        else:
            unknown.append(name)
    if unknown:
        raise ValueError(
            f"{len(unknown)} tensors have names that no published checkpoint of {family} has: "
            f"{', '.join(sorted(unknown))}"
        )
    return renamed


def our_name(name: str, rules: Iterable[Rule]) -> str | None:
    """What a published tensor is called here, by the first rule that matches; None if none does.

    >>> our_name("mlp1.1.bias", [(r"mlp1\\.1\\.(\\w+)", r"projector.linear_1.\\1")])
    'projector.linear_1.bias'
    """
    for pattern, replacement in rules:
        found = re.fullmatch(pattern, name)
        if found:
            return found.expand(replacement)
    return None


def under(rules: Iterable[Rule], *, theirs: str, ours: str) -> tuple[Rule, ...]:
    """Rules for the parts of a module, as rules for the model that holds it.

    Args:
        theirs: pattern of the prefix that it has there, without groups that count.
        ours: the prefix that it has here.
    """
    return tuple((theirs + pattern, ours + replacement) for pattern, replacement in rules)
