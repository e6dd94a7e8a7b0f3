"""On what somebody was subscribed, who took it back, and under which other addresses, in plain words."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mc_pipeline.domain.contacts.explanation import ExplanationStep
from mc_pipeline.ledger import ConsentEvent, Ledger
from mc_pipeline.ledger.standing_opt_outs import EVIDENCE_WITHDRAWN, StandingOptOut
from mc_pipeline.sync.person import history, tell_story
from mc_pipeline_tests.domain.audience_model import RETAIL, company

OLD, NEW = "ann@example.com", "bea@example.com"
START = datetime(2026, 3, 2, 6, 0, tzinfo=UTC)


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    """Partner 7 was subscribed on the newsletter, then changed their address, then left the newsletter."""
    monkeypatch.setenv("MC_PIPELINE_STORAGE", str(tmp_path / "tables"))
    with Ledger.open(f"sqlite:///{tmp_path}/ledger.db", clock=lambda: START) as ledger:
        ledger.partner_addresses.observe({7: OLD}, START)
        ledger.consent.record(
            [
                ConsentEvent(
                    company="acme",
                    audience="retail",
                    list_id=RETAIL,
                    email=OLD,
                    event="subscribe",
                    origin="ours",
                    status_to="subscribed",
                    occurred_at=START,
                    seen_at=START,
                    evidence={
                        "source": "Newsletter",
                        "kind": "mailing_list",
                        "record_id": 3,
                        "subscription_id": 30,
                        "at": (START - timedelta(days=1)).isoformat(),
                        "partner_id": 7,
                    },
                    source="write",
                )
            ]
        )
        ledger.partner_addresses.observe({7: NEW}, START + timedelta(days=1))
        ledger.standing_opt_outs.say(
            [
                StandingOptOut(
                    company="acme",
                    email=NEW,
                    list_id=RETAIL,
                    cause=EVIDENCE_WITHDRAWN,
                    said_at=START + timedelta(days=2),
                    because="opted out of Newsletter in Odoo",
                )
            ],
            [RETAIL],
        )
        yield ledger


def test_consent_its_withdrawal_and_the_other_addresses_are_reported_under_the_present_one(ledger: Ledger):
    chapters = {each.title: each.steps for each in tell_story(ledger, company(), NEW).chapters}
    assert chapters["Consent and opt-outs of the person"] == (
        ExplanationStep(
            "retail",
            "consent used",
            "Relied on Newsletter (mailing subscription 30 in Odoo), given 2026-03-01 06:00 UTC, for "
            "a•••@example.com, 2026-03-02 06:00 UTC.",
        ),
        ExplanationStep("retail", "out", "Opted out of Newsletter in Odoo. Since 2026-03-04 06:00 UTC."),
        ExplanationStep(
            "other addresses",
            "1",
            "Partner 7 has or had these as well: a•••@example.com. Opt-outs and consent under them count "
            "here too.",
        ),
    )


def test_the_history_of_the_former_address_is_the_persons(ledger: Ledger):
    (entry,) = history(ledger, {"acme"}, NEW)
    assert (entry.email, entry.what) == (OLD, "subscribe")
