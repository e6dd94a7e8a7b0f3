"""Who has or had which address in Odoo, and until when what is said of an address is about them (rule 6.3).

Opt-outs and withdrawn consent follow the person, not the address: an address that was passed on says nothing
about the one who left it. An address that nobody took up since still stands for the one who had it last.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Protocol


class AddressLike(Protocol):
    """An address of a partner: from the read that first showed it to the one that showed another (UTC)."""

    @property
    def partner_id(self) -> int: ...
    @property
    def email(self) -> str: ...
    @property
    def first_seen_at(self) -> datetime: ...
    @property
    def left_at(self) -> datetime | None: ...


@dataclass(frozen=True)
class Held:
    """An address that a partner has (``left_at`` None) or had."""

    partner_id: int
    email: str
    first_seen_at: datetime
    left_at: datetime | None = None


NOBODY_GONE: Mapping[int, int | None] = MappingProxyType({})


class HeldAddresses:
    """The addresses of some partners, and into whom partners were merged.

    Args:
        rows: who has or had which address; complete for every address in it.
        successors: partners that are gone, and the one that each was merged into (None: not known).
    """

    def __init__(
        self, rows: Iterable[AddressLike], successors: Mapping[int, int | None] = NOBODY_GONE
    ) -> None:
        self._successors = successors
        self._of_person: dict[int, list[AddressLike]] = defaultdict(list)
        self._at: dict[str, list[AddressLike]] = defaultdict(list)
        for row in rows:
            self._of_person[self.person(row.partner_id)].append(row)
            self._at[row.email].append(row)

    def person(self, partner_id: int) -> int:
        """The partner that stands for the person now: the one that this one was merged into, if it was."""
        seen = {partner_id}
        while (successor := self._successors.get(partner_id)) is not None and successor not in seen:
            partner_id = successor
            seen.add(partner_id)
        return partner_id

    def at(self, email: str) -> list[AddressLike]:
        """Who has or had an address."""
        return list(self._at.get(email, ()))

    def until(self, row: AddressLike) -> datetime | None:
        """From when on (UTC) the address is somebody else's; None: it still stands for this person."""
        if row.left_at is None:
            return None
        taken_up = [
            max(other.first_seen_at, row.left_at)
            for other in self._at[row.email]
            if self.person(other.partner_id) != self.person(row.partner_id)
            and (other.left_at is None or other.left_at > row.left_at)
        ]
        return min(taken_up, default=None)

    def addresses_of(self, partner_id: int) -> set[str]:
        """Every address that stands for a person, former ones and those of merged partners included."""
        return {
            row.email for row in self._of_person.get(self.person(partner_id), ()) if self.until(row) is None
        }

    def people_at(self, email: str) -> set[int]:
        """The people whom an address identifies."""
        return {self.person(row.partner_id) for row in self._at.get(email, ()) if self.until(row) is None}


def as_of_now(
    rows: Iterable[AddressLike],
    present: Mapping[int, str],
    seen_at: datetime,
    emails: Collection[str] | None = None,
) -> list[AddressLike]:
    """The rows after a read that showed ``present``: partner to address, empty where there is none.

    Addresses are in lower case; partners that the read did not show stay as they are. With ``emails``, the
    rows are those of these addresses alone, and no others are added.
    """
    now: list[AddressLike] = []
    held: set[tuple[int, str]] = set()
    for row in rows:
        left = row.left_at is None and present.get(row.partner_id, row.email) != row.email
        returned = row.left_at is not None and present.get(row.partner_id) == row.email
        held.add((row.partner_id, row.email))
        if left or returned:
            now.append(Held(row.partner_id, row.email, row.first_seen_at, seen_at if left else None))
        else:
            now.append(row)
    now += [
        Held(partner, email, seen_at)
        for partner, email in present.items()
        if email and (emails is None or email in emails) and (partner, email) not in held
    ]
    return now


def addresses_inheriting_opt_outs(
    held: HeldAddresses, present: Mapping[int, str], opted_out: Mapping[str, datetime | None]
) -> set[str]:
    """Return the present addresses of people who opted out under a former one (rule 6.3).

    Args:
        held: who has or had each of the addresses that opted out, as of now.
        present: the address of each partner now, in lower case; empty where there is none.
        opted_out: addresses that opted out anywhere, in Mailchimp or in Odoo, and when they first did (UTC;
            None: not known, long ago).
    """
    inheriting = set()
    for email, opted_out_at in opted_out.items():
        for row in held.at(email):
            now = present.get(held.person(row.partner_id))
            if not now or now == email:
                continue
            until = held.until(row)
            if until is None or opted_out_at is None or opted_out_at < until:
                inheriting.add(now)
    return inheriting


def present_addresses(partner_ids: Iterable[int], emails: Iterable[object]) -> dict[int, str]:
    """Partner to address in lower case, from two columns of the odoo_partners table; empty: none."""
    return {
        int(partner): email.strip().lower() if isinstance(email, str) else ""
        for partner, email in zip(partner_ids, emails, strict=True)
    }
