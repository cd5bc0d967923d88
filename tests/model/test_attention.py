"""Which kinds of attention a run may train with, and how they are set."""

import pytest
import torch

from pixsearch.config import Attention, LossOptions
from pixsearch.model import PixSearch
from pixsearch.model.attention import attending, check_attention, set_attention
from tests.model.examples import batch
from tests.tiny import tiny_model

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)
OTHERS = (Attention.flash_attention_2, Attention.flex_attention)


def kind(model: PixSearch) -> str:
    return model.backbone.model.language_model.config._attn_implementation


def test_sdpa_and_eager_run_everywhere() -> None:
    for attention in (Attention.sdpa, Attention.eager):
        for device in (CPU, GPU):
            check_attention(attention, device=device, precision="no")
    check_attention(Attention.flex_attention, device=GPU, precision="no")


@pytest.mark.parametrize("attention", OTHERS)
def test_a_cpu_is_refused(attention: Attention) -> None:
    with pytest.raises(ValueError, match=f"model.attention={attention}: .* CPU; or take .*sdpa"):
        check_attention(attention, device=CPU, precision="bf16")


def test_flash_attention_is_refused_where_it_cannot_run(monkeypatch: pytest.MonkeyPatch) -> None:
    flash = Attention.flash_attention_2
    with pytest.raises(ValueError, match=r"set model\.precision=bf16"):
        check_attention(flash, device=GPU, precision="no")
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(ValueError, match="flash-attn is not installed"):
        check_attention(flash, device=GPU, precision="bf16")
    monkeypatch.setattr("importlib.util.find_spec", lambda _: object())
    check_attention(flash, device=GPU, precision="bf16")


def test_the_language_model_alone_attends_otherwise() -> None:
    model = tiny_model()
    tower = model.backbone.model.vision_tower.config._attn_implementation
    inputs = batch(model)
    expected = model(**inputs).losses.total(LossOptions())
    set_attention(model, Attention.eager)
    assert (kind(model), tower) == (
        "eager",
        model.backbone.model.vision_tower.config._attn_implementation,
    )
    found = model(**inputs).losses.total(LossOptions())
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    with attending(model, Attention.sdpa):
        assert kind(model) == "sdpa"
    assert kind(model) == "eager"


def test_what_transformers_refuses_is_one_line() -> None:
    model = tiny_model()
    type(model.backbone.model.language_model)._supports_flex_attn = False
    try:
        with pytest.raises(ValueError, match=r"model\.attention=flex_attention: .*sdpa") as error:
            set_attention(model, Attention.flex_attention)
    finally:
        del type(model.backbone.model.language_model)._supports_flex_attn
    assert "\n" not in str(error.value)
