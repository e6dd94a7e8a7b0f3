"""The client every read and write of Odoo goes through.

``connect`` gives an ``OdooClient``; its protocol is what the rest of the package knows, so that another
transport can stand in. Every call carries ``allowed_company_ids``: without it Odoo shows all companies of the
user, with a company the user lacks it refuses (Odoo 17 to 19).
"""

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar
from urllib.parse import urlsplit

import odoorpc.error
import tenacity

from mc_pipeline.masking import mask_email
from mc_pipeline.odoo.errors import (
    OdooAccessError,
    OdooAuthenticationError,
    OdooConnectionError,
    OdooDatabaseError,
    OdooError,
    OdooModelMissingError,
    OdooServerError,
    OdooVersionError,
    Retry,
)
from mc_pipeline.odoo.transport import PooledOdoo

Domain = Sequence[Any]
Record = dict[str, Any]
Fields = Mapping[str, Mapping[str, Any]]
Result = TypeVar("Result")

OLDEST_VERSION = (17, 0)
MOST_CONNECTIONS = 4

# Methods that change nothing in Odoo: the only ones repeated when it is unknown whether they arrived.
_READS = frozenset(
    {
        "search", "search_read", "search_count", "read", "fields_get", "has_group", "context_get",
        "read_group", "formatted_read_group", "name_search", "login", "version",
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


@dataclass(frozen=True)
class RetryPolicy:
    """How often and how patiently a call is repeated: full jitter, bounded in count and in each wait."""

    attempts: int = 5
    first_wait_seconds: float = 0.5
    longest_wait_seconds: float = 20.0
    sleep: Callable[[float], None] = time.sleep


class OdooClient(Protocol):
    """Odoo as the pipeline sees it, for a set of companies."""

    @property
    def version(self) -> tuple[int, int]:
        """Major and minor version of the server, such as (18, 0)."""

    @property
    def address(self) -> str:
        """The server's address, for messages and links."""

    @property
    def company_ids(self) -> tuple[int, ...]:
        """Companies that every call is limited to (``allowed_company_ids``)."""

    @property
    def user_company_ids(self) -> tuple[int, ...]:
        """All companies the Odoo user has."""

    def with_companies(self, company_ids: Sequence[int]) -> "OdooClient":
        """The same connection, limited to other companies of the user."""

    def execute(self, model: str, method: str, *args: Any, **kwargs: Any) -> Any: ...

    def search(
        self,
        model: str,
        domain: Domain,
        *,
        limit: int | None = None,
        order: str | None = None,
        offset: int = 0,
    ) -> list[int]: ...

    def search_count(self, model: str, domain: Domain) -> int: ...

    def search_read(
        self,
        model: str,
        domain: Domain,
        fields: Sequence[str],
        *,
        limit: int | None = None,
        order: str | None = None,
        offset: int = 0,
    ) -> list[Record]: ...

    def read(self, model: str, ids: Sequence[int], fields: Sequence[str]) -> list[Record]: ...

    def fields_get(self, model: str) -> Fields: ...

    def has_group(self, group: str) -> bool: ...

    def close(self) -> None: ...


def connect(
    settings: ConnectionSettings,
    company_ids: Sequence[int],
    *,
    retry: RetryPolicy = RetryPolicy(),
) -> "JsonRpcClient":
    """Log in and check that the user has the companies.

    Raises OdooConnectionError (not reachable), OdooServerError (no Odoo there), OdooVersionError,
    OdooDatabaseError, OdooAuthenticationError, OdooAccessError (a company the user lacks).
    """
    if settings.api == "json2":
        raise OdooVersionError("odoo.api: json2 is not built yet; use auto or jsonrpc")
    parts = urlsplit(settings.url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise OdooConnectionError(
            "odoo.url must be an address such as https://odoo.example.com, "
            f"not {parts.hostname or settings.url!r}"
        )
    session = _Session(settings, retry)
    client = JsonRpcClient(session, tuple(company_ids))
    try:
        session.log_in()
        missing = sorted(set(company_ids) - set(client.user_company_ids))
    except BaseException:
        session.close()
        raise
    if missing:
        session.close()
        raise OdooAccessError(
            f"the Odoo user has no access to company {', '.join(map(str, missing))}; it has "
            f"{', '.join(map(str, client.user_company_ids)) or 'none'}: correct odoo_company_id, or add the "
            "company to the user's allowed companies in Odoo (Settings / Users)",
            "res.users",
            "read",
        )
    return client


class _Session:
    """A logged-in connection: what clients for different companies share."""

    def __init__(self, settings: ConnectionSettings, retry: RetryPolicy) -> None:
        self._settings = settings
        self._retry = retry
        self.fields: dict[str, Fields | OdooModelMissingError] = {}
        self.fields_lock = Lock()
        self._odoo: PooledOdoo | None = None
        self.version: tuple[int, int] = (0, 0)
        self.user_id = 0
        self.user_company_ids: tuple[int, ...] = ()

    @property
    def odoo(self) -> PooledOdoo:
        if self._odoo is None:
            raise OdooConnectionError("the connection to Odoo is closed")
        return self._odoo

    def log_in(self) -> None:
        settings = self._settings
        self._odoo = self.repeat(
            lambda: PooledOdoo(settings.url, timeout=settings.timeout_seconds, connections=MOST_CONNECTIONS),
            reads=True,
        )
        self.version = _version(str(self._odoo.version))
        if self.version < OLDEST_VERSION:
            raise OdooVersionError(
                f"Odoo at {self._odoo.address} has version {self._odoo.version}; "
                f"{OLDEST_VERSION[0]}.0 and newer are supported"
            )
        try:
            self.repeat(
                lambda: self.odoo.login(settings.database, settings.user, settings.secret.get_secret_value()),
                reads=True,
            )
        except odoorpc.error.RPCError:
            raise OdooAuthenticationError(
                f"Odoo refused the login of user {mask_email(settings.user)}: check odoo.user and "
                "odoo.secret (password or API key); a user with two-factor authentication needs an API key",
                "res.users",
                "login",
            ) from None
        except OdooDatabaseError as error:
            raise OdooDatabaseError(f"{settings.database!r}: {error.message}", name=error.name) from None
        self.user_id = int(self.odoo.env.uid)
        user = self.repeat(
            lambda: self.odoo.execute_kw(
                "res.users",
                "read",
                [[self.user_id]],
                {"fields": ["company_ids"], "load": "", "context": {"active_test": False, "lang": "en_US"}},
            ),
            reads=True,
        )
        if not (isinstance(user, list) and len(user) == 1 and isinstance(user[0].get("company_ids"), list)):
            raise OdooServerError("Odoo did not tell the companies of its user", "res.users", "read")
        self.user_company_ids = tuple(sorted(user[0]["company_ids"]))

    def execute(self, model: str, method: str, args: list[Any], kwargs: dict[str, Any]) -> Any:
        return self.repeat(lambda: self.odoo.execute_kw(model, method, args, kwargs), reads=method in _READS)

    def repeat(self, call: Callable[[], Result], *, reads: bool) -> Result:
        """Do a call, again when that is safe, and give up after the policy's attempts."""
        policy = self._retry
        jitter = tenacity.wait_random_exponential(
            multiplier=policy.first_wait_seconds, max=policy.longest_wait_seconds
        )

        def wait(state: tenacity.RetryCallState) -> float:
            error = state.outcome.exception() if state.outcome else None
            asked = error.retry_after if isinstance(error, OdooError) else None
            return max(jitter(state), min(asked or 0.0, policy.longest_wait_seconds))

        def repeatable(error: BaseException) -> bool:
            return isinstance(error, OdooError) and (
                error.retry is Retry.ALWAYS or (reads and error.retry is Retry.READS)
            )

        return tenacity.Retrying(
            stop=tenacity.stop_after_attempt(policy.attempts),
            wait=wait,
            retry=tenacity.retry_if_exception(repeatable),
            sleep=policy.sleep,
            reraise=True,
        )(call)

    def close(self) -> None:
        if self._odoo is not None:
            self._odoo.close()
            self._odoo = None


class JsonRpcClient:
    """``OdooClient`` over JSON-RPC (odoorpc). Reads may be made from several threads at once."""

    def __init__(self, session: _Session, company_ids: tuple[int, ...]) -> None:
        self._session = session
        self._company_ids = company_ids

    def __repr__(self) -> str:
        return f"JsonRpcClient({self.address}, companies {self._company_ids})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def version(self) -> tuple[int, int]:
        return self._session.version

    @property
    def address(self) -> str:
        return self._session.odoo.address

    @property
    def company_ids(self) -> tuple[int, ...]:
        return self._company_ids

    @property
    def user_company_ids(self) -> tuple[int, ...]:
        return self._session.user_company_ids

    def with_companies(self, company_ids: Sequence[int]) -> "JsonRpcClient":
        return JsonRpcClient(self._session, tuple(company_ids))

    def execute(self, model: str, method: str, *args: Any, **kwargs: Any) -> Any:
        """Call a public method of a model by positional and named arguments, with the client's context.

        Reads are repeated when the connection breaks or Odoo fails in passing; anything else only when it
        surely never reached Odoo. Raises OdooError.
        """
        context = {
            "allowed_company_ids": list(self._company_ids),
            "active_test": False,
            "lang": "en_US",
            **kwargs.pop("context", {}),
        }
        return self._session.execute(model, method, list(args), {**kwargs, "context": context})

    def search(
        self,
        model: str,
        domain: Domain,
        *,
        limit: int | None = None,
        order: str | None = None,
        offset: int = 0,
    ) -> list[int]:
        """Ids of the records that match a domain, archived ones included."""
        found = self.execute(model, "search", list(domain), **_window(limit, order, offset))
        return _expect(found, list, model, "search")

    def search_count(self, model: str, domain: Domain) -> int:
        """How many records match a domain, archived ones included."""
        return _expect(self.execute(model, "search_count", list(domain)), int, model, "search_count")

    def search_read(
        self,
        model: str,
        domain: Domain,
        fields: Sequence[str],
        *,
        limit: int | None = None,
        order: str | None = None,
        offset: int = 0,
    ) -> list[Record]:
        """Records that match a domain: the fields named, many2one as bare ids, empty values as False."""
        found = self.execute(
            model, "search_read", list(domain), fields=list(fields), load="", **_window(limit, order, offset)
        )
        return _expect(found, list, model, "search_read")

    def read(self, model: str, ids: Sequence[int], fields: Sequence[str]) -> list[Record]:
        """Records by id: deleted ones are left out; one that the user may not see is an OdooAccessError."""
        found = self.execute(model, "read", list(ids), fields=list(fields), load="")
        return _expect(found, list, model, "read")

    def fields_get(self, model: str) -> Fields:
        """Type, relation and label of the model's fields that the user may see; asked once per connection."""
        with self._session.fields_lock:
            known = self._session.fields.get(model)
            if known is None:
                known = self._session.fields[model] = self._asked_fields(model)
        if isinstance(known, OdooModelMissingError):
            raise known
        return known

    def _asked_fields(self, model: str) -> Fields | OdooModelMissingError:
        attributes = ["type", "relation", "string", "store"]
        try:
            found = self.execute(model, "fields_get", [], attributes=attributes)
        except OdooModelMissingError as missing:
            return missing
        return _expect(found, dict, model, "fields_get")

    def has_group(self, group: str) -> bool:
        """Whether the user is in a group, by its external id (``sales_team.group_sale_manager``)."""
        user = [] if self.version < (18, 0) else [[self._session.user_id]]
        return bool(self.execute("res.users", "has_group", *user, group))

    def close(self) -> None:
        """Close the connection, also for clients made by ``with_companies``."""
        self._session.close()


def _window(limit: int | None, order: str | None, offset: int) -> dict[str, Any]:
    window: dict[str, Any] = {"limit": limit, "order": order, "offset": offset or None}
    return {name: value for name, value in window.items() if value is not None}


def _expect(found: Any, kind: type[Result], model: str, method: str) -> Result:
    if not isinstance(found, kind) or (kind is int and isinstance(found, bool)):
        raise OdooServerError(
            f"Odoo answered {model}.{method} with {type(found).__name__} in place of {kind.__name__}",
            model,
            method,
        )
    return found


def _version(text: str) -> tuple[int, int]:
    """(19, 0) of "19.0", "18.0+e-20250520", "saas~18.3" or "19.0a1"."""
    found = re.search(r"(\d+)\.(\d+)", text)
    if not found:
        raise OdooServerError(f"Odoo does not tell its version in a known form ({text[:40]!r})")
    return int(found[1]), int(found[2])
