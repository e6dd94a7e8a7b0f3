"""A logged-in session with one Odoo: the choice of the transport, the login, repeated calls.

Clients for several companies share one. Nothing here knows models beyond the user's own record.
"""

import re
from collections.abc import Mapping
from functools import cached_property
from threading import Lock
from typing import Any, Literal, Protocol
from urllib.parse import urlsplit

from mc_pipeline.odoo.connection import OdooConnection
from mc_pipeline.odoo.errors import (
    OdooAuthenticationError,
    OdooConnectionError,
    OdooError,
    OdooModelMissingError,
    OdooServerError,
    OdooVersionError,
)
from mc_pipeline.odoo.json2 import FIRST_VERSION as FIRST_JSON2
from mc_pipeline.odoo.json2 import Json2Transport, may_be_api_key
from mc_pipeline.odoo.json_rpc import JsonRpcTransport
from mc_pipeline.odoo.pace import Pace, shared_pace
from mc_pipeline.odoo.retry import RetryPolicy

Fields = Mapping[str, Mapping[str, Any]]
TransportName = Literal["jsonrpc", "json2"]

OLDEST_VERSION = (17, 0)
MOST_CONNECTIONS = 4

# Methods that change nothing in Odoo: the only ones repeated when it is unknown whether they arrived.
_READS = frozenset(
    {
        "search", "search_read", "search_count", "read", "fields_get", "has_group", "context_get",
        "read_group", "formatted_read_group", "name_search", "has_access", "check_access_rights",
    }
)  # fmt: skip


class Secret(Protocol):
    """A secret that shows itself only when asked (pydantic's SecretStr)."""

    def get_secret_value(self) -> str: ...


class ConnectionSettings(Protocol):
    """The part of companies.yaml that says where Odoo is (``OdooSettings``)."""

    @property
    def url(self) -> str: ...
    @property
    def database(self) -> str: ...
    @property
    def user(self) -> str: ...
    @property
    def secret(self) -> Secret: ...
    @property
    def api(self) -> str: ...
    @property
    def timeout_seconds(self) -> float: ...
    @property
    def connections(self) -> int | None: ...
    @property
    def calls_per_second(self) -> float | None: ...


class Transport(Protocol):
    """One way of speaking to Odoo: each call is one request, sent once."""

    user_id: int

    @property
    def name(self) -> TransportName: ...

    def log_in(self, database: str, user: str, secret: str) -> None: ...

    def call(self, model: str, method: str, args: list[Any], kwargs: dict[str, Any]) -> Any: ...


class OdooSession:
    """Logged in to Odoo as the user of the settings, over the transport that they and the server allow.

    ``pace`` in place of the one that all connections of this process to the server share.

    Raises OdooConnectionError (not reachable), OdooServerError (no Odoo there), OdooVersionError,
    OdooDatabaseError, OdooAuthenticationError.
    """

    def __init__(self, settings: ConnectionSettings, retry: RetryPolicy, pace: Pace | None = None) -> None:
        parts = urlsplit(settings.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise OdooConnectionError(
                "odoo.url must be an address such as https://odoo.example.com, "
                f"not {parts.hostname or settings.url!r}"
            )
        self._retry = retry
        self._open = True
        limits = (settings.connections, settings.calls_per_second)
        self._connection = OdooConnection(
            settings.url,
            settings.connections or MOST_CONNECTIONS,
            settings.timeout_seconds,
            pace or shared_pace(settings.url.rstrip("/"), *limits),
        )
        self.address = self._connection.shown
        self.fields: dict[str, Fields | OdooModelMissingError] = {}
        self.fields_lock = Lock()
        self.version: tuple[int, int] = (0, 0)
        self.transport_note = ""
        try:
            self._transport = self._logged_in(settings)
            self.user_company_ids = self._companies_of_the_user(archived_too=False)
        except BaseException:
            self._connection.close()
            raise

    @property
    def transport(self) -> TransportName:
        """How calls are sent."""
        return self._transport.name

    @property
    def user_id(self) -> int:
        """The user's id in Odoo."""
        return self._transport.user_id

    @cached_property
    def archived_company_ids(self) -> tuple[int, ...]:
        """Companies that the user still has and that are archived; asked when first wanted."""
        everything = self._companies_of_the_user(archived_too=True)
        return tuple(sorted({*everything} - {*self.user_company_ids}))

    def execute(self, model: str, method: str, args: list[Any], kwargs: dict[str, Any]) -> Any:
        """Call a model's method, again when that is safe."""
        if not self._open:
            raise OdooConnectionError("the connection to Odoo is closed")
        return self._retry.repeat(
            lambda: self._transport.call(model, method, args, kwargs), reads=method in _READS
        )

    def close(self) -> None:
        """Close all connections."""
        self._open = False
        self._connection.close()

    def _logged_in(self, settings: ConnectionSettings) -> Transport:
        json2 = Json2Transport(self._connection)
        if settings.api == "json2":
            self._know_version(self._retry.repeat(json2.asked_version, reads=True))
            if self.version < FIRST_JSON2:
                raise OdooVersionError(
                    f"Odoo {version_name(self.version)} at {self.address} has no JSON-2 (new in Odoo 19): "
                    "set odoo.api to auto or jsonrpc"
                )
            self._log_in(json2, settings)
            self.transport_note = "over JSON-2: odoo.api says so"
            return json2
        json_rpc = self._retry.repeat(lambda: JsonRpcTransport(self._connection), reads=True)
        self._know_version(json_rpc.server_version)
        if settings.api == "jsonrpc":
            because = "odoo.api says so"
        elif not (because := self._not_over_json2(json2, settings)):
            self.transport_note = "over JSON-2: Odoo accepts the API key there"
            return json2
        self.transport_note = f"over JSON-RPC: {because}"
        self._log_in(json_rpc, settings)
        return json_rpc

    def _not_over_json2(self, json2: Json2Transport, settings: ConnectionSettings) -> str:
        """Log in over JSON-2; return why not where that cannot be, else an empty text.

        A server that cannot be reached, and a key of another user, are errors over any transport.
        """
        if self.version < FIRST_JSON2:
            return f"Odoo {version_name(self.version)} has no JSON-2"
        no_key = "odoo.secret is not a valid API key, and JSON-2 accepts nothing else"
        if not may_be_api_key(settings.secret.get_secret_value()):
            return no_key
        try:
            self._log_in(json2, settings)
        except OdooConnectionError:
            raise
        except OdooAuthenticationError as refused:
            if refused.name:
                return no_key
            raise
        except OdooError as refused:
            return f"JSON-2 cannot be used: {refused}"
        return ""

    def _log_in(self, transport: Transport, settings: ConnectionSettings) -> None:
        self._retry.repeat(
            lambda: transport.log_in(settings.database, settings.user, settings.secret.get_secret_value()),
            reads=True,
        )

    def _know_version(self, text: str) -> None:
        self.version = version_of(text)
        if self.version < OLDEST_VERSION:
            raise OdooVersionError(
                f"Odoo at {self.address} has version {text}; {OLDEST_VERSION[0]}.0 and newer are supported"
            )

    def _companies_of_the_user(self, *, archived_too: bool) -> tuple[int, ...]:
        # A company archived in Odoo stays among its users' companies, and a call that names it in
        # allowed_company_ids is refused whole.
        user = self.execute(
            "res.users",
            "read",
            [[self.user_id]],
            {
                "fields": ["company_ids"],
                "load": "",
                "context": {"active_test": not archived_too, "lang": "en_US"},
            },
        )
        if not (isinstance(user, list) and len(user) == 1 and isinstance(user[0].get("company_ids"), list)):
            raise OdooServerError("Odoo did not return the companies of its user", "res.users", "read")
        return tuple(sorted(user[0]["company_ids"]))


def version_of(text: str) -> tuple[int, int]:
    """(19, 0) of "19.0", "18.0+e-20250520", "saas~18.3" or "19.0a1"."""
    found = re.search(r"(\d+)\.(\d+)", text)
    if not found:
        raise OdooServerError(f"Odoo did not return its version in a known form ({text[:40]!r})")
    return int(found[1]), int(found[2])


def version_name(version: tuple[int, int]) -> str:
    """How Odoo names a version: "20.0", or "saas~19.4" for one of Odoo Online alone."""
    major, minor = version
    return f"{'saas~' if minor else ''}{major}.{minor}"
