"""What a server is told at its start: its address, its token and its limits."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from headstart.data.folders.decode import Limits
from headstart.errors import ConfigError

_TOKEN_LETTERS = 16
_LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a server answers.

    host: address to listen on, host names of requests being checked against it and `names`. token: that
    requests must carry; needed where host is no loopback address.
    max_batch: images that pass through a network at a time. max_wait_ms: that an image waits, at most, for
    others that are on their way. max_requests: handled at once; a further one is answered 503.
    max_body_bytes, max_images: of one request. max_pixels: of one image, checked before it is decoded.
    timeout_seconds: for a request to arrive, and again to be answered.

    Raises: ConfigError for a value out of its range, or another host without a token."""

    host: str = "127.0.0.1"
    port: int = 8000
    token: str | None = None
    names: tuple[str, ...] = ()
    max_batch: int = 32
    max_wait_ms: float = 5.0
    max_requests: int = 64
    max_body_bytes: int = 32_000_000
    max_images: int = 32
    max_pixels: int = 50_000_000
    timeout_seconds: float = 30.0

    def __post_init__(self) -> None:
        for name in ("max_batch", "max_requests", "max_body_bytes", "max_images", "max_pixels"):
            if (value := getattr(self, name)) < 1:
                raise ConfigError(f"{name} must be at least 1, got {value}")
        if not 0 <= self.max_wait_ms <= 10_000:
            raise ConfigError(f"max_wait_ms must be between 0 and 10,000, got {self.max_wait_ms:g}")
        if not 0 < self.timeout_seconds <= 3600:
            raise ConfigError(
                f"the timeout must be above 0 and at most 3,600 s, got {self.timeout_seconds:g}"
            )
        if not 0 <= self.port <= 65535:
            raise ConfigError(f"the port must be between 0 (any free one) and 65535, got {self.port}")
        if self.token is None and not self.is_loopback:
            raise ConfigError(
                f"host {self.host} can be reached from other machines, so a token is needed: "
                "--token or HEADSTART_TOKEN"
            )
        if self.token is not None and not _is_good_token(self.token):
            raise ConfigError(
                f"a token has at least {_TOKEN_LETTERS} letters, digits or other signs of ASCII and no "
                'blanks; python -c "import secrets; print(secrets.token_urlsafe())" makes one'
            )

    @property
    def is_loopback(self) -> bool:
        """Whether only programs of this machine can reach the server."""
        return is_loopback(self.host)

    @property
    def limits(self) -> Limits:
        """The decoder's limits on one image."""
        return Limits(
            max_pixels=self.max_pixels, max_bytes=self.max_body_bytes, max_seconds=self.timeout_seconds
        )

    def accepts_host(self, name: str) -> bool:
        """Whether a request may name this host, lower case and without its port.

        A page of another site can make a browser send requests here under a name of its own (DNS rebinding),
        but not under an address."""
        if name in (*_LOOPBACK_NAMES, self.host.lower(), *map(str.lower, self.names)):
            return True
        return not self.is_loopback and _is_address(name)


def is_loopback(host: str) -> bool:
    """Whether an address to listen on can be reached from the machine itself alone."""
    return host == "localhost" or (_is_address(host) and ipaddress.ip_address(host).is_loopback)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _is_good_token(token: str) -> bool:
    return len(token) >= _TOKEN_LETTERS and all("!" <= letter <= "~" for letter in token)
