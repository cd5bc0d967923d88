import httpx
import pytest

from .serving import serving


@pytest.fixture(scope="module")
def url(built):
    with serving(built) as url:
        yield url


def test_it(url):
    r = httpx.post(f"{url}/retrieve", json={"queries": ["Vexlin"], "topk": 2, "return_scores": True})
    print(r.text)
    r = httpx.get(f"{url}/info"); print(r.text)
    r = httpx.get(f"{url}/metrics"); print(r.text)
    assert 0
