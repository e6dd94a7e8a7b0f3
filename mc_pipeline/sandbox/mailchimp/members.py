"""What may happen to a member, through the API and by people's own acts.

Where Mailchimp's behaviour is not documented, the reading under which careless code does harm is taken:
archived members come back through any create or upsert, an opt-out made through the API can be undone
through the API, tags in a create are not applied.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mc_pipeline.sandbox.mailchimp import merge_fields, segments
from mc_pipeline.sandbox.mailchimp.problems import (
    ApiError,
    contact_limit_reached,
    forgotten,
    in_compliance_state,
    invalid,
    member_exists,
    method_not_allowed,
    not_found,
    not_validated,
    too_many_signups,
)
from mc_pipeline.sandbox.mailchimp.state import (
    LOOKS_FAKE,
    Actor,
    Audience,
    MailchimpState,
    Member,
    is_address,
    subscriber_hash,
)
from mc_pipeline.sandbox.mailchimp.times import parsed, written
from mc_pipeline.sandbox.mailchimp.webhooks import report

PENDING_LAPSES_AFTER = 60 * 24 * 3600
"""Seconds after which somebody who never confirmed is dropped (Mailchimp API: 60 days)."""

REASON_OF_ADMIN = "N/A (Unsubscribed by an admin)"
"""What the API shows for an opt-out by an administrator and by the API alike."""

SIGNUP_CATEGORIES: Mapping[Actor, str] = {
    "person": "Hosted Signup Form",
    "admin": "Admin Add",
    "api": "API - Generic",
}
"""What the activity feed says of how somebody became subscribed."""

_BULK_LIMIT = 500


# --- writes through the API -------------------------------------------------------------------------


def create_member(
    state: MailchimpState, audience: Audience, body: Mapping[str, Any], *, skip_validation: bool
) -> Member:
    """POST a member: new, or archived (who comes back). An existing one is refused."""
    email = body["email_address"].strip()
    found = audience.members.get(subscriber_hash(email))
    if found is not None and found.status != "archived":
        raise member_exists(email)
    member = _put(state, audience, found, email, body["status"], body, skip_validation=skip_validation)
    for name in body.get("tags") or ():
        segments.tag_member(state, audience, member, name, is_syncing=False)
    return member


def upsert_member(
    state: MailchimpState,
    audience: Audience,
    reference: str,
    body: Mapping[str, Any],
    *,
    skip_validation: bool,
) -> Member:
    """PUT a member. ``status`` overwrites; ``status_if_new`` counts for absent and for archived ones."""
    found = audience.find(reference)
    email = (body.get("email_address") or (found.email_address if found else reference)).strip()
    if found is None and is_address(email):
        found = audience.members.get(subscriber_hash(email))
    status = body.get("status")
    if found is None or found.status == "archived":
        status = status or body.get("status_if_new")
        if status is None:
            raise not_validated(("status_if_new", "This value should not be blank."))
    if found is not None and subscriber_hash(email) != found.id:
        _change_address(state, audience, found, email)
    return _put(state, audience, found, email, status, body, skip_validation=skip_validation)


def update_member(
    state: MailchimpState,
    audience: Audience,
    reference: str,
    body: Mapping[str, Any],
    *,
    skip_validation: bool,
) -> Member:
    """PATCH a member; without a status an archived one stays archived."""
    member = existing(audience, reference)
    email = (body.get("email_address") or member.email_address).strip()
    kept = _accepted(audience, member, body, skip_validation=skip_validation)
    if body.get("status"):
        _check_review(state, body["status"], email)
        _check_transition(member, body["status"], email)
    if email != member.email_address:
        if subscriber_hash(email) == member.id:
            member.email_address = email
        else:
            _change_address(state, audience, member, email)
    _write(state, audience, member, body, kept)
    if body.get("status"):
        known = bool(body.get("timestamp_opt"))
        move(state, audience, member, body["status"], by="api", opt_in_known=known)
    return member


def archive_member(state: MailchimpState, audience: Audience, reference: str) -> None:
    """DELETE a member: archive. Cleaned, pending and archived ones refuse."""
    member = existing(audience, reference)
    if member.status in ("cleaned", "pending", "archived"):
        raise method_not_allowed(
            "GET, PUT", "This list member cannot be removed: a contact that is bounced, pending or archived."
        )
    move(state, audience, member, "archived", by="api")


def delete_permanently(state: MailchimpState, audience: Audience, reference: str, *, by: Actor) -> None:
    """Erase a member; the address can never be imported again."""
    member = existing(audience, reference)
    if by != "person":
        report(
            state,
            audience,
            "unsubscribe",
            by,
            {**_about(audience, member), "action": "delete", "reason": "manual"},
        )
    audience.remove(member)
    audience.forgotten.add(member.id)


def bulk_write(
    state: MailchimpState,
    audience: Audience,
    items: Sequence[Mapping[str, Any]],
    *,
    update_existing: bool,
    sync_tags: bool,
    skip_validation: bool,
    skip_duplicate_check: bool,
) -> tuple[list[Member], list[Member], list[dict[str, str]]]:
    """POST /lists/{id}: new members, updated members, errors. A member at fault stops no other.

    Addresses twice in one call are all refused, or the first wins with ``skip_duplicate_check``. Tags of
    items count only with ``sync_tags``, and then replace all the member's tags.
    """
    if len(items) > _BULK_LIMIT:
        raise not_validated(("members", f"This collection should contain {_BULK_LIMIT} elements or less."))
    addresses = [(item.get("email_address") or "").strip() for item in items]
    seen: dict[str, int] = {}
    for address in addresses:
        seen[address.lower()] = seen.get(address.lower(), 0) + 1
    new: list[Member] = []
    updated: list[Member] = []
    errors: list[dict[str, str]] = []
    done: set[str] = set()
    for item, address in zip(items, addresses, strict=True):
        key = address.lower()
        if seen[key] > 1:
            if not skip_duplicate_check:
                errors.append(_bulk_error(address, "Duplicate email address in this request."))
                continue
            if key in done:
                continue
        done.add(key)
        try:
            found = audience.members.get(subscriber_hash(address))
            is_new = found is None or found.status == "archived"
            if not is_new and not update_existing:
                raise ApiError(
                    400,
                    "Member Exists",
                    f"{address} is already a list member, do you want to update? please provide "
                    "update_existing:true in the request body",
                    code="ERROR_CONTACT_EXISTS",
                )
            status = item.get("status")
            if is_new and status is None:
                raise invalid("A status is required for new contacts.", ("status", "Please enter a value"))
            member = _put(state, audience, found, address, status, item, skip_validation=skip_validation)
            if sync_tags:
                segments.replace_tags(state, audience, member, item.get("tags") or [])
            (new if is_new else updated).append(member)
        except ApiError as problem:
            errors.append(_bulk_error(address, problem.detail, problem))
    return new, updated, errors


def _bulk_error(address: str, text: str, problem: ApiError | None = None) -> dict[str, str]:
    field, message = problem.errors[0] if problem is not None and problem.errors else ("", "")
    return {
        "email_address": address,
        "error": text,
        "error_code": problem.code if problem is not None else "ERROR_GENERIC",
        "field": field,
        "field_message": message,
    }


# --- the rules all writes share ---------------------------------------------------------------------


def existing(audience: Audience, reference: str) -> Member:
    """The member, or 404."""
    member = audience.find(reference)
    if member is None:
        raise not_found()
    return member


def check_address(state: MailchimpState, audience: Audience, email: str) -> None:
    """Refuse an address that may not become a member."""
    if not is_address(email):
        raise invalid("Please provide a valid email address.")
    lowered = email.lower()
    if lowered in LOOKS_FAKE or lowered in state.fake_addresses:
        raise invalid(f"{email} looks fake or invalid, please enter a real email address.")
    if subscriber_hash(email) in audience.forgotten:
        raise forgotten(email)
    if lowered in state.refused_signups:
        raise too_many_signups(email)
    if lowered in state.unlisted:
        raise member_exists(email)


def _check_review(state: MailchimpState, status: str, email: str) -> None:
    """Refuse to subscribe an address that Mailchimp's compliance team looks into."""
    if status in ("subscribed", "pending") and email.lower() in state.under_review:
        raise in_compliance_state(email)


def _check_transition(member: Member, status: str, email: str) -> None:
    """Refuse what a compliance state forbids; a member in the archive has none."""
    if member.status == "archived" or status == member.status:
        return
    barred = member.status == "cleaned" or member.complained
    if status == "subscribed" and (barred or member.opted_out_by == "person"):
        raise in_compliance_state(email)
    if status == "pending" and barred:
        raise in_compliance_state(email)


def _put(
    state: MailchimpState,
    audience: Audience,
    found: Member | None,
    email: str,
    status: str | None,
    body: Mapping[str, Any],
    *,
    skip_validation: bool,
) -> Member:
    """Create the member or write to the one found; nothing is changed when anything is refused."""
    kept = _accepted(audience, found, body, skip_validation=skip_validation)
    if found is None:
        check_address(state, audience, email)
        assert status is not None
        _check_review(state, status, email)
        if state.is_full(audience.account):
            raise contact_limit_reached()
        member = add_member(state, audience, email, status, source="API - Generic")
        _write(state, audience, member, body, kept)
        _on_status(state, audience, member, None, by="api", opt_in_known=bool(body.get("timestamp_opt")))
        return member
    if status is not None:
        _check_review(state, status, email)
        _check_transition(found, status, email)
    _write(state, audience, found, body, kept)
    if status is not None:
        move(state, audience, found, status, by="api", opt_in_known=bool(body.get("timestamp_opt")))
    return found


def add_member(
    state: MailchimpState,
    audience: Audience,
    email: str,
    status: str,
    *,
    source: str,
    number: int | None = None,
) -> Member:
    """Put a new member on the list, without any of the consequences of signing up."""
    now = state.now()
    number = number or state.next_number()
    member = Member(
        id=subscriber_hash(email),
        email_address=email,
        number=number,
        contact_id=subscriber_hash(f"contact {audience.id} {number}"),
        status=status,
        created_at=now,
        last_changed=now,
        merge_fields={},
        source=source,
    )
    audience.add(member)
    return member


def _accepted(
    audience: Audience, member: Member | None, body: Mapping[str, Any], *, skip_validation: bool
) -> dict[str, Any]:
    values = body.get("merge_fields") or {}
    present = member.merge_fields if member is not None else {}
    return merge_fields.accepted_values(audience, values, present, skip_validation=skip_validation)


def _write(
    state: MailchimpState,
    audience: Audience,
    member: Member,
    body: Mapping[str, Any],
    kept: Mapping[str, Any],
) -> None:
    """Put what the body says on the member, all but the status."""
    merge_fields.apply_values(member, kept)
    for name in ("language", "email_type", "vip", "ip_signup", "ip_opt", "location"):
        if body.get(name) is not None:
            setattr(member, name, body[name])
    for name in ("timestamp_signup", "timestamp_opt"):
        if body.get(name):
            setattr(member, name, parsed(body[name], name))
    if body.get("interests"):
        member.interests = {**(member.interests or {}), **body["interests"]}
    for permission in body.get("marketing_permissions") or ():
        permission_id = permission.get("marketing_permission_id")
        if permission_id not in audience.permissions:
            raise invalid("The marketing permission does not exist.", ("marketing_permissions", "Unknown id"))
        member.marketing_permissions = {
            **(member.marketing_permissions or {}),
            permission_id: bool(permission.get("enabled")),
        }
    audience.touch(member, state.now())


def _change_address(
    state: MailchimpState, audience: Audience, member: Member, email: str, *, by: Actor = "api"
) -> None:
    if subscriber_hash(email) in audience.members:
        raise member_exists(email)
    check_address(state, audience, email)
    before = member.email_address
    audience.rename(member, email)
    audience.touch(member, state.now())
    report(
        state,
        audience,
        "upemail",
        by,
        {
            "list_id": audience.id,
            "new_id": member.unique_email_id,
            "new_email": email,
            "old_email": before,
        },
    )


def move(
    state: MailchimpState,
    audience: Audience,
    member: Member,
    status: str,
    *,
    by: Actor,
    reason: str = "",
    opt_in_known: bool = False,
) -> None:
    """Give a member a status, with all that follows: memory of opt-outs, mails, webhooks.

    The same status again changes nothing, but that ``pending`` sends another confirmation mail. Who comes
    back from the archive comes back without memory of an opt-out. ``opt_in_known``: the time of the opt-in
    was sent along and stands.
    """
    before = member.status
    if status == before and status != "pending":
        return
    now = state.now()
    audience.set_status(member, status)
    audience.touch(member, now)
    if before == "archived":
        member.archived_by, member.opted_out_by, member.complained = None, None, False
    if status == "unsubscribed":
        member.opted_out_by, member.opted_out_at = by, now
        member.unsubscribe_reason = reason if by == "person" else REASON_OF_ADMIN
        audience.last_unsub = now
        member.note_activity(
            activity_type="unsub",
            created_at_timestamp=written(now),
            campaign_id="",
            campaign_title="",
            is_admin_unsubscribed=by != "person",
            unsubscribe_reason=member.unsubscribe_reason,
        )
    elif status == "archived":
        member.archived_by = by
    _on_status(state, audience, member, before, by=by, opt_in_known=opt_in_known)


def _on_status(
    state: MailchimpState,
    audience: Audience,
    member: Member,
    before: str | None,
    *,
    by: Actor,
    opt_in_known: bool = False,
) -> None:
    now = state.now()
    status, email = member.status, member.email_address
    if status == "subscribed":
        member.opted_out_by, member.opted_out_at, member.unsubscribe_reason = None, None, ""
        if not opt_in_known:
            member.timestamp_opt = now
        audience.last_sub = now
        if before is not None or by == "person":
            member.note_activity(
                activity_type="generic_signup",
                created_at_timestamp=written(now),
                signup_category=SIGNUP_CATEGORIES[by],
            )
        if audience.welcome_automation:
            state.send_mail("welcome", email, audience.id, f"became subscribed, before: {before or 'new'}")
        report(state, audience, "subscribe", by, _about(audience, member))
    elif status == "pending":
        state.send_mail("confirmation", email, audience.id, f"asked to confirm, before: {before or 'new'}")
    elif status == "unsubscribed" and before is not None:
        report(
            state,
            audience,
            "unsubscribe",
            by,
            {
                **_about(audience, member),
                "action": "unsub",
                "reason": "abuse" if member.complained else "manual",
            },
        )
    elif status == "unsubscribed":
        member.opted_out_by, member.opted_out_at, member.unsubscribe_reason = by, now, REASON_OF_ADMIN
    elif status == "cleaned":
        report(
            state,
            audience,
            "cleaned",
            by,
            {"list_id": audience.id, "email": email, "reason": "abuse" if member.complained else "hard"},
        )
    elif status == "archived":
        report(
            state,
            audience,
            "unsubscribe",
            by,
            {**_about(audience, member), "action": "delete", "reason": "manual"},
        )


def _about(audience: Audience, member: Member) -> dict[str, Any]:
    return {
        "id": member.unique_email_id,
        "list_id": audience.id,
        "email": member.email_address,
        "email_type": member.email_type,
        "ip_opt": member.ip_opt,
        "ip_signup": member.ip_signup,
        "web_id": member.number,
        "merges": {"EMAIL": member.email_address, **member.merge_fields},
    }


def lapse_pending(state: MailchimpState, audience: Audience) -> None:
    """Drop those who never confirmed within 60 days."""
    limit = state.now() - PENDING_LAPSES_AFTER
    for member in [each for each in audience.by_status["pending"].values() if each.last_changed < limit]:
        audience.remove(member)


# --- what people do ---------------------------------------------------------------------------------


def sign_up(state: MailchimpState, audience: Audience, email: str) -> Member:
    """The sign-up form: everybody may come back through it, forgotten and unsubscribed people too."""
    if not is_address(email):
        raise invalid("Please provide a valid email address.")
    audience.forgotten.discard(subscriber_hash(email))
    member = audience.members.get(subscriber_hash(email))
    if member is None:
        member = add_member(
            state,
            audience,
            email,
            "pending" if audience.double_optin else "subscribed",
            source="Hosted Signup Form",
        )
        member.timestamp_signup = state.now()
        _on_status(state, audience, member, None, by="person")
        return member
    member.timestamp_signup = state.now()
    if audience.double_optin and member.status != "subscribed":
        move(state, audience, member, "pending", by="person")
    else:
        _own_consent(state, audience, member)
    return member


def confirm(state: MailchimpState, audience: Audience, member: Member) -> None:
    """The link in the confirmation mail."""
    if member.status != "pending":
        raise invalid(f"this member is {member.status}: only a pending one can confirm")
    member.confirmed = True
    _own_consent(state, audience, member)


def _own_consent(state: MailchimpState, audience: Audience, member: Member) -> None:
    member.complained = False
    member.opted_out_by = None
    move(state, audience, member, "subscribed", by="person")


def unsubscribe(state: MailchimpState, audience: Audience, member: Member, by: Actor, reason: str) -> None:
    """The unsubscribe link of a mail, or an administrator's button."""
    if member.status in ("archived", "cleaned"):
        raise invalid(f"this member is {member.status}: there is no mail to unsubscribe from")
    if member.status == "unsubscribed" and by == "person":
        member.opted_out_by = "person"
    move(state, audience, member, "unsubscribed", by=by, reason=reason or "None given")


def subscribe_by_admin(state: MailchimpState, audience: Audience, member: Member) -> None:
    """An administrator sets somebody to subscribed: not who opted out themselves, bounced or complained."""
    _check_transition(member, "subscribed", member.email_address)
    move(state, audience, member, "subscribed", by="admin")


def complain(state: MailchimpState, audience: Audience, member: Member) -> None:
    """The spam button of the person's mail program: an abuse report and an opt-out."""
    member.complained = True
    segments.report_abuse(state, audience, member)
    move(state, audience, member, "unsubscribed", by="person", reason="")
    member.opted_out_by, member.unsubscribe_reason = "person", "Spam complaint"


def bounce_hard(state: MailchimpState, audience: Audience, member: Member) -> None:
    """The address does not exist any more."""
    member.note_activity(
        activity_type="bounce",
        created_at_timestamp=written(state.now()),
        campaign_id="",
        campaign_title="",
        bounce_type="hard",
        bounce_has_open_activity=False,
    )
    move(state, audience, member, "cleaned", by="person")


def change_own_address(state: MailchimpState, audience: Audience, member: Member, email: str) -> None:
    """The person changes their address on their profile page."""
    _change_address(state, audience, member, email.strip(), by="person")


def edit_field(
    state: MailchimpState, audience: Audience, member: Member, tag: str, value: Any, *, by: Actor
) -> None:
    """The person (on their profile page) or an administrator edits one field."""
    if tag not in audience.merge_fields:
        raise invalid(f"this audience has no merge field {tag}")
    kept = merge_fields.accepted_values(audience, {tag: value}, member.merge_fields, skip_validation=True)
    if merge_fields.apply_values(member, kept):
        audience.touch(member, state.now())
        report(state, audience, "profile", by, _about(audience, member))
