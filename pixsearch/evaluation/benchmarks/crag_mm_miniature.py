"""The miniature world's questions, in CRAG-MM's format, with the gold that the world knows of.

ROOT/crag_mm/validation*.parquet    the questions, read by the ordinary reader
ROOT/manifest.json                  what the world was made from, its seed among it
ROOT/diagnostics.jsonl              their gold trajectories
ROOT/segmentation.jsonl             a question per scene that asks for masks of its objects
ROOT/majority_answers.jsonl         {"question_type", "answer_kind", "answer"}: the commonest
                                    training answer to each kind of question that needs search
"""

from pathlib import Path

from PIL import Image

from pixsearch.config import BenchmarkOptions
from pixsearch.datasets.crag_mm import CragMMTurn, load_turns
from pixsearch.datasets.files import JsonLines, fingerprint, load_image, require
from pixsearch.evaluation.benchmark import Benchmark, QuestionKind
from pixsearch.evaluation.gold import Gold, Sample, read_gold, read_scenes
from pixsearch.miniature.manifests import read_world_manifest

VERSION = 1
QUESTIONS, GOLD = "crag_mm", "diagnostics.jsonl"
SCENES, MAJORITY = "segmentation.jsonl", "majority_answers.jsonl"


def load(options: BenchmarkOptions) -> Benchmark:
    """Read a world's evaluation split.

    Raises:
        ValueError: a file is missing or broken, or a question has no gold.
    """
    root = Path(options.root)
    manifest = read_world_manifest(root)
    gold = read_gold(root / GOLD)
    turns = load_turns(root / QUESTIONS, options.split)[: options.limit]
    files = [root / GOLD, root / SCENES, *(root / QUESTIONS).rglob(f"{options.split}*.parquet")]
    return Benchmark(
        name="crag_mm_miniature",
        version=VERSION,
        fingerprint=fingerprint(files),
        samples=tuple(_sample(turn, gold, root) for turn in turns),
        scenes=tuple(read_scenes(root / SCENES, lambda path, id: _image(root / path, id))),
        seed=manifest["seed"],
        majority_answers=_read_majority(root / MAJORITY),
    )


def _sample(turn: CragMMTurn, gold: dict[str, Gold], root: Path) -> Sample:
    if turn.interaction_id not in gold:
        raise ValueError(f"{root / GOLD}: no gold for {turn.interaction_id!r}; rebuild the world")
    return Sample(
        question=turn.question, load_image=turn.load_image, gold=gold[turn.interaction_id]
    )


def _image(path: Path, image_id: str) -> Image.Image:
    return load_image(path, example=image_id)


def _read_majority(path: Path) -> dict[QuestionKind, str]:
    lines = JsonLines(path)
    found: dict[QuestionKind, str] = {}
    for index, line in enumerate(lines):
        require(line, "question_type", "answer_kind", "answer", where=lines.where(index))
        found[line["question_type"], line["answer_kind"]] = line["answer"]
    return found
