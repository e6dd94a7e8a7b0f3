"""Marketing permissions (GDPR) of an audience: their ids, and giving them to a member.

Mailchimp API: the ids differ per audience and can only be found out from a member; a creation takes none.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from mc_pipeline.mailchimp.answers import require
from mc_pipeline.mailchimp.client import MailchimpClient


def permission_ids(client: MailchimpClient, list_id: str) -> dict[str, str]:
    """Return the id of each permission by its name in small letters; empty while there is no member."""
    answer = client.lists.get_list_members_info(list_id, count=1, fields=["members.marketing_permissions"])
    if answer is None:
        return {}
    return {
        str(permission["text"]).casefold(): str(permission["marketing_permission_id"])
        for member in require(answer, "members", list)
        for permission in member.get("marketing_permissions") or ()
    }


def permissions_body(permission_ids: Sequence[str]) -> dict[str, Any]:
    """Build the body that gives permissions; others stay as they are."""
    return {
        "marketing_permissions": [
            {"marketing_permission_id": permission_id, "enabled": True} for permission_id in permission_ids
        ]
    }


def give_permissions(
    client: MailchimpClient, list_id: str, subscriber_hash: str, permission_ids: Sequence[str]
) -> Mapping[str, Any]:
    """Give a member these permissions; return the member. Raises MailchimpError."""
    member = client.lists.update_list_member(list_id, subscriber_hash, permissions_body(permission_ids))
    require(member, "id", str, path=f"/lists/{list_id}/members")
    return dict(member)
