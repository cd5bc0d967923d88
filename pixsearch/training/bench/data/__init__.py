"""How fast examples come, and how long a long file takes to open."""
