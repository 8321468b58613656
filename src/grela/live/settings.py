"""How a service is to run: everything but the token, which never travels with the rest."""

from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

from grela.errors import ConfigError
from grela.live.limits import Limits


@dataclass(frozen=True, kw_only=True)
class Settings:
    """run: the folder of the run. store: a file's path, or a server's URL (`grela.store.opening`).

    durable: whether an append is on the disk before its answer. memory: bytes of states kept, by all workers together.
    rate: requests a second for each client and worker, or None for any number.
    token_file: a file with the bearer token; without it the environment variable GRELA_TOKEN is looked at.
    compact: whether to write the store anew before serving, so that what was deleted is in no file.
    """

    run: Path
    store: str
    host: str = "127.0.0.1"
    port: int = 8000
    workers: int = 1
    durable: bool = True
    memory: int = 512_000_000
    rate: float | None = None
    token_file: Path | None = None
    compact: bool = False
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        if not self.store:
            raise ConfigError("store is empty, expected a path or a URL")
        if self.workers < 1:
            raise ConfigError(f"workers is {self.workers}, expected at least 1")
        if not 0 <= self.port <= 65535:
            raise ConfigError(f"port is {self.port}, expected 0 (any free one) to 65535")
        if self.memory < 1:
            raise ConfigError(f"memory is {self.memory} bytes, expected at least 1")
        if self.rate is not None and not 0 < self.rate < float("inf"):
            raise ConfigError(f"rate is {self.rate}, expected more than 0 requests a second")

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach the service."""
        if self.host == "localhost":
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return False
