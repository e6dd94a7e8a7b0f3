"""Who no longer belongs in an audience, and is archived there or only marked (rules 6.1 and 6.2).

Only people who were seen to meet no rule count. Who is set aside for a fault in the data, deferred or simply
not seen stays as they are: a mistake of ours must not look like a decision about them.
"""

from collections.abc import Collection, Mapping
from types import MappingProxyType

import pandas as pd

from mc_pipeline.digests import canonical_json
from mc_pipeline.domain.contacts.gone_partners import GONE
from mc_pipeline.domain.plan.rows import NOT_QUALIFYING_TAG
from mc_pipeline.domain.plan.view import AudienceView, names
from mc_pipeline.vocabulary import MemberStatus, Operation

REASONS_OF_MEETING_NO_RULE: Mapping[str, str] = {
    "no_audience": "no audience rule matches any more",
    "no_order": "no confirmed order any more",
    "supplier": "is a supplier",
    "archived": "archived in Odoo",
    "internal_user": "is an internal user",
    "employee": "is an employee",
    "own_company": "belongs to one of your own companies",
    "public_or_template_user": "is a public or template user",
    "address_type": "is an address, not a contact",
    **GONE,
}
"""Reasons of the set-aside table which say that somebody is no customer of an audience. All other reasons are
faults or doubts, and change nothing."""

STOPPED = (
    "list_id",
    "audience",
    "email",
    "subscriber_hash",
    "status",
    "partner_id",
    "observed_tags",
    "may_archive",
    "cause",
    "because",
    "successor",
)


def find_stopped(
    view: AudienceView,
    set_aside: pd.DataFrame,
    partners: pd.DataFrame,
    renamed: Collection[tuple[str, str]],
) -> pd.DataFrame:
    """Return the members who stopped qualifying for their audience: columns STOPPED, one row per member.

    ``successor`` is the address under which the same person belongs in an audience now, where there is one.

    Args:
        view: desired, observed and recorded state.
        set_aside: the set-aside table (partner_id, person_email, reason, and detail where there is one), with
            the members whose partner is gone from the company (``gone_partners``).
        partners: the odoo_partners table (partner_id, email_normalized).
        renamed: (list_id, old address) of members that get another address instead.
    """
    desired = set(zip(view.desired["list_id"], view.desired["email"], strict=True))
    keys = list(zip(view.present["list_id"], view.present["email"], strict=True))
    leaving = [key not in desired and key not in renamed for key in keys]
    rows = view.present[
        pd.Series(leaving, index=view.present.index, dtype=bool)
        & view.present["managed"]
        & (view.present["status"] != MemberStatus.ARCHIVED)
    ].copy()
    if rows.empty:
        return pd.DataFrame(columns=list(STOPPED))

    audience_now = dict(zip(view.desired["email"], view.desired["audience"], strict=True))
    by_email, by_partner = _verdicts(set_aside, partners)
    became = _became_of_partners(set_aside)
    held = set(partners["email_normalized"].dropna())
    causes: list[str | None] = []
    reasons: list[str] = []
    for list_id, email, partner_id in zip(
        rows["list_id"], rows["email"], rows["record_partner_id"], strict=True
    ):
        cause, because = _verdict(
            email,
            None if pd.isna(partner_id) else int(partner_id),
            audience_now,
            view.email_of_partner,
            by_email,
            by_partner,
            held,
            became,
        )
        if cause == "email_changed" and view.is_ahead_of_odoo(list_id, email, int(partner_id)):
            cause, because = None, ""
        causes.append(cause)
        reasons.append(because)
    rows["cause"] = causes
    rows["because"] = reasons
    rows["partner_id"] = rows["record_partner_id"]
    rows["successor"] = [
        email
        if cause == "moved"
        else view.email_of_partner.get(int(partner_id))
        if cause == "email_changed"
        else None
        for email, cause, partner_id in zip(rows["email"], causes, rows["record_partner_id"], strict=True)
    ]
    rows["may_archive"] = (
        rows["created_by_us"]
        & (rows["status"] == MemberStatus.TRANSACTIONAL)
        & ~rows["ever_subscribed"]
        & ~rows["opted_out"]
    )
    return rows.loc[rows["cause"].notna(), list(STOPPED)].reset_index(drop=True)


def _verdict(
    email: str,
    partner_id: int | None,
    audience_now: Mapping[str, str],
    email_of_partner: Mapping[int, str],
    by_email: Mapping[str, str | None],
    by_partner: Mapping[int, str | None],
    held: Collection[str],
    became: Mapping[str, str],
) -> tuple[str | None, str]:
    if email in audience_now:
        return "moved", f"moved to the audience {audience_now[email]}"
    if email in by_email:
        reason = by_email[email]
        if reason is None:
            return None, ""
        if reason in GONE:
            # A partner that came back since, or an address that somebody has again, decides on its own.
            if email in held or partner_id in email_of_partner:
                return None, ""
            return "stopped_qualifying", f"stopped qualifying: {became[email]}"
        return "stopped_qualifying", f"stopped qualifying: {REASONS_OF_MEETING_NO_RULE[reason]}"
    if email in held or partner_id is None:
        return None, ""
    if partner_id in email_of_partner:
        return "email_changed", "the partner has another e-mail in Odoo now"
    reason = by_partner.get(partner_id)
    if reason is not None:
        return (
            "stopped_qualifying",
            f"has another e-mail in Odoo now and stopped qualifying: {REASONS_OF_MEETING_NO_RULE[reason]}",
        )
    return None, ""


def _verdicts(
    set_aside: pd.DataFrame, partners: pd.DataFrame
) -> tuple[dict[str, str | None], dict[int, str | None]]:
    """Judge each set-aside person and partner: the reason why they meet no rule, or None for a doubt."""
    if set_aside.empty:
        return {}, {}
    rows = set_aside[["partner_id", "person_email", "reason"]].copy()
    normalized = dict(zip(partners["partner_id"], partners["email_normalized"], strict=True))
    own = rows["person_email"].where(rows["person_email"].notna(), rows["partner_id"].map(normalized))
    rows["person_email"] = own
    by_email: dict[str, str | None] = {}
    for email, reasons in _grouped(rows[own.notna()], "person_email"):
        by_email[str(email)] = _common_reason(reasons)
    by_partner: dict[int, str | None] = {}
    # without an address of its own a partner may just have lost it by mistake: no verdict
    for partner, reasons in _grouped(rows[own.notna()], "partner_id"):
        by_partner[int(str(partner))] = _common_reason(reasons)
    return by_email, by_partner


def _became_of_partners(set_aside: pd.DataFrame) -> dict[str, str]:
    """Say what happened to the partner of each address whose partner is gone, as the set-aside table has
    it."""
    gone = set_aside[set_aside["reason"].isin(list(GONE)) & set_aside["person_email"].notna()]
    details = gone["detail"] if "detail" in gone else gone["reason"].map(GONE)
    return {
        email: f"partner {partner} {detail}"
        for email, partner, detail in zip(gone["person_email"], gone["partner_id"], details, strict=True)
    }


def _grouped(rows: pd.DataFrame, column: str) -> list[tuple[object, set[str]]]:
    groups: dict[object, set[str]] = {}
    for key, reason in zip(rows[column], rows["reason"], strict=True):
        groups.setdefault(key, set()).add(reason)
    return list(groups.items())


def _common_reason(reasons: set[str]) -> str | None:
    """A duplicate follows its winner; any other doubt about one of the partners is doubt about the person."""
    decisive = sorted(reasons - {"duplicate"})
    if not decisive or any(reason not in REASONS_OF_MEETING_NO_RULE for reason in decisive):
        return None
    return decisive[0]


def hold_back_stopped(
    stopped: pd.DataFrame, removals_held_back: Mapping[str, str], waiting: Mapping[str, str]
) -> pd.DataFrame:
    """Add ``held_back_because``: why nothing is done about a member yet, or "".

    Args:
        stopped: the frame of :func:`find_stopped`.
        removals_held_back: why nobody is taken out of an audience, per list; empty: they may.
        waiting: address to reason, of people who are not yet where they belong, or may not be: until they
            are, they stay where they were.
    """
    reasons = [
        removals_held_back[list_id] or waiting.get(successor, "")
        for list_id, successor in zip(stopped["list_id"], stopped["successor"], strict=True)
    ]
    return stopped.assign(held_back_because=pd.Series(reasons, index=stopped.index, dtype=object))


def waiting_for_creations(
    plan: pd.DataFrame,
    trouble: Mapping[str, str],
    not_entering: Mapping[int, str] = MappingProxyType({}),
) -> list[str]:
    """Return per row of a plan why it is not sent: as the plan says, or because an audience takes nothing.

    Args:
        plan: rows of ``audience_plan``.
        trouble: audience (its name in the settings) to the reason why nothing can be written to it.
            People who should enter it stay where they were until they are there.
        not_entering: index of a row that creates somebody whom Mailchimp refused before, and what it said.
    """
    reasons = [
        because or trouble.get(audience, "")
        for because, audience in zip(plan["held_back_because"], plan["audience"], strict=True)
    ]
    entering = plan[plan["operation"] == Operation.CREATE]
    why = entering["audience"].map(trouble)
    why = pd.Series(
        [not_entering.get(at, because) for at, because in zip(why.index, why, strict=True)],
        index=entering.index,
        dtype=object,
    )
    entering, why = entering[why.notna()], why[why.notna()]
    waiting: dict[object, str] = dict(zip(entering["email"], why, strict=True))
    waiting |= {
        int(partner): reason
        for partner, reason in zip(entering["partner_id"], why, strict=True)
        if not pd.isna(partner)
    }
    leaving = plan["cause"].isin(["moved", "email_changed"])
    leaving &= plan["operation"].isin([Operation.ARCHIVE, Operation.TAG, Operation.UNTAG])
    return [
        reason
        or (
            waiting.get(email) or ("" if pd.isna(partner) else waiting.get(int(partner), ""))
            if leaves
            else ""
        )
        for reason, leaves, email, partner in zip(
            reasons, leaving, plan["email"], plan["partner_id"], strict=True
        )
    ]


def rows_for_stopped(
    stopped: pd.DataFrame, tags_of_list: Mapping[str, Collection[str]]
) -> list[pd.DataFrame]:
    """Make plan rows: archive whom we may, mark the others and take our tags from them.

    Args:
        stopped: the frame of :func:`hold_back_stopped`.
        tags_of_list: names of the tags in the settings, per list.
    """
    if stopped.empty:
        return []
    archived = stopped[stopped["may_archive"].astype(bool)]
    kept = stopped[~stopped["may_archive"].astype(bool)]
    parts = []
    if len(archived):
        rows = _row_columns(archived, Operation.ARCHIVE)
        rows["before_json"] = [canonical_json({"status": status}) for status in archived["status"]]
        parts.append(rows)
    tagged, untagged = [], []
    for at, (list_id, observed) in enumerate(zip(kept["list_id"], kept["observed_tags"], strict=True)):
        present = {tag.casefold() for tag in names(observed)}
        untagged += [(at, tag) for tag in tags_of_list[list_id] if tag.casefold() in present]
        if NOT_QUALIFYING_TAG not in present:
            tagged.append((at, NOT_QUALIFYING_TAG))
    for operation, pairs in ((Operation.UNTAG, untagged), (Operation.TAG, tagged)):
        if pairs:
            rows = _row_columns(kept.iloc[[at for at, _ in pairs]], operation)
            rows["tag"] = [tag for _, tag in pairs]
            parts.append(rows)
    return parts


def _row_columns(members: pd.DataFrame, operation: str) -> pd.DataFrame:
    columns = ["audience", "list_id", "email", "subscriber_hash", "partner_id", "cause", "because"]
    rows = members[[*columns, "held_back_because"]].reset_index(drop=True)
    rows.insert(0, "operation", operation)
    return rows
