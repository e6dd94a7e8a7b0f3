"""Tags and segments: Mailchimp keeps a tag as a static segment. Abuse reports are kept here as well."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mc_pipeline.sandbox.mailchimp.problems import invalid, not_found, not_validated
from mc_pipeline.sandbox.mailchimp.state import (
    AbuseReport,
    Audience,
    MailchimpState,
    Member,
    Segment,
    subscriber_hash,
)

BULK_LIMIT = 500
NAME_LENGTH = 100


def normalised_name(name: str) -> str:
    """A tag's name as Mailchimp keeps it: single spaces, the first letter a capital."""
    text = " ".join(name.split())
    return text[:1].upper() + text[1:]


def create_segment(state: MailchimpState, audience: Audience, body: Mapping[str, Any]) -> Segment:
    """A static segment of addresses on the list (others are ignored without a word), or a saved one."""
    addresses = body.get("static_segment")
    if addresses is not None and len(addresses) > BULK_LIMIT:
        raise not_validated(
            ("static_segment", f"This collection should contain {BULK_LIMIT} elements or less.")
        )
    if addresses is None and not body.get("options"):
        raise invalid("A segment needs addresses or conditions.", ("static_segment", "Please enter a value"))
    if body["name"].strip().casefold() in audience.segment_by_name:
        raise invalid("Sorry, that tag already exists.", ("name", "Sorry, that tag already exists."))
    segment = _add(state, audience, body["name"], "static" if addresses is not None else "saved")
    segment.options = body.get("options")
    for member in _on_the_list(audience, addresses or ()):
        _tag(state, audience, segment, member, is_syncing=False)
    return segment


def change_segment(
    state: MailchimpState, audience: Audience, segment: Segment, body: Mapping[str, Any]
) -> None:
    """PATCH: the name, and for a static segment its whole membership when addresses are sent."""
    if body.get("name") and body["name"].casefold() != segment.name.casefold():
        if body["name"].strip().casefold() in audience.segment_by_name:
            raise invalid("Sorry, that tag already exists.", ("name", "Sorry, that tag already exists."))
        del audience.segment_by_name[segment.name.casefold()]
        segment.name = normalised_name(body["name"])
        audience.segment_by_name[segment.name.casefold()] = segment
    if body.get("options") is not None:
        segment.options = body["options"]
    if body.get("static_segment") is not None:
        wanted = {member.number: member for member in _on_the_list(audience, body["static_segment"])}
        for member in [each for number, each in segment.members.items() if number not in wanted]:
            _untag(state, audience, segment, member)
        for member in wanted.values():
            _tag(state, audience, segment, member, is_syncing=False)
    segment.updated_at = state.now()


def delete_segment(state: MailchimpState, audience: Audience, segment: Segment) -> None:
    """Delete a segment; its members lose the tag."""
    for member in list(segment.members.values()):
        _untag(state, audience, segment, member)
    del audience.segments[segment.id]
    del audience.segment_by_name[segment.name.casefold()]


def segment_by_id(audience: Audience, segment_id: str) -> Segment:
    """A segment by its number, or 404."""
    segment = audience.segments.get(int(segment_id)) if segment_id.isdigit() else None
    if segment is None:
        raise not_found()
    return segment


def change_members(
    state: MailchimpState, audience: Audience, segment: Segment, add: Sequence[str], remove: Sequence[str]
) -> tuple[list[Member], list[Member]]:
    """Add and remove up to 500 addresses each. Those not on the list or in the archive are ignored.

    There is no way to say that this is a first load: tag automations run.
    """
    for name, addresses in (("members_to_add", add), ("members_to_remove", remove)):
        if len(addresses) > BULK_LIMIT:
            raise not_validated((name, f"This collection should contain {BULK_LIMIT} elements or less."))
    if segment.type != "static":
        raise invalid("Only static segments have members that can be changed.")
    added = [
        member
        for member in _on_the_list(audience, add)
        if _tag(state, audience, segment, member, is_syncing=False)
    ]
    removed = [
        member for member in _on_the_list(audience, remove) if _untag(state, audience, segment, member)
    ]
    segment.updated_at = state.now()
    return added, removed


def tag_member(
    state: MailchimpState, audience: Audience, member: Member, name: str, *, is_syncing: bool
) -> None:
    """Give a member a tag, making the tag when it is new."""
    segment = audience.segment_by_name.get(" ".join(name.split()).casefold())
    if segment is None:
        segment = _add(state, audience, name, "static")
    _tag(state, audience, segment, member, is_syncing=is_syncing)


def untag_member(state: MailchimpState, audience: Audience, member: Member, name: str) -> None:
    """Take a tag from a member; an unknown one is ignored."""
    segment = audience.segment_by_name.get(" ".join(name.split()).casefold())
    if segment is not None:
        _untag(state, audience, segment, member)


def replace_tags(state: MailchimpState, audience: Audience, member: Member, names: Iterable[Any]) -> None:
    """Give a member these tags and no others."""
    wanted = {" ".join(name.split()).casefold(): name for name in names if isinstance(name, str)}
    for segment_id in list(member.tags or ()):
        segment = audience.segments[segment_id]
        if segment.name.casefold() not in wanted:
            _untag(state, audience, segment, member)
    for name in wanted.values():
        tag_member(state, audience, member, name, is_syncing=False)


def tag_names(audience: Audience, member: Member) -> list[str]:
    """The names of a member's tags, all of them."""
    return [audience.segments[segment_id].name for segment_id in member.tags or ()]


def report_abuse(state: MailchimpState, audience: Audience, member: Member) -> None:
    """Keep a spam complaint."""
    audience.abuse_reports.append(
        AbuseReport(state.next_number(), "", member, member.email_address, state.now())
    )


def _on_the_list(audience: Audience, addresses: Iterable[Any]) -> list[Member]:
    found: dict[int, Member] = {}
    for address in addresses:
        member = audience.members.get(subscriber_hash(address)) if isinstance(address, str) else None
        if member is not None and member.status != "archived":
            found[member.number] = member
    return list(found.values())


def _add(state: MailchimpState, audience: Audience, name: str, kind: str) -> Segment:
    shown = normalised_name(name)
    if not shown or len(shown) > NAME_LENGTH:
        raise invalid("A tag's name has 1 to 100 characters.", ("name", "Please enter 1 to 100 characters"))
    now = state.now()
    segment = Segment(state.next_number(), shown, kind, now, now)
    audience.segments[segment.id] = segment
    audience.segment_by_name[shown.casefold()] = segment
    return segment


def _tag(
    state: MailchimpState, audience: Audience, segment: Segment, member: Member, *, is_syncing: bool
) -> bool:
    if member.number in segment.members:
        return False
    now = state.now()
    segment.members[member.number] = member
    if member.tags is None:
        member.tags = {}
    member.tags[segment.id] = now
    audience.touch(member, now)
    if audience.tag_automation and not is_syncing and member.status == "subscribed":
        state.send_mail("tag_automation", member.email_address, audience.id, f"tagged {segment.name}")
    return True


def _untag(state: MailchimpState, audience: Audience, segment: Segment, member: Member) -> bool:
    if segment.members.pop(member.number, None) is None:
        return False
    if member.tags is not None:
        member.tags.pop(segment.id, None)
    audience.touch(member, state.now())
    return True
