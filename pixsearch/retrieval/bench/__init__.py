"""Benchmarks of retrieval; each is run by a script and writes a file under outputs/bench/."""
