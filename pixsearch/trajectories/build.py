"""Builds stage-2 data: select, decompose, respond, choose, assign, ground, retrieve, write."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pixsearch.config import (
    BuildStage,
    BuildTrajectoriesOptions,
    Grounder,
    TeacherKind,
    TeacherOptions,
    to_dict,
)
from pixsearch.datasets.files import fingerprint
from pixsearch.datasets.questions import QuestionReader
from pixsearch.endpoint.answers import AnswerCache
from pixsearch.endpoint.chat import ChatEndpoint, file_name
from pixsearch.endpoint.request import Chat
from pixsearch.endpoint.spending import Usage
from pixsearch.line_store import one_writer, write_json
from pixsearch.queries import search_under
from pixsearch.retrieval.opening import close_searcher, open_searcher
from pixsearch.trajectories.counts import Counts
from pixsearch.trajectories.estimate import as_table, estimate
from pixsearch.trajectories.grounding import GivenMasks, GroundedMasks, MaskSource
from pixsearch.trajectories.held_out import HeldOut, Unblocked, blocked_questions
from pixsearch.trajectories.running import run_stages
from pixsearch.trajectories.sources import Questions, check_training_splits
from pixsearch.trajectories.teacher.prompts import read_prompts
from pixsearch.trajectories.tools import Tools
from pixsearch.trajectories.writing import write

logger = logging.getLogger(__name__)

REPORT = "report.json"
_OF_A_MODEL = (".json", ".safetensors")
ANSWERS = "answers"  # folder of what the teacher answered
OF_TEACHER = (
    "kind",
    "url",
    "model",
    "temperature",
    "answer_format",
    "answer_tokens",
    "answer_tokens_field",
    "corrections",
    "image_side",
)
"""Options that decide what a teacher answers."""


@dataclass(frozen=True, kw_only=True)
class OwnParts:
    """What a world brings along in place of data sets, endpoint and grounder."""

    readers: Mapping[str, QuestionReader]
    teacher: Chat
    masks: MaskSource


def build_trajectories(options: BuildTrajectoriesOptions, own: OwnParts | None = None) -> Counts:
    """Build a folder of trajectories; a run that was ended at any moment goes on.

    Returns:
        What became of the questions; nothing of a dry run, or of one that ends before `write`.

    Raises:
        ValueError: no sources, one that results are reported on, or what the stages raise.
        EndpointUnavailable, SearchFailed: nobody answers; run again, it goes on.
    """
    if not options.sources:
        raise ValueError("sources is empty: name questions to build from (configs/building/)")
    check_training_splits(options.sources)
    readers = own.readers if own else {}
    questions = Questions(options.sources, readers)
    if options.dry_run:
        _log_estimate(questions, options)
        return Counts()
    with one_writer(Path(options.output_dir)):
        held_out = HeldOut(options.held_out, readers)
        blocked, leaks = blocked_questions(questions, held_out, options)
        with _tools(options, own) as tools:
            done = run_stages(Unblocked(questions, blocked), tools, Path(options.output_dir))
            if options.until is not BuildStage.write:
                return Counts()
            counts = write(questions, done, options, blocked, held_out.phrases())
            counts.leaks += leaks
            _report(counts, tools)
    return counts


@contextmanager
def _tools(options: BuildTrajectoriesOptions, own: OwnParts | None) -> Iterator[Tools]:
    """What the stages of this run need, opened; the teacher's costs are logged at the end."""
    with ExitStack() as stack:
        searcher = None
        if _runs(options, BuildStage.retrieve):
            searcher = open_searcher(options.retrieval)
            stack.callback(close_searcher, searcher)
        prompts, settings = read_prompts(options.teacher.prompts), to_dict(options)
        yield Tools(
            options=options,
            teacher=own.teacher if own else stack.enter_context(_endpoint(options)),
            search=_not_searched if searcher is None else search_under(options.policy, searcher),
            masks=own.masks if own else _open_masks(options),
            prompt_versions={task: prompt.version for task, prompt in prompts.items()},
            settings=settings,
            teacher_identity={name: settings["teacher"][name] for name in OF_TEACHER},
            masks_identity=None if own else _masks_identity(options),
            source_identity={} if searcher is None else searcher.info().to_json(),
        )


@contextmanager
def _endpoint(options: BuildTrajectoriesOptions) -> Iterator[ChatEndpoint]:
    """
    Raises:
        ValueError: the teacher needs a world of its own.
    """
    if options.teacher.kind is not TeacherKind.endpoint:
        raise ValueError(f"teacher.kind={options.teacher.kind} answers for its own world only")
    folder = Path(options.teacher.cache or Path(options.output_dir) / ANSWERS)
    prompts = read_prompts(options.teacher.prompts)
    with one_writer(folder, option="teacher.cache"):
        cache = AnswerCache(folder / f"{file_name(options.teacher.model)}.jsonl")
        teacher = ChatEndpoint(
            options.teacher,
            prompts,
            cache=cache,
            image_side=options.teacher.image_side,
            image_tokens=options.teacher.image_tokens,
            again="retry_quarantined=true",
        )
        try:
            yield teacher
        finally:
            teacher.close()
            logger.info("teacher: %s", describe(teacher, options.teacher))


def describe(teacher: ChatEndpoint, options: TeacherOptions) -> str:
    """What this run has paid for, in words."""
    assert teacher.cache is not None
    paid = teacher.meter.paid
    return (
        f"{paid.requests} answers paid for in this run, {paid.input_tokens:,} tokens in and "
        f"{paid.output_tokens:,} out, cost {paid.cost(options):.4f}; "
        f"{teacher.meter.from_cache} from the cache, which holds {len(teacher.cache)}"
    )


def _open_masks(options: BuildTrajectoriesOptions) -> MaskSource:
    if not _runs(options, BuildStage.ground):
        return GivenMasks({})
    match options.grounder.kind:
        case Grounder.given:
            return GivenMasks.read(Path(options.grounder.masks))
        case Grounder.checkpoint:
            from pixsearch.trajectories.own_masks import CheckpointGrounder

            return GroundedMasks(CheckpointGrounder.open(options.grounder.checkpoint))
    from pixsearch.trajectories.grounding_dino import GroundingDino

    return GroundedMasks(GroundingDino(options.grounder.grounding_dino))


def _masks_identity(options: BuildTrajectoriesOptions) -> str | None:
    """Of the content of the files that masks come from; None of published weights."""
    grounder = options.grounder
    if not _runs(options, BuildStage.ground):
        return None
    match grounder.kind:
        case Grounder.given:
            return fingerprint([Path(grounder.masks)])
        case Grounder.checkpoint:
            files = Path(grounder.checkpoint).glob("*")
            return fingerprint(each for each in files if each.suffix in _OF_A_MODEL)
    return None


def _runs(options: BuildTrajectoriesOptions, stage: BuildStage) -> bool:
    order = list(BuildStage)
    return order.index(stage) <= order.index(options.until)


def _not_searched(queries: Any) -> Any:
    raise AssertionError("no stage of this run searches")


def _log_estimate(questions: Questions, options: BuildTrajectoriesOptions) -> None:
    usage = estimate(questions, options, read_prompts(options.teacher.prompts))
    logger.info("dry run, %d questions: estimated\n%s", len(questions), as_table(usage, options))


def _report(counts: Counts, tools: Tools) -> None:
    """The counts as a table in the log, and with what was paid in report.json."""
    path, options = Path(tools.options.output_dir) / REPORT, tools.options.teacher
    report: dict[str, Any] = {"counts": counts.to_json(), "options": tools.settings}
    teacher = tools.teacher
    if isinstance(teacher, ChatEndpoint):
        assert teacher.cache is not None
        report["teacher"] = {
            "paid_in_this_run": teacher.meter.paid.to_json(options),
            "from_cache_in_this_run": teacher.meter.from_cache,
            "all_in_cache": Usage.of(teacher.cache).to_json(options),
        }
    write_json(path, report)
    logger.info("%s\n%s", path, counts.table())
