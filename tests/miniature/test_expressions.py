"""Words that name one entity: read back here by rules of their own, each points at that entity."""

import re
from collections.abc import Sequence

import pytest

from pixsearch.config import MiniatureOptions
from pixsearch.miniature.expressions import expressions
from pixsearch.miniature.planning import plan_world
from pixsearch.miniature.scenes import Placed, Scene

STYLES = ("colour_kind", "kind", "colour", "side", "extreme", "relation")


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    options = MiniatureOptions(seed=5, num_train_scenes=60, num_eval_scenes=40)
    return [scene for split in plan_world(options).splits.values() for scene in split.scenes]


def pointed_at(words: str, scene: Sequence[Placed]) -> list[int]:
    """The places in the scene that an expression can mean."""
    if match := re.fullmatch(r"the (\w+) to the (left|right) of the (\w+ \w+)", words):
        noun, side, anchor = match.groups()
        (origin,) = meant_by(anchor, scene)
        sign = -1 if side == "left" else 1
        x = scene[origin].centre[0]
        return [p for p in meant_by(noun, scene) if sign * (scene[p].centre[0] - x) > 0]
    if match := re.fullmatch(r"the (.+) on the (?:far )?(left|right)", words):
        noun, side = match.groups()
        choose = min if side == "left" else max
        return [choose(meant_by(noun, scene), key=lambda p: scene[p].centre[0])]
    return meant_by(words.removeprefix("the "), scene)


def meant_by(noun: str, scene: Sequence[Placed]) -> list[int]:
    """Places of what a noun with or without a colour fits; "object" fits every kind."""
    *colours, kind = noun.split()
    return [
        place
        for place, member in enumerate(scene)
        if kind in (member.appearance.kind, "object")
        and all(colour == member.appearance.colour for colour in colours)
    ]


def test_every_expression_names_exactly_its_target(scenes: list[Scene]) -> None:
    seen = set()
    for scene in scenes:
        for target in range(len(scene.placed)):
            for style, words in expressions(scene.placed, target).items():
                assert pointed_at(words, scene.placed) == [target], (scene.id, words)
                seen.add(style)
    assert seen == set(STYLES)


def test_left_and_right_are_of_a_pair(scenes: list[Scene]) -> None:
    sides = 0
    for scene in scenes:
        for target in range(len(scene.placed)):
            words = expressions(scene.placed, target).get("side", "")
            if match := re.fullmatch(r"the (.+) on the (?:left|right)", words):
                assert len(meant_by(match[1], scene.placed)) == 2
                sides += 1
    assert sides > 10
