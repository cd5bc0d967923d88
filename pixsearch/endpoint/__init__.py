"""Asking a language model behind an OpenAI-compatible server: requests with a schema, answers that
are checked against it, limits, retries, and what it cost."""
