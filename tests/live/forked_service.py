"""What a forked process of a service runs; a module of its own, so that the process imports nothing else."""

from multiprocessing.connection import Connection

from grela.live.running import run_service
from grela.live.settings import Settings


def serve(settings: Settings, mouth: Connection) -> None:
    """Serve, and tell the first line."""
    run_service(settings, say=mouth.send, progress=lambda done, users: None)
