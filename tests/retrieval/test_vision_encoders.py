"""DINO and CLIP through transformers, against what transformers itself computes."""

import functools
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch.nn import functional as F
from transformers import (
    AutoImageProcessor,
    AutoModel,
    CLIPImageProcessorPil,
    CLIPModel,
    CLIPVisionModel,
    CLIPVisionModelWithProjection,
)

from pixsearch.config import EncoderOptions, Pooling
from pixsearch.retrieval.crops import region_image
from pixsearch.retrieval.encoders import open_image_encoder

from .tiny import NUM_REGISTERS, write_clip, write_dino

KINDS = ("dinov2", "dinov2_with_registers", "dinov3_vit", "dinov3_convnext")
SIZES = ((90, 60), (40, 80), (64, 64), (3, 3), (30, 1))


@pytest.fixture(scope="module")
def dinos(tmp_path_factory):
    root = tmp_path_factory.mktemp("dino")
    return {kind: write_dino(root / kind, kind) for kind in KINDS}


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return write_clip(tmp_path_factory.mktemp("clip"))


def noise(size, seed=0):
    width, height = size
    drawn = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(drawn)


def images():
    return [noise(size, seed) for seed, size in enumerate(SIZES)]


def dino(folder, **changes):
    return EncoderOptions(name="dino", model=str(folder), dimension=48, **changes)


@functools.cache
def opened(folder, name="dino", **changes):
    """The encoder in a folder that no test changes."""
    dimension = 48 if name == "dino" else 24
    return open_image_encoder(
        EncoderOptions(name=name, model=str(folder), dimension=dimension, **changes)
    )


def by_transformers(folder, kind):
    """As the hub's model cards do it; of DINOv2 without the centre crop."""
    processor, model = AutoImageProcessor.from_pretrained(folder), AutoModel.from_pretrained(folder)
    squash = {"do_center_crop": False, "size": {"height": 64, "width": 64}}
    options = squash if kind.startswith("dinov2") else {}
    pixels = [processor(each, return_tensors="pt", **options)["pixel_values"] for each in images()]
    with torch.inference_mode():
        output = model(torch.cat(pixels))
    registers = NUM_REGISTERS if kind in ("dinov2_with_registers", "dinov3_vit") else 0
    vectors = {
        Pooling.cls: output.last_hidden_state[:, 0],
        Pooling.mean: output.last_hidden_state[:, 1 + registers :].mean(dim=1),
        Pooling.pooler: output.pooler_output,
    }
    return {pooling: F.normalize(each, dim=-1).numpy() for pooling, each in vectors.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_dino_gives_the_vectors_of_transformers(kind, dinos):
    for pooling, expected in by_transformers(dinos[kind], kind).items():
        found = opened(dinos[kind], pooling=pooling).encode_image(images())
        assert np.abs(found - expected).max() <= 2e-6, pooling


@pytest.mark.parametrize("kind", ["dinov3_vit", "dinov3_convnext"])
def test_dinos_own_pooling_is_the_class_token(kind, dinos):
    own, cls, mean = (
        opened(dinos[kind], pooling=pooling).encode_image(images()[:2])
        for pooling in (Pooling.none, Pooling.cls, Pooling.mean)
    )
    np.testing.assert_array_equal(own, cls)
    # The class place of a ConvNeXt is the norm of the mean, `mean` the mean of the norms.
    assert np.abs(own - mean).max() > (1e-4 if kind == "dinov3_convnext" else 0.05)


@pytest.mark.parametrize("kind", KINDS)
def test_the_mean_of_dinos_patches_is_its_vector(kind, dinos):
    encoder = opened(dinos[kind], pooling=Pooling.mean)
    patches = encoder.encode_dense(images())
    side = 64 // (32 if kind == "dinov3_convnext" else 16)
    assert patches.shape == (len(SIZES), side, side, 48)
    means = patches.mean(axis=(1, 2))
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    assert np.abs(means - encoder.encode_image(images())).max() <= 2e-6


def test_dinov2_sees_the_border(dinos):
    """Its processor alone would cut 4 of 72 pixels off on each side."""
    framed = noise((72, 72))
    framed.paste(noise((66, 66), seed=1), (3, 3))
    other = Image.new("RGB", (72, 72), (255, 255, 255))
    other.paste(framed.crop((3, 3, 69, 69)), (3, 3))
    processor = AutoImageProcessor.from_pretrained(dinos["dinov2"])
    cut = [processor(each, return_tensors="pt")["pixel_values"] for each in (framed, other)]
    vectors = opened(dinos["dinov2"]).encode_image([framed, other])
    assert (cut[0] == cut[1]).float().mean() > 0.9  # all but where the filter reaches
    assert vectors[0] @ vectors[1] < 0.999


@pytest.mark.parametrize("name", ["dino", "clip"])
def test_vectors_do_not_depend_on_the_batch(name, dinos, clip):
    folder = {"dino": dinos["dinov3_vit"], "clip": clip}[name]
    whole, pairs, single = (
        opened(folder, name, **size) for size in ({}, {"batch_size": 2}, {"batch_size": 1})
    )
    for other in (pairs, single):
        assert np.abs(other.encode_image(images()) - whole.encode_image(images())).max() <= 1e-6
    assert whole.encode_image([]).shape == (0, whole.dimension)


def test_clip_gives_the_vectors_of_transformers(clip):
    pixels = CLIPImageProcessorPil.from_pretrained(clip)(images(), return_tensors="pt")
    with torch.inference_mode():
        features = CLIPModel.from_pretrained(clip).get_image_features(**pixels).pooler_output
    found = opened(clip, "clip").encode_image(images())
    assert np.abs(found - F.normalize(features, dim=-1).numpy()).max() <= 2e-6


def test_clips_tower_alone_is_the_same(clip, tmp_path):
    whole = CLIPModel.from_pretrained(clip)
    config = whole.config.vision_config
    config.projection_dim = 24
    tower = CLIPVisionModelWithProjection(config)
    tower.load_state_dict(
        {name: value for name, value in whole.state_dict().items() if name in tower.state_dict()}
    )
    tower.save_pretrained(tmp_path)
    shutil.copy(clip / "preprocessor_config.json", tmp_path)
    encoders = [opened(folder, "clip") for folder in (clip, tmp_path)]
    np.testing.assert_array_equal(*(encoder.encode_image(images()) for encoder in encoders))
    assert encoders[0].fingerprint == encoders[1].fingerprint


def test_any_mode_of_image(clip, dinos):
    colour = noise((50, 30))
    for encoder in (opened(clip, "clip"), opened(dinos["dinov2"])):
        plain = encoder.encode_image([colour.convert("L").convert("RGB"), colour])
        others = encoder.encode_image([colour.convert("L"), colour.convert("RGBA")])
        np.testing.assert_array_equal(plain, others)


@pytest.mark.parametrize("name", ["dino", "clip"])
@pytest.mark.parametrize("size", [(60, 3), (3, 60)])
def test_both_ends_of_a_long_region_count(name, size, dinos, clip):
    """With its own ends and with white ones it has other vectors: no centre crop took them."""
    encoder = opened(*{"dino": (dinos["dinov2"],), "clip": (clip, name)}[name])
    region = noise(size)
    views = [region_image(region, np.ones((size[1], size[0]), dtype=bool))]
    for place in ((0, 0), (size[0] - 3, size[1] - 3)):
        changed = region.copy()
        changed.paste((255, 255, 255), (*place, place[0] + 3, place[1] + 3))
        views.append(region_image(changed, np.ones((size[1], size[0]), dtype=bool)))
    vectors = encoder.encode_image(views)
    assert np.abs(vectors[1:] - vectors[0]).max(axis=1).min() > 1e-3


@pytest.mark.parametrize("name", ["dino", "clip", "open_clip"])
def test_vectors_may_keep_their_length(name, dinos, clip, clip_folder):
    folder = {"dino": dinos["dinov3_vit"], "clip": clip, "open_clip": clip_folder}[name]
    unit = opened(folder, name).encode_image(images())
    long = opened(folder, name, normalize=False).encode_image(images())
    lengths = np.linalg.norm(long, axis=1, keepdims=True)
    assert np.abs(lengths - 1).min() > 1e-3
    np.testing.assert_allclose(long / lengths, unit, atol=1e-6)


def test_mean_colour_is_the_processors(dinos, clip):
    assert opened(dinos["dinov3_vit"]).mean_colour == (124, 116, 104)
    assert opened(clip, "clip").mean_colour == (123, 117, 104)


def set_value(path, name, value):
    path.write_text(json.dumps({**json.loads(path.read_text()), name: value}))


def other_weights(folder):
    state = load_file(folder / "model.safetensors")
    save_file({name: value * 1.01 for name, value in state.items()}, folder / "model.safetensors")


def other_config(folder):
    path = folder / "config.json"
    values = json.loads(path.read_text())
    part = values.get("vision_config", values)
    part["layer_norm_eps"] = 1e-3
    path.write_text(json.dumps(values))


def other_processor(folder):
    set_value(folder / "preprocessor_config.json", "image_mean", [0.5, 0.5, 0.5])


@pytest.mark.parametrize("name", ["dino", "clip"])
def test_fingerprint_follows_all_that_decides_vectors(name, dinos, clip, tmp_path):
    source, dimension = {"dino": (dinos["dinov2"], 48), "clip": (clip, 24)}[name]

    def fingerprint(folder):
        options = EncoderOptions(name=name, model=str(folder), dimension=dimension)
        return open_image_encoder(options).fingerprint

    found = {fingerprint(source)}
    for change in (other_weights, other_config, other_processor):
        folder = tmp_path / change.__name__
        shutil.copytree(source, folder)
        assert fingerprint(folder) in found
        change(folder)
        found.add(fingerprint(folder))
    assert len(found) == 4


def without(name):
    return lambda folder: (folder / name).unlink()


def cut(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])


def lacking_a_weight(folder):
    state = load_file(folder / "model.safetensors")
    kept = {name: value for name, value in state.items() if "layer.1.norm1.weight" not in name}
    assert len(kept) == len(state) - 1
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})


def broken_config(folder):
    (folder / "config.json").write_text("{")


def odd_square(folder):
    size = {"height": 60, "width": 60}
    set_value(folder / "preprocessor_config.json", "crop_size", size)


BROKEN = [
    (without("config.json"), "no config.json can be loaded from this folder: "),
    (broken_config, "no config.json can be loaded from this folder: It looks like the config"),
    (without("preprocessor_config.json"), "no image processor can be loaded from this folder: "),
    (without("model.safetensors"), "no weights can be loaded from this folder: Error no file"),
    (cut, "no weights can be loaded from this folder: Error while deserializing"),
    (lacking_a_weight, "1 of the weights that image_encoder.name=dino needs are missing (encoder."),
    (odd_square, "squares of 60 pixels, in which patches of 16 do not fit"),
]


@pytest.mark.parametrize(("damage", "message"), BROKEN)
def test_a_broken_folder_is_one_line(damage, message, dinos, tmp_path):
    folder = tmp_path / "broken"
    shutil.copytree(dinos["dinov2"], folder)
    damage(folder)
    refused(dino(folder), message, f"image_encoder.model={folder}: ")


def refused(options, message, start=""):
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        open_image_encoder(options)
    assert message in str(caught.value)
    assert str(caught.value).startswith(start)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["dino", "clip"])
def test_a_model_that_is_not_there_is_one_line(name, tmp_path):
    options = EncoderOptions(name=name, model=str(tmp_path / "nowhere"), dimension=48)
    refused(options, "nowhere: no config.json can be loaded from this folder or hub id: ")
    hub = replace(options, model="pixsearch/does-not-exist", revision="main")
    refused(hub, "does-not-exist (revision main): no config.json can be loaded from this folder or")
    refused(replace(options, model=""), f"image_encoder.model is empty: image_encoder.name={name}")


def test_models_of_another_type_are_refused(dinos, clip, tmp_path):
    refused(dino(clip), "a model of type 'clip', but image_encoder.name=dino is for dinov2, ")
    options = EncoderOptions(name="clip", model=str(dinos["dinov3_vit"]), dimension=24)
    refused(options, "a model of type 'dinov3_vit', but image_encoder.name=clip is for clip, ")
    CLIPVisionModel.from_pretrained(clip).save_pretrained(tmp_path)
    shutil.copy(clip / "preprocessor_config.json", tmp_path)
    refused(replace(options, model=str(tmp_path)), "missing (visual_projection.weight, …)")


def test_a_clip_that_cuts_squares_is_refused(tmp_path):
    options = EncoderOptions(
        name="clip", model=str(write_clip(tmp_path, side=36, crop=32)), dimension=24
    )
    refused(options, "its processor resizes to 36 pixels and keeps 32x32 of them, which cuts")


def test_options_that_do_not_fit_are_refused(dinos, clip, clip_folder):
    clip_options = EncoderOptions(name="clip", model=str(clip), dimension=24)
    refused(replace(clip_options, pooling=Pooling.mean), "clip.pooling=mean: its pooling is part")
    refused(replace(clip_options, dimension=25), "gives 24 dimensions, the options say 25: set dim")
    refused(replace(clip_options, revision="main"), "is a folder, which has none: leave it null")
    refused(dino(dinos["dinov2"], revision="main"), "is a folder, which has none: leave it null")
    hub = EncoderOptions(name="open_clip", model="hf-hub:a/b", revision="main", dimension=24)
    refused(hub, "image_encoder.revision=main: open_clip takes the hub's newest; download the")
    refused(replace(hub, revision=None), "hf-hub:a/b: no model can be loaded from this folder or")


def test_patches_of_another_space_are_refused(dinos):
    encoder = opened(dinos["dinov3_vit"], pooling=Pooling.cls)
    with pytest.raises(ValueError, match=r"set image_encoder\.pooling=mean and build the index"):
        encoder.encode_dense(images())
