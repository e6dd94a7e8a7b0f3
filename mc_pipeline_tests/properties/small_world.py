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
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

from mc_pipeline.sandbox.mailchimp import DEFAULT_KEY, SandboxMailchimp
from mc_pipeline.sandbox.odoo import SandboxOdoo
from mc_pipeline.settings import Settings, load_settings
from mc_pipeline_tests.properties.auditor import (
    OUR_MARK,
    Approval,
    Facts,
    RunMark,
    Story,
    Violation,
    audit,
)
from mc_pipeline_tests.properties.oracle import (
    NEWSLETTER,
    QUIET,
    RETAIL,
    WHOLESALE,
    Person,
    Truth,
    tell_truth,
)
from mc_pipeline_tests.properties.runs import Death, MortalSystems, Run, run_company

COMPANY = "acme"
FOREIGN = "foreign1"
LISTS = (WHOLESALE, RETAIL)
OUR_TAGS = {WHOLESALE: {"B2B"}, RETAIL: {"B2C", "VIP"}}
SETTINGS = f"""
odoo: {{{{url: "{{odoo}}", database: sandbox, user: admin, secret: "${{{{ODOO_SECRET}}}}"}}}}
mailchimp:
  main: {{{{api_key: "${{{{MAILCHIMP_API_KEY}}}}", base_url: "{{mailchimp}}", timeout_seconds: 20}}}}
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
SECRETS = {"ODOO_SECRET": "admin", "MAILCHIMP_API_KEY": DEFAULT_KEY}
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
    last_run: Run | None = None
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
        only_changes: bool = False,
        go_on_from: Run | None = None,
    ) -> Run:
        """Sync once, in whatever trouble the servers and the process are."""
        mark = self.begin_run()
        systems = self.systems(death)
        try:
            run = run_company(systems, COMPANY, only_changes=only_changes, go_on_from=go_on_from)
        finally:
            if death is None or not death.dead:
                systems.close()
        mark.last = self.mailchimp.journal.last_number
        mark.observed = "mailchimp_members" in run.tables and run.tables["mailchimp_members"].complete
        self.last_run = run
        return run

    def begin_run(self) -> RunMark:
        """Note what the world is like now, for the auditor: a run begins."""
        truth = tell_truth(self.odoo)
        for number, email in truth.addresses.items():
            self.former.setdefault(number, set()).add(email)
        self.opted_out |= truth.blacklisted | truth.withdrawn
        for list_id in LISTS:
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
        mark = RunMark(first=self.mailchimp.journal.last_number + 1, facts=facts)
        self.story.runs.append(mark)
        return mark

    def run_until_done(self, *, only_changes: bool = False) -> Run:
        """Sync without any trouble until nothing waits for a person, who approves whatever is asked."""
        self.odoo.faults.clear()
        self.mailchimp.faults.clear()
        self.mailchimp.resume_batches()
        for _ in range(6):
            run = self.run(only_changes=only_changes)
            if run.failure is not None and not run.needs_approval:
                raise AssertionError("a run without any trouble failed") from run.failure
            if not self.approve_what_waits(run):
                return run
        raise AssertionError("approvals are asked for again and again")

    def approve_what_waits(self, run: Run) -> bool:
        """Approve plans and partial reads; return whether anything waited."""
        with self._ledger_of_a_person() as systems:
            plans, reads = systems.ledger.plans, systems.ledger.reads
            waiting = plans.waiting(COMPANY)
            for plan in waiting:
                plans.approve(plan.plan_id, by="marketing", reason="looks right")
                opened = frozenset(plans.opened_audiences(COMPANY))
                self.story.approvals.append(Approval(self.mailchimp.journal.last_number, opened))
            partial = [
                name
                for name, table in run.tables.items()
                if not table.complete and reads.latest(COMPANY, name)
            ]
            for name in partial:
                reads.approve_read(COMPANY, name, by="marketing", reason="deleted on purpose")
        return bool(waiting or partial)

    @contextmanager
    def _ledger_of_a_person(self) -> Iterator[MortalSystems]:
        systems = self.systems()
        try:
            yield systems
        finally:
            systems.close()

    def member_fields(self, list_id: str, email: str) -> dict[str, object]:
        """The merge fields of a member."""
        member = self.mailchimp.member(list_id, email)
        return dict(member.merge_fields) if member else {}

    # --- what is judged -----------------------------------------------------------------------------

    def violations(self) -> list[Violation]:
        return audit(self.mailchimp.journal.entries, self.odoo.journal.entries, self.story)

    def check_nothing_is_left_to_do(self) -> None:
        """One more run, after one that worked through everything: it succeeds and writes nothing."""
        run = self.run()
        if run.failure is not None:
            raise AssertionError("a further run failed") from run.failure
        self.story.runs[-1].unchanged = True

    def check_everybody_is_where_they_belong(self) -> None:
        """Members and reasons together are all people who belong somewhere; nobody else has our marks."""
        truth = tell_truth(self.odoo)
        run = self.last_run
        assert run is not None
        assert run.succeeded
        missing: Counter[str] = Counter()
        for person in truth.persons.values():
            status = self.mailchimp.status(person.list_id, person.email)
            if status in (None, "archived"):
                reason = self._why_absent(person, truth)
                assert reason, f"{person} is not in the audience, and nothing explains it"
                missing[reason] += 1
            else:
                self._check_member(person)
        listed = Counter(
            {row["reason"]: row["count"] for row in _records(run, "audience_plan", "not_written")}
        )
        pushed = run.tables["audience_push"].rows
        refused = (pushed["operation"] == "create") & pushed["outcome"].isin(["rejected", "deferred"])
        listed["rejected_by_mailchimp"] += int(refused.sum())
        assert +missing == +listed, f"absent: {missing}, listed by the run: {listed}"
        self._check_leavers(truth)
        for list_id, email in product(LISTS, truth.blacklisted):
            status = self.mailchimp.status(list_id, email)
            assert status not in ("subscribed", "pending", "transactional"), f"{email} opted out in Odoo"

    def _why_absent(self, person: Person, truth: Truth) -> str:
        audience = self.mailchimp.audience(person.list_id)
        member = self.mailchimp.member(person.list_id, person.email)
        refused = self.mailchimp.state.refused_signups | self.mailchimp.state.fake_addresses
        if person.email in truth.blacklisted:
            return "blacklisted"
        if member is not None:
            came_back = member.archived_by == "api" and person.email not in self.opted_out
            return "" if came_back and not self._was_subscribed(person) else "archived"
        if self._was_member(person):
            return self._absent_or_vanished(person)
        known_to_be_refused = person.email in refused or _hash(person.email) in audience.forgotten
        return "rejected_by_mailchimp" if known_to_be_refused else ""

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
    *, prepare: Callable[[SandboxOdoo, SandboxMailchimp], None] | None = None
) -> Iterator[SmallWorld]:
    """Found the town. ``prepare`` puts people into both systems before the story begins."""
    odoo, mailchimp = SandboxOdoo(), SandboxMailchimp(keep_responses=True)
    for list_id in (*LISTS, FOREIGN):
        mailchimp.add_audience(list_id, list_id.title(), welcome_automation=True, tag_automation=True)
    newsletter, quiet = odoo.add_mailing_list(NEWSLETTER), odoo.add_tag(QUIET)
    if prepare is not None:
        prepare(odoo, mailchimp)
    members = {
        (list_id, email): status
        for list_id in (*LISTS, FOREIGN)
        for email, status in mailchimp.statuses(list_id).items()
    }
    with odoo.serve(), mailchimp.serve(), TemporaryDirectory() as folder, _tables_in(folder):
        config = Path(folder) / "companies.yaml"
        config.write_text(textwrap.dedent(SETTINGS).format(odoo=odoo.url, mailchimp=mailchimp.api_url))
        settings = load_settings(config, SECRETS)
        story = Story(lists=frozenset(LISTS), members=members, upgrading=frozenset({WHOLESALE}))
        yield SmallWorld(odoo, mailchimp, Path(folder), settings, newsletter, quiet, story)
