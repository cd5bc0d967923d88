"""What a mixture does to masks and searches, beside what the paper says."""

import json

import pytest
from matplotlib.container import ErrorbarContainer

from pixsearch.config import MakeTableOptions
from pixsearch.evaluation.paper_tables.figure_4 import draw_search, search_figure
from pixsearch.evaluation.paper_tables.figures import budget_figure, draw_budgets
from pixsearch.evaluation.paper_tables.folders import ResultFolder
from pixsearch.evaluation.paper_tables.make import compose
from pixsearch.evaluation.paper_tables.mixtures import directions, mixtures_tables
from pixsearch.evaluation.paper_tables.rendering import to_markdown
from pixsearch.evaluation.paper_tables.searching import search_behaviour
from tests.evaluation.paper_tables.builders import crag_mm, miniature, write

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
    assert [row.label for row in figures.rows][1:] == ["1:9", "5:9", "7:9", "pipeline baseline"]
    giou = [row.cells[0] for row in figures.rows[:-1]]
    assert [cell.value for cell in giou] == [0.76, 0.3, 0.7, 0.75]
    assert giou[0].interval == pytest.approx((0.71, 0.81))
    assert figures.rows[3].cells[5].written(figures.rows[3].cells[5].value) == "1.50"
    assert (figures.rows[3].cells[2], figures.rows[3].cells[4]) == ("20", "4")


def test_the_papers_directions_hold_or_not(folders, tmp_path):
    found = verdicts(mixtures_tables(folders)[1])
    assert found == {
        "gIoU at 1:9 is below 0.98 of stage 1's": "as in the paper",
        "gIoU at 5:9 is below 0.98 of stage 1's": "as in the paper",
        "gIoU at 7:9 is at least 0.98 of stage 1's": "as in the paper",
        "gIoU rises from 1:9 over 5:9 to 7:9": "as in the paper",
        "more searches about egocentric images than about others": "as in the paper",
        "most answers about egocentric images search 3 or 4 times": "as in the paper",
        "most answers about other images search 2 or 3 times": "differs",
        "region is the most used type of query": "differs",  # not about the others
        "about a quarter of the queries about egocentric images are text": "as in the paper",
        "accuracy of the pipeline baseline is below that of 7:9": "not measured",
    }
    lost = [miniature(tmp_path / "lost", giou=0.5, searches=SEARCHES)]
    found = verdicts(mixtures_tables({**folders, "7to9": lost})[1])
    assert found["gIoU at 7:9 is at least 0.98 of stage 1's"] == "differs"
    assert found["gIoU rises from 1:9 over 5:9 to 7:9"] == "differs"


def test_most_answers_are_more_than_half_of_them(folders, tmp_path):
    counts = (3, 0, 3, 0, 0, 0, 1, 0, 2)  # 3 is the most frequent of the five egocentric ones
    searches = [["region"] * count for count in counts]
    folders["7to9"] = [
        miniature(tmp_path / "rare", giou=0.75, searches=searches, verdicts="c" * len(counts))
    ]
    found = verdicts(mixtures_tables(folders)[1])
    assert found["most answers about egocentric images search 3 or 4 times"] == "differs"


def test_searches_of_all_seeds_are_counted(folders, tmp_path):
    few = miniature(tmp_path / "seed2", giou=0.75, searches=[["image"], ["image"] * 3] * 2)
    table = mixtures_tables({**folders, "7to9": [*folders["7to9"], few]})[1]
    calls = {row.label: row.cells[0] for row in table.rows}
    statement = "more searches about egocentric images than about others"
    assert calls[statement] == "2.00, 1.75"  # of 3, 3, 1, 1 and of 1, 0, 3, 3
    other = miniature(tmp_path / "seed3", giou=0.75, searches=[[], ["image"] * 4] * 2)
    table = mixtures_tables({**folders, "7to9": [*folders["7to9"], other]})[1]
    assert verdicts(table)[statement] == "differs"


def test_the_pipeline_has_a_row_where_it_was_run(folders, tmp_path):
    statement = "accuracy of the pipeline baseline is below that of 7:9"

    def found(rows):
        figures, said = mixtures_tables(rows)
        (direction,) = [row.cells for row in said.rows if row.label == statement]
        cells = figures.rows[-1].cells
        return cells[3].value, cells[4], direction

    assert found(folders) == (None, "not run", ("not run", "0.234, 0.377", "not measured"))
    own = miniature(tmp_path / "own", giou=0.75, policy="pipeline", verdicts="chhh")
    asked = found({**folders, "pipeline": [own]})
    assert asked == (0.25, "4", ("0.250, 0.500", "0.234, 0.377", "as in the paper"))
    (full,) = folders["7to9"]
    policies = {**full.sections, "pipeline": own.sections["pipeline"]}
    write(full.path, {**full.results, "policies": policies})
    assert found({**folders, "7to9": [ResultFolder.open(full.path)]}) == asked
    with pytest.raises(ValueError, match="has nothing of pipeline; evaluate policy=pipeline"):
        mixtures_tables({**folders, "pipeline": folders["1to9"]})


def test_what_was_not_run_is_not_judged(folders):
    few = {name: folders[name] for name in ("stage_1", "1to9")}
    found = verdicts(mixtures_tables(few)[1])
    assert found["gIoU at 1:9 is below 0.98 of stage 1's"] == "as in the paper"
    assert set(found.values()) == {"as in the paper", "not measured"}
    assert all(each.holds is None for each in directions({}, {}, {}))


def test_rows_have_their_names(folders, tmp_path):
    runs = [f"{name}:{folder.path}" for name, (folder,) in folders.items()]
    document = compose(MakeTableOptions(table="mixtures", runs=runs))
    assert len(document.tables) == 2
    rows = r"stage_1 \(needed\), 1to9, 5to9, 7to9, pipeline; got 2to9"
    with pytest.raises(ValueError, match=rows):
        compose(MakeTableOptions(table="mixtures", runs=[f"2to9:{tmp_path}/7to9"]))


def test_searches_are_counted_by_kind_of_image(folders):
    found = search_behaviour(folders["7to9"], "full")
    assert found["egocentric"].histogram == {3: 2}
    assert found["egocentric"].by_type == {"text": 1, "image": 1, "region": 4}
    assert found["non_egocentric"].histogram == {0: 1, 1: 1}
    assert found["non_egocentric"].per_answer().value == 0.5


PNG = b"\x89PNG\r\n"


def test_figures_are_drawn(tmp_path):
    policies = {"full": "ccmh", "no_search": "mmmm", "budget_1": "chhh", "budget_2": "cchh"}
    folder = crag_mm(tmp_path / "a", policies, searches={"full": SEARCHES})
    first = draw_search([folder.path]).png
    assert first.startswith(PNG)
    assert draw_search([folder.path]).png == first
    assert draw_budgets([folder.path]).png.startswith(PNG)
    (axes,) = budget_figure([folder]).axes
    ours, paper = axes.lines[0], axes.lines[-1]
    assert list(ours.get_xdata()) == [0, 1, 2]
    assert list(ours.get_ydata()) == [0.0, 0.25, 0.5]
    assert list(paper.get_ydata()) == [0.198, 0.321, 0.358, 0.364, 0.365]


def test_figure_4_shows_what_the_paper_says(tmp_path):
    folder = crag_mm(tmp_path / "a", {"full": "ccmh"}, searches={"full": SEARCHES})
    left, right = search_figure(search_behaviour([folder], "full")).axes
    shaded = {
        patch.get_label(): (patch.get_x(), patch.get_x() + patch.get_width())
        for patch in left.patches
        if patch.get_label().startswith("paper")
    }
    assert shaded == {
        "paper, egocentric: mostly 3 to 4": (2.5, 4.5),
        "paper, non-egocentric: mostly 2 to 3": (1.5, 3.5),
    }
    (dashed,) = [line for line in right.lines if line.get_label().startswith("paper")]
    assert list(dashed.get_ydata()) == [0.25, 0.25]
    for axes in (left, right):
        assert len([bars for bars in axes.containers if isinstance(bars, ErrorbarContainer)]) == 2
    written = to_markdown(draw_search([folder.path]).document)
    assert "| egocentric | 2 | 0 | 6 | 3.00 \\[3.00, 3.00\\] |" in written
    statement = "region is the most used type of query"
    assert f"| {statement} | 0.667, 0.000 | the most used | differs |" in written
    assert "checkpoint cccccccccccc" in written


def test_a_failed_sample_is_no_answer_without_searches(tmp_path):
    folder = crag_mm(tmp_path / "a", {"full": "ccmh"}, searches={"full": SEARCHES})
    path = folder.path / "predictions" / "full.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines[3]["failed"] = "no image"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = search_behaviour([folder], "full")["non_egocentric"]
    assert (found.histogram, found.num_left_out) == ({1: 1}, 1)
    assert "| non-egocentric | 1 | 1 | 1 |" in to_markdown(draw_search([folder.path]).document)


def test_answers_without_a_search_are_drawn_too(tmp_path):
    folder = crag_mm(tmp_path / "a", {"full": "ccmh"}, searches={"full": [[]] * 4})
    assert draw_search([folder.path]).png.startswith(PNG)


def test_a_figure_says_what_it_lacks(tmp_path):
    folder = crag_mm(tmp_path / "a", {"full": "ccmh"})
    with pytest.raises(ValueError, match="no predictions of full; evaluate"):
        draw_search([folder.path])
    with pytest.raises(ValueError, match="two budgets at least are needed"):
        draw_budgets([folder.path])
