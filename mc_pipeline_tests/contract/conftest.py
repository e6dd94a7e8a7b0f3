"""The Odoo servers that the contract is held against: the stand-in in three versions, and a real one.

A real server is used when ODOO_TEST_URL is set, with ODOO_TEST_DATABASE, ODOO_TEST_USER (default admin),
ODOO_TEST_SECRET (default admin) and ODOO_TEST_COMPANY (default 1). Use a database made for tests: records are
created there and stay. Sales, Invoicing (with a chart of accounts) and Email Marketing must be installed.
"""

import os
import secrets
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest
from pydantic import SecretStr

from mc_pipeline.odoo.client import ConnectedClient, connect
from mc_pipeline.sandbox.odoo import SandboxOdoo
from mc_pipeline_tests.odoo.connection import OdooAt, Patience

VERSIONS = {"sandbox 17": (17, 0), "sandbox 18": (18, 0), "sandbox 19": (19, 0)}
REAL = ["real server"] if os.environ.get("ODOO_TEST_URL") else []


@dataclass(frozen=True)
class OdooUnderTest:
    """A server, its settings and an administrator's connection; ``sandbox`` when it is the stand-in."""

    settings: OdooAt
    company: int
    client: ConnectedClient
    sandbox: SandboxOdoo | None = None

    def create(self, model: str, **values: object) -> int:
        """Create one record through the API."""
        created = self.client.execute(model, "create", values)
        return int(created[0] if isinstance(created, list) else created)

    def write(self, model: str, record: int, **values: object) -> None:
        self.client.execute(model, "write", [record], values)

    def add_archived_portal_user(self, login: str, partner: int) -> None:
        """A customer's access to the portal that was taken away again."""
        if self.sandbox is not None:
            self.sandbox.add_user(login, share=True, active=False, partner_id=partner)
            return
        group = self.client.search_read(
            "ir.model.data", [("module", "=", "base"), ("name", "=", "group_portal")], ["res_id"]
        )[0]["res_id"]
        groups = "group_ids" if self.client.version >= (19, 0) else "groups_id"
        user = self.create("res.users", login=login, partner_id=partner, **{groups: [[6, 0, [group]]]})
        self.write("res.users", user, active=False)

    def cancel(self, order: int) -> None:
        """Cancel an order: until 18 a wizard asks before a confirmed one is cancelled."""
        if self.client.version < (19, 0):
            wizard = self.create("sale.order.cancel", order_id=order)
            self.client.execute("sale.order.cancel", "action_cancel", [wizard])
        else:
            self.client.execute("sale.order", "action_cancel", [order])


@pytest.fixture(scope="session", params=[*VERSIONS, *REAL])
def odoo(request: pytest.FixtureRequest) -> Iterator[OdooUnderTest]:
    with ExitStack() as stack:
        server = None
        if request.param in VERSIONS:
            server = stack.enter_context(SandboxOdoo(VERSIONS[request.param]).serve())
            settings, company = (
                OdooAt(server.url, database="sandbox", user="admin", secret=SecretStr("admin")),
                1,
            )
        else:
            settings = OdooAt(
                os.environ["ODOO_TEST_URL"],
                database=os.environ.get("ODOO_TEST_DATABASE", "odoo"),
                user=os.environ.get("ODOO_TEST_USER", "admin"),
                secret=SecretStr(os.environ.get("ODOO_TEST_SECRET", "admin")),
                timeout_seconds=60,
            )
            company = int(os.environ.get("ODOO_TEST_COMPANY", "1"))
        client = stack.enter_context(connect(settings, [company], retry=Patience().policy))
        yield OdooUnderTest(settings, company, client, server)


@pytest.fixture
def mark() -> str:
    """A word that no other test has used on that server."""
    return f"contract-{secrets.token_hex(5)}"
