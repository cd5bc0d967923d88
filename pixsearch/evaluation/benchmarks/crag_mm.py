"""CRAG-MM: task 1 (image search), task 2 (image and web search), task 3 (conversations).

ROOT/<split>*.parquet or ROOT/data/<split>*.parquet    the official files
ROOT/image_cache/                                      downloads of images that have an address

The judge compares with the official answer (`scripts/judge.py`); what is done around it is that of
one of the two official scorers, `benchmark.protocol=paper|kit`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image
from tokenizers import Tokenizer

from pixsearch.config import (
    BenchmarkOptions,
    CragMMProtocol,
    EvaluateOptions,
    ForcedFirst,
    QueryType,
    RetrievalSource,
)
from pixsearch.datasets.crag_mm import split_files
from pixsearch.datasets.files import fingerprint
from pixsearch.datasets.questions import AnnotatedQuestion, crag_mm
from pixsearch.evaluation.chosen import ChosenQuestions, unchanged
from pixsearch.evaluation.conversations import conversation_figures, count_turns
from pixsearch.evaluation.crag_mm_official import write_official
from pixsearch.evaluation.gold_boxes import RULES, read_gold_boxes, region_figures
from pixsearch.evaluation.metrics.crag_mm import MAX_ANSWER_TOKENS, UNKNOWN_TESTS, cut_answer
from pixsearch.evaluation.question_benchmark import (
    JudgeRules,
    QuestionBenchmark,
    SearchTotal,
    as_counted,
    as_it_is,
)
from pixsearch.retrieval.manifest import file_sha256

VERSION = 2
PROMPT_VERSION = "question-1"

EXCLUDED_SESSIONS = frozenset(
    ("04d98259-27af-41b1-a7be-5798fd1b8e95", "695b4b5c-7c65-4f7b-8968-50fe10482a16")
)
"""Left out by the official loader too."""

OFFICIAL_TOKENIZER = "79e3e522635f3171300913bb421464a87de6222182a0570b9b2ccba2a964b2b4"
"""SHA-256 of Llama-3.2-1B-Instruct's tokenizer.json."""

UNCUT = "none"  # in place of a tokenizer: answers stay as long as they are

EGOCENTRIC_SIZE = (960, 1280)  # width and height to which the official loader squashes

SCORERS = {
    CragMMProtocol.paper: "the paper's repository (facebookresearch/CRAG-MM)",
    CragMMProtocol.kit: "the KDD Cup's starter kit",
}
UNKNOWN_RULES = {
    CragMMProtocol.paper: "'i dont know' or 'i do not know' in the answer's a-z0-9 and spaces",
    CragMMProtocol.kit: '"i don\'t know" in the answer in lower case, straight apostrophe alone',
}
TURNS_AFTER_TWO_FAILURES = {
    CragMMProtocol.paper: "count as missing in the conversation score alone",
    CragMMProtocol.kit: "count as missing everywhere",
}


@dataclass(frozen=True, kw_only=True)
class _Task:
    """
    Attributes:
        number: the official one.
        allows_text: whether the web may be searched.
    """

    name: str
    number: int
    allows_text: bool = True
    has_conversations: bool = False

    def describe(self) -> str:
        searches = "image and web search" if self.allows_text else "image search alone"
        return f"{self.number}: {searches}"


@dataclass(frozen=True, kw_only=True)
class _Cutting:
    """How answers are cut; `described` is for people, `version` for the answers' identity."""

    cut: Callable[[str], str]
    described: str
    version: str


def load_single(options: BenchmarkOptions) -> QuestionBenchmark:
    """Single-turn, task 2: the paper's table 1."""
    return _load(options, _Task(name="crag_mm_single", number=2))


def load_single_image(options: BenchmarkOptions) -> QuestionBenchmark:
    """Single-turn, task 1: images and regions may be searched with, words may not."""
    return _load(options, _Task(name="crag_mm_single_image", number=1, allows_text=False))


def load_multi(options: BenchmarkOptions) -> QuestionBenchmark:
    """Multi-turn, task 3."""
    return _load(options, _Task(name="crag_mm_multi", number=3, has_conversations=True))


def _load(options: BenchmarkOptions, task: _Task) -> QuestionBenchmark:
    """
    Raises:
        ValueError: a file is missing or broken.
    """
    root, protocol = Path(options.root), CragMMProtocol(options.protocol)
    cutting = _cutting(options.tokenizer)
    every = crag_mm.load(root, options.split)
    kept = [
        place
        for place, question in enumerate(every)
        if question.session_id not in EXCLUDED_SESSIONS
    ]
    change = _squashed if options.squash_egocentric else unchanged
    return QuestionBenchmark(
        name=task.name,
        version=VERSION,
        split=options.split,
        fingerprint=fingerprint(split_files(root, options.split)),
        questions=ChosenQuestions(every, kept[: options.limit], change),
        prompt=lambda question: question.question,
        prompt_version=PROMPT_VERSION,
        is_judged=True,
        rules=_rules(task, protocol),
        cut=cutting.cut,
        preparation=f"{cutting.version}, {_image_rule(options)}",
        groups=GROUPS,
        search_totals=_search_totals(options),
        check=partial(_check, task=task),
        write_official=partial(write_official, has_scores=protocol is CragMMProtocol.paper),
        protocol=_protocol(task, protocol, options, cutting, num_excluded=len(every) - len(kept)),
    )


def is_egocentric(question: AnnotatedQuestion) -> bool:
    return ("is_egocentric", "true") in question.labels


GROUPS: Mapping[str, Callable[[AnnotatedQuestion], bool]] = {
    "overall": lambda question: True,
    "egocentric": is_egocentric,
    "non_egocentric": lambda question: not is_egocentric(question),
}


def _squashed(question: AnnotatedQuestion) -> AnnotatedQuestion:
    """With an egocentric image as the official loader shows it, whatever its aspect."""
    if not is_egocentric(question) or question.load_image is None:
        return question
    return replace(question, load_image=partial(_load_squashed, question.load_image))


def _load_squashed(load_image: Callable[[], Image.Image]) -> Image.Image:
    return load_image().resize(EGOCENTRIC_SIZE)


def _rules(task: _Task, protocol: CragMMProtocol) -> JudgeRules:
    talks = task.has_conversations
    return JudgeRules(
        name=protocol.value,
        says_unknown=UNKNOWN_TESTS[protocol],
        count=partial(count_turns, protocol=protocol) if talks else as_counted,
        totals={"conversations": conversation_figures} if talks else {},
    )


def _cutting(path: str) -> _Cutting:
    """By the tokenizer of a file, or not at all.

    Raises:
        ValueError: there is no such file, or neither is asked for.
    """
    if path == UNCUT:
        return _Cutting(
            cut=as_it_is,
            described=f"not cut to {MAX_ANSWER_TOKENS} tokens, which the official ones are",
            version="uncut",
        )
    if not Path(path).is_file():
        raise ValueError(
            f"benchmark.tokenizer={path}: there is no such file, and answers are to be cut to "
            f"{MAX_ANSWER_TOKENS} tokens; fetch Llama-3.2's (python scripts/download.py "
            f"what=llama_3_2_tokenizer run=true), or set benchmark.tokenizer={UNCUT}"
        )
    found = file_sha256(Path(path))
    whose = "the official one" if found == OFFICIAL_TOKENIZER else "NOT the official one"
    return _Cutting(
        cut=partial(cut_answer, tokenizer=Tokenizer.from_file(path)),
        described=f"cut to {MAX_ANSWER_TOKENS} tokens by {path} ({whose})",
        version=f"cut by {found[:12]}",
    )


def _image_rule(options: BenchmarkOptions) -> str:
    width, height = EGOCENTRIC_SIZE
    return f"egocentric {width}x{height}" if options.squash_egocentric else "images as they are"


def _search_totals(options: BenchmarkOptions) -> Mapping[str, SearchTotal]:
    if not options.gold_boxes:
        return {}
    boxes = read_gold_boxes(Path(options.gold_boxes))
    return {"gold_regions": partial(region_figures, boxes=boxes)}


def _check(options: EvaluateOptions, *, task: _Task) -> None:
    """See that the policy is one of the task, and the indexes are those of the split.

    Raises:
        ValueError: they are not.
    """
    policy = options.policy
    by_words = QueryType.text in policy.allow and policy.max_searches > 0
    if not task.allows_text and (by_words or policy.forced_first is ForcedFirst.text_query):
        raise ValueError(
            f"policy={policy.name}: {task.name} (task {task.number}) allows no search by words; "
            "choose policy=no_text, only_image, only_region, whole_image or no_search"
        )
    retrieval = options.retrieval
    if retrieval.source is not RetrievalSource.crag_mm:
        return
    for index in (retrieval.crag_mm.image_index, retrieval.crag_mm.web_index):
        other = _OTHER_SPLIT.get(options.benchmark.split)
        if index is not None and other is not None and other in index.replace("_", "-"):
            raise ValueError(
                f"retrieval.crag_mm: {index} belongs to another split than "
                f"benchmark.split={options.benchmark.split}; set retrieval=crag_mm for public_test "
                "and retrieval=crag_mm_validation for validation"
            )


_OTHER_SPLIT = {"validation": "public-test", "public_test": "validation"}


def _protocol(
    task: _Task,
    protocol: CragMMProtocol,
    options: BenchmarkOptions,
    cutting: _Cutting,
    *,
    num_excluded: int,
) -> dict[str, Any]:
    said = {
        "task": task.describe(),
        "scorer": f"{protocol.value}: {SCORERS[protocol]}",
        "unknown_test": UNKNOWN_RULES[protocol],
        "truthfulness": "accuracy - hallucination; unscored answers stay in the denominator",
        "answers": cutting.described,
        "images": f"{_image_rule(options)}; egocentric is what has no address",
        "left_out": f"{num_excluded} questions of sessions that the official loader leaves out",
    }
    if options.gold_boxes:
        path = Path(options.gold_boxes)
        said["gold_regions"] = f"{path.name} (SHA-256 {file_sha256(path)}). {RULES}"
    if not task.has_conversations:
        return said
    return said | {
        "history": "the model's own answers, cut; \"I don't know.\" for an empty or failed one",
        "turns_after_two_failures": TURNS_AFTER_TWO_FAILURES[protocol],
        "conversation_score": "mean over conversations of accuracy - hallucination; the paper's "
        "truthfulness of task 3",
    }
