"""Masks by the mask head of a trained PixSearch, in place of Grounding DINO and SAM."""

from collections.abc import Sequence

from PIL import Image

from pixsearch.chat import Conversation, Message, Role, Text
from pixsearch.datasets.example import Masks
from pixsearch.datasets.templates import ask, reply
from pixsearch.model.forced_masks import forced_masks
from pixsearch.model.pixsearch import PixSearch
from pixsearch.precision import best_device


class CheckpointGrounder:
    """A `PhraseGrounder`. A model that was trained to mark phrases marks each one somewhere, also
    those that are not there: its masks are empty more seldom than a detector's.
    """

    def __init__(self, model: PixSearch) -> None:
        self._model = model.eval()

    @classmethod
    def open(cls, checkpoint: str) -> "CheckpointGrounder":
        """
        Raises:
            ValueError: there is no checkpoint of PixSearch.
        """
        return cls(PixSearch.from_pretrained(checkpoint).to(best_device()))

    def masks(self, image: Image.Image, phrases: Sequence[str]) -> Masks:
        """One mask per phrase, as the model gives them to the training's question and answer."""
        key = " ".join(phrases)
        asked = Message(role=Role.USER, parts=(Text(text=ask(phrases, key=key)),))
        answered = Message(role=Role.ASSISTANT, parts=reply(phrases, key=key))
        conversation = Conversation(messages=(asked, answered), has_image=True)
        features = self._model.encode_image([image])
        return forced_masks(self._model, conversation, features).numpy()
