"""experiment=tableN runs what table N shows of ours."""

import re
from pathlib import Path

import pytest
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from pixsearch.evaluation import workbench
from pixsearch.evaluation.paper_tables.layouts import CRAG_MM, FREE_RUNNING, LAYOUTS
from pixsearch.generation.opening import open_model
from tests.commands import run_script_here
from tests.test_configs import choices, composed

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "configs" / "experiment"
TABLES = sorted(path.stem.removeprefix("table") for path in FOLDER.glob("table*.yaml"))


def swept(number):
    params = OmegaConf.load(FOLDER / f"table{number}.yaml").hydra.sweeper.params
    return {name: values.split(",") for name, values in params.items()}


@pytest.mark.parametrize("number", TABLES)
def test_all_rows_of_ours_are_run(number):
    ours = {row.section for row in LAYOUTS[number].rows if row.is_ours}
    policies = swept(number).get("policy", [])
    assert len(policies) == len(set(policies))
    assert set(policies) == ours - {FREE_RUNNING, "pipeline"}  # the pipeline is another model
    assert set(policies) <= set(choices("policy"))


@pytest.mark.parametrize("number", TABLES)
def test_all_columns_are_run(number):
    columns = {name for column in LAYOUTS[number].columns for name in column.benchmarks}
    benchmarks = swept(number).get("benchmark", CRAG_MM)
    assert set(benchmarks) == columns


def jobs(number, *overrides):
    """The options of each job of `evaluate.py experiment=tableN OVERRIDES`."""
    params = [f"{name}={','.join(values)}" for name, values in swept(number).items()]
    parsed = OverridesParser.create().parse_overrides([*params, *overrides])
    (batch,) = BasicSweeper.split_arguments(parsed, None)
    return [composed("evaluate", *job) for job in batch]


def test_another_checkpoints_answers_have_folders_of_their_own():
    folder = "output_dir=outputs/llava_13b/${benchmark.name}"
    found = [job.output_dir for job in jobs("4", "policy=no_search", folder)]
    names = ("hotpotqa", "nq_open", "popqa", "musique")
    assert found == [f"outputs/llava_13b/{name}" for name in names]


def test_task_1_of_crag_mm_is_swept_without_words():
    benchmark = "benchmark=crag_mm_single_image"
    for number, policies in (
        ("1", "no_search,whole_image,no_text"),
        ("6", "no_text,only_region,only_image"),
    ):
        found = [job.policy for job in jobs(number, benchmark, f"policy={policies}")]
        assert [policy.name for policy in found] == policies.split(",")
        assert all(policy.forced_first != "text_query" for policy in found)
        assert not any("text" in policy.allow for policy in found)
        assert f"policy={policies}" in (FOLDER / f"table{number}.yaml").read_text()


DOCUMENTS = [ROOT / "README.md", *ROOT.glob("docs/*.md"), *ROOT.glob("configs/**/*.yaml")]


def test_documented_commands_keep_checkpoints_apart():
    """The default folder is that of PixSearch's own checkpoint."""
    seen = 0
    for path in DOCUMENTS:
        text = path.read_text().replace("\\\n", " ")
        for command in re.findall(r"scripts/evaluate\.py .*checkpoint=.*", text):
            if "--cfg" not in command and "checkpoint=outputs/search/final" not in command:
                seen += 1
                assert "output_dir=" in command, f"{path}: {command}"
    assert seen > 5


@pytest.mark.slow
def test_rows_of_a_table_share_one_loaded_model(finished_demo, tmp_path, monkeypatch):
    run, opened = finished_demo / "runs" / "seed3-smoke", []

    def counting(checkpoint, *more, **options):
        opened.append(checkpoint)
        return open_model(checkpoint, *more, **options)

    monkeypatch.setattr(workbench, "open_model", counting)
    monkeypatch.setattr(workbench, "_opened", {})
    folder = f"output_dir={tmp_path}/evaluation"
    command = ("experiment=table7", f"paths.miniature={run}", "benchmark.limit=4", folder)
    done = run_script_here("evaluate", *command)
    assert done.returncode == 0, done.stderr
    assert len(opened) == 1
    predicted = {path.stem for path in (tmp_path / "evaluation" / "predictions").glob("*.jsonl")}
    assert predicted == {"no_search", "budget_1", "budget_2", "budget_3", "budget_4"}
    asked = ("table=7", f"runs=[{tmp_path}/evaluation]", f"output_dir={tmp_path}/tables")
    assert run_script_here("make_table", *asked).returncode == 0
    assert "not run" not in (tmp_path / "tables" / "table_7.md").read_text()
