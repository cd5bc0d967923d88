"""Some of a benchmark's questions, still built when asked for."""

from collections.abc import Callable, Sequence

from pixsearch.datasets.questions import AnnotatedQuestion


def unchanged(question: AnnotatedQuestion) -> AnnotatedQuestion:
    return question


class ChosenQuestions(Sequence):
    """The questions at some places, each changed by a function.

    The base is a bare `Sequence`, as that of `LazyQuestions` is.
    """

    def __init__(
        self,
        questions: Sequence,
        places: Sequence[int],
        change: Callable[[AnnotatedQuestion], AnnotatedQuestion] = unchanged,
    ) -> None:
        self._questions = questions
        self._places = places
        self._change = change

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> AnnotatedQuestion:  # type: ignore[override]
        return self._change(self._questions[self._places[index]])
