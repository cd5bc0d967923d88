"""The steps of building an index: shards of vectors by any number of processes, then FAISS."""
