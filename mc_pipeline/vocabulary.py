"""The words that tables and the ledger store: operations, outcomes, statuses, consent events, owners.

Each is a text, and is stored, compared, joined and written as JSON like one. Two readers ask for the exact
type ``str``: Dagster's own records (metadata, tags) and YAML. They are given ``str(word)``.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class Word(StrEnum):
    """A word that is stored; in an error's text it stands as any other text does."""

    def __repr__(self) -> str:
        return repr(self.value)


class Operation(Word):
    """What is done to a member in Mailchimp: a row of the plan, and the intent of its write."""

    CREATE = "create"
    """A new member, or an archived one who comes back."""
    UPDATE = "update"
    """Other merge fields, or another language."""
    CHANGE_EMAIL = "change_email"
    """The same person under another address."""
    ARCHIVE = "archive"
    """Out of the audience; Mailchimp keeps the member's fields and tags."""
    TAG = "tag"
    UNTAG = "untag"
    UPGRADE = "upgrade"
    """From transactional to subscribed, on evidence of consent."""
    PERMIT = "permit"
    """Marketing permissions (GDPR fields) are given."""
    UNSUBSCRIBE = "unsubscribe"
    """Because of an opt-out in Odoo: an intent, never a row of a plan."""


class StoreOperation(Word):
    """What one request does to a product, a customer or an order in a store."""

    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"
    ADD_LINE = "add_line"
    CHANGE_LINE = "change_line"
    REMOVE_LINE = "remove_line"
    PUT_VARIANT = "put_variant"
    """Make a variant of a product, or change it."""


class StoreChangeKind(Word):
    """What becomes of a product or an order in a store, by one request or several."""

    CREATE = "create"
    UPDATE = "update"
    REPLACE = "replace"
    """Deleted and made again: Mailchimp changes some of its fields in no other way."""
    DELETE = "delete"


class OdooAction(Word):
    """What is done about a person in Odoo because of what happened in Mailchimp."""

    OPT_OUT = "opt_out"
    LIFT = "lift"
    """An opt-out that we made is removed, because the person subscribed again."""
    NONE = "none"
    """Nothing: a human decides."""


class OptOutScope(Word):
    """How far an opt-out reaches in Odoo."""

    EVERYWHERE = "everywhere"
    """The blacklist of the database."""
    COMPANY = "company"
    """The company's mailing lists and fields."""


class OutcomeKind(Word):
    """What became of a write."""

    APPLIED = "applied"
    UNCHANGED = "unchanged"
    """It was so already."""
    REJECTED = "rejected"
    """Refused for what it says: not sent again until that changes."""
    DEFERRED = "deferred"
    """Refused for now: sent again later."""
    HELD_BACK = "held_back"
    """Not sent, on purpose."""
    NOT_SENT = "not_sent"
    """Certainly not applied: it never reached the other side, or was read back as not done."""
    UNKNOWN = "unknown"
    """Nobody knows yet: it is read back before anything else is written."""
    LOST = "lost"
    """Nobody will know: reading back does not tell."""


class MemberStatus(Word):
    """Mailchimp's statuses of a member."""

    SUBSCRIBED = "subscribed"
    UNSUBSCRIBED = "unsubscribed"
    CLEANED = "cleaned"
    """The address hard bounced."""
    PENDING = "pending"
    """Asked to confirm by mail."""
    TRANSACTIONAL = "transactional"
    """Receipts only, no marketing."""
    ARCHIVED = "archived"


class EventKind(Word):
    """What happened to a person's consent: an event of the consent history."""

    OPT_OUT = "opt_out"
    CLEAN = "clean"
    COMPLAINT = "complaint"
    SUBSCRIBE = "subscribe"
    ARCHIVE = "archive"
    PENDING = "pending"
    TRANSACTIONAL = "transactional"
    VANISH = "vanish"
    """The member is not in the audience any more, and nobody archived it."""
    ODOO_OPT_OUT = "odoo_opt_out"
    ODOO_LIFT = "odoo_lift"


class Origin(Word):
    """Who made a change of consent."""

    OURS = "ours"
    PERSON = "person"
    ADMIN = "admin"
    UNKNOWN = "unknown"
    """Restricts like the person's own act, and never removes an opt-out."""


class EventSource(Word):
    """How a consent event became known."""

    POLL = "poll"
    """Read for opt-outs."""
    WEBHOOK = "webhook"
    OBSERVATION = "observation"
    """An audience was read completely."""
    WRITE = "write"
    """By the answer to a write of ours."""
    NOT_KEPT = ""
    """In ledgers of earlier versions."""


class Owner(Word):
    """Who looks after an asset, a check or a trouble."""

    MARKETING_OPS = "marketing ops"
    FINANCE = "finance"
    DATA_ENGINEERING = "data engineering"

    @property
    def team(self) -> str:
        """As Dagster writes teams."""
        return f"team:{self.replace(' ', '-')}"


DATA_OPERATIONS: Final = frozenset({Operation.CREATE, Operation.UPDATE, Operation.CHANGE_EMAIL})
"""Writes that carry a member's data: a rejection of one of them sets the member aside."""

REACHING_OPERATIONS: Final = frozenset(
    {Operation.CREATE, Operation.UPGRADE, Operation.PERMIT, Operation.CHANGE_EMAIL}
)
"""Writes that make somebody a member, or reachable: refused for people who may not come back."""

DONE: Final = frozenset({OutcomeKind.APPLIED, OutcomeKind.UNCHANGED})
"""The other system is as the write wanted it."""

OPTED_OUT_EVENTS: Final = frozenset({EventKind.OPT_OUT, EventKind.CLEAN, EventKind.COMPLAINT})
"""Unsubscribed, hard bounced, complained: evidence of consent is void after one of these, in every
audience of every company (rule 5.6). Archived is not opted out, and a soft bounce does not count."""

OPTED_OUT_STATUSES: Final = frozenset({MemberStatus.UNSUBSCRIBED, MemberStatus.CLEANED})
"""Nobody with one of these may be mailed."""

OUT_OF_AUDIENCE_STATUSES: Final = OPTED_OUT_STATUSES | {MemberStatus.ARCHIVED}
"""Opted out, or archived."""

MARKETING_STATUSES: Final = frozenset({MemberStatus.SUBSCRIBED, MemberStatus.PENDING})
"""Gets marketing, or will after a confirmation: given on evidence of consent only."""

REACHABLE_STATUSES: Final = MARKETING_STATUSES | {MemberStatus.TRANSACTIONAL}
"""In the audience, and not opted out."""

MOST_RESTRICTIVE_FIRST: Final = (
    MemberStatus.ARCHIVED,
    MemberStatus.CLEANED,
    MemberStatus.UNSUBSCRIBED,
    MemberStatus.PENDING,
    MemberStatus.TRANSACTIONAL,
    MemberStatus.SUBSCRIBED,
)
"""Of a member who changed while the audience was read, the status that counts: the first of these."""

EVENT_OF_STATUS: Final[Mapping[str, EventKind]] = {
    MemberStatus.SUBSCRIBED: EventKind.SUBSCRIBE,
    MemberStatus.UNSUBSCRIBED: EventKind.OPT_OUT,
    MemberStatus.CLEANED: EventKind.CLEAN,
    MemberStatus.ARCHIVED: EventKind.ARCHIVE,
    MemberStatus.PENDING: EventKind.PENDING,
    MemberStatus.TRANSACTIONAL: EventKind.TRANSACTIONAL,
}
"""The event that is recorded when a member gets a status."""
