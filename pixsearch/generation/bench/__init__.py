"""How fast the engine answers beside what others do about a search: bench_generation.py."""
