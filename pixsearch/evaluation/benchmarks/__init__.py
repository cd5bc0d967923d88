"""The benchmarks. A new one is a file with `load(options)` and a line below."""

from collections.abc import Callable

from pixsearch.config import BenchmarkOptions
from pixsearch.evaluation.benchmark import Benchmark
from pixsearch.evaluation.benchmarks import (
    ade20k,
    aokvqa,
    coco_stuff,
    crag_mm,
    crag_mm_miniature,
    encyclopedic_vqa,
    gqa,
    grefcoco,
    hotpotqa,
    infoseek,
    musique,
    nq_open,
    okvqa,
    oven,
    popqa,
    reason_seg,
    refcoco,
    textvqa,
    vqav2,
    webqa,
)
from pixsearch.evaluation.mask_benchmark import MaskBenchmark
from pixsearch.evaluation.question_benchmark import QuestionBenchmark

AnyBenchmark = Benchmark | QuestionBenchmark | MaskBenchmark

BENCHMARKS: dict[str, Callable[[BenchmarkOptions], AnyBenchmark]] = {
    "ade20k": ade20k.load_semseg,
    "ade20k_present": ade20k.load_present,
    "coco_stuff": coco_stuff.load_semseg,
    "coco_stuff_present": coco_stuff.load_present,
    "crag_mm_miniature": crag_mm_miniature.load,
    "crag_mm_multi": crag_mm.load_multi,
    "crag_mm_single": crag_mm.load_single,
    "crag_mm_single_image": crag_mm.load_single_image,
    "aokvqa": aokvqa.load_direct_answer,
    "aokvqa_choice": aokvqa.load_multiple_choice,
    "encyclopedic_vqa": encyclopedic_vqa.load,
    "gqa": gqa.load,
    "hotpotqa": hotpotqa.load,
    "infoseek": infoseek.load,
    "musique": musique.load,
    "nq_open": nq_open.load,
    "okvqa": okvqa.load,
    "oven": oven.load,
    "popqa": popqa.load,
    "textvqa": textvqa.load,
    "textvqa_ocr": textvqa.load_with_image_words,
    "vqav2": vqav2.load,
    "webqa": webqa.load,
    "grefcoco": grefcoco.load,
    "reason_seg": reason_seg.load,
    "refcoco": refcoco.load,
    "refcoco_plus": refcoco.load,
    "refcocog": refcoco.load,
}


def open_benchmark(options: BenchmarkOptions) -> AnyBenchmark:
    """Read a configured benchmark.

    Raises:
        ValueError: there is no such benchmark, or its files are missing or broken.
    """
    if options.name not in BENCHMARKS:
        raise ValueError(f"no benchmark {options.name!r}; there are: {', '.join(BENCHMARKS)}")
    return BENCHMARKS[options.name](options)
