"""CRAG-MM in tiny numbers, a tiny model and index to answer it with, and a judge by rule."""

import os
import traceback
from collections.abc import Callable, Mapping
from dataclasses import replace
from io import BytesIO
from pathlib import Path

from PIL import Image

from pixsearch.config import (
    BenchmarkOptions,
    EncoderOptions,
    EvaluateOptions,
    GenerationOptions,
    PolicyOptions,
    RetrievalOptions,
)
from pixsearch.datasets.crag_mm import CragMMQuestion
from pixsearch.datasets.crag_mm_writer import CragMMSession, write_crag_mm
from pixsearch.evaluation import Workbench, evaluate
from pixsearch.evaluation.metrics.crag_mm import is_exact
from pixsearch.evaluation.parted_lines import manifest_of_parts
from pixsearch.evaluation.question_benchmark import QuestionBenchmark
from pixsearch.evaluation.saved_answers import PREDICTIONS, PolicyAnswers, read_answers
from pixsearch.evaluation.verdicts import (
    EXACT,
    UNKNOWN,
    JudgedAnswer,
    JudgeVerdict,
    answer_key,
    verdicts_manifest,
    verdicts_path,
)
from pixsearch.line_store import LineStore
from pixsearch.retrieval.build import build_indexes
from pixsearch.retrieval.convert_clip import convert_clip
from tests.retrieval.conftest import tiny_clip, write_world
from tests.tiny import tiny_model_folder

SIDE = 32
NO_SEARCH = PolicyOptions(name="no_search", allow=[], max_searches=0)
CHEAP = GenerationOptions(max_new_tokens=6, answer_tokens=2, batch_size=4)


def picture() -> bytes:
    buffer = BytesIO()
    Image.new("RGB", (SIDE, SIDE), (200, 30, 30)).save(buffer, format="PNG")
    return buffer.getvalue()


def turn(id: str, question: str, answer: str = "Osmeth", **labels: str) -> CragMMQuestion:
    standard = {
        "domain": "other",
        "query_category": "simple-knowledge",
        "dynamism": "static",
        "image_quality": "normal",
    }
    return CragMMQuestion(
        interaction_id=id, question=question, answer=answer, **(standard | labels)
    )


def session(name: str, *questions: str, **image: object) -> CragMMSession:
    """A conversation; the turns of `s` are `s-0`, `s-1`, …, a single one is `s` itself."""
    ids = [name] if len(questions) == 1 else [f"{name}-{n}" for n in range(len(questions))]
    turns = tuple(turn(id, asked) for id, asked in zip(ids, questions, strict=True))
    return CragMMSession(session_id=name, turns=turns, **image)


def write_sessions(root: Path, sessions: list[CragMMSession]) -> Path:
    write_crag_mm(sessions, root / "validation.parquet")
    return root


def tiny_retrieval(root: Path) -> RetrievalOptions:
    """A knowledge base of twelve things with its index."""
    clip = tiny_clip()
    convert_clip(clip.state_dict(), clip.config, root / "clip")
    retrieval = RetrievalOptions(
        knowledge_base=str(write_world(root / "knowledge_base")),
        index=str(root / "index"),
        text_encoder=EncoderOptions(name="hashed_ngrams", dimension=64),
        image_encoder=EncoderOptions(name="open_clip", model=str(root / "clip"), dimension=24),
    )
    build_indexes(retrieval, progress=False)
    return retrieval


def tiny_options(root: Path) -> EvaluateOptions:
    """For a model and an index under `root`; the benchmark is the caller's to set."""
    return EvaluateOptions(
        checkpoint=str(tiny_model_folder(root / "checkpoint")),
        output_dir=str(root / "output"),
        benchmark=BenchmarkOptions(name="crag_mm_multi", root=str(root), tokenizer="none"),
        policy=NO_SEARCH,
        generation=CHEAP,
        retrieval=tiny_retrieval(root),
    )


def of(options: EvaluateOptions, root: Path, name: str, **changes: object) -> EvaluateOptions:
    """The options for a benchmark at `root`, its images as they are; its output is there too."""
    benchmark = replace(options.benchmark, name=name, root=str(root), squash_egocentric=False)
    return replace(options, benchmark=benchmark, output_dir=str(root / "output"), **changes)


def judge_by_rule(output_dir: Path, benchmark: QuestionBenchmark, **said: JudgeVerdict) -> None:
    """Verdicts on all answers of a folder.

    Args:
        said: by sample id (with `_` for `-`), in place of what the rule says.
    """
    for saved in read_answers(output_dir, benchmark):
        write_verdicts(output_dir, benchmark, saved, said)


def write_verdicts(
    output_dir: Path,
    benchmark: QuestionBenchmark,
    saved: PolicyAnswers,
    said: Mapping[str, JudgeVerdict],
) -> None:
    span = EvaluateOptions().answer
    manifest = verdicts_manifest(
        manifest_of_parts(output_dir / PREDICTIONS / f"{saved.policy}.jsonl"),
        {"name": "rule"},
        answer_span=span.value,
        unknown_test=benchmark.rules.name,
    )
    store = LineStore(verdicts_path(output_dir, saved.policy), id_field="id", manifest=manifest)
    for id, answer in saved.texts(benchmark, span).items():
        verdict, by = _verdict(benchmark, id, answer)
        verdict = said.get(id.replace("-", "_"), verdict)
        key = answer_key(answer)
        store.append(JudgedAnswer(id=id, verdict=verdict, by=by, answer=key).to_json())


def _verdict(benchmark: QuestionBenchmark, id: str, answer: str) -> tuple[JudgeVerdict, str]:
    gold = benchmark.questions[benchmark.by_id[id]].answers
    if benchmark.rules.says_unknown(answer):
        return JudgeVerdict.missing, UNKNOWN
    if any(is_exact(answer, one) for one in gold):
        return JudgeVerdict.correct, EXACT
    return JudgeVerdict.hallucination, "rule"


def forked(task: Callable[[], object], **environment: str) -> int:
    """Start a real process that does a task in a copy of this one; returns its id."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        os.environ.update(environment)
        task()
        code = 0
    except Exception:
        traceback.print_exc()
    finally:
        os._exit(code)


def evaluate_in_fork(options: EvaluateOptions, workbench: Workbench, rank: int, count: int) -> int:
    environment = {"RANK": str(rank), "WORLD_SIZE": str(count)}
    return forked(lambda: evaluate(options, workbench), **environment)
