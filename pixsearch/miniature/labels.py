"""What the label below a thing can say, and which questions it answers."""

from pixsearch.miniature.entities import Entity
from pixsearch.miniature.vocabulary import COUNTRIES, MATERIALS

LABEL_TOPICS = {"material": "material", "country": "country", "guild_country": "country"}
"""Topic of a question -> the fact of an entity that a label may show."""


def words_of(topic: str) -> tuple[str, ...]:
    """All that a label can show which answers `topic`."""
    return {"material": MATERIALS, "country": COUNTRIES}.get(LABEL_TOPICS.get(topic, ""), ())


def label_word(entity: Entity, topic: str) -> str:
    """What a label shows that answers `topic`."""
    return str(getattr(entity, LABEL_TOPICS[topic]))
