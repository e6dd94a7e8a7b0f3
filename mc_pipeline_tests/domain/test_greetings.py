"""Who would be mailed by a plan is said before anybody approves it."""

import pytest

from mc_pipeline.domain.plan.greetings import greetings, verdict_on_greetings
from mc_pipeline_tests.domain.test_guards import plan, rows

JOURNEYS = "Mailchimp's API cannot list customer journeys: look under Automations in Mailchimp"


def said(plan_rows, *, connected=(), automations=None, first_load=()):
    return {
        each.audience: each.said for each in greetings(plan_rows, connected, automations or {}, first_load)
    }


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (rows("create", 90, status="subscribed"), "connected: 90 people would be mailed"),
        (rows("create", 1, status="subscribed"), "connected: 1 person would be mailed"),
        (rows("upgrade", 2, status="subscribed"), "connected: 2 people would be mailed"),
        (rows("create", 3, status="pending"), "connected: nobody would be mailed, and 3 when they confirm"),
        (rows("create", 9, status="transactional"), None),
        (rows("create", 9, status="unsubscribed"), None),
        (rows("update", 9), None),
        (rows("create", 9, status="subscribed", held_back_because="Odoo was not read completely"), None),
    ],
)
def test_a_welcome_automation_mails_anyone_who_becomes_subscribed(part, expected):
    found = said(plan(part), connected={"retail"})
    assert found == ({} if expected is None else {"retail": expected})


def test_of_an_audience_that_greets_nobody_only_a_first_load_speaks():
    joining = plan(rows("create", 90, status="subscribed"))
    assert said(joining) == {}
    found = greetings(joining, (), {}, ("retail",))
    assert "none connected, as far as Mailchimp reports" in found[0].said
    assert JOURNEYS in found[0].said
    assert verdict_on_greetings(found) == (
        "retail: 90 people would become subscribed; no welcome automation is known. "
        f"{JOURNEYS} for one that starts when somebody joins."
    )


def test_an_automation_that_is_listed_is_named_and_counts_as_connected():
    joining = plan(rows("create", 2, status="subscribed"))
    assert said(joining, automations={"retail": ["Hello"]}, first_load=("retail",)) == {
        "retail": "connected (Hello): 2 people would be mailed"
    }


def test_the_verdict_names_every_audience_whom_somebody_would_join():
    joining = plan(
        rows("create", 90, status="subscribed"),
        rows("create", 2, "wholesale", status="subscribed"),
    )
    assert verdict_on_greetings(greetings(joining, {"retail", "wholesale"}, {}, ())) == (
        "retail: welcome automation connected: 90 people would be mailed. "
        "wholesale: welcome automation connected: 2 people would be mailed."
    )
    nobody = greetings(plan(rows("create", 9, status="transactional")), {"retail"}, {}, ("retail",))
    assert nobody[0].said == "connected: nobody would be mailed"
    assert verdict_on_greetings(nobody) == ""
