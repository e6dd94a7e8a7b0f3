"""A small town with two stand-in servers, in which people and the pipeline act, and an auditor who watches.

Few addresses and a handful of people, so that stories cross each other's path: the same address is used,
left, taken by somebody else and opted out within one story.
"""

import os
import textwrap
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType

import dagster as dg
import requests

from mc_pipeline.defs.consent.erasure import ErasePerson, erase_people
from mc_pipeline.domain.consent.opt_outs_into_odoo import LIFTED_IN_ODOO
from mc_pipeline.ledger.changed_addresses import ChangedAddress
from mc_pipeline.ledger.due_in_odoo import CONFLICT
from mc_pipeline.sandbox.mailchimp import DEFAULT_KEY, SandboxMailchimp
from mc_pipeline.sandbox.mailchimp.webhooks import add_webhook
from mc_pipeline.sandbox.odoo import SandboxOdoo
from mc_pipeline.sandbox.odoo.fields import Field
from mc_pipeline.settings import Settings, load_settings
from mc_pipeline.sync.erased_people import ERASURE_KEY_VARIABLE
from mc_pipeline.webhooks.hooks import SECRET_VARIABLE, Hook, hooks_of
from mc_pipeline.webhooks.receiver import receiver_app
from mc_pipeline_tests.properties.auditor import (
    OUR_MARK,
    Approval,
    Erasure,
    Facts,
    RunMark,
    Story,
    Violation,
    audit,
    standing_opt_outs,
    standing_withdrawals,
)
from mc_pipeline_tests.properties.oracle import (
    BOX,
    BOX_DATE,
    CLUB,
    CLUB_TAG,
    NEWSLETTER,
    QUIET,
    RETAIL,
    SECOND,
    WHOLESALE,
    EvidenceRecord,
    Person,
    Truth,
    tell_truth,
)
from mc_pipeline_tests.properties.runs import Death, Killed, MortalSystems, Run, run_company
from mc_pipeline_tests.properties.town_clock import TownClock
from mc_pipeline_tests.webhooks.receiving import receiving

COMPANY, SECOND_COMPANY = "acme", "second"
FOREIGN = "foreign1"
LISTS = (WHOLESALE, RETAIL)
OUR_TAGS = {WHOLESALE: {"B2B"}, RETAIL: {"B2C", "VIP"}, CLUB: {"Member"}}
CONFIRMATIONS = 3
"""How many confirmation mails the club sends a day."""
PERMISSION = "Email"
SETTINGS = f"""
odoo: {{{{url: "{{odoo}}", database: sandbox, user: admin, secret: "${{{{ODOO_SECRET}}}}"}}}}
mailchimp:
  main: {{{{api_key: "${{{{MAILCHIMP_API_KEY}}}}", base_url: "{{mailchimp}}", timeout_seconds: 20,
         hear_every_seconds: 0}}}}
companies:
  {COMPANY}:
    odoo_company_id: 1
    mailchimp: main
    timezone: Europe/Paris
    audiences:
      wholesale:
        list_id: {WHOLESALE}
        when: {{{{company_type: company}}}}
        consent: {{{{mailing_list: {NEWSLETTER}, upgrade: true}}}}
        merge_fields: {{{{FNAME: name, ORDERS: order_count}}}}
        tags: {{{{B2B: always}}}}
      retail:
        list_id: {RETAIL}
        when: {{{{no_tag: [{QUIET}]}}}}
        consent: {{{{mailing_list: {NEWSLETTER}}}}}
        merge_fields: {{{{FNAME: name, SPENT: total_spent}}}}
        tags: {{{{B2C: always, VIP: {{{{field: total_spent, at_least: 1000}}}}}}}}
"""
SECOND_SETTINGS = f"""
  {SECOND_COMPANY}:
    odoo_company_id: {{company}}
    mailchimp: main
    timezone: Europe/Paris
    audiences:
      second: {{{{list_id: {SECOND}, when: {{{{}}}}, merge_fields: {{{{FNAME: name}}}}}}}}
"""
CONSENT_SETTINGS = f"""
odoo: {{{{url: "{{odoo}}", database: sandbox, user: admin, secret: "${{{{ODOO_SECRET}}}}"}}}}
mailchimp:
  main: {{{{api_key: "${{{{MAILCHIMP_API_KEY}}}}", base_url: "{{mailchimp}}", timeout_seconds: 20,
         hear_every_seconds: 0}}}}
companies:
  {COMPANY}:
    odoo_company_id: 1
    mailchimp: main
    timezone: Europe/Paris
    audiences:
      wholesale:
        list_id: {WHOLESALE}
        when: {{{{company_type: company}}}}
        consent: {{{{mailing_list: {NEWSLETTER}, upgrade: true}}}}
        merge_fields: {{{{FNAME: name, ORDERS: order_count}}}}
        tags: {{{{B2B: always}}}}
      club:
        list_id: {CLUB}
        when: {{{{any_tag: [{CLUB_TAG}]}}}}
        consent:
          mailing_list: {NEWSLETTER}
          send_confirmation: true
          max_confirmations: {CONFIRMATIONS}
        merge_fields: {{{{FNAME: name}}}}
        tags: {{{{Member: always}}}}
      retail:
        list_id: {RETAIL}
        when: {{{{no_tag: [{QUIET}]}}}}
        consent: {{{{mailing_list: {NEWSLETTER}, marketing_permissions: [{PERMISSION}]}}}}
        merge_fields: {{{{FNAME: name, SPENT: total_spent}}}}
        tags: {{{{B2C: always, VIP: {{{{field: total_spent, at_least: 1000}}}}}}}}
  {SECOND_COMPANY}:
    odoo_company_id: {{company}}
    mailchimp: main
    timezone: Europe/Paris
    audiences:
      second:
        list_id: {SECOND}
        when: {{{{}}}}
        consent: {{{{boolean_field: {BOX}, upgrade: true}}}}
        merge_fields: {{{{FNAME: name}}}}
"""
"""Both companies with every kind of consent: a newsletter and a box, upgrades, confirmations, permissions."""
SECRETS = {"ODOO_SECRET": "admin", "MAILCHIMP_API_KEY": DEFAULT_KEY}
OTHER_KEY = "fedcba9876543210fedcba9876543210-us1"
ORDERED = datetime(2026, 5, 4, 10, tzinfo=UTC)


@dataclass
class SmallWorld:
    """Both systems, the settings, the ledger's file, and the story so far."""

    odoo: SandboxOdoo
    mailchimp: SandboxMailchimp
    folder: Path
    settings: Settings
    newsletter: int
    quiet: int
    story: Story
    clock: TownClock = field(default_factory=TownClock)
    club: int = 0
    former: dict[int, set[str]] = field(default_factory=dict)
    opted_out: set[str] = field(default_factory=set)
    partners_out: set[int] = field(default_factory=set)
    said_yes: dict[EvidenceRecord, set[str]] = field(default_factory=dict)
    erased: set[str] = field(default_factory=set)
    tagged_by_hand: set[tuple[str, str]] = field(default_factory=set)
    last_runs: dict[str, Run] = field(default_factory=dict)
    second_company: int | None = None
    attempts: int = 3
    longest_pause: float = 0.005

    # --- what the pipeline does ---------------------------------------------------------------------

    def systems(self, death: Death | None = None) -> MortalSystems:
        """The systems of one more process; batches need real moments, all other pauses none."""
        return MortalSystems(
            self.settings,
            self.folder / "ledger.db",
            death=death,
            clock=self.clock.now,
            attempts=self.attempts,
            pause=lambda seconds: time.sleep(min(seconds, self.longest_pause)),
        )

    def run(
        self,
        death: Death | None = None,
        *,
        company: str = COMPANY,
        only_changes: bool = False,
        only_opt_outs: bool = False,
        go_on_from: Run | None = None,
        begin: Callable[[], object] | None = None,
        meanwhile: Callable[[str, str], None] | None = None,
        before: Mapping[str, Callable[[], object]] = MappingProxyType({}),
    ) -> Run:
        """Sync once, in whatever trouble the servers and the process are.

        ``begin`` is what happens at its very beginning: trouble that the auditor could not look through.
        ``before``: what happens just before one of its steps, by the step's name. ``meanwhile``: what happens
        at the moments of each step (see ``run_company``).
        """
        mark = self.begin_run(company)
        if begin is not None:
            begin()
        systems = self.systems(death)
        try:
            run = run_company(
                systems,
                company,
                only_changes=only_changes,
                only_opt_outs=only_opt_outs,
                go_on_from=go_on_from,
                meanwhile=meanwhile,
                before=before,
            )
        finally:
            if death is None or not death.dead:
                systems.close()
        mark.last = self.mailchimp.journal.last_number
        mark.last_in_odoo = self.odoo.journal.last_number
        mark.observed = "mailchimp_members" in run.tables and run.tables["mailchimp_members"].complete
        mark.read_partners = "odoo_partners" in run.tables
        if not only_opt_outs:
            self.last_runs[company] = run
        return run

    def run_up_to_the_push(self) -> Run:
        """Sync until the plan is made and judged; the process dies before anything of it is applied."""

        def die() -> None:
            raise Killed("before the push")

        return self.run(before={"audience_push": die})

    def begin_run(self, company: str = COMPANY) -> RunMark:
        """Note what the world is like now, for the auditor: a run begins."""
        truth = tell_truth(
            self.odoo, second_company=self.second_company if company == SECOND_COMPANY else None
        )
        for number, email in truth.addresses.items():
            self.former.setdefault(number, set()).add(email)
        for email, records in (*truth.evidence.items(), *tell_truth(self.odoo).evidence.items()):
            for record in records:
                self.said_yes.setdefault(record, set()).add(email)
        self.opted_out |= truth.blacklisted | truth.withdrawn
        for record in truth.withdrawn_records & self.said_yes.keys():
            self.opted_out |= self.said_yes[record]
        for list_id in self.story.lists:
            statuses = self.mailchimp.statuses(list_id).items()
            self.opted_out |= {
                email.lower() for email, status in statuses if status in ("unsubscribed", "cleaned")
            } - self._unsubscribed_by_us(list_id)
        inheriting = self._who_inherits(truth)
        facts = Facts(
            routes={email: person.list_id for email, person in truth.persons.items()},
            never=truth.never - set(truth.persons),
            consented=truth.consented,
            restricted=frozenset(truth.withdrawn | self.opted_out | inheriting),
            evidence=truth.evidence,
            addresses=truth.addresses,
        )
        mark = RunMark(
            first=self.mailchimp.journal.last_number + 1,
            first_in_odoo=self.odoo.journal.last_number + 1,
            facts=facts,
            lists=frozenset({SECOND} if company == SECOND_COMPANY else self.story.lists - {SECOND}),
        )
        self.story.runs.append(mark)
        return mark

    def merge(self, survivor: int, source: int) -> None:
        """Somebody merges a partner into another one: it is the same person, under every address of both."""
        address = self.odoo.read("res.partner", source, "email_normalized")["email_normalized"]
        self.odoo.merge_partners(survivor, source)
        self.former.setdefault(survivor, set()).update(self.former.get(source, set()))
        if address:
            self.former[survivor].add(str(address).lower())
        if source in self.partners_out:
            self.partners_out.add(survivor)

    def _unsubscribed_by_us(self, list_id: str) -> set[str]:
        """Who is unsubscribed by a request of ours alone: that is no word of theirs."""
        members = self.mailchimp.audience(list_id).members.values()
        foreign = self.story.foreign
        ours = {
            entry.path.rsplit("/", 1)[-1]
            for entry in self.mailchimp.journal.writes
            if entry.method == "PATCH"
            and isinstance(entry.body, dict)
            and entry.body.get("status") == "unsubscribed"
            and f"/lists/{list_id}/" in entry.path
            and entry.number not in foreign
        }
        return {
            member.email_address.lower()
            for member in members
            if member.status == "unsubscribed" and member.opted_out_by == "api" and member.id in ours
        }

    def _who_inherits(self, truth: Truth) -> set[str]:
        """The present addresses of partners who opted out under one that they had, or share with such a one.

        It is the partner who inherits, and keeps it: an address that somebody passes on takes nothing along
        to a partner who had it before.
        """
        present: dict[str, set[int]] = {}
        for number, email in truth.addresses.items():
            present.setdefault(email, set()).add(number)
        out = {number for number, before in self.former.items() if before & self.opted_out}
        out |= self.partners_out
        for numbers in present.values():
            if numbers & out:
                out |= numbers
        self.partners_out |= out
        return {email for email, numbers in present.items() if numbers & out}

    def run_until_done(
        self, *, company: str = COMPANY, only_changes: bool = False, only_opt_outs: bool = False
    ) -> Run:
        """Sync without any trouble until nothing waits for a person, who approves whatever is asked."""
        self.odoo.faults.clear()
        self.mailchimp.faults.clear()
        self.mailchimp.resume_batches()
        for _ in range(6):
            run = self.run(company=company, only_changes=only_changes, only_opt_outs=only_opt_outs)
            if run.failure is not None:
                raise AssertionError("a run without any trouble failed") from run.failure
            if not self.approve_what_waits(run, company):
                return run
        raise AssertionError("approvals are asked for again and again")

    def approve_what_waits(self, run: Run, company: str = COMPANY) -> bool:
        """Approve plans, orders of stores, old opt-outs and partial reads; return whether anything waited."""
        with self._ledger_of_a_person() as systems:
            plans, old, reads = systems.ledger.plans, systems.ledger.old_opt_outs, systems.ledger.reads
            waiting = plans.waiting(company)
            for plan in waiting:
                plans.approve(plan.plan_id, by="marketing", reason="looks right")
                opened = frozenset(plans.opened_audiences(company))
                self.story.approvals.append(Approval(self.mailchimp.journal.last_number, opened))
            old_ones = old.waiting(company)
            for each in old_ones:
                old.approve(each.plan_id, by="marketing", reason="looks right")
            of_stores = systems.ledger.store_plans.waiting(company)
            for of_store in of_stores:
                systems.ledger.store_plans.approve(of_store.plan_id, by="finance", reason="looks right")
            partial = [
                name
                for name, table in run.tables.items()
                if not table.complete and reads.latest(company, name)
            ]
            for name in partial:
                reads.approve_read(company, name, by="marketing", reason="deleted on purpose")
        return bool(waiting or old_ones or of_stores or partial)

    @contextmanager
    def _ledger_of_a_person(self) -> Iterator[MortalSystems]:
        systems = self.systems()
        try:
            yield systems
        finally:
            systems.close()

    # --- what others do -----------------------------------------------------------------------------

    def unsubscribe_by_another_program(self, list_id: str, email: str) -> None:
        """A program with an API key of its own unsubscribes somebody."""
        self.mailchimp.add_account(OTHER_KEY, user="newsletter tool")
        before = self.mailchimp.journal.last_number
        answer = requests.patch(
            f"{self.mailchimp.api_url}/lists/{list_id}/members/{_hash(email)}",
            json={"status": "unsubscribed"},
            auth=("any", OTHER_KEY),
            timeout=20,
        )
        answer.raise_for_status()
        self.story.foreign |= set(range(before + 1, self.mailchimp.journal.last_number + 1))

    def withdraw_permission(self, list_id: str, email: str) -> bool:
        """The person takes a marketing permission back on their profile page; tell whether they had it."""
        audience, state = self.mailchimp.audience(list_id), self.mailchimp.state
        member = audience.find(email)
        given = {} if member is None else member.marketing_permissions or {}
        taken_back = {each for each, enabled in given.items() if enabled}
        if member is None or not taken_back:
            return False
        with state.lock:
            for permission in sorted(taken_back):
                details = {"list_id": list_id, "email": email, "permission": permission}
                state.journal.act("person", "withdraw_permission", f"/lists/{list_id}", details)
            member.marketing_permissions = {**given, **dict.fromkeys(taken_back, False)}
            audience.touch(member, state.now())
        return True

    def time_passes(self, step: timedelta) -> None:
        """For everybody alike."""
        self.clock.advance(step)
        self.mailchimp.advance(step)

    def erase(self, partner: int) -> bool:
        """The job erase_person for one partner; tell whether it was done."""
        address = self.odoo.read("res.partner", partner, "email_normalized")["email_normalized"]
        if not address:
            return False
        truths = [tell_truth(self.odoo, second_company=each) for each in (None, self.second_company)]
        evidence = frozenset[EvidenceRecord]().union(*(each.evidence.get(address, ()) for each in truths))
        holders = frozenset(number for number, each in truths[0].addresses.items() if each == address)
        # From the first attempt on nobody reads this person again, whatever becomes of it.
        self.erased.add(address)
        begun = self.mailchimp.journal.last_number + 1
        config = ErasePerson(
            partner_ids=[partner], reason="asked by letter", requested_by="privacy", dry_run=False
        )
        is_done = self._do_erase(config)
        if not is_done:  # a run that died holds its leases for some minutes
            self.time_passes(timedelta(minutes=10))
            is_done = self._do_erase(config)
        emails = frozenset({address} if is_done else ())
        last = self.mailchimp.journal.last_number
        self.story.erasures.append(Erasure(begun, last, emails, holders, evidence))
        return is_done

    def _do_erase(self, config: ErasePerson) -> bool:
        try:
            with self._ledger_of_a_person() as systems:
                erase_people(dg.build_op_context(), config, systems=systems)
        except dg.Failure:
            return False
        return True

    @contextmanager
    def webhooks(self) -> Iterator[None]:
        """Receive both webhooks of every audience, signed; Mailchimp delivers when it is told to."""
        hooks = hooks_of(list(self.settings.companies.values()), {SECRET_VARIABLE: "w" * 32})
        signed: list[Hook] = []
        with (
            self._ledger_of_a_person() as systems,
            receiving(receiver_app(signed, systems.ledger.inbox.keep, self.clock.now)) as url,
        ):
            self.mailchimp.state.asks_webhooks_first = False
            for hook in hooks:
                sources = {source: source == hook.source for source in ("user", "admin", "api")}
                made = add_webhook(
                    self.mailchimp.state,
                    self.mailchimp.audience(hook.list_id),
                    {"url": hook.url(url), "sources": sources},
                )
                signed.append(replace(hook, signing_secrets=(made.signing_secret,)))
            yield

    def member_fields(self, list_id: str, email: str) -> dict[str, object]:
        """The merge fields of a member."""
        member = self.mailchimp.member(list_id, email)
        return dict(member.merge_fields) if member else {}

    # --- what is judged -----------------------------------------------------------------------------

    def violations(self) -> list[Violation]:
        rows = self.odoo.model("mail.blacklist").table.rows
        self.story.blacklist = {number: str(row["email"]) for number, row in rows.items()}
        return audit(self.mailchimp.journal.entries, self.odoo.journal.entries, self.story)

    def check_nobody_was_harmed(self) -> None:
        """The auditor has nothing to say."""
        found = self.violations()
        assert not found, "; ".join(map(str, found))

    def check_nothing_is_left_to_do(self) -> None:
        """One more run, after one that worked through everything: it succeeds and writes nothing."""
        for company in self.settings.companies:
            run = self.run(company=company)
            if run.failure is not None:
                raise AssertionError("a further run failed") from run.failure
            self.story.runs[-1].unchanged = True

    def nightly_run(self) -> None:
        """The runs of a night without any trouble: all opt-outs first, then both companies.

        The second company may have opt-outs of people whom Odoo knows only since: its sync finds them, and
        the next opt-outs of the first company carry them.
        """
        if self.second_company:
            self.run_until_done(company=SECOND_COMPANY, only_opt_outs=True)
        self.run_until_done()
        if self.second_company:
            self.run_until_done(company=SECOND_COMPANY)
            self.run_until_done(only_opt_outs=True)

    def check_both_systems_agree_on_consent(self) -> None:
        """After a night: who opted out in one system is opted out in the other, whoever did what when.

        What stands in Mailchimp is read from its journal, what stands in Odoo by its own and its rows.
        """
        truth = tell_truth(self.odoo)
        known = set(truth.addresses.values())
        out_since = standing_opt_outs(self.mailchimp.journal.entries, self.story)
        lifted = {
            entry.body["email"].strip().lower(): entry.at
            for entry in self.odoo.journal.entries
            if entry.action == "unblacklist" and entry.source == "person"
        }
        with self._ledger_of_a_person() as systems:
            conflicts = {
                row.email
                for company in self.settings.companies
                for row in systems.ledger.due_in_odoo.of(company, CONFLICT)
                if row.conflict == LIFTED_IN_ODOO
            }
        for email, since in out_since.items():
            if email in known - truth.blacklisted:
                assert lifted.get(email, since) > since, f"{email} is not opted out in Odoo"
                assert email in conflicts, f"{email} was lifted in Odoo, and nobody is informed"
        for list_id, email in product(sorted(self.story.lists), truth.blacklisted):
            status = self.mailchimp.status(list_id, email)
            assert status not in ("subscribed", "pending", "transactional"), f"{email} opted out in Odoo"

    def check_withdrawn_consent_is_carried(self) -> None:
        """After a night: whoever was made reachable on a word that was taken back is reachable no more."""
        mailchimp, odoo = self.mailchimp.journal.entries, self.odoo.journal.entries
        for (list_id, email), at in standing_withdrawals(mailchimp, odoo, self.story).items():
            status = self.mailchimp.status(list_id, email)
            assert status not in ("subscribed", "pending"), (
                f"{email} is {status} in {list_id} on consent that was taken back in Odoo at {at:%H:%M:%S}"
            )

    def check_everybody_is_where_they_belong(self) -> None:
        """Members and reasons together are all people who belong somewhere; nobody else has our marks."""
        truth = tell_truth(self.odoo)
        run = self.last_runs[COMPANY]
        assert run.succeeded
        missing: Counter[str] = Counter()
        waiting = self._waiting_for_another_day(run)
        for person in truth.persons.values():
            status = self.mailchimp.status(person.list_id, person.email)
            if person.email in self.erased or (person.list_id, person.email) in waiting:
                continue
            if status in (None, "archived"):
                reason = self._why_absent(person, truth)
                assert reason, f"{person} is not in the audience, and nothing explains it"
                missing[reason] += 1
            elif (change := self._change_of(person, truth)) is None or change.list_id != person.list_id:
                self._check_member(person)
        listed = Counter(
            {row["reason"]: row["count"] for row in _records(run, "audience_plan", "not_written")}
        )
        pushed = run.tables["audience_push"].rows
        refused = (pushed["operation"] == "create") & pushed["outcome"].isin(["rejected", "deferred"])
        listed["rejected_by_mailchimp"] += int(refused.sum())
        # In the run that learns of it, it is a refusal like others.
        listed["rejected_by_mailchimp"] += listed.pop("not_taken_back", 0)
        assert +missing == +listed, f"absent: {missing}, listed by the run: {listed}"
        self._check_leavers(truth)

    def _waiting_for_another_day(self, run: Run) -> set[tuple[str, str]]:
        """Whom the run did not ask to confirm, as enough people were asked that day."""
        plan = run.tables["audience_plan"].rows
        late = plan[plan["held_back_because"].str.contains("confirmation mails")]
        return set(zip(late["list_id"], late["email"], strict=True))

    def _why_absent(self, person: Person, truth: Truth) -> str:
        audience = self.mailchimp.audience(person.list_id)
        member = self.mailchimp.member(person.list_id, person.email)
        refused = self.mailchimp.state.refused_signups | self.mailchimp.state.fake_addresses
        if self._change_of(person, truth) is not None:
            return "changed_in_mailchimp"
        if self._is_refused_for_good(person.email):
            return "rejected_by_mailchimp"
        if person.email in truth.blacklisted:
            return "blacklisted"
        if member is not None:
            said_no = self.opted_out | self.story.runs[-1].facts.restricted
            came_back = member.archived_by == "api" and person.email not in said_no
            return "" if came_back and not self._was_subscribed(person) else "archived"
        if self._was_member(person):
            return self._absent_or_vanished(person)
        known_to_be_refused = person.email in refused or _hash(person.email) in audience.forgotten
        return "rejected_by_mailchimp" if known_to_be_refused else ""

    def _change_of(self, person: Person, truth: Truth) -> ChangedAddress | None:
        """The change of address in Mailchimp that Odoo does not know of this person."""
        with self._ledger_of_a_person() as systems:
            for change in systems.ledger.changed_addresses.open(COMPANY):
                owner = change.partner_id
                theirs = owner is None or truth.addresses.get(owner, person.email) == person.email
                if change.former == person.email and theirs:
                    return change
        return None

    def _is_refused_for_good(self, email: str) -> bool:
        """Whether Mailchimp once refused to take the address back, so that it is not asked again."""
        with self._ledger_of_a_person() as systems:
            return bool(systems.ledger.consent.refused_for_good([email]))

    def _record(self, person: Person) -> dict[str, object]:
        with self._ledger_of_a_person() as systems:
            found = systems.ledger.members.load([person.list_id])
        rows = found[found["email"] == person.email].to_dict("records")
        return {str(name): value for name, value in rows[0].items()} if rows else {}

    def _was_member(self, person: Person) -> bool:
        record = self._record(person)
        return (
            bool(record)
            and record["last_status"] == record["last_status"]
            and record["last_status"] is not None
        )

    def _was_subscribed(self, person: Person) -> bool:
        record = self._record(person)
        return bool(record.get("ever_subscribed") or record.get("opted_out"))

    def _absent_or_vanished(self, person: Person) -> str:
        return "vanished" if self._record(person)["vanished"] else "absent"

    def _check_member(self, person: Person) -> None:
        member = self.mailchimp.member(person.list_id, person.email)
        assert member is not None
        assert member.merge_fields["FNAME"] in person.names, (member.merge_fields, person)
        tags = set(self.mailchimp.tags(person.list_id, person.email))
        wanted = {WHOLESALE: {"B2B"}, CLUB: {"Member"}, RETAIL: {"B2C"}}[person.list_id]
        if person.list_id == RETAIL and person.total >= 1000:
            wanted = wanted | {"VIP"}
        assert wanted <= tags, f"{person} has the tags {tags}"
        assert OUR_MARK not in {tag.casefold() for tag in tags}, f"{person} is marked as not qualifying"

    def _check_leavers(self, truth: Truth) -> None:
        for list_id in sorted(self.story.lists - {SECOND}):
            for address, status in self.mailchimp.statuses(list_id).items():
                email = address.lower()
                elsewhere = email in truth.persons and truth.persons[email].list_id != list_id
                if status == "archived" or not (elsewhere or email in truth.outside):
                    continue
                if (list_id, email) in self.tagged_by_hand:
                    continue
                kept = set(self.mailchimp.tags(list_id, email)) & OUR_TAGS[list_id]
                assert not kept, f"{email} left {list_id} and keeps the tags {kept}"


def _records(run: Run, asset: str, name: str) -> list[dict[str, object]]:
    return [dict(record.data) for record in run.metadata[asset][name].records]


def _hash(email: str) -> str:
    from mc_pipeline.sandbox.mailchimp.state import subscriber_hash

    return subscriber_hash(email)


@contextmanager
def _variable(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        os.environ.pop(name)
        if before is not None:
            os.environ[name] = before


@contextmanager
def small_world(
    *,
    prepare: Callable[[SandboxOdoo, SandboxMailchimp], None] | None = None,
    second_company: bool = False,
    with_every_consent: bool = False,
) -> Iterator[SmallWorld]:
    """Found the town. ``prepare`` puts people into both systems before the story begins.

    ``second_company``: another company has the same partners, and an audience of its own.
    ``with_every_consent``: both companies, with a double opt-in club, marketing permissions in retail, and a
    box on partners that says yes to the second company (``CONSENT_SETTINGS``).
    """
    clock = TownClock()
    odoo, mailchimp = SandboxOdoo(clock=clock.now), SandboxMailchimp(keep_responses=True)
    # Whoever watches has one clock, whatever those of the two systems say.
    mailchimp.journal.clock = odoo.journal.clock
    lists = (*LISTS, SECOND, CLUB) if with_every_consent else (*LISTS, SECOND) if second_company else LISTS
    for list_id in (*lists, FOREIGN):
        mailchimp.add_audience(
            list_id,
            list_id.title(),
            welcome_automation=True,
            tag_automation=True,
            double_optin=list_id == CLUB,
            marketing_permissions=with_every_consent and list_id == RETAIL,
        )
    newsletter, quiet, club = odoo.add_mailing_list(NEWSLETTER), odoo.add_tag(QUIET), odoo.add_tag(CLUB_TAG)
    company = odoo.add_company("Second") if second_company or with_every_consent else None
    if with_every_consent:
        for name, kind in ((BOX, "boolean"), (BOX_DATE, "date")):
            odoo.model("res.partner").add_field(Field(name, kind))
    if prepare is not None:
        prepare(odoo, mailchimp)
    members = {
        (list_id, email): status
        for list_id in (*lists, FOREIGN)
        for email, status in mailchimp.statuses(list_id).items()
    }
    with (
        clock.for_everybody(),
        odoo.serve(),
        mailchimp.serve(),
        TemporaryDirectory() as folder,
        _variable("MC_PIPELINE_STORAGE", f"{folder}/tables"),
        _variable(ERASURE_KEY_VARIABLE, "the same key on every machine"),
    ):
        config = Path(folder) / "companies.yaml"
        places = {"odoo": odoo.url, "mailchimp": mailchimp.api_url, "company": company}
        if with_every_consent:
            config.write_text(CONSENT_SETTINGS.format(**places))
        else:
            text = textwrap.dedent(SETTINGS).format(**places)
            config.write_text(text + (SECOND_SETTINGS.format(**places) if company else ""))
        settings = load_settings(config, SECRETS)
        story = Story(
            lists=frozenset(lists),
            members=members,
            upgrading=frozenset({WHOLESALE, SECOND} if with_every_consent else {WHOLESALE}),
            double_optin=frozenset(lists) & {CLUB},
            confirmations={CLUB: CONFIRMATIONS} if with_every_consent else {},
            permissions={
                permission: text
                for list_id in lists
                for permission, text in mailchimp.audience(list_id).permissions.items()
            },
        )
        yield SmallWorld(
            odoo,
            mailchimp,
            Path(folder),
            settings,
            newsletter,
            quiet,
            story,
            clock=clock,
            club=club,
            second_company=company,
        )
