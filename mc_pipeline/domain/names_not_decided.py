"""Members whose names nobody can decide but a person: listed, with what to do (rule 6.4)."""

from collections.abc import Mapping

import pandas as pd

from mc_pipeline.domain.audience_view import CompanyLike, parse, view_audiences
from mc_pipeline.domain.names import WHAT_TO_DO, NameFields, decide_names, has_last_name_twice


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
    contacts: pd.DataFrame, members: pd.DataFrame, records: pd.DataFrame, company: CompanyLike
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the members whose names are not decided, and those whose last name stands in both fields.

    Args:
        contacts: the contacts table.
        members: the mailchimp_members table.
        records: the ledger's records of members.
        company: settings of the company.

    Returns:
        Both with the columns audience, email, partner_id and ``last_name_in``. The second are, as far as Odoo
        has one name for them, put right by the next push.
    """
    desired = view_audiences(contacts, members, records, company).desired
    names_of_list = {each.list_id: NameFields.of(each) for each in company.audiences.values()}
    live = desired[desired["status"].notna() & (desired["status"] != "archived")]
    columns = ["audience", "email", "partner_id", "last_name_in"]
    twice = [
        bool(one_name) and has_last_name_twice(parse(observed), names_of_list[list_id])
        for list_id, one_name, observed in zip(
            live["list_id"], live["one_name"], live["observed_fields_json"], strict=True
        )
    ]
    doubled = live[pd.Series(twice, index=live.index, dtype=bool)]
    doubled = doubled.assign(
        last_name_in=[" and ".join(names_of_list[list_id].read) for list_id in doubled["list_id"]]
    )
    return names_not_decided(live, names_of_list)[columns], doubled[columns]
