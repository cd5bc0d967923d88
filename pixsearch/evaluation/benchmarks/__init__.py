"""The benchmarks. A new one is a file with `load(options)` and a line below."""

from collections.abc import Callable

from pixsearch.config import BenchmarkOptions
from pixsearch.evaluation.benchmark import Benchmark
from pixsearch.evaluation.benchmarks import crag_mm, crag_mm_miniature
from pixsearch.evaluation.question_benchmark import QuestionBenchmark

BENCHMARKS: dict[str, Callable[[BenchmarkOptions], Benchmark | QuestionBenchmark]] = {
    "crag_mm_miniature": crag_mm_miniature.load,
    "crag_mm_multi": crag_mm.load_multi,
    "crag_mm_single": crag_mm.load_single,
    "crag_mm_single_image": crag_mm.load_single_image,
}


def open_benchmark(options: BenchmarkOptions) -> Benchmark | QuestionBenchmark:
    """Read a configured benchmark.

    Raises:
        ValueError: there is no such benchmark, or its files are missing or broken.
    """
    if options.name not in BENCHMARKS:
        raise ValueError(f"no benchmark {options.name!r}; there are: {', '.join(BENCHMARKS)}")
    return BENCHMARKS[options.name](options)
