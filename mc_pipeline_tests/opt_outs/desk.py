"""A desk for reading opt-outs: one served audience and a ledger whose clock a test may move."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd

from mc_pipeline.ledger import ConsentEvent, InboxDelivery, Ledger, StatusChange
from mc_pipeline.ledger.leases import HEARING
from mc_pipeline.mailchimp.client import MailchimpClient
from mc_pipeline.mailchimp.members import read_members
from mc_pipeline.mailchimp.retry import RetryPolicy
from mc_pipeline.sandbox.mailchimp import DEFAULT_KEY, SandboxMailchimp
from mc_pipeline.sandbox.mailchimp.people import People
from mc_pipeline.sync.opt_outs.origins import Origins
from mc_pipeline.sync.opt_outs.polling import AudiencePolling, Poll

COMPANY, AUDIENCE, LIST, OTHER_LIST = "acme", "retail", "retail1", "wholesale1"
ANN, BOB = "ann@example.com", "bob@example.com"


class NobodyErased:
    """Nobody was erased."""

    def without(self, rows: pd.DataFrame) -> pd.DataFrame:
        return rows

    def split(self, rows: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
        return rows, rows.iloc[:0]

    def includes(self, email: str) -> bool:
        return False

    def pseudonym_of(self, email: str) -> str | None:
        return None


@dataclass
class Desk:
    """Mailchimp, the people in it, and the ledger's file. ``later`` is how far our clock is ahead."""

    mailchimp: SandboxMailchimp
    folder: Path
    later: timedelta = timedelta()
    people: People = field(init=False)
    ledger: Ledger = field(init=False)
    client: MailchimpClient = field(init=False)

    def __post_init__(self) -> None:
        self.people = People(self.mailchimp.state)
        self.ledger = Ledger.open(
            f"sqlite:///{self.folder}/ledger.db", clock=lambda: datetime.now(UTC) + self.later
        )
        self.client = MailchimpClient(
            "main",
            DEFAULT_KEY,
            base_url=self.mailchimp.api_url,
            retry=RetryPolicy(attempts=2, sleep=lambda _: None),
        )

    def close(self) -> None:
        """Close both."""
        self.client.close()
        self.ledger.close()

    @contextmanager
    def polling(self, *, asked_at_most: int = 200) -> Iterator[AudiencePolling]:
        with self.ledger.leases.hold(
            COMPANY, "run", timedelta(minutes=5), path=HEARING, list_id=LIST
        ) as lease:
            origins = Origins(self.client, self.ledger, asked_at_most=asked_at_most)
            yield AudiencePolling(self.client, self.ledger, lease, origins, NobodyErased())

    def poll(self, list_id: str = LIST, **limits: int) -> Poll:
        """Read one audience for opt-outs."""
        with self.polling(**limits) as polling:
            return polling.poll(AUDIENCE, list_id)

    def observe(self, list_id: str = LIST) -> dict[str, int]:
        """Read the whole audience, as a sync does; return the events recorded."""
        read = read_members(self.client, list_id)
        rows = read.rows.assign(audience=AUDIENCE)
        return self.ledger.members.observe(COMPANY, rows, read.complete, read.observed_at).events

    def changes(self) -> list[StatusChange]:
        """What a read of the whole audience would find to be news."""
        rows = read_members(self.client, LIST).rows.assign(audience=AUDIENCE)
        return self.ledger.members.changes(rows, self.ledger.now())

    def events(self, email: str | None = None) -> list[ConsentEvent]:
        return self.ledger.consent.events(email=email)

    def recorded(self, email: str = ANN) -> list[tuple[str, str, str]]:
        """The history of an address: event, origin, source."""
        return [(event.event, event.origin, event.source) for event in self.events(email)]

    def read_until(self) -> datetime | None:
        return self.ledger.opt_out_reads.read_until([LIST]).get(LIST)

    def deliver(self, kind: str, email: str, source: str, **values: object) -> None:
        """Put a webhook's delivery into the inbox, as the receiver would."""
        now = datetime.fromtimestamp(self.mailchimp.state.now(), UTC)
        given = {
            "list_id": LIST,
            "source": source,
            "type": kind,
            "email": email,
            "new_email": "",
            "contact_id": email,
            "action": "unsub" if kind == "unsubscribe" else "",
            "reason": "manual",
            "campaign_id": "",
            "fired_at": now,
            "fired_at_raw": now.isoformat(),
            "received_at": now,
            "body_digest": "",
            **values,
        }
        self.ledger.inbox.keep(InboxDelivery(**given))  # type: ignore[arg-type]

    def requests_since(self, number: int) -> Counter[str]:
        """How many requests there were: for members by the status asked for, others by their path's end."""
        counted: Counter[str] = Counter()
        for entry in self.mailchimp.journal.requests:
            if entry.number > number:
                asked = entry.query.get("status") if entry.path.endswith("/members") else None
                counted[asked or entry.path.rsplit("/", 1)[-1]] += 1
        return counted
