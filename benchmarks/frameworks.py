"""What a web framework costs before anything is computed: a POST of one event that is read, checked and answered.

    pip install fastapi litestar && python benchmarks/frameworks.py

Plain ASGI with msgspec, Starlette with msgspec, Litestar (msgspec is its own), FastAPI (pydantic), each on uvicorn with
uvloop and httptools, asked by wrk; printed is the processor time of the server for a request. Frameworks that are not
installed are left out.
"""

import argparse
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import msgspec
import uvicorn
from served import Served

FRAMEWORKS = ("asgi", "starlette", "litestar", "fastapi")
BODY = '{"events":[{"user":17,"item":2858,"time":978300000}]}'


class Event(msgspec.Struct, forbid_unknown_fields=True):
    """An event as the service reads it."""

    user: str | int
    item: str | int
    time: int | float | None = None


class Body(msgspec.Struct, forbid_unknown_fields=True):
    """A request."""

    events: list[Event]


class Result(msgspec.Struct):
    """What became of an event."""

    user: str
    added: bool


class Answer(msgspec.Struct):
    """An answer."""

    results: list[Result]


_DECODER = msgspec.json.Decoder(Body)


def answered(body: Body) -> Answer:
    """All that is done."""
    return Answer([Result(str(event.user), True) for event in body.events])


async def asgi(scope: Any, receive: Any, send: Any) -> None:
    """No framework."""
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    out = msgspec.json.encode(answered(_DECODER.decode(body)))
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(out)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": out})


def starlette() -> Any:
    """Starlette; msgspec reads and writes."""
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    async def events(request: Request) -> Response:
        found = answered(_DECODER.decode(await request.body()))
        return Response(msgspec.json.encode(found), media_type="application/json")

    return Starlette(routes=[Route("/events", events, methods=["POST"])])


def litestar() -> Any:
    """Litestar, which reads and writes by msgspec itself."""
    from litestar import Litestar, post

    @post("/events")
    async def events(data: Body) -> Answer:
        return answered(data)

    return Litestar(route_handlers=[events])


def fastapi() -> Any:
    """FastAPI with pydantic's models."""
    from fastapi import FastAPI
    from pydantic import create_model

    happened = create_model(
        "Happened", user=(str | int, ...), item=(str | int, ...), time=(int | float | None, None)
    )
    asked = create_model("Asked", events=(list[happened], ...))  # type: ignore[valid-type]
    became = create_model("Became", user=(str, ...), added=(bool, ...))
    told = create_model("Told", results=(list[became], ...))  # type: ignore[valid-type]
    app = FastAPI()

    async def events(body: Any) -> Any:
        return told(results=[became(user=str(event.user), added=True) for event in body.events])

    events.__annotations__ = {"body": asked, "return": told}
    app.post("/events")(events)
    return app


def serve(name: str, port: int) -> None:
    """Serve one of them until killed."""
    makers: dict[str, Callable[[], Any]] = {"starlette": starlette, "litestar": litestar, "fastapi": fastapi}
    app = asgi if name == "asgi" else makers[name]()
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="error", access_log=False, lifespan="off")


def measure(name: str, seconds: float) -> float:
    """Microseconds of processor time for a request."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen([sys.executable, __file__, "--serve", name, "--port", str(port)], text=True)
    try:
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                time.sleep(0.1)
        with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
            script.write(
                'wrk.method = "POST"\nwrk.path = "/events"\nwrk.headers["Content-Type"] = "application/json"\n'
            )
            script.write(f"wrk.body = [[{BODY}]]\n")
            script.flush()
            served = Served(process, f"http://127.0.0.1:{port}")
            before = served.cpu_seconds()
            command = ["wrk", "-t1", "-c16", f"-d{seconds:.0f}", "-s", script.name, served.url]
            said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        if "Non-2xx" in said:
            raise SystemExit(f"{name} refused: {said}")
        count = int(next(row for row in said.splitlines() if " requests in " in row).split()[0])
        return 1e6 * (served.cpu_seconds() - before) / count
    finally:
        process.kill()
        process.wait()


def main() -> None:
    """Measure each, thrice, in turn."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--serve", choices=FRAMEWORKS, help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        serve(given.serve, given.port)
        return
    there = [name for name in FRAMEWORKS if name == "asgi" or find_spec(name)]
    for turn in range(3):
        found = {name: measure(name, given.seconds) for name in there}
        print(
            f"turn {turn + 1}: " + "  ".join(f"{name} {us:.0f} us" for name, us in found.items()), flush=True
        )


if __name__ == "__main__":
    main()
