"""What answers cost, in tokens and in money."""

import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pixsearch.config import EndpointOptions
from pixsearch.endpoint.answers import PaidAnswer

MILLION = 1_000_000


@dataclass(kw_only=True)
class Usage:
    """Sums over answers.

    Attributes:
        unmetered: answers whose tokens the server did not count, so that they are estimated.
    """

    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    unmetered: int = 0

    @classmethod
    def of(cls, answers: Iterable[PaidAnswer]) -> "Usage":
        usage = cls()
        for answer in answers:
            usage.add(answer)
        return usage

    def add(self, answer: PaidAnswer) -> None:
        self.requests += 1
        self.input_tokens += answer.input_tokens
        self.output_tokens += answer.output_tokens
        self.unmetered += not answer.is_metered

    def cost(self, options: EndpointOptions) -> float:
        """
        >>> usage = Usage(requests=1, input_tokens=1_000_000, output_tokens=500_000)
        >>> usage.cost(EndpointOptions(input_price=2.0, output_price=8.0))
        6.0
        """
        paid = self.input_tokens * options.input_price + self.output_tokens * options.output_price
        return paid / MILLION

    def to_json(self, options: EndpointOptions) -> dict[str, Any]:
        return {
            "requests": self.requests,
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "unmetered": self.unmetered,
            "cost": round(self.cost(options), 6),
        }


class Meter:
    """Counts what is asked in this run. Safe for several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.paid = Usage()
        self.from_cache = 0

    def note_paid(self, answer: PaidAnswer) -> None:
        with self._lock:
            self.paid.add(answer)

    def note_cached(self) -> None:
        with self._lock:
            self.from_cache += 1
