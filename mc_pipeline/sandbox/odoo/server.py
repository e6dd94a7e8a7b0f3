"""The stand-in Odoo: what a test or a demo holds in its hands.

Besides the served API it has what people do at a real Odoo's screens (:mod:`mc_pipeline.sandbox.odoo.acts`).
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from starlette.applications import Starlette
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from mc_pipeline.sandbox.faults import Faults, Latency
from mc_pipeline.sandbox.journal import Journal, utc_now
from mc_pipeline.sandbox.odoo import pages
from mc_pipeline.sandbox.odoo.acts import Acts
from mc_pipeline.sandbox.odoo.basics import put_basics
from mc_pipeline.sandbox.odoo.catalogue import OPTIONAL_MODULES, built_in_models
from mc_pipeline.sandbox.odoo.database import Database
from mc_pipeline.sandbox.odoo.json2 import PATH as JSON2_PATH
from mc_pipeline.sandbox.odoo.json2 import Json2
from mc_pipeline.sandbox.odoo.jsonrpc import JsonRpc
from mc_pipeline.sandbox.odoo.models.partner import Partner
from mc_pipeline.sandbox.odoo.recorded import read_fields, read_records, take_records
from mc_pipeline.sandbox.odoo.versions import Release
from mc_pipeline.sandbox.serving import JournalLayer, TroubleLayer, control_routes, serve


class _Latest:
    """The application that serves at the moment: an upgrade puts another one in its place."""

    def __init__(self, current: ASGIApp) -> None:
        self.current = current

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.current(scope, receive, send)


DEFAULT_MODULES = frozenset({"sale", "account", "mass_mailing", "delivery"})


class SandboxOdoo(Acts):
    """A stand-in Odoo server with one or more databases.

    ``version`` is (17, 0), (18, 0), (19, 0), (19, 1) to (19, 4) of Odoo Online, or (20, 0); what comes after
    (19, 0) is made by hand after Odoo's source, without a recorded server. ``modules`` are the optional ones
    that are installed.
    ``fields`` are recorded definitions (a file or folder of them) in place of the built-in ones.
    ``clock`` gives the present moment, timezone-aware. Methods without ``database`` act on the first one.

    A fresh database has the company 1 "My Company" (EUR), the administrator "admin" with the password
    "admin", and the public and portal template users. Raises ValueError for an unknown version or module.
    """

    def __init__(
        self,
        version: tuple[int, int] = (19, 0),
        *,
        databases: Sequence[str] = ("sandbox",),
        modules: frozenset[str] | set[str] = DEFAULT_MODULES,
        fields: Path | None = None,
        clock: Callable[[], datetime] = utc_now,
        basics: bool = True,
    ) -> None:
        unknown = set(modules) - set(OPTIONAL_MODULES)
        if unknown:
            raise ValueError(f"modules {sorted(unknown)} are unknown; use {sorted(OPTIONAL_MODULES)}")
        release = Release.of(version)
        self.version = version
        self.faults = Faults()
        self.latency = Latency()
        self.url = ""
        self.modules = frozenset(modules)
        built_in = built_in_models(version, self.modules)
        recorded = read_fields(fields, built_in) if fields is not None else {}
        held: dict[str, Database] = {}
        for name in databases:
            definitions = {model: dict(each) for model, each in (built_in | recorded).items()}
            database = held[name] = Database(name, release, definitions, clock)
            for module in sorted({"base", "contacts", "mail", *modules}):
                database.models["ir.module.module"].table.insert({"name": module, "state": "installed"})
            if basics:
                put_basics(database)
        super().__init__(release, held, Journal(clock=clock))
        self.app = _Latest(self._application())

    # serving

    def _application(self) -> Starlette:
        self.rpc = JsonRpc(self.release, self.databases)
        self.json2 = Json2(self.release, self.databases)

        def watches(path: str) -> bool:
            return path.startswith(("/jsonrpc", "/web/", JSON2_PATH))

        def broken(status: int) -> tuple[str, bytes]:
            return "application/json", json.dumps(self.rpc.internal_error()).encode()

        api: ASGIApp = Starlette(routes=[*self.rpc.routes(), *self.json2.routes()])
        # each API has its own way to say that the server broke
        api = TroubleLayer(
            api,
            self.faults,
            self.latency,
            watches=lambda path: watches(path) and not path.startswith(JSON2_PATH),
            error_body=broken,
            own_errors=self.rpc.own_errors(),
        )
        api = TroubleLayer(
            api,
            self.faults,
            self.latency,
            watches=lambda path: path.startswith(JSON2_PATH),
            error_body=self.json2.error_body,
            own_errors=self.json2.own_errors(),
        )
        journalled = JournalLayer(api, self.journal, watches=watches)
        routes: list[Route | Mount] = [
            *control_routes(self.journal, self.faults, self.latency),
            *pages.routes(self),
            Mount("/", app=journalled),
        ]
        return Starlette(routes=routes)

    @contextmanager
    def serve(self, *, host: str = "127.0.0.1", port: int = 0) -> Iterator[SandboxOdoo]:
        """Serve over HTTP while the block runs; ``url`` says where."""
        with serve(self.app, host=host, port=port) as url:
            self.url = url
            yield self

    # upgrading

    def upgrade(self, version: tuple[int, int], *, companies_judged_anew: bool = True) -> None:
        """Make this the server of a later version, on the same databases, address, logins and journal.

        ``companies_judged_anew``: whether ``is_company`` of every partner is computed by the rules of 19.1
        and later. Whether Odoo's own upgrade does so is not known: without it a partner keeps its old value
        until its tax id or parent changes. Raises ValueError for a version that is not later.
        """
        if version <= self.version:
            raise ValueError(f"version {version!r} is not later than {self.version!r}")
        release, built_in = Release.of(version), built_in_models(version, self.modules)
        before = built_in_models(self.version, self.modules)
        self.release, self.version = release, version
        for database in self.databases.values():
            with database.lock:
                definitions = {model: dict(each) for model, each in built_in.items()}
                database.upgrade(release, definitions, before)
                if release.since(19, 1) and companies_judged_anew:
                    partners = database.models["res.partner"]
                    assert isinstance(partners, Partner)
                    for row in partners.table.rows.values():
                        partners.judge_company(database.superuser(), row)
        self.app.current = self._application()

    # keeping

    def snapshot(self) -> bytes:
        """The records of all databases; logins, rights, journal and faults are left out."""
        return pickle.dumps(
            {
                (name, model): (each.table.rows, each.table.ids, each.table.next_id)
                for name, database in self.databases.items()
                for model, each in database.models.items()
            }
        )

    def restore(self, snapshot: bytes) -> None:
        """Go back to a snapshot made by this program. The journal goes on."""
        for (name, model), (rows, ids, next_id) in pickle.loads(snapshot).items():
            with self.databases[name].lock:
                self.databases[name].models[model].table.replace(rows, ids, next_id)

    # recordings

    def load_recorded(self, *paths: Path) -> None:
        """Take over records recorded from a real server of this version (``records.json.gz`` or a scenario
        file), with its users as logins (password = login; ``admin`` is an administrator)."""
        for path in paths:
            take_records(self.database, *read_records(path))
