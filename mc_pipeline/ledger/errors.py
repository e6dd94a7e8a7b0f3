"""What can go wrong in the ledger, as one hierarchy that a caller can branch on."""

from datetime import datetime


class LedgerError(Exception):
    """Base of all errors of the ledger."""


class LedgerUnavailableError(LedgerError):
    """The ledger cannot be opened, reached, or written within the time a writer waits."""


class LedgerSchemaError(LedgerError):
    """The ledger was written by a newer mc_pipeline than this one."""


class LeaseHeldError(LedgerError):
    """Another run is writing for this company on the same path, or is reading this list for opt-outs."""

    def __init__(self, name: str, owner: str, since: datetime, expires_at: datetime) -> None:
        self.name = name
        self.owner = owner
        self.since = since
        self.expires_at = expires_at
        super().__init__(
            f"{_held(name)} by {owner} since {_minute(since)}; it becomes free at {_minute(expires_at)} "
            "unless that run continues: wait for it, or end it, and start again"
        )


class LeaseLostError(LedgerError):
    """The lease under which this write was prepared is no longer ours: nothing of it was written."""

    def __init__(self, name: str, fence: int, because: str) -> None:
        self.name = name
        self.fence = fence
        self.because = because
        super().__init__(
            f"the lease of {_subject(name)} with fencing number {fence} is lost: {because}; this run must "
            "stop; the next one settles what it left open"
        )


class ConnectionSlotsBusyError(LedgerError):
    """All connections of a Mailchimp user stayed taken for as long as a request may wait."""

    def __init__(self, account: str, maximum: int, waited_seconds: float, holders: dict[str, int]) -> None:
        self.account = account
        held_by = (
            ", ".join(f"{owner} ({count})" for owner, count in sorted(holders.items())) or "this process"
        )
        super().__init__(
            f"no connection to Mailchimp account {account} became free in {waited_seconds:.0f} s: "
            f"all {maximum} are held by {held_by}; wait until they end, or raise max_connections (at most 10)"
        )


class IntentError(LedgerError):
    """An intent or an outcome cannot be written as given."""


class PlanError(LedgerError):
    """A plan cannot be saved, approved or marked as given."""


class ObservationError(LedgerError):
    """What was observed cannot be taken over as given."""


def _subject(name: str) -> str:
    owner, _, part = name.partition("/")
    if owner == "list" and part:
        return f"audience {part}"
    return f"the opt-outs of company {owner}" if part else f"company {owner}"


def _held(name: str) -> str:
    subject = _subject(name)
    if subject.startswith("audience"):
        return f"{subject} is being read for opt-outs"
    return f"{subject} {'is being synced' if subject.startswith('company') else 'are being applied'}"


def _minute(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
