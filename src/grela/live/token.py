"""The bearer token: from a file or the environment, never from an argument, which other users of a machine can see."""

from collections.abc import Mapping

from grela.errors import ConfigError, ServiceError
from grela.live.settings import Settings

VARIABLE = "GRELA_TOKEN"
SHORTEST = 16


def read_token(settings: Settings, environment: Mapping[str, str]) -> str | None:
    """The token, or None for a service on loopback without one; ServiceError where one is needed."""
    token = _given(settings, environment)
    if token is None:
        if settings.loopback:
            return None
        raise ServiceError(
            f"--host {settings.host} can be reached from other machines, and no bearer token is set: put one into "
            f"the environment variable {VARIABLE} or a file (--token-file), or serve on 127.0.0.1"
        )
    if len(token) < SHORTEST or not (token.isascii() and token.isprintable()) or " " in token:
        raise ConfigError(
            f"the bearer token has {len(token)} characters, expected at least {SHORTEST} printable ASCII ones "
            "without blanks; make one with `openssl rand -hex 32`"
        )
    return token


def _given(settings: Settings, environment: Mapping[str, str]) -> str | None:
    if settings.token_file is None:
        return environment.get(VARIABLE) or None
    try:
        return settings.token_file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ServiceError(
            f"cannot read the token file {settings.token_file}: {error}; give one that this process may read"
        ) from error
