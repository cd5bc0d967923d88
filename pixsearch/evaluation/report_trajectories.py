"""Trajectories to look at: image, masks, the crop that was searched, passages, answer."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import chain, zip_longest

from PIL import Image

from pixsearch.config import AnswerSpan, OnEmptyMask, QueryType, RegionCrop, RetrievalOptions
from pixsearch.evaluation.gold import Sample, decode_rle
from pixsearch.evaluation.policy_scores import Predictions
from pixsearch.evaluation.prediction import AskedQuery, Prediction, verdict_on
from pixsearch.markup import escape, picture, text
from pixsearch.retrieval.crops import region_views
from pixsearch.retrieval.knowledge_base import KnowledgeBase
from pixsearch.training.samples import overlay

SHOWN_CHARACTERS = 220  # of a passage
RIVALS = ("no_search", "text_query", "whole_image")  # their answers stand beside those of `full`


class TrajectoryView:
    """Shows predictions of one policy as HTML.

    Args:
        crop, retrieval: how regions were cut out for the searcher.
        name: of the policy.
        rivals: predictions of other policies, whose answers are shown beside.
    """

    def __init__(
        self,
        knowledge_base: KnowledgeBase,
        *,
        crop: RegionCrop,
        retrieval: RetrievalOptions,
        name: str,
        rivals: Mapping[str, Predictions],
        span: AnswerSpan,
    ) -> None:
        self._knowledge_base = knowledge_base
        self._crop = crop
        self._retrieval = retrieval
        self._name = name
        self._rivals = rivals
        self._span = span

    def show(self, sample: Sample, prediction: Prediction) -> str:
        """One question with all that happened until its answer."""
        image = sample.load_image() if sample.load_image else None
        queries = [
            self._query(sample, query, place, image)
            for place, query in enumerate(prediction.queries)
        ]
        rivals = [
            self._answer(sample, name, predictions[sample.id])
            for name, predictions in self._rivals.items()
            if sample.id in predictions
        ]
        kind = f"{sample.gold.scene_kind.value}, {sample.gold.question_type}"
        return (
            f"<article><div>{self._picture(image, prediction)}</div><div>"
            f"<strong>{escape(sample.question)}</strong> {text(kind, 'note')}"
            f"{''.join(queries) or text('no search', 'note', 'p')}"
            f"<p>{self._answer(sample, self._name, prediction)}<br>"
            f"gold: {escape(sample.gold.answer)}</p>"
            f"<p class='note'>{'<br>'.join(rivals)}</p>"
            f"{text(prediction.all_text, 'note', 'p')}</div></article>"
        )

    def choose(
        self, samples: Sequence[Sample], predictions: Predictions, *, most: int, complete: int
    ) -> list[Sample]:
        """A varied choice in a fixed order: one of each kind of question and verdict in turn.

        Args:
            complete: how many places are kept for answers with masks and a search by image;
                right and wrong answers are among them and among the others, if there are any.
        """
        kinds: dict[tuple[str, str, str], list[Sample]] = defaultdict(list)  # verdict last
        for sample in samples:
            found = predictions.get(sample.id)
            if found is not None and found.failed is None:  # else its image may be the reason
                verdict, gold = self._verdict(sample, found), sample.gold
                kinds[gold.question_type, gold.scene_kind.value, verdict].append(sample)
        in_turn = chain.from_iterable(zip_longest(*(kinds[kind] for kind in sorted(kinds))))
        ordered = [sample for sample in in_turn if sample is not None]
        kept = [sample for sample in ordered if _is_complete(predictions[sample.id])][:complete]
        others = [sample for sample in ordered if sample not in kept][: most - len(kept)]
        return [sample for sample in ordered if sample in kept or sample in others]

    def _picture(self, image: Image.Image | None, prediction: Prediction) -> str:
        if image is None:
            return text("a question without an image", "note")
        masks = [decode_rle(each.mask) for each in prediction.grounded]
        phrases = ", ".join(each.phrase for each in prediction.grounded)
        caption = f"grounded: {phrases}" if phrases else "nothing grounded"
        return picture(overlay(image, masks), caption) + text(caption, "note", "p")

    def _query(
        self, sample: Sample, query: AskedQuery, place: int, image: Image.Image | None
    ) -> str:
        searches = sample.gold.searches
        gold_id = searches[place].entity_id if place < len(searches) else None
        passages = "".join(
            self._passage(id, score, is_gold=id == gold_id)
            for id, score in zip(query.passage_ids, query.scores, strict=True)
        )
        notes = [
            *(["written by the engine"] if query.forced else []),
            *([f"empty mask: {query.empty_mask}"] if query.empty_mask else []),
            *([f"search failed: {query.failed}"] if query.failed else []),
            f"{query.num_injected} of {len(query.passage_ids)} passages read",
        ]
        return (
            f'<div class="query">{self._searched(query, image)}{text(query.type.value, "tag")} '
            f"{escape(query.text or '')} {text('; '.join(notes), 'note')}<ol>{passages}</ol></div>"
        )

    def _searched(self, query: AskedQuery, image: Image.Image | None) -> str:
        """The images that the searcher saw; nothing for a text query or one that was skipped.

        Where it saw the whole image and took patches of it, all outside the mask is filled here.
        """
        was_skipped = query.empty_mask == OnEmptyMask.skip
        if query.type is QueryType.text or image is None or was_skipped:
            return ""
        mask = decode_rle(query.mask) if query.mask else None
        if mask is None or not mask.any():
            return picture(image, "the whole image", "crop")
        is_pooled = self._crop is RegionCrop.mask_pooled
        crop = RegionCrop.masked_fill if is_pooled else self._crop
        views = region_views(image, mask, crop=crop, options=self._retrieval)
        return "".join(picture(view, "the region that was searched", "crop") for view in views)

    def _passage(self, id: str, score: float, *, is_gold: bool) -> str:
        document = self._knowledge_base[id]
        words = document.contents[:SHOWN_CHARACTERS]
        marked = ' class="gold"' if is_gold else ""
        title = f"<strong>{escape(document.title)}</strong>"
        return f"<li{marked}>{title} {score:.3f} {escape(words)}</li>"

    def _answer(self, sample: Sample, policy: str, prediction: Prediction) -> str:
        verdict = self._verdict(sample, prediction)
        said = prediction.scored_text(self._span) or "(nothing)"
        return f"{escape(policy)}: {text(said, verdict)} {text(verdict, 'tag')}"

    def _verdict(self, sample: Sample, prediction: Prediction) -> str:
        return verdict_on(sample.gold, prediction.scored_text(self._span))


def _is_complete(prediction: Prediction) -> bool:
    """Whether there is everything to show: masks, what was searched with, passages."""
    by_image = [query for query in prediction.queries if query.type is not QueryType.text]
    return bool(prediction.grounded) and any(query.passage_ids for query in by_image)
