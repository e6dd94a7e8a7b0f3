"""What the stand-in Mailchimp holds: accounts, audiences, members, tags, stores, batches, mails.

Records and their indexes only. What may happen to them is said in the module of each topic.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from mc_pipeline.sandbox.journal import Journal
from mc_pipeline.sandbox.mailchimp.times import SandboxClock

Status = Literal["subscribed", "unsubscribed", "cleaned", "pending", "transactional", "archived"]
STATUSES: tuple[str, ...] = (
    "subscribed",
    "unsubscribed",
    "cleaned",
    "pending",
    "transactional",
    "archived",
)
Actor = Literal["person", "admin", "api"]


def subscriber_hash(email: str) -> str:
    """The id of an address in every audience: MD5 of its lower-case form."""
    return hashlib.md5(email.strip().lower().encode(), usedforsecurity=False).hexdigest()


@dataclass(slots=True, eq=False)
class Member:
    """A contact of an audience in any status. Times are seconds since 1970.

    ``opted_out_by`` remembers who unsubscribed the contact; ``complained`` that they marked a mail as spam.
    The API shows neither.
    """

    id: str
    email_address: str
    number: int
    contact_id: str
    status: str
    created_at: int
    last_changed: int
    merge_fields: dict[str, Any]
    language: str = ""
    email_type: str = "html"
    vip: bool = False
    ip_signup: str = ""
    timestamp_signup: int | None = None
    ip_opt: str = ""
    timestamp_opt: int | None = None
    source: str = "API - Generic"
    opted_out_by: Actor | None = None
    opted_out_at: int | None = None
    unsubscribe_reason: str = ""
    complained: bool = False
    archived_by: Actor | None = None
    tags: dict[int, int] | None = None
    interests: dict[str, bool] | None = None
    marketing_permissions: dict[str, bool] | None = None
    location: dict[str, float] | None = None
    activity: list[dict[str, Any]] | None = None
    confirmed: bool = False

    @property
    def unique_email_id(self) -> str:
        """The id that campaign links carry; it stays when the address changes."""
        return hashlib.md5(self.contact_id.encode(), usedforsecurity=False).hexdigest()[:10]

    def note_activity(self, **event: Any) -> None:
        """Add an event to the activity feed, newest first when read."""
        if self.activity is None:
            self.activity = []
        self.activity.append(event)


@dataclass(slots=True)
class MergeField:
    """A column of an audience."""

    merge_id: int
    tag: str
    name: str
    type: str
    required: bool = False
    default_value: str = ""
    public: bool = True
    display_order: int = 0
    options: dict[str, Any] = field(default_factory=dict)
    help_text: str = ""


@dataclass(slots=True, eq=False)
class Segment:
    """A static segment, which Mailchimp also shows as a tag, or a saved one with conditions."""

    id: int
    name: str
    type: str
    created_at: int
    updated_at: int
    options: dict[str, Any] | None = None
    members: dict[int, Member] = field(default_factory=dict)


@dataclass(slots=True)
class Webhook:
    """Where an audience reports its events. ``signing_secret`` is returned once, when it is made; empty: it
    is older than signatures."""

    id: str
    url: str
    events: dict[str, bool]
    sources: dict[str, bool]
    signing_secret: str


@dataclass(slots=True)
class Mail:
    """A mail that Mailchimp sent to a contact. ``kind``: welcome, confirmation, tag_automation,
    permission_reminder, or order_confirmation, order_invoice, order_refund, order_cancellation,
    order_shipping."""

    at: datetime
    kind: str
    email: str
    list_id: str
    because: str
    store_id: str = ""
    order_id: str = ""


@dataclass(slots=True)
class AbuseReport:
    """Somebody marked a campaign as spam."""

    id: int
    campaign_id: str
    member: Member
    email_address: str
    at: int


@dataclass(slots=True, eq=False)
class Audience:
    """A list with its members in every status.

    ``version`` grows with each change; sorted pages are kept until then, so that reading page after page
    sorts once.
    """

    id: str
    name: str
    account: str
    web_id: int
    created_at: int
    double_optin: bool = False
    marketing_permissions: bool = False
    welcome_automation: bool = False
    tag_automation: bool = False
    members: dict[str, Member] = field(default_factory=dict)
    by_contact_id: dict[str, Member] = field(default_factory=dict)
    by_status: dict[str, dict[str, Member]] = field(
        default_factory=lambda: {status: {} for status in STATUSES}
    )
    forgotten: set[str] = field(default_factory=set)
    merge_fields: dict[str, MergeField] = field(default_factory=dict)
    next_merge_id: int = 1
    segments: dict[int, Segment] = field(default_factory=dict)
    segment_by_name: dict[str, Segment] = field(default_factory=dict)
    webhooks: dict[str, Webhook] = field(default_factory=dict)
    abuse_reports: list[AbuseReport] = field(default_factory=list)
    permissions: dict[str, str] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)
    stats: dict[str, Any] = field(default_factory=dict)
    stats_at: float = 0.0
    last_sub: int | None = None
    last_unsub: int | None = None
    version: int = 0
    _sorted: dict[tuple[Any, ...], tuple[int, list[Member]]] = field(default_factory=dict)

    def add(self, member: Member) -> None:
        """Take in a new member."""
        self.members[member.id] = member
        self.by_contact_id[member.contact_id] = member
        self.by_status[member.status][member.id] = member
        self.version += 1

    def remove(self, member: Member) -> None:
        """Erase a member and their tags."""
        del self.members[member.id]
        del self.by_contact_id[member.contact_id]
        del self.by_status[member.status][member.id]
        for segment_id in member.tags or ():
            self.segments[segment_id].members.pop(member.number, None)
        self.version += 1

    def set_status(self, member: Member, status: str) -> None:
        """Move a member to another status; the rules are with the callers."""
        if status != member.status:
            del self.by_status[member.status][member.id]
            member.status = status
            self.by_status[status][member.id] = member
            self.version += 1

    def rename(self, member: Member, email: str) -> None:
        """Give a member another address, and so another id; the contact id stays."""
        del self.members[member.id]
        del self.by_status[member.status][member.id]
        member.email_address, member.id = email, subscriber_hash(email)
        self.members[member.id] = member
        self.by_status[member.status][member.id] = member
        self.version += 1

    def touch(self, member: Member, now: int) -> None:
        """Note that a member changed."""
        member.last_changed = now
        self.version += 1

    def find(self, reference: str) -> Member | None:
        """A member by MD5 hash, by e-mail address or by contact id."""
        found = self.members.get(reference) or self.by_contact_id.get(reference)
        if found is None and "@" in reference:
            found = self.members.get(subscriber_hash(reference))
        return found

    def in_statuses(self, statuses: Iterable[str]) -> Iterator[Member]:
        """All members in these statuses."""
        for status in statuses:
            yield from self.by_status[status].values()

    def sorted_once(self, key: tuple[Any, ...], make: Callable[[], list[Member]]) -> list[Member]:
        """The members that ``make`` gives, made again only when the audience changed since."""
        kept = self._sorted.get(key)
        if kept is not None and kept[0] == self.version:
            return kept[1]
        made = make()
        while len(self._sorted) >= 4:
            del self._sorted[next(iter(self._sorted))]
        self._sorted[key] = (self.version, made)
        return made

    def __getstate__(self) -> dict[str, Any]:
        names = [name for name in self.__slots__ if name != "_sorted"]
        return {name: getattr(self, name) for name in names}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, value)
        self._sorted = {}


@dataclass(slots=True, eq=False)
class Customer:
    """A buyer of a store; the address of an id never changes."""

    id: str
    email_address: str
    opt_in_status: bool
    created_at: int
    updated_at: int
    company: str = ""
    first_name: str = ""
    last_name: str = ""
    address: dict[str, Any] = field(default_factory=dict)
    orders: set[str] = field(default_factory=set)


@dataclass(slots=True, eq=False)
class Store:
    """A store, tied to one audience for good."""

    id: str
    list_id: str
    account: str
    details: dict[str, Any]
    currency_code: str
    is_syncing: bool
    created_at: int
    updated_at: int
    order_notifications: bool = True
    customers: dict[str, Customer] = field(default_factory=dict)
    customers_by_email: dict[str, set[str]] = field(default_factory=dict)
    products: dict[str, dict[str, Any]] = field(default_factory=dict)
    orders: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class Batch:
    """Operations to be carried out later. ``results`` fills as they are."""

    id: str
    account: str
    submitted_at: int
    operations: list[dict[str, Any]]
    status: str = "pending"
    order: list[int] = field(default_factory=list)
    results: list[dict[str, Any]] = field(default_factory=list)
    errored: int = 0
    completed_at: int | None = None
    archive: bytes = b""
    signatures: dict[str, int] = field(default_factory=dict)
    results_lost: bool = False


@dataclass(slots=True, frozen=True)
class Credential:
    """Whom an API key belongs to: the user's connections are shared by all their keys."""

    account: str
    user: str


@dataclass(slots=True, eq=False)
class MailchimpState:
    """Everything, with one lock around it: the server and the test's own thread both reach in."""

    clock: Callable[[], datetime] = field(default_factory=SandboxClock)
    journal: Journal = field(default_factory=Journal)
    credentials: dict[str, Credential] = field(default_factory=dict)
    audiences: dict[str, Audience] = field(default_factory=dict)
    stores: dict[str, Store] = field(default_factory=dict)
    batches: dict[str, Batch] = field(default_factory=dict)
    mails: list[Mail] = field(default_factory=list)
    webhook_deliveries: list[dict[str, Any]] = field(default_factory=list)
    asks_webhooks_first: bool = True
    refused_signups: set[str] = field(default_factory=set)
    fake_addresses: set[str] = field(default_factory=set)
    under_review: set[str] = field(default_factory=set)
    unlisted: set[str] = field(default_factory=set)
    contact_limits: dict[str, int] = field(default_factory=dict)
    batches_paused: bool = False
    numbers: int = 1000
    lock: threading.RLock = field(default_factory=threading.RLock, repr=False)

    def now(self) -> int:
        """The present in whole seconds since 1970."""
        return int(self.clock().timestamp())

    def next_number(self) -> int:
        """A number that nothing else in this sandbox has."""
        self.numbers += 1
        return self.numbers

    def next_id(self, length: int = 10) -> str:
        """A made-up hexadecimal id; the same sandbox history gives the same ids."""
        digest = hashlib.md5(f"sandbox {self.next_number()}".encode(), usedforsecurity=False)
        return digest.hexdigest()[:length]

    def audience_of_account(self, account: str, list_id: str) -> Audience | None:
        """An audience that this account may see."""
        audience = self.audiences.get(list_id)
        return audience if audience is not None and audience.account == account else None

    def is_full(self, account: str) -> bool:
        """Whether the account has as many contacts as its plan allows, archived and cleaned ones aside."""
        limit = self.contact_limits.get(account)
        if limit is None:
            return False
        counted = [status for status in STATUSES if status not in ("archived", "cleaned")]
        audiences = [each for each in self.audiences.values() if each.account == account]
        return sum(len(each.by_status[status]) for each in audiences for status in counted) >= limit

    def stores_of(self, audience: Audience) -> list[Store]:
        """The stores that belong to an audience."""
        return [store for store in self.stores.values() if store.list_id == audience.id]

    def send_mail(self, kind: str, email: str, list_id: str, because: str, **order: str) -> None:
        """Note a mail that Mailchimp would have sent now."""
        self.mails.append(Mail(self.clock(), kind, email, list_id, because, **order))


LOOKS_FAKE = frozenset({"john.doe@example.com", "test@example.com", "test@test.com", "fake@example.com"})
"""Addresses that Mailchimp takes for made up; a sandbox adds its own to ``fake_addresses``."""

_ADDRESS = re.compile(
    r"(?!\.)(?!.*\.\.)[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}(?<!\.)@(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?\.)+"
    r"[A-Za-z][A-Za-z0-9-]*[A-Za-z0-9]"
)


def is_address(email: str) -> bool:
    """Whether Mailchimp takes this for an e-mail address (ASCII only, at most 254 characters)."""
    return len(email) <= 254 and _ADDRESS.fullmatch(email) is not None
