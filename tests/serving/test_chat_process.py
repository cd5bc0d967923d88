"""The server of answers as it is started and stopped, in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

import httpx
import openai
import pytest

from tests.commands import ROOT
from tests.retrieval.serving import until
from tests.retrieval.test_server_process import free_port

pytestmark = pytest.mark.slow


def test_a_finished_model_is_served(finished_demo: Path) -> None:
    run, port = finished_demo / "runs" / "seed3-smoke", free_port()
    overrides = [
        f"paths.miniature={run}",
        f"checkpoint={run}/search/final",
        "policy=whole_image",
        f"server.port={port}",
    ]
    process = subprocess.Popen(
        [sys.executable, "scripts/serve.py", *overrides],
        cwd=ROOT, env=os.environ | {"HF_HUB_OFFLINE": "1"},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        until(lambda: is_healthy(port) or process.poll() is not None, patience=120.0)
        client = openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="any")
        reply = client.chat.completions.create(
            model="pixsearch", messages=[{"role": "user", "content": "Who made the boat?"}]
        )
        assert reply.choices[0].finish_reason in ("stop", "length")
        process.terminate()
        assert process.wait(30) in (0, -15)
        assert "Traceback" not in process.stdout.read()
    finally:
        process.kill()
        process.communicate()


def is_healthy(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/health").status_code == httpx.codes.OK
    except httpx.TransportError:
        return False
