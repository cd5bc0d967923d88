"""A plan as aligned text, and as JSON."""

from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import Any

from pixsearch.config import to_dict
from pixsearch.training.planning.counting import Passes
from pixsearch.training.planning.gpus import CARDS
from pixsearch.training.planning.memory import EngineMemory
from pixsearch.training.planning.plan import Plan

GIB = 2**30
RESERVED_GIB = 6.0  # assumed: CUDA's and NCCL's own, temporaries of the backward, fragmentation
Row = Sequence[str]


def as_table(plan: Plan) -> str:
    """Every section under its title; the last cells of a row stand right under each other."""
    sections = [
        ("Weights", _parameter_rows(plan)),
        (f"Activations in GiB, {_longest(plan)} (estimate)", _activation_rows(plan)),
        ("Memory of one GPU in GiB (estimate)", _memory_rows(plan)),
        (f"TFLOP of a sample of {plan.sample.whole:,} tokens (estimate)", _flop_rows(plan)),
        ("Time (estimate)", _duration_rows(plan)),
        ("Evaluation, hours of one GPU for 1,000 answers (estimate)", _answering_rows(plan)),
    ]
    texts = [f"{title}\n{aligned(rows)}" for title, rows in sections]
    return "\n\n".join([f"Plan {plan.name}", *texts, _assumptions(plan)])


def as_json(plan: Plan) -> dict[str, Any]:
    """All numbers in the units of their fields: weights, bytes, FLOP, hours."""
    return {
        "name": plan.name,
        "parameters": {
            "parts": {part.name: asdict(part) for part in plan.parameters.parts},
            "trainable": plan.parameters.trainable,
            "total": plan.parameters.total,
            "published": plan.parameters.published,
            "published_without_lora": plan.parameters.published_without_lora,
        },
        "engines": {each.engine: asdict(each) for each in plan.engines},
        "refused": plan.refused,
        "activations": {
            "without_checkpointing": asdict(plan.kept),
            "with_checkpointing": asdict(plan.checkpointed),
        },
        "reserved_gib": RESERVED_GIB,
        "sample": asdict(plan.sample),
        "flops_per_sample": asdict(plan.flops),
        "duration": asdict(plan.duration),
        "answering": asdict(plan.answering),
        "options": to_dict(plan.options),
    }


def aligned(rows: Sequence[Row]) -> str:
    """Columns as wide as their widest cell; the first to the left, the others to the right.

    >>> aligned([("part", "GiB"), ("a", "10.5")]).splitlines()
    ['  part   GiB', '  a     10.5']
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *others in rows:
        cells = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        lines.append("  " + "  ".join([first.ljust(widths[0]), *cells]).rstrip())
    return "\n".join(lines)


def _parameter_rows(plan: Plan) -> list[Row]:
    counts = plan.parameters
    rows: list[Row] = [("", "trainable", "frozen", "all")]
    rows += [
        (part.name, f"{part.trainable:,}", f"{part.frozen:,}", f"{part.total:,}")
        for part in counts.parts
    ]
    frozen = counts.total - counts.trainable
    rows.append(("total", f"{counts.trainable:,}", f"{frozen:,}", f"{counts.total:,}"))
    rows.append(("without new rows and SAM's positions", "", "", f"{counts.published:,}"))
    rows.append(("the same without LoRA", "", "", f"{counts.published_without_lora:,}"))
    return rows


def _longest(plan: Plan) -> str:
    stage = plan.options.stage
    return f"micro-batches of {stage.batch_size} x {stage.max_length:,} tokens"


def _activation_rows(plan: Plan) -> list[Row]:
    rows: list[Row] = [("", f"{_checkpointing(plan)} (configured)", _other(plan))]
    for field in fields(plan.kept):
        pair = (getattr(each, field.name) / GIB for each in (plan.activations, plan.otherwise))
        rows.append((field.name, *(f"{each:.1f}" for each in pair)))
    return rows


def _checkpointing(plan: Plan) -> str:
    return "checkpointed" if plan.options.model.gradient_checkpointing else "kept"


def _other(plan: Plan) -> str:
    return "kept" if plan.options.model.gradient_checkpointing else "checkpointed"


def _memory_rows(plan: Plan) -> list[Row]:
    numbers = ("GPUs", "weights", "gradients", "optimiser", "activations", "sum", "")
    header = ("", *numbers, f"sum if {_other(plan)}")
    refused = [(name, *[""] * 6, "refuses", option) for name, option in plan.refused.items()]
    return [header, *(_engine_row(plan, each) for each in plan.engines), *refused]


def _engine_row(plan: Plan, engine: EngineMemory) -> Row:
    total, otherwise = (
        (engine.total + activations.peak) / GIB + RESERVED_GIB
        for activations in (plan.activations, plan.otherwise)
    )
    fits = total <= CARDS[plan.options.plan.gpu].memory_gib
    parts = (engine.weights, engine.gradients, engine.optimizer, plan.activations.peak)
    return (
        engine.engine,
        str(engine.num_gpus),
        *(f"{part / GIB:.1f}" for part in parts),
        f"{total:.1f}",
        "fits" if fits else "too large",
        f"{otherwise:.1f}",
    )


def _flop_rows(plan: Plan) -> list[Row]:
    flops = plan.flops
    rows: list[Row] = [("", "forward", "backward")]
    for field in fields(flops):
        passes: Passes = getattr(flops, field.name)
        both = (f"{each / 1e12:.3f}" for each in (passes.forward, passes.backward))
        if passes.total:  # else the model has no such part
            rows.append((field.name, *both))
    is_on = plan.options.model.gradient_checkpointing
    name = "recomputed" if is_on else "recomputed, if checkpointed"
    rows.append((name, "", f"{flops.recomputed / 1e12:.3f}"))
    return rows


def _duration_rows(plan: Plan) -> list[Row]:
    duration = plan.duration
    return [
        ("steps", f"{duration.steps:,}"),
        ("samples a step", f"{duration.samples_per_step:,}"),
        ("tokens a step", f"{duration.tokens_per_step:,}"),
        ("tokens that are processed for a sample", f"{plan.sample.processed:,}"),
        ("images that are encoded for a sample", f"{duration.images_per_sample:.2f}"),
        ("hours", f"{duration.hours:,.1f}"),
        (f"hours if {_other(plan)}", f"{duration.hours_otherwise:,.1f}"),
    ]


def _answering_rows(plan: Plan) -> list[Row]:
    answering = plan.answering
    return [
        ("without search", f"{answering.hours_without_search:.3f}"),
        (f"with {answering.searches:g} searches each", f"{answering.hours_with_searches:.3f}"),
    ]


def _assumptions(plan: Plan) -> str:
    taken = plan.options.plan
    card = CARDS[taken.gpu]
    return (
        f"Assumed: {taken.num_gpus} x {taken.gpu} ({card.memory_gib} GiB, peak "
        f"{card.bf16 / 1e12:.0f} TFLOP/s in bf16, {card.fp32 / 1e12:.1f} in fp32), of the peak "
        f"{taken.utilization:.0%} reached; a sample has one image of {taken.image_height} x "
        f"{taken.image_width} pixels, never cached, {taken.target_tokens} supervised tokens, "
        f"{taken.masks} mask(s), {taken.phrase_tokens} tokens a phrase; "
        f"{taken.conversations_per_image:g} conversation(s) about an image; "
        f"{RESERVED_GIB:.0f} GiB of every sum are kept free. Evaluation: {taken.question_tokens} "
        f"tokens of prompt beside an image, {taken.answer_tokens} generated, "
        f"{taken.evidence_tokens} of evidence a search, {taken.answer_batch} rows together; "
        f"retrieval and judge are not counted."
    )
