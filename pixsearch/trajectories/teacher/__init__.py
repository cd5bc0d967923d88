"""The teacher: what is asked of it, by whom it is answered, what its answers cost."""
