"""What ``explain`` says of a person is what the sync plans for them."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mc_pipeline.domain.contacts.explanation import ExplanationStep
from mc_pipeline.sync.person import Story, tell_story
from mc_pipeline_tests.cli.conftest import configure, serve_world
from mc_pipeline_tests.world import TWO_AUDIENCES, World

ADA = "ada@example.com"
ORDERED = datetime(2026, 5, 4, 10, 0, tzinfo=UTC)


@pytest.fixture
def own(tmp_path: Path) -> Iterator[World]:
    """A world of its own for each test."""
    with serve_world(tmp_path) as world:
        yield world


def story(world: World, email: str = ADA) -> Story:
    with world.systems() as systems:
        return tell_story(systems.ledger, systems.settings.companies["acme"], email)


def steps(explained: Story, title: str) -> list[ExplanationStep]:
    return [step for chapter in explained.chapters if chapter.title == title for step in chapter.steps]


def customer(world: World, email: str = ADA) -> None:
    world.odoo.add_order(world.odoo.add_partner(name="Ada", email=email), 100.0, date_order=ORDERED)


def planned(world: World, email: str = ADA) -> list[str]:
    rows = world.table("audience_plan").rows
    return rows.loc[rows["email"] == email, "operation"].tolist()


def test_an_opt_out_of_the_company_alone_keeps_them_out_of_its_other_audience(own: World):
    """With ``opt_out_scope: company`` it stands in Odoo's lists and fields, and not in the blacklist."""
    news = own.odoo.add_mailing_list("Acme News")
    consent = f"consent: {{mailing_list: {news}}}"
    audiences = TWO_AUDIENCES.replace("list_id: wholesale1", f"list_id: wholesale1\n        {consent}")
    configure(own, audiences=f"    opt_out_scope: company\n{audiences}")
    own.mailchimp.add_member("wholesale1", ADA, "subscribed")
    own.odoo.add_partner(name="Ada of another day", email=ADA)
    own.sync()
    own.mailchimp.unsubscribe("wholesale1", ADA)
    customer(own)
    own.sync()
    assert own.mailchimp.status("retail1", ADA) is None
    assert planned(own) == []
    explained = story(own)
    assert explained.verdict.startswith("Belongs in retail, is not there")
    assert [(step.step, step.outcome) for step in steps(explained, "Left as it is")] == [
        ("retail", "blacklisted")
    ]
    assert steps(explained, "On Odoo's blacklist") == []


def test_consent_that_a_double_opt_in_does_not_take_is_reported_as_the_plan_has_it(own: World):
    own.mailchimp.add_audience("double1", "Double", double_optin=True)
    news = own.odoo.add_mailing_list("Acme News")
    consent = f"consent: {{mailing_list: {news}, upgrade: true}}"
    configure(
        own, audiences=TWO_AUDIENCES.replace("list_id: retail1", f"list_id: double1\n        {consent}")
    )
    customer(own)
    own.sync()
    own.odoo.subscribe(news, ADA)
    own.sync()
    assert own.mailchimp.status("double1", ADA) == "transactional"
    explained = story(own)
    (left,) = steps(explained, "Left as it is")
    assert (left.step, left.outcome) == ("retail", "not subscribed")
    assert left.sentence.endswith("not subscribed: the audience asks people to confirm.")
    (status,) = (step for step in steps(explained, "Decided from Odoo") if step.step == "status if new")
    assert status.outcome == "transactional"
    assert "no confirmation is sent" in status.sentence


def test_nobody_is_asked_to_confirm_by_a_first_load_and_explain_knows(own: World):
    own.mailchimp.add_audience("double1", "Double", double_optin=True)
    news = own.odoo.add_mailing_list("Acme News")
    consent = f"consent: {{mailing_list: {news}, send_confirmation: true}}"
    configure(
        own, audiences=TWO_AUDIENCES.replace("list_id: retail1", f"list_id: double1\n        {consent}")
    )
    customer(own)
    own.odoo.subscribe(news, ADA)
    own.run(push=False)
    (row,) = own.table("audience_plan").rows.query("operation == 'create'").to_dict("records")
    assert row["status"] == "transactional"
    explained = story(own)
    assert next(step.outcome for step in steps(explained, "Last plan")) == "create as transactional"
    (status,) = (step for step in steps(explained, "Decided from Odoo") if step.step == "status if new")
    assert status.outcome == "pending"
