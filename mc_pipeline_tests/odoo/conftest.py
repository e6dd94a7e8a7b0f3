"""Stand-in Odoo servers for the tests of this folder."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from pydantic import SecretStr

from mc_pipeline.odoo.client import ConnectedClient, connect
from mc_pipeline.sandbox.odoo import SandboxOdoo
from mc_pipeline_tests.odoo.connection import OdooAt, Patience


@contextmanager
def logged_in(
    sandbox: SandboxOdoo, user: str = "admin", secret: str = "admin", companies: tuple[int, ...] = (1,)
) -> Iterator[ConnectedClient]:
    """A connection to a served stand-in."""
    settings = OdooAt(sandbox.url, database="sandbox", user=user, secret=SecretStr(secret))
    with connect(settings, companies, retry=Patience().policy) as client:
        yield client


@pytest.fixture
def sandbox() -> Iterator[SandboxOdoo]:
    """A fresh Odoo 18 with sales, accounting, mass mailing and delivery; company 1 keeps its books in EUR."""
    with SandboxOdoo((18, 0)).serve() as served:
        yield served


@pytest.fixture
def client(sandbox: SandboxOdoo) -> Iterator[ConnectedClient]:
    with logged_in(sandbox) as connection:
        yield connection
