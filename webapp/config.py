"""The settings, read once from the environment and never changed.

Missing secrets and contradictions are refused at start, not met at the first request. Standard library
only, so that anything may import it.
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

SECRET_MIN_BYTES = 32
SECRET_MIN_LETTERS = 7  # different ones: 64 random hexadecimal digits have fewer once in 10^20
# In the checkout, whatever directory a command is given in.
DATABASE_URL = f"sqlite:///{Path(__file__).resolve().parent.parent / 'var/jari.sqlite3'}"


class ConfigError(Exception):
    """The environment does not describe a service that could run."""


@dataclass(frozen=True, slots=True)
class Config:
    """One field per setting; the README's table names the variable of each."""

    database_url: str
    secret_key: str
    secret_key_previous: str | None = None
    self_top_ups: bool = False
    top_up_max_minor: int = 10_000_000
    currency: str = "KRW"
    pool_size: int = 8
    pool_timeout_seconds: float = 2.0
    transaction_seconds: float = 8.0
    session_hours: float = 12.0
    cookie_secure: bool = True
    trusted_proxies: int = 0
    jobs_metrics_port: int = 0
    jobs_metrics_host: str = "127.0.0.1"
    join_work_bits: int = 0
    rehearse: bool = False

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> "Config":
        """Read the settings; raise ConfigError naming the variable that is wrong."""
        secret, previous = _secrets(env)
        url = env.get("DATABASE_URL") or DATABASE_URL
        if not url.startswith(("sqlite:///", "postgresql://", "postgresql+psycopg://")):
            raise ConfigError("DATABASE_URL must start with sqlite:/// or postgresql://")
        if ":memory:" in url or url == "sqlite:///":
            raise ConfigError(
                "DATABASE_URL must name a file: every connection would see its own memory"
            )
        config = cls(
            database_url=url,
            secret_key=secret,
            secret_key_previous=previous,
            self_top_ups=_choice(env, "TOPUPS", "closed", ("closed", "self")) == "self",
            top_up_max_minor=_number(env, "TOPUP_MAX_MINOR", 10_000_000, 1, 10**12),
            currency=env.get("CURRENCY", "KRW"),
            pool_size=_number(env, "POOL_SIZE", 8, 1, 200),
            pool_timeout_seconds=_number(env, "POOL_TIMEOUT_MS", 2_000, 10, 60_000) / 1000,
            transaction_seconds=_number(env, "TRANSACTION_MS", 8_000, 100, 60_000) / 1000,
            session_hours=_number(env, "SESSION_HOURS", 12, 1, 24 * 90),
            cookie_secure=_choice(env, "COOKIE_SECURE", "1", ("0", "1")) == "1",
            trusted_proxies=_number(env, "TRUSTED_PROXIES", 0, 0, 10),
            jobs_metrics_port=_number(env, "JOBS_METRICS_PORT", 0, 0, 65_535),
            jobs_metrics_host=env.get("HOST") or "127.0.0.1",
            join_work_bits=_number(env, "JOIN_WORK_BITS", 0, 0, 24),
            rehearse=_choice(env, "REHEARSE", "0", ("0", "1")) == "1",
        )
        if (
            len(config.currency) != 3
            or not config.currency.isalpha()
            or not config.currency.isupper()
        ):
            raise ConfigError("CURRENCY must be an ISO 4217 code such as KRW")
        if config.pool_timeout_seconds >= config.transaction_seconds:
            raise ConfigError("POOL_TIMEOUT_MS must be shorter than TRANSACTION_MS")
        return config


def _secrets(env: Mapping[str, str]) -> tuple[str, str | None]:
    """Return the key and the one before it; raise ConfigError for one that anybody might guess."""
    previous = env.get("SECRET_KEY_PREVIOUS")
    secret = env.get("SECRET_KEY", "")
    if not secret and env.get("FLASK_RUN_FROM_CLI") == "true":
        # Commands sign nothing that outlives them, and a wrong key must not keep an operator
        # from `verify` at night.
        secret = secrets.token_hex(SECRET_MIN_BYTES)
    for name, value in (("SECRET_KEY", secret), ("SECRET_KEY_PREVIOUS", previous)):
        if value is not None and len(value.encode()) < SECRET_MIN_BYTES:
            raise ConfigError(f"{name} must have at least {SECRET_MIN_BYTES} bytes")
        if value is not None and len(set(value)) < SECRET_MIN_LETTERS:
            raise ConfigError(f"{name} is weak: take what `openssl rand -hex 32` prints")
    if secret == previous:
        raise ConfigError("SECRET_KEY_PREVIOUS must be another than SECRET_KEY")
    return secret, previous


def _number(env: Mapping[str, str], name: str, default: int, low: int, high: int) -> int:
    text = env.get(name, str(default))
    if not text.isascii() or not text.isdigit() or not low <= int(text) <= high:
        raise ConfigError(f"{name} must be a whole number from {low} to {high}")
    return int(text)


def _choice(env: Mapping[str, str], name: str, default: str, choices: tuple[str, ...]) -> str:
    value = env.get(name, default)
    if value not in choices:
        raise ConfigError(f"{name} must be one of {', '.join(choices)}")
    return value
