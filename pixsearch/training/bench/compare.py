"""LISA's step, each saving alone, and all of them: one table, one file."""

import json
import logging
import multiprocessing
import statistics
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from pixsearch.config import BenchTrainingOptions
from pixsearch.training.bench.measure import Measurement, measure
from pixsearch.training.bench.steps import Savings
from pixsearch.training.bench.subject import build_model, examples

logger = logging.getLogger(__name__)

REFERENCE, EVERYTHING = "as LISA and PLUM", "all savings"
TERA = 1e12
# Forward of a conversation of 316 tokens about one image at the 13B's size: 2 FLOP a weight and
# token; CLIP ViT-L/14 at 224; SAM ViT-H, counted (all by scripts/plan.py experiment=plum_13b).
PAPER_SIZE = {"language model": 8.22 * TERA, "CLIP": 0.162 * TERA, "SAM": 5.96 * TERA}


def compare(options: BenchTrainingOptions) -> dict[str, Any]:
    """Run all variants in turn, `repeats` times; write and return what came of it."""
    variants = dict(_variants())
    found: dict[str, list[Measurement]] = {name: [] for name in variants}
    for _ in range(options.repeats):
        for name, savings in variants.items():
            found[name].append(_apart(options, savings))
            logger.info("%s: %s", name, _brief(found[name][-1]))
    result = _result(options, found)
    for line in _table(result):
        logger.info("%s", line)
    path = Path(options.output)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=2))
    return result


def proportions(options: BenchTrainingOptions) -> dict[str, float]:
    """FLOP of the parts in the forward of one conversation about one image."""
    model = build_model(options).eval()
    example = examples(options)[0]
    assert example.load_image is not None
    image = example.load_image()
    rendered = model.renderer.render(example.conversation)
    input_ids = torch.tensor([rendered.input_ids])
    features = model.encode_image([image])
    embedded = model.embed(input_ids, features, torch.tensor([0]))
    frame = model.config.segmenter_frame
    parts = {
        "language model": lambda: model.language_states(embedded),
        "CLIP": lambda: model.family.encode(model.backbone, [image]),
        "SAM": lambda: model.segmenter.get_image_embeddings(frame.pixels(image)[None]),
    }
    counts = {}
    for name, run in parts.items():
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            run()
        counts[name] = float(counter.get_total_flops())
    return counts


def _variants() -> Iterator[tuple[str, Savings]]:
    yield REFERENCE, Savings()
    for field in fields(Savings):
        alone = {"encode_once": True} if field.name == "keep_features" else {}
        yield f"{field.name} alone", Savings(**alone | {field.name: True})
    yield EVERYTHING, Savings.all()


def _apart(options: BenchTrainingOptions, savings: Savings) -> Measurement:
    """In a fresh process: memory that a step before has claimed would hide what this one needs."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=context) as pool:
        return pool.submit(measure, options, savings).result()


def _result(
    options: BenchTrainingOptions, found: Mapping[str, list[Measurement]]
) -> dict[str, Any]:
    rows = {name: _summary(measurements) for name, measurements in found.items()}
    ours, theirs = rows[EVERYTHING], rows[REFERENCE]
    flops = proportions(options)
    shares = {
        name: (flops[name] / flops["language model"])
        / (PAPER_SIZE[name] / PAPER_SIZE["language model"])
        for name in flops
    }
    curves = {name: found[name][0].losses for name in (REFERENCE, EVERYTHING)}
    pairs = list(zip(curves[EVERYTHING], curves[REFERENCE], strict=True))
    return {
        "speedup": ours["first"] / theirs["first"],
        "speedup_later": ours["later"] / theirs["later"],
        "memory_ratio": ours["memory_mib"] / theirs["memory_mib"],
        "largest_loss_difference": max(abs(one - other) / other for one, other in pairs),
        "loss_fell_by": 1 - curves[REFERENCE][-1] / curves[REFERENCE][0],
        "difference_of_what_was_learned": _difference_of_learned(
            ours=curves[EVERYTHING], theirs=curves[REFERENCE]
        ),
        "losses": curves,
        "flops": flops,
        "proportion_to_13b": shares,
        "rows": rows,
        "options": asdict(options),
        "torch": torch.__version__,
    }


def _difference_of_learned(*, ours: Sequence[float], theirs: Sequence[float]) -> float:
    """How far apart the two are in what they learned until the last step; 1 if one stood still.

    >>> _difference_of_learned(ours=[10.0, 8.1], theirs=[10.0, 8.0])
    0.05
    """
    learned = theirs[0] - theirs[-1]
    return round(abs((ours[0] - ours[-1]) - learned) / learned, 6)


def _summary(measurements: list[Measurement]) -> dict[str, float]:
    """Medians over the repetitions, and how far the speeds of the first epoch lie apart."""
    medians = {
        name: statistics.median(getattr(one, name) for one in measurements)
        for name in ("first", "later", "memory_mib")
    }
    speeds = [one.first for one in measurements]
    return medians | {"spread": (max(speeds) - min(speeds)) / medians["first"]}


def _table(result: Mapping[str, Any]) -> Iterator[str]:
    """Lines to be read, the reference first."""
    theirs = result["rows"][REFERENCE]
    yield f"{'':20} {'first epoch':>18} {'later epochs':>18} {'peak memory':>20}"
    for name, row in result["rows"].items():
        yield (
            f"{name:20} {row['first']:6.2f}/s ({row['first'] / theirs['first']:5.2f}x)"
            f" {row['later']:8.2f}/s ({row['later'] / theirs['later']:5.2f}x)"
            f" {row['memory_mib']:8.0f} MiB ({row['memory_mib'] / theirs['memory_mib']:4.2f}x)"
        )
    widest = max(row["spread"] for row in result["rows"].values())
    yield f"the first epoch's speeds of a row lie at most {widest:.0%} apart"
    yield (
        f"largest difference of the losses: {result['largest_loss_difference']:.2%}, "
        f"while they fell by {result['loss_fell_by']:.0%}; "
        f"{result['difference_of_what_was_learned']:.1%} of what was learned"
    )
    shares = ", ".join(f"{name} {share:.2f}" for name, share in result["proportion_to_13b"].items())
    yield f"FLOP of a conversation against the language model's, relative to the 13B: {shares}"


def _brief(one: Measurement) -> str:
    return f"{one.first:.2f}/s, later {one.later:.2f}/s, {one.memory_mib:.0f} MiB"
