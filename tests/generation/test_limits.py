"""How long a sequence may grow by default."""

import pytest

from pixsearch.config import GenerationOptions, PolicyOptions
from pixsearch.generation import Engine
from pixsearch.generation.limits import TEXT_TOKENS
from pixsearch.generation.prompting import open_row
from pixsearch.generation.records import Request
from pixsearch.generation.row import Row
from pixsearch.model import PixSearch
from tests.families import family_model
from tests.model.examples import picture


def row(options: GenerationOptions, *, has_image: bool, num_positions: int | None = None) -> Row:
    model = family_model("llava_next")
    image = picture(0) if has_image else None
    return open_row(
        Request(id="1", question="What is it?", image=image),
        renderer=model.renderer,
        policy=PolicyOptions(),
        options=options,
        num_image_tokens=model.num_image_tokens(image),
        num_positions=num_positions,
    )


def test_by_default_text_has_its_room_beside_the_image() -> None:
    tokens = family_model("llava_next").num_image_tokens(picture(0))
    default = GenerationOptions()
    assert row(default, has_image=True).limits.max_length == tokens + TEXT_TOKENS
    assert row(default, has_image=False).limits.max_length == TEXT_TOKENS
    assert row(default, has_image=True, num_positions=900).limits.max_length == 900
    given = row(GenerationOptions(max_length=3000), has_image=True, num_positions=900)
    assert given.limits.max_length == 3000


def test_a_row_knows_how_long_it_may_grow() -> None:
    options = GenerationOptions(max_new_tokens=1500)
    rows = [row(options, has_image=has_image) for has_image in (True, False)]
    assert [one.longest for one in rows] == [one.limits.max_length for one in rows]


def test_what_does_not_fit_names_the_limit_that_was_derived() -> None:
    with pytest.raises(ValueError, match=r"request 1: .* generation.max_length=200; raise it"):
        row(GenerationOptions(), has_image=True, num_positions=200)


def test_a_row_that_may_outgrow_the_cache_is_refused(model: PixSearch) -> None:
    options = GenerationOptions(cache_gib=1e-5)  # 20 tokens of 512 bytes
    engine = Engine(model, lambda queries: [], PolicyOptions(), options)
    with pytest.raises(ValueError, match=r"request 1 may take \d+ tokens, .*cache_gib=1e-05 hol"):
        engine.open(Request(id="1", question="What is it?"))
