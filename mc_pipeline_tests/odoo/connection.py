"""Settings and a retry policy that tests connect with: no waiting, waits recorded."""

from dataclasses import dataclass, field

from pydantic import SecretStr

from mc_pipeline.odoo.client import ConnectedClient, RetryPolicy, connect

SECRET = "a-secret-that-never-shows"


@dataclass(frozen=True)
class OdooAt:
    url: str
    database: str = "production"
    user: str = "integration@example.com"
    secret: SecretStr = field(default_factory=lambda: SecretStr(SECRET))
    api: str = "auto"
    timeout_seconds: float = 5.0
    connections: int | None = None
    calls_per_second: float | None = None


@dataclass
class Patience:
    """A retry policy whose waits are recorded in place of slept."""

    attempts: int = 5
    waits: list[float] = field(default_factory=list)

    @property
    def policy(self) -> RetryPolicy:
        return RetryPolicy(attempts=self.attempts, sleep=self.waits.append)


def connected(url: str, company_ids: tuple[int, ...] = (1,), **settings: object) -> ConnectedClient:
    return connect(OdooAt(url, **settings), company_ids, retry=Patience().policy)  # type: ignore[arg-type]
