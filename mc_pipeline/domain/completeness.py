"""Rules 1.1 and 1.2: when a read may be trusted to be the whole truth, and what waits when it may not."""

from collections.abc import Mapping, Set
from dataclasses import dataclass, field

SHRINK_LIMIT = 0.9
"""Below this share of the last complete read, a read is taken for partial until a person says otherwise."""


def shrunk_because(rows: int, last_complete_rows: int | None) -> str:
    """Say why a read is too small to be believed; empty when it is believable.

    ``last_complete_rows``: of the last complete read, or of a smaller one that a person approved since.
    """
    if last_complete_rows is None or rows >= SHRINK_LIMIT * last_complete_rows:
        return ""
    return (
        f"{rows:,} rows were read, fewer than {SHRINK_LIMIT:.0%} of the {last_complete_rows:,} of the last "
        "complete read: either something was deleted on purpose, or the reader lost rights"
    )


@dataclass(frozen=True)
class AudienceInDoubt:
    """An audience of which it is not known who is in it.

    Attributes:
        name: its name in the settings.
        seen: some of its members were read, but perhaps not all. False: nothing of it was read.
        gone: it was read in earlier runs and Mailchimp has it no more: nobody opts out there any more.
        because: why it was not read completely, where ``seen``.
    """

    name: str
    seen: bool = False
    gone: bool = False
    because: str = ""

    @property
    def sentence(self) -> str:
        """What is the matter, without what differs from run to run: it is part of a plan's id."""
        if self.gone:
            return f"the audience {self.name} is not in Mailchimp any more"
        if self.seen:
            return f"the audience {self.name} was not read completely: {self.because}"
        return f"the audience {self.name} could not be read"


@dataclass(frozen=True)
class Completeness:
    """Whether everything was read (rule 1.1), and what is held back where it was not (rule 1.2).

    ``mailchimp`` is about all audiences of the company together; ``audiences`` names, by list id, those that
    were not read, or not completely. Only what depends on one of them is held back for it.
    """

    odoo: bool = True
    odoo_because: str = ""
    mailchimp: bool = True
    mailchimp_because: str = ""
    audiences: Mapping[str, AudienceInDoubt] = field(default_factory=dict)

    @property
    def unseen(self) -> Set[str]:
        """List ids of audiences of which nothing was read."""
        return frozenset(list_id for list_id, audience in self.audiences.items() if not audience.seen)

    @property
    def unseen_and_there(self) -> Set[str]:
        """List ids of audiences of which nothing was read and that may still be there."""
        return frozenset(list_id for list_id in self.unseen if not self.audiences[list_id].gone)

    def removals_held_back_because(self, list_id: str) -> str:
        """Why nobody is taken out of an audience, moved or renamed there; empty: it may be done."""
        odoo = _not_read("Odoo", self.odoo_because) if not self.odoo else ""
        return "; ".join(reason for reason in (odoo, self.creations_held_back_because(list_id)) if reason)

    def creations_held_back_because(self, list_id: str) -> str:
        """Why nobody is created in an audience: somebody archived may stand where nothing was read, and a
        creation revives them."""
        audience = self.audiences.get(list_id)
        reasons = [_not_read("Mailchimp", self.mailchimp_because)] if not self.mailchimp else []
        reasons += [audience.sentence] if audience is not None else []
        return "; ".join(reasons)

    @property
    def reachable_held_back_because(self) -> str:
        """Why nobody becomes reachable in any audience (subscribed, pending, permitted, or renamed while
        subscribed); empty: they may. Who opted out in an audience that was not read is not known.
        """
        doubts = [audience for audience in self.audiences.values() if not audience.gone]
        return "; ".join(
            f"{audience.sentence}; who opted out there is not known"
            for audience in sorted(doubts, key=lambda audience: audience.name)
        )


def _not_read(system: str, because: str) -> str:
    return f"{system} was not read completely: {because or 'the reason is not known'}"
