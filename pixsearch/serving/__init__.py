"""The server of answers: `/v1/chat/completions` as OpenAI's clients ask it (`scripts/serve.py`)."""
