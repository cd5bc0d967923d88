import json

import numpy as np
import pytest
import torch
from PIL import Image

from pixsearch.config import EncoderOptions
from pixsearch.retrieval.convert_clip import convert_clip
from pixsearch.retrieval.encoders import open_image_encoder
from tests.retrieval.conftest import SIDE, tiny_clip


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"hidden_act": "gelu", "layer_norm_eps": 1e-3},
        {
            "intermediate_size": 100,
            "num_attention_heads": 3,
            "patch_size": 16,
            "projection_dim": 48,
        },
    ],
)
def test_same_vectors_as_transformers(changes, tmp_path):
    """At most 1e-5 apart, through files, preprocessing and all."""
    model = tiny_clip(**changes)
    for parameter in model.parameters():  # biases and norms start at 0 and 1, which hides mistakes
        torch.nn.init.normal_(parameter, std=0.3)
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
    convert_clip(model.state_dict(), model.config, tmp_path, mean=mean, std=std)
    encoder = open_image_encoder(
        EncoderOptions(
            name="open_clip",
            model=str(tmp_path),
            dimension=model.config.projection_dim,
            batch_size=2,
        )
    )
    noise = np.random.default_rng(0).integers(0, 256, (5, SIDE, SIDE, 3), dtype=np.uint8)

    pixels = torch.tensor(noise).permute(0, 3, 1, 2) / 255
    pixels = (pixels - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    with torch.inference_mode():
        expected = torch.nn.functional.normalize(model(pixels).image_embeds, dim=-1).numpy()
    found = encoder.encode_image([Image.fromarray(image) for image in noise])
    assert np.abs(found - expected).max() <= 1e-5


def test_unknown_activation_is_refused(tmp_path):
    model = tiny_clip(hidden_act="relu")
    with pytest.raises(ValueError, match="hidden_act='relu'"):
        convert_clip(model.state_dict(), model.config, tmp_path)


def test_tower_without_projection_is_refused(tmp_path):
    model = tiny_clip()
    with pytest.raises(ValueError, match="CLIPVisionModelWithProjection"):
        convert_clip(model.vision_model.state_dict(), model.config, tmp_path)


def test_folder_is_written_the_same_twice(tmp_path):
    model = tiny_clip()
    for name in ("first", "second"):
        convert_clip(model.state_dict(), model.config, tmp_path / name)
    first, second = (
        (tmp_path / name / "model.safetensors").read_bytes() for name in ("first", "second")
    )
    assert first == second
    described = json.loads((tmp_path / "first" / "open_clip_config.json").read_text())
    assert described["preprocess_cfg"]["mean"] == [0.5, 0.5, 0.5]
