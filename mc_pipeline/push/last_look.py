"""The last look before a write that makes somebody reachable is sent, or sent again (rules 4.1 and 7.5).

Who asks the two systems what happened since is ``mc_pipeline.sync``; what the ledger knows by then decides.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from mc_pipeline.ledger import IntentId, Ledger
from mc_pipeline.mailchimp.errors import MailchimpNotSentError
from mc_pipeline.vocabulary import MemberStatus, Operation

SUBSCRIBING = frozenset({MemberStatus.SUBSCRIBED, MemberStatus.PENDING})


class OptOutsSince(Protocol):
    """Asks both systems for the opt-outs since the last time; at most a minute passes between two askings."""

    def ask(self) -> str:
        """Ask unless that was a moment ago; return what could not be asked, and why, or an empty text."""
        ...

    def is_recent(self) -> bool:
        """Whether the last asking is recent enough to send now."""
        ...

    def is_erased(self, email: str) -> bool:
        """Whether the person was erased by now."""
        ...


class CalledOffError(MailchimpNotSentError):
    """A call is not sent (again): ``out`` of its intents are about people who are out by now.

    Without any, it could not be found out.
    """

    def __init__(self, out: Collection[int], because: str) -> None:
        super().__init__(title="Called Off", detail=because)
        self.out = frozenset(out)
        self.because = because


def makes_reachable(operation: str, body: Mapping[str, Any]) -> bool:
    """Whether the write as such can make somebody reachable who was not.

    A change of address can too, of a subscribed member; the ledger knows which are.
    """
    if operation == Operation.CREATE:
        return body.get("status") in SUBSCRIBING
    return operation in (Operation.UPGRADE, Operation.PERMIT, Operation.CHANGE_EMAIL)


@dataclass(frozen=True)
class CallCheck:
    """The look before each attempt of one call; ``intents`` are recorded for it."""

    ledger: Ledger
    since: OptOutsSince
    intents: Sequence[IntentId]

    def make(self) -> None:
        """Raises CalledOffError when one of the people is out by now, or when that cannot be found out."""
        unknown = self.since.ask()
        if unknown:
            raise CalledOffError((), unknown)
        out = self.ledger.intents.refused_by_now(self.intents)
        if out:
            raise CalledOffError(out, "opted out since the plan was made")

    def is_recent(self) -> bool:
        return self.since.is_recent()
