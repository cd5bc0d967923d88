"""What all servers here share: sockets, bodies, images that strangers send, and refusals."""

from importlib.util import find_spec

PACKAGES = ("fastapi", "uvicorn", "prometheus_client")


def check_installed() -> None:
    """See that the extra `server` is there.

    Raises:
        ValueError: it is not.
    """
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        raise ValueError(
            f"the server needs {', '.join(missing)}: run `make setup EXTRAS=cpu,server`"
        )
