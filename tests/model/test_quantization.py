"""4-bit weights: what is refused everywhere, and what works where bitsandbytes is installed."""

import importlib.util
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pixsearch.config import LossOptions, Quantization, TrainablePart, TrainOptions
from pixsearch.model import PixSearch
from pixsearch.model.quantization import check_quantization
from pixsearch.model.trainable import set_trainable
from tests.model.examples import batch
from tests.tiny import tiny_model

WITH_BITSANDBYTES = pytest.mark.skipif(
    importlib.util.find_spec("bitsandbytes") is None, reason="make setup EXTRAS=cpu,dev,qlora"
)
ADAPTERS = [TrainablePart.lora, TrainablePart.tokens]


def options(rank: int = 4, trainable: list[TrainablePart] = ADAPTERS) -> TrainOptions:
    found = TrainOptions()
    found.model = replace(found.model, quantization=Quantization.nf4, lora_rank=rank)
    found.stage.trainable = trainable
    return found


@pytest.mark.parametrize(
    ("asked", "is_split", "message"),
    [
        (options(rank=0), False, "set model.lora_rank"),
        (options(trainable=[TrainablePart.language_model]), False, "put lora for language_model"),
        (options(), True, "FSDP2 and ZeRO-3 cannot split"),
    ],
)
def test_what_cannot_train_is_refused(asked: TrainOptions, is_split: bool, message: str) -> None:
    with pytest.raises(ValueError, match=rf"model\.quantization=nf4: .*{message}") as error:
        check_quantization(asked, is_split=is_split)
    assert "\n" not in str(error.value)
    asked.model.quantization = Quantization.none
    check_quantization(asked, is_split=is_split)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(ValueError, match=r"bitsandbytes is not installed; run .*qlora"):
        check_quantization(options(), is_split=False)
    tiny_model().save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "bitsandbytes", "load_in_4bit": True}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"holds 4-bit weights: bitsandbytes is not installed"):
        PixSearch.from_pretrained(tmp_path)


@pytest.fixture
def model() -> PixSearch:
    return tiny_model(quantization=Quantization.nf4, lora_rank=2)


@WITH_BITSANDBYTES
def test_layers_of_the_language_model_alone_are_in_4_bits(model: PixSearch) -> None:
    kinds = {name: type(module).__name__ for name, module in model.named_modules()}
    packed = {name for name, kind in kinds.items() if kind == "Linear4bit"}
    assert len(packed) == 2 * 7  # layers of seven matrices
    assert all("language_model.layers." in name and "lora_" not in name for name in packed)
    inputs = batch(model)
    near = tiny_model(lora_rank=2)(**inputs).losses.total(LossOptions())
    torch.testing.assert_close(model(**inputs).losses.total(LossOptions()), near, rtol=0.02, atol=0)


@WITH_BITSANDBYTES
def test_a_checkpoint_says_how_it_is_read(model: PixSearch, tmp_path: Path) -> None:
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_()
    model.save_pretrained(tmp_path)
    saved = json.loads((tmp_path / "config.json").read_text())
    assert saved["quantization"] == "nf4"
    assert saved["quantization_config"]["bnb_4bit_quant_type"] == "nf4"
    PixSearch.from_pretrained(tmp_path).save_pretrained(tmp_path / "again")
    loaded = PixSearch.from_pretrained(tmp_path / "again").eval()
    before, after = model.state_dict(), loaded.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    inputs = batch(model)
    assert torch.equal(model(**inputs).logits, loaded(**inputs).logits)


@WITH_BITSANDBYTES
def test_adapters_and_new_rows_train(model: PixSearch) -> None:
    set_trainable(model, ADAPTERS)
    model.train()
    model(**batch(model)).losses.total(LossOptions()).backward()
    moved = {name for name, each in model.named_parameters() if each.grad is not None}
    assert any("lora_B" in name for name in moved)
    assert all("lora_" in name or name.startswith("new_rows") for name in moved)
