"""Invariant 10 over whole runs: what Dagster keeps and shows names nobody."""

import logging
import os
import re
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import dagster as dg
import pytest
from dagster_shared.serdes import serialize_value
from rich.console import Console

from mc_pipeline.cli.home import dagster_instance
from mc_pipeline.cli.running import Outcome, run_company
from mc_pipeline.cli.stand_ins import StandIns, stand_ins
from mc_pipeline.ledger import Ledger
from mc_pipeline.settings import load_settings

COMPANY = "acme_uk"
ADDRESS = re.compile(r"[\w.+•-]+@[\w.-]+\.\w+")
MASKED = re.compile(r".?•••@[\w.-]+")


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIns]:
    before = dict(os.environ)
    with stand_ins(tmp_path_factory.mktemp("home"), partners=300) as servers:
        yield servers
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="module")
def everything_said(servers: StandIns) -> str:
    """Every event with its metadata, every log record and the terminal, of runs with all sorts of people.

    The first run waits for approval, the second pushes and meets refusals, the third has an opt-out.
    """
    person = servers.world.someone_subscribed_with_partner
    terminal, log = StringIO(), StringIO()
    handler = logging.StreamHandler(log)
    logging.getLogger().addHandler(handler)
    try:
        with dagster_instance() as instance:
            runs = [_sync(instance, terminal)]
            assert runs[0].outcome is Outcome.WAITS_FOR_APPROVAL
            with Ledger.open() as ledger:
                for plan in ledger.plans.waiting(COMPANY):
                    ledger.plans.approve(plan.plan_id, by="test", reason="test")
            runs.append(_sync(instance, terminal))
            assert runs[1].outcome is not Outcome.FAILED, runs[1].reasons
            servers.odoo.blacklist(person.email)
            runs.append(_sync(instance, terminal))
            events = [event for run in runs for event in instance.all_logs(run.run_id)]
            return "\n".join([*map(_as_stored, events), log.getvalue(), terminal.getvalue()])
    finally:
        logging.getLogger().removeHandler(handler)


def _as_stored(event: dg.EventLogEntry) -> str:
    """The event as its storage keeps it, letters beyond ASCII written out."""
    return re.sub(r"\\u([0-9a-f]{4})", lambda code: chr(int(code[1], 16)), serialize_value(event))


def _sync(instance: dg.DagsterInstance, terminal: StringIO):
    return run_company(load_settings(), COMPANY, instance, Console(file=terminal, width=1000))


def test_no_event_log_or_line_on_the_terminal_holds_a_whole_address(everything_said: str):
    assert {found for found in ADDRESS.findall(everything_said) if not MASKED.fullmatch(found)} == set()


def test_the_runs_did_speak_of_people(everything_said: str):
    """Otherwise the other tests would see nothing."""
    assert len(MASKED.findall(everything_said)) > 50
    assert "looks fake or invalid" in everything_said
    assert "within_guards" in everything_said


@pytest.mark.parametrize("field", ["email", "name", "street", "phone"])
def test_nothing_is_said_that_odoo_knows_of_a_person(servers: StandIns, everything_said: str, field: str):
    rows = servers.odoo.model("res.partner").table.rows.values()
    said = everything_said.casefold()
    known = {str(row[field]).strip().casefold() for row in rows if row.get(field)}
    # A person's name has two words; a domain alone, one of the broken addresses, is shown.
    telling = {
        value
        for value in known
        if len(value) > 6 and not value.startswith("@") and (field != "name" or " " in value)
    }
    assert len(telling) > 50
    assert {value for value in telling if value in said} == set()


def test_nothing_is_said_that_mailchimp_knows_of_a_person(servers: StandIns, everything_said: str):
    said = everything_said.casefold()
    lists = servers.world.companies[COMPANY].audiences.values()
    emails = {email.casefold() for list_id in lists for email in servers.mailchimp.statuses(list_id)}
    assert len(emails) > 50
    assert {email for email in emails if email in said} == set()


def test_only_their_owner_may_read_what_is_stored(servers: StandIns, everything_said: str):
    """Tables and ledger do hold whole addresses."""
    home = Path(os.environ["DAGSTER_HOME"])
    stored = [path for path in (home / "mc_pipeline").rglob("*") if path.is_file()]
    assert stored
    assert {str(path): oct(path.stat().st_mode) for path in stored if path.stat().st_mode & 0o077} == {}
