"""JSON-RPC, by which every Odoo up to 21 can be spoken to, through odoorpc.

odoorpc 0.10.1 opens a new connection for every call (urllib sends ``Connection: close``), follows redirects,
and fails on an HTML page with a JSON error. It accepts an opener in place of urllib's; the one here sends
through our pooled connection to the address in the settings, which may have a path, and turns every other
answer than Odoo's into an error that says what to do.
"""

import io
import json
import logging
from collections.abc import Mapping
from typing import Any, Literal
from urllib.parse import urlsplit
from urllib.request import Request

import odoorpc
import odoorpc.error
import requests

from mc_pipeline.masking import mask_email
from mc_pipeline.odoo.connection import ADDRESS_FIX, OdooConnection, is_page, title
from mc_pipeline.odoo.errors import (
    OdooAuthenticationError,
    OdooDatabaseError,
    OdooError,
    OdooServerError,
    Retry,
    from_error_answer,
)

# At level DEBUG odoorpc logs every request whole, the secret and the records included.
logging.getLogger("odoorpc.rpc.jsonrpclib").setLevel(logging.WARNING)


class JsonRpcTransport:
    """Calls of model methods over JSON-RPC. Made, it knows the server's version; calls need ``log_in``.

    Raises OdooError and its subclasses only.
    """

    name: Literal["jsonrpc"] = "jsonrpc"

    def __init__(self, connection: OdooConnection) -> None:
        self._odoo = _PooledOdoo(connection)
        self.server_version = str(self._odoo.version)
        self.user_id = 0

    def log_in(self, database: str, user: str, secret: str) -> None:
        """Check the credentials and remember them for the calls."""
        try:
            self._odoo.login(database, user, secret)
        except odoorpc.error.RPCError:
            raise OdooAuthenticationError(
                f"Odoo refused the login of user {mask_email(user)}: check odoo.user and odoo.secret "
                "(password or API key); an API key may have expired (keys of ordinary users last 90 days at "
                "most), and a user with two-factor authentication needs one",
                "res.users",
                "login",
            ) from None
        except OdooDatabaseError as error:
            raise OdooDatabaseError(f"{database!r}: {error.message}", name=error.name) from None
        self.user_id = int(self._odoo.env.uid)

    def call(self, model: str, method: str, args: list[Any], kwargs: dict[str, Any]) -> Any:
        """Call a model's method, once."""
        return self._odoo.execute_kw(model, method, args, kwargs)


class _PooledOpener:
    """What odoorpc calls in place of a urllib opener."""

    def __init__(self, connection: OdooConnection) -> None:
        self._connection = connection

    def open(self, request: Request, timeout: float | None = None) -> io.BytesIO:
        """Send odoorpc's request; return a readable with the JSON body of Odoo's answer.

        Raises OdooConnectionError when nothing (whole) came back, OdooServerError when what came back is not
        Odoo's JSON.
        """
        answer = self._connection.request(
            "POST",
            urlsplit(request.full_url).path,
            body=_body(request),
            headers={"Content-Type": "application/json"},
            timeout_seconds=timeout,
        )
        self._check(answer)
        return io.BytesIO(answer.content)

    def _check(self, answer: requests.Response) -> None:
        connection, status = self._connection, answer.status_code
        where = f"Odoo at {connection.shown}"
        if 300 <= status < 400:
            raise connection.redirected(answer)
        if status in (401, 407):
            raise OdooServerError(
                f"a server before {where} asks for a login of its own (HTTP {status}): "
                "let /jsonrpc through there"
            )
        if status == 403:
            raise OdooServerError(
                f"a server before {where} forbids the request (HTTP 403{title(answer)}): "
                "allow this machine's address and the path /jsonrpc there"
            )
        if status in (404, 405):
            raise OdooServerError(
                f"there is no Odoo JSON-RPC at {connection.shown} (HTTP {status}{title(answer)}): "
                f"{ADDRESS_FIX}"
            )
        if trouble := connection.passing_trouble(answer):
            raise trouble
        if status != 200:
            raise OdooServerError(f"{where} refused the request (HTTP {status}{title(answer)})")
        if not answer.content.strip():
            raise OdooServerError(f"{where} answered with an empty body", retry=Retry.READS)
        if is_page(answer):
            raise OdooServerError(
                f"{connection.shown} answered with a web page{title(answer)} and not as Odoo's JSON-RPC: "
                f"{ADDRESS_FIX}; and no login page or proxy may stand before /jsonrpc"
            )


class _PooledOdoo(odoorpc.ODOO):
    """odoorpc's ODOO over a pooled connection, with typed errors."""

    def __init__(self, connection: OdooConnection) -> None:
        parts = urlsplit(connection.base)
        self._shown = connection.shown
        try:
            # The opener knows scheme and path; odoorpc's "jsonrpc+ssl" would ask for the version twice.
            super().__init__(
                host=parts.hostname or "",
                protocol="jsonrpc",
                port=parts.port or (443 if parts.scheme == "https" else 80),
                timeout=connection.timeout_seconds,
                opener=_PooledOpener(connection),
            )
        except (KeyError, TypeError, json.JSONDecodeError, UnicodeDecodeError):
            raise OdooServerError(f"{self._shown} answers, but not as Odoo does: check odoo.url") from None

    def json(self, url: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """Send one JSON-RPC request; return the answer's envelope, which has no ``error``."""
        model, method = _called(params)
        try:
            data = self._connector.proxy_json(url, params)
        except (json.JSONDecodeError, UnicodeDecodeError):
            raise OdooServerError(
                f"Odoo at {self._shown} sent an answer that is cut off or no JSON",
                model,
                method,
                retry=Retry.READS,
            ) from None
        except OdooError as error:
            error.model, error.method = model, method
            raise
        if not isinstance(data, dict) or not ({"result", "error", "jsonrpc"} & data.keys()):
            raise OdooServerError(
                f"{self._shown} answers JSON, but not Odoo's: check odoo.url and the proxies before it",
                model,
                method,
            )
        if data.get("error"):
            raise from_error_answer(data["error"], model, method) from None
        return data


def _called(params: Mapping[str, Any]) -> tuple[str, str]:
    """Model and method of a request, for messages; arguments hold the secret and are left out."""
    if params.get("service") == "object":
        return str(params["args"][3]), str(params["args"][4])
    return "", str(params.get("method", ""))


def _body(request: Request) -> bytes:
    if not isinstance(request.data, bytes):
        raise TypeError("odoorpc sends its requests as bytes")
    return request.data
