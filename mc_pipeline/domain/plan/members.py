"""Who becomes a member, whose fields are written, and who is subscribed on newer evidence (rules 4 and 6.4).

Only people who are not members get a status (``consent.status_for_new`` decides it), and those of the upgrade
of rule 4.4.
"""

import json
from collections.abc import Collection, Iterable, Mapping, Set
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from mc_pipeline.digests import body_digest, canonical_json
from mc_pipeline.domain.company import UpgradeRules
from mc_pipeline.domain.consent.changed_addresses import CHANGED_IN_MAILCHIMP
from mc_pipeline.domain.consent.evidence import MAILING_LIST
from mc_pipeline.domain.consent.status_for_new import status_in_run
from mc_pipeline.domain.contacts.names import SPLIT, NameFields, decide_names
from mc_pipeline.domain.plan.fields import differing_fields, is_empty, language_to_send
from mc_pipeline.domain.plan.not_taken_back import NOT_TAKEN_BACK
from mc_pipeline.domain.plan.refusal_causes import OUTSIDE_THE_PERSON
from mc_pipeline.domain.plan.view import AudienceView, parse
from mc_pipeline.vocabulary import MARKETING_STATUSES, REACHABLE_STATUSES, MemberStatus, Operation

STATUSES_FOR_NEW = REACHABLE_STATUSES | {""}
_ONE_DAY = timedelta(days=1)

_MEMBER = ("audience", "list_id", "email", "subscriber_hash", "partner_id")


def decide_creations(
    view: AudienceView,
    *,
    covered: Collection[tuple[str, str]],
    inheriting: Set[str],
    withdrawn: Set[tuple[str, str]] = frozenset(),
    double_optin_list_ids: Set[str],
    first_load_list_ids: Set[str],
    consent_of_list: Mapping[str, UpgradeRules | None],
    planned_at: datetime,
    asked_to_confirm: Mapping[tuple[str, str], datetime] = MappingProxyType({}),
    of_first_load: Set[tuple[str, str]] = frozenset(),
    unseen_list_ids: Set[str] = frozenset(),
    members_unseen: Mapping[str, str] = MappingProxyType({}),
    not_taken_back: Set[str] = frozenset(),
) -> pd.DataFrame:
    """Decide for every contact who is no member: created with which status and why, or why not.

    Args:
        view: desired, observed and recorded state.
        covered: (list_id, address) that a renamed member takes.
        inheriting: addresses of persons who opted out under a former address.
        withdrawn: list id and address of people who took back the consent that the audience relied on.
        double_optin_list_ids: audiences that ask people to confirm.
        first_load_list_ids: audiences whose first load is not over.
        consent_of_list: consent settings, per list.
        planned_at: time of planning; confirmations are counted over the 24 hours before it.
        asked_to_confirm: list id and address to the time at which we asked them to confirm. An address is
            asked once, no matter who has it now.
        of_first_load: list id and address of people whom a first load tried to create.
        unseen_list_ids: audiences of which nothing was read. Who was a member there is left alone.
        members_unseen: address to list id of members of such an audience, by the ledger: they do not enter
            another one as newcomers, they move.
        not_taken_back: addresses that Mailchimp refused permanently: created in no audience.

    Returns:
        The rows of ``view.desired`` that are absent or archived, with the columns ``status``
        (to create with; empty: not created), ``cause``, ``because``, ``left_out`` (reason code when not
        created), ``moved_from`` (the list ids that somebody moves from) and ``held_back_because``.

    Raises:
        ValueError: a contact has a status that nobody may be created with.
    """
    wanted = view.desired
    unknown = set(wanted["status_for_new"].unique()) - STATUSES_FOR_NEW if len(wanted) else set()
    if unknown:
        raise ValueError(
            f"contacts have status_for_new {sorted(map(str, unknown))[0]!r}; allowed are transactional, "
            "subscribed, pending and an empty one for people who are not created"
        )
    archived = wanted["status"] == MemberStatus.ARCHIVED
    absent = wanted["status"].isna() & ~(wanted["list_id"].isin(unseen_list_ids) & wanted["was_member"])
    takes_over = _is_in(wanted, covered)
    rows = wanted[(absent & ~takes_over) | archived].copy()
    returning = (rows["status"] == MemberStatus.ARCHIVED).to_numpy(dtype=bool)
    archived_by_us = rows["archived_by_us"].to_numpy(dtype=bool)
    own = rows["status_for_new"].to_numpy(dtype=object)
    email = rows["email"]
    blocked = email.isin(view.blocked).to_numpy(dtype=bool)
    took_back = _is_in(rows, withdrawn).to_numpy(dtype=bool)
    inherits = email.isin(inheriting).to_numpy(dtype=bool) | took_back
    blacklisted = email.isin(view.blacklisted).to_numpy(dtype=bool)
    known = rows["was_member"].to_numpy(dtype=bool)
    vanished = rows["vanished"].to_numpy(dtype=bool)
    never_subscribed = ~(rows["ever_subscribed"] | rows["opted_out"]).to_numpy(dtype=bool)

    left_out = np.full(len(rows), "", dtype=object)
    left_out[own == ""] = "left_out"
    left_out[~returning & known] = "absent"
    left_out[~returning & vanished] = "vanished"
    # Who said no since stays archived: coming back would reach them until they are unsubscribed again.
    left_out[returning & (inherits | ~(archived_by_us & never_subscribed))] = "archived"
    left_out[blacklisted] = "blacklisted"
    left_out[email.isin(not_taken_back).to_numpy(dtype=bool)] = NOT_TAKEN_BACK
    left_out[email.isin(view.left_behind).to_numpy(dtype=bool)] = CHANGED_IN_MAILCHIMP

    changed = email.isin(set(view.former_addresses["email"])).to_numpy(dtype=bool)
    own_evidence = np.fromiter(
        (parse(evidence).get("kind") == MAILING_LIST for evidence in rows["evidence_json"]), bool, len(rows)
    )
    double = rows["list_id"].isin(double_optin_list_ids).to_numpy(dtype=bool)
    first_load = rows["list_id"].isin(first_load_list_ids).to_numpy(dtype=bool)
    first_load = first_load | _is_in(rows, of_first_load).to_numpy(dtype=bool)
    asked_before = email.isin({address for _, address in asked_to_confirm}).to_numpy(dtype=bool)

    status = np.array(
        [
            status_in_run(
                allowed,
                left_out=reason,
                inherits_opt_out=inherited,
                ever_opted_out=opted_out,
                returns=returns,
                consented_elsewhere=elsewhere,
                double_optin=confirms,
                first_load=loading,
                asked_before=asked,
            )
            for allowed, reason, inherited, opted_out, returns, elsewhere, confirms, loading, asked in zip(
                own,
                left_out,
                inherits,
                blocked,
                returning,
                changed & ~own_evidence,
                double,
                first_load,
                asked_before,
                strict=True,
            )
        ],
        dtype=object,
    )
    marketing = np.isin(own.astype(str), sorted(MARKETING_STATUSES))
    rows["status_now"] = rows["status"]
    rows["status"] = status
    rows["left_out"] = left_out

    cause = np.full(len(rows), "new_contact", dtype=object)
    elsewhere = _managed_elsewhere(view, members_unseen)
    cause[email.isin(elsewhere).to_numpy(dtype=bool)] = "moved"
    rows["moved_from"] = [elsewhere.get(address, ()) for address in email]
    cause[changed] = "email_changed"
    cause[returning] = "returning"
    rows["cause"] = cause
    not_asked = np.where(
        (own == MemberStatus.PENDING) & asked_before,
        "was asked to confirm before, and is asked once only",
        np.where((own == MemberStatus.PENDING) & first_load, "a first load asks nobody to confirm", ""),
    )
    rows["because"] = _sentences(status, cause, marketing, blocked, took_back, not_asked)
    rows["held_back_because"] = _beyond_daily_confirmations(
        rows, asked_to_confirm, consent_of_list, planned_at
    )
    return rows


def _sentences(
    status: np.ndarray,
    cause: np.ndarray,
    marketing: np.ndarray,
    blocked: np.ndarray,
    took_back: np.ndarray,
    not_asked: np.ndarray,
) -> list[str]:
    opening = {
        "new_contact": "not in the audience yet",
        "moved": "moved here from another audience",
        "email_changed": "a new e-mail in Odoo, so a new person here",
        "returning": "archived by this pipeline and qualifying again",
    }
    texts = []
    for new, why, had_evidence, stopped, withdrew, asked in zip(
        status, cause, marketing, blocked, took_back, not_asked, strict=True
    ):
        text = opening[why]
        if new == MemberStatus.UNSUBSCRIBED and withdrew:
            text += "; withdrew the consent that this audience relied on"
        elif new == MemberStatus.UNSUBSCRIBED:
            text += "; opted out under the former e-mail"
        elif new == MemberStatus.TRANSACTIONAL and had_evidence:
            text += (
                "; consent is void after an opt-out, a bounce or an archiving"
                if stopped
                else "; returns without marketing consent"
                if why == "returning"
                else f"; {asked}"
                if asked
                else "; the consent was given for another e-mail, or may not be used without confirmation"
            )
        texts.append(text)
    return texts


def _beyond_daily_confirmations(
    rows: pd.DataFrame,
    asked_to_confirm: Mapping[tuple[str, str], datetime],
    consent_of_list: Mapping[str, UpgradeRules | None],
    planned_at: datetime,
) -> list[str]:
    """Hold back confirmation mails beyond the number of a day; the rest follows on later days."""
    held = pd.Series("", index=rows.index, dtype=object)
    pending = rows[rows["status"] == MemberStatus.PENDING]
    since = planned_at - _ONE_DAY
    for list_id, waiting in pending.groupby("list_id", sort=True):
        consent = consent_of_list[str(list_id)]
        allowed = 0 if consent is None else consent.max_confirmations
        sent = sum(asked == list_id and at > since for (asked, _), at in asked_to_confirm.items())
        late = waiting.sort_values("email").index[max(0, allowed - sent) :]
        held[late] = f"at most {allowed} confirmation mails are sent a day"
    return held.tolist()


def _managed_elsewhere(view: AudienceView, members_unseen: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Address to list ids of the members whom we wrote to; those who are archived aside."""
    live = view.present[view.present["managed"] & (view.present["status"] != MemberStatus.ARCHIVED)]
    found: dict[str, tuple[str, ...]] = {email: (list_id,) for email, list_id in members_unseen.items()}
    for email, list_id in zip(live["email"], live["list_id"], strict=True):
        found[email] = (*found.get(email, ()), list_id)
    return found


def _is_in(rows: pd.DataFrame, keys: Collection[tuple[str, str]]) -> pd.Series:
    if not keys:
        return pd.Series(False, index=rows.index)
    found = [key in keys for key in zip(rows["list_id"], rows["email"], strict=True)]
    return pd.Series(found, index=rows.index, dtype=bool)


def rows_for_creations(
    decided: pd.DataFrame,
    fields_of_list: Mapping[str, Collection[str]],
    names_of_list: Mapping[str, NameFields],
    planned_at: datetime,
    *,
    removals_held_back: Mapping[str, str],
    creations_held_back: Mapping[str, str],
    reachable_held_back_because: str,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Make the plan's create rows; return them and the people whom Mailchimp refused in just this form.

    Args:
        decided: the frame of :func:`decide_creations`.
        fields_of_list: merge tags of the settings, per list.
        names_of_list: where names stand, per list.
        planned_at: a refusal "for now" is tried again from its time on.
        removals_held_back: why nobody leaves an audience for another one, per list; empty: they may.
        creations_held_back: why nobody is created in an audience, per list.
        reachable_held_back_because: why nobody is created as subscribed or pending.
    """
    rows = decided[decided["status"] != ""]
    bodies = [
        canonical_json(
            _creation_body(
                email,
                status,
                # An archived member has fields, which come back with it.
                decide_names(
                    parse(fields),
                    one_name,
                    names_of_list[list_id],
                    parse(observed),
                    parse(sent_json).get("merge_fields") or {},
                ).desired,
                language,
                evidence,
                fields_of_list[list_id],
            )
        )
        for email, status, fields, one_name, observed, sent_json, language, evidence, list_id in zip(
            rows["email"],
            rows["status"],
            rows["merge_fields_json"],
            rows["one_name"],
            rows["observed_fields_json"],
            rows["sent_json"],
            rows["language"],
            rows["evidence_json"],
            rows["list_id"],
            strict=True,
        )
    ]
    refused = still_refused(rows, bodies, planned_at)
    held = [
        creations_held_back[list_id]
        or (_first(removals_held_back[origin] for origin in moved_from) if cause == "moved" else "")
        or (reachable_held_back_because if status in MARKETING_STATUSES else "")
        or beyond
        for list_id, cause, status, moved_from, beyond in zip(
            rows["list_id"],
            rows["cause"],
            rows["status"],
            rows["moved_from"],
            rows["held_back_because"],
            strict=True,
        )
    ]
    created = rows[
        ["audience", "list_id", "email", "subscriber_hash", "partner_id", "status", "cause", "because"]
    ]
    created = created.assign(
        operation=Operation.CREATE,
        after_json=bodies,
        before_json=[
            canonical_json({"status": MemberStatus.ARCHIVED}) if cause == "returning" else "{}"
            for cause in rows["cause"]
        ],
        held_back_because=held,
    )
    return created[~refused], rows[refused]


def _first(reasons: Iterable[str]) -> str:
    return next((reason for reason in reasons if reason), "")


def _creation_body(
    email: str,
    status: str,
    desired: Mapping[str, Any],
    language: Any,
    evidence_json: Any,
    tags: Collection[str],
) -> dict[str, Any]:
    fields = {tag: value for tag, value in desired.items() if tag in tags and not is_empty(value)}
    body: dict[str, Any] = {"email_address": email, "status": status, "merge_fields": fields}
    if isinstance(language, str) and language:
        body["language"] = language
    if status in MARKETING_STATUSES:
        at = evidence_time(evidence_json)
        if at is not None:
            body["timestamp_signup"] = at.isoformat()
            if status == MemberStatus.SUBSCRIBED:
                body["timestamp_opt"] = at.isoformat()
    return body


def evidence_time(evidence_json: Any) -> datetime | None:
    """Time of the evidence that counts, in UTC to the second; None when it has none."""
    value = parse(evidence_json).get("at")
    if not value:
        return None
    at = datetime.fromisoformat(value)
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return at.astimezone(UTC).replace(microsecond=0)


def still_refused(rows: pd.DataFrame, bodies: Collection[str], planned_at: datetime) -> np.ndarray:
    """Return which bodies Mailchimp refused before and should not be sent again yet.

    What was refused for a cause outside the person stays in the plan: the push tries some of it.
    """
    refused = np.zeros(len(rows), dtype=bool)
    keys = rows["rejection_key"].to_numpy(dtype=object)
    retry = rows["retry_at"]
    waiting = ~rows["rejection_cause"].isin(list(OUTSIDE_THE_PERSON)).to_numpy(dtype=bool)
    waiting &= (retry.isna() | (retry > pd.Timestamp(planned_at))).to_numpy(dtype=bool)
    for at, (key, body) in enumerate(zip(keys, bodies, strict=True)):
        if isinstance(key, str) and waiting[at] and key == body_digest(body):
            refused[at] = True
    return refused


def rows_for_updates(
    members: pd.DataFrame,
    fields_of_list: Mapping[str, Collection[str]],
    types_of_list: Mapping[str, Mapping[str, str]],
    names_of_list: Mapping[str, NameFields],
    planned_at: datetime,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Make update rows for members whose fields or language differ; return them and the refused ones.

    Args:
        members: rows like ``view.desired`` that are members and not archived.
        fields_of_list: merge tags of the settings, per list.
        types_of_list: Mailchimp's type of each merge field, per list, as far as known.
        names_of_list: where names stand, per list.
        planned_at: a refusal "for now" is tried again from its time on.
    """
    at: list[int] = []
    before: list[str] = []
    after: list[str] = []
    for position, changes in enumerate(field_changes(members, fields_of_list, types_of_list, names_of_list)):
        if changes is not None:
            at.append(position)
            before.append(canonical_json(changes[0]))
            after.append(canonical_json(changes[1]))
    rows = members.iloc[at]
    updated = rows[list(_MEMBER)].assign(
        operation=Operation.UPDATE,
        cause="fields_differ",
        because=[
            f"differs from Odoo: {', '.join(_changed(body))}"
            + _about_names(body, wanted, names_of_list[list_id])
            for body, wanted, list_id in zip(
                map(json.loads, after), map(parse, rows["merge_fields_json"]), rows["list_id"], strict=True
            )
        ],
        before_json=before,
        after_json=after,
    )
    refused = still_refused(rows, after, planned_at)
    return updated[~refused], rows[refused]


def _changed(body: Mapping[str, Any]) -> list[str]:
    return [*body.get("merge_fields", {}), *(["language"] if "language" in body else [])]


def _about_names(body: Mapping[str, Any], wanted: Mapping[str, Any], names: NameFields) -> str:
    """Say why a first name is not the whole name of Odoo."""
    fields = body.get("merge_fields", {})
    shortened = [tag for tag in names.first if tag in fields and fields[tag] != wanted.get(tag)]
    if not shortened or names.names == SPLIT:
        return ""
    return (
        f"; {' and '.join(shortened)} without the last name, which is in {' and '.join(names.read)} and "
        "was not written by this pipeline"
    )


def field_changes(
    members: pd.DataFrame,
    fields_of_list: Mapping[str, Collection[str]],
    types_of_list: Mapping[str, Mapping[str, str]],
    names_of_list: Mapping[str, NameFields],
) -> "list[tuple[dict[str, Any], dict[str, Any]] | None]":
    """Compare each member with what it should be: (what Mailchimp has, what to send), None when equal."""
    changes: list[tuple[dict[str, Any], dict[str, Any]] | None] = []
    for list_id, wanted, one_name, observed, sent_json, returned_json, language, observed_language in zip(
        members["list_id"],
        members["merge_fields_json"],
        members["one_name"],
        members["observed_fields_json"],
        members["sent_json"],
        members["returned_json"],
        members["language"],
        members["observed_language"],
        strict=True,
    ):
        new_language = None
        if isinstance(language, str) and language != observed_language:
            new_language = language_to_send(
                language,
                observed_language if isinstance(observed_language, str) else None,
                parse(sent_json).get("language"),
                parse(returned_json).get("language"),
            )
        if wanted == observed and not one_name and new_language is None:
            changes.append(None)
            continue
        managed = fields_of_list[list_id]
        desired = {tag: value for tag, value in parse(wanted).items() if tag in managed}
        present = parse(observed)
        sent = parse(sent_json).get("merge_fields") or {}
        desired = decide_names(desired, one_name, names_of_list[list_id], present, sent).desired
        if desired.items() <= present.items() and new_language is None:
            changes.append(None)
            continue
        fields = differing_fields(
            desired,
            present,
            sent,
            parse(returned_json).get("merge_fields") or {},
            types_of_list.get(list_id, {}),
        )
        before: dict[str, Any] = {}
        after: dict[str, Any] = {}
        if fields:
            after["merge_fields"] = fields
            before["merge_fields"] = {tag: present.get(tag, "") for tag in fields}
        if new_language is not None:
            after["language"] = new_language
            before["language"] = observed_language if isinstance(observed_language, str) else ""
        changes.append((before, after) if after else None)
    return changes


def decide_upgrades(
    view: AudienceView,
    consent_of_list: Mapping[str, UpgradeRules | None],
    double_optin_list_ids: Set[str],
    lost_evidence: Set[tuple[str, datetime]] = frozenset(),
) -> pd.DataFrame:
    """Judge every transactional member whose contact has dated evidence of consent (rule 4.4).

    ``lost_evidence``: source and date (UTC, whole seconds) of consent whose contact is gone from Odoo without
    a trace: a merge copies it, so that it may be another contact's.

    Returns:
        Those rows of ``view.desired`` with ``consented_at`` and ``why_not``: empty when the member may be
        subscribed, else the reason for leaving the status alone.
    """
    rows = view.desired[
        (view.desired["status"] == MemberStatus.TRANSACTIONAL) & view.desired["evidence_json"].notna()
    ].copy()
    times = [evidence_time(evidence) for evidence in rows["evidence_json"]]
    rows["consented_at"] = pd.to_datetime(pd.Series(times, index=rows.index, dtype=object), utc=True)
    rows = rows[rows["consented_at"].notna()]
    allowed = {
        list_id: consent is not None and consent.upgrade for list_id, consent in consent_of_list.items()
    }
    why_not = np.full(len(rows), "", dtype=object)
    for mask, reason in (
        (
            rows["status_for_new"] != MemberStatus.SUBSCRIBED,
            "the audience does not take this consent as a subscription",
        ),
        (
            ~(rows["consented_at"] > rows["created_at"]),
            "the consent is older than the member, or it is not known when the member was created",
        ),
        (~rows["created_by_us"], "the member was not created by this pipeline"),
        (rows["ever_subscribed"], "the member was subscribed before"),
        (
            rows["email"].isin(view.blocked) | rows["opted_out"],
            "the address opted out, bounced or was archived before",
        ),
        (rows["list_id"].isin(double_optin_list_ids), "the audience asks people to confirm"),
        (
            pd.Series(
                [
                    (parse(evidence).get("source"), evidence_time(evidence)) in lost_evidence
                    for evidence in rows["evidence_json"]
                ],
                index=rows.index,
                dtype=bool,
            ),
            "the consent may be of a contact that was deleted or merged in Odoo",
        ),
        (~rows["list_id"].map(allowed).astype(bool), "the setting consent.upgrade is off"),
    ):
        why_not[mask.to_numpy(dtype=bool)] = reason
    rows["why_not"] = why_not
    return rows


def rows_for_upgrades(decided: pd.DataFrame, planned_at: datetime) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Make the plan's upgrade rows; return them and the ones that Mailchimp refused in just this form."""
    rows = decided[decided["why_not"] == ""]
    bodies = [
        canonical_json({"status": MemberStatus.SUBSCRIBED, "timestamp_opt": at.isoformat()})
        for at in rows["consented_at"]
    ]
    upgraded = rows[list(_MEMBER)].assign(
        operation=Operation.UPGRADE,
        status=MemberStatus.SUBSCRIBED,
        cause="consent_given",
        because=[
            f"consented in Odoo on {at:%Y-%m-%d}, after the member was created" for at in rows["consented_at"]
        ],
        before_json=canonical_json({"status": MemberStatus.TRANSACTIONAL}),
        after_json=bodies,
    )
    refused = still_refused(rows, bodies, planned_at)
    return upgraded[~refused], rows[refused]
