"""Webhooks of an audience: which events they ask for, and what would be posted to them.

Deliveries wait in ``state.webhook_deliveries``; :mod:`mc_pipeline.sandbox.mailchimp.server` posts them on
request, so that tests decide when (or whether) a webhook arrives.
"""

from __future__ import annotations

import hashlib
import hmac
import urllib.request
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from mc_pipeline.sandbox.mailchimp.problems import invalid, not_found
from mc_pipeline.sandbox.mailchimp.state import Actor, Audience, MailchimpState, Webhook

EVENTS = ("subscribe", "unsubscribe", "profile", "cleaned", "upemail", "campaign")
SOURCES = ("user", "admin", "api")
_SOURCE_OF: dict[Actor, str] = {"person": "user", "admin": "admin", "api": "api"}


def add_webhook(state: MailchimpState, audience: Audience, body: Mapping[str, Any]) -> Webhook:
    """Make a webhook. What is not said is on: a careless webhook hears its own API writes.

    Its address is asked first, unless ``state.asks_webhooks_first`` is off, and must answer 200.
    """
    url = body.get("url") or ""
    if not url.startswith(("http://", "https://")):
        raise invalid("The webhook URL is not valid.", ("url", "Please enter a valid URL"))
    if any(webhook.url == url for webhook in audience.webhooks.values()):
        raise invalid("Sorry, you can't set up multiple WebHooks for one URL", ("url", "Already in use"))
    if state.asks_webhooks_first and not _answers(url):
        raise invalid("The webhook URL could not be validated.", ("url", "We couldn't validate that URL."))
    webhook = Webhook(
        state.next_id(),
        url,
        {name: bool((body.get("events") or {}).get(name, True)) for name in EVENTS},
        {name: bool((body.get("sources") or {}).get(name, True)) for name in SOURCES},
        signing_secret=state.next_id(32),
    )
    audience.webhooks[webhook.id] = webhook
    return webhook


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def change_webhook(audience: Audience, webhook_id: str, body: Mapping[str, Any]) -> Webhook:
    """Change the URL, events or sources that the body names."""
    webhook = webhook_by_id(audience, webhook_id)
    webhook.url = body.get("url") or webhook.url
    for name in EVENTS:
        webhook.events[name] = bool((body.get("events") or {}).get(name, webhook.events[name]))
    for name in SOURCES:
        webhook.sources[name] = bool((body.get("sources") or {}).get(name, webhook.sources[name]))
    return webhook


def webhook_by_id(audience: Audience, webhook_id: str) -> Webhook:
    """A webhook, or 404."""
    webhook = audience.webhooks.get(webhook_id)
    if webhook is None:
        raise not_found()
    return webhook


def report(state: MailchimpState, audience: Audience, event: str, by: Actor, data: Mapping[str, Any]) -> None:
    """Queue an event for the webhooks that ask for it and its source."""
    if not audience.webhooks:
        return
    now = datetime.fromtimestamp(state.now(), UTC)
    for webhook in audience.webhooks.values():
        if webhook.events[event] and webhook.sources[_SOURCE_OF[by]]:
            state.webhook_deliveries.append(
                {
                    "webhook_id": webhook.id,
                    "url": webhook.url,
                    "signing_secret": webhook.signing_secret,
                    "form": {
                        "type": event,
                        "fired_at": now.strftime("%Y-%m-%d %H:%M:%S"),
                        "data": dict(data),
                    },
                }
            )


def encoded(form: Mapping[str, Any]) -> bytes:
    """A form with nested values as PHP writes it: ``data[merges][FNAME]=Ada``."""
    return urlencode(list(_flat("", form))).encode()


def _flat(prefix: str, values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        key = f"{prefix}[{name}]" if prefix else name
        if isinstance(value, Mapping):
            yield from _flat(key, value)
        else:
            yield key, str(value)


def signature(secret: str, at: int, body: bytes) -> str:
    """The value of ``X-Mailchimp-Signature``: HMAC-SHA256 over time and raw body."""
    digest = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={digest}"
