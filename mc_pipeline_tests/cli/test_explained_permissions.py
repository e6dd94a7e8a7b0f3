"""A person's marketing permissions in plain words: given on what, withdrawn when, or unknown."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mc_pipeline.domain.contacts.explanation import ExplanationStep
from mc_pipeline.ledger import Intent, Ledger, Outcome
from mc_pipeline.sync.person import tell_story
from mc_pipeline_tests.domain.audience_model import RETAIL, company
from mc_pipeline_tests.ledger.conftest import observed

ANN = "ann@example.com"
START = datetime(2026, 3, 2, 6, 0, tzinfo=UTC)


class Clock:
    moment = START

    def __call__(self) -> datetime:
        return self.moment


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger(tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    monkeypatch.setenv("MC_PIPELINE_STORAGE", str(tmp_path / "tables"))
    with Ledger.open(f"sqlite:///{tmp_path}/ledger.db", clock=clock) as ledger:
        yield ledger


def give(ledger: Ledger, outcome: str) -> None:
    with ledger.leases.hold("acme", "run-1", timedelta(days=365)) as lease:
        intent = Intent(
            list_id=RETAIL,
            audience="retail",
            email=ANN,
            operation="permit",
            body={"marketing_permissions": ["Email"]},
            evidence={"source": "Newsletter", "at": (START - timedelta(days=1)).isoformat()},
        )
        (number,) = ledger.intents.record("acme", lease.fence, "run-1", [intent])
        ledger.intents.settle("acme", lease.fence, [(number, Outcome(outcome=outcome))])


def permission_step(ledger: Ledger) -> ExplanationStep:
    chapters = {
        each.title: each.steps for each in tell_story(ledger, company(permissions=["Email"]), ANN).chapters
    }
    (step,) = chapters["Marketing permissions"]
    return step


def test_a_permission_that_was_given_is_shown_with_its_evidence(ledger: Ledger):
    give(ledger, "applied")
    assert permission_step(ledger) == ExplanationStep(
        "Email in retail",
        "given",
        "Given by the pipeline 2026-03-02 06:00 UTC, on consent in Newsletter of 2026-03-01 06:00 UTC.",
    )


def test_a_withdrawn_permission_is_shown_with_what_would_give_it_again(ledger: Ledger, clock: Clock):
    give(ledger, "applied")
    clock.moment += timedelta(hours=3)
    rows = observed((ANN, "subscribed"), list_id=RETAIL, permissions_json='{"Email":false}')
    ledger.members.observe("acme", rows, False, clock.moment, list_ids=[RETAIL])
    step = permission_step(ledger)
    assert step.outcome == "withdrawn"
    assert "withdrawn, as seen 2026-03-02 09:00 UTC" in step.sentence
    assert "not given again in any audience of the company, unless on consent dated later" in step.sentence


def test_a_permission_whose_answer_was_lost_is_shown_as_unknown(ledger: Ledger):
    give(ledger, "lost")
    step = permission_step(ledger)
    assert step.outcome == "unknown"
    assert "the answer was lost: it is unknown whether it was given, so it is not sent again" in step.sentence
    assert "look at the member in Mailchimp" in step.sentence
