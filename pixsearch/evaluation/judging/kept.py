"""A judge with what it said before: no verdict is paid for twice, in whatever run or policy.

CACHE/NAME-DIGEST/verdicts.jsonl    of one judge: endpoint and model, or weights, and prompt
"""

import logging
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path

from pixsearch.endpoint.chat import file_name
from pixsearch.endpoint.keyed_lines import KeyedLines
from pixsearch.evaluation.judging.cases import Case
from pixsearch.evaluation.judging.judge import Judge, Ruling
from pixsearch.evaluation.verdicts import JudgeVerdict
from pixsearch.line_store import digest, one_writer

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class KeptVerdict:
    """A verdict and what it is about, for people who read the file.

    Attributes:
        key: digest of the judge's identity, question, references and answer.
    """

    key: str
    question: str
    references: list[str]
    answer: str
    verdict: str
    reason: str | None


class KeptJudge(AbstractContextManager["KeptJudge"]):
    """Asks a judge about what it has no verdict on yet. Unscored answers are not kept.

    The folder of its verdicts is this process's alone, until this is left as a context.

    Args:
        folder: of all judges.

    Raises:
        ValueError: another process has the folder, or a line in it is broken.
    """

    def __init__(self, judge: Judge, folder: Path) -> None:
        self._num_kept = 0
        self._judge = judge
        self._verdicts: KeyedLines[KeptVerdict] | None = None
        self._held = ExitStack()
        if not judge.is_free:
            own = folder / f"{file_name(self.name)[-80:]}-{digest(self.identity)[:12]}"
            self._held.enter_context(one_writer(own, option="verdict_cache"))
            self._verdicts = KeyedLines(own / "verdicts.jsonl", KeptVerdict)

    def __exit__(self, *_: object) -> None:
        logger.info("%s: %d verdicts of this run were there before", self.name, self._num_kept)
        self._held.close()
        self._judge.close()

    @property
    def name(self) -> str:
        return self._judge.name

    @property
    def identity(self) -> dict[str, object]:
        """All that decides a verdict."""
        return self._judge.identity

    def rule(self, cases: Iterable[Case]) -> Iterator[tuple[Case, Ruling]]:
        """A ruling on each case: kept ones first, then as they are ready.

        Equal cases are asked about once.

        Raises:
            EndpointUnavailable: as `Judge.rule`.
        """
        asked: dict[str, list[Case]] = {}
        for case in cases:
            kept = self._kept(case)
            if kept is not None:
                self._num_kept += 1
                yield case, kept
            else:
                asked.setdefault(self._key(case), []).append(case)
        for case, ruling in self._judge.rule(equal[0] for equal in asked.values()):
            self._keep(case, ruling)
            yield from ((equal, ruling) for equal in asked[self._key(case)])

    def _key(self, case: Case) -> str:
        return digest([self.identity, case.question, case.references, case.answer])

    def _kept(self, case: Case) -> Ruling | None:
        found = self._verdicts.get(self._key(case)) if self._verdicts is not None else None
        if found is None:
            return None
        return Ruling(verdict=JudgeVerdict(found.verdict), by=self.name, reason=found.reason)

    def _keep(self, case: Case, ruling: Ruling) -> None:
        if self._verdicts is None or ruling.verdict is JudgeVerdict.unscored:
            return
        self._verdicts.add(
            KeptVerdict(
                key=self._key(case),
                question=case.question,
                references=list(case.references),
                answer=case.answer,
                verdict=ruling.verdict.value,
                reason=ruling.reason,
            )
        )
