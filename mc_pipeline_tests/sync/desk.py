"""A desk with both writers of one company: one served audience, one ledger, and acts between their steps."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from mc_pipeline.digests import subscriber_hash
from mc_pipeline.ledger import Ledger
from mc_pipeline.ledger.leases import OPT_OUTS
from mc_pipeline.ledger.standing_opt_outs import BLACKLISTED, StandingOptOut
from mc_pipeline.mailchimp.client import MailchimpClient
from mc_pipeline.mailchimp.connections import ConnectionSlots, InProcessSlots
from mc_pipeline.mailchimp.retry import RetryPolicy
from mc_pipeline.push.member_writes import MemberWrites, Result, Write
from mc_pipeline.push.writer import Writer
from mc_pipeline.sandbox.mailchimp import DEFAULT_KEY, SandboxMailchimp
from mc_pipeline.settings import CompanySettings
from mc_pipeline.sync.opt_outs.into_mailchimp import CarriedIntoMailchimp, carry_into_mailchimp
from mc_pipeline.sync.systems import Systems
from mc_pipeline.vocabulary import Operation
from mc_pipeline_tests.new_ledger import put_new_ledger

COMPANY, AUDIENCE, LIST = "acme", "retail", "retail1"
SETTINGS = CompanySettings.model_validate(
    {
        "key": COMPANY,
        "odoo_company_id": 1,
        "mailchimp": "main",
        "timezone": "Europe/Paris",
        "audiences": {AUDIENCE: {"company": COMPANY, "list_id": LIST, "when": {}}},
    }
)
MARKETING_LEASE = timedelta(minutes=5)


class Died(BaseException):
    """The process of a writer ends here."""


@dataclass
class Acts:
    """What happens in front of the next request of a writer, and behind it before its answer is heard."""

    before: list[Callable[[], None]] = field(default_factory=list)
    after: list[Callable[[], None]] = field(default_factory=list)

    @contextmanager
    def around(self) -> Iterator[None]:
        if self.before:
            self.before.pop(0)()
        yield
        if self.after:
            self.after.pop(0)()


class ActingSlots:
    """Connections between which others act."""

    def __init__(self, slots: ConnectionSlots, acts: Acts) -> None:
        self._slots, self._acts = slots, acts

    @contextmanager
    def slot(self) -> Iterator[None]:
        with self._slots.slot(), self._acts.around():
            yield


@dataclass
class Asked:
    """Asks both systems as told: ``heard`` is called each time, ``unknown`` is what cannot be asked."""

    heard: Callable[[], None] = lambda: None
    unknown: str = ""
    times: int = 0
    recent: bool = True

    def ask(self) -> str:
        self.times += 1
        self.heard()
        return self.unknown

    def is_recent(self) -> bool:
        return self.recent

    def is_erased(self, email: str) -> bool:
        return False


@dataclass
class TwoWriters:
    """The audience, the ledger, and both writers. Each has its own acts."""

    mailchimp: SandboxMailchimp
    folder: Path
    changing: Acts = field(default_factory=Acts)
    opting_out: Acts = field(default_factory=Acts)
    ledger: Ledger = field(init=False)

    def __post_init__(self) -> None:
        put_new_ledger(self.folder / "ledger.db")
        self.ledger = Ledger.open(f"sqlite:///{self.folder}/ledger.db")

    def close(self) -> None:
        self.ledger.close()

    # --- the writer of changes ----------------------------------------------------------------------

    def write(self, *writes: Write, since: Asked | None = None) -> dict[Any, Result]:
        """Send writes as a push does, and return what came of each."""
        with (
            self.client(self.changing) as client,
            self.ledger.leases.hold(COMPANY, "push", MARKETING_LEASE) as lease,
        ):
            writer = MemberWrites(Writer(client, self.ledger, lease, "push", workers=1), since=since)
            creations = [each for each in writes if each.operation == "create"]
            others = [each for each in writes if each.operation != "create"]
            results = (writer.create(creations) if creations else []) + [
                result for each in others for result in writer.change([each])
            ]
        return {result.key: result for result in results}

    # --- the writer of opt-outs ---------------------------------------------------------------------

    def say_out(self, *emails: str, cause: str = BLACKLISTED, at: datetime | None = None) -> None:
        """Odoo says that these people are out: written down before Mailchimp is asked."""
        self.ledger.standing_opt_outs.say(
            [
                StandingOptOut(company=COMPANY, email=email, cause=cause, said_at=at or datetime.now(UTC))
                for email in emails
            ],
            [LIST],
        )

    def carry(self) -> CarriedIntoMailchimp:
        """One run of the opt-outs, from what is written down."""
        with self.ledger.leases.hold(COMPANY, "opt-outs", MARKETING_LEASE, path=OPT_OUTS) as lease:
            return carry_into_mailchimp(_Systems(self), SETTINGS, lease, "opt-outs")

    @contextmanager
    def client(self, acts: Acts) -> Iterator[MailchimpClient]:
        with MailchimpClient(
            "main",
            DEFAULT_KEY,
            base_url=self.mailchimp.api_url,
            connections=ActingSlots(InProcessSlots(8), acts),
            retry=RetryPolicy(attempts=3, sleep=lambda seconds: None),
        ) as client:
            yield client

    # --- looking ------------------------------------------------------------------------------------

    def status(self, email: str) -> str | None:
        return self.mailchimp.status(LIST, email)

    def due(self) -> list[str]:
        return list(self.ledger.standing_opt_outs.due(COMPANY, LIST))

    def bodies_that_reach(self, email: str) -> list[Any]:
        """Bodies sent that would make this address reachable."""
        return [
            entry.body
            for entry in self.mailchimp.journal.writes
            if email in str(entry.body) and "subscribed" in str(entry.body)
        ]


class _Systems(Systems):
    """What carrying into Mailchimp needs of the systems."""

    def __init__(self, desk: TwoWriters) -> None:
        settings: Any = None  # nothing of them is asked for
        super().__init__(settings)
        self._desk = desk
        self.ledger = desk.ledger

    def odoo(self, company: Any) -> Any:
        raise AssertionError("carrying into Mailchimp asks nothing of Odoo")

    def mailchimp(self, company: Any, *, impatient: bool = False) -> MailchimpClient:
        return MailchimpClient(
            "main",
            DEFAULT_KEY,
            base_url=self._desk.mailchimp.api_url,
            connections=ActingSlots(InProcessSlots(8), self._desk.opting_out),
            retry=RetryPolicy(attempts=2, sleep=lambda seconds: None),
        )


def creation(email: str, status: str = "subscribed") -> Write:
    """A row of a plan that creates somebody."""
    return Write(
        key=f"create {email}",
        list_id=LIST,
        audience=AUDIENCE,
        email=email,
        subscriber_hash=subscriber_hash(email),
        operation=Operation.CREATE,
        body={"email_address": email, "status": status},
        partner_id=1,
        evidence={"source": "Newsletter", "kind": "mailing_list", "record_id": 1}
        if status == "subscribed"
        else None,
    )


def change(email: str, operation: str, **body: Any) -> Write:
    """A row of a plan that changes a member."""
    return Write(
        key=f"{operation} {email}",
        list_id=LIST,
        audience=AUDIENCE,
        email=email,
        subscriber_hash=subscriber_hash(email),
        operation=Operation(operation),
        body=body,
    )
