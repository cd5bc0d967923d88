"""The server of passages: `/retrieve` as Search-R1's clients ask it, for images and regions too."""
