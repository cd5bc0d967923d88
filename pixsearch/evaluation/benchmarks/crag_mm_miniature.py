"""The miniature world's questions, in CRAG-MM's format, with the gold that the world knows of.

ROOT/crag_mm/validation*.parquet    the questions, read by the ordinary reader
ROOT/crag_mm/diagnostics.jsonl      their gold trajectories
ROOT/crag_mm/segmentation.jsonl     a question per scene that asks for masks of its objects
ROOT/questions/train.jsonl          the training split's questions, for the majority answers
"""

from collections import Counter, defaultdict
from pathlib import Path

from PIL import Image

from pixsearch.config import BenchmarkOptions
from pixsearch.datasets.crag_mm import CragMMTurn, load_turns
from pixsearch.datasets.files import JsonLines, load_image, require
from pixsearch.evaluation.benchmark import Benchmark, QuestionKind, fingerprint
from pixsearch.evaluation.gold import Gold, Sample, read_gold, read_scenes

VERSION = 1
GOLD, SCENES = "diagnostics.jsonl", "segmentation.jsonl"
TRAINING_QUESTIONS = "questions/train.jsonl"


def load(options: BenchmarkOptions) -> Benchmark:
    """Read a world's evaluation split.

    Raises:
        ValueError: a file is missing or broken, or a question has no gold.
    """
    folder = Path(options.root) / "crag_mm"
    gold = read_gold(folder / GOLD)
    turns = load_turns(folder, options.split)[: options.limit]
    files = [folder / GOLD, folder / SCENES, *folder.rglob(f"{options.split}*.parquet")]
    return Benchmark(
        name="crag_mm_miniature",
        version=VERSION,
        fingerprint=fingerprint(files),
        samples=tuple(_sample(turn, gold, folder) for turn in turns),
        scenes=tuple(read_scenes(folder / SCENES, lambda path, id: _image(folder / path, id))),
        majority_answers=majority_answers(Path(options.root) / TRAINING_QUESTIONS),
    )


def majority_answers(path: Path) -> dict[QuestionKind, str] | None:
    """The most frequent answer of each kind of question that needs search; None without the file.

    Kinds are as fine as the questions' words tell, so that knowing nothing but those words is worth
    no more than this. Of equally frequent answers the first by alphabet is taken.
    """
    if not path.exists():
        return None
    lines = JsonLines(path)
    counts: dict[QuestionKind, Counter[str]] = defaultdict(Counter)
    for index, line in enumerate(lines):
        require(
            line,
            *("type", "answer_kind", "answer", "answerable", "steps"),
            where=lines.where(index),
        )
        if line["answerable"] and line["steps"]:
            counts[line["type"], line["answer_kind"]][line["answer"]] += 1
    return {kind: min(found, key=lambda a: (-found[a], a)) for kind, found in counts.items()}


def _sample(turn: CragMMTurn, gold: dict[str, Gold], folder: Path) -> Sample:
    if turn.interaction_id not in gold:
        raise ValueError(f"{folder / GOLD}: no gold for {turn.interaction_id!r}; rebuild the world")
    return Sample(
        question=turn.question, load_image=turn.load_image, gold=gold[turn.interaction_id]
    )


def _image(path: Path, image_id: str) -> Image.Image:
    return load_image(path, example=image_id)
