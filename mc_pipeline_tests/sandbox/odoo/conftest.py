"""A fresh stand-in of each version behind one HTTP server, and real odoorpc clients for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import odoorpc
import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from mc_pipeline.sandbox.odoo import SandboxOdoo
from mc_pipeline.sandbox.serving import serve


class Switchboard:
    """Passes requests to the stand-in of the present test: starting a server for each would take longer than
    the tests."""

    app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)


@pytest.fixture(scope="session")
def switchboard() -> Iterator[tuple[Switchboard, str]]:
    board = Switchboard()
    board.app = SandboxOdoo((19, 0)).app
    with serve(board) as url:
        yield board, url


@pytest.fixture(params=[17, 18, 19, 20], ids=lambda major: f"odoo{major}")
def major(request: pytest.FixtureRequest) -> int:
    return int(request.param)


def _connected(switchboard: tuple[Switchboard, str], odoo: SandboxOdoo) -> SandboxOdoo:
    board, odoo.url = switchboard
    board.app = odoo.app
    return odoo


@pytest.fixture
def odoo(major: int, switchboard: tuple[Switchboard, str]) -> SandboxOdoo:
    return _connected(switchboard, SandboxOdoo((major, 0)))


@pytest.fixture
def odoo19(switchboard: tuple[Switchboard, str]) -> SandboxOdoo:
    return _connected(switchboard, SandboxOdoo((19, 0)))


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
