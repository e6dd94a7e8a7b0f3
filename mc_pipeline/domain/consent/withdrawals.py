"""Who took back the consent that a member was subscribed on, or asked to confirm on (rule 5.6).

Consent is taken back where it was given: on the same mailing list, or by the same field. It is found by its
own record in Odoo, or by any address that stands for the person, and ends the membership under every one of
them in the audience that relied on it. A record that is missing takes nothing back.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from mc_pipeline.domain.consent.evidence import BOOLEAN_FIELD, MAILING_LIST
from mc_pipeline.domain.consent.held_addresses import HeldAddresses


class UsedLike(Protocol):
    """Evidence that a member was subscribed on; see ``ledger.used_evidence``. Unknown numbers are 0."""

    @property
    def list_id(self) -> str: ...
    @property
    def email(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def source(self) -> str: ...
    @property
    def source_id(self) -> int: ...
    @property
    def record_id(self) -> int: ...
    @property
    def partner_id(self) -> int | None: ...
    @property
    def used_at(self) -> datetime: ...


@dataclass(frozen=True)
class TakenBack:
    """A record of Odoo that says no now: a subscription opted out of, a partner whose field is not ticked.

    ``source`` is the mailing list's id or the field's name; ``email`` the record's address in lower case,
    empty where it has none; ``at`` is Odoo's date of it (UTC).
    """

    kind: str
    source: int | str
    record_id: int
    email: str
    at: datetime


@dataclass(frozen=True)
class WithdrawnConsent:
    """A member (list id, address) whose consent was taken back, why, and when (UTC)."""

    list_id: str
    email: str
    because: str
    at: datetime


@dataclass(frozen=True)
class Rename:
    """A member of an audience that got another address, by us or by its owner; ``at`` in UTC."""

    list_id: str
    old_email: str
    new_email: str
    at: datetime


def withdrawn_consent(
    used: Iterable[UsedLike],
    taken_back: Collection[TakenBack],
    held: HeldAddresses,
    renames: Iterable[Rename] = (),
) -> list[WithdrawnConsent]:
    """Find the members whose consent was taken back, under every address that stands for the person.

    Args:
        used: what members were subscribed, or asked to confirm, on.
        taken_back: what says no in Odoo now.
        held: the addresses of the people concerned.
        renames: addresses that members of these audiences got since.

    Returns:
        One entry per audience and address, with the latest date, ordered by both.
    """
    by_record: dict[tuple[str, int | str, int], TakenBack] = {}
    by_email: dict[tuple[str, int | str, str], TakenBack] = {}
    for each in sorted(taken_back, key=lambda each: each.at):
        by_record[(each.kind, each.source, each.record_id)] = each
        if each.email:
            by_email[(each.kind, each.source, each.email)] = each
    renamed: dict[tuple[str, str], list[Rename]] = defaultdict(list)
    for rename in renames:
        renamed[(rename.list_id, rename.old_email)].append(rename)
    found: dict[tuple[str, str], WithdrawnConsent] = {}
    for evidence in used:
        addresses = _addresses_of(evidence, held, renamed)
        theirs, of_address = _taken_back(evidence, addresses, held, by_record.get, by_email.get)
        for address, said in [
            *((address, theirs) for address in addresses | {evidence.email}),
            (evidence.email, of_address),
        ]:
            if said is None:
                continue
            known = found.get((evidence.list_id, address))
            if known is None or said.at > known.at:
                found[(evidence.list_id, address)] = WithdrawnConsent(
                    evidence.list_id, address, _because(evidence), said.at
                )
    return [found[key] for key in sorted(found)]


def _taken_back(
    evidence: UsedLike,
    addresses: Collection[str],
    held: HeldAddresses,
    by_record: Callable[[tuple[str, int | str, int]], TakenBack | None],
    by_email: Callable[[tuple[str, int | str, str]], TakenBack | None],
) -> tuple[TakenBack | None, TakenBack | None]:
    """What the person withdrew, and what the present owner of the member's address withdrew under it."""
    source: int | str = evidence.source_id if evidence.kind == MAILING_LIST else evidence.source
    record = evidence.record_id
    if evidence.kind == BOOLEAN_FIELD:
        record = held.person(record)
    theirs = [by_record((evidence.kind, source, record))] if record else []
    if evidence.kind == MAILING_LIST:
        theirs += [by_email((evidence.kind, source, address)) for address in addresses]
    of_address = by_email((evidence.kind, source, evidence.email))
    return max(filter(None, theirs), key=lambda said: said.at, default=None), of_address


def _addresses_of(
    evidence: UsedLike, held: HeldAddresses, renamed: Mapping[tuple[str, str], list[Rename]]
) -> set[str]:
    """Every address that stands for the person who gave this evidence; the member's own only if it does."""
    partner = evidence.partner_id
    if partner is None and evidence.kind == BOOLEAN_FIELD:
        partner = evidence.record_id
    people = held.people_at(evidence.email) if partner is None else {held.person(partner)}
    addresses = {address for person in people for address in held.addresses_of(person)}
    passed_on = partner is not None and bool(held.people_at(evidence.email) - people)
    due = [(evidence.email, evidence.used_at)]
    while due:
        email, since = due.pop()
        for rename in renamed.get((evidence.list_id, email), ()):
            if rename.at >= since and rename.new_email not in addresses:
                addresses.add(rename.new_email)
                due.append((rename.new_email, rename.at))
    return addresses if passed_on else addresses | {evidence.email}


def _because(evidence: UsedLike) -> str:
    if evidence.kind == BOOLEAN_FIELD:
        return f"{evidence.source} was cleared in Odoo"
    return f"opted out of {evidence.source} in Odoo"
