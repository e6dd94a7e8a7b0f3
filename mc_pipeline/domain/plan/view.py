"""What should be, what is, and what we did before, side by side: changes are decided from it.

Joins contacts (desired), members (observed) and the ledger's records of members (ours), one row per address
and audience. Nothing is decided here.
"""

import json
from collections.abc import Sequence, Set
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from mc_pipeline.domain.company import PlannedCompany
from mc_pipeline.domain.consent.changed_addresses import ChangeLike, is_about
from mc_pipeline.vocabulary import (
    MOST_RESTRICTIVE_FIRST,
    OPTED_OUT_STATUSES,
    OUT_OF_AUDIENCE_STATUSES,
    MemberStatus,
)

_MEMBER_COLUMNS = (
    "audience",
    "list_id",
    "email",
    "subscriber_hash",
    "status",
    "merge_fields_json",
    "tags",
    "language",
    "permissions_json",
)
_RECORD_COLUMNS = (
    "list_id",
    "email",
    "created_by_us",
    "created_status",
    "created_at",
    "sent_json",
    "returned_json",
    "tags",
    "archived_by_us",
    "ever_subscribed",
    "opted_out",
    "permitted",
    "partner_id",
    "name_sent",
    "absent_reads",
    "vanished",
    "rejection_key",
    "rejection_title",
    "rejection_cause",
    "retry_at",
)
_CONTACT_COLUMNS = (
    "audience",
    "email",
    "partner_id",
    "partner_ids",
    "name",
    "one_name",
    "language",
    "merge_fields_json",
    "tags",
    "evidence_json",
    "status_for_new",
)


@dataclass(frozen=True)
class AudienceView:
    """Desired, observed and recorded state of all audiences of one company.

    Attributes:
        desired: one row per contact: the contact's columns and ``list_id``; of the member with that address
            in that audience ``status``, ``subscriber_hash``, ``observed_fields_json``, ``observed_tags``,
            ``observed_language``, ``permissions_json`` (missing values: not a member); of our record the
            ledger's columns, with ``record_tags`` and ``record_partner_id``; ``was_member``: the ledger
            knows that the address was a member of this audience once; ``managed``: we wrote to it. Sorted by
            list and address.
        present: one row per member of the company's audiences with the same columns of member and record.
        blocked: addresses that anywhere opted out, bounced, disappeared or were archived by somebody else:
            never to become subscribed or pending.
        changed: changes of address that members made in Mailchimp and that Odoo does not know yet.
    """

    desired: pd.DataFrame
    present: pd.DataFrame
    records: pd.DataFrame
    blacklisted: Set[str]
    opted_out_ever: Set[str]
    blocked: Set[str]
    changed: Sequence[ChangeLike] = ()

    @cached_property
    def email_of_partner(self) -> dict[int, str]:
        """The address under which each partner is a contact now."""
        exploded = self.desired[["email", "partner_ids"]].explode("partner_ids").dropna()
        emails = dict(zip(exploded["partner_ids"].astype("int64"), exploded["email"], strict=True))
        emails.update(zip(self.desired["partner_id"].astype("int64"), self.desired["email"], strict=True))
        return emails

    @cached_property
    def opted_out(self) -> Set[str]:
        """Addresses that opted out anywhere, in Mailchimp or in Odoo."""
        recorded = self.records.loc[self.records["opted_out"], "email"]
        observed = self.present.loc[self.present["status"].isin(OPTED_OUT_STATUSES), "email"]
        return self.blacklisted | self.opted_out_ever | set(recorded) | set(observed)

    @cached_property
    def former_addresses(self) -> pd.DataFrame:
        """Recorded members whose partner is a contact under another address now.

        Columns list_id, old_email, email (the present one), partner_id; every list of the company.
        """
        recorded = self.records.loc[self.records["partner_id"].notna(), ["list_id", "email", "partner_id"]]
        recorded = recorded.rename(columns={"email": "old_email"})
        if recorded.empty:
            return recorded.assign(email=None)
        now = [self.email_of_partner.get(int(number)) for number in recorded["partner_id"]]
        recorded["email"] = pd.Series(now, index=recorded.index, dtype=object)
        changed = recorded["email"].notna() & (recorded["email"] != recorded["old_email"])
        # It is Odoo that has the former address of these.
        places = zip(recorded["list_id"], recorded["old_email"], recorded["email"], strict=True)
        ahead = [place in self._ahead_of_odoo for place in places]
        changed &= ~pd.Series(ahead, index=recorded.index, dtype=bool)
        return recorded[changed].reset_index(drop=True)

    @cached_property
    def _ahead_of_odoo(self) -> Set[tuple[str, str, str]]:
        return {(change.list_id, change.email, change.former) for change in self.changed}

    def is_ahead_of_odoo(self, list_id: str, email: str, partner_id: int) -> bool:
        """Whether a member got this address in Mailchimp, and their partner has the former one."""
        return (list_id, email, self.email_of_partner.get(partner_id)) in self._ahead_of_odoo

    @cached_property
    def left_behind(self) -> dict[str, ChangeLike]:
        """Contacts whose person changed the address in Mailchimp, by the address in Odoo."""
        found: dict[str, ChangeLike] = {}
        formers = {change.former for change in self.changed}
        rows = self.desired[self.desired["email"].isin(formers)]
        for email, partner_ids in zip(rows["email"], rows["partner_ids"], strict=True):
            for change in self.changed:
                if is_about(change, email, partner_ids):
                    found[email] = change
        return found


def view_audiences(
    contacts: pd.DataFrame,
    members: pd.DataFrame,
    records: pd.DataFrame,
    company: PlannedCompany,
    *,
    blacklisted_emails: Set[str] = frozenset(),
    opted_out_ever: Set[str] = frozenset(),
    unseen_list_ids: Set[str] = frozenset(),
    changed: Sequence[ChangeLike] = (),
) -> AudienceView:
    """Join the three tables; members and records of other companies' lists are left out.

    Of the audiences ``unseen_list_ids`` nothing was read: what the ledger saw there last counts.

    Raises:
        ValueError: a table lacks a column, or a contact names an audience that the company does not have.
    """
    lists = {key: audience.list_id for key, audience in company.audiences.items()}
    unknown = set(contacts["audience"].unique()) - set(lists) if len(contacts) else set()
    if unknown:
        raise ValueError(
            f"contacts name the audience {sorted(unknown)[0]!r}, which company {company.key!r} does not "
            f"have; its audiences are {', '.join(sorted(lists))}"
        )
    observed = _members(members, set(lists.values()))
    ours = _records(records, set(lists.values()))
    wanted = _columns(contacts, _CONTACT_COLUMNS, "contacts").copy()
    wanted["list_id"] = wanted["audience"].map(lists)
    wanted["audience"] = wanted["audience"].astype(object)
    wanted["list_id"] = wanted["list_id"].astype(object)
    wanted = wanted.sort_values(["list_id", "email"], ignore_index=True)

    keys = ["list_id", "email"]
    desired = wanted.merge(observed.drop(columns="audience"), how="left", on=keys)
    desired = _with_records(desired, ours)
    present = _with_records(observed, ours)

    restricting = present["status"].isin(OUT_OF_AUDIENCE_STATUSES)
    restricting &= ~((present["status"] == MemberStatus.ARCHIVED) & present["archived_by_us"])
    stopped = present.loc[restricting, "email"]
    recorded = ours.loc[ours["opted_out"] | ours["vanished"], "email"]
    unseen = ours[ours["list_id"].isin(unseen_list_ids)]
    restricted = unseen["last_status"].isin(OUT_OF_AUDIENCE_STATUSES)
    restricted &= ~((unseen["last_status"] == MemberStatus.ARCHIVED) & unseen["archived_by_us"])
    blocked = set(blacklisted_emails) | set(opted_out_ever) | set(stopped) | set(recorded)
    blocked |= set(unseen.loc[restricted, "email"])
    return AudienceView(
        desired,
        present,
        ours,
        frozenset(blacklisted_emails),
        frozenset(opted_out_ever),
        frozenset(blocked),
        tuple(changed),
    )


def parse(text: Any) -> dict[str, Any]:
    """Read a JSON object; an absent one is empty."""
    if not isinstance(text, str) or not text or text == "null":
        return {}
    value = json.loads(text)
    return value if isinstance(value, dict) else {}


def names(values: Any) -> list[str]:
    """Read a list column's cell: tables may hold lists, arrays or nothing."""
    if values is None or isinstance(values, (float, str)):
        return []
    return [str(value) for value in values]


def _columns(frame: pd.DataFrame, columns: tuple[str, ...], table: str) -> pd.DataFrame:
    missing = [column for column in columns if column not in frame.columns]
    if missing and len(frame):
        raise ValueError(f"table {table} lacks the column {missing[0]!r}, which the plan needs")
    rows = frame.reindex(columns=list(columns)) if missing else frame[list(columns)]
    # an empty table has columns of any type, and joins want the same on both sides
    return rows.astype({column: object for column in ("audience", "list_id", "email") if column in columns})


def _members(members: pd.DataFrame, lists: set[str]) -> pd.DataFrame:
    observed = _columns(members, _MEMBER_COLUMNS, "mailchimp_members")
    observed = observed[observed["list_id"].isin(lists)].rename(
        columns={
            "merge_fields_json": "observed_fields_json",
            "tags": "observed_tags",
            "language": "observed_language",
        }
    )
    observed["restriction"] = observed["status"].map(
        {status: rank for rank, status in enumerate(MOST_RESTRICTIVE_FIRST)}
    )
    if observed["restriction"].isna().any():
        status = observed.loc[observed["restriction"].isna(), "status"].iloc[0]
        raise ValueError(
            f"table mailchimp_members has the status {status!r}; "
            f"known are {', '.join(MOST_RESTRICTIVE_FIRST)}"
        )
    observed = observed.sort_values(["list_id", "email", "restriction"])
    return observed.drop_duplicates(["list_id", "email"]).drop(columns="restriction").reset_index(drop=True)


def _records(records: pd.DataFrame, lists: set[str]) -> pd.DataFrame:
    ours = _columns(records, _RECORD_COLUMNS, "of the ledger's members")
    ours = ours.assign(last_status=records.get("last_status", pd.Series(dtype=object)))
    ours = ours.assign(seen=ours["last_status"].notna())
    ours = ours[ours["list_id"].isin(lists)].reset_index(drop=True)
    for column in (
        "created_by_us",
        "archived_by_us",
        "ever_subscribed",
        "opted_out",
        "permitted",
        "vanished",
    ):
        ours[column] = ours[column].astype("boolean").fillna(False).astype(bool)
    ours["partner_id"] = ours["partner_id"].astype("Int64")
    ours["created_at"] = pd.to_datetime(ours["created_at"], utc=True)
    ours["retry_at"] = pd.to_datetime(ours["retry_at"], utc=True)
    tagged = ours["tags"].map(lambda tags: bool(names(tags))).astype(bool)
    sent = ours["sent_json"].notna()
    ours["managed"] = ours["created_by_us"] | sent | tagged | ours["partner_id"].notna()
    ours["was_member"] = (
        ours["created_by_us"]
        | ours.pop("seen").astype(bool)
        | sent
        | ours["returned_json"].notna()
        | ours["ever_subscribed"]
        | ours["opted_out"]
        | (ours["absent_reads"].fillna(0).astype("int64") > 0)
    )
    return ours


def _with_records(frame: pd.DataFrame, ours: pd.DataFrame) -> pd.DataFrame:
    renamed = ours.rename(columns={"tags": "record_tags", "partner_id": "record_partner_id"})
    joined = frame.merge(renamed, how="left", on=["list_id", "email"])
    for column in (
        "created_by_us",
        "archived_by_us",
        "ever_subscribed",
        "opted_out",
        "permitted",
        "vanished",
        "managed",
        "was_member",
    ):
        joined[column] = joined[column].astype("boolean").fillna(False).astype(bool)
    return joined
