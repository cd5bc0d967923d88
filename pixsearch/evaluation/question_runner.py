"""Runs a benchmark of annotated questions, each process its share of the conversations."""

import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

from pixsearch.chat import Message, Role, Text
from pixsearch.config import Control, EvaluateOptions, PolicyOptions
from pixsearch.datasets.questions import AnnotatedQuestion
from pixsearch.evaluation.answering import ChunkLimits, answers, in_chunks_of_images
from pixsearch.evaluation.checkpoints import warn_of_another
from pixsearch.evaluation.detected_regions import detector_of, policy_identity, with_region
from pixsearch.evaluation.parted_lines import PartedLines
from pixsearch.evaluation.prediction import Prediction, failed_prediction, question_prediction
from pixsearch.evaluation.processes import Place, preparing
from pixsearch.evaluation.protocol_card import protocol_card
from pixsearch.evaluation.question_benchmark import QuestionBenchmark
from pixsearch.evaluation.question_results import write_question_results
from pixsearch.evaluation.saved_answers import PREDICTIONS
from pixsearch.evaluation.workbench import Workbench, run_identity
from pixsearch.generation.answering import AnyEngine
from pixsearch.generation.events import Finished
from pixsearch.generation.opening import open_engine
from pixsearch.generation.records import Request
from pixsearch.queries import search_under
from pixsearch.trajectories.grounder import PhraseGrounder

logger = logging.getLogger(__name__)

BATCHES_PER_CHUNK = 8  # engine batches of questions that are put to it in one call
NO_ANSWER = "I don't know."  # stands in a conversation for an empty or failed answer


def run_questions(
    options: EvaluateOptions,
    benchmark: QuestionBenchmark,
    open_workbench: Callable[[], Workbench],
    place: Place,
) -> dict[str, Any] | None:
    """Answer this process's share, and score everything if all answers are there.

    Returns:
        The results; None where other processes are still at work or a judge has yet to be asked.
    """
    output_dir = Path(options.output_dir)
    if options.score == "after":
        _refuse_control(options.policy)
        benchmark.check(options)
        store = _generate(options, benchmark, open_workbench(), place)
        with preparing(output_dir):
            if store.is_short_of(benchmark.by_id):
                return None
            return _score(options, benchmark)
    with preparing(output_dir):
        return _score(options, benchmark)


def _refuse_control(policy: PolicyOptions) -> None:
    """See that a policy is no control experiment, which needs gold regions.

    Raises:
        ValueError: it is.
    """
    if policy.control is not Control.none:
        raise ValueError(
            f"policy.control={policy.control}: only the miniature knows the gold that control "
            "experiments need; set benchmark=miniature or another policy"
        )


def _score(options: EvaluateOptions, benchmark: QuestionBenchmark) -> dict[str, Any] | None:
    output_dir = Path(options.output_dir)
    results = write_question_results(
        output_dir, benchmark, span=options.answer, official_missing=options.official_missing
    )
    only = options.policy.name if options.score == "after" else None
    if only is not None and only not in results["policies"]:  # its answers are not judged yet
        return None
    if not results["policies"]:
        raise ValueError(
            f"{output_dir}: no answers have been judged; run scripts/judge.py with the same options"
        )
    logger.info("%s\n%s", output_dir, protocol_card(results, only=only))
    return results


def _generate(
    options: EvaluateOptions, benchmark: QuestionBenchmark, workbench: Workbench, place: Place
) -> PartedLines:
    """Answer what is not answered yet of this process's share."""
    share = place.share(benchmark.sessions)
    output_dir = Path(options.output_dir)
    with preparing(output_dir):
        run = run_identity(options, benchmark, workbench)
        warn_of_another(output_dir / PREDICTIONS, options.checkpoint, run)
        store = PartedLines(
            output_dir / PREDICTIONS / f"{options.policy.name}.jsonl",
            place,
            id_field="interaction_id",
            manifest={"run": run, **policy_identity(options.policy)},
        )
        conversations = _open_conversations(
            benchmark, share, store, retry_failed=options.retry_failed
        )
    num_left = sum(len(one.left) for one in conversations)
    if not num_left:
        logger.info("%s: all answers of this process are there", store.path)
        return store
    engine = open_engine(
        workbench.model,
        search_under(options.policy, workbench.searcher),
        options.policy,
        options.generation,
        feature_cache=workbench.features,
    )
    with tqdm(total=num_left, desc=options.policy.name, disable=place.rank > 0) as progress:
        asking = _Asking(
            benchmark=benchmark,
            detector=detector_of(options.policy),
            engine=engine,
            store=store,
            progress=progress,
        )
        limits = ChunkLimits(requests=BATCHES_PER_CHUNK * options.generation.batch_size)
        asking.ask_all(conversations, limits)
    return store


@dataclass(kw_only=True, eq=False)
class _Conversation:
    """
    Attributes:
        left: places of the turns that are not answered yet, in order.
        history: what was said before them.
    """

    left: deque[int]
    history: list[Message] = field(default_factory=list)

    def take_turn(self, asked: str, answer: str) -> None:
        """Go on to the next turn."""
        self.left.popleft()
        said = ((Role.USER, asked), (Role.ASSISTANT, answer.strip() or NO_ANSWER))
        self.history += [Message(role=role, parts=(Text(text=text),)) for role, text in said]


class _Said(NamedTuple):
    answer: str
    failed: str | None


def _open_conversations(
    benchmark: QuestionBenchmark,
    share: Sequence[Sequence[int]],
    store: PartedLines,
    *,
    retry_failed: bool,
) -> list[_Conversation]:
    """The conversations that are not finished, with what was said so far in each.

    An answer behind one that is to be given anew is taken out of the store: its history changes.
    """
    ids = list(benchmark.by_id)
    known = {_id(line): _Said(line["answer"], line["failed"]) for line in store.lines()}

    def is_kept(place: int) -> bool:
        said = known.get(ids[place])
        return said is not None and not (retry_failed and said.failed is not None)

    num_kept = [_num_leading(is_kept, places) for places in share]
    stale = {
        ids[place]
        for places, kept in zip(share, num_kept, strict=True)
        for place in places[kept:]
        if ids[place] in known
    }
    if stale:
        store.drop(lambda line: _id(line) in stale)
    unfinished = []
    for places, kept in zip(share, num_kept, strict=True):
        if kept < len(places):
            conversation = _Conversation(left=deque(places))
            for place in places[:kept]:
                asked = benchmark.prompt(benchmark.questions[place])
                conversation.take_turn(asked, known[ids[place]].answer)
            unfinished.append(conversation)
    return unfinished


def _num_leading(is_kept: Callable[[int], bool], places: Sequence[int]) -> int:
    """How many of the first places are kept before one is not."""
    return next((index for index, place in enumerate(places) if not is_kept(place)), len(places))


@dataclass(kw_only=True, eq=False)
class _Asking:
    """Puts turns to an engine and saves what comes back."""

    benchmark: QuestionBenchmark
    detector: PhraseGrounder | None
    engine: AnyEngine
    store: PartedLines
    progress: tqdm

    def ask_all(self, conversations: Sequence[_Conversation], limits: ChunkLimits) -> None:
        """The next turn of every conversation, until none has one."""
        left = list(conversations)
        while left:
            open_turns: dict[str, tuple[AnnotatedQuestion, _Conversation]] = {}
            for chunk in in_chunks_of_images(self._requests(left, open_turns), limits):
                for finished in answers(self.engine, chunk):
                    question, conversation = open_turns.pop(finished.request_id)
                    self._save(question, conversation, self._prediction(question, finished))
            assert not open_turns, f"the engine has lost {sorted(open_turns)}"
            left = [conversation for conversation in left if conversation.left]

    def _requests(
        self,
        conversations: Sequence[_Conversation],
        open_turns: dict[str, tuple[AnnotatedQuestion, _Conversation]],
    ) -> Iterator[Request]:
        """The next turn of each, its image loaded; one whose image is no image has failed."""
        for conversation in conversations:
            question = self.benchmark.questions[conversation.left[0]]
            try:
                image = question.load_image() if question.load_image else None
            except (ValueError, OSError) as error:
                self._save(question, conversation, _failed(question, str(error)))
                continue
            open_turns[question.id] = (question, conversation)
            request = Request(
                id=question.id,
                question=self.benchmark.prompt(question),
                image=image,
                image_id=question.image_id,
                search_question=question.question,
                history=tuple(conversation.history),
            )
            yield with_region(request, self.detector)

    def _prediction(self, question: AnnotatedQuestion, finished: Finished) -> Prediction:
        if finished.trajectory is None:
            assert finished.failure is not None
            return _failed(question, finished.failure.reason)
        return question_prediction(question, finished.trajectory, cut=self.benchmark.cut)

    def _save(
        self, question: AnnotatedQuestion, conversation: _Conversation, prediction: Prediction
    ) -> None:
        if prediction.failed is not None:
            logger.warning("%s: no answer: %s", question.id, prediction.failed)
        self.store.append(prediction.to_json())
        conversation.take_turn(self.benchmark.prompt(question), prediction.answer)
        self.progress.update()


def _failed(question: AnnotatedQuestion, reason: str) -> Prediction:
    return failed_prediction(
        question.id,
        reason,
        question=question.question,
        image_id=question.image_id,
        gold=next(iter(question.answers), ""),
    )


def _id(line: dict[str, Any]) -> str:
    return line["interaction_id"]
