"""One HTML file of examples as training sees them, with nothing to be fetched."""

import logging
from collections.abc import Sequence
from functools import partial
from itertools import islice
from pathlib import Path

from pixsearch.config import InspectDataOptions
from pixsearch.datasets.batch import render_example
from pixsearch.datasets.grammar import grounded_phrases
from pixsearch.datasets.quarantine import check_example
from pixsearch.markup import escape, page, picture, table, text
from pixsearch.model.composing import describe_parts
from pixsearch.model.renderer import renderer_of
from pixsearch.training.inspection.draws import draw
from pixsearch.training.inspection.look import Looked, image_tokens_of, look, without_masks
from pixsearch.training.inspection.pictures import draw_masks
from pixsearch.training.inspection.statistics import Table, statistics
from pixsearch.training.inspection.tokens import STYLE, TokenView, legend
from pixsearch.training.samples import COLOURS

logger = logging.getLogger(__name__)

ERROR_STYLE = ".error { color: #b3261e } .swatch { padding: 0 .5rem; margin-right: .3rem }\n"


def inspect_data(options: InspectDataOptions) -> Path:
    """Write the page, log the statistics and return the page's path.

    No weights are read: the configured model's tokenizer and configs are all that is needed.

    Raises:
        ValueError: the model's tokenizer or a dataset cannot be opened. What is wrong with a single
            example is shown in its place, and counted.
    """
    config, tokenizer = describe_parts(options.model)
    renderer = renderer_of(config, tokenizer)
    render = partial(render_example, renderer=renderer, num_image_tokens=image_tokens_of(config))
    num_shown = options.inspect.num_shown
    looked = [
        look(drawn, render) if place < num_shown else without_masks(look(drawn, render))
        for place, drawn in enumerate(draw(options))
    ]
    tables = statistics(looked, max_length=options.stage.max_length)
    view = TokenView(tokenizer, renderer.ids)
    shown = islice(looked, num_shown)
    articles = [_article(one, view, longest_side=options.inspect.image_side) for one in shown]
    title = f"Training data: {', '.join(dict.fromkeys(one.dataset for one in looked))}"
    body = [_origin(options, len(looked)), *map(_table, tables)]
    body += [text("Examples", tag="h2"), legend(), *articles]
    path = Path(options.inspect.output)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page(title, body, style=STYLE + ERROR_STYLE), encoding="utf-8")
    _log(path, looked, tables)
    return path


def _origin(options: InspectDataOptions, num_read: int) -> str:
    chosen = options.inspect
    where = (
        f"as stage {options.stage.name} draws them (run.seed={options.run.seed}), from sample "
        f"{chosen.start} on"
        if chosen.from_mixture
        else f"drawn at random from each dataset (inspect.seed={chosen.seed})"
    )
    return text(
        f"{num_read} examples were read, {where}. Rendered for {options.model.language_model}. "
        "The masks of all were decoded, and the images of those that are shown; of the others "
        "where the number of tokens hangs on the image, or data.on_error=quarantine decodes each.",
        "note",
        tag="p",
    )


def _table(one: Table) -> str:
    rows = [[escape(cell) for cell in row] for row in one.rows]
    return text(one.title, tag="h2") + table(one.heading, rows)


def _article(one: Looked, view: TokenView, *, longest_side: int) -> str:
    """One example: its picture and phrases at the left, its tokens at the right."""
    image, error = "", one.error
    if one.example and one.example.load_image and not error:
        try:
            check_example(one.example)
            image = picture(draw_masks(one.example, longest_side=longest_side), one.example.id)
        except (ValueError, OSError) as found:
            error = str(found)
    id = one.example.id if one.example else "not read"
    failed = text(error, "error", tag="p") if error else ""
    tokens = view.show(one.rendered) if one.rendered else ""
    return (
        f"<article><div>{image or text('no image', 'note')}{_phrases(one)}</div><div>"
        f"<strong>{escape(id)}</strong> {text(one.dataset, 'tag')} {text(_facts(one), 'note')}"
        f"{failed}{tokens}</div></article>"
    )


def _phrases(one: Looked) -> str:
    """The legend of the masks, and their shares of the image."""
    phrases = grounded_phrases(one.example.conversation) if one.example else []
    shares = [f" {share:.1%}" for share in one.mask_shares] or [""] * len(phrases)
    lines = [
        f'<span class="swatch" style="background: rgb{COLOURS[number % len(COLOURS)]}"></span>'
        f"{escape(phrase)}{share}"
        for number, (phrase, share) in enumerate(zip(phrases, shares, strict=True))
    ]
    if one.example and one.example.load_ignore:
        lines.append("hatched: ignored, its label is not known")
    return f'<p class="note">{"<br>".join(lines)}</p>'


def _facts(one: Looked) -> str:
    if one.rendered is None:
        return one.place
    types = ", ".join(search.type.value for search in one.searches)
    searches = f", searches: {types}" if types else ""
    tokens = f"{len(one.rendered)} tokens, {sum(one.rendered.supervised)} supervised"
    return f"{one.place}: {tokens}{searches}"


def _log(path: Path, looked: Sequence[Looked], tables: Sequence[Table]) -> None:
    for one in tables:
        lines = [one.heading, *one.rows]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        logger.info("%s", one.title)
        for line in lines:
            logger.info("  %s", "  ".join(map(str.rjust, line, widths)))
    for one in looked:
        if one.error:
            logger.warning("%s, %s: %s", one.dataset, one.place, one.error)
    logger.info("%s", path)
