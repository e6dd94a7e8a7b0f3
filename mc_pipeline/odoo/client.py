"""The client every read and write of Odoo goes through.

``connect`` gives an ``OdooClient``, over whichever transport; its protocol is what the rest of the package
knows. Every call sends ``allowed_company_ids``: without it Odoo shows all companies of the user, with a
company the user lacks it refuses (Odoo 17 to 20).
"""

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

from mc_pipeline.odoo.errors import (
    OdooAccessError,
    OdooCompanyArchivedError,
    OdooModelMissingError,
    OdooServerError,
)
from mc_pipeline.odoo.pace import Pace
from mc_pipeline.odoo.retry import USUAL_RETRY, RetryPolicy
from mc_pipeline.odoo.session import ConnectionSettings, Fields, OdooSession, TransportName

__all__ = [
    "ConnectedClient",
    "ConnectionSettings",
    "Domain",
    "Fields",
    "OdooClient",
    "Record",
    "RetryPolicy",
    "TransportName",
    "connect",
]

Domain = Sequence[Any]
Record = dict[str, Any]
Result = TypeVar("Result")


class OdooClient(Protocol):
    """Odoo as the pipeline sees it, for a set of companies."""

    @property
    def version(self) -> tuple[int, int]:
        """Major and minor version of the server, such as (18, 0)."""

    @property
    def address(self) -> str:
        """The server's address, for messages and links."""

    @property
    def transport(self) -> TransportName:
        """How calls are sent: ``json2`` or ``jsonrpc``."""

    @property
    def transport_note(self) -> str:
        """How calls are sent and why so, for people: "over JSON-2: Odoo accepts the API key there"."""

    @property
    def company_ids(self) -> tuple[int, ...]:
        """Companies that every call is limited to (``allowed_company_ids``)."""

    @property
    def user_company_ids(self) -> tuple[int, ...]:
        """All companies the Odoo user has, without archived ones: Odoo refuses a call that names one."""

    @property
    def archived_company_ids(self) -> tuple[int, ...]:
        """Companies among the Odoo user's that are archived in Odoo: never to be asked for."""

    @property
    def user_id(self) -> int:
        """The Odoo user's id: what Odoo notes as ``create_uid`` and ``write_uid`` of what we write."""

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
    retry: RetryPolicy = USUAL_RETRY,
    pace: Pace | None = None,
) -> "ConnectedClient":
    """Log in and check that the user has the companies.

    ``settings.api``: ``json2`` and ``jsonrpc`` force a transport; ``auto`` takes JSON-2 where the server is
    Odoo 19 or newer and accepts the secret there (an API key), else JSON-RPC. ``settings.connections`` and
    ``settings.calls_per_second`` hold for every request of this process to the server, unless ``pace`` is
    given.

    Raises OdooConnectionError (not reachable), OdooServerError (no Odoo there), OdooVersionError,
    OdooDatabaseError, OdooAuthenticationError, OdooAccessError (a company the user lacks),
    OdooCompanyArchivedError.
    """
    session = OdooSession(settings, retry, pace)
    try:
        client = ConnectedClient(session, tuple(company_ids))
        missing = sorted(set(company_ids) - set(client.user_company_ids))
        if missing:
            raise _not_to_be_asked_for(client, missing)
    except BaseException:
        session.close()
        raise
    return client


def _not_to_be_asked_for(client: OdooClient, missing: Sequence[int]) -> OdooAccessError:
    archived = [company for company in missing if company in client.archived_company_ids]
    if archived:
        return OdooCompanyArchivedError(
            f"company {', '.join(map(str, archived))} is archived in Odoo: unarchive it there (Settings / "
            "Companies), or correct odoo_company_id, or remove the company from companies.yaml",
            "res.users",
            "read",
        )
    return OdooAccessError(
        f"the Odoo user has no access to company {', '.join(map(str, missing))}; it has "
        f"{', '.join(map(str, client.user_company_ids)) or 'none'}: correct odoo_company_id, or add the "
        "company to the user's allowed companies in Odoo (Settings / Users)",
        "res.users",
        "read",
    )


class ConnectedClient:
    """``OdooClient`` over a logged-in session. Reads may be made from several threads at once."""

    def __init__(self, session: OdooSession, company_ids: tuple[int, ...]) -> None:
        self._session = session
        self._company_ids = company_ids

    def __repr__(self) -> str:
        return f"ConnectedClient({self.address}, companies {self._company_ids})"

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
        return self._session.address

    @property
    def transport(self) -> TransportName:
        return self._session.transport

    @property
    def transport_note(self) -> str:
        return self._session.transport_note

    @property
    def company_ids(self) -> tuple[int, ...]:
        return self._company_ids

    @property
    def user_company_ids(self) -> tuple[int, ...]:
        return self._session.user_company_ids

    @property
    def archived_company_ids(self) -> tuple[int, ...]:
        return self._session.archived_company_ids

    @property
    def user_id(self) -> int:
        return self._session.user_id

    def with_companies(self, company_ids: Sequence[int]) -> "ConnectedClient":
        return ConnectedClient(self._session, tuple(company_ids))

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
        """Records by id: deleted ones are left out; one that the user may not see is an OdooAccessError.

        Asked for nothing but ``id``, Odoo gives back deleted ones too.
        """
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
            f"Odoo answered {model}.{method} with {type(found).__name__} instead of {kind.__name__}",
            model,
            method,
        )
    return found
