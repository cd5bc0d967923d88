"""The teacher: what is asked of it, and in which words (pixsearch/endpoint/ asks)."""
