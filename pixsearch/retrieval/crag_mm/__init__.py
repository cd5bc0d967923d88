"""CRAG-MM's published search indexes as a knowledge source.

The package cragmm-search-pipeline defines what a search in them finds (tests/golden/crag_mm holds
its results); the indexes are read here directly, through chromadb.
"""
