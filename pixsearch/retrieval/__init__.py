"""The knowledge source: encoder, index, knowledge base, searcher. Knows nothing of the model."""
