"""`headstart serve` says at its start, in one line, what keeps it from serving."""

from __future__ import annotations

import importlib.util
import socket

import pytest
from typer.testing import CliRunner

pytest.importorskip("fastapi")
from headstart.cli.app import app
from headstart.errors import BusyError, ConfigError, StoreError


def refusal(*arguments: str, **environment: str) -> BaseException | None:
    return CliRunner().invoke(app, ["serve", *arguments], env=environment).exception


def test_a_taken_port_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        error = refusal("model", "--port", str(other.getsockname()[1]))
    assert isinstance(error, BusyError) and "is taken; choose another with --port" in str(error)


def test_a_host_that_others_reach_needs_a_token_which_the_environment_may_hold() -> None:
    error = refusal("model", "--host", "0.0.0.0", "--port", "0")
    assert isinstance(error, ConfigError) and "--token or HEADSTART_TOKEN" in str(error)
    error = refusal("model", "--host", "0.0.0.0", "--port", "0", HEADSTART_TOKEN="0123456789abcdef")
    assert isinstance(error, StoreError) and "model holds no model" in str(error)


def test_an_address_of_another_machine_is_named() -> None:
    error = refusal("model", "--host", "192.0.2.1", "--token", "0123456789abcdef")
    assert isinstance(error, ConfigError) and "192.0.2.1 port 8000 cannot be used" in str(error)


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "uvicorn" else name)
    error = refusal("model")
    assert isinstance(error, ConfigError) and str(error) == (
        "serving needs uvicorn: pip install 'headstart[app]'"
    )
