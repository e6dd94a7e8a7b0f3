"""Makes, finds and removes our webhooks in Mailchimp; other people's are never touched.

Ours are known by the last part of their address, which follows from our secret. No message holds it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from mc_pipeline.mailchimp.client import MailchimpClient
from mc_pipeline.mailchimp.errors import MailchimpInvalidError
from mc_pipeline.mailchimp.webhooks import Webhook, add_webhook, list_webhooks, remove_webhook
from mc_pipeline.webhooks.hooks import Hook


class RegistrationError(Exception):
    """A webhook could not be made; says why, and what to do."""


@dataclass(frozen=True)
class Registered:
    """A webhook of an audience, and which of our hooks it is; ``hook`` is None for one of somebody else.

    place  its address without the secret part
    """

    list_id: str
    webhook: Webhook
    hook: Hook | None

    @property
    def place(self) -> str:
        parts = urlsplit(self.webhook.url)
        path = parts.path.rpartition("/")[0] + "/…" if self.hook else "/…"
        # Of somebody else's address only the host is shown: the rest may be their secret.
        return f"{parts.scheme}://{parts.hostname or '?'}{f':{parts.port}' if parts.port else ''}{path}"

    @property
    def differences(self) -> list[str]:
        """What is set otherwise than we set it; empty for somebody else's."""
        return self.webhook.differences(self.hook.source) if self.hook else []


@dataclass(frozen=True)
class Registration:
    """What came of registering one hook: made, kept as it was, or there with other settings (``differs``).

    ``elsewhere``: places of webhooks of ours for the same hook under another address.
    """

    hook: Hook
    outcome: Literal["made", "kept", "differs"]
    webhook: Webhook
    elsewhere: list[str]


def registered(client: MailchimpClient, list_id: str, hooks: Sequence[Hook]) -> Iterator[Registered]:
    """Every webhook of an audience; ``hooks`` are ours."""
    ours = {hook.path: hook for hook in hooks if hook.list_id == list_id}
    for webhook in list_webhooks(client, list_id):
        last = urlsplit(webhook.url).path.rpartition("/")[2]
        yield Registered(list_id, webhook, ours.get(last))


def register(client: MailchimpClient, hook: Hook, base: str) -> Registration:
    """Make a hook's webhook below ``base``, unless it is there.

    Raises:
        RegistrationError: Mailchimp refused it.
        MailchimpError: Mailchimp could not be asked, or the outcome is unknown: ask again, what was
            made is kept.
    """
    there = [each for each in registered(client, hook.list_id, [hook]) if each.hook]
    url = hook.url(base)
    elsewhere = [each.place for each in there if each.webhook.url != url]
    for each in there:
        if each.webhook.url == url:
            outcome: Literal["kept", "differs"] = "differs" if each.differences else "kept"
            return Registration(hook, outcome, each.webhook, elsewhere)
    try:
        made = add_webhook(client, hook.list_id, url, hook.source)
    except MailchimpInvalidError as error:
        said = str(error).replace(hook.path, "…")
        raise RegistrationError(
            f"audience {hook.list_id}, webhook for {hook.source}: {said} Mailchimp asks {base}/… with GET "
            "and makes a webhook only after an answer 200: start mc-pipeline webhooks serve first, with the "
            "same secret, and see that --url reaches it from outside."
        ) from None
    return Registration(hook, "made", made, elsewhere)


def remove(client: MailchimpClient, list_id: str, hooks: Sequence[Hook]) -> list[Registered]:
    """Delete our webhooks of an audience, wherever they point; return them."""
    ours = [each for each in registered(client, list_id, hooks) if each.hook]
    for each in ours:
        remove_webhook(client, list_id, each.webhook.id)
    return ours
