"""JSON-2, Odoo's HTTP API from version 19 on: one POST per call, with an API key and named arguments.

Plain requests and not odoo-client-lib 2.0.1: that opens a connection per call, has a fixed timeout and no
sub-path, raises one ValueError for every refusal with the values sent in its text, and guesses names of
positional arguments from a documentation page that needs rights of its own.

Odoo ignores a body that is a list without a word, and ``search_read`` then gives every record: the body is
always an object, and positional arguments whose names are not known here are refused.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import requests
from requests.auth import AuthBase

from mc_pipeline.masking import mask_email
from mc_pipeline.odoo.connection import OdooConnection, is_page, title
from mc_pipeline.odoo.errors import (
    OdooAuthenticationError,
    OdooDatabaseError,
    OdooError,
    OdooServerError,
    OdooVersionError,
    Retry,
    from_exception,
)

FIRST_VERSION = (19, 0)

# Odoo 19: the parameters of the methods that are called with positional ones.
_PARAMETERS: Mapping[str, tuple[str, ...]] = {
    "search": ("domain",),
    "search_count": ("domain",),
    "search_read": ("domain", "fields"),
    "read": ("ids", "fields"),
    "create": ("vals_list",),
    "write": ("ids", "vals"),
    "unlink": ("ids",),
    "fields_get": ("allfields", "attributes"),
    "has_group": ("ids", "group_ext_id"),
}
_TOKEN = re.compile(r"[A-Za-z0-9\-._~+/]+=*")  # what RFC 6750 lets a bearer token be
_NO_DATABASE = b"No database is selected"
_NOT_HERE = (
    "there is no JSON-2 (new in Odoo 19): set odoo.api to auto or jsonrpc, or correct odoo.url, which is "
    "Odoo's address without /web or /odoo"
)


class Json2Transport:
    """Calls of model methods over JSON-2, with the API key of a user. Calls need ``log_in``.

    Raises OdooError and its subclasses only.
    """

    name: Literal["json2"] = "json2"

    def __init__(self, connection: OdooConnection) -> None:
        self._connection = connection
        self._auth = _ApiKey("")
        self._database = ""
        self.user_id = 0

    def asked_version(self) -> str:
        """The server's version, such as "19.0", asked without a login. Raises OdooVersionError before 19."""
        answer = self._connection.request("GET", "/web/version")
        if 300 <= answer.status_code < 400:
            raise self._connection.redirected(answer, _NOT_HERE)
        if trouble := self._connection.passing_trouble(answer):
            raise trouble
        try:
            return str(answer.json()["version"])
        except (ValueError, KeyError, TypeError):
            raise OdooVersionError(
                f"Odoo at {self._connection.shown} (HTTP {answer.status_code}{title(answer)}): {_NOT_HERE}"
            ) from None

    def log_in(self, database: str, user: str, secret: str) -> None:
        """Check that the API key works in the database and is the user's, and remember it for the calls.

        Raises OdooAuthenticationError for anything that is no valid key of that user.
        """
        if not may_be_api_key(secret):
            raise from_exception({"name": "werkzeug.exceptions.Unauthorized"}, "res.users", "context_get")
        self._auth, self._database = _ApiKey(secret), database
        context = self.call("res.users", "context_get", [], {})
        user_id = context.get("uid") if isinstance(context, Mapping) else None
        if not isinstance(user_id, int):
            raise OdooServerError("Odoo did not return the user of the API key", "res.users", "context_get")
        owner = self.call("res.users", "read", [[user_id]], {"fields": ["login"], "load": ""})
        if not (isinstance(owner, list) and len(owner) == 1 and owner[0].get("login") == user):
            raise OdooAuthenticationError(
                f"the API key in odoo.secret is not the one of user {mask_email(user)}: "
                "correct odoo.user, or make a key as that user (Preferences / Security)",
                "res.users",
                "read",
            )
        self.user_id = user_id

    def call(self, model: str, method: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Call a model's method, once.

        ``create`` of one record (a mapping) gives its id and not a list, as over JSON-RPC. Raises TypeError
        for positional arguments without a name: nothing is sent.
        """
        named = _named(method, args, kwargs)
        single = method == "create" and isinstance(named.get("vals_list"), Mapping)
        if single:
            named["vals_list"] = [named["vals_list"]]
        try:
            answer = self._connection.request(
                "POST",
                f"/json/2/{model}/{method}",
                body=json.dumps(named).encode(),
                headers={"Content-Type": "application/json", "X-Odoo-Database": self._database},
                auth=self._auth,
            )
            result = self._result(answer, model, method)
        except OdooError as error:
            error.model, error.method = error.model or model, error.method or method
            raise
        if single:
            if not (isinstance(result, list) and len(result) == 1):
                raise OdooServerError(f"Odoo did not return the id of the new {model}", model, method)
            return result[0]
        return result

    def _result(self, answer: requests.Response, model: str, method: str) -> Any:
        connection = self._connection
        where = f"Odoo at {connection.shown}"
        try:
            content = answer.json()
        except ValueError:
            raise self._not_json(answer) from None
        if answer.status_code == 200:
            return content
        if isinstance(content, Mapping) and isinstance(content.get("name"), str):
            raise from_exception(content, model, method)
        raise connection.passing_trouble(answer) or OdooServerError(
            f"{where} or a server before it refused the request (HTTP {answer.status_code}): "
            "let /json/2 through there"
        )

    def _not_json(self, answer: requests.Response) -> OdooError:
        """The error for an answer that is no JSON: a page of Odoo's or of a server before it."""
        connection, status = self._connection, answer.status_code
        where = f"Odoo at {connection.shown}"
        if 300 <= status < 400:
            return connection.redirected(answer, _NOT_HERE)
        if status == 404 and _NO_DATABASE in answer.content:
            return OdooDatabaseError(
                f"{self._database!r}: the Odoo server offers no such database to JSON-2 under this host: "
                "correct odoo.database, or the server's dbfilter"
            )
        if status in (404, 405):
            return OdooServerError(f"{where} (HTTP {status}{title(answer)}): {_NOT_HERE}")
        if status == 415:
            return OdooServerError(
                f"{where} got the request without its content type (HTTP 415): "
                "a proxy before it must pass the header Content-Type on"
            )
        if trouble := connection.passing_trouble(answer):
            return trouble
        if status != 200:
            return OdooServerError(
                f"a server before {where} refused the request (HTTP {status}{title(answer)}): "
                "let /json/2 and the header Authorization through there"
            )
        if is_page(answer):
            return OdooServerError(
                f"{connection.shown} answered with a web page{title(answer)} and not as Odoo's JSON-2: "
                "no login page or proxy may stand before /json/2"
            )
        return OdooServerError(f"{where} sent an answer that is cut off or no JSON", retry=Retry.READS)


class _ApiKey(AuthBase):
    """Puts the key into the request, where requests would put what a .netrc file has for the host."""

    def __init__(self, key: str) -> None:
        self._key = key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._key}"
        return request


def may_be_api_key(secret: str) -> bool:
    """Whether a secret has a form that can be sent as a key: no space, no letters beyond ASCII."""
    return _TOKEN.fullmatch(secret) is not None


def _named(method: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """All arguments by name. A list of ids leads the positional ones of any method on records."""
    names = _PARAMETERS.get(method, ("ids",) if args and _are_ids(args[0]) else ())
    if len(args) > len(names):
        raise TypeError(
            f"over JSON-2 the arguments of {method} must be named: {len(args)} have no name, "
            f"{len(names)} are known"
        )
    given = dict(zip(names, args, strict=False))
    if twice := given.keys() & kwargs.keys():
        raise TypeError(f"{method} got {', '.join(sorted(twice))} twice")
    return {**given, **kwargs}


def _are_ids(value: Any) -> bool:
    return isinstance(value, list) and all(type(each) is int for each in value)
