"""The judges. A new one is a file with a class and a line below."""

from collections.abc import Callable

from pixsearch.config import JudgeKind, JudgeOptions
from pixsearch.evaluation.judging.by_endpoint import EndpointJudge
from pixsearch.evaluation.judging.by_local import LocalJudge
from pixsearch.evaluation.judging.by_rules import RulesJudge
from pixsearch.evaluation.judging.judge import Judge

JUDGES: dict[JudgeKind, Callable[[JudgeOptions], Judge]] = {
    JudgeKind.endpoint: EndpointJudge,
    JudgeKind.local: LocalJudge,
    JudgeKind.rules: lambda options: RulesJudge(),
}


def open_judge(options: JudgeOptions) -> Judge:
    """A configured judge.

    Raises:
        ValueError: it cannot be one; says why.
    """
    return JUDGES[options.kind](options)
