"""A server's settings: nothing that others can reach without a token, names under which it answers."""

from __future__ import annotations

import socket

import pytest

from headstart.errors import ConfigError
from headstart.serve.listening import listen
from headstart.serve.settings import Settings

TOKEN = "0123456789abcdef"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.7", "::1", "localhost"])
def test_loopback_needs_no_token(host: str) -> None:
    assert Settings(host=host).is_loopback


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.7", "example.org"])
def test_any_other_host_needs_a_token(host: str) -> None:
    with pytest.raises(ConfigError, match="can be reached from other machines, so a token is needed"):
        Settings(host=host)
    assert not Settings(host=host, token=TOKEN).is_loopback


@pytest.mark.parametrize("token", ["", "short", "0123456789 abcdef", "0123456789abcdéf"])
def test_a_weak_token_is_refused(token: str) -> None:
    with pytest.raises(ConfigError, match="at least 16 letters"):
        Settings(token=token)


def test_a_loopback_server_answers_under_loopback_names_and_those_given() -> None:
    settings = Settings(names=("Images.Example.org",))
    for name in ("localhost", "127.0.0.1", "::1", "images.example.org"):
        assert settings.accepts_host(name)
    for name in ("evil.example", "192.168.0.7", "", "localhost.evil.example"):
        assert not settings.accepts_host(name)


def test_a_server_for_others_answers_under_addresses_too() -> None:
    settings = Settings(host="0.0.0.0", token=TOKEN)
    assert settings.accepts_host("192.168.0.7") and settings.accepts_host("fe80::1")
    assert not settings.accepts_host("evil.example")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"max_batch": 0}, "max_batch must be at least 1, got 0"),
        ({"max_wait_ms": float("nan")}, "max_wait_ms must be between 0 and 10,000, got nan"),
        ({"timeout_seconds": 0.0}, "timeout must be above 0 and at most 3,600 s, got 0"),
        ({"port": 65536}, "port must be between 0"),
    ],
)
def test_a_value_out_of_its_range_is_refused(given: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Settings(**given)  # type: ignore[arg-type]


def test_the_end_of_an_answer_does_not_wait_for_the_acknowledgement_of_its_head() -> None:
    with listen(Settings(port=0)) as bound:
        bound.listen()
        with socket.create_connection(bound.getsockname()[:2]):
            accepted, _ = bound.accept()
            with accepted:
                assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
