"""Regions as vectors: views of them, and means of the patches under their masks."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pixsearch.config import EncoderOptions, Pooling, RegionCrop, RetrievalOptions
from pixsearch.queries import Query
from pixsearch.retrieval.build import build_indexes
from pixsearch.retrieval.crops import region_image
from pixsearch.retrieval.encoders import open_image_encoder
from pixsearch.retrieval.regions import ImageQuery, ImageQueryEncoder, masked_mean
from pixsearch.retrieval.searcher import Searcher

from .tiny import write_dino

WIDTH, HEIGHT, GRID = 80, 48, 4  # a patch is 20 x 12 pixels


@pytest.fixture(scope="module")
def options(tmp_path_factory):
    folder = write_dino(tmp_path_factory.mktemp("dino"), "dinov3_vit")
    return RetrievalOptions(
        image_encoder=EncoderOptions(
            name="dino", model=str(folder), dimension=48, pooling=Pooling.mean
        )
    )


@pytest.fixture(scope="module")
def dino(options):
    return open_image_encoder(options.image_encoder)


@pytest.fixture(scope="module")
def encode(dino, options):
    return ImageQueryEncoder(dino, options).encode


def noise(seed=0):
    drawn = np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    return Image.fromarray(drawn)


def box_mask(left, top, right, bottom):
    mask = np.zeros((HEIGHT, WIDTH), dtype=bool)
    mask[top:bottom, left:right] = True
    return mask


def pooled(image, mask):
    return ImageQuery(image=image, mask=mask, crop=RegionCrop.mask_pooled)


def unit(vector):
    return vector / np.linalg.norm(vector)


def test_the_mask_of_everything_is_the_image(dino, encode):
    everything = encode([pooled(noise(), box_mask(0, 0, WIDTH, HEIGHT))])
    assert np.abs(everything - dino.encode_image([noise()])).max() <= 1e-6


def test_a_mask_takes_the_patches_that_it_covers(dino, encode):
    patches = dino.encode_dense([noise()])[0]
    boxes = {
        "one patch": ((20, 12, 40, 24), patches[1, 1]),
        "one pixel": ((70, 47, 71, 48), patches[3, 3]),
        "a thin line in one patch": ((41, 30, 59, 31), patches[2, 2]),
        "three quarters and one": ((25, 0, 45, 12), 0.75 * patches[0, 1] + 0.25 * patches[0, 2]),
        "a row": ((0, 36, WIDTH, 48), patches[3].mean(axis=0)),
    }
    found = encode([pooled(noise(), box_mask(*box)) for box, _ in boxes.values()])
    for vector, (name, (_, expected)) in zip(found, boxes.items(), strict=True):
        assert np.abs(vector - unit(expected)).max() <= 1e-6, name


def test_an_image_is_encoded_once_for_all_its_regions(dino, encode):
    passes = []
    hook = dino._model.register_forward_hook(
        lambda module, inputs, output: passes.append(len(inputs[0]))
    )
    first, second = noise(1), noise(2)
    masks = [box_mask(left, 0, left + 9, 30) for left in range(0, 50, 10)]
    queries = [pooled(image, mask) for mask in masks for image in (first, second)]
    together = encode(queries)
    hook.remove()
    assert passes == [2]  # images of each forward call
    alone = np.concatenate([encode([query]) for query in queries])
    assert np.abs(together - alone).max() <= 1e-6


def test_kinds_mix_in_one_call(encode):
    queries = [
        ImageQuery(image=noise(3)),
        pooled(noise(4), box_mask(3, 3, 30, 20)),
        *(
            ImageQuery(image=noise(5), mask=box_mask(3, 3, 30, 20), crop=crop)
            for crop in RegionCrop
        ),
        ImageQuery(image=noise(6)),
    ]
    together = encode(queries)
    alone = np.concatenate([encode([query]) for query in queries])
    assert np.abs(together - alone).max() <= 1e-6
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-6)
    assert encode([]).shape == (0, 48)


def test_several_scales_are_a_mean(dino, encode, options):
    image, mask = noise(), box_mask(30, 10, 50, 30)
    found = encode([ImageQuery(image=image, mask=mask, crop=RegionCrop.multi_scale)])[0]
    views = [
        region_image(
            image, mask, crop=RegionCrop.padded_box, margin=margin, colour=dino.mean_colour
        )
        for margin in (0.0, 0.25, 1.0)  # sides of 1, 1.5 and 3 boxes
    ]
    assert [view.size for view in views] == [(20, 20), (30, 30), (60, 60)]
    expected = unit(dino.encode_image(views).mean(axis=0))
    assert np.abs(found - expected).max() <= 1e-6
    one = ImageQueryEncoder(dino, replace(options, region_scales=[1.0])).encode
    alone = one([ImageQuery(image=image, mask=mask, crop=RegionCrop.multi_scale)])[0]
    assert np.abs(alone - dino.encode_image(views[:1])[0]).max() <= 1e-6


def test_vectors_keep_their_length_where_documents_do(options):
    image_encoder = replace(options.image_encoder, normalize=False)
    dino = open_image_encoder(image_encoder)
    encode = ImageQueryEncoder(dino, replace(options, image_encoder=image_encoder)).encode
    everything = encode([pooled(noise(), box_mask(0, 0, WIDTH, HEIGHT))])
    assert np.abs(everything - dino.encode_image([noise()])).max() <= 1e-5
    assert abs(np.linalg.norm(everything) - 1) > 0.1


def test_the_encoders_mean_colour_is_the_filling(dino, options, monkeypatch):
    seen = []
    monkeypatch.setattr(
        dino, "encode_image", lambda images: seen.extend(images) or np.ones((len(images), 48), "f4")
    )
    query = ImageQuery(image=noise(), mask=box_mask(0, 0, 30, 20), crop=RegionCrop.masked_crop)
    ImageQueryEncoder(dino, options).encode([query])
    assert seen[0].getpixel((0, 0)) == dino.mean_colour == (124, 116, 104)


sides = st.integers(1, 7)


@given(st.data(), sides, sides, sides, sides)
@settings(max_examples=40, deadline=None)
def test_every_pixel_has_the_patch_it_lies_in(data, rows, columns, tall, wide):
    """Against the mean over pixels that each hold the vector of their patch."""
    size = rows * tall * columns * wide
    bits = data.draw(st.lists(st.booleans(), min_size=size, max_size=size).filter(any))
    mask = np.array(bits).reshape(rows * tall, columns * wide)
    patches = np.random.default_rng(0).standard_normal((rows, columns, 3))
    by_pixel = np.repeat(np.repeat(patches, tall, axis=0), wide, axis=1)
    np.testing.assert_allclose(masked_mean(patches, mask), by_pixel[mask].mean(axis=0))


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 9), st.data())
@settings(max_examples=40, deadline=None)
def test_a_mask_of_any_size_has_patches(height, width, grid, data):
    """Also where an image is smaller than the grid, or does not divide by it."""
    mask = np.zeros((height, width), dtype=bool)
    mask[data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))] = True
    patches = np.full((grid, grid, 2), 3.0)
    np.testing.assert_allclose(masked_mean(patches, mask), [3, 3])


def test_masks_are_checked(encode):
    with pytest.raises(ValueError, match="empty mask"):
        encode([pooled(noise(), box_mask(0, 0, 0, 0))])
    with pytest.raises(ValueError, match="the mask is 80x48, its image 48x80"):
        encode([pooled(noise(), np.ones((WIDTH, HEIGHT), dtype=bool))])


def test_encoders_without_such_patches_are_refused(clip_folder, dino, options):
    query = [pooled(noise(), box_mask(0, 0, 9, 9))]
    image_encoder = EncoderOptions(name="open_clip", model=str(clip_folder), dimension=24)
    encode = ImageQueryEncoder(
        open_image_encoder(image_encoder), replace(options, image_encoder=image_encoder)
    ).encode
    with pytest.raises(
        ValueError, match=r"image_encoder\.name=open_clip has no patches in the"
    ) as e:
        encode(query)
    assert "\n" not in str(e.value)
    cls = replace(options.image_encoder, pooling=Pooling.cls)
    with pytest.raises(ValueError, match=r"pooling=cls: a region pooled of patches is near to"):
        ImageQueryEncoder(open_image_encoder(cls), options).encode(query)


def test_a_searcher_finds_by_patches(own, options):
    """The mask of everything in a document's image finds it; in a larger scene its region does."""
    searched = replace(own, image_encoder=options.image_encoder)
    build_indexes(searched, progress=False)
    searcher = Searcher.open(searched)
    document = searcher.knowledge_base["e7"]
    image = searcher.knowledge_base.image(document, document.images[0])
    mask = np.ones((image.height, image.width), dtype=bool)
    queries = [Query.of_region(image, mask), Query.of_image(image)]
    found = searcher.search(queries, k=3, region_crop=RegionCrop.mask_pooled)
    assert [passages[0].id for passages in found] == ["e7", "e7"]
    assert [passage.score for passage in found[0]] == [passage.score for passage in found[1]]
