"""Single members of an audience: read, created in bulk, updated, unsubscribed, archived.

Reading a whole audience is :mod:`mc_pipeline.mailchimp.member_reading`.

Mailchimp API: a member is addressed by the MD5 of the lower-cased address (``subscriber_hash``). POST
/lists/{list_id} takes 500 members, answers 200 although members failed, and distinguishes members by address
alone. An address that is there already comes back as ERROR_CONTACT_EXISTS.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

from mc_pipeline.digests import subscriber_hash
from mc_pipeline.mailchimp.answers import require
from mc_pipeline.mailchimp.client import MailchimpClient
from mc_pipeline.mailchimp.errors import (
    REFUSED_FOR_GOOD,
    ForbiddenRequestError,
    MailchimpError,
    MailchimpNotFoundError,
    MailchimpUnknownOutcomeError,
    RejectionKind,
    classify_rejection,
)
from mc_pipeline.mailchimp.member_reading import (
    MEMBER_FIELDS,
    PAGE_SIZE,
    STATUSES,
    MembersRead,
    get_member,
    member_tags,
    read_members,
)
from mc_pipeline.mailchimp.paging import pages
from mc_pipeline.mailchimp.retry import says_nothing_about_earlier_attempts
from mc_pipeline.masking import mask_email
from mc_pipeline.vocabulary import REACHABLE_STATUSES, MemberStatus, OutcomeKind

__all__ = [
    "STATUSES",
    "CreateResult",
    "MembersRead",
    "Rejection",
    "archive_member",
    "change_member_tags",
    "create_members",
    "delete_member_permanently",
    "get_member",
    "member_tags",
    "member_tags_body",
    "member_update_body",
    "read_members",
    "subscribe_body",
    "subscribe_member",
    "unsubscribe_member",
    "update_member",
]

_log = logging.getLogger(__name__)

MAX_MEMBERS_PER_CALL = 500
_CREATABLE_STATUSES = REACHABLE_STATUSES | {MemberStatus.UNSUBSCRIBED}
_CREATABLE_KEYS = frozenset(
    {"email_address", "email_type", "status", "merge_fields", "language"}
    | {"timestamp_signup", "ip_signup", "timestamp_opt", "ip_opt"}
)
_READ_BACK_ONE_BY_ONE = 20
_CLOCK_MARGIN = timedelta(seconds=60)


@dataclass(frozen=True)
class Rejection:
    """One address that Mailchimp refused; ``detail`` may quote the address, unmasked.

    ``field``: the merge field at fault, by its tag, where Mailchimp names one.
    """

    email: str
    kind: RejectionKind
    title: str
    detail: str
    field: str = ""


@dataclass(frozen=True)
class CreateResult:
    """The outcome for every address of one creation call; the three lists together hold each address once.

    ``created``: the members as Mailchimp returned them (id, email_address, status, merge_fields, …;
    Mailchimp API: without contact_id in the answer to a bulk creation).
    ``unknown``: addresses whose creation was sent and could not be confirmed by reading back.
    """

    created: list[dict[str, Any]] = field(default_factory=list)
    rejected: list[Rejection] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)


def create_members(
    client: MailchimpClient,
    list_id: str,
    members: Sequence[Mapping[str, Any]],
    *,
    skip_merge_validation: bool = False,
) -> CreateResult:
    """Create up to 500 members by one call that cannot touch an existing one.

    After a failure that leaves open whether the call was applied it is sent again (it creates nobody
    twice), and members that the second answer calls existing are read back: those as we sent them, and
    changed since we began, were created by the first try.

    Raises:
        ForbiddenRequestError: more than 500 members, a status that is never created, an address twice, or
            keys that do not belong in a creation (tags, interests).
        MailchimpError: nothing was created.
    """
    wanted = _checked(list_id, members)
    if not wanted:
        return CreateResult()
    began = client.server_now()
    body = {"members": list(members), "update_existing": False}
    query = {"skip_merge_validation": True} if skip_merge_validation else {}
    answer, ambiguous = _send_creation(client, list_id, body, query)
    if answer is None:
        return _read_back(client, list_id, wanted, list(wanted), began, CreateResult())
    result, open_addresses = _sort_answer(answer, wanted, existing_is_open=ambiguous)
    if open_addresses:
        return _read_back(client, list_id, wanted, open_addresses, began, result)
    return result


def _checked(list_id: str, members: Sequence[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    path = f"/lists/{list_id}"

    def refuse(why: str) -> None:
        raise ForbiddenRequestError(title="Forbidden Request", detail=why, method="POST", path=path)

    if len(members) > MAX_MEMBERS_PER_CALL:
        refuse(f"{len(members)} members in one call: Mailchimp takes at most {MAX_MEMBERS_PER_CALL}")
    wanted: dict[str, Mapping[str, Any]] = {}
    for member in members:
        email = str(member.get("email_address") or "").strip().lower()
        if not email:
            refuse("a member has no email_address")
        if email in wanted:
            refuse(f"{mask_email(email)} is in the call twice")
        if member.get("status") not in _CREATABLE_STATUSES:
            refuse(f"a member is never created as {member.get('status')!r}")
        unknown_keys = sorted(set(member) - _CREATABLE_KEYS)
        if unknown_keys:
            refuse(f"{', '.join(unknown_keys)} cannot be part of a creation")
        wanted[email] = member
    return wanted


def _send_creation(
    client: MailchimpClient, list_id: str, body: dict[str, Any], query: dict[str, Any]
) -> tuple[Any, bool]:
    """Return (answer, whether an earlier try may have been applied); the answer None if none ever came."""
    ambiguous = False

    def send() -> Any:
        nonlocal ambiguous
        try:
            answer = client.lists.batch_list_members(list_id, body, **query)
            for key in ("new_members", "errors"):
                require(answer, key, list, path=f"/lists/{list_id}")
            return answer
        except MailchimpUnknownOutcomeError:
            ambiguous = True
            raise

    retry = client.api_client.retry
    loop = retry.retrying(lambda error: isinstance(error, MailchimpUnknownOutcomeError), client.pause)
    try:
        return loop(send), ambiguous
    except MailchimpError as error:
        if not ambiguous or not says_nothing_about_earlier_attempts(error):
            raise
        _log.warning("a creation of %s members has no answer: %s", len(body["members"]), error)
        return None, True


def _sort_answer(
    answer: Mapping[str, Any], wanted: Mapping[str, Mapping[str, Any]], *, existing_is_open: bool
) -> tuple[CreateResult, list[str]]:
    """Assign every address its outcome; return also the addresses whose outcome is still open."""
    created: dict[str, dict[str, Any]] = {}
    rejected: dict[str, Rejection] = {}
    open_addresses: set[str] = set()
    for member in answer["new_members"]:
        created[str(member.get("email_address") or "").strip().lower()] = dict(member)
    for error in answer["errors"]:
        email = str(error.get("email_address") or "").strip().lower()
        detail = " ".join(str(error[key]) for key in ("error", "field", "field_message") if error.get(key))
        code = str(error.get("error_code") or "")
        kind = classify_rejection(None, detail, code, error.get("field"))
        if email in created:
            continue
        if kind == "exists" and existing_is_open:
            open_addresses.add(email)
        else:
            title = REFUSED_FOR_GOOD.get(kind) or code or "Rejected"
            rejected[email] = Rejection(email, kind, title, detail, str(error.get("field") or ""))
    result = CreateResult(
        created=[member for email, member in created.items() if email in wanted],
        rejected=[rejection for email, rejection in rejected.items() if email in wanted],
    )
    unaccounted = [
        email
        for email in wanted
        if email in open_addresses or (email not in created and email not in rejected)
    ]
    return result, unaccounted


def _read_back(
    client: MailchimpClient,
    list_id: str,
    wanted: Mapping[str, Mapping[str, Any]],
    addresses: Iterable[str],
    began: datetime,
    result: CreateResult,
) -> CreateResult:
    open_addresses = set(addresses)
    created, rejected, unknown = list(result.created), list(result.rejected), list(result.unknown)
    try:
        found = _find_members(client, list_id, wanted, open_addresses, began)
    except MailchimpError as error:
        _log.warning("%s creations could not be read back: %s", len(open_addresses), error)
        found = {}
    for email in wanted:
        if email not in open_addresses:
            continue
        member = found.get(email)
        if member is None:
            unknown.append(email)
        elif _is_our_creation(member, wanted[email], began):
            created.append(member)
        else:
            rejected.append(Rejection(email, "exists", "Member Exists", "was a member before this creation"))
    return CreateResult(created, rejected, unknown)


def _find_members(
    client: MailchimpClient,
    list_id: str,
    wanted: Mapping[str, Mapping[str, Any]],
    addresses: set[str],
    began: datetime,
) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    if len(addresses) > _READ_BACK_ONE_BY_ONE:
        for status in sorted({str(wanted[email]["status"]) for email in addresses}):
            _find_recently_changed(client, list_id, status, addresses, began - _CLOCK_MARGIN, found)
    missing = sorted(addresses - set(found))
    for email in missing if len(missing) <= _READ_BACK_ONE_BY_ONE else []:
        member = get_member(client, list_id, subscriber_hash(email))
        if member is not None:
            found[email] = member
    return found


def _find_recently_changed(
    client: MailchimpClient,
    list_id: str,
    status: str,
    addresses: set[str],
    since: datetime,
    found: dict[str, dict[str, Any]],
) -> None:
    if addresses <= set(found):
        return
    for page in pages(
        client.lists.get_list_members_info,
        "members",
        list_id,
        status=status,
        since_last_changed=since,
        sort_field="last_changed",
        sort_dir="DESC",
        count=PAGE_SIZE,
        fields=MEMBER_FIELDS,
    ):
        for member in page.items:
            email = str(member.get("email_address") or "").strip().lower()
            if email in addresses:
                found[email] = dict(member)
        if addresses <= set(found):
            return


def _is_our_creation(member: Mapping[str, Any], sent: Mapping[str, Any], began: datetime) -> bool:
    if member.get("status") != sent["status"]:
        return False
    try:
        changed = datetime.fromisoformat(str(member.get("last_changed")))
    except ValueError:
        return False
    return changed.tzinfo is not None and changed >= began - _CLOCK_MARGIN


def update_member(
    client: MailchimpClient,
    list_id: str,
    subscriber_hash: str,
    *,
    merge_fields: Mapping[str, Any] | None = None,
    language: str | None = None,
    email_address: str | None = None,
    skip_merge_validation: bool = False,
) -> dict[str, Any]:
    """Change fields, language or the address of an existing member (PATCH), never the status.

    Only what is given is sent. A renaming whose answer is lost is resolved by reading both addresses.

    Raises:
        MailchimpMemberExistsError: ``email_address`` is a member already.
        MailchimpUnknownOutcomeError: it could not be found out whether a renaming was applied.
    """
    body = member_update_body(merge_fields=merge_fields, language=language, email_address=email_address)
    query = {"skip_merge_validation": True} if skip_merge_validation else {}
    try:
        member = client.lists.update_list_member(list_id, subscriber_hash, body, **query)
    except MailchimpUnknownOutcomeError:
        renamed = email_address and _find_renamed(client, list_id, subscriber_hash, email_address)
        if not renamed:
            raise
        return renamed
    require(member, "id", str, path=f"/lists/{list_id}/members")
    return dict(member)


def member_update_body(
    *,
    merge_fields: Mapping[str, Any] | None = None,
    language: str | None = None,
    email_address: str | None = None,
) -> dict[str, Any]:
    """Build the body that changes an existing member without a word about the status."""
    body: dict[str, Any] = {}
    if merge_fields:
        body["merge_fields"] = dict(merge_fields)
    if language is not None:
        body["language"] = language
    if email_address is not None:
        body["email_address"] = email_address
    if not body:
        raise ValueError("nothing to change: give merge_fields, language or email_address")
    return body


def _find_renamed(
    client: MailchimpClient, list_id: str, old_hash: str, email_address: str
) -> dict[str, Any] | None:
    try:
        if get_member(client, list_id, old_hash) is not None:
            return None
        return get_member(client, list_id, subscriber_hash(email_address))
    except MailchimpError:
        return None


def unsubscribe_member(client: MailchimpClient, list_id: str, subscriber_hash: str) -> dict[str, Any]:
    """Set an existing member to ``unsubscribed`` (rule 5.4 or 5.6).

    No required merge field that is empty may hold that up: they are not validated.
    """
    member = client.lists.update_list_member(
        list_id, subscriber_hash, {"status": MemberStatus.UNSUBSCRIBED}, skip_merge_validation=True
    )
    require(member, "id", str, path=f"/lists/{list_id}/members")
    return dict(member)


def subscribe_member(
    client: MailchimpClient,
    list_id: str,
    subscriber_hash: str,
    *,
    consented_at: datetime | None = None,
) -> dict[str, Any]:
    """Set a transactional member of ours to ``subscribed``: the one upgrade of rule 4.4.

    ``consented_at`` is the evidence's own time, sent as ``timestamp_opt``.

    Raises:
        MailchimpComplianceError: the person opted out; leave them.
        MailchimpUnknownOutcomeError: never sent again blindly; read the member back.
    """
    member = client.lists.update_list_member(list_id, subscriber_hash, subscribe_body(consented_at))
    require(member, "id", str, path=f"/lists/{list_id}/members")
    return dict(member)


def subscribe_body(consented_at: datetime | None) -> dict[str, Any]:
    """Build the body of the one upgrade to ``subscribed``, with the time of the evidence."""
    return {"status": MemberStatus.SUBSCRIBED} | ({"timestamp_opt": consented_at} if consented_at else {})


def archive_member(
    client: MailchimpClient, list_id: str, subscriber_hash: str
) -> Literal[OutcomeKind.APPLIED, OutcomeKind.UNCHANGED]:
    """Archive a member. ``unchanged``: Mailchimp has none (404), or one that cannot be archived (405).

    Mailchimp API: bounced, pending and already archived contacts answer 405.
    """
    try:
        client.lists.delete_list_member(list_id, subscriber_hash)
    except MailchimpNotFoundError:
        return OutcomeKind.UNCHANGED
    except MailchimpError as error:
        if error.status == 405 and error.title == "Method Not Allowed":
            return OutcomeKind.UNCHANGED
        raise
    return OutcomeKind.APPLIED


def delete_member_permanently(
    client: MailchimpClient, list_id: str, subscriber_hash: str
) -> Literal[OutcomeKind.APPLIED, OutcomeKind.UNCHANGED]:
    """Delete a member with everything that identifies them. ``unchanged``: Mailchimp has none (404).

    Mailchimp API: POST …/actions/delete-permanent; the address can never be imported again, only the person
    can come back, by a form of Mailchimp's.
    """
    try:
        client.lists.delete_list_member_permanent(list_id, subscriber_hash)
    except MailchimpNotFoundError:
        return OutcomeKind.UNCHANGED
    return OutcomeKind.APPLIED


def change_member_tags(
    client: MailchimpClient,
    list_id: str,
    subscriber_hash: str,
    *,
    active: Iterable[str] = (),
    inactive: Iterable[str] = (),
    is_syncing: bool = False,
) -> None:
    """Add and remove tags of one member; ``is_syncing`` keeps automations on tags from firing."""
    body = member_tags_body(active=active, inactive=inactive, is_syncing=is_syncing)
    client.lists.update_list_member_tags(list_id, subscriber_hash, body)


def member_tags_body(
    *, active: Iterable[str] = (), inactive: Iterable[str] = (), is_syncing: bool = False
) -> dict[str, Any]:
    """Build the body of POST …/tags. Without its ``tags`` key Mailchimp answers 204 and does nothing."""
    tags = [{"name": name, "status": "active"} for name in active]
    tags += [{"name": name, "status": "inactive"} for name in inactive]
    return {"tags": tags, "is_syncing": is_syncing}
