"""The plan: what should be minus what is, and who is left alone for which reason.

Puts together what ``members``, ``renames``, ``archiving``, ``permissions`` and ``tags`` decide. Nothing is
sent here, and no rule about sending (guards, age of the observation) is known here.
"""

from collections.abc import Mapping, Set
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pandas as pd

from mc_pipeline.digests import canonical_json
from mc_pipeline.domain.completeness import Completeness
from mc_pipeline.domain.consent.changed_addresses import CHANGED_IN_MAILCHIMP, why_left_behind
from mc_pipeline.domain.consent.held_addresses import (
    Held,
    HeldAddresses,
    addresses_inheriting_opt_outs,
    as_of_now,
    present_addresses,
)
from mc_pipeline.domain.contacts.names import NOT_DECIDED, NameFields
from mc_pipeline.domain.contacts.names_not_decided import names_not_decided, why_not_decided
from mc_pipeline.domain.plan.archiving import find_stopped, hold_back_stopped, rows_for_stopped
from mc_pipeline.domain.plan.inputs import PlanInputs
from mc_pipeline.domain.plan.members import (
    decide_creations,
    decide_upgrades,
    field_changes,
    rows_for_creations,
    rows_for_updates,
    rows_for_upgrades,
    still_refused,
)
from mc_pipeline.domain.plan.not_taken_back import NOT_TAKEN_BACK, RefusalLike, why_not_taken_back
from mc_pipeline.domain.plan.permissions import rows_for_permissions
from mc_pipeline.domain.plan.renames import find_renames
from mc_pipeline.domain.plan.rows import NOT_QUALIFYING_TAG, PLAN_COLUMNS, assemble, empty_plan
from mc_pipeline.domain.plan.tags import rows_for_tags
from mc_pipeline.domain.plan.view import AudienceView, view_audiences
from mc_pipeline.vocabulary import MemberStatus, Operation

__all__ = [
    "NOT_QUALIFYING_TAG",
    "PLAN_COLUMNS",
    "AudienceChanges",
    "Completeness",
    "decide_changes",
    "empty_plan",
]


@dataclass(frozen=True)
class AudienceChanges:
    """The plan of one company, and the people whom it leaves as they are though something is known of them.

    Attributes:
        plan: the rows of ``audience_plan``; see ``rows.PLAN_COLUMNS``. ``sequence`` is the order of
            application; rows with a ``held_back_because`` are shown and not sent.
        consented_not_subscribed: transactional members with dated consent in Odoo whose status stays
            (audience, list_id, email, partner_id, consented_at UTC, because).
        not_written: contacts that are not created or not updated (audience, list_id, email, partner_id,
            reason: blacklisted | vanished | absent | archived | not_taken_back | changed_in_mailchimp |
            name_not_decided | rejected_by_mailchimp, detail); of ``name_not_decided`` the names alone.
    """

    plan: pd.DataFrame
    consented_not_subscribed: pd.DataFrame
    not_written: pd.DataFrame


_NOT_WRITTEN_DETAILS = {
    "blacklisted": "opted out in Odoo and not in the audience: not created",
    "vanished": "permanently deleted in Mailchimp: never created again",
    "absent": "was in the audience and is no longer there: never created again",
    "archived": "archived in Mailchimp: left as it is",
}


def decide_changes(inputs: PlanInputs) -> AudienceChanges:
    """Compare what should be with what is.

    Raises:
        ValueError: a table lacks a column, or names an audience or a status that does not exist.
    """
    view = view_audiences(
        inputs.contacts,
        inputs.members,
        inputs.records,
        inputs.company,
        blacklisted_emails=inputs.blacklisted_emails,
        opted_out_ever=inputs.opted_out_ever,
        unseen_list_ids=inputs.completeness.unseen,
        changed=inputs.changed,
    )
    audiences = inputs.company.audiences.values()
    fields_of_list = {audience.list_id: frozenset(audience.merge_fields) for audience in audiences}
    tags_of_list = {audience.list_id: tuple(audience.tags) for audience in audiences}
    consent_of_list = {audience.list_id: audience.consent for audience in audiences}
    names_of_list = {audience.list_id: NameFields.of(audience) for audience in audiences}
    list_ids = list(fields_of_list)
    removals_held = {name: inputs.completeness.removals_held_back_because(name) for name in list_ids}
    creations_held = {name: inputs.completeness.creations_held_back_because(name) for name in list_ids}
    reachable_held = inputs.completeness.reachable_held_back_because

    inheriting = _inheriting(view, inputs)
    renames = _renames(
        view,
        inputs.partners,
        fields_of_list,
        inputs.merge_field_types,
        names_of_list,
        removals_held,
        reachable_held,
        inputs.planned_at,
    )
    covered = set(zip(renames["list_id"], renames["new_email"], strict=True))
    renamed = set(zip(renames["list_id"], renames["email"], strict=True))

    decided = decide_creations(
        view,
        covered=covered,
        inheriting=inheriting,
        withdrawn=inputs.withdrawn,
        double_optin_list_ids=inputs.double_optin_list_ids,
        first_load_list_ids=inputs.first_load_list_ids,
        consent_of_list=consent_of_list,
        planned_at=inputs.planned_at,
        asked_to_confirm=inputs.asked_to_confirm,
        of_first_load=inputs.of_first_load,
        unseen_list_ids=inputs.completeness.unseen,
        members_unseen=_members_unseen(view, inputs.completeness.unseen_and_there),
        not_taken_back=frozenset(inputs.not_taken_back),
    )
    created, refused_creations = rows_for_creations(
        decided,
        fields_of_list,
        names_of_list,
        inputs.planned_at,
        removals_held_back=removals_held,
        creations_held_back=creations_held,
        reachable_held_back_because=reachable_held,
    )
    # a member that gets another address is no longer the one to update under the old one
    keys = list(zip(view.desired["list_id"], view.desired["email"], strict=True))
    # who has an address that its owner left is somebody else, until Odoo is corrected
    taken = {(change.list_id, email) for email, change in view.left_behind.items()}
    left_alone = renamed | covered | taken
    stays = pd.Series([key not in left_alone for key in keys], index=view.desired.index, dtype=bool)
    live = view.desired[
        view.desired["status"].notna() & (view.desired["status"] != MemberStatus.ARCHIVED) & stays
    ]
    updated, refused_updates = rows_for_updates(
        live, fields_of_list, inputs.merge_field_types, names_of_list, inputs.planned_at
    )
    upgrades = decide_upgrades(view, consent_of_list, inputs.double_optin_list_ids, inputs.lost_evidence)
    upgraded, _ = rows_for_upgrades(upgrades[stays.loc[upgrades.index]], inputs.planned_at)
    upgraded = upgraded.assign(held_back_because=reachable_held)

    wanted_permissions = {
        list_id: tuple(consent.marketing_permissions)
        for list_id, consent in consent_of_list.items()
        if consent is not None and list_id in inputs.permission_list_ids
    }
    stopped = hold_back_stopped(
        find_stopped(view, inputs.set_aside, inputs.partners, renamed),
        removals_held,
        _not_where_they_belong(view, created, creations_held, inputs.completeness.unseen),
    )
    sent_creations = created[created["held_back_because"] == ""]
    sent_renames = renames[renames["held_back_because"] == ""]
    permitted = rows_for_permissions(
        live,
        view.desired.loc[sent_creations.index[sent_creations["status"] == MemberStatus.SUBSCRIBED]],
        _still_subscribed(live, inputs.subscribed_by_us)
        | set(zip(upgraded["list_id"], upgraded["email"], strict=True)),
        view.blocked,
        wanted_permissions,
        inputs.permissions_said,
        view.former_addresses,
        inputs.planned_at,
    ).assign(held_back_because=reachable_held)
    tagged = [live, view.desired.loc[sent_creations.index]]
    if len(sent_renames):
        tagged.append(_taking_over(view, sent_renames))
    parts = [
        renames,
        created,
        updated,
        upgraded,
        permitted,
        *rows_for_stopped(stopped, tags_of_list),
        *rows_for_tags(pd.concat(tagged, ignore_index=True), tags_of_list, removals_held),
    ]
    return AudienceChanges(
        assemble(inputs.company.key, parts),
        _consented_not_subscribed(upgrades),
        _not_written(
            view,
            decided,
            inputs.not_taken_back,
            names_not_decided(live, names_of_list),
            refused_creations,
            refused_updates,
        ),
    )


def _inheriting(view: AudienceView, inputs: PlanInputs) -> Set[str]:
    """Present addresses of people who opted out under a former one: by what Odoo showed and what we sent."""
    rows = list(inputs.held_addresses)
    # An address that somebody took in Mailchimp, and that Odoo does not know, is no former one of Odoo's.
    in_mailchimp = {change.email for change in inputs.changed}
    known = {(row.partner_id, row.email) for row in rows}
    sent = view.records[view.records["partner_id"].notna() & view.records["email"].isin(view.opted_out)]
    for partner, email, at in zip(
        sent["partner_id"].astype("int64"), sent["email"], sent["created_at"], strict=True
    ):
        if (int(partner), email) not in known and email not in in_mailchimp:
            rows.append(Held(int(partner), email, inputs.planned_at if pd.isna(at) else at.to_pydatetime()))
    present = present_addresses(inputs.partners["partner_id"], inputs.partners["email_normalized"])
    held = HeldAddresses(as_of_now(rows, present, inputs.planned_at, view.opted_out), inputs.successors)
    return addresses_inheriting_opt_outs(
        held, present, {email: inputs.opted_out_since.get(email) for email in view.opted_out}
    )


def _members_unseen(view: AudienceView, list_ids: Set[str]) -> Mapping[str, str]:
    """Address to list id of people who were members, and ours to care for, where nothing was read now."""
    known = view.records[view.records["list_id"].isin(list_ids) & view.records["managed"]]
    there = (
        known["last_status"].notna() & (known["last_status"] != MemberStatus.ARCHIVED) & ~known["vanished"]
    )
    there &= known["absent_reads"].fillna(0).astype("int64") == 0
    return dict(zip(known.loc[there, "email"], known.loc[there, "list_id"], strict=True))


def _not_where_they_belong(
    view: AudienceView,
    created: pd.DataFrame,
    creations_held: Mapping[str, str],
    unseen_list_ids: Set[str],
) -> dict[str, str]:
    """Address to reason, of people whose creation waits, or of whom it is not known if they are there."""
    unseen = view.desired[view.desired["list_id"].isin(unseen_list_ids)]
    waiting = {
        str(email): creations_held[str(list_id)]
        for email, list_id in zip(unseen["email"], unseen["list_id"], strict=True)
    }
    held = created[created["held_back_because"] != ""]
    return waiting | dict(zip(held["email"], held["held_back_because"], strict=True))


def _renames(
    view: AudienceView,
    partners: pd.DataFrame,
    fields_of_list: Mapping[str, Set[str]],
    types_of_list: Mapping[str, Mapping[str, str]],
    names_of_list: Mapping[str, NameFields],
    removals_held: Mapping[str, str],
    reachable_held: str,
    planned_at: datetime,
) -> pd.DataFrame:
    """Make the change_email rows, each with the fields that differ as well: one write per member."""
    renames = find_renames(view, set(partners["email_normalized"].dropna()))
    renames = renames.assign(operation=Operation.CHANGE_EMAIL, cause="email_changed", held_back_because="")
    if renames.empty:
        return renames.assign(before_json="", after_json="", because="", subscriber_hash="")
    members = _taking_over(view, renames)
    before: list[str] = []
    after: list[str] = []
    changes = field_changes(members, fields_of_list, types_of_list, names_of_list)
    for old, new, change in zip(renames["email"], renames["new_email"], changes, strict=True):
        observed, body = change or ({}, {})
        before.append(canonical_json({**observed, "email_address": old}))
        after.append(canonical_json({**body, "email_address": new}))
    refused = still_refused(members, after, planned_at)
    reasons = [
        removals_held[list_id]
        or (reachable_held if status == MemberStatus.SUBSCRIBED else "")
        or ("Mailchimp refused this change; it is tried again when the contact changes" if no else "")
        for list_id, status, no in zip(renames["list_id"], members["status"], refused, strict=True)
    ]
    return renames.assign(
        before_json=before,
        after_json=after,
        because="the partner's e-mail changed in Odoo",
        subscriber_hash=members["subscriber_hash"].to_numpy(dtype=object),
        held_back_because=reasons,
    )


def _taking_over(view: AudienceView, renames: pd.DataFrame) -> pd.DataFrame:
    """The renamed members as rows of ``view.desired``: the new address's contact on the old one's member."""
    member_columns = [
        "status",
        "subscriber_hash",
        "observed_fields_json",
        "observed_tags",
        "observed_language",
        "record_tags",
        "sent_json",
        "returned_json",
        "rejection_key",
        "rejection_cause",
        "retry_at",
    ]
    wanted = view.desired.drop(columns=member_columns)
    moves = renames[["list_id", "email", "new_email"]].rename(columns={"email": "old_email"})
    joined = moves.merge(
        wanted.rename(columns={"email": "new_email"}), how="left", on=["list_id", "new_email"]
    )
    members = view.present[["list_id", "email", *member_columns]].rename(columns={"email": "old_email"})
    joined = joined.merge(members, how="left", on=["list_id", "old_email"])
    return joined.rename(columns={"new_email": "email"})


def _still_subscribed(members: pd.DataFrame, subscribed_by_us: Set[tuple[str, str]]) -> Set[tuple[str, str]]:
    subscribed = members[members["status"] == MemberStatus.SUBSCRIBED]
    return subscribed_by_us & set(zip(subscribed["list_id"], subscribed["email"], strict=True))


def _consented_not_subscribed(upgrades: pd.DataFrame) -> pd.DataFrame:
    kept = upgrades[upgrades["why_not"] != ""]
    kept = kept[["audience", "list_id", "email", "partner_id", "consented_at", "why_not"]]
    return kept.rename(columns={"why_not": "because"}).reset_index(drop=True)


def _not_written(
    view: AudienceView,
    decided: pd.DataFrame,
    not_taken_back: Mapping[str, RefusalLike],
    not_decided: pd.DataFrame,
    *refused: pd.DataFrame,
) -> pd.DataFrame:
    columns = ["audience", "list_id", "email", "partner_id", "reason", "detail"]
    left = decided[decided["left_out"].isin(set(_NOT_WRITTEN_DETAILS))]
    parts = [left.assign(reason=left["left_out"], detail=left["left_out"].map(_NOT_WRITTEN_DETAILS))]
    kept_out = decided[decided["left_out"] == NOT_TAKEN_BACK]
    parts.append(
        kept_out.assign(
            reason=NOT_TAKEN_BACK,
            detail=[why_not_taken_back(not_taken_back[email]) for email in kept_out["email"]],
        )
    )
    changed = decided[decided["left_out"] == CHANGED_IN_MAILCHIMP]
    audience_of = dict(zip(view.desired["list_id"], view.desired["audience"], strict=True))
    behind = [view.left_behind[email] for email in changed["email"]]
    parts.append(
        changed.assign(
            reason=CHANGED_IN_MAILCHIMP,
            detail=[
                why_left_behind(change, audience_of.get(change.list_id, change.list_id)) for change in behind
            ],
        )
    )
    parts.append(
        not_decided.assign(
            reason=NOT_DECIDED, detail=[why_not_decided(str(tag)) for tag in not_decided["last_name_in"]]
        )
    )
    for rows in refused:
        titles: list[Any] = rows["rejection_title"].tolist()
        parts.append(
            rows.assign(
                reason="rejected_by_mailchimp",
                detail=[title if isinstance(title, str) else "refused by Mailchimp" for title in titles],
            )
        )
    together = pd.concat([part[columns] for part in parts], ignore_index=True)
    return together.sort_values(["list_id", "email", "reason"], ignore_index=True)
