"""Erased people who come back: by a new address in Odoo, or by their own sign-up (rule 10.1)."""

from datetime import UTC, datetime, timedelta

import pytest

from mc_pipeline.sync.erased_people import ERASURE_KEY_VARIABLE
from mc_pipeline_tests.properties.erasing import KEY, erase, traces
from mc_pipeline_tests.properties.small_world import (
    COMPANY,
    LISTS,
    ORDERED,
    RETAIL,
    WHOLESALE,
    SmallWorld,
    small_world,
)

X, NEW = "xenia@example.com", "new@example.com"


@pytest.fixture(autouse=True)
def with_key(monkeypatch):
    monkeypatch.setenv(ERASURE_KEY_VARIABLE, KEY)


def customer(world: SmallWorld, email: str, **values) -> int:
    partner = world.odoo.add_partner(name="Xenia Yellow", email=email, **values)
    world.odoo.add_order(partner, 100, date_order=ORDERED)
    return partner


def later(world: SmallWorld, minutes: int = 5) -> None:
    world.mailchimp.advance(timedelta(minutes=minutes))


def blacklisted(world: SmallWorld) -> set[str]:
    rows = world.odoo.model("mail.blacklist").table.rows.values()
    return {row["email"] for row in rows if row.get("active", True)}


def founded(world: SmallWorld) -> None:
    world.odoo.add_order(world.odoo.add_partner(name="Bob", email="bob@example.com"), 9, date_order=ORDERED)
    world.run_until_done()


def erased(world: SmallWorld) -> int:
    """A customer who was a member, and is erased. Odoo still has the partner, without the address."""
    founded(world)
    partner = customer(world, X)
    world.run_until_done()
    erase(world, partner_ids=[partner])
    world.odoo.edit_partner(partner, email=False)
    return partner


def nothing_is_kept(world: SmallWorld) -> None:
    with world._ledger_of_a_person() as systems:
        assert systems.ledger.erasures.traces(X) == {}
    assert traces(world, X) == []


def ours_about(world: SmallWorld, since: int) -> list[tuple[str, object]]:
    """Bodies that we sent about the person since an entry of the journal."""
    return [
        (entry.method, entry.body)
        for entry in world.mailchimp.journal.writes
        if entry.number > since and entry.source == "request" and X in str((entry.path, entry.body))
    ]


@pytest.mark.parametrize("is_company", [False, True])
@pytest.mark.parametrize("by", ["box before", "after"])
def test_consent_from_before_an_erasure_counts_for_nothing_under_a_new_address(by, is_company):
    with small_world() as world:
        founded(world)
        partner = customer(world, X, is_company=is_company)
        subscription = world.odoo.subscribe(world.newsletter, X)
        world.run_until_done()
        erase(world, partner_ids=[partner])
        (contact,) = world.odoo.search("mailing.contact", [("email", "=", X)])
        world.odoo.edit_partner(partner, email=NEW)
        if by == "after":
            # Odoo dates by whole seconds.
            with world.odoo.at(datetime.now(UTC) + timedelta(seconds=5)):
                world.odoo.subscribe(world.newsletter, NEW)
        else:
            world.odoo.write("mailing.contact", contact, {"email": NEW})
        assert subscription
        for _ in range(2):
            world.run_until_done()
        found = world.mailchimp.status(WHOLESALE if is_company else RETAIL, NEW)
        assert found == ("subscribed" if by == "after" else "transactional")


def test_an_opt_out_from_before_an_erasure_still_restricts_the_partner():
    with small_world() as world:
        founded(world)
        partner = customer(world, X)
        world.odoo.opt_out(world.odoo.subscribe(world.newsletter, X))
        erase(world, partner_ids=[partner])
        (contact,) = world.odoo.search("mailing.contact", [("email", "=", X)])
        world.odoo.edit_partner(partner, email=NEW)
        world.odoo.write("mailing.contact", contact, {"email": NEW})
        world.run_until_done()
        assert world.mailchimp.status(RETAIL, NEW) == "transactional"


@pytest.mark.parametrize("odoo_knows", ["before", "after"])
def test_an_opt_out_after_an_own_sign_up_is_applied_to_odoo_and_forgotten(odoo_knows):
    with small_world() as world:
        partner = erased(world)
        if odoo_knows == "before":
            world.odoo.edit_partner(partner, email=X)
        later(world)
        world.mailchimp.sign_up(RETAIL, X)
        world.run_until_done()
        nothing_is_kept(world)
        later(world)
        world.mailchimp.unsubscribe(RETAIL, X)
        world.run_until_done(only_opt_outs=odoo_knows == "before")
        if odoo_knows == "after":
            assert X not in blacklisted(world)
            world.odoo.edit_partner(partner, email=X)
            later(world, 30)
            world.run_until_done()
        assert X in blacklisted(world)
        for _ in range(2):
            world.run_until_done()
        assert {world.mailchimp.status(list_id, X) for list_id in LISTS} == {"unsubscribed", None}
        nothing_is_kept(world)


@pytest.mark.parametrize("only_opt_outs", [True, False])
@pytest.mark.parametrize("when", ["before the sign-up", "after the sign-up"])
def test_an_opt_out_in_odoo_unsubscribes_who_signed_up_again_and_is_forgotten(when, only_opt_outs):
    with small_world() as world:
        erased(world)
        if when == "before the sign-up":
            world.odoo.blacklist(X)
            world.run_until_done()
            nothing_is_kept(world)
        later(world)
        world.mailchimp.sign_up(RETAIL, X)
        if when == "after the sign-up":
            world.run_until_done()
            assert world.mailchimp.status(RETAIL, X) == "subscribed"
            world.odoo.blacklist(X)
        since = world.mailchimp.journal.last_number
        for _ in range(2):
            world.run_until_done(only_opt_outs=only_opt_outs)
        assert world.mailchimp.status(RETAIL, X) == "unsubscribed"
        assert {str(body) for _, body in ours_about(world, since)} <= {str({"status": "unsubscribed"})}
        nothing_is_kept(world)
        rows = world.odoo.model("mail.blacklist").table.rows
        assert len([row for row in rows.values() if row["email"] == X]) == 1


def test_who_was_lifted_in_odoo_may_sign_up_again():
    with small_world() as world:
        erased(world)
        world.odoo.blacklist(X)
        world.run_until_done()
        world.odoo.unblacklist(X)
        world.run_until_done(only_opt_outs=True)
        later(world)
        world.mailchimp.sign_up(RETAIL, X)
        for _ in range(2):
            world.run_until_done()
        assert world.mailchimp.status(RETAIL, X) == "subscribed"
        nothing_is_kept(world)


def test_somebody_who_was_erased_and_signs_up_gets_nothing_but_opt_outs():
    with small_world() as world:
        partner = erased(world)
        later(world)
        world.mailchimp.sign_up(RETAIL, X)
        world.odoo.edit_partner(partner, email=X)
        world.odoo.subscribe(world.newsletter, X)
        since = world.mailchimp.journal.last_number
        for _ in range(2):
            world.run_until_done()
        assert ours_about(world, since) == []
        assert world.mailchimp.status(RETAIL, X) == "subscribed"
        nothing_is_kept(world)


def test_an_opt_out_reported_by_a_webhook_alone_is_applied():
    with small_world() as world, world.webhooks():
        partner = erased(world)
        world.odoo.edit_partner(partner, email=X)
        later(world)
        world.mailchimp.sign_up(RETAIL, X)
        world.mailchimp.deliver_webhooks()
        world.mailchimp.unsubscribe(RETAIL, X)
        world.mailchimp.deliver_webhooks()
        world.run_until_done(only_opt_outs=True)
        assert X in blacklisted(world)
        world.run_until_done()
        nothing_is_kept(world)


def test_what_cannot_be_applied_yet_keeps_the_address_until_it_is():
    from mc_pipeline.sandbox.faults import Fault

    with small_world() as world:
        partner = erased(world)
        world.odoo.edit_partner(partner, email=X)
        later(world)
        world.mailchimp.sign_up(RETAIL, X)
        world.mailchimp.unsubscribe(RETAIL, X)
        world.odoo.faults.add(Fault("html_503", times=None))
        world.run(only_opt_outs=True)
        with world._ledger_of_a_person() as systems:
            assert set(systems.ledger.erasures.traces(X)) == {"ledger_due_in_odoo"}
            assert X in systems.ledger.due_in_odoo.due(COMPANY)
        world.run_until_done(only_opt_outs=True)
        assert X in blacklisted(world)
        world.run_until_done()
        nothing_is_kept(world)
