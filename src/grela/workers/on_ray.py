"""Parts of a job on a Ray cluster (extra `ray`): one task a part, one core a task, begun again where a node is lost."""

import logging
import socket
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, TypeVar

from grela.errors import ConfigError, GrelaError, WorkersError

Result = TypeVar("Result")

# A part that is lost so often more than once is likely to be what kills its worker.
RETRIES = 3
_SECONDS = 10


class RayWorkers:
    """`Workers` on the cluster at `address` ("auto", host:port, or "local" for one of this machine alone).

    A context manager: connected inside, disconnected afterwards, which ends what still runs. Every node needs this
    version of grela, and the folder that the parts share at the same path. Raises ConfigError where Ray is missing or
    no cluster answers.
    """

    threads: int | None = 1

    def __init__(self, address: str) -> None:
        self.address = address

    def __enter__(self) -> "RayWorkers":
        try:
            import ray
        except ImportError as error:
            raise ConfigError("Ray is not installed; install it with `pip install 'grela[ray]'`") from error
        try:
            _must_answer(self.address)
            ray.init(address=self.address, log_to_driver=False, logging_level=logging.WARNING)
        except (OSError, ValueError, RuntimeError) as error:
            raise ConfigError(
                f"no Ray cluster at {self.address!r}: {str(error).strip().splitlines()[0].rstrip('.')}; start one with "
                "`ray start --head`, or give the address of one that runs"
            ) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        import ray

        ray.shutdown()

    def run(self, part: Callable[..., Result], arguments: Sequence[tuple[Any, ...]]) -> list[Result]:
        """As `Workers` says; WorkersError where a part was lost more than `RETRIES` times."""
        import ray

        task = ray.remote(num_cpus=1, max_retries=RETRIES)(part)
        references = [task.remote(*one) for one in arguments]
        try:
            results: list[Result] = ray.get(references)
        except ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, GrelaError):
                raise error.cause from None
            raise
        except ray.exceptions.RayError as error:
            raise WorkersError(
                f"a part of the job was lost {RETRIES + 1} times or its cluster is gone: {str(error).strip()}; see "
                "`ray logs`, give its nodes more memory or disk, and repeat the command"
            ) from error
        return results


def _must_answer(address: str) -> None:
    """OSError where host:port is given and nobody listens there, for which Ray would wait for many minutes."""
    host, _, port = address.rpartition(":")
    if port.isdigit():
        socket.create_connection((host, int(port)), timeout=_SECONDS).close()
