"""A ledger per test, with a clock that stands still until a test moves it.

Every test of behaviour runs on SQLite, and again on PostgreSQL when ``MC_TEST_POSTGRES_URL`` names a
server (``postgresql://user@host/database``); each test has a schema of its own there.
"""

import os
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
from sqlalchemy import create_engine, text

from mc_pipeline.ledger import Intent, Lease, Ledger
from mc_pipeline.ledger.database import database_url
from mc_pipeline_tests.new_ledger import put_new_ledger

POSTGRESQL_SERVER = os.environ.get("MC_TEST_POSTGRES_URL")
BACKENDS = ["sqlite", "postgresql"] if POSTGRESQL_SERVER else ["sqlite"]

START = datetime(2026, 3, 2, 6, 0, tzinfo=UTC)


class Clock:
    """Tells the moment it was set to."""

    def __init__(self) -> None:
        self.moment = START

    def __call__(self) -> datetime:
        return self.moment

    def pass_time(self, **duration: float) -> datetime:
        self.moment += timedelta(**duration)
        return self.moment


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=BACKENDS)
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Where a ledger may be made."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/mc_pipeline/ledger.db"
        return
    assert POSTGRESQL_SERVER
    schema = f"ledger_test_{uuid.uuid4().hex[:12]}"
    engine = create_engine(database_url(POSTGRESQL_SERVER))
    with engine.begin() as connection:
        connection.execute(text(f"CREATE SCHEMA {schema}"))
    yield f"{POSTGRESQL_SERVER}?options=-csearch_path%3D{schema}"
    with engine.begin() as connection:
        connection.execute(text(f"DROP SCHEMA {schema} CASCADE"))
    engine.dispose()


@pytest.fixture
def ledger_url(empty_url: str) -> str:
    """Where a ledger without any rows is."""
    if empty_url.startswith("sqlite"):
        put_new_ledger(Path(empty_url.removeprefix("sqlite:///")))
    return empty_url


@pytest.fixture
def ledger(ledger_url: str, clock: Clock) -> Iterator[Ledger]:
    with Ledger.open(ledger_url, clock=clock) as ledger:
        yield ledger


@pytest.fixture
def lease(ledger: Ledger) -> Iterator[Lease]:
    """The lease of company acme, long enough for any test."""
    with ledger.leases.hold("acme", "run-1", timedelta(days=3650)) as lease:
        yield lease


def an_intent(operation: str = "create", email: str = "ann@example.com", **values: object) -> Intent:
    """An intent for audience retail; the body is what such an operation usually sends."""
    bodies: dict[str, dict[str, object]] = {
        "create": {"email_address": email, "status": "transactional", "merge_fields": {"FNAME": "Ann"}},
        "update": {"merge_fields": {"FNAME": "Anna"}},
        "change_email": {"email_address": "new@example.com"},
        "tag": {"tag": "VIP"},
        "untag": {"tag": "VIP"},
        "upgrade": {"status": "subscribed"},
        "unsubscribe": {"status": "unsubscribed"},
        "archive": {},
    }
    given: dict[str, object] = {"list_id": "list1", "audience": "retail", "body": bodies[operation], **values}
    return Intent(operation=operation, email=email, **given)  # type: ignore[arg-type]


def observed(*members: tuple[str, str], at: datetime = START, **columns: object) -> pd.DataFrame:
    """Rows of mailchimp_members in audience retail: (email, status) each."""
    return pd.DataFrame(
        {
            "audience": "retail",
            "list_id": "list1",
            "email": pd.Series([email for email, _status in members], dtype="str"),
            "status": pd.Series([status for _email, status in members], dtype="str"),
            "last_changed": pd.Series([pd.Timestamp(at)] * len(members), dtype="datetime64[us, UTC]"),
            "merge_fields_json": '{"FNAME":"ANN"}',
            "language": "en",
            "unsubscribe_reason": None,
            **columns,
        }
    )


def the_record(ledger: Ledger, email: str = "ann@example.com") -> pd.Series:
    """The one record of an address."""
    records = ledger.members.of_email(email)
    assert len(records) == 1, f"{len(records)} records"
    return records.iloc[0]
