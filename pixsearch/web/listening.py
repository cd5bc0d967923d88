"""Where a server listens, and who may reach it."""

import ipaddress
import socket

import uvicorn

from pixsearch.config import HttpOptions

BACKLOG = 2048  # connections that the system keeps until they are taken on


def uvicorn_config(app: object, options: HttpOptions) -> uvicorn.Config:
    """No log of accesses (the metrics count them), no web sockets, time to drain."""
    return uvicorn.Config(
        app,
        access_log=False,
        log_config=None,
        log_level="warning",
        ws="none",
        server_header=False,
        timeout_graceful_shutdown=max(1, round(options.drain_seconds)),
    )


def check_reach(options: HttpOptions, token: str | None) -> None:
    """See that nobody beyond this machine can ask without a token.

    Raises:
        ValueError: somebody could.
    """
    if token is None and not options.allow_without_token and not _is_loopback(options.host):
        raise ValueError(
            f"server.host={options.host} can be reached from other machines: put a token into the "
            f"environment variable {options.token_variable}, or set server.allow_without_token=true"
        )


def listen(options: HttpOptions) -> socket.socket:
    """The socket on which the server takes connections.

    Raises:
        OSError: host or port cannot be had; one line.
    """
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    try:
        return socket.create_server((options.host, options.port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise OSError(
            f"server.host={options.host} server.port={options.port}: {error.strerror or error}; "
            "set another port, or 0 for any free one"
        ) from error


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
