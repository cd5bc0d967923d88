"""What a mixture does to masks and searches, beside what the paper says."""

import pytest

from pixsearch.config import MakeTableOptions
from pixsearch.evaluation.paper_tables.figures import budget_figure, draw_budgets, draw_search
from pixsearch.evaluation.paper_tables.make import compose
from pixsearch.evaluation.paper_tables.mixtures import directions, mixtures_tables
from pixsearch.evaluation.paper_tables.searching import search_behaviour
from tests.evaluation.paper_tables.builders import crag_mm, miniature

# samples 0 and 2 are egocentric, 1 and 3 are not
SEARCHES = (["region", "text", "region"], ["image"], ["region", "region", "image"], [])


@pytest.fixture
def folders(tmp_path):
    giou = {"stage_1": 0.76, "1to9": 0.3, "5to9": 0.7, "7to9": 0.75}
    return {
        name: [
            miniature(
                tmp_path / name,
                giou=value,
                policy="no_search" if name == "stage_1" else "full",
                searches=SEARCHES,
            )
        ]
        for name, value in giou.items()
    }


def verdicts(table):
    return {row.label: row.cells[2] for row in table.rows}


def test_each_mixture_stands_beside_stage_1(folders):
    figures, _ = mixtures_tables(folders)
    assert [row.label for row in figures.rows][1:] == ["1:9", "5:9", "7:9"]
    giou = [row.cells[0] for row in figures.rows]
    assert [cell.value for cell in giou] == [0.76, 0.3, 0.7, 0.75]
    assert giou[0].interval == pytest.approx((0.71, 0.81))
    assert figures.rows[3].cells[3].written(figures.rows[3].cells[3].value) == "1.50"


def test_the_papers_directions_hold_or_not(folders, tmp_path):
    found = verdicts(mixtures_tables(folders)[1])
    assert found == {
        "gIoU at 1:9 is below 0.98 of stage 1's": "as in the paper",
        "gIoU at 5:9 is below 0.98 of stage 1's": "as in the paper",
        "gIoU at 7:9 is at least 0.98 of stage 1's": "as in the paper",
        "gIoU rises from 1:9 over 5:9 to 7:9": "as in the paper",
        "more searches about egocentric images than about others": "as in the paper",
        "most answers about egocentric images search 3 or 4 times": "as in the paper",
        "region is the most used type of query": "differs",  # not about the others
        "about a quarter of the queries about egocentric images are text": "as in the paper",
    }
    lost = [miniature(tmp_path / "lost", giou=0.5, searches=SEARCHES)]
    found = verdicts(mixtures_tables({**folders, "7to9": lost})[1])
    assert found["gIoU at 7:9 is at least 0.98 of stage 1's"] == "differs"
    assert found["gIoU rises from 1:9 over 5:9 to 7:9"] == "differs"


def test_what_was_not_run_is_not_judged(folders):
    few = {name: folders[name] for name in ("stage_1", "1to9")}
    found = verdicts(mixtures_tables(few)[1])
    assert found["gIoU at 1:9 is below 0.98 of stage 1's"] == "as in the paper"
    assert set(found.values()) == {"as in the paper", "not measured"}
    assert all(each.holds is None for each in directions({}, {}))


def test_rows_have_their_names(folders, tmp_path):
    runs = [f"{name}:{folder.path}" for name, (folder,) in folders.items()]
    document = compose(MakeTableOptions(table="mixtures", runs=runs))
    assert len(document.tables) == 2
    with pytest.raises(ValueError, match=r"stage_1 \(needed\), 1to9, 5to9, 7to9; got 2to9"):
        compose(MakeTableOptions(table="mixtures", runs=[f"2to9:{tmp_path}/7to9"]))


def test_searches_are_counted_by_kind_of_image(folders):
    found = search_behaviour(folders["7to9"][0], "full")
    assert found["egocentric"].histogram == {3: 2}
    assert found["egocentric"].by_type == {"text": 1, "image": 1, "region": 4}
    assert found["non_egocentric"].histogram == {0: 1, 1: 1}
    assert found["non_egocentric"].per_answer == 0.5


PNG = b"\x89PNG\r\n"


def test_figures_are_drawn(tmp_path):
    policies = {"full": "ccmh", "no_search": "mmmm", "budget_1": "chhh", "budget_2": "cchh"}
    folder = crag_mm(tmp_path / "a", policies, searches={"full": SEARCHES})
    first = draw_search([folder.path])
    assert first.startswith(PNG)
    assert draw_search([folder.path]) == first
    assert draw_budgets([folder.path]).startswith(PNG)
    (axes,) = budget_figure([folder]).axes
    ours, paper = axes.lines[0], axes.lines[-1]
    assert list(ours.get_xdata()) == [0, 1, 2]
    assert list(ours.get_ydata()) == [0.0, 0.25, 0.5]
    assert list(paper.get_ydata()) == [0.198, 0.321, 0.358, 0.364, 0.365]


def test_a_figure_says_what_it_lacks(tmp_path):
    folder = crag_mm(tmp_path / "a", {"full": "ccmh"})
    with pytest.raises(ValueError, match="no predictions of full; evaluate"):
        draw_search([folder.path])
    with pytest.raises(ValueError, match="two budgets at least are needed"):
        draw_budgets([folder.path])
