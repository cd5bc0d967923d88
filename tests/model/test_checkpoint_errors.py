import json
from pathlib import Path

import pytest
from tokenizers import AddedToken
from transformers import PreTrainedTokenizerFast

from pixsearch.config import ModelOptions
from pixsearch.model import PixSearch
from tests.tiny import tiny_model_folder, write_tiny_parts


def one_line(error: pytest.ExceptionInfo[ValueError]) -> bool:
    return len(str(error.value).splitlines()) == 1


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"its config\.json is not there; give a folder") as error:
        PixSearch.from_pretrained(tmp_path)
    assert one_line(error)


def test_checkpoint_of_another_model(tmp_path: Path) -> None:
    write_tiny_parts(tmp_path)
    with pytest.raises(ValueError, match="is of a 'llava' model; give a folder") as error:
        PixSearch.from_pretrained(tmp_path / "language_model")
    assert one_line(error)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"lora_rank": 2, "lora_targets": ["q_proj"]}, "6 missing .*q_proj"),
        ({"segmenter": {"mask_decoder_config": {"mlp_dim": 16}}}, "of another shape .*mlp"),
    ],
)
def test_weights_of_another_config(tmp_path: Path, change: dict[str, object], said: str) -> None:
    folder = tiny_model_folder(tmp_path)
    config = json.loads((folder / "config.json").read_text())
    for name, value in change.items():
        if name == "segmenter":
            config[name]["mask_decoder_config"] |= value["mask_decoder_config"]  # type: ignore[index]
        else:
            config[name] = value
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=said) as error:
        PixSearch.from_pretrained(folder)
    assert one_line(error)


@pytest.mark.parametrize("option", ["language_model", "segmenter"])
def test_part_that_is_not_there(tmp_path: Path, option: str) -> None:
    options = write_tiny_parts(tmp_path)
    (tmp_path / "empty").mkdir()
    setattr(options, option, str(tmp_path / "empty"))
    with pytest.raises(ValueError, match=f"model.{option}=.*empty") as error:
        PixSearch.compose(options)
    assert one_line(error)


def test_backbone_with_our_tokens_is_refused(tmp_path: Path) -> None:
    options = write_tiny_parts(tmp_path)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(options.language_model)
    tokenizer.add_tokens([AddedToken("<seg>", special=True)])
    tokenizer.save_pretrained(options.language_model)
    with pytest.raises(ValueError, match=r"tokenizer has .* tokens, its embedding .* rows"):
        PixSearch.compose(options)


def test_lora_target_that_is_not_there(tmp_path: Path) -> None:
    options = write_tiny_parts(tmp_path)
    unknown = ModelOptions(
        language_model=options.language_model,
        segmenter=options.segmenter,
        lora_rank=2,
        lora_targets=["no_such_proj"],
    )
    with pytest.raises(ValueError, match="no_such_proj"):
        PixSearch.compose(unknown)


def test_model_without_tokenizer_says_so(shared_model: PixSearch) -> None:
    with pytest.raises(ValueError, match="no tokenizer"):
        _ = PixSearch(shared_model.config).tokenizer
