"""Reads the audiences of a company, each separately: one that cannot be read delays no other (rule 1.2).

What is known of each audience besides its members goes along with the table ``mailchimp_members``, so that
the later steps of a run ask Mailchimp for none of it, and all of them know the same audiences as unread. What
is held back because of an unread audience is a rule (``domain.completeness``) and not decided here.
"""

import json
import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from mc_pipeline.digests import subscriber_hash
from mc_pipeline.domain.completeness import AudienceInDoubt
from mc_pipeline.ledger import Finding, Lease
from mc_pipeline.ledger.troubles import Trouble, TroubleKind
from mc_pipeline.mailchimp.errors import MailchimpError, MailchimpNotFoundError
from mc_pipeline.masking import mask_text
from mc_pipeline.settings import CompanySettings
from mc_pipeline.sync.errors import SyncError
from mc_pipeline.sync.opt_outs.erased import take_members
from mc_pipeline.sync.opt_outs.troubles import NOT_REACHED, account_trouble
from mc_pipeline.sync.reads import incomplete_read, shrunk_since
from mc_pipeline.sync.systems import Systems
from mc_pipeline.tables import Table, schemas
from mc_pipeline.vocabulary import EventSource, Owner

if TYPE_CHECKING:
    import pandas as pd

    from mc_pipeline.mailchimp.lists import Audience

_AUDIENCES, _SHRUNK = "audiences", "shrunk"
"""Facts of the table mailchimp_members."""

_NOT_AMONG_THEM = "it was not read when mailchimp_members was last made: materialize that again"

CONFIRMED_ABSENCES = 200
"""Members asked for one by one in a run, when they have disappeared from an audience (rule 1.3)."""


@dataclass(frozen=True)
class KnownAudience:
    """What a read found out about one audience besides its members.

    Attributes:
        name: its name in the settings.
        list_id: its id in Mailchimp.
        described: as Mailchimp describes it; None: it was not read.
        merge_field_types: merge tag to Mailchimp's type.
        because: why it was not read, or not completely, masked; empty: it was.
        gone: it is not read because Mailchimp no longer has it (``ledger.audience_reads``).
    """

    name: str
    list_id: str
    described: "Audience | None" = None
    merge_field_types: Mapping[str, str] | None = None
    because: str = ""
    gone: bool = False

    @property
    def sentence(self) -> str:
        """Say what is wrong with an audience that was not read, why, and what to do."""
        if self.gone:
            return (
                f"{self.name} ({self.list_id}) is no longer in Mailchimp: nothing is written there. "
                f"Correct its list_id in companies.yaml, or remove the audience there. {self.because}"
            )
        return (
            f"{self.name} ({self.list_id}) could not be read: nothing but opt-outs is written there, nobody "
            "leaves or enters it, and nobody is subscribed in any audience of the company, until a run reads "
            f"it. {self.because}"
        )


@dataclass(frozen=True)
class Audiences:
    """All audiences of a company as the table ``mailchimp_members`` knows them."""

    all: Sequence[KnownAudience]
    shrunk: str = ""

    @classmethod
    def of(cls, members: Table, company: CompanySettings) -> "Audiences":
        """Read them from the facts of the table; one that it does not know counts as unread."""
        from mc_pipeline.mailchimp.lists import Audience

        stored = {each["list_id"]: each for each in json.loads(members.facts.get(_AUDIENCES, "[]"))}
        found = []
        for name, audience in company.audiences.items():
            known = stored.get(audience.list_id)
            if known is None:
                found.append(KnownAudience(name, audience.list_id, because=_NOT_AMONG_THEM))
                continue
            described = known.pop("described")
            known["name"] = name
            found.append(KnownAudience(**known, described=Audience(**described) if described else None))
        return cls(found, members.facts.get(_SHRUNK, ""))

    @classmethod
    def unread_of(cls, company: CompanySettings) -> "Audiences":
        """Those of a company of which no table was made yet: nothing is known of any."""
        return cls(
            [
                KnownAudience(name, audience.list_id, because=_NOT_AMONG_THEM)
                for name, audience in company.audiences.items()
            ]
        )

    @property
    def unread(self) -> list[KnownAudience]:
        """Those of which nothing was read."""
        return [each for each in self.all if each.described is None]

    @property
    def described(self) -> "dict[str, Audience]":
        """What Mailchimp says of those that were read, by list id."""
        return {each.list_id: each.described for each in self.all if each.described is not None}

    @property
    def merge_field_types(self) -> dict[str, Mapping[str, str]]:
        """Of those that were read, by list id."""
        return {each.list_id: each.merge_field_types or {} for each in self.all if each.described is not None}

    @property
    def double_optin(self) -> frozenset[str]:
        """Names of those that ask people to confirm; of an unread one nobody knows, so it counts as such."""
        return frozenset(
            each.name for each in self.all if each.described is None or each.described.double_optin
        )

    @property
    def in_doubt(self) -> dict[str, AudienceInDoubt]:
        """Those of which it is not known who is in them, for the rules, by list id."""
        return {
            each.list_id: AudienceInDoubt(
                each.name, seen=each.described is not None, gone=each.gone, because=each.because
            )
            for each in self.all
            if each.because
        }


@dataclass(frozen=True)
class Observation:
    """The table ``mailchimp_members``, and who made members come back (list id, address)."""

    table: Table
    audiences: Audiences
    origins: Mapping[tuple[str, str], Finding]

    @property
    def read(self) -> list[str]:
        """List ids of the audiences that were read."""
        return list(self.audiences.described)

    @property
    def read_whole(self) -> list[str]:
        """List ids of those that were read completely."""
        if self.audiences.shrunk:
            return []
        return [each.list_id for each in self.audiences.all if not each.because]

    @property
    def nobody_left(self) -> list[str]:
        """List ids of the audiences in which somebody who was not seen is surely not there."""
        return self.read_whole + [each.list_id for each in self.audiences.unread if each.gone]


@dataclass(frozen=True)
class _Part:
    rows: "pd.DataFrame"
    observed_at: datetime
    origins: Mapping[tuple[str, str], Finding]


def observe_audiences(
    systems: Systems, company: CompanySettings, lease: Lease, run_id: str, log: logging.Logger
) -> Observation:
    """Read every audience of the company.

    Raises:
        SyncError: none can be read.
        LeaseLostError: the run is not the company's writer any more.
    """
    import pandas as pd

    known: list[KnownAudience] = []
    parts: list[_Part] = []
    not_found: set[str] = set()
    for name, audience in company.audiences.items():
        try:
            # First, and alone in saying that the audience itself is not there.
            described = systems.audience(company, audience.list_id)
        except MailchimpError as error:
            if isinstance(error, MailchimpNotFoundError):
                not_found.add(audience.list_id)
            known.append(_unread(name, audience.list_id, error))
            continue
        try:
            found, part = _read(systems, company, name, audience.list_id, described)
        except MailchimpError as error:
            known.append(_unread(name, audience.list_id, error))
            continue
        known.append(found)
        parts.append(part)
    if not parts:
        trouble = account_trouble(
            company,
            f"No audience of {company.key} can be read ({', '.join(company.audiences)}), so nothing is "
            f"written to them: {known[0].because}",
        )
        named = {name: getattr(trouble, name) for name in ("part", "place", "code", "what_to_do")}
        raise SyncError(trouble.sentence, about=named)
    # Where none is found, the API key is another account's rather than all audiences deleted.
    systems.ledger.audience_reads.not_found(company.key, not_found, run_id, fence=lease.fence)
    gone = systems.ledger.audience_reads.gone([each.list_id for each in known if each.described is None])
    known = [
        KnownAudience(each.name, each.list_id, because=each.because, gone=True)
        if each.list_id in gone
        else each
        for each in known
    ]
    for each in known:
        if each.because:
            log.warning(each.sentence if each.described is None else f"{each.name}: {each.because}")
    rows, theirs = systems.erased.split(pd.concat([part.rows for part in parts], ignore_index=True))
    _take_erased(systems, company, theirs)
    origins = {member: finding for part in parts for member, finding in part.origins.items()}
    table, audiences = _judged(systems, company, rows, min(part.observed_at for part in parts), known)
    return Observation(table, audiences, origins)


def confirm_absences(
    systems: Systems, company: CompanySettings, list_ids: Collection[str], log: logging.Logger
) -> int:
    """Ask for members that disappeared from a complete read; those that are gone twice have vanished.

    Only in audiences that were read: in one that is not there, nobody is.
    """
    from mc_pipeline.mailchimp.members import get_member

    absent = systems.ledger.members.absent(company.key)
    absent = absent[absent["list_id"].isin(list_ids)].head(CONFIRMED_ABSENCES)
    client = systems.mailchimp(company)
    vanished = 0
    for list_id, rows in absent.groupby("list_id"):
        try:
            gone = [
                email
                for email in rows["email"]
                if get_member(client, str(list_id), subscriber_hash(email)) is None
            ]
        except MailchimpError as error:
            log.warning(
                f"Members who disappeared from {list_id} are looked up again in the next run: {error}"
            )
            continue
        vanished += len(systems.ledger.members.confirm_absent(str(list_id), gone))
    return vanished


def troubles_of_audiences(company: CompanySettings, audiences: Audiences) -> list[Trouble]:
    """What is in doubt about each audience as it was read, and about all of them together."""
    found = [
        Trouble(
            kind=TroubleKind.BROKEN,
            part="audience",
            place=each.name,
            code=NOT_REACHED,
            sentence=each.sentence,
            what_to_do="" if each.gone else f"To find the cause: mc-pipeline doctor {company.key}.",
            owner=Owner.DATA_ENGINEERING,
        )
        if each.described is None
        else Trouble(
            kind=TroubleKind.NOT_LOOKED_AT,
            part="audience",
            place=each.name,
            code="incomplete",
            sentence=f"{each.name} was not read completely: {each.because}",
            what_to_do="Until it is, nobody leaves or enters it; the next run reads it again.",
            owner=Owner.DATA_ENGINEERING,
        )
        for each in audiences.all
        if each.because
    ]
    if audiences.shrunk:
        found.append(incomplete_read(company.key, schemas.MAILCHIMP_MEMBERS.name, audiences.shrunk))
    return found


def _take_erased(systems: Systems, company: CompanySettings, theirs: "pd.DataFrame") -> None:
    """For erased members only their opt-outs are applied (rule 10.1)."""
    for (name, list_id), rows in theirs.groupby(["audience", "list_id"]):
        take_members(
            systems.ledger,
            systems.erased,
            company.key,
            str(name),
            str(list_id),
            rows,
            EventSource.OBSERVATION,
        )


def _read(
    systems: Systems, company: CompanySettings, name: str, list_id: str, described: "Audience"
) -> tuple[KnownAudience, _Part]:
    from mc_pipeline.mailchimp.members import read_members
    from mc_pipeline.mailchimp.merge_fields import list_merge_fields

    client = systems.mailchimp(company)
    types = {tag: field.type for tag, field in list_merge_fields(client, list_id).items()}
    read = read_members(client, list_id)
    rows = read.rows.assign(audience=name)
    part = _Part(
        rows,
        read.observed_at,
        _origins_of_returns(systems, company, Table(systems.erased.without(rows), read.observed_at)),
    )
    because = "" if read.complete else mask_text(read.incomplete_because)
    return KnownAudience(name, list_id, described, types, because), part


def _unread(name: str, list_id: str, error: Exception) -> KnownAudience:
    return KnownAudience(name, list_id, because=mask_text(str(error)))


def _judged(
    systems: Systems,
    company: CompanySettings,
    rows: "pd.DataFrame",
    observed_at: datetime,
    known: Sequence[KnownAudience],
) -> tuple[Table, Audiences]:
    """Make the table, judge whether it is whole, and remember this read."""
    name = schemas.MAILCHIMP_MEMBERS.name
    unread = [each.list_id for each in known if each.described is None]
    # A member of an unread audience has not disappeared.
    expected = len(rows) + sum(systems.ledger.members.counts(unread, with_archived=True).values())
    shrunk = shrunk_since(systems, company, name, expected)
    reasons = [*_reasons(known), *([shrunk] if shrunk else [])]
    facts = {_AUDIENCES: json.dumps([_as_fact(each) for each in known]), _SHRUNK: shrunk}
    table = Table(rows, observed_at, complete=not reasons, incomplete_because="; ".join(reasons), facts=facts)
    systems.ledger.reads.record_observation(
        company.key, name, observed_at, len(rows), table.complete, table.incomplete_because
    )
    return table, Audiences(known, shrunk)


def _reasons(known: Iterable[KnownAudience]) -> list[str]:
    return [f"{each.name}: {each.because}" for each in known if each.because]


def _as_fact(audience: KnownAudience) -> dict[str, Any]:
    return asdict(audience)


def _origins_of_returns(
    systems: Systems, company: CompanySettings, members: Table
) -> Mapping[tuple[str, str], Finding]:
    """Find out who resubscribed themselves since the audiences were read for opt-outs a moment ago."""
    from mc_pipeline.sync.opt_outs.deliveries import Deliveries
    from mc_pipeline.sync.opt_outs.origins import Origins

    rows = members.rows
    subscribed = rows[rows["status"] == "subscribed"]
    back = subscribed[subscribed["email"].isin(systems.ledger.consent.ever_opted_out())]
    changes = systems.ledger.members.changes(back, members.observed_at)
    reported = {
        member: acts
        for audience in company.audiences.values()
        for member, acts in Deliveries.waiting(systems.ledger, audience.list_id).acts().items()
    }
    return Origins(systems.mailchimp(company), systems.ledger).find(changes, reported, {})
