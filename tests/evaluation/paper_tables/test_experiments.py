"""experiment=tableN runs what table N shows of ours."""

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from pixsearch.evaluation import workbench
from pixsearch.evaluation.paper_tables.layouts import CRAG_MM, FREE_RUNNING, LAYOUTS
from pixsearch.generation.opening import open_model
from tests.commands import run_script_here
from tests.test_configs import choices

FOLDER = Path(__file__).parents[3] / "configs" / "experiment"
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
