"""CRAG-MM, single and multi-turn: every turn a question, with what was said before it.

Layout as in pixsearch/datasets/crag_mm.py. `validation` is what may be trained on, `public_test` is
what results are reported on (pixsearch/datasets/splits.py).
"""

from collections.abc import Iterator
from functools import partial
from itertools import groupby
from pathlib import Path

from pixsearch.datasets.crag_mm import LABELS, CragMMTurn, load_turns
from pixsearch.datasets.questions.question import AnnotatedQuestion
from pixsearch.datasets.questions.records import LazyQuestions, repeated_ids

History = tuple[tuple[str, str], ...]


def load(root: Path, split: str) -> LazyQuestions:
    """One question per turn, in the files' order.

    A blank answer, of which the official data have one, is none. The label `is_egocentric` is
    `true` or `false`; there is no such column, see `CragMMTurn`.

    Args:
        split: validation or public_test.

    Raises:
        ValueError: as `load_turns`.
    """
    turns = list(_with_history(load_turns(root, split)))
    return LazyQuestions(
        turns,
        _question,
        where=partial(_turn, root, split),
        repeated=repeated_ids(turn.interaction_id for turn, _ in turns),
    )


def _with_history(turns: list[CragMMTurn]) -> Iterator[tuple[CragMMTurn, History]]:
    for _, session in groupby(turns, key=lambda turn: turn.session_id):
        history: History = ()
        for turn in session:
            yield turn, history
            history = (*history, (turn.question, turn.answer))


def _question(record: tuple[CragMMTurn, History], where: str) -> AnnotatedQuestion:
    turn, history = record
    named = [(label, getattr(turn, label)) for label in LABELS]
    egocentric = "true" if turn.is_egocentric else "false"
    embedded = turn.image_id is not None and turn.image_id.endswith(f"#{turn.session_id}")
    return AnnotatedQuestion(
        id=turn.interaction_id,
        question=turn.question,
        answers=(turn.answer,) if turn.answer.strip() else (),
        image_id=turn.image_id,
        load_image=turn.load_image,
        image_file=None if embedded else turn.image_id,
        history=history,
        session_id=turn.session_id,
        labels=(
            *((label, name) for label, name in named if name is not None),
            ("is_egocentric", egocentric),
        ),
    )


def _turn(root: Path, split: str, row: int) -> str:
    return f"{root}: {split}, turn {row}"
