"""The hub is left alone where there is no network, and everything is as before afterwards."""

from __future__ import annotations

import logging
import socket

import pytest
from huggingface_hub import constants

from robustbench_safety.models import hub


@pytest.mark.parametrize("reached", [True, False])
def test_the_hub_is_asked_only_where_it_is_in_reach(
    monkeypatch: pytest.MonkeyPatch, *, reached: bool
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hub, "_in_reach", lambda address: reached)
    with hub.quiet_hub():
        assert constants.HF_HUB_OFFLINE is not reached
    assert constants.HF_HUB_OFFLINE is False


def test_a_user_who_is_offline_on_purpose_stays_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(hub, "_in_reach", lambda address: pytest.fail("the network was tried"))
    with hub.quiet_hub():
        assert constants.HF_HUB_OFFLINE is True
    assert constants.HF_HUB_OFFLINE is True


def test_log_lines_are_silent_inside_and_loggers_are_as_before_after_an_error(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(hub, "_in_reach", lambda address: False)
    handlers = list(logging.getLogger().handlers)

    def fail() -> None:
        with hub.quiet_hub():
            logging.getLogger().addHandler(logging.NullHandler())
            logging.error("inside")
            raise OSError("no network")

    with pytest.raises(OSError, match="no network"):
        fail()
    logging.error("after")
    assert [record.message for record in caplog.records] == ["after"]
    assert logging.getLogger().handlers == handlers


def test_a_machine_that_listens_is_in_reach_and_one_that_does_not_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("urllib.request.getproxies", dict)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert hub._in_reach(f"http://127.0.0.1:{port}")
    assert not hub._in_reach(f"http://127.0.0.1:{port}")
    monkeypatch.setattr("urllib.request.getproxies", lambda: {"http": "http://proxy:1"})
    assert hub._in_reach(f"http://127.0.0.1:{port}")
