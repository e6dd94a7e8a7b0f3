"""A small town with two stand-in servers, in which people and the pipeline act, and an auditor who watches.

Few addresses and a handful of people, so that stories cross each other's path: the same address is used,
left, taken by somebody else and opted out within one story.
"""

import os
import textwrap
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

import requests

from mc_pipeline.defs.systems import utc_now
from mc_pipeline.domain.odoo_opt_outs import LIFTED_IN_ODOO
from mc_pipeline.ledger.changed_addresses import ChangedAddress
from mc_pipeline.ledger.due_in_odoo import CONFLICT
from mc_pipeline.sandbox.mailchimp import DEFAULT_KEY, SandboxMailchimp
from mc_pipeline.sandbox.mailchimp.webhooks import add_webhook
from mc_pipeline.sandbox.odoo import SandboxOdoo
from mc_pipeline.settings import Settings, load_settings
from mc_pipeline.webhooks.hooks import SECRET_VARIABLE, Hook, hooks_of
from mc_pipeline.webhooks.receiver import receiver_app
from mc_pipeline_tests.properties.auditor import (
    OUR_MARK,
    Approval,
    Facts,
    RunMark,
    Story,
    Violation,
    audit,
    standing_opt_outs,
)
from mc_pipeline_tests.properties.oracle import (
    NEWSLETTER,
    QUIET,
    RETAIL,
    SECOND,
    WHOLESALE,
    Person,
    Truth,
    tell_truth,
)
from mc_pipeline_tests.properties.runs import Death, MortalSystems, Run, run_company
from mc_pipeline_tests.webhooks.receiving import receiving

COMPANY, SECOND_COMPANY = "acme", "second"
FOREIGN = "foreign1"
LISTS = (WHOLESALE, RETAIL)
OUR_TAGS = {WHOLESALE: {"B2B"}, RETAIL: {"B2C", "VIP"}}
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
    former: dict[int, set[str]] = field(default_factory=dict)
    opted_out: set[str] = field(default_factory=set)
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
    ) -> Run:
        """Sync once, in whatever trouble the servers and the process are.

        ``begin`` is what happens at its very beginning: trouble that the auditor could not look through;
        ``meanwhile`` what happens at the moments of each step (see ``run_company``).
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
            )
        finally:
            if death is None or not death.dead:
                systems.close()
        mark.last = self.mailchimp.journal.last_number
        mark.last_in_odoo = self.odoo.journal.last_number
        mark.observed = "mailchimp_members" in run.tables and run.tables["mailchimp_members"].complete
        if not only_opt_outs:
            self.last_runs[company] = run
        return run

    def begin_run(self, company: str = COMPANY) -> RunMark:
        """Note what the world is like now, for the auditor: a run begins."""
        truth = tell_truth(
            self.odoo, second_company=self.second_company if company == SECOND_COMPANY else None
        )
        for number, email in truth.addresses.items():
            self.former.setdefault(number, set()).add(email)
        self.opted_out |= truth.blacklisted | truth.withdrawn
        for list_id in self.story.lists:
            statuses = self.mailchimp.statuses(list_id).items()
            self.opted_out |= {
                email.lower() for email, status in statuses if status in ("unsubscribed", "cleaned")
            }
        inheriting: set[str] = set()
        while (
            more := {
                truth.addresses[number]
                for number, before in self.former.items()
                if number in truth.addresses and before & (self.opted_out | inheriting)
            }
            - inheriting
        ):
            inheriting |= more
        facts = Facts(
            routes={email: person.list_id for email, person in truth.persons.items()},
            never=truth.never - set(truth.persons),
            consented=truth.consented,
            restricted=frozenset(truth.withdrawn | inheriting),
        )
        mark = RunMark(
            first=self.mailchimp.journal.last_number + 1,
            first_in_odoo=self.odoo.journal.last_number + 1,
            facts=facts,
            lists=frozenset({SECOND} if company == SECOND_COMPANY else LISTS),
        )
        self.story.runs.append(mark)
        return mark

    def run_until_done(
        self, *, company: str = COMPANY, only_changes: bool = False, only_opt_outs: bool = False
    ) -> Run:
        """Sync without any trouble until nothing waits for a person, who approves whatever is asked."""
        self.odoo.faults.clear()
        self.mailchimp.faults.clear()
        self.mailchimp.resume_batches()
        for _ in range(6):
            run = self.run(company=company, only_changes=only_changes, only_opt_outs=only_opt_outs)
            if run.failure is not None and not run.needs_approval:
                raise AssertionError("a run without any trouble failed") from run.failure
            if not self.approve_what_waits(run, company):
                return run
        raise AssertionError("approvals are asked for again and again")

    def approve_what_waits(self, run: Run, company: str = COMPANY) -> bool:
        """Approve plans, old opt-outs and partial reads; return whether anything waited."""
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
            partial = [
                name
                for name, table in run.tables.items()
                if not table.complete and reads.latest(company, name)
            ]
            for name in partial:
                reads.approve_read(company, name, by="marketing", reason="deleted on purpose")
        return bool(waiting or old_ones or partial)

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

    @contextmanager
    def webhooks(self) -> Iterator[None]:
        """Receive both webhooks of every audience, signed; Mailchimp delivers when it is told to."""
        hooks = hooks_of(list(self.settings.companies.values()), {SECRET_VARIABLE: "w" * 32})
        signed: list[Hook] = []
        with (
            self._ledger_of_a_person() as systems,
            receiving(receiver_app(signed, systems.ledger.inbox.keep, utc_now)) as url,
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

        What stands in Mailchimp is told by its journal, what stands in Odoo by its own and its rows.
        """
        truth = tell_truth(self.odoo)
        known = set(truth.addresses.values())
        told = standing_opt_outs(self.mailchimp.journal.entries, self.story)
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
        for email, since in told.items():
            if email in known - truth.blacklisted:
                assert lifted.get(email, since) > since, f"{email} is not opted out in Odoo"
                assert email in conflicts, f"{email} was lifted in Odoo, and nobody is told"
        for list_id, email in product(sorted(self.story.lists), truth.blacklisted):
            status = self.mailchimp.status(list_id, email)
            assert status not in ("subscribed", "pending", "transactional"), f"{email} opted out in Odoo"

    def check_everybody_is_where_they_belong(self) -> None:
        """Members and reasons together are all people who belong somewhere; nobody else has our marks."""
        truth = tell_truth(self.odoo)
        run = self.last_runs[COMPANY]
        assert run.succeeded
        missing: Counter[str] = Counter()
        for person in truth.persons.values():
            status = self.mailchimp.status(person.list_id, person.email)
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
            came_back = member.archived_by == "api" and person.email not in self.opted_out
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
        return rows[0] if rows else {}

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
        wanted = (
            {"B2B"} if person.list_id == WHOLESALE else {"B2C"} | ({"VIP"} if person.total >= 1000 else set())
        )
        assert wanted <= tags, f"{person} has the tags {tags}"
        assert OUR_MARK not in {tag.casefold() for tag in tags}, f"{person} is marked as not qualifying"

    def _check_leavers(self, truth: Truth) -> None:
        for list_id in LISTS:
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
def _tables_in(folder: str) -> Iterator[None]:
    """What runs keep of Odoo's records for later runs lies in this world's folder."""
    before = os.environ.get("MC_PIPELINE_STORAGE")
    os.environ["MC_PIPELINE_STORAGE"] = f"{folder}/tables"
    try:
        yield
    finally:
        os.environ.pop("MC_PIPELINE_STORAGE")
        if before is not None:
            os.environ["MC_PIPELINE_STORAGE"] = before


@contextmanager
def small_world(
    *,
    prepare: Callable[[SandboxOdoo, SandboxMailchimp], None] | None = None,
    second_company: bool = False,
) -> Iterator[SmallWorld]:
    """Found the town. ``prepare`` puts people into both systems before the story begins.

    ``second_company``: another company has the same partners, and an audience of its own.
    """
    odoo, mailchimp = SandboxOdoo(), SandboxMailchimp(keep_responses=True)
    # Whoever watches has one clock, whatever those of the two systems say.
    mailchimp.journal.clock = odoo.journal.clock
    lists = (*LISTS, SECOND) if second_company else LISTS
    for list_id in (*lists, FOREIGN):
        mailchimp.add_audience(list_id, list_id.title(), welcome_automation=True, tag_automation=True)
    newsletter, quiet = odoo.add_mailing_list(NEWSLETTER), odoo.add_tag(QUIET)
    company = odoo.add_company("Second") if second_company else None
    if prepare is not None:
        prepare(odoo, mailchimp)
    members = {
        (list_id, email): status
        for list_id in (*lists, FOREIGN)
        for email, status in mailchimp.statuses(list_id).items()
    }
    with odoo.serve(), mailchimp.serve(), TemporaryDirectory() as folder, _tables_in(folder):
        config = Path(folder) / "companies.yaml"
        text = textwrap.dedent(SETTINGS).format(odoo=odoo.url, mailchimp=mailchimp.api_url)
        config.write_text(text + (SECOND_SETTINGS.format(company=company) if company else ""))
        settings = load_settings(config, SECRETS)
        story = Story(lists=frozenset(lists), members=members, upgrading=frozenset({WHOLESALE}))
        yield SmallWorld(
            odoo, mailchimp, Path(folder), settings, newsletter, quiet, story, second_company=company
        )
