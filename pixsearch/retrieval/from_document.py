"""From a document that was found by its image to the chunk that answers the question."""

from collections.abc import Sequence

import numpy as np

from pixsearch.queries import has_words
from pixsearch.retrieval.index import Hit, TextIndex
from pixsearch.retrieval.knowledge_base import KnowledgeBase


def nearest_chunks(
    knowledge_base: KnowledgeBase,
    text_index: TextIndex,
    found: Sequence[Sequence[Hit]],
    questions: Sequence[str | None],
) -> list[list[Hit]]:
    """Each hit with the row of its document's chunk that is nearest to the query's question.

    Distances are those of the text index. A hit keeps its score, which is that of the image, and
    its row where there is no question, or none of the document's chunks shares anything with it:
    of equally near chunks the earliest is taken.

    Args:
        found: hits of each query, in the leads of documents.
        questions: of each query, None if it has none.
    """
    documents = [
        [knowledge_base.chunk_rows(hit.row) for hit in hits] if has_words(question) else []
        for hits, question in zip(found, questions, strict=True)
    ]
    # questions about documents of one chunk each need no encoding
    asked = [place for place, each in enumerate(documents) if any(len(rows) > 1 for rows in each)]
    scores = text_index.scores(
        [str(questions[place]) for place in asked],
        [[row for rows in documents[place] for row in rows] for place in asked],
    )
    chosen = [list(hits) for hits in found]
    for place, of_chunks in zip(asked, scores, strict=True):
        lengths = [len(rows) for rows in documents[place]]
        by_document = np.split(of_chunks, np.cumsum(lengths)[:-1])
        chosen[place] = [
            hit._replace(row=rows[int(np.argmax(near))])
            for hit, rows, near in zip(found[place], documents[place], by_document, strict=True)
        ]
    return chosen
