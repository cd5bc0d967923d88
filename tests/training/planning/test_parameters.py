"""The numbers of weights: those of published models, and those of the model that is trained."""

from pathlib import Path

import pytest
from omegaconf import OmegaConf
from torch import nn

from pixsearch.config import ModelOptions, TrainablePart, TrainableTokens, from_omegaconf
from pixsearch.model import PixSearch
from pixsearch.model.trainable import set_trainable
from pixsearch.training.planning.architecture import planned_model
from pixsearch.training.planning.parameters import SPLIT, count_parameters
from tests.families import FAMILIES, write_family_parts
from tests.tiny import HIDDEN, tiny_model, write_tiny_parts

CONFIGS = Path(__file__).parents[3] / "configs"
ARCHITECTURES = str(CONFIGS / "architecture")
STAGE = [part for part in TrainablePart if part is not TrainablePart.language_model]


def options_of(name: str) -> ModelOptions:
    return from_omegaconf(ModelOptions, OmegaConf.load(CONFIGS / "model" / f"{name}.yaml"))


def test_plum_13b_to_the_last_weight() -> None:
    """The parts as PLUM's own log adds them up."""
    model = planned_model(options_of("plum_13b"), ARCHITECTURES)
    set_trainable(model, STAGE, TrainableTokens.all)
    counts = count_parameters(model)
    of = {part.name: part for part in counts.parts}
    assert of["language_model"].total + of["embedding_and_head"].total == 13_015_864_320
    assert of["projector"].total == 5_248_000
    assert of["vision_tower"].total == 303_179_776
    segmenter = ("segmenter_image_encoder", "prompt_encoder", "mask_decoder")
    assert sum(of[name].total for name in segmenter) == 641_090_608
    assert of["prompt_projection"].total == 27_530_496
    assert of["span_tagger"].total == 125_877_248 + 26_234_883  # the layer, the head
    assert of["mask_feedback"].total == 1_453_608
    assert of["mask_feedback"].frozen == 512 * 257  # its third FiLM, which PLUM never uses
    assert counts.published_without_lora == 14_146_478_939
    assert counts.published == 14_153_032_539
    assert counts.total == counts.published + 256 + 2 * 7 * 5120  # SAM's positions, our rows


# of the backbone and of the segmenter; configs/architecture/README.md says what they agree with
PUBLISHED = {
    "llava_13b_sam_h": (13_351_494_656, 641_090_864),
    "llava_next_13b_sam_h": (13_351_499_776, 641_090_864),
    "llava_onevision_7b_sam2_l": (8_030_807_584, 216_924_865),
    "qwen2_5_vl_7b_sam2_l": (8_292_166_656, 216_924_865),
    "qwen3_vl_8b_sam2_l": (8_767_123_696, 216_924_865),
    "internvl3_8b_sam2_l": (7_944_373_760, 216_924_865),
}


def test_every_model_that_a_config_names_has_sizes() -> None:
    names = {path.stem for path in (CONFIGS / "model").glob("*.yaml")}
    assert names - {"miniature", "plum_13b"} == PUBLISHED.keys()


@pytest.mark.parametrize("name", PUBLISHED)
def test_sizes_of_published_models(name: str) -> None:
    model = planned_model(options_of(name), ARCHITECTURES)
    backbone = sum(
        parameter.numel()
        for place, parameter in model.backbone.named_parameters()
        if "lora_" not in place
    )
    segmenter = sum(parameter.numel() for parameter in model.segmenter.parameters())
    assert (backbone, segmenter) == PUBLISHED[name]


def shapes(model: PixSearch) -> dict[str, tuple[int, ...]]:
    return {name: tuple(each.shape) for name, each in model.named_parameters()}


@pytest.mark.parametrize("name", ["llava", *FAMILIES])
def test_a_folder_brings_its_own_sizes(name: str, tmp_path: Path) -> None:
    is_llava = name == "llava"
    options = write_tiny_parts(tmp_path) if is_llava else write_family_parts(tmp_path, name)
    planned = planned_model(options, ARCHITECTURES)
    assert {each.device.type for each in planned.parameters()} == {"meta"}
    composed = PixSearch.compose(options)
    assert shapes(planned) == shapes(composed)
    assert {each.dtype for each in planned.parameters()} == {
        each.dtype for each in composed.parameters()
    }


def test_an_unknown_model_says_what_to_add() -> None:
    options = ModelOptions(language_model="some/model", segmenter="facebook/sam-vit-huge")
    with pytest.raises(ValueError, match=r"^model.language_model=some/model: its sizes") as caught:
        planned_model(options, ARCHITECTURES)
    assert "architecture/some/model/config.json" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_every_weight_is_in_one_part() -> None:
    model = tiny_model(lora_rank=4, lora_targets=["q_proj"])
    report = set_trainable(model, STAGE, TrainableTokens.new_rows)
    counts = count_parameters(model)
    assert counts.total == sum(each.numel() for each in model.parameters())
    assert counts.trainable == report.num_trainable
    assert {part.name for part in counts.parts if part.trainable} == {
        *(part.value for part in STAGE if part not in SPLIT),
        "new_token_rows",
        "prompt_projection",
    }


def test_a_module_that_no_part_names_has_a_row() -> None:
    model = tiny_model()
    model.tagger = nn.Linear(HIDDEN, HIDDEN)
    rows = {part.name: part.total for part in count_parameters(model).parts}
    assert rows["tagger"] == HIDDEN * (HIDDEN + 1)
