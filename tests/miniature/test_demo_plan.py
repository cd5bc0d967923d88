"""The demo hands on every option in a form that the other scripts accept."""

from dataclasses import replace

import pytest

from pixsearch.config import TextSearch
from pixsearch.miniature.demo import plan
from pixsearch.miniature.overrides import to_overrides
from pixsearch.miniature.steps import DATASETS
from tests.test_configs import composed

RUN = "outputs/miniature/runs/seed7-smoke-scratch"
ARGUMENTS = ("foundation=scratch", "miniature.seed=7", "preset=smoke", "policy.k=3")


def taken(step):
    """The options that a step's script makes of its arguments; of a sweep, the first job's."""
    sweeps = ("policy=", "retrieval=")
    single = [
        argument.split(",")[0] if argument.startswith(sweeps) else argument
        for argument in step.arguments
        if argument != "-m"
    ]
    return composed(step.script.removesuffix(".py"), *single)


@pytest.fixture(scope="module")
def steps():
    return {step.name: step for step in plan(composed("demo", *ARGUMENTS))}


def test_stages_get_their_own_options(steps):
    options = composed("demo", *ARGUMENTS)
    ground, search = taken(steps["stage 1: ground"]), taken(steps["stage 2: search"])
    assert ground.stage.mixture == {"refcoco": 2.0, "llava": 1.0, "trajectories": 0.0}
    assert replace(ground.stage, mixture=options.ground.mixture) == options.ground
    assert search.stage == options.search
    assert search.stage.init_from == f"{ground.run.output_dir}/final"


def test_every_step_stays_in_its_folder(steps):
    assert {
        taken(step).paths.miniature for name, step in steps.items() if name != "foundation"
    } == {RUN}
    assert taken(steps["foundation"]).output_dir == f"{RUN}/foundation"
    assert taken(steps["foundation"]).language_model_steps == 2


def test_policies_share_what_was_overridden(steps):
    assert taken(steps["evaluation"]).policy.k == taken(steps["trajectories"]).policy.k == 3


def test_a_dataset_that_was_dropped_stays_dropped():
    steps = {step.name: step for step in plan(composed("demo", "~ground.mixture.llava"))}
    assert taken(steps["stage 1: ground"]).stage.mixture["llava"] == 0.0


def test_the_demo_knows_the_datasets_of_the_miniature():
    assert set(composed("train", "experiment=miniature").data.sources) == set(DATASETS)


def test_mixtures_start_from_one_stage_1():
    options = composed("demo", "experiment=miniature_mix", "preset=smoke", "search.steps=3")
    steps = {step.name: step for step in plan(options)}
    run = options.paths.miniature
    trained = {name: taken(steps[f"stage 2: {name}"]) for name in ("1to9", "5to9", "7to9")}
    assert {each.stage.init_from for each in trained.values()} == {f"{run}/ground/final"}
    assert {each.stage.steps for each in trained.values()} == {3}
    weights = [each.stage.mixture["trajectories"] for each in trained.values()]
    assert weights == [63.0, 12.6, 9.0]
    assert trained["1to9"].run.output_dir == f"{run}/mixtures/1to9/search"
    assert trained["7to9"].run.output_dir == f"{run}/search"  # that of a demo without mixtures
    evaluated = taken(steps["evaluation: 5to9"])
    assert evaluated.checkpoint == f"{trained['5to9'].run.output_dir}/final"
    assert evaluated.output_dir == f"{run}/mixtures/5to9/evaluation"
    assert taken(steps["evaluation: stage 1"]).checkpoint == f"{run}/ground/final"
    assert taken(steps["table"]).runs == [
        f"stage_1:{run}/mixtures/stage_1",
        f"1to9:{run}/mixtures/1to9/evaluation",
        f"5to9:{run}/mixtures/5to9/evaluation",
        f"7to9:{run}/evaluation",
    ]
    assert "report" not in steps


def test_a_mixture_that_is_none_is_refused():
    with pytest.raises(ValueError, match="mixtures: '7:9' is none; write 7to9"):
        plan(composed("demo", "mixtures=['7:9']"))


def test_retrieval_is_the_same_in_every_step():
    options = composed("demo", "retrieval.text_search=bm25", "retrieval.factory=HNSW32")
    for step in plan(options):
        if step.name in ("indexes", "trajectories", "stage 1: ground", "evaluation", "report"):
            found = taken(step).retrieval
            assert found.text_search is TextSearch.bm25
            assert found.factory == "HNSW32"


@pytest.mark.parametrize(
    "override",
    [
        "policy.max_searches=2",
        "policy=no_region",
        "miniature.root=x",
        "retrieval.index=x",
        "benchmark.name=x",
    ],
)
def test_an_option_that_no_step_would_take_is_refused(override):
    with pytest.raises(ValueError, match="is no option of the whole demo"):
        plan(composed("demo", override))


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("policies=[fulll]", "policies: no fulll; there are budget_1, "),
        ("+ground.mixture.coco=1.0", "ground.mixture: no coco; there are refcoco, llava"),
    ],
)
def test_a_name_is_looked_up_before_anything_runs(override, told):
    with pytest.raises(ValueError, match=told):
        plan(composed("demo", override))


@pytest.mark.parametrize(
    "text", ["a b", "it's", "back\\slash", "end\\", "\\'", "", "null", "1", "[x]", "${y}=,"]
)
def test_text_survives_hydras_grammar(text):
    from hydra.core.override_parser.overrides_parser import OverridesParser

    from pixsearch.config import BenchmarkOptions

    lines = to_overrides("benchmark", BenchmarkOptions(name=text, root="r"))
    parsed = OverridesParser.create().parse_overrides(lines)
    assert parsed[0].value() == text
