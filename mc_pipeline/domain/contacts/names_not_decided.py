"""Members whose names only a person can decide: listed, with what to do (rule 6.4)."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from mc_pipeline.domain.company import PlannedCompany
from mc_pipeline.domain.contacts.names import LEAVE, WHAT_TO_DO, NameFields, decide_names, has_last_name_twice
from mc_pipeline.domain.plan.fields import differing_fields
from mc_pipeline.domain.plan.view import parse, view_audiences
from mc_pipeline.vocabulary import MemberStatus


def why_not_decided(last_name_in: str) -> str:
    """Say why a member's names are left as they are. ``last_name_in``: the merge field of the last name."""
    return (
        f"neither first nor last name is written: the last name in {last_name_in} was not written by this "
        f"pipeline, and the name in Odoo does not end in it; {WHAT_TO_DO.rstrip('.')}"
    )


def names_not_decided(members: pd.DataFrame, names_of_list: Mapping[str, NameFields]) -> pd.DataFrame:
    """Return the members whose names are not written, with ``last_name_in``: the field of their last name.

    ``members``: rows like ``view.desired`` that are members and not archived.
    """
    found = [
        ""
        if not one_name
        else decide_names(
            parse(wanted),
            one_name,
            names_of_list[list_id],
            parse(observed),
            parse(sent).get("merge_fields") or {},
        ).not_decided
        for list_id, one_name, wanted, observed, sent in zip(
            members["list_id"],
            members["one_name"],
            members["merge_fields_json"],
            members["observed_fields_json"],
            members["sent_json"],
            strict=True,
        )
    ]
    rows = members.assign(last_name_in=pd.Series(found, index=members.index, dtype=object))
    return rows[rows["last_name_in"] != ""]


def list_names(
    contacts: pd.DataFrame, members: pd.DataFrame, records: pd.DataFrame, company: PlannedCompany
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the members whose names are not decided, and those whose last name is in both fields.

    Args:
        contacts: the contacts table.
        members: the mailchimp_members table.
        records: the ledger's records of members.
        company: settings of the company.

    Returns:
        Both with the columns audience, email, partner_id and ``last_name_in``. The second are corrected by
        the next push, where the audience's names are not left alone: who is called in Odoo by the last name
        alone (a company, mostly) has it in both fields permanently, and is not among them.
    """
    desired = view_audiences(contacts, members, records, company).desired
    names_of_list = {each.list_id: NameFields.of(each) for each in company.audiences.values()}
    live = desired[desired["status"].notna() & (desired["status"] != MemberStatus.ARCHIVED)]
    columns = ["audience", "email", "partner_id", "last_name_in"]
    twice = [
        bool(one_name)
        and has_last_name_twice(parse(observed), names_of_list[list_id])
        and not _stays_twice(parse(wanted), one_name, names_of_list[list_id], parse(observed), parse(sent))
        for list_id, one_name, wanted, observed, sent in zip(
            live["list_id"],
            live["one_name"],
            live["merge_fields_json"],
            live["observed_fields_json"],
            live["sent_json"],
            strict=True,
        )
    ]
    doubled = live[pd.Series(twice, index=live.index, dtype=bool)]
    doubled = doubled.assign(
        last_name_in=[" and ".join(names_of_list[list_id].read) for list_id in doubled["list_id"]]
    )
    return names_not_decided(live, names_of_list)[columns], doubled[columns]


def _stays_twice(
    wanted: dict[str, Any],
    one_name: Any,
    fields: NameFields,
    observed: Mapping[str, Any],
    sent: Mapping[str, Any],
) -> bool:
    """Return whether the last name is still in both fields after a push that may write names."""
    if fields.names == LEAVE:
        return False
    sent_fields = sent.get("merge_fields") or {}
    decided = decide_names(wanted, one_name, fields, observed, sent_fields).desired
    names = {tag: decided[tag] for tag in (*fields.first, *fields.last) if tag in decided}
    return has_last_name_twice({**observed, **differing_fields(names, observed, sent_fields, {}, {})}, fields)
