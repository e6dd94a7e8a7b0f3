"""Webhooks of an audience: those there are, made and removed.

Mailchimp API: which sources are on when none is named is not documented, so all are always named. The signing
secret is shown once, in the answer to the creation; older webhooks have none and are not signed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mc_pipeline.mailchimp.answers import require
from mc_pipeline.mailchimp.client import MailchimpClient

EVENTS = {
    "subscribe": True,
    "unsubscribe": True,
    "profile": False,
    "cleaned": True,
    "upemail": True,
    "campaign": False,
}
"""What our webhooks ask for: everything about consent, nothing about fields."""


@dataclass(frozen=True)
class Webhook:
    """One webhook. ``url`` holds a secret; ``signing_secret`` is "" but in the answer to its creation."""

    id: str
    url: str = field(repr=False)
    events: Mapping[str, bool]
    sources: Mapping[str, bool]
    signing_secret: str = field(default="", repr=False)

    @property
    def hears(self) -> list[str]:
        """The sources that it reports."""
        return sorted(source for source, on in self.sources.items() if on)

    def differences(self, source: str) -> list[str]:
        """How it differs from a webhook that :func:`add_webhook` makes; empty: in nothing."""
        wanted = _sources(source)
        return [
            f"{group}.{name} is {str(bool(found.get(name))).lower()}"
            for group, found, right in (("events", self.events, EVENTS), ("sources", self.sources, wanted))
            for name in right
            if bool(found.get(name)) != right[name]
        ]


def list_webhooks(client: MailchimpClient, list_id: str) -> list[Webhook]:
    """Return the webhooks of an audience, no matter who made them."""
    answer = client.lists.get_list_webhooks(list_id)
    return [_webhook(found, list_id) for found in require(answer, "webhooks", list)]


def add_webhook(client: MailchimpClient, list_id: str, url: str, source: str) -> Webhook:
    """Make a webhook that reports what comes from one source, ``user`` or ``admin``; never what the API does.

    Raises:
        MailchimpInvalidError: Mailchimp got no 200 from the address, or has a webhook for it already.
    """
    body = {"url": url, "events": dict(EVENTS), "sources": _sources(source)}
    return _webhook(client.lists.create_list_webhook(list_id, body), list_id)


def remove_webhook(client: MailchimpClient, list_id: str, webhook_id: str) -> None:
    """Delete a webhook."""
    client.lists.delete_list_webhook(list_id, webhook_id)


def _sources(source: str) -> dict[str, bool]:
    return {"user": source == "user", "admin": source == "admin", "api": False}


def _webhook(found: Any, list_id: str) -> Webhook:
    path = f"/lists/{list_id}/webhooks"
    return Webhook(
        id=require(found, "id", str, path=path),
        url=require(found, "url", str, path=path),
        events=dict(found.get("events") or {}),
        sources=dict(found.get("sources") or {}),
        signing_secret=str(found.get("signing_secret") or ""),
    )
