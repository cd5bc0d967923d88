"""The families of backbones. A new one: a file with a `Family`, a line below."""

from transformers import PreTrainedConfig

from pixsearch.model.config import PixSearchConfig
from pixsearch.model.families.anyres import LlavaNext, LlavaOnevision
from pixsearch.model.families.family import Family
from pixsearch.model.families.internvl import InternVL
from pixsearch.model.families.llava import Llava
from pixsearch.model.families.qwen_vl import QwenVL

FAMILIES: dict[str, type[Family]] = {
    "llava": Llava,
    "llava_next": LlavaNext,
    "llava_onevision": LlavaOnevision,
    "qwen2_5_vl": QwenVL,
    "qwen3_vl": QwenVL,
    "internvl": InternVL,
}
"""`model_type` of a transformers config -> its family."""


def check_family(config: PreTrainedConfig) -> None:
    """See that a backbone is of a family that PixSearch knows.

    Raises:
        ValueError: it is not.
    """
    if config.model_type not in FAMILIES:
        raise ValueError(
            f"model.language_model: a {config.model_type!r} model is of no family that PixSearch "
            f"knows ({', '.join(FAMILIES)}); choose another backbone"
        )


def family_of(config: PixSearchConfig) -> Family:
    """The family of a model's backbone.

    Raises:
        ValueError: PixSearch knows none for it.
    """
    check_family(config.backbone)
    return FAMILIES[config.backbone.model_type](config)
