"""The Hugging Face hub behind a library: asked where it can be reached, and left alone where it cannot.

Without a network its libraries try again for 20 to 50 seconds, with two log lines for each attempt, before
they look into their cache or give up. Here they are told first.
"""

from __future__ import annotations

import logging
import socket
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from huggingface_hub import constants

__all__ = ["quiet_hub"]

#: Seconds in which the hub's machine must answer.
_PATIENCE = 5.0


@contextmanager
def quiet_hub() -> Iterator[None]:
    """Run a block that may use the hub, without log lines; where there is no network, from the cache alone.

    What goes wrong is raised all the same, and is the caller's to say.
    """
    root = logging.getLogger()
    handlers, disabled = list(root.handlers), logging.root.manager.disable
    offline = constants.HF_HUB_OFFLINE
    logging.disable(logging.CRITICAL)
    if not offline:
        constants.HF_HUB_OFFLINE = not _in_reach(constants.ENDPOINT)
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = offline
        logging.disable(disabled)
        root.handlers[:] = handlers  # logging.info adds one where there is none


def _in_reach(address: str) -> bool:
    """Return whether a connection to the machine of an address can be had; true behind a proxy."""
    parts = urllib.parse.urlsplit(address)
    if urllib.request.getproxies().get(parts.scheme) or not parts.hostname:
        return True
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        with socket.create_connection((parts.hostname, port), timeout=_PATIENCE):
            return True
    except OSError:
        return False
