"""A served stand-in of each version, and real odoorpc clients for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import odoorpc
import pytest

from mc_pipeline.sandbox.odoo import SandboxOdoo

Login = Callable[..., odoorpc.ODOO]


@pytest.fixture(params=[17, 18, 19], ids=lambda major: f"odoo{major}")
def major(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture
def odoo(major: int) -> Iterator[SandboxOdoo]:
    with SandboxOdoo((major, 0)).serve() as served:
        yield served


@pytest.fixture
def odoo19() -> Iterator[SandboxOdoo]:
    with SandboxOdoo((19, 0)).serve() as served:
        yield served


def log_in(odoo: SandboxOdoo, login: str = "admin", password: str = "admin") -> odoorpc.ODOO:
    """A real client, logged in."""
    address = urlsplit(odoo.url)
    client = odoorpc.ODOO(address.hostname, port=address.port, timeout=10)
    client.login(odoo.database.name, login, password)
    return client


@pytest.fixture
def admin(odoo: SandboxOdoo) -> odoorpc.ODOO:
    return log_in(odoo)


def error_of(call: Callable[[], object]) -> tuple[str, str]:
    """Name and message of the error that a call must end with."""
    with pytest.raises(odoorpc.error.RPCError) as caught:
        call()
    data = caught.value.info["data"]
    return data["name"], data["message"]
