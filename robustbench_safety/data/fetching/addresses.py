"""Where files are fetched from: addresses that are allowed, and the answer there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urljoin, urlsplit

import requests

from robustbench_safety.errors import DataError, UsageError

__all__ = ["InterruptedTransferError", "check_address", "opened"]

#: Hosts that plain http may go to: nothing leaves the machine.
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
#: Seconds to connect, and seconds between two reads.
_TIMEOUTS = (20.0, 60.0)
_MOST_REDIRECTS = 10


class InterruptedTransferError(Exception):
    """The transfer ended early; the same request may fare better later.

    Args:
        found: How it ended.
        wait: Seconds that the server asks to be left alone.
    """

    def __init__(self, found: str, *, wait: float = 0.0) -> None:
        self.wait = wait
        super().__init__(found)


class _Session(requests.Session):
    """Follows no redirection by itself: addresses are looked at first, and no redirection's body is read."""

    def get_redirect_target(self, resp: requests.Response) -> str | None:  # noqa: ARG002
        return None


def check_address(address: str) -> str:
    """Return ``address`` as it is sent, if it may be: https, or http to this machine.

    Raises:
        UsageError: It may not.
    """
    try:
        # The connection goes to the host of the address that requests makes of ours: that one is looked at.
        sent = requests.Request("GET", address).prepare().url or ""
        parts = urlsplit(sent)
        host, user = parts.hostname or "", parts.username
    except ValueError as error:  # requests' own errors of addresses are ValueErrors too
        raise _not_allowed(address, str(error)) from error
    if parts.scheme != "https" and not (parts.scheme == "http" and host in _LOOPBACK):
        raise _not_allowed(address, f"{parts.scheme or 'no scheme'} to {host or 'no host'}")
    if user is not None:
        raise _not_allowed(address, "a user name in it")
    return sent


def _not_allowed(address: str, found: str) -> UsageError:
    return UsageError(
        f"nothing is fetched from {address!r}",
        expected="https://HOST/..., or http to this machine",
        found=found,
        fix="correct the address",
    )


@contextmanager
def opened(address: str, headers: dict[str, str]) -> Iterator[requests.Response]:
    """Give the answer at ``address``, or where that points to; its body is not yet read.

    Args:
        address: Where to ask.
        headers: What to ask with.

    Raises:
        UsageError: The address is not allowed.
        DataError: It points to one that is not allowed, or to too many.
        InterruptedTransferError: Nobody answers.
    """
    asked = check_address(address)
    with _Session() as session:
        for _ in range(_MOST_REDIRECTS + 1):
            # No proxy stands between this machine and itself.
            session.trust_env = urlsplit(asked).hostname not in _LOOPBACK
            try:
                response = session.get(asked, headers=headers, stream=True, timeout=_TIMEOUTS)
            except requests.RequestException as error:
                raise InterruptedTransferError(str(error)) from error
            with response:
                if not response.is_redirect:
                    yield response
                    return
                asked = _target(address, asked, response)
    raise DataError(
        f"{address} points from address to address",
        expected=f"at most {_MOST_REDIRECTS} redirections",
        found="more",
        fix="check the address",
    )


def _target(address: str, asked: str, response: requests.Response) -> str:
    """Return the address that a redirection points to, if it is allowed."""
    location = response.headers["Location"]
    try:
        return check_address(urljoin(asked, location))
    except (UsageError, ValueError) as error:
        raise DataError(
            f"{address} points to an address that nothing is fetched from",
            expected="https://HOST/..., or http to this machine",
            found=repr(location),
            fix="fetch the file by hand if you trust that address",
        ) from error
