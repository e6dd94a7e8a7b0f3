"""Whole runs: confirmation mails once per address, none in a first load; permissions once, never over a no.

The small world with an audience that asks people to confirm, or for marketing permissions (GDPR).
"""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mc_pipeline.sandbox.faults import Fault
from mc_pipeline.sandbox.journal import JournalEntry
from mc_pipeline.settings import load_settings
from mc_pipeline_tests.properties.oracle import NEWSLETTER, RETAIL, WHOLESALE
from mc_pipeline_tests.properties.small_world import ORDERED, SECRETS, SmallWorld, small_world

ROOT = Path(__file__).parents[2]
CONSENT = f"consent: {{mailing_list: {NEWSLETTER}}}"
UPGRADING = f"consent: {{mailing_list: {NEWSLETTER}, upgrade: true}}"
X = "x@example.com"


def customer(world: SmallWorld, email: str, *, consents: bool = True, **values: object) -> int:
    partner = world.odoo.add_partner(name="Ann Ash", email=email, **values)
    world.odoo.add_order(partner, 100.0, date_order=ORDERED)
    if consents:
        world.odoo.subscribe(world.newsletter, email)
    return partner


@contextmanager
def world_with(
    consent: str, *, double_optin: bool = False, permissions: bool = False
) -> Iterator[SmallWorld]:
    """The town with these consent settings in both audiences."""
    with small_world() as world:
        config = world.folder / "companies.yaml"
        text = config.read_text().replace(UPGRADING, CONSENT)
        config.write_text(text.replace(CONSENT, f"consent: {{mailing_list: {NEWSLETTER}, {consent}}}"))
        world.settings = load_settings(config, SECRETS)
        for list_id in (RETAIL, WHOLESALE):
            audience = world.mailchimp.audience(list_id)
            audience.double_optin = double_optin
            audience.marketing_permissions = permissions
            if permissions:
                audience.permissions = {f"{list_id}-email": "Email", f"{list_id}-post": "Direct Mail"}
        yield world


def asking_people() -> "contextmanager[SmallWorld]":
    return world_with("send_confirmation: true, max_confirmations: 3", double_optin=True)


def confirmation_mails(world: SmallWorld) -> list[str]:
    return sorted(mail.email for mail in world.mailchimp.mails if mail.kind == "confirmation")


def statuses(world: SmallWorld, list_id: str = RETAIL) -> list[str]:
    return sorted(world.mailchimp.statuses(list_id).values())


class TestConfirmations:
    def test_an_approved_first_load_mails_nobody(self):
        with asking_people() as world:
            for number in range(12):
                customer(world, f"person{number}@example.com")
            world.run_until_done()
            assert statuses(world) == ["transactional"] * 12
            assert confirmation_mails(world) == []
            world.run_until_done()
            assert statuses(world) == ["transactional"] * 12
            assert confirmation_mails(world) == []

    def test_a_first_load_in_trouble_mails_nobody_however_many_runs_it_takes(self):
        with asking_people() as world:
            world.mailchimp.refuse_signups("person0@example.com")
            for number in range(12):
                customer(world, f"person{number}@example.com")
            assert world.approve_what_waits(world.run())
            fault = world.mailchimp.faults.add(Fault("html_502", "POST", f"/lists/{RETAIL}$", times=None))
            world.run()
            assert fault.fired > 0
            customer(world, "late@example.com")
            world.run_until_done()
            world.mailchimp.state.refused_signups.clear()
            world.run_until_done()
            world.run_until_done()
            assert set(statuses(world)) == {"transactional"}
            assert confirmation_mails(world) == []

    @pytest.mark.quick
    def test_newcomers_after_it_are_asked_a_few_a_day(self):
        with asking_people() as world:
            customer(world, "first@example.com")
            world.run_until_done()
            for number in range(5):
                customer(world, f"new{number}@example.com")
            world.run_until_done()
            world.run_until_done()
            assert statuses(world) == ["pending"] * 3 + ["transactional"]
            assert len(confirmation_mails(world)) == 3

    def test_an_address_is_asked_once_whoever_bears_it(self):
        with asking_people() as world:
            customer(world, "first@example.com", consents=False)
            world.run_until_done()
            partner = customer(world, "a@example.com")
            world.run_until_done()
            assert confirmation_mails(world) == ["a@example.com"]
            world.mailchimp.confirm(RETAIL, "a@example.com")
            world.run_until_done()
            world.odoo.edit_partner(partner, email="b@example.com")
            world.run_until_done()
            assert world.mailchimp.status(RETAIL, "b@example.com") == "subscribed"
            # The mailing contact with the address is still there, and still consents.
            customer(world, "a@example.com", consents=False)
            world.run_until_done()
            assert world.mailchimp.status(RETAIL, "a@example.com") == "transactional"
            assert confirmation_mails(world) == ["a@example.com"]

    def test_a_confirmation_whose_answer_was_lost_and_that_was_confirmed_is_not_sent_again(self):
        with asking_people() as world:
            customer(world, "first@example.com")
            world.run_until_done()
            world.attempts = 1
            partner = customer(world, X)
            for method in ("POST", "GET"):
                path = f"/lists/{RETAIL}$" if method == "POST" else f"/lists/{RETAIL}/members/[0-9a-f]"
                world.mailchimp.faults.add(Fault("reset_after", method, path))
            world.run()
            assert confirmation_mails(world) == [X]
            world.mailchimp.confirm(RETAIL, X)
            world.mailchimp.faults.clear()
            world.run_until_done()
            world.odoo.edit_partner(partner, is_company=True)
            world.run_until_done()
            assert confirmation_mails(world) == [X]


# --- marketing permissions ----------------------------------------------------------------------------------


def asking_for_permissions() -> "contextmanager[SmallWorld]":
    return world_with("marketing_permissions: [Email]", permissions=True)


def has_permission(world: SmallWorld, list_id: str, email: str = X) -> bool:
    member = world.mailchimp.member(list_id, email)
    assert member is not None
    return bool((member.marketing_permissions or {}).get(f"{list_id}-email"))


def takes_back(world: SmallWorld, list_id: str, email: str = X) -> None:
    """The person unticks it on Mailchimp's own page."""
    member = world.mailchimp.member(list_id, email)
    assert member is not None
    member.marketing_permissions = {f"{list_id}-email": False, f"{list_id}-post": False}


def givings(world: SmallWorld) -> list[JournalEntry]:
    return [
        entry
        for entry in world.mailchimp.journal.writes
        if isinstance(entry.body, dict) and "marketing_permissions" in entry.body
    ]


def lost(world: SmallWorld) -> list[str]:
    systems = world.systems()
    try:
        return list(systems.ledger.permissions.lost("acme")["email"])
    finally:
        systems.close()


class TestPermissions:
    @pytest.mark.parametrize(
        ("kind", "withdrawn"),
        [("reset_after", True), ("reset_after", False), ("empty_500", True), ("html_403", True)],
    )
    def test_one_whose_answer_was_lost_is_never_given_again(self, kind: str, withdrawn: bool):
        with asking_for_permissions() as world:
            customer(world, X)
            assert world.approve_what_waits(world.run())
            fault = world.mailchimp.faults.add(
                Fault(kind, "PATCH", f"/lists/{RETAIL}/members/", times=None, after_applying=True)
            )
            world.run()
            assert fault.fired == 1, "it is not sent again by the same run either"
            assert has_permission(world, RETAIL)
            if withdrawn:
                takes_back(world, RETAIL)
            world.mailchimp.journal.clear()
            world.run_until_done()
            world.run_until_done()
            assert givings(world) == []
            assert has_permission(world, RETAIL) is not withdrawn
            assert lost(world) == ([X] if withdrawn else [])

    def test_one_that_was_taken_back_is_not_given_in_another_audience(self):
        with asking_for_permissions() as world:
            partner = customer(world, X)
            customer(world, "shop@example.com", is_company=True)
            world.run_until_done()
            assert has_permission(world, RETAIL)
            takes_back(world, RETAIL)
            world.odoo.edit_partner(partner, is_company=True)
            world.mailchimp.journal.clear()
            world.run_until_done()
            world.run_until_done()
            assert world.mailchimp.status(WHOLESALE, X) == "subscribed"
            assert not has_permission(world, WHOLESALE)
            assert givings(world) == []

    @pytest.mark.quick
    def test_a_member_with_another_address_is_not_given_again_what_they_took_back(self):
        with asking_for_permissions() as world:
            partner = customer(world, X)
            world.run_until_done()
            takes_back(world, RETAIL)
            world.odoo.edit_partner(partner, email="y@example.com")
            (contact,) = world.odoo.search("mailing.contact", [])
            world.odoo.write("mailing.contact", contact, {"email": "y@example.com"})
            world.mailchimp.journal.clear()
            world.run_until_done()
            assert world.mailchimp.status(RETAIL, "y@example.com") == "subscribed"
            assert not has_permission(world, RETAIL, "y@example.com")
            assert givings(world) == []

    @pytest.mark.parametrize("withdrawn", [True, False], ids=["taken back", "never taken back"])
    def test_a_process_killed_while_it_gives_one_does_not_give_it_again(self, withdrawn: bool):
        with asking_for_permissions() as world:
            customer(world, X)
            assert world.approve_what_waits(world.run())
            at = _requests_before_giving()
            mark = world.begin_run()
            mark.observed = True
            arguments = [str(world.folder), "after_request", str(at)]
            killed = subprocess.run(
                [sys.executable, "-m", "mc_pipeline_tests.properties.sync_process", *arguments],
                cwd=ROOT,
                timeout=100,
            )
            assert killed.returncode == -signal.SIGKILL
            mark.last = world.mailchimp.journal.last_number
            assert has_permission(world, RETAIL)
            if withdrawn:
                takes_back(world, RETAIL)
            world.mailchimp.journal.clear()
            world.run_until_done()
            world.run_until_done()
            assert givings(world) == []
            assert lost(world) == ([X] if withdrawn else [])


def _requests_before_giving() -> int:
    """How many requests to Mailchimp an undisturbed run makes before it gives the permission."""
    with asking_for_permissions() as world:
        customer(world, X)
        assert world.approve_what_waits(world.run())
        world.mailchimp.journal.clear()
        world.run_until_done()
        requests = [entry for entry in world.mailchimp.journal.requests if entry.batch_id is None]
        return next(
            at
            for at, entry in enumerate(requests)
            if isinstance(entry.body, dict) and "marketing_permissions" in entry.body
        )
