"""Random stories of people, administrators, trouble, kills and syncs: nobody is harmed, nothing is lost.

Two companies share their partners, so that an opt-out of one is an opt-out of the other. A third of the
people and more said yes: by a newsletter or by a box, into audiences that subscribe them, ask them to
confirm, or take permissions. They take it back in all the ways there are, and change, lose, merge and pass on
their addresses meanwhile; some are erased. Webhooks come at once, late, twice, in the wrong order or never;
days pass, and Mailchimp's clock is not ours.

Run longer by hand with MC_PIPELINE_STORIES=200 MC_PIPELINE_STORY_STEPS=40.
"""

import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta

from hypothesis import HealthCheck, Phase, event, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from mc_pipeline.sandbox.faults import Fault
from mc_pipeline.sandbox.mailchimp.people import ActRefusedError
from mc_pipeline.sandbox.odoo.errors import ServerError
from mc_pipeline_tests.properties.oracle import BOX, BOX_DATE, CLUB, CLUB_TAG, RETAIL, SECOND, WHOLESALE
from mc_pipeline_tests.properties.runs import Death
from mc_pipeline_tests.properties.small_world import (
    COMPANY,
    FOREIGN,
    ORDERED,
    SECOND_COMPANY,
    SmallWorld,
    small_world,
)

ADDRESSES = [f"{letter}@example.com" for letter in "abcdef"]
NAMES = ["Ann Ash", "Ben Birk", "Cem Can"]
TYPED = [*ADDRESSES, "A@Example.com", "", "no address", "b@example.com, c@example.com"]
IN_CLUB = [("name", "=", CLUB_TAG)]
TICKED = {BOX: True, BOX_DATE: "2026-05-02"}
ERASED_BEFORE = ["contacts", "audience_plan", "audience_push"]
PLACES = ["before_request", "after_request", "ledger"]

emails = st.sampled_from(ADDRESSES)
lists = st.sampled_from([WHOLESALE, RETAIL, SECOND, CLUB])
companies = st.sampled_from([COMPANY, SECOND_COMPANY])
positions = st.integers(min_value=0, max_value=11)
amounts = st.sampled_from([10.0, 600.0, 1500.0])
mailchimp_faults = st.builds(
    Fault,
    kind=st.sampled_from(
        "reset_before reset_after empty_429 json_429 empty_500 json_500 html_502 html_503 html_403 "
        "truncated cut_off wrong_content_type empty_200".split()
    ),
    match_method=st.sampled_from([None, None, "POST", "PATCH", "DELETE", "GET"]),
    match_path_regex=st.sampled_from(["", "/batches", "/members", "/segments", "/lists/[a-z0-9]+$"]),
    times=st.integers(1, 5),
    skip=st.integers(0, 6),
    after_applying=st.booleans(),
)
odoo_faults = st.builds(
    Fault,
    kind=st.sampled_from(
        ["reset_before", "reset_after", "json_500", "html_502", "html_503", "truncated", "cut_off"]
    ),
    times=st.integers(1, 4),
    skip=st.integers(0, 40),
)


class Stories(RuleBasedStateMachine):
    """One town, lived in at random."""

    def __init__(self) -> None:
        super().__init__()
        self._open = ExitStack()
        self.partners: list[int] = []
        self.orders: list[int] = []
        self.subscriptions: list[int] = []
        self.is_judged = True
        self.world: SmallWorld = self._open.enter_context(
            small_world(prepare=self._settle_people, with_every_consent=True)
        )
        self._open.enter_context(self.world.webhooks())

    def _settle_people(self, odoo, mailchimp) -> None:
        """A dozen customers who do little: enough for work in batches. Half of them said yes to something."""
        (newsletter,), (club,) = odoo.search("mailing.list"), odoo.search("res.partner.category", IN_CLUB)
        (second_company,) = odoo.search("res.company", [("name", "=", "Second")])
        self.crowd = [
            odoo.add_partner(
                name=f"Crowd {number}",
                email=f"crowd{number}@example.com",
                is_company=number % 5 == 0,
                tags=[club] if number % 3 == 1 else [],
                **(TICKED if number % 4 == 2 else {}),
            )
            for number in range(12)
        ]
        for number, partner in enumerate(self.crowd):
            odoo.add_order(partner, 20, date_order=ORDERED)
            if number % 4 == 2:
                odoo.add_order(partner, 20, date_order=ORDERED, company_id=second_company)
            if number % 2 == 1:
                self.subscriptions.append(odoo.subscribe(newsletter, f"crowd{number}@example.com"))
        mailchimp.add_member(RETAIL, "f@example.com", "unsubscribed")
        mailchimp.add_member(WHOLESALE, "e@example.com", "cleaned")
        mailchimp.add_member(RETAIL, "stranger@example.com", "subscribed", tags=["Own"])
        mailchimp.add_member(FOREIGN, "a@example.com", "subscribed")
        mailchimp.add_member(SECOND, "a@example.com", "subscribed")
        mailchimp.add_member(SECOND, "d@example.com", "unsubscribed", opted_out_by="admin")

    # --- Odoo ---------------------------------------------------------------------------------------

    @initialize(
        chosen=st.lists(st.tuples(emails, st.booleans(), amounts), min_size=3, max_size=6),
        subscribed=st.lists(emails, min_size=2, max_size=4, unique=True),
        loaded=st.booleans(),
        minutes_ahead=st.sampled_from([0, -7, 7]),
    )
    def beginning(self, chosen, subscribed, loaded, minutes_ahead):
        self.world.mailchimp.advance(timedelta(minutes=minutes_ahead))
        for email, is_company, amount in chosen:
            self.customer(email, is_company, amount, False, False)
        for email in subscribed:
            self._subscribe(email, dated=True)
        if loaded:
            self._in_peace()

    @rule(
        email=st.sampled_from(TYPED),
        is_company=st.booleans(),
        amount=st.none() | amounts,
        is_supplier=st.sampled_from([False, False, False, True]),
        is_child=st.sampled_from([False, False, False, True]),
    )
    def customer(self, email, is_company, amount, is_supplier, is_child):
        parent = self._partner(0) if is_child and self.partners else False
        partner = self.world.odoo.add_partner(
            name=NAMES[len(self.partners) % len(NAMES)],
            email=email or False,
            is_company=is_company,
            supplier_rank=int(is_supplier),
            **({"parent_id": parent} if parent and not is_company else {}),
        )
        self.partners.append(partner)
        if amount is not None:
            self._order(partner, amount)

    def _in_odoo(self, act: Callable[[], object]) -> bool:
        try:
            act()
        except ServerError as refusal:
            note(f"Odoo refuses: {refusal}")
            return False
        return True

    def _partner(self, position: int) -> int:
        return self.partners[position % len(self.partners)]

    def _order(self, partner: int, amount: float, company: int = 1) -> None:
        moment = ORDERED + timedelta(days=len(self.orders))
        order = self.world.odoo.add_order(partner, amount, date_order=moment, company_id=company)
        self.orders.append(order)

    @rule(
        position=positions,
        values=st.one_of(
            st.fixed_dictionaries({"name": st.sampled_from(NAMES)}),
            st.fixed_dictionaries({"email": st.sampled_from(TYPED)}),
            st.fixed_dictionaries({"email": emails}),
            st.fixed_dictionaries({"active": st.booleans()}),
            st.fixed_dictionaries({"is_company": st.booleans()}),
            st.fixed_dictionaries({"supplier_rank": st.sampled_from([0, 1])}),
        ),
    )
    def edit_a_partner(self, position, values):
        if self.partners:
            if "email" in values:
                values = {"email": values["email"] or False}
            self._in_odoo(lambda: self.world.odoo.edit_partner(self._partner(position), **values))

    @rule(position=positions, change=st.sampled_from("quiet quiet loud loud join join leave employ".split()))
    def tag_or_employ(self, position, change):
        if not self.partners:
            return
        partner, odoo = self._partner(position), self.world.odoo
        match change:
            case "quiet":
                odoo.tag_partner(partner, self.world.quiet)
            case "loud":
                odoo.untag_partner(partner, self.world.quiet)
            case "join":
                odoo.tag_partner(partner, self.world.club)
            case "leave":
                odoo.untag_partner(partner, self.world.club)
            case "employ":
                odoo.add_user(f"user{len(odoo.search('res.users'))}", partner_id=partner)

    @rule(chosen=st.lists(positions, min_size=2, max_size=3), new_email=st.none() | emails)
    def pass_addresses_on(self, chosen, new_email):
        """Two swap their addresses, or three pass them round; with a new one at the end it is a chain."""
        chosen = list(dict.fromkeys(map(self._partner, chosen))) if self.partners else []
        old = [self.world.odoo.read("res.partner", partner, "email")["email"] for partner in chosen]
        for partner, email in zip(chosen, [*old[1:], new_email or old[0]] if chosen else [], strict=True):
            self.world.odoo.edit_partner(partner, email=email)

    @rule(first=positions, second=positions)
    def merge(self, first, second):
        if not self.partners or self._partner(first) == self._partner(second):
            return
        self._merge(self._partner(first), self._partner(second))

    def _merge(self, survivor: int, source: int) -> None:
        if self._in_odoo(lambda: self.world.merge(survivor, source)):
            for people in (self.partners, self.crowd):
                if source in people:
                    people.remove(source)

    @rule(position=positions, amount=st.none() | amounts, elsewhere=st.booleans())
    def buy_or_cancel(self, position, amount, elsewhere):
        if amount is None and self.orders:
            self.world.odoo.cancel_order(self.orders.pop(position % len(self.orders)))
        elif amount is not None and self.partners:
            self._order(self._partner(position), amount, self.world.second_company if elsewhere else 1)

    @rule()
    def everybody_buys(self):
        for partner in self.crowd:
            self._order(partner, 600.0)
        del self.orders[-len(self.crowd) :]

    @rule(
        email=emails,
        act=st.sampled_from(["blacklist", "unblacklist", "dated", "dated", "undated", "opt_out"]),
    )
    def consent_in_odoo(self, email, act):
        match act:
            case "blacklist" | "unblacklist":
                getattr(self.world.odoo, act)(email)
            case "dated" | "undated":
                self._subscribe(email, dated=act == "dated")
            case "opt_out" if self.subscriptions:
                chosen = self.subscriptions[ADDRESSES.index(email) % len(self.subscriptions)]
                self.world.odoo.opt_out(chosen)

    def _subscribe(self, email: str, *, dated: bool) -> None:
        self._in_odoo(
            lambda: self.subscriptions.append(
                self.world.odoo.subscribe(self.world.newsletter, email, dated=dated)
            )
        )

    @rule(position=positions, act=st.sampled_from(["tick", "tick", "clear"]))
    def consent_by_box(self, position, act):
        """Whoever ticks it buys from the second company as well."""
        partner = self._somebody(position)
        self.world.odoo.edit_partner(partner, **(TICKED if act == "tick" else {BOX: False}))
        if act == "tick":
            self._order(partner, 10.0, self.world.second_company)

    @rule(
        position=positions,
        by=st.sampled_from(["newsletter", "newsletter", "box"]),
        change=st.sampled_from(
            "address contact_and_address contact blanked merged elsewhere passed_on none".split()
        ),
        new_email=emails,
        sync_between=st.booleans(),
        afterwards=st.booleans(),
    )
    def change_and_take_back(self, position, by, change, new_email, sync_between, afterwards):
        """Somebody who said yes gets another address, and says no before it or after it."""
        odoo, partner = self.world.odoo, self._somebody(position)
        address = odoo.read("res.partner", partner, "email_normalized")["email_normalized"]
        contacts = odoo.search("mailing.contact", [("email_normalized", "=", address)]) if address else []
        subscriptions = odoo.search("mailing.subscription", [("contact_id", "in", contacts)])

        def take_back() -> None:
            if by == "box" and odoo.search("res.partner", [("id", "=", partner)]):
                odoo.edit_partner(partner, **{BOX: False})
            elif by == "newsletter":
                for subscription in subscriptions:
                    odoo.opt_out(subscription)

        if not afterwards:
            take_back()
        match change:
            case "address" | "contact_and_address" | "contact":
                if change != "contact":
                    odoo.edit_partner(partner, email=new_email)
                for contact in contacts if change != "address" else []:
                    odoo.write("mailing.contact", contact, {"email": new_email})
            case "blanked":
                odoo.edit_partner(partner, email=False)
            case "merged" if self.crowd[-1] != partner:
                self._merge(self.crowd[-1], partner)
            case "elsewhere":
                odoo.edit_partner(partner, company_id=self.world.second_company)
            case "passed_on" if self.partners:
                odoo.edit_partner(self._partner(position), email=address)
                odoo.edit_partner(partner, email=new_email)
        if afterwards:
            if sync_between:
                self._sync(Death())
            take_back()

    def _somebody(self, position: int) -> int:
        everybody = [*self.crowd[:6], *self.partners]
        return everybody[position % len(everybody)]

    @rule(position=positions, step=st.sampled_from(["", *ERASED_BEFORE]))
    def erase(self, position, step):
        """Somebody is erased, between two runs or in the middle of one."""
        partner = self._somebody(position)
        if not step:
            self._erase(partner)
            return
        self.is_judged = False
        # What a step loads from its files says nothing of erased people: the tables go through them.
        run = self.world.run(before={step: lambda: self._erase(partner)}, meanwhile=lambda moment, step: None)
        note(f"ended by {run.failure!r}")
        self.world.check_nobody_was_harmed()
        self.is_judged = True

    def _erase(self, partner: int) -> None:
        if self.world.odoo.search("res.partner", [("id", "=", partner)]):
            note("erased" if self.world.erase(partner) else "not erased")

    @rule(days=st.sampled_from([1, 1, 3, 8]))
    def days_pass(self, days):
        self.world.time_passes(timedelta(days=days))

    # --- Mailchimp ----------------------------------------------------------------------------------

    @rule(
        act=st.sampled_from(
            "unsubscribe unsubscribe complain bounce_hard unsubscribe_by_admin another_program sign_up "
            "subscribe_by_admin archive delete_permanently confirm confirm confirm withdraw_permission "
            "withdraw_permission".split()
        ),
        position=positions,
    )
    def act_in_mailchimp(self, act, position):
        """Somebody who is a member, and may be a contact of ours, does something or has it done to them."""
        members = sorted(
            (list_id, email)
            for list_id in (WHOLESALE, RETAIL, SECOND, CLUB)
            for email, status in self.world.mailchimp.statuses(list_id).items()
            if (email in ADDRESSES or email.startswith("crowd"))
            and (act != "confirm" or status == "pending")
            and (act != "withdraw_permission" or list_id == RETAIL)
        )
        if not members:
            return
        list_id, email = members[position % len(members)]
        if act == "withdraw_permission":
            self.world.withdraw_permission(list_id, email)
        elif act != "another_program":
            self._act(act, list_id, email)
        elif self.world.mailchimp.status(list_id, email) != "archived":
            self.world.unsubscribe_by_another_program(list_id, email)

    @rule(
        act=st.sampled_from(["sign_up", "edit", "clear", "tag", "change_address"]),
        list_id=lists,
        email=emails,
        new_email=emails,
    )
    def do_something_else_in_mailchimp(self, act, list_id, email, new_email):
        match act:
            case "sign_up":
                self._act("sign_up", list_id, email)
            case "edit" | "clear":
                self._act("edit_field", list_id, email, "FNAME", "Typed by hand" if act == "edit" else "")
            case "tag" if self._act("add_tag", list_id, email, "VIP"):
                self.world.tagged_by_hand.add((list_id, email))
            case "change_address" if self._act("change_address", list_id, email, new_email):
                # The member under the new address is nobody's that we know, whatever tags came along.
                self.world.tagged_by_hand.add((list_id, new_email))

    def _act(self, act: str, list_id: str, email: str, *values: str) -> bool:
        try:
            getattr(self.world.mailchimp, act)(list_id, email, *values)
        except ActRefusedError as refusal:
            note(f"not possible: {refusal}")
            return False
        return True

    @rule()
    def batch_results_get_lost(self):
        self.world.mailchimp.run_batches()
        for batch in list(self.world.mailchimp.state.batches):
            self.world.mailchimp.lose_batch_results(batch)

    @rule(how=st.sampled_from(["now", "now", "twice", "in the wrong order", "lost"]))
    def webhooks_come(self, how):
        """What is not delivered comes late, perhaps after the run that should have known it."""
        match how:
            case "in the wrong order":
                self.world.mailchimp.state.webhook_deliveries.reverse()
            case "lost":
                self.world.mailchimp.state.webhook_deliveries.clear()
        assert set(self.world.mailchimp.deliver_webhooks(times=2 if how == "twice" else 1)) <= {200}

    @rule(minutes=st.sampled_from([1, 45]))
    def time_passes_in_mailchimp(self, minutes):
        self.world.mailchimp.advance(timedelta(minutes=minutes))

    # --- syncs --------------------------------------------------------------------------------------

    @rule(
        in_mailchimp=st.lists(mailchimp_faults, min_size=1, max_size=3),
        in_odoo=st.just([]) | st.just([]) | st.lists(odoo_faults, max_size=2),
        batches_stand_still=st.booleans(),
        only_changes=st.booleans(),
    )
    def sync_in_trouble(self, in_mailchimp, in_odoo, batches_stand_still, only_changes):
        for fault in in_mailchimp:
            self.world.mailchimp.faults.add(replace(fault))
        for fault in in_odoo:
            self.world.odoo.faults.add(replace(fault))
        if batches_stand_still:
            self.world.mailchimp.pause_batches()
        self._sync(Death(), only_changes=only_changes)
        self.world.mailchimp.faults.clear()
        self.world.odoo.faults.clear()

    @rule(place=st.sampled_from(PLACES), number=st.integers(0, 80), interrupted=st.booleans())
    def sync_and_die(self, place, number, interrupted):
        self._sync(Death(place, number, writes_afterwards=interrupted))

    @rule(number=st.integers(38, 70), interrupted=st.booleans(), place=st.sampled_from(PLACES))
    def sync_and_die_while_writing(self, number, interrupted, place):
        """Reading takes about forty requests to Mailchimp; what comes behind them is mostly written."""
        self._sync(Death(place, number, writes_afterwards=interrupted))

    @rule(company=companies, place=st.sampled_from(["never", *PLACES]), number=st.integers(0, 30))
    def sensor_finds_opt_outs(self, company, place, number):
        """A run of the opt-outs alone, which may die."""
        self.is_judged = False
        run = self.world.run(Death(place, number), company=company, only_opt_outs=True)
        note(f"opt-outs ended by {run.failure!r}")
        self.world.check_nobody_was_harmed()
        self.is_judged = True

    def _sync(self, death: Death, *, only_changes: bool = False) -> None:
        self.is_judged = False
        run = self.world.run(death, only_changes=only_changes)
        if run.needs_approval and self.world.approve_what_waits(run):
            run = self.world.run(death, only_changes=only_changes)
        event(f"ended by {type(run.failure).__name__}")
        note(f"ended by {run.failure!r}")
        self.world.check_nobody_was_harmed()
        self.is_judged = True

    @rule()
    def sync_in_peace(self):
        self._in_peace()

    @rule()
    def sync_changes_in_peace(self):
        self.is_judged = False
        self.world.run_until_done(only_changes=True)
        self.world.check_nobody_was_harmed()
        self._in_peace()

    def teardown(self) -> None:
        """However a story went, it ends well."""
        try:
            if self.partners and self.is_judged:
                self._in_peace()
                self.world.check_nothing_is_left_to_do()
                self.world.check_nobody_was_harmed()
        finally:
            self._open.close()

    def _in_peace(self) -> None:
        self.is_judged = False
        self.world.nightly_run()
        self.world.check_everybody_is_where_they_belong()
        self.world.check_both_systems_agree_on_consent()
        self.world.check_withdrawn_consent_is_carried()
        self.world.check_nothing_is_left_to_do()
        self.world.check_nobody_was_harmed()
        self.is_judged = True


TestStories = Stories.TestCase
TestStories.settings = settings(
    max_examples=int(os.environ.get("MC_PIPELINE_STORIES", "2")),
    stateful_step_count=int(os.environ.get("MC_PIPELINE_STORY_STEPS", "8")),
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # making a story shorter takes many minutes
    suppress_health_check=list(HealthCheck),
)
