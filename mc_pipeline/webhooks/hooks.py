"""Which webhooks there are, and their secrets: two for each audience, one per source.

Mailchimp does not say to a receiver who did something. So there is one webhook for what people do themselves
and one for what administrators do, each with an address of its own; what comes through the API is never
reported, because most of it would be our own writes.

The secret part of an address follows from ``MC_PIPELINE_WEBHOOK_SECRET``: nothing has to be kept.
"""

import hashlib
import hmac
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args
from urllib.parse import urlsplit

from mc_pipeline.settings import CompanySettings

Source = Literal["user", "admin"]
SOURCES: tuple[Source, ...] = get_args(Source)

SECRET_VARIABLE = "MC_PIPELINE_WEBHOOK_SECRET"
_SHORTEST_SECRET = 32


class WebhookSettingsError(Exception):
    """A secret or an address of the webhooks cannot be used; says which one, and what to set."""


@dataclass(frozen=True, kw_only=True)
class Hook:
    """One webhook of one audience.

    path             the secret last part of its address
    signing_secrets  Mailchimp's secrets for it; empty: deliveries are not signed
    """

    company: str
    audience: str
    list_id: str
    source: Source
    path: str = field(repr=False)
    signing_secrets: tuple[str, ...] = field(default=(), repr=False)

    @property
    def signing_variable(self) -> str:
        """The environment variable that holds its signing secrets, separated by commas."""
        list_id = re.sub("[^A-Za-z0-9]", "_", self.list_id).upper()
        return f"MC_PIPELINE_WEBHOOK_SIGNING_{list_id}_{self.source.upper()}"

    def url(self, base: str) -> str:
        """Its whole address below ``base``; it holds the secret."""
        return f"{base.rstrip('/')}/{self.path}"


def hooks_of(companies: Sequence[CompanySettings], environment: Mapping[str, str]) -> list[Hook]:
    """Return the webhooks of companies, with their secrets from the environment.

    Raises:
        WebhookSettingsError: ``MC_PIPELINE_WEBHOOK_SECRET`` is missing or too short to be one.
    """
    return list(_hooks_of(companies, _secret(environment), environment))


def checked_base(url: str) -> str:
    """Return the address below which Mailchimp reaches the receiver, without its last slash.

    Raises:
        WebhookSettingsError: it is not https, or holds a user, a query or a fragment.
    """
    parts = urlsplit(url)
    loopback = parts.hostname in ("127.0.0.1", "localhost", "::1")
    if parts.scheme != "https" and not (parts.scheme == "http" and loopback):
        raise WebhookSettingsError(
            f"--url is {parts.scheme or 'nothing'}://…: give https://host/path, so that addresses of people "
            "do not cross the network in the clear"
        )
    if not parts.hostname or parts.username or parts.password or parts.query or parts.fragment:
        raise WebhookSettingsError(
            "--url holds no host, or a user, query or fragment: give https://host/path"
        )
    return url.rstrip("/")


def _hooks_of(
    companies: Sequence[CompanySettings], secret: bytes, environment: Mapping[str, str]
) -> Iterator[Hook]:
    for company in companies:
        for audience in company.audiences.values():
            for source in SOURCES:
                text = f"webhook {audience.list_id} {source}".encode()
                hook = Hook(
                    company=company.key,
                    audience=audience.key,
                    list_id=audience.list_id,
                    source=source,
                    path=hmac.new(secret, text, hashlib.sha256).hexdigest(),
                )
                given = environment.get(hook.signing_variable, "").split(",")
                secrets = tuple(each.strip() for each in given if each.strip())
                yield Hook(**{**vars(hook), "signing_secrets": secrets})


def _secret(environment: Mapping[str, str]) -> bytes:
    secret = environment.get(SECRET_VARIABLE, "")
    if len(secret) < _SHORTEST_SECRET:
        found = f"has {len(secret)} characters" if secret else "is not set"
        raise WebhookSettingsError(
            f"{SECRET_VARIABLE} {found}: set it to at least {_SHORTEST_SECRET} random characters, such as "
            "the output of: openssl rand -hex 32"
        )
    return secret.encode()
