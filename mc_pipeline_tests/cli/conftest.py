"""One world per module, and the command run in this process as a shell would run it."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from click.testing import CliRunner
from dagster._core.storage.event_log.sqlite import sqlite_event_log
from dagster._core.storage.runs.sqlite import sqlite_run_storage
from sqlalchemy import Engine

from mc_pipeline.cli import main
from mc_pipeline.sandbox.mailchimp import DEFAULT_KEY, SandboxMailchimp
from mc_pipeline.sandbox.odoo import SandboxOdoo
from mc_pipeline_tests.new_ledger import put_new_ledger
from mc_pipeline_tests.world import TWO_AUDIENCES, World

_READS = frozenset(
    "search search_read search_count read fields_get has_group has_access check_access_rights"
    " context_get login version formatted_read_group read_group".split()
)


def _keep_engines(storage: ModuleType) -> None:
    """Let Dagster use an engine of SQLAlchemy again for a file of SQLite.

    It makes one for each access, for which every statement is compiled anew: a fifth of a sync's time. The
    engines keep no connection.
    """
    make: Callable[..., Engine] = storage.create_engine
    kept: dict[str, Engine] = {}

    def create_engine(url: str, **options: Any) -> Engine:
        if url not in kept:
            if len(kept) == 8:  # the files of a few runs
                kept.pop(next(iter(kept)))
            kept[url] = make(url, **options)
        return kept[url]

    storage.create_engine = create_engine  # type: ignore[attr-defined]


for _storage in (sqlite_event_log, sqlite_run_storage):
    _keep_engines(_storage)


@dataclass(frozen=True)
class Finished:
    """A command that ended: its exit code, and what it wrote to both streams, line breaks folded."""

    exit_code: int
    output: str

    @property
    def in_one_line(self) -> str:
        """The output in one line: tables wrap where the terminal ends."""
        return " ".join(self.output.split())


def mc_pipeline(*arguments: str) -> Finished:
    """Run the command in this process, with errors shown as the console script shows them."""
    runner = CliRunner(env={"COLUMNS": "200"})
    with runner.isolation() as (_, _, both), pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["mc-pipeline", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        sys.stdout.flush()
        sys.stderr.flush()
        output = both.getvalue().decode()
    code = ended.value.code
    assert code is None or isinstance(code, int)
    return Finished(code or 0, output)


@contextmanager
def serve_world(folder: Path, odoo: SandboxOdoo | None = None) -> Iterator[World]:
    """Both systems with two empty audiences, and the environment of a shell that syncs acme."""
    put_new_ledger(folder / "mc_pipeline" / "ledger.db")
    odoo, mailchimp = odoo or SandboxOdoo(), SandboxMailchimp()
    mailchimp.add_audience("wholesale1", "Wholesale")
    mailchimp.add_audience("retail1", "Retail")
    with odoo.serve(), mailchimp.serve(), pytest.MonkeyPatch.context() as patch:
        world = World(odoo, mailchimp, folder)
        for name in ("MC_PIPELINE_STORAGE", "MC_PIPELINE_DATABASE_URL", "DAGSTER_POSTGRES_URL"):
            patch.delenv(name, raising=False)
        patch.setenv("DAGSTER_HOME", str(folder))
        patch.setenv("MC_PIPELINE_CONFIG", str(world.config))
        patch.setenv("ODOO_SECRET", "admin")
        patch.setenv("MAILCHIMP_API_KEY", DEFAULT_KEY)
        configure(world)
        yield world


def configure(
    world: World,
    *,
    url: str = "",
    database: str = "sandbox",
    user: str = "admin",
    company: int = 1,
    audiences: str = TWO_AUDIENCES,
) -> None:
    """Write companies.yaml with one company, acme; what is not given is right."""
    world.config.write_text(
        f'odoo: {{url: "{url or world.odoo.url}", database: {database}, user: {user}, '
        'secret: "${ODOO_SECRET}"}\n'
        f'mailchimp:\n  main: {{api_key: "${{MAILCHIMP_API_KEY}}", base_url: "{world.mailchimp.api_url}",'
        " hear_every_seconds: 0}\n"
        f"companies:\n  acme:\n    odoo_company_id: {company}\n    mailchimp: main\n"
        f"    timezone: Europe/Paris\n{audiences}"
    )


def writes(world: World) -> list[str]:
    """What was written to either system through its API since the journals were cleared."""
    to_odoo = [
        entry.action
        for entry in world.odoo.journal.requests
        if entry.action and entry.action.rpartition(".")[2] not in _READS
    ]
    return to_odoo + [f"{entry.method} {entry.path}" for entry in world.mailchimp.journal.writes]


def found(*companies: str) -> list[dict[str, Any]]:
    """What ``doctor --json`` finds."""
    findings: list[dict[str, Any]] = json.loads(mc_pipeline("doctor", "--json", *companies).output)
    return findings


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A world that the tests of a module share."""
    with serve_world(tmp_path_factory.mktemp("home")) as world:
        yield world
