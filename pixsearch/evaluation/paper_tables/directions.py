"""What the paper says in words, each statement beside what is so here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pixsearch.config import QueryType
from pixsearch.evaluation.paper import MOSTLY, TEXT_SHARE
from pixsearch.evaluation.paper_tables.folders import EGOCENTRIC, NON_EGOCENTRIC, Figure
from pixsearch.evaluation.paper_tables.model import Column, Row, Table
from pixsearch.evaluation.paper_tables.searching import Behaviour

MOST = 0.5  # of the answers: what "most" has to pass
QUARTER = (TEXT_SHARE - 0.1, TEXT_SHARE + 0.1)  # what "about a quarter" is taken to mean
VERDICTS = {True: "as in the paper", False: "differs", None: "not measured"}


@dataclass(frozen=True, kw_only=True)
class Direction:
    """One thing that the paper found, and what was found here.

    Attributes:
        holds: None where it was not measured.
    """

    statement: str
    ours: str
    paper: str
    holds: bool | None


def directions_table(found: Sequence[Direction]) -> Table:
    return Table(
        title="The paper's findings, and what is so here",
        corner="finding",
        columns=(Column(name="here"), Column(name="paper"), Column(name="")),
        rows=tuple(
            Row(label=each.statement, cells=(each.ours, each.paper, VERDICTS[each.holds]))
            for each in found
        ),
    )


def search_directions(kinds: Mapping[str, Behaviour]) -> list[Direction]:
    """Figure 4, by kind of image."""
    cluttered, others = kinds.get(EGOCENTRIC), kinds.get(NON_EGOCENTRIC)
    both = [kind for kind in (cluttered, others) if kind]
    calls = [kind.per_answer().value for kind in both]
    regions = [kind.share_of_searches(QueryType.region) for kind in both]
    words = cluttered.share_of_searches(QueryType.text) if cluttered else None
    return [
        Direction(
            statement="more searches about egocentric images than about others",
            ours=", ".join(f"{each:.2f}" for each in calls) or "-",
            paper="mostly 3 to 4, 2 to 3",
            holds=calls[0] > calls[1] if len(calls) > 1 else None,
        ),
        _mostly("egocentric", cluttered, MOSTLY[EGOCENTRIC]),
        _mostly("other", others, MOSTLY[NON_EGOCENTRIC]),
        Direction(
            statement="region is the most used type of query",
            ours=", ".join(written(_value(share)) for share in regions) or "-",
            paper="the most used",
            holds=all(map(_mostly_regions, both)) if any(regions) else None,
        ),
        Direction(
            statement="about a quarter of the queries about egocentric images are text",
            ours=written(_value(words)),
            paper=f"about {TEXT_SHARE}",
            holds=None if words is None else QUARTER[0] <= words.value <= QUARTER[1],
        ),
    ]


def written(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _mostly(images: str, kind: Behaviour | None, counts: tuple[int, int]) -> Direction:
    share = kind.share_of_answers(*counts).value if kind else None
    times = " or ".join(map(str, counts))
    return Direction(
        statement=f"most answers about {images} images search {times} times",
        ours=written(share),
        paper=f"{times} times",
        holds=None if share is None else share > MOST,
    )


def _mostly_regions(kind: Behaviour) -> bool:
    counts = kind.by_type
    others = (QueryType.text, QueryType.image)
    return all(counts[QueryType.region] > counts[type] for type in others)


def _value(share: Figure | None) -> float | None:
    return share.value if share else None
