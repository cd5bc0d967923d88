"""experiment=tableN runs what table N shows of ours."""

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from pixsearch.evaluation.paper_tables.layouts import CRAG_MM, FREE_RUNNING, LAYOUTS
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
