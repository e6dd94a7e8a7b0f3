"""The Odoo servers that the contract is held against, over each transport: the stand-in and a real one.

The stand-in's 19.4 and 20 are made after Odoo's source: what they pass says how the client reads them, not
yet what a server of these versions answers.

A real server is used when ODOO_TEST_URL is set, with ODOO_TEST_DATABASE, ODOO_TEST_USER (default admin),
ODOO_TEST_SECRET (its password, default admin) and ODOO_TEST_COMPANY (default 1); an Odoo 19 over JSON-2 too
when ODOO_TEST_API_KEY has a key of that user. Use a database made for tests: records are created there and
stay. Sales, Invoicing (with a chart of accounts) and Email Marketing must be installed.
"""

import os
import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import NamedTuple

import pytest
from pydantic import SecretStr

from mc_pipeline.odoo.client import ConnectedClient, TransportName, connect
from mc_pipeline.odoo.errors import OdooVersionError
from mc_pipeline.sandbox.odoo import SandboxOdoo
from mc_pipeline_tests.odoo.connection import OdooAt, Patience

REAL_URL = os.environ.get("ODOO_TEST_URL", "")
REAL_KEY = os.environ.get("ODOO_TEST_API_KEY", "")


class Server(NamedTuple):
    """What the suite runs against; ``version`` None is the real server."""

    version: tuple[int, int] | None
    transport: TransportName

    def __str__(self) -> str:
        if self.version is None:
            return f"real server {self.transport}"
        major, minor = self.version
        return f"sandbox {major}{f'.{minor}' if minor else ''} {self.transport}"


SERVERS = [
    Server((17, 0), "jsonrpc"),
    Server((18, 0), "jsonrpc"),
    Server((19, 0), "jsonrpc"),
    Server((19, 0), "json2"),
    Server((19, 4), "json2"),
    Server((20, 0), "jsonrpc"),
    Server((20, 0), "json2"),
    *([Server(None, "jsonrpc")] if REAL_URL else []),
    *([Server(None, "json2")] if REAL_URL and REAL_KEY else []),
]


@dataclass(frozen=True)
class OdooUnderTest:
    """A server, its settings and an administrator's connection; ``sandbox`` when it is the stand-in.

    ``password`` and ``api_key`` are the administrator's, the key empty where none is known.
    """

    settings: OdooAt
    password: str
    api_key: str
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
        user = self.create(
            "res.users",
            login=login,
            partner_id=partner,
            **{self._groups: [[6, 0, [self._group("group_portal")]]]},
        )
        self.write("res.users", user, active=False)

    @contextmanager
    def connected_as_plain_user(self, login: str) -> Iterator[ConnectedClient]:
        """Log in, by password, as a new internal user without any further right."""
        if self.sandbox is not None:
            self.sandbox.add_user(login, login, groups=("internal",))
        else:
            group = self._group("group_user")
            self.create(
                "res.users", name=login, login=login, password=login, **{self._groups: [[6, 0, [group]]]}
            )
        settings = replace(self.settings, user=login, secret=SecretStr(login), api="jsonrpc")
        with connect(settings, [self.company], retry=Patience().policy) as client:
            yield client

    @property
    def _groups(self) -> str:
        return "group_ids" if self.client.version >= (19, 0) else "groups_id"

    def _group(self, name: str) -> int:
        """The id of one of Odoo's own groups."""
        found = self.client.search_read(
            "ir.model.data", [("module", "=", "base"), ("name", "=", name)], ["res_id"]
        )
        return int(found[0]["res_id"])

    def cancel(self, order: int) -> None:
        """Cancel an order: until 18 a wizard asks before a confirmed one is cancelled."""
        if self.client.version < (19, 0):
            wizard = self.create("sale.order.cancel", order_id=order)
            self.client.execute("sale.order.cancel", "action_cancel", [wizard])
        else:
            self.client.execute("sale.order", "action_cancel", [order])


@contextmanager
def served(server: Server) -> Iterator[OdooUnderTest]:
    """Connect to a server as its administrator, starting it where it is the stand-in."""
    with ExitStack() as stack:
        sandbox, key, company = None, REAL_KEY, int(os.environ.get("ODOO_TEST_COMPANY", "1"))
        if server.version is not None:
            sandbox = stack.enter_context(SandboxOdoo(server.version).serve())
            (administrator,) = sandbox.search("res.users", [("login", "=", "admin")])
            key, company = sandbox.add_api_key(administrator), 1
            settings = OdooAt(sandbox.url, database="sandbox", user="admin", secret=SecretStr("admin"))
        else:
            settings = OdooAt(
                REAL_URL,
                database=os.environ.get("ODOO_TEST_DATABASE", "odoo"),
                user=os.environ.get("ODOO_TEST_USER", "admin"),
                secret=SecretStr(os.environ.get("ODOO_TEST_SECRET", "admin")),
                timeout_seconds=60,
            )
        password = settings.secret.get_secret_value()
        if server.transport == "json2":
            settings = replace(settings, secret=SecretStr(key))
        settings = replace(settings, api=server.transport)
        try:
            client = stack.enter_context(connect(settings, [company], retry=Patience().policy))
        except OdooVersionError as too_old:
            pytest.skip(str(too_old))
        yield OdooUnderTest(settings, password, key, company, client, sandbox)


@pytest.fixture(scope="session", params=SERVERS, ids=str)
def odoo(request: pytest.FixtureRequest) -> Iterator[OdooUnderTest]:
    with served(request.param) as under_test:
        yield under_test


@pytest.fixture(scope="session", params=[each for each in SERVERS if each.transport == "json2"], ids=str)
def odoo_with_json2(request: pytest.FixtureRequest) -> Iterator[OdooUnderTest]:
    with served(request.param) as under_test:
        yield under_test


@pytest.fixture
def mark() -> str:
    """A word that no other test has used on that server."""
    return f"contract-{secrets.token_hex(5)}"
