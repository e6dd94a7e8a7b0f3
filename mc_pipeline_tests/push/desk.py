"""A desk for pushes: one served audience, one ledger in SQLite, and contacts written down by hand.

A push begins as in the pipeline: open batches are settled, the audience is read, what was left open is
settled by it, the ledger observes, the rules make a plan. Reading Odoo, guards and approvals are left out.
"""

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd

from mc_pipeline.domain.plan.plan import Completeness, decide_changes
from mc_pipeline.ledger import Lease, Ledger
from mc_pipeline.mailchimp.client import MailchimpClient
from mc_pipeline.mailchimp.connections import InProcessSlots
from mc_pipeline.mailchimp.members import read_members
from mc_pipeline.mailchimp.retry import RetryPolicy
from mc_pipeline.push.member_settling import settle_batches, settle_by_observation
from mc_pipeline.push.member_writes import MemberWrites
from mc_pipeline.push.plan import push_plan
from mc_pipeline.push.writer import Writer
from mc_pipeline.sandbox.journal import JournalEntry
from mc_pipeline.sandbox.mailchimp import DEFAULT_KEY, SandboxMailchimp
from mc_pipeline.settings.models import CompanySettings
from mc_pipeline_tests.domain.audience_model import (
    Person,
    contacts_table,
    partners_table,
    plan_inputs,
    set_aside_table,
)
from mc_pipeline_tests.new_ledger import put_new_ledger
from mc_pipeline_tests.properties.runs import Death, MortalSlots

COMPANY, AUDIENCE, LIST = "acme", "retail", "retail1"
SETTINGS = CompanySettings.model_validate(
    {
        "key": COMPANY,
        "odoo_company_id": 1,
        "mailchimp": "main",
        "timezone": "Europe/Paris",
        "audiences": {
            AUDIENCE: {
                "company": COMPANY,
                "list_id": LIST,
                "merge_fields": {"FNAME": "first_name"},
                "tags": {"B2C": "always", "VIP": {"field": "total_spent", "at_least": 5000}},
            }
        },
    }
)


def person(
    number: int, *, name: str = "Ada", tags: Sequence[str] = ("B2C",), email: str | None = None
) -> Person:
    """Contact of partner ``number``, with their name in Odoo and in the field FNAME."""
    return Person(
        email or f"person{number}@example.com",
        number,
        name=f"Partner {number}",
        fields={"FNAME": name},
        tags=tuple(tags),
    )


@dataclass
class Desk:
    """Mailchimp with one audience, and the ledger's file. ``hours_later`` moves the pipeline's clock."""

    mailchimp: SandboxMailchimp
    folder: Path
    later: timedelta = timedelta()
    timeout_seconds: float = 20
    workers: int = 1
    stopped_because: BaseException | None = None
    leases: list[Lease] = field(default_factory=list)

    @property
    def _ledger_file(self) -> Path:
        return self.folder / "ledger.db"

    def now(self) -> datetime:
        return datetime.now(UTC) + self.later

    @contextmanager
    def ledger(self, death: Death | None = None) -> Iterator[Ledger]:
        def clock() -> datetime:
            if death is not None:
                death.passes("ledger")
            return self.now()

        put_new_ledger(self._ledger_file)
        ledger = Ledger.open(f"sqlite:///{self._ledger_file}", clock=clock)
        try:
            yield ledger
        finally:
            ledger.close()

    @contextmanager
    def client(self, death: Death | None = None) -> Iterator[MailchimpClient]:
        with MailchimpClient(
            "main",
            DEFAULT_KEY,
            base_url=self.mailchimp.api_url,
            timeout=(5, self.timeout_seconds),
            connections=MortalSlots(InProcessSlots(8), death or Death()),
            retry=RetryPolicy(attempts=3, sleep=lambda seconds: time.sleep(min(seconds, 0.002))),
        ) as client:
            yield client

    def push(
        self,
        people: Sequence[Person],
        *,
        aside: Sequence[tuple[int, str | None, str]] = (),
        first_load: bool = False,
        death: Death | None = None,
        edit_plan: Callable[[pd.DataFrame], pd.DataFrame] = lambda plan: plan,
    ) -> pd.DataFrame:
        """Do one whole push and return the plan's rows with their outcomes.

        ``death`` counts from the moment when the plan is made. What ends the push is raised.
        """
        place, passive = (death.place if death else "never"), death or Death()
        passive.place = "never"
        with (
            self.ledger(passive) as ledger,
            self.client(passive) as client,
            ledger.leases.hold(COMPANY, f"run {time.monotonic_ns()}") as lease,
        ):
            self.leases.append(lease)
            writer = Writer(client, ledger, lease, lease.owner, self.workers)
            settled = settle_batches(writer)
            read = read_members(client, LIST)
            members = read.rows.assign(audience=AUDIENCE)
            whole = {LIST} if read.complete else set()
            settle_by_observation(members, whole, writer, settled.under_way)
            ledger.members.observe(
                COMPANY, members, read.complete, read.observed_at, list_ids=[LIST], fence=lease.fence
            )
            contacts = contacts_table(people)
            plan = decide_changes(
                plan_inputs(
                    contacts=contacts,
                    members=members,
                    records=ledger.members.load([LIST]),
                    company=SETTINGS,
                    partners=partners_table(
                        [{"partner_id": each.partner_id, "email_normalized": each.email} for each in people]
                        + [{"partner_id": number, "email_normalized": email} for number, email, _ in aside]
                    ),
                    set_aside=set_aside_table(aside),
                    completeness=Completeness(mailchimp=read.complete, mailchimp_because="counts differ"),
                    planned_at=self.now(),
                    opted_out_ever=frozenset(ledger.consent.ever_opted_out()),
                    not_taken_back=ledger.consent.refused_for_good(),
                )
            ).plan
            passive.place = place
            return push_plan(
                edit_plan(plan),
                MemberWrites(writer),
                first_load=[LIST] if first_load else [],
                open_addresses={(each.list_id, each.email) for each in ledger.intents.open(COMPANY)},
                contacts=contacts,
                observed_at=read.observed_at,
                now=self.now(),
            )

    # --- looking ------------------------------------------------------------------------------------

    def state(self) -> dict[str, object]:
        """Everything that a push may change: members, tags, mails, and what the ledger believes of them."""
        audience = self.mailchimp.audience(LIST)
        members = {
            member.email_address: (
                member.status,
                dict(member.merge_fields),
                sorted(self.tags(member.email_address)),
            )
            for member in audience.members.values()
        }
        with self.ledger() as ledger:
            records = ledger.members.load([LIST])
            still_open = len(ledger.intents.open(COMPANY))
        believed = [
            "email", "created_by_us", "created_status", "sent_json", "returned_json", "tags",
            "archived_by_us", "ever_subscribed", "opted_out", "partner_id", "name_sent", "last_status",
            "rejection_title",
        ]  # fmt: skip
        return {
            "members": members,
            "mails": sorted((mail.kind, mail.email) for mail in self.mailchimp.mails),
            "records": records[believed].astype(str).to_dict("records"),
            "open": still_open,
        }

    def tags(self, email: str) -> list[str]:
        return self.mailchimp.tags(LIST, email)

    def writes(self) -> list[JournalEntry]:
        """Requests that change something, since the journal was cleared; operations of batches left out."""
        return [entry for entry in self.mailchimp.journal.writes if entry.batch_id is None]

    def sent(self, ending: str) -> list[JournalEntry]:
        """Those whose path ends so."""
        return [entry for entry in self.writes() if entry.path.endswith(ending)]

    # --- going back ---------------------------------------------------------------------------------

    def save(self) -> tuple[bytes, Path]:
        """Remember how everything is."""
        copy = self.folder / "saved.db"
        shutil.copy(self._ledger_file, copy)
        return self.mailchimp.snapshot(), copy

    def restore(self, saved: tuple[bytes, Path]) -> None:
        """Go back to how everything was; journals start empty."""
        snapshot, copy = saved
        for suffix in ("-wal", "-shm"):
            Path(f"{self._ledger_file}{suffix}").unlink(missing_ok=True)
        shutil.copy(copy, self._ledger_file)
        self.mailchimp.restore(snapshot)
        self.mailchimp.journal.clear()
        self.mailchimp.faults.clear()
        self.mailchimp.resume_batches()
