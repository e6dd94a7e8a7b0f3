"""Tags in bulk. Mailchimp API: a tag is a static segment, and 500 addresses of it change by one call."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from mc_pipeline.mailchimp.answers import require
from mc_pipeline.mailchimp.client import MailchimpClient
from mc_pipeline.mailchimp.errors import MailchimpError, MailchimpUnknownOutcomeError
from mc_pipeline.mailchimp.paging import pages

MAX_MEMBERS_PER_CALL = 500
_PAGE_SIZE = 1000


@dataclass(frozen=True)
class SegmentError:
    """Addresses (lower-cased) that Mailchimp refused to add or remove, and its reason."""

    emails: tuple[str, ...]
    error: str


@dataclass(frozen=True)
class SegmentChange:
    """What one call changed; addresses are lower-cased.

    ``unconfirmed``: sent, and neither reported as changed nor as an error. Mailchimp API: addresses that
    are not in the audience are ignored silently; members who already were as wanted may be missing too.
    """

    added: tuple[str, ...]
    removed: tuple[str, ...]
    errors: tuple[SegmentError, ...]
    unconfirmed: tuple[str, ...]


def list_static_segments(client: MailchimpClient, list_id: str) -> dict[str, int]:
    """Return the tags of an audience: ``{name.casefold(): segment id}`` (Mailchimp ignores case too)."""
    found: dict[str, int] = {}
    ask, fields = client.lists.list_segments, ("id", "name", "type")
    for page in pages(ask, "segments", list_id, fields=fields, count=_PAGE_SIZE, type="static"):
        for segment in page.items:
            if segment.get("type", "static") == "static":
                found.setdefault(str(segment["name"]).casefold(), int(segment["id"]))
    return found


def ensure_static_segment(client: MailchimpClient, list_id: str, name: str) -> int:
    """Return the id of the tag of this name, and create the tag when the audience has none."""
    existing = list_static_segments(client, list_id).get(name.casefold())
    if existing is not None:
        return existing
    try:
        created = client.lists.create_segment(list_id, {"name": name, "static_segment": []})
        return int(require(created, "id", int, path=f"/lists/{list_id}/segments"))
    except MailchimpError as error:
        # Lost answers, and tags that somebody created since the list was read, are found by reading again.
        if error.status != 400 and not isinstance(error, MailchimpUnknownOutcomeError):
            raise
        existing = list_static_segments(client, list_id).get(name.casefold())
        if existing is None:
            raise
        return existing


def change_segment_members(
    client: MailchimpClient,
    list_id: str,
    segment_id: int | str,
    add: Iterable[str] = (),
    remove: Iterable[str] = (),
) -> SegmentChange:
    """Tag and untag addresses, at most 500 each; nothing is sent when there is nothing to change.

    Raises:
        ValueError: more than 500, or an address in both.
    """
    to_add, to_remove = list(add), list(remove)
    if max(len(to_add), len(to_remove)) > MAX_MEMBERS_PER_CALL:
        raise ValueError(f"a tag changes for at most {MAX_MEMBERS_PER_CALL} members in one call")
    if _lowered(to_add) & _lowered(to_remove):
        raise ValueError("an address is both to be tagged and to be untagged")
    body: dict[str, Any] = {}
    if to_add:
        body["members_to_add"] = to_add
    if to_remove:
        body["members_to_remove"] = to_remove
    if not body:
        return SegmentChange((), (), (), ())
    answer = client.lists.batch_segment_members(body, list_id, str(segment_id))
    path = f"/lists/{list_id}/segments"
    added = _addresses(require(answer, "members_added", list, path=path))
    removed = _addresses(require(answer, "members_removed", list, path=path))
    errors = tuple(
        SegmentError(
            tuple(str(email).lower() for email in error.get("email_addresses") or ()),
            str(error.get("error") or ""),
        )
        for error in require(answer, "errors", list, path=path)
    )
    reported = {*added, *removed, *(email for error in errors for email in error.emails)}
    unconfirmed = sorted((_lowered(to_add) | _lowered(to_remove)) - reported)
    return SegmentChange(added, removed, errors, tuple(unconfirmed))


def _lowered(emails: Iterable[str]) -> set[str]:
    return {email.strip().lower() for email in emails}


def _addresses(members: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    return tuple(str(member.get("email_address") or "").lower() for member in members)
