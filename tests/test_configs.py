"""Every YAML composes into its dataclass; a mistake is one line that names the option."""

import dataclasses
import functools
import itertools
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf
from transformers import AutoConfig, AutoImageProcessor

from pixsearch.config import (
    BenchDataOptions,
    BenchGenerationOptions,
    BenchIndexOptions,
    BenchRetrievalOptions,
    BenchServerOptions,
    BenchTrainingOptions,
    BuildIndexOptions,
    BuildMiniatureTrajectoriesOptions,
    BuildTrajectoriesOptions,
    BuildWorldOptions,
    Control,
    ConvertOptions,
    DemoOptions,
    DetectorKind,
    DownloadOptions,
    EncoderOptions,
    EvaluateOptions,
    ForcedFirst,
    ImportCorpusOptions,
    InferOptions,
    InspectDataOptions,
    JudgeKind,
    JudgingOptions,
    MakeTableOptions,
    OnError,
    PlanOptions,
    Pooling,
    PoolOptions,
    PrepareDataOptions,
    PrepareKnowledgeOptions,
    PretrainOptions,
    ReportOptions,
    ScaleOptions,
    ServeOptions,
    ServeRetrieverOptions,
    TextSearch,
    TrainDetectorOptions,
    TrainOptions,
    from_omegaconf,
)
from pixsearch.datasets import READERS as DATASET_READERS
from pixsearch.datasets.mixture import block_quotas
from pixsearch.datasets.published import PUBLISHED
from pixsearch.datasets.questions import QUESTION_READERS
from pixsearch.model.config import PixSearchConfig
from pixsearch.model.families import family_of
from pixsearch.retrieval import encoders
from pixsearch.retrieval.sources import READERS
from pixsearch.trajectories.sources import check_training_splits
from tests.commands import run_script, run_script_here

ROOT = Path(__file__).parents[1]
CONFIGS = ROOT / "configs"
OPTIONS = {
    "train": TrainOptions,
    "plan": PlanOptions,
    "inspect_data": InspectDataOptions,
    "bench_generation": BenchGenerationOptions,
    "bench_training": BenchTrainingOptions,
    "bench_data": BenchDataOptions,
    "bench_retrieval": BenchRetrievalOptions,
    "scale_table": ScaleOptions,
    "evaluate": EvaluateOptions,
    "build_index": BuildIndexOptions,
    "import_corpus": ImportCorpusOptions,
    "bench_index": BenchIndexOptions,
    "prepare_knowledge": PrepareKnowledgeOptions,
    "prepare_data": PrepareDataOptions,
    "infer": InferOptions,
    "build_world": BuildWorldOptions,
    "build_trajectories": BuildTrajectoriesOptions,
    "build_miniature_trajectories": BuildMiniatureTrajectoriesOptions,
    "report": ReportOptions,
    "judge": JudgingOptions,
    "pool": PoolOptions,
    "make_table": MakeTableOptions,
    "pretrain_miniature": PretrainOptions,
    "demo": DemoOptions,
    "train_detector": TrainDetectorOptions,
    "download": DownloadOptions,
    "convert_checkpoint": ConvertOptions,
    "serve": ServeOptions,
    "serve_retriever": ServeRetrieverOptions,
    "bench_server": BenchServerOptions,
}
TYPES = ["text", "image", "region"]


def choices(group: str) -> list[str]:
    return sorted(path.stem for path in (CONFIGS / group).glob("*.yaml"))


@functools.cache
def composed(script: str, *overrides: str):
    """The typed options of `scripts/SCRIPT.py` under `overrides`."""
    ConfigStore.instance().store(name="options", node=OPTIONS[script])
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return from_omegaconf(OPTIONS[script], compose(script, list(overrides)))


ENCODERS = ("text_encoder", "image_encoder")
REQUIRED = {
    "prepare_data": ["action=check"],
    "infer": ["question=why", "checkpoint=somewhere"],
    "import_corpus": ["reader=wiki6m", "source=somewhere", "knowledge_base=there"],
    "convert_checkpoint": ["source=LISA", "clip=CLIP", "output_dir=converted"],
}
TABLES = [name for name in choices("experiment") if name.startswith("table")]
TRAINED = sorted({*choices("experiment")} - {*TABLES, "miniature_mix"})
CASES = [
    *[(script, []) for script in OPTIONS],
    *[("train", [f"model={name}"]) for name in choices("model")],
    *[("train", [f"data={data}", f"stage={stage}"])
      for data in choices("data") for stage in choices("stage")],
    *[("train", ["stage=search", f"ratio={name}"]) for name in choices("ratio")],
    *[(script, [f"experiment={name}", f"stage={stage}"]) for script in ("train", "plan")
      for name in TRAINED for stage in choices("stage")],
    *[("evaluate", [f"experiment={name}"]) for name in TABLES],
    ("demo", ["experiment=miniature_mix"]),
    *[("build_index", [f"retrieval={name}"])
      for name in sorted({*choices("retrieval")} - {*choices("benchmark")})],
    *[("build_index", [f"retrieval/{side}={name}"]) for side in ENCODERS
      for name in choices(f"retrieval/{side}")],
    *[("evaluate", [f"benchmark={name}"]) for name in choices("benchmark")],
    ("report", ["benchmark=miniature"]),
    *[("judge", [f"judge={name}"]) for name in choices("judge")],
    ("judge", ["benchmark=miniature", "judge@second_judge=rules"]),
    *[("evaluate", [f"policy={name}"]) for name in choices("policy")],
    *[("build_trajectories", [f"building={name}"]) for name in choices("building")],
    *[("demo", [f"preset={name}"]) for name in choices("preset")],
    *[("demo", [f"foundation={name}"]) for name in choices("foundation")],
]  # fmt: skip


@pytest.mark.parametrize(("script", "overrides"), CASES, ids=lambda x: str(x))
def test_composes(script, overrides):
    options = composed(script, *REQUIRED.get(script, []), *overrides)
    assert isinstance(options, OPTIONS[script])


def test_every_script_and_every_group_is_covered():
    assert {path.stem for path in CONFIGS.glob("*.yaml")} == OPTIONS.keys() | {"common"}
    groups = {path.name for path in CONFIGS.iterdir() if path.is_dir()}
    tested = {override.split("=")[0] for _, overrides in CASES for override in overrides}
    # read by accelerate and transformers; tests/training/test_cluster.py composes the launcher
    assert groups - tested == {"accelerate", "architecture", "hydra"}


def test_the_papers_source():
    retrieval = composed("build_index", "retrieval=paper").retrieval
    text, image = retrieval.text_encoder, retrieval.image_encoder
    assert (text.model, text.dimension) == ("sentence-transformers/all-mpnet-base-v2", 768)
    assert (image.name, image.pooling, image.dimension) == ("dino", Pooling.cls, 1024)
    assert retrieval.text_search is TextSearch.dense


QUESTION_BENCHMARKS = {
    *("aokvqa", "aokvqa_choice", "encyclopedic_vqa", "gqa", "hotpotqa", "infoseek", "musique"),
    *("nq_open", "okvqa", "oven", "popqa", "textvqa", "textvqa_ocr", "vqav2", "webqa"),
}


def test_questions_but_crag_mms_search_the_papers_wikipedia():
    paper = composed("build_index", "retrieval=paper").retrieval
    own = {"encyclopedic_vqa": "data/encyclopedic_vqa/knowledge_base"}
    for name in sorted(QUESTION_BENCHMARKS):
        options = composed("evaluate", f"benchmark={name}")
        assert options.benchmark.name == name
        assert options.output_dir == f"outputs/evaluation/{name}"
        assert options.retrieval.knowledge_base == own.get(name, paper.knowledge_base)
        changes = {"knowledge_base": paper.knowledge_base, "index": paper.index}
        assert dataclasses.replace(options.retrieval, **changes) == paper
    chosen = composed("evaluate", "benchmark=oven", "retrieval=wikipedia").retrieval
    assert chosen.knowledge_base == "data/wikipedia"


def test_crag_mms_answers_are_cut_by_the_tokenizer_that_is_fetched():
    (file,) = PUBLISHED["llama_3_2_tokenizer"].fetches
    for name in ("crag_mm_single", "crag_mm_single_image", "crag_mm_multi"):
        found = composed("evaluate", f"benchmark={name}").benchmark.tokenizer
        assert found == f"data/{file.folder}/{Path(file.url).name}"


def test_an_encoder_of_crag_mm_replaces_another_wholly():
    sides = ("retrieval/text_encoder=bge_large", "retrieval/image_encoder=clip_l14_336")
    retrieval = composed("build_index", "retrieval=paper", *sides).retrieval
    text, image = retrieval.text_encoder, retrieval.image_encoder
    assert (text.model, text.pooling, text.prefix) == ("BAAI/bge-large-en-v1.5", Pooling.mean, "")
    assert (image.name, image.pooling, image.dimension) == ("clip", Pooling.none, 768)


@pytest.mark.parametrize("side", ENCODERS)
def test_an_encoders_file_leaves_nothing_of_another(side):
    """All values but the batch's size, which is the machine's."""
    names = {field.name for field in dataclasses.fields(EncoderOptions)} - {"batch_size"}
    for name in choices(f"retrieval/{side}"):
        values = OmegaConf.load(CONFIGS / "retrieval" / side / f"{name}.yaml")
        assert values.keys() == names, name
        assert values.name in encoders.ENCODERS


def test_stages_are_the_papers():
    ground, search = composed("train").stage, composed("train", "stage=search").stage
    assert (ground.optim.lr, search.optim.lr) == (2e-4, 1e-4)
    assert ground.batch_size * ground.accumulation == 60
    assert ground.loss == search.loss
    assert (ground.loss.language, ground.loss.mask_overlap, ground.loss.mask_bce) == (1, 8, 2)


@pytest.mark.parametrize(
    ("stage", "lr", "steps"), [("ground", 2e-4, 10000), ("search", 1e-4, 3000)]
)
def test_pixsearch_13b_is_the_paper(stage, lr, steps):
    options = composed("train", "experiment=pixsearch_13b", f"stage={stage}")
    model, chosen, loss = options.model, options.stage, options.stage.loss
    assert (model.ground_by, model.tagger_width, model.mask_feedback) == ("span", 2048, True)
    assert (model.lora_rank, model.lora_targets) == (8, ["q_proj", "v_proj"])
    assert (chosen.name, chosen.optim.lr, chosen.steps) == (stage, lr, steps)
    assert (chosen.batch_size, chosen.accumulation, chosen.optim.weight_decay) == (6, 10, 0)
    assert chosen.optim.betas == [0.9, 0.95]
    assert chosen.trainable == ["lora", "tokens", "grounding", "mask_decoder", "prompt_encoder"]
    assert loss.overlap == "focal_tversky"
    weights = (loss.language, loss.mask_overlap, loss.mask_bce, loss.teacher, loss.span_tagging)
    assert weights == (1, 8, 2, 0.1, 2)


def test_plum_13b_is_what_its_scripts_do():
    ground = composed("train", "experiment=plum_13b")
    assert (ground.model.ground_by, ground.model.mask_feedback) == ("span", True)
    assert (ground.stage.optim.lr, ground.stage.steps, ground.stage.max_length) == (
        3e-4,
        12500,
        768,
    )
    assert (ground.stage.loss.overlap, ground.stage.loss.teacher) == ("dice", 0)
    assert ground.stage.trainable_tokens == "all"
    search = composed("train", "experiment=plum_13b", "stage=search").stage
    assert (search.optim.lr, search.steps, search.max_length) == (1e-4, 3000, 3072)  # PixSearch's
    assert search.loss == ground.stage.loss


DIFFERENCES = {  # the paper's value and that of the scripts
    "stage.loss.overlap": ("focal_tversky", "dice"),
    "stage.loss.teacher": ("0.1", "0.0"),
    "stage.optim.lr": ("2e-4", "3e-4"),
    "stage.trainable_tokens": ("new_rows", "all"),
    "stage.steps": ("10000", "12500"),
    "stage.max_length": ("2048", "768"),
}


@pytest.mark.parametrize(("name", "place"), [("plum_13b", 0), ("pixsearch_13b", 1)])
def test_paper_and_scripts_are_overrides_of_each_other(name, place):
    """On the same parts, stage ground."""
    same = ("model=plum_13b", "model.ground_by=span", "model.mask_feedback=true")
    other = {"plum_13b": "pixsearch_13b", "pixsearch_13b": "plum_13b"}[name]
    overrides = [f"{option}={values[place]}" for option, values in DIFFERENCES.items()]
    changed = composed("train", f"experiment={name}", *same, *overrides)
    assert changed == composed("train", f"experiment={other}", *same)


def test_a_plan_takes_what_train_takes():
    overrides = ("experiment=plum_13b", "stage=search", "stage.batch_size=2", "model.lora_rank=4")
    train, plan = composed("train", *overrides), composed("plan", *overrides)
    for field in dataclasses.fields(train):
        assert getattr(plan, field.name) == getattr(train, field.name)


SIDES = [round(64 * 1.25**step) for step in range(21)]  # up to 5,551 pixels
TEXT = {"ground": 2048 - 576, "search": 3072 - 576}  # what the paper's size leaves for text


@pytest.mark.parametrize("stage", TEXT)
@pytest.mark.parametrize("model", sorted(set(choices("model")) - {"miniature"}))
def test_a_stage_has_room_for_the_images_of_its_model(model, stage):
    """By the family's own layout and the processor's limits in configs/architecture."""
    options = composed("train", f"model={model}", f"stage={stage}")
    folder = CONFIGS / "architecture" / options.model.language_model
    backbone = AutoConfig.from_pretrained(folder)
    processor = AutoImageProcessor.from_pretrained(folder).to_dict()
    family = family_of(PixSearchConfig(backbone=backbone, image_processor=processor))
    most = max(family.layout(size).num_tokens for size in itertools.product(SIDES, SIDES))
    num_positions = backbone.get_text_config().max_position_embeddings
    assert options.stage.max_length >= min(most + TEXT[stage], num_positions)
    assert options.stage.max_length <= num_positions
    assert options.stage.max_length - most >= 1024


@pytest.mark.parametrize("data", choices("data"))
def test_stage_2_draws_7_to_9(data):
    mixture = composed("train", "stage=search", f"data={data}").stage.mixture
    assert mixture["trajectories"] * 7 == pytest.approx(
        9 * sum(weight for name, weight in mixture.items() if name != "trajectories")
    )


@pytest.mark.parametrize("data", choices("data"))
@pytest.mark.parametrize("ratio", choices("ratio"))
def test_a_ratio_is_that_of_samples_drawn(data, ratio):
    quotas = block_quotas(
        composed("train", "stage=search", f"data={data}", f"ratio={ratio}").stage.mixture
    )
    earlier, later = (int(number) for number in ratio.split("to"))
    drawn = quotas.pop("trajectories")
    assert drawn * earlier == later * sum(quotas.values())


def test_the_papers_nine_sets():
    options = composed("train")
    assert len(options.stage.mixture) == 9
    assert options.data.on_error == "raise"
    readers = {name: options.data.sources[name].reader for name in options.stage.mixture}
    assert readers.keys() == {
        *("ade20k", "coco_stuff", "paco_lvis", "pascal_part", "part_imagenet"),
        *("refcoco", "refcoco_plus", "refcocog", "llava"),
    }
    assert {each.reader for each in options.data.sources.values()} <= DATASET_READERS.keys()
    chosen = composed(
        "train", "data.sources.coco_stuff.reader=coco_stuff", "data.on_error=quarantine"
    )
    assert chosen.data.sources["coco_stuff"].reader == "coco_stuff"
    assert chosen.data.on_error is OnError.quarantine


@pytest.mark.parametrize("data", choices("data"))
@pytest.mark.parametrize("stage", choices("stage"))
def test_a_mixture_names_datasets(data, stage):
    options = composed("train", f"stage={stage}", f"data={data}")
    assert options.stage.mixture.keys() <= options.data.sources.keys()


def test_the_miniature_changes_numbers_not_the_stage():
    paper, miniature = composed("train"), composed("train", "experiment=miniature")
    assert miniature.stage.name == paper.stage.name == "ground"
    assert miniature.stage.steps < paper.stage.steps
    assert miniature.stage.mixture.keys() == {"refcoco", "llava"}
    chosen = composed("train", "experiment=miniature", "stage=search", "stage.steps=7").stage
    assert (chosen.name, chosen.steps) == ("search", 7)


def policy(name: str):
    return composed("evaluate", f"policy={name}").policy


def test_there_are_all_policies():
    expected = ["no_search", "text_query", "whole_image", "full"]
    expected += [f"{kind}_{type}" for kind in ("no", "only") for type in TYPES]
    expected += [f"budget_{count}" for count in (1, 2, 3, 4)]
    expected += [control for control in Control if control != Control.none]
    assert choices("policy") == sorted([*expected, "pipeline"])
    assert sorted(composed("demo").policies) == sorted(expected)  # its detector trains apart


@pytest.mark.parametrize("name", choices("policy"))
def test_a_policy_is_called_like_its_file(name):
    assert policy(name).name == name


@pytest.mark.parametrize("type", TYPES)
def test_policies_of_types(type):
    assert policy(f"no_{type}").allow == [other for other in TYPES if other != type]
    assert policy(f"only_{type}").allow == [type]
    assert policy(f"no_{type}").max_searches == policy("full").max_searches


def test_policies_of_budgets():
    assert (policy("no_search").allow, policy("no_search").max_searches) == ([], 0)
    for count in (1, 2, 3, 4):
        assert (policy(f"budget_{count}").allow, policy(f"budget_{count}").max_searches) == (
            TYPES,
            count,
        )


@pytest.mark.parametrize("name", ["text_query", "whole_image"])
def test_policies_that_force_the_first_query(name):
    assert policy(name).forced_first == ForcedFirst(name)
    assert policy(name).allow == []


def test_the_pipeline_looks_for_the_detector_where_it_was_trained():
    options = composed("evaluate", "policy=pipeline", "policy.detector.kind=miniature").policy
    assert (options.allow, options.forced_first) == ([], ForcedFirst.region)
    assert options.detector.kind == DetectorKind.miniature
    assert options.detector.folder == composed("train_detector").output_dir


@pytest.mark.parametrize("control", [control for control in Control if control != Control.none])
def test_controls_differ_from_full_in_nothing_else(control):
    full, other = policy("full"), policy(control)
    assert other.control == control
    assert dataclasses.replace(full, name=other.name, control=other.control) == other


def test_the_demo_keeps_each_seed_and_preset_apart():
    changes = [f"preset={preset}" for preset in choices("preset") if preset != "default"]
    changes += ["miniature.seed=7", "foundation=scratch"]
    plain = composed("demo").paths.miniature
    folders = {composed("demo", change).paths.miniature for change in changes}
    assert len(folders | {plain}) == len(changes) + 1
    assert plain == composed("train").paths.miniature


MISTAKES = {
    "train run.keep_checkpoints=-1": "run.keep_checkpoints=-1: at least 0",
    "train run.encode_batch=0": "run.encode_batch=0: at least 1",
    "train stage.stps=3": "stage.stps",
    "train stage.steps=abc": "stage.steps=abc",
    "train +stage.stps=3": "stps",
    "train stage=nope": "stage/nope",
    "train stage.trainable=[lora,projektor]": "projector, language_model, lora",
    "train ++stage.optim.lr_scale.projektor=2": "projektor",
    "train stage.optim.decay=nope": "linear, cosine, constant",
    "evaluate policy.allow=[regoin]": "text, image, region",
    "train nonsense": "nonsense",
    "prepare_data": "action",
    "prepare_data check sets=[ade]": "no data set 'ade'; there are: ade20k, coco_stuff",
    "train data.on_error=ignore": "raise, quarantine",
    "build_index retrieval.image_encoder.pooling=maen": "none, cls, mean, pooler",
    "build_index retrieval.region_scales=[0.5]": "retrieval.region_scales=[0.5]: at least one",
    "evaluate policy.region_crop=blured": "blurred_surround, multi_scale, mask_pooled",
    "inspect_data inspect.num_read=0": "inspect.num_read=0: at least 1",
    "plan plan.utilization=2": "plan.utilization=2.0: above 0 and at most 1",
    "plan plan.gpu=abacus": "a100_80gb",
    "evaluate policy=full,no_text": "--multirun",
    "evaluate -m policy=full +nope=1": "nope",
    "demo policy.allowed=[region]": "policy.allowed",
    "serve_retriever server.port=0 server.host=0.0.0.0": "server.allow_without_token=true",
    "serve_retriever server.queue_size=0": "server.queue_size=0: at least 1",
    "evaluate retrieval.server=http://a retrieval.fan_out=[http://b]": "give one server",
    "evaluate retrieval.text_search=lexical": "text_search",
    "evaluate retrieval.fusion.constant=0": "retrieval.fusion.constant=0: at least 1",
    "build_index retrieval.backend=qdrant": "say where, by retrieval.qdrant.url or path",
    "evaluate policy.on_search_failure=hope": "error, retry, answer_without",
    "build_trajectories search_kinds=[facts]": "multi_hop_knowledge",
    "build_trajectories teacher.concurrency=0": "teacher.concurrency=0: at least 1",
    "build_trajectories without_search_share=2": "without_search_share=2.0: between 0 and 1",
    "build_trajectories sources.textvqa.split=val": "textvqa: 'val' is not for training",
    "judge judge=oracle": "judge/oracle",
    "judge judge.endpoint.concurrency=0": "judge.endpoint.concurrency=0: at least 1",
    "infer image=photo.jpg": "checkpoint",
    "infer checkpoint=x question=why policy=shuffled_passages": "scripts/evaluate.py",
    "infer checkpoint=x question=why image=a/object_b.jpg": "image=a/object_b.jpg: there is no",
}


@pytest.mark.parametrize("command", MISTAKES)
def test_a_mistake_is_one_line(command):
    check_mistake(command, run_script_here)


def test_a_mistake_is_one_line_where_users_make_it():
    check_mistake("train stage.stps=3", run_script)


def check_mistake(command, run):
    script, *overrides = command.split()
    done = run(script, *overrides)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert MISTAKES[command] in done.stderr
    assert done.stdout == ""


def test_no_yaml_names_code():
    for path in CONFIGS.rglob("*.yaml"):
        assert "_target_" not in path.read_text(), path
        OmegaConf.load(path)


def test_the_papers_questions_are_built_from_and_none_that_is_evaluated():
    options = composed("build_trajectories")
    for name, source in options.sources.items():
        assert source.reader in QUESTION_READERS, name
    for name, source in options.held_out.items():
        assert source.reader in {**QUESTION_READERS, **DATASET_READERS}, name
    check_training_splits(options.sources)
    for name, source in options.held_out.items():
        with pytest.raises(ValueError, match="is not for training"):
            check_training_splits({name: source})


def test_a_second_judge_is_another_choice_of_the_same_group():
    changed = "second_judge.local.model=x"
    options = composed("judge", "judge=rules", "judge@second_judge=local", changed)
    assert (options.judge.kind, options.second_judge.kind) == (JudgeKind.rules, JudgeKind.local)
    assert options.second_judge.local.model == "x"
    assert composed("judge").second_judge is None


def test_a_prepared_source_is_a_knowledge_base_of_its_name():
    options = composed("prepare_knowledge")
    assert options.source in READERS
    assert options.output_dir == "data/wiki6m"
    assert options.file.startswith("data/wiki6m/")
