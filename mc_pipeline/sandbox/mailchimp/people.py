"""What people and administrators do in Mailchimp, outside the API. Each act goes into the journal.

Used by tests and by the sandbox's pages alike. An act that is not possible raises :class:`ActRefusedError`
with one readable sentence.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from mc_pipeline.sandbox.journal import JournalEntry, Source
from mc_pipeline.sandbox.mailchimp import members, merge_fields, segments
from mc_pipeline.sandbox.mailchimp.problems import ApiError
from mc_pipeline.sandbox.mailchimp.state import Actor, Audience, MailchimpState, Member, MergeField


class ActRefusedError(ValueError):
    """An act that makes no sense for this member, this audience or this value."""


class People:
    """The acts, by list id and e-mail address."""

    def __init__(self, state: MailchimpState) -> None:
        self._state = state

    def unsubscribe(self, list_id: str, email: str, reason: str = "") -> None:
        """The person follows the unsubscribe link."""
        self._act(
            "person",
            "unsubscribe",
            list_id,
            email,
            lambda state, audience, member: members.unsubscribe(state, audience, member, "person", reason),
            reason=reason,
        )

    def sign_up(self, list_id: str, email: str) -> None:
        """The person fills in the sign-up form: also how somebody who unsubscribed comes back."""
        with self._state.lock:
            audience = self._audience(list_id)
            entry = self._journal("person", "sign_up", list_id, email)
            _refusing(lambda: members.sign_up(self._state, audience, email), entry)

    def confirm(self, list_id: str, email: str) -> None:
        """The person follows the link of the confirmation mail."""
        self._act("person", "confirm", list_id, email, members.confirm)

    def complain(self, list_id: str, email: str) -> None:
        """The person marks a mail as spam."""
        self._act("person", "complain", list_id, email, members.complain)

    def bounce_hard(self, list_id: str, email: str) -> None:
        """A mail comes back because the address does not exist."""
        self._act("person", "bounce_hard", list_id, email, members.bounce_hard)

    def change_address(self, list_id: str, email: str, new_email: str) -> None:
        """The person changes their address on the profile page."""
        self._act(
            "person",
            "change_address",
            list_id,
            email,
            lambda state, audience, member: members.change_own_address(state, audience, member, new_email),
            new_email=new_email,
        )

    def edit_field(self, list_id: str, email: str, tag: str, value: Any, *, by: Actor = "admin") -> None:
        """An administrator, or the person on the profile page, edits a merge field."""
        self._act(
            "person" if by == "person" else "admin",
            "edit_field",
            list_id,
            email,
            lambda state, audience, member: members.edit_field(state, audience, member, tag, value, by=by),
            tag=tag,
        )

    def unsubscribe_by_admin(self, list_id: str, email: str) -> None:
        """An administrator unsubscribes somebody, on a request by telephone perhaps."""
        self._act(
            "admin",
            "unsubscribe",
            list_id,
            email,
            lambda state, audience, member: members.unsubscribe(state, audience, member, "admin", ""),
        )

    def subscribe_by_admin(self, list_id: str, email: str) -> None:
        """An administrator sets somebody to subscribed, who asked for it by telephone perhaps."""
        self._act("admin", "subscribe", list_id, email, members.subscribe_by_admin)

    def archive(self, list_id: str, email: str) -> None:
        """An administrator archives a member of any status."""
        self._act(
            "admin",
            "archive",
            list_id,
            email,
            lambda state, audience, member: members.move(state, audience, member, "archived", by="admin"),
        )

    def delete_permanently(self, list_id: str, email: str) -> None:
        """An administrator erases somebody for good."""
        self._act(
            "admin",
            "delete_permanently",
            list_id,
            email,
            lambda state, audience, member: members.delete_permanently(
                state, audience, member.id, by="admin"
            ),
        )

    def add_tag(self, list_id: str, email: str, name: str) -> None:
        """An administrator tags a member by hand."""
        self._act(
            "admin",
            "add_tag",
            list_id,
            email,
            lambda state, audience, member: segments.tag_member(
                state, audience, member, name, is_syncing=False
            ),
            tag=name,
        )

    def change_merge_field(self, list_id: str, tag: str, /, **changes: Any) -> None:
        """An administrator edits an audience field: its ``tag``, ``required``, ``options`` and so on."""
        with self._state.lock:
            audience = self._audience(list_id)
            found = self._merge_field(audience, tag)
            entry = self._change_of_field("change_merge_field", list_id, tag, changes)
            _refusing(lambda: merge_fields.change_field(audience, str(found.merge_id), changes), entry)

    def remake_merge_field(self, list_id: str, tag: str, kind: str) -> None:
        """An administrator deletes an audience field, and makes one of another type with the same tag."""
        with self._state.lock:
            audience = self._audience(list_id)
            found = self._merge_field(audience, tag)
            entry = self._change_of_field("remake_merge_field", list_id, tag, {"type": kind})
            merge_fields.delete_field(audience, str(found.merge_id))
            body = {"tag": tag, "name": found.name, "type": kind}
            _refusing(lambda: merge_fields.add_field(audience, body), entry)

    def delete_merge_field(self, list_id: str, tag: str) -> None:
        """An administrator deletes an audience field, and every member's value of it."""
        with self._state.lock:
            audience = self._audience(list_id)
            found = self._merge_field(audience, tag)
            self._change_of_field("delete_merge_field", list_id, tag, {})
            merge_fields.delete_field(audience, str(found.merge_id))

    def add_merge_field(self, list_id: str, tag: str, kind: str = "text", **values: Any) -> None:
        """An administrator adds an audience field."""
        with self._state.lock:
            audience = self._audience(list_id)
            entry = self._change_of_field("add_merge_field", list_id, tag, {"type": kind, **values})
            body = {"tag": tag, "name": tag.title(), "type": kind, **values}
            _refusing(lambda: merge_fields.add_field(audience, body), entry)

    def _change_of_field(
        self, action: str, list_id: str, tag: str, changes: Mapping[str, Any]
    ) -> JournalEntry:
        details = {"list_id": list_id, "tag": tag, "changes": dict(changes)}
        return self._state.journal.act("admin", action, f"/lists/{list_id}", details)

    def _merge_field(self, audience: Audience, tag: str) -> MergeField:
        found = audience.merge_fields.get(tag)
        if found is None:
            raise ActRefusedError(f"audience {audience.id} has no merge field {tag}")
        return found

    def _act(
        self,
        source: Source,
        action: str,
        list_id: str,
        email: str,
        do: Callable[[MailchimpState, Audience, Member], object],
        **details: Any,
    ) -> None:
        with self._state.lock:
            audience = self._audience(list_id)
            member = audience.find(email)
            if member is None:
                raise ActRefusedError(f"audience {list_id} has no member with this address")
            entry = self._journal(source, action, list_id, member.email_address, **details)
            _refusing(lambda: do(self._state, audience, member), entry)

    def _audience(self, list_id: str) -> Audience:
        audience = self._state.audiences.get(list_id)
        if audience is None:
            raise ActRefusedError(f"there is no audience {list_id}")
        return audience

    def _journal(self, source: Source, action: str, list_id: str, email: str, **details: Any) -> JournalEntry:
        details = {"list_id": list_id, "email": email, **details}
        return self._state.journal.act(source, action, f"/lists/{list_id}", details)


def _refusing(do: Callable[[], object], entry: JournalEntry) -> None:
    try:
        do()
    except ApiError as problem:
        entry.applied = False
        raise ActRefusedError(problem.detail) from problem
