"""One person's story: where they belong, why, and everything that was sent, without a name or an address."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from mc_pipeline_tests.cli.conftest import Finished, mc_pipeline, serve_world, writes
from mc_pipeline_tests.world import World

ORDERED = datetime(2026, 5, 4, 10, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
def synced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A world with people of every kind, synced twice; between the syncs an order was added."""
    with serve_world(tmp_path_factory.mktemp("told")) as world:
        partners = {}
        for name in ("fine", "twin", "twin", "left", "listed", "fake", "busy", "renamed"):
            partner = world.odoo.add_partner(name=f"Ada {name.title()}", email=f"{name}@example.com")
            world.odoo.add_order(partner, 100.0, date_order=ORDERED)
            partners.setdefault(name, partner)
        world.odoo.add_partner(name="Ada Nothing", email="nothing@example.com")
        world.odoo.add_partner(name="Ada Broken", email="broken@example")
        for name in ("left", "listed"):
            world.mailchimp.add_member("retail1", f"{name}@example.com")
        world.mailchimp.unsubscribe("retail1", "left@example.com")
        world.odoo.blacklist("listed@example.com")
        world.mailchimp.take_for_fake("fake@example.com")
        world.mailchimp.refuse_signups("busy@example.com")
        world.sync()
        world.odoo.add_order(partners["fine"], 400.0, date_order=ORDERED)
        world.odoo.edit_partner(partners["renamed"], email="new@example.com")
        world.sync()
        world.odoo.journal.clear()
        world.mailchimp.journal.clear()
        yield world


def explain(email: str, *options: str) -> Finished:
    finished = mc_pipeline("explain", email, *options)
    assert email not in finished.output
    assert "Ada" not in finished.output
    assert not re.search(r"[a-z]+@example", finished.output)
    return finished


def test_a_fine_contact_is_distinguished_from_the_order_to_the_last_push(synced: World):
    finished = explain("Fine@Example.com")
    assert finished.exit_code == 0
    for expected in (
        "Belongs in retail, is there as transactional.",
        "rule wholesale no match",
        "its commercial partner is a company",
        "audience retail First matching rule: it takes everyone.",
        "status if new transactional",
        "SPENT 100 → 500",
        "retail update Differs from Odoo: SPENT.",
        "retail applied Update.",
        "Created by the pipeline as transactional",
    ):
        assert expected in finished.in_one_line
    assert "Applied 2" in finished.in_one_line


def test_the_history_is_shown_in_order_of_time_in_utc(synced: World):
    lines = explain("fine@example.com").output.partition("History")[2].splitlines()
    times = [line.split(" UTC")[0].strip() for line in lines if " UTC" in line]
    assert times == sorted(times)
    done = [" ".join(line.partition("example.com")[2].split()) for line in lines if " UTC" in line]
    assert done == ["create applied", "tag applied", "update applied"]


def test_both_partners_of_a_duplicate_are_shown_with_the_fix(synced: World):
    finished = explain("twin@example.com")
    assert "is the winner for the address, not" in finished.in_one_line
    assert "set aside duplicate" in finished.in_one_line
    assert "Merge the contacts in Odoo" in finished.in_one_line


def test_a_person_without_an_order_belongs_in_no_audience(synced: World):
    finished = explain("nothing@example.com")
    assert finished.exit_code == 0
    assert "Belongs in no audience: no order." in finished.in_one_line
    assert "No confirmed order in this company." in finished.in_one_line


def test_somebody_who_unsubscribed_is_there_as_unsubscribed(synced: World):
    finished = explain("left@example.com")
    assert "Belongs in retail, is there as unsubscribed." in finished.in_one_line
    assert "opted out once, so consent in Odoo no longer counts" in finished.in_one_line
    assert (
        "unsubscribed by whom is unknown not seen before → unsubscribed; read for opt-outs"
        in finished.in_one_line
    )


def test_somebody_on_odoos_blacklist_was_unsubscribed_by_us(synced: World):
    finished = explain("listed@example.com")
    assert "blacklist opted out" in finished.in_one_line
    assert "status if new not created" in finished.in_one_line
    assert "unsubscribe applied" in finished.in_one_line
    assert "unsubscribed by us subscribed → unsubscribed" in finished.in_one_line


def test_a_rejection_is_reported_with_mailchimps_words_and_when_it_is_tried_again(synced: World):
    finished = explain("fake@example.com")
    assert "Belongs in retail, is not there." in finished.in_one_line
    assert "rejected Mailchimp refused it:" in finished.in_one_line
    assert "looks fake or invalid" in finished.in_one_line
    assert "tried again when what is sent changes" in finished.in_one_line
    assert "retail rejected by mailchimp" in finished.in_one_line.replace("_", " ")


def test_a_deferral_is_reported_with_its_next_time(synced: World):
    assert re.search(
        r"signed up to a lot of lists .* tried again after \d{4}-\d\d-\d\d \d\d:\d\d UTC",
        explain("busy@example.com").in_one_line,
    )


def test_a_changed_address_is_reported_by_its_old_and_new_one_masked(synced: World):
    for email in ("renamed@example.com", "new@example.com"):
        finished = explain(email)
        assert finished.exit_code == 0
        assert "r•••@example.com" in finished.in_one_line
        assert "n•••@example.com" in finished.in_one_line
        assert "change email applied" in finished.in_one_line


def test_an_address_that_is_none_is_found_as_it_was_typed(synced: World):
    finished = explain("broken@example")
    assert finished.exit_code == 0
    assert "Belongs in no audience: invalid email." in finished.in_one_line
    assert "Correct the address on the contact." in finished.in_one_line


def test_an_unknown_address_says_what_to_check(synced: World):
    finished = explain("stranger@example.com", "--company", "acme")
    assert finished.exit_code == 1
    assert "Unknown address" in finished.in_one_line
    assert "mc-pipeline sync acme --plan" in finished.in_one_line


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("fine",), "it has no @"),
        (("fine@example.com", "--company", "acmee"), "companies.yaml has no company 'acmee'"),
    ],
)
def test_what_cannot_be_meant_is_refused(synced: World, arguments: tuple[str, ...], sentence: str):
    finished = mc_pipeline("explain", *arguments)
    assert finished.exit_code == 2
    assert sentence in finished.in_one_line


def test_it_asks_neither_system(synced: World):
    synced.odoo.journal.clear()
    synced.mailchimp.journal.clear()
    explain("fine@example.com")
    assert synced.odoo.journal.requests == []
    assert synced.mailchimp.journal.requests == []
    assert writes(synced) == []


def test_before_the_first_sync_it_says_to_make_a_plan(
    synced: World, tmp_path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    finished = explain("fine@example.com")
    assert finished.exit_code == 1
    assert "Odoo was never read: run mc-pipeline sync acme --plan." in finished.in_one_line
