"""What a request brings: its token and its body."""

import hmac

from fastapi import Request

from pixsearch.web.refusals import TooLarge, Unauthorized

MEBI = 2**20


def check_token(request: Request, token: str | None) -> None:
    """See that the request has the server's bearer token; with None anybody may ask.

    Raises:
        Unauthorized: it has not.
    """
    if token is None:
        return
    expected = f"Bearer {token}".encode()
    given = request.headers.get("authorization", "").encode()
    if not hmac.compare_digest(given, expected):  # takes as long wherever they differ
        raise Unauthorized("send the header 'Authorization: Bearer …' with the server's token")


async def read_body(request: Request, max_mib: int) -> bytes:
    """The whole body.

    Raises:
        TooLarge: it has more bytes, as it says itself or as they come.
    """
    max_bytes = max_mib * MEBI
    told = request.headers.get("content-length", "")
    _refuse_long(int(told) if told.isdecimal() else 0, max_bytes)
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        _refuse_long(len(body), max_bytes)
    return bytes(body)


def _refuse_long(num_bytes: int, max_bytes: int) -> None:
    if num_bytes > max_bytes:
        raise TooLarge(f"the body is longer than {max_bytes // MEBI} MiB: split the request")
