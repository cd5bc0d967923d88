"""The benchmarks. A new one is a file with `load(options)` and a line below."""

from collections.abc import Callable

from pixsearch.config import BenchmarkOptions
from pixsearch.evaluation.benchmark import Benchmark
from pixsearch.evaluation.benchmarks import (
    aokvqa,
    crag_mm,
    crag_mm_miniature,
    encyclopedic_vqa,
    gqa,
    hotpotqa,
    infoseek,
    musique,
    nq_open,
    okvqa,
    oven,
    popqa,
    textvqa,
    vqav2,
    webqa,
)
from pixsearch.evaluation.question_benchmark import QuestionBenchmark

BENCHMARKS: dict[str, Callable[[BenchmarkOptions], Benchmark | QuestionBenchmark]] = {
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
}


def open_benchmark(options: BenchmarkOptions) -> Benchmark | QuestionBenchmark:
    """Read a configured benchmark.

    Raises:
        ValueError: there is no such benchmark, or its files are missing or broken.
    """
    if options.name not in BENCHMARKS:
        raise ValueError(f"no benchmark {options.name!r}; there are: {', '.join(BENCHMARKS)}")
    return BENCHMARKS[options.name](options)
