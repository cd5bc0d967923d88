"""The paper's tables from result folders."""

import ast
import json
import re
from pathlib import Path
from statistics import stdev

import pytest

from pixsearch.config import MakeTableOptions, TableFormat
from pixsearch.evaluation import paper
from pixsearch.evaluation.paper import PAPER, SYSTEMS
from pixsearch.evaluation.paper_tables import make_table
from pixsearch.evaluation.paper_tables.comparing import differences_table
from pixsearch.evaluation.paper_tables.filling import assign, main_table
from pixsearch.evaluation.paper_tables.folders import ResultFolder
from pixsearch.evaluation.paper_tables.layouts import LAYOUTS
from pixsearch.evaluation.paper_tables.make import compose, of_layout
from pixsearch.evaluation.paper_tables.rendering import markdown_text, to_markdown
from pixsearch.evaluation.paper_tables.slices import slices_table
from tests.commands import run_script_here
from tests.evaluation.paper_tables.builders import answers, crag_mm, masks
from tests.test_configs import composed

FULL, WHOLE = "ccccccmh", "ccmmhhhh"


@pytest.fixture
def folder(tmp_path):
    return crag_mm(tmp_path / "crag_mm", {"full": FULL, "whole_image": WHOLE})


def row(table, label):
    (found,) = [row for row in table.rows if row.label == label]
    return found.cells


def table(number, runs, rows=None):
    layout = LAYOUTS[number]
    return main_table(layout, assign(layout, runs, rows or {}))


def test_the_paper_stands_beside_ours(folder):
    found = table("1", [folder])
    truthfulness, accuracy, *others = row(found, "PixSearch, full")
    assert (accuracy.value, accuracy.paper, accuracy.n) == (0.75, 0.377, 8)
    assert (truthfulness.value, truthfulness.paper) == (0.625, -0.03)
    low, high = accuracy.interval
    assert 0 < low < 0.75 < high <= 1
    assert others[-1] == "8 / 4 / 4"
    egocentric = row(found, "PixSearch, whole image")[5]
    assert (egocentric.value, egocentric.paper, egocentric.n) == (0.25, 0.267, 4)


def test_all_that_is_printed_is_in_table_1(folder):
    printed = SYSTEMS | {name: PAPER[name] for name in ("no_search", "text_query", "full")}
    found = table("1", [folder])
    labels = {each.key: each.label for each in LAYOUTS["1"].rows}
    for key, groups in printed.items():
        cells = row(found, labels[key])
        assert [round(100 * cell.paper, 2) for cell in cells[:-1]] == list(sum(groups, ()))


SPELLED = Path(paper.__file__).read_text()
PRINTED = {
    "1": ("SYSTEMS", "PAPER"),
    "2": ("SEMANTIC",),
    "3": ("REFERRING",),
    "4": ("TEXT_QA",),
    "5": ("VQA",),
    "6": ("PAPER",),
    "7": ("PAPER",),
}


def spelled(name):
    """Row → its figures in the characters of paper.py, which are those of the paper's print."""
    nodes = [node for node in ast.parse(SPELLED).body if isinstance(node, ast.AnnAssign)]
    (rows,) = [node.value for node in nodes if node.target.id == name]
    return {
        key.value: re.findall(r"-?\d+\.\d+", ast.get_source_segment(SPELLED, figures))
        for key, figures in zip(rows.keys, rows.values, strict=True)
    }


@pytest.mark.parametrize("number", PRINTED)
def test_each_figure_of_the_paper_stands_there_as_it_is_printed(number):
    layout = LAYOUTS[number]
    written = to_markdown(of_layout(layout, [], {})).splitlines()
    figures = {key: each for name in PRINTED[number] for key, each in spelled(name).items()}
    for one in layout.rows:
        start = f"| {markdown_text(one.label)} |"
        (line,) = [line for line in written if line.startswith(start)]
        found = re.findall(r"\(([-+]?\d+\.\d+)", line)
        assert [each.lstrip("+") for each in found] == figures[one.key]


def test_differences_have_the_decimals_of_their_table(tmp_path):
    runs = [answers(tmp_path / "oven", "oven", {"full": [1, 0, 0], "no_search": [0, 0, 0]})]
    cell = differences("5", runs).rows[0].cells[4]
    assert (cell.written(cell.value), cell.written(cell.paper)) == ("+33.33", "+12.06")


def test_what_was_not_run_says_so(folder):
    cells = row(table("1", [folder]), "LLaVA-13B")
    assert cells[-1] == "not run"
    assert all(cell.value is None and cell.paper is not None for cell in cells[:-1])


def test_contradictions_of_the_paper_are_printed_with_a_note(folder):
    found = table("1", [folder])
    cells = row(found, "PixSearch, full")
    marks = [cell.mark for cell in cells[:-1]]
    assert marks[:8] == [None] * 8
    assert len(set(marks[8:])) == 1
    assert found.notes[marks[8] - 1] == "accuracy, missing and hallucination sum to 90.0 in print"


def test_a_folder_is_named_for_a_row(folder, tmp_path):
    other = crag_mm(tmp_path / "llava", {"no_search": "mmmmmmmc"}, has_masks=False)
    with pytest.raises(ValueError, match=r"a plain model answered; name its row, e\.g\. runs="):
        table("1", [folder, other])
    found = table("1", [folder], {"llava_13b": [other], "mine": [folder]})
    assert row(found, "LLaVA-13B")[1].value == 0.125
    assert row(found, "PixSearch, no search (budget 0)")[-1] == "not run"
    assert row(found, "mine")[1].value == 0.75  # full, where nothing has the row's own name
    assert row(found, "mine")[1].paper is None
    two = crag_mm(tmp_path / "two", {"no_search": FULL, "a": WHOLE})
    with pytest.raises(ValueError, match="has nothing of only_text; it has no_search, a"):
        table("6", [], {"only_text": [two]})


def test_seeds_are_averaged(folder, tmp_path):
    other = crag_mm(tmp_path / "seed2", {"full": "cccccccc", "whole_image": WHOLE})
    accuracy = row(table("1", [folder, other]), "PixSearch, full")[1]
    assert accuracy.value == 0.875
    assert accuracy.deviation == pytest.approx(stdev([0.75, 1.0]))
    assert accuracy.interval is None
    assert row(table("1", [folder, other]), "PixSearch, full")[-1] == "8 + 8 / 4 + 4 / 4 + 4"


def differences(number, runs, rows=None):
    layout = LAYOUTS[number]
    return differences_table(layout, assign(layout, runs, rows or {}))


def test_differences_are_paired(folder):
    found = differences("1", [folder])
    assert [each.label for each in found.rows] == ["full less whole_image", "as in the paper"]
    truthfulness, accuracy, egocentric, others, n = found.rows[0].cells
    assert n == "8 / 4 / 4"
    assert accuracy.value == 0.5
    assert accuracy.paper == pytest.approx(0.062)
    assert truthfulness.value == 0.875
    assert (egocentric.value, others.value) == (0.5, 0.5)
    low, high = accuracy.interval  # image 1 differs in both samples, image 2 too, 0 and 3 in none
    assert (low, high) == (0.0, 1.0)
    assert found.rows[1].cells[1] == "open"


def test_a_clear_difference_goes_the_papers_way_or_not(tmp_path):
    better, worse = "c" * 12, "h" * 12
    clear = crag_mm(tmp_path / "clear", {"full": better, "whole_image": worse})
    assert differences("1", [clear]).rows[1].cells == (*("yes",) * 4, "")
    against = crag_mm(tmp_path / "against", {"full": worse, "whole_image": better})
    assert differences("1", [against]).rows[1].cells == (*("no",) * 4, "")


def test_each_format_says_what_its_figures_are_over(folder, tmp_path):
    paths = make_table(options(tmp_path / "tables", table="1", runs=[folder.path]))
    for path in paths:
        assert path.read_text().count("8 / 4 / 4") == 3  # two rows and their difference
    oven = answers(tmp_path / "oven", "oven", {"full": [1, 0, None], "no_search": [0, 1, 1]})
    assert table("5", [oven]).rows[-1].cells[-1] == "- / - / 2"
    assert differences("5", [oven]).rows[0].cells[-1] == "- / - / 2"


def test_other_samples_are_not_compared(folder, tmp_path):
    other = crag_mm(tmp_path / "other", {"no_search": FULL}, fingerprint="0" * 64)
    with pytest.raises(ValueError, match="full and no_search cannot be compared: 8 samples of"):
        differences("1", [folder, other])
    shorter = crag_mm(tmp_path / "shorter", {"no_search": "cc"})
    with pytest.raises(ValueError, match="full and no_search cannot be compared"):
        differences("1", [folder], {"no_search": [shorter]})


def test_checkpoints_in_two_folders_are_compared(folder, tmp_path):
    other = crag_mm(tmp_path / "plum", {"no_search": "hhhhhhhh"})
    found = differences("1", [folder], {"plum_13b": [other]})
    assert "full less plum_13b" in [each.label for each in found.rows]


def test_worlds_of_seeds_are_pooled(folder, tmp_path):
    """Other samples under each seed: both policies have them, so they are compared."""
    policies = {"full": "cccccccc", "whole_image": "cccccccc"}
    other = crag_mm(tmp_path / "seed2", policies, fingerprint="2" * 64)
    found = differences("1", [folder, other]).rows[0].cells[1]
    assert (found.value, found.n) == (0.25, 16)


def test_seeds_of_one_benchmark_are_averaged_per_sample(folder, tmp_path):
    other = crag_mm(tmp_path / "seed2", {"full": "hhhhhhhh", "whole_image": WHOLE})
    found = differences("1", [folder, other]).rows[0].cells[1]
    assert (found.value, found.n) == (0.125, 8)


def test_without_scores_of_samples_nothing_is_compared(folder):
    for path in (folder.path / "scores").iterdir():
        path.unlink()
    assert differences("1", [folder]) is None


def test_columns_are_filled_by_benchmark(tmp_path):
    textvqa = answers(tmp_path / "textvqa", "textvqa", {"full": [1, 0, 1, 1], "no_search": [0] * 4})
    oven = answers(tmp_path / "oven", "oven", {"full": [0, 1, None]})
    found = table("5", [textvqa, oven])
    cells = row(found, "PixSearch, full")
    assert [cell.value for cell in cells[:-1]] == [0.75, 0.75, None, None, 0.5, 0.5]
    assert cells[-1] == "4 / - / 2"
    assert cells[0].paper == 0.3244
    compared = differences("5", [textvqa, oven])
    assert compared.rows[0].cells[0].value == 0.75
    assert compared.rows[0].cells[4] == "-"


def test_samples_that_a_metric_leaves_out_are_no_pairs(tmp_path):
    policies = {"full": [1, None, 1, 1], "no_search": [0, 1, None, 1]}
    oven = answers(tmp_path / "oven", "oven", policies)
    found = differences("5", [oven]).rows[0].cells[4]
    assert (found.value, found.n) == (0.5, 2)
    nothing = answers(tmp_path / "none", "oven", {"full": [1, None], "no_search": [None, 1]})
    assert differences("5", [nothing]) is None


def test_masks_of_free_running_answers_are_shown(tmp_path):
    runs = [masks(tmp_path / split, "refcoco", split, "giou", 0.7) for split in ("val", "testB")]
    cells = row(table("3", runs), "PixSearch, 7:9")
    assert [cell.value for cell in cells[:-1]] == [0.7, None, 0.7, None, None, None, None]
    bad = masks(tmp_path / "bad", "refcoco", "val", "giou", 0.1)
    assert row(table("3", runs, {"1to9": [bad]}), "PixSearch, 1:9")[0].value == 0.1


def test_a_folder_that_fills_nothing_is_refused(folder, tmp_path):
    textvqa = answers(tmp_path / "textvqa", "textvqa", {"full": [1]})
    with pytest.raises(ValueError, match="is of textvqa val, of which table 1 has no column"):
        table("1", [folder, textvqa])
    own = crag_mm(tmp_path / "own", {"mine": FULL})
    with pytest.raises(ValueError, match=r"has mine, of which table 1 has no row of ours; name"):
        table("1", [own])
    assert row(table("1", [], {"mine": [own]}), "mine")[1].value == 0.75


def test_teacher_forced_masks_are_never_shown(tmp_path):
    folder = masks(tmp_path / "val", "refcoco", "val", "giou", 0.7)
    results = json.loads((folder.path / "results.json").read_text())
    del results["modes"]["free_running"]
    (folder.path / "results.json").write_text(json.dumps(results))
    only = ResultFolder.open(folder.path)
    with pytest.raises(ValueError, match="has nothing of free_running; it has teacher_forced"):
        table("3", [], {"1to9": [only]})


def test_a_column_is_of_one_benchmark(folder, tmp_path):
    other = crag_mm(tmp_path / "other", {"full": FULL}, name="crag_mm_multi")
    asked = r"overall: truthfulness: the runs are of several benchmarks, crag_mm_single public_test"
    with pytest.raises(ValueError, match=asked):
        of_layout(LAYOUTS["1"], [folder, other], {})


def test_masks_of_each_split_are_found(tmp_path):
    root = tmp_path / "outputs" / "evaluation"
    for split in ("val", "testA"):
        masks(root / f"refcoco_{split}", "refcoco", split, "giou", 0.7)
    asked = options(tmp_path / "tables", table="3")
    asked.paths.outputs = str(tmp_path / "outputs")
    cells = row(compose(asked).tables[0], "PixSearch, 7:9")
    assert [cell.value for cell in cells[:3]] == [0.7, 0.7, None]


def test_masks_of_the_only_split_are_found_where_evaluate_puts_them(tmp_path):
    for name, value in (("ade20k", 0.5), ("coco_stuff", 0.4), ("ade20k_present", 0.9)):
        command = composed("evaluate", f"benchmark={name}")
        folder = tmp_path / command.output_dir
        masks(folder, name, command.benchmark.split, "semseg_miou", value)
    root = tmp_path / "outputs" / "evaluation"
    bad = masks(root / "ade20k_of_another", "ade20k", "validation", "semseg_miou", 0.1)
    asked = options(tmp_path / "tables", table="2", runs=[f"1to9:{bad.path}"])
    asked.paths.outputs = str(tmp_path / "outputs")
    found = compose(asked).tables[0]
    assert [cell.value for cell in row(found, "PixSearch, 7:9")[:-1]] == [0.5, 0.4]
    assert row(found, "PixSearch, 1:9")[0].value == 0.1
    masks(root / "ade20k_training", "ade20k", "training", "semseg_miou", 0.6)
    both = r"ADE20K: the runs are of several benchmarks, ade20k \w+ \(.*\), ade20k \w+ \(.*make a"
    with pytest.raises(ValueError, match=both) as raised:
        compose(asked)
    assert "\n" not in str(raised.value)


def test_the_protocol_says_what_was_made_by_what(folder):
    card = dict(of_layout(LAYOUTS["1"], [folder], {}).protocol)
    assert card[str(folder.path)] == (
        "crag_mm_single v1, split public_test, 8 samples, files ffffffffffff, "
        "checkpoint cccccccccccc"
    )
    assert card[f"{folder.path}, full"] == "2 samples failed, 1 searches failed, 25.0 % unscored"
    assert (card["judge"], card["policy.k"]) == ("rules", "5")


def test_protocols_that_differ_are_told_apart(folder, tmp_path):
    other = crag_mm(tmp_path / "other", {"full": FULL})
    results = json.loads((other.path / "results.json").read_text())
    results["protocol"]["judge"] = "gpt"
    (other.path / "results.json").write_text(json.dumps(results))
    card = dict(compose(options(other.path, table="1", runs=[folder.path, other.path])).protocol)
    assert card["judge"] == f"rules ({folder.path}); gpt ({other.path})"


def test_slices_have_their_own_denominators(folder):
    found = slices_table(folder, policies=None, metric=None)
    assert [column.name for column in found.columns] == ["full", "whole_image", "n"]
    food = row(found, "domain: food")  # samples 0, 3, 6
    assert [round(cell.value, 3) for cell in food[:2]] == [0.667, 0.333]
    assert food[2] == "3"
    truth = slices_table(folder, policies=["whole_image"], metric="truthfulness")
    assert row(truth, "is_egocentric: true")[0].value == -0.25
    with pytest.raises(ValueError, match="no scores of no_text; evaluate"):
        slices_table(folder, policies=["no_text"], metric=None)
    with pytest.raises(ValueError, match=r"metric=f1: .* has accuracy"):
        slices_table(folder, policies=None, metric="f1")


def test_a_sample_that_a_metric_leaves_out_is_in_no_slice(tmp_path):
    found = answers(tmp_path / "a", "oven", {"full": [1, None, 0]})
    lines = (tmp_path / "a" / "scores" / "full.jsonl").read_text()
    path = tmp_path / "a" / "scores" / "full.jsonl"
    path.write_text(lines.replace('"slices": {}', '"slices": {"kind": "x"}'))
    assert row(slices_table(found, policies=None, metric=None), "kind: x")[1] == "2"


def options(output, **changes):
    changes["runs"] = [str(run) for run in changes.get("runs", [])]
    return MakeTableOptions(output_dir=str(output), **changes)


def test_three_files_are_written(folder, tmp_path):
    out = tmp_path / "tables"
    paths = make_table(options(out, table="6", runs=[folder.path, f"only_text:{folder.path}"]))
    assert [path.name for path in paths] == ["table_6.md", "table_6.tex", "table_6.html"]
    assert all("full, no region" in path.read_text() for path in paths)
    again = make_table(options(out, table="6", runs=[folder.path], format=TableFormat.latex))
    assert [path.name for path in again] == ["table_6.tex"]


def test_folders_need_not_be_named(tmp_path):
    crag_mm(tmp_path / "outputs" / "evaluation" / "crag_mm_single", {"full": FULL})
    asked = options(tmp_path / "tables", table="1")
    asked.paths.outputs = str(tmp_path / "outputs")
    assert row(compose(asked).tables[0], "PixSearch, full")[1].value == 0.75
    asked.table = "4"
    with pytest.raises(
        ValueError, match="no results of hotpotqa, nq_open, popqa, musique; evaluate"
    ):
        compose(asked)


def test_figures_take_the_folders_of_their_tables(tmp_path):
    policies = {"full": FULL, "no_search": WHOLE, "budget_1": FULL}
    searches = {"full": [["region"]] * len(FULL)}
    root = tmp_path / "outputs"
    crag_mm(root / "evaluation" / "crag_mm_single", policies, searches=searches)
    asked = options(tmp_path / "tables", figure="4")
    asked.paths.outputs = str(root)
    assert [path.name for path in make_table(asked)] == ["figure_4.png", "figure_4.md"]
    asked.figure = "budgets"
    assert [path.name for path in make_table(asked)] == ["figure_budgets.png"]
    asked.paths.outputs = str(tmp_path)
    with pytest.raises(ValueError, match=r"no results of crag_mm_single, .*; evaluate, or name"):
        make_table(asked)


MISTAKES = {
    "": "give one of table=1|2|3",
    "table=9": "table=9: choose one of 1, 2",
    "figure=9": "figure=9: choose one of 4, budgets, losses",
    "table=1 figure=4": "give one of table=",
    "table=1 runs=[nowhere]": "nowhere: no results.json",
    "table=slices": "table=slices: name folders",
    "figure=losses": "figure=losses: name folders",
    "table=mixtures": "rows of table=mixtures are stage_1",
    "table=1 format=word": "markdown, latex, html",
}


@pytest.mark.parametrize("command", MISTAKES)
def test_a_mistake_is_one_line(command, tmp_path):
    done = run_script_here("make_table", *command.split(), f"output_dir={tmp_path}/tables")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert MISTAKES[command] in done.stderr


def test_what_is_no_result_is_named(tmp_path):
    (tmp_path / "results.json").write_text("{")
    with pytest.raises(ValueError, match=r"results\.json is broken"):
        compose(options(tmp_path, table="1", runs=[tmp_path]))
    (tmp_path / "results.json").write_text('{"runs": [], "paper": 1.2}')
    with pytest.raises(ValueError, match="no results of an evaluation"):
        compose(options(tmp_path, table="1", runs=[tmp_path]))
