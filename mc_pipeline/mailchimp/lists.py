"""Audiences (Mailchimp's API calls them lists): settings, who greets people, which stores feed them."""

from dataclasses import dataclass
from typing import Any

from mc_pipeline.mailchimp.answers import require
from mc_pipeline.mailchimp.client import MailchimpClient
from mc_pipeline.mailchimp.errors import (
    MailchimpAuthenticationError,
    MailchimpBlockedError,
    MailchimpError,
    MailchimpNotSentError,
)
from mc_pipeline.mailchimp.paging import pages

_PAGE_SIZE = 1000
_FIELDS = (
    "id",
    "web_id",
    "name",
    "double_optin",
    "marketing_permissions",
    "has_welcome",
    "stats.member_count",
    "stats.unsubscribe_count",
    "stats.cleaned_count",
    "stats.total_contacts",
)


@dataclass(frozen=True)
class Audience:
    """One audience. Mailchimp API: its counts are cached for minutes; they are for display only.

    ``has_welcome``: Mailchimp says that a classic welcome automation is connected (welcomeSeries,
    singleWelcome, emailFollowup), whether or not it lists it. ``member_count``: subscribed;
    ``total_contacts``: everyone in any state, None if not known.
    """

    id: str
    name: str
    web_id: int | None
    double_optin: bool
    marketing_permissions: bool
    has_welcome: bool
    member_count: int
    unsubscribe_count: int
    cleaned_count: int
    total_contacts: int | None


def get_audience(client: MailchimpClient, list_id: str) -> Audience:
    """Read an audience.

    Raises:
        MailchimpNotFoundError: the account has no audience of this id.
    """
    answer = client.lists.get_list(list_id, fields=list(_FIELDS), include_total_contacts=True)
    stats: dict[str, Any] = answer.get("stats") or {} if isinstance(answer, dict) else {}
    return Audience(
        id=require(answer, "id", str, path=f"/lists/{list_id}"),
        name=require(answer, "name", str, path=f"/lists/{list_id}"),
        web_id=answer.get("web_id"),
        # Without the flag nobody may be created as subscribed: double opt-in is the careful reading.
        double_optin=bool(answer.get("double_optin", True)),
        marketing_permissions=bool(answer.get("marketing_permissions", False)),
        has_welcome=bool(answer.get("has_welcome", False)),
        member_count=int(stats.get("member_count") or 0),
        unsubscribe_count=int(stats.get("unsubscribe_count") or 0),
        cleaned_count=int(stats.get("cleaned_count") or 0),
        total_contacts=stats.get("total_contacts"),
    )


def welcome_automations(client: MailchimpClient, list_id: str) -> list[str] | None:
    """Return the titles of classic automations that run on this audience when somebody joins.

    None: Mailchimp does not list them. Mailchimp API: customer journeys cannot be listed, so an empty list
    does not prove that nobody is greeted.
    """
    try:
        answer = client.automations.list(
            count=1000, fields=["automations.settings", "automations.status", "automations.recipients",
                                "automations.trigger_settings"],
        )  # fmt: skip
        automations = require(answer, "automations", list)
    except (MailchimpAuthenticationError, MailchimpBlockedError, MailchimpNotSentError):
        raise
    except MailchimpError:
        return None
    return [
        str((automation.get("settings") or {}).get("title") or "untitled")
        for automation in automations
        if automation.get("status") == "sending"
        and (automation.get("recipients") or {}).get("list_id") == list_id
        and "welcome" in str((automation.get("trigger_settings") or {}).get("workflow_type") or "").lower()
    ]


@dataclass(frozen=True)
class ConnectedStore:
    """A store of the account: the audience that its orders go to, which never changes, and its currency."""

    id: str
    name: str
    list_id: str
    currency: str


def connected_stores(client: MailchimpClient) -> list[ConnectedStore]:
    """Return every store of the account, no matter who made it."""
    fields = ("id", "name", "list_id", "currency_code")
    return [
        ConnectedStore(
            str(store["id"]),
            str(store.get("name") or ""),
            str(store.get("list_id") or ""),
            str(store.get("currency_code") or ""),
        )
        for page in pages(client.ecommerce.stores, "stores", fields=fields, count=_PAGE_SIZE)
        for store in page.items
    ]
