"""Referring expressions: words that name exactly one entity of a scene."""

from collections.abc import Callable, Collection, Sequence

import numpy as np

from pixsearch.miniature.appearance import Appearance
from pixsearch.miniature.scenes import Placed

_APART = 40  # pixels by which two centres must differ before left and right can be told


def expressions(scene: Sequence[Placed], target: int) -> dict[str, str]:
    """For each way of naming that is unambiguous here, the expression.

    Keys are "colour_kind", "kind", "colour", "side", "extreme" and "relation".
    """
    found: dict[str, str] = {}
    look = scene[target].appearance
    for style, words, fits in _descriptions(scene[target]):
        if _matches(scene, fits) == [target]:
            found[style] = words
    same_pair = _matches(
        scene, lambda p: (p.appearance.kind, p.appearance.colour) == (look.kind, look.colour)
    )
    same_kind = _matches(scene, lambda p: p.appearance.kind == look.kind)
    for group, noun in ((same_pair, f"{look.colour} {look.kind}"), (same_kind, look.kind)):
        if "side" not in found and (side := _side(scene, group, target)):
            found["side"] = f"the {noun} on the {side}"
    if (side := _extreme(scene, target)) is not None:
        found["extreme"] = f"the object on the far {side}"
    if len(same_kind) > 1 and (words := _relation(scene, same_kind, target)) is not None:
        found["relation"] = words
    return found


def indefinite(colour: str, kind: str) -> str:
    """A thing that is not pointed at.

    >>> indefinite("orange", "boat")
    'an orange boat'
    """
    return f"{'an' if colour[0] in 'aeiou' else 'a'} {colour} {kind}"


def as_seen(words: str, look: Appearance) -> str:
    """The expression with the colour and the kind of what it points at.

    >>> from pixsearch.miniature.appearance import Appearance
    >>> look = Appearance(
    ...     kind="boat", silhouette=0, colour="red", trim="blue", emblem="disc", ink="white"
    ... )
    >>> as_seen("the object on the far left", look)
    'the red boat on the far left'
    """
    seen = f"the {look.colour} {look.kind}"
    heads = (seen, f"the {look.colour} object", f"the {look.kind}", "the object")
    head = next(head for head in heads if words.startswith(head))
    return seen + words.removeprefix(head)


def choose_expression(
    generator: np.random.Generator,
    scene: Sequence[Placed],
    target: int,
    *,
    favoured: Collection[str] = (),
) -> str | None:
    """One of the unambiguous expressions at random; None if there is none.

    Args:
        favoured: keys of `expressions` that are chosen if there are any.
    """
    found = expressions(scene, target)
    choices = [found[style] for style in favoured if style in found] or list(found.values())
    return choices[int(generator.integers(len(choices)))] if choices else None


def _descriptions(member: Placed) -> list[tuple[str, str, Callable[[Placed], bool]]]:
    look = member.appearance
    return [
        (
            "colour_kind",
            f"the {look.colour} {look.kind}",
            lambda p: (p.appearance.kind, p.appearance.colour) == (look.kind, look.colour),
        ),
        ("kind", f"the {look.kind}", lambda p: p.appearance.kind == look.kind),
        ("colour", f"the {look.colour} object", lambda p: p.appearance.colour == look.colour),
    ]


def _matches(scene: Sequence[Placed], fits: Callable[[Placed], bool]) -> list[int]:
    return [index for index, member in enumerate(scene) if fits(member)]


def _side(scene: Sequence[Placed], group: list[int], target: int) -> str | None:
    """Left or right of a pair whose centres are well apart."""
    if len(group) != 2:
        return None
    other = group[0] if group[1] == target else group[1]
    distance = scene[target].centre[0] - scene[other].centre[0]
    if abs(distance) < _APART:
        return None
    return "left" if distance < 0 else "right"


def _extreme(scene: Sequence[Placed], target: int) -> str | None:
    if len(scene) < 3:
        return None
    places = np.array([member.centre[0] for member in scene])
    others = np.delete(places, target)
    if places[target] + _APART < others.min():
        return "left"
    if places[target] - _APART > others.max():
        return "right"
    return None


def _relation(scene: Sequence[Placed], same_kind: list[int], target: int) -> str | None:
    """ "the boat to the left of the red tower", where only one boat is on that side of it."""
    for anchor, member in enumerate(scene):
        look = member.appearance
        unique = _matches(
            scene,
            lambda p, look=look: (
                (p.appearance.kind, p.appearance.colour) == (look.kind, look.colour)
            ),
        ) == [anchor]
        if anchor in same_kind or not unique:
            continue
        distances = {index: scene[index].centre[0] - member.centre[0] for index in same_kind}
        if any(abs(distance) < _APART for distance in distances.values()):
            continue
        left = [index for index, distance in distances.items() if distance < 0]
        right = [index for index, distance in distances.items() if distance > 0]
        for group, side in ((left, "left"), (right, "right")):
            if group == [target]:
                return (
                    f"the {scene[target].appearance.kind} to the {side} of "
                    f"the {look.colour} {look.kind}"
                )
    return None
