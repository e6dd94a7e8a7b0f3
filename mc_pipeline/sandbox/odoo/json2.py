"""JSON-2 of Odoo 19, ``POST /json/2/<model>/<method>``, and what 17 and 18 have at that address.

Unlike JSON-RPC it answers with the bare result and tells errors by status and body. As in Odoo, a body that
is no object is ignored without a word, and the database comes from the header ``X-Odoo-Database``, or is the
only one there is.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from mc_pipeline.sandbox.faults import FaultKind
from mc_pipeline.sandbox.journal import JournalEntry
from mc_pipeline.sandbox.odoo.access import Account
from mc_pipeline.sandbox.odoo.database import Database
from mc_pipeline.sandbox.odoo.environment import Environment
from mc_pipeline.sandbox.odoo.errors import (
    BuiltinError,
    HttpError,
    SerializationFailureError,
    ServerError,
    UserError,
)
from mc_pipeline.sandbox.odoo.versions import Release
from mc_pipeline.sandbox.serving import ENTRY, OwnError

PATH = "/json/"
_METHODS = ["GET", "POST", "PUT", "DELETE", "PATCH"]
_STATUSES = {
    "odoo.exceptions.AccessDenied": 403,
    "odoo.exceptions.AccessError": 403,
    "odoo.exceptions.MissingError": 404,
    "odoo.exceptions.UserError": 422,
    "odoo.exceptions.ValidationError": 422,
}
_BEARER = re.compile(r"^bearer\s+(.+)$", re.IGNORECASE)
_NO_DATABASE = """\
<!DOCTYPE html>
<title>404 Not Found</title>
<h1>Not Found</h1>
<p>No database is selected and the requested URL was not found in the server-wide controllers.</p>
<p>Please verify the hostname, <a href=/web/login>login</a> and try again.</p>

<!-- Alternatively, use the X-Odoo-Database header. -->
"""
_WRONG_TYPE = """\
<!doctype html>
<html lang=en>
<title>415 Unsupported Media Type</title>
<h1>Unsupported Media Type</h1>
<p>Request inferred type is compatible with [&#39;http&#39;] but \
&#39;/json/2/&lt;__model__&gt;/&lt;__method__&gt;&#39; is type=&#39;json2&#39;.<br><br>\
Please verify the Content-Type request header and try again.</p>
"""
_NOWHERE = "<!DOCTYPE html>\n<html><head><title>Odoo</title></head><body><h1>Error 404</h1></body></html>\n"
_ASK_FOR_KEY = {"WWW-Authenticate": "Bearer "}
_DID_YOU_MEAN = "Did you mean POST /json/2/<model>/<method>?"


class Json2:
    """The endpoints below ``/json`` of one server with one or more databases."""

    def __init__(self, release: Release, databases: Mapping[str, Database]) -> None:
        self._release = release
        self._databases = databases

    def routes(self) -> list[Route]:
        """Odoo 18 has an older ``/json``, which sends everybody to the login page."""
        if self._release.major < 19:
            elsewhere = self._to_the_login_page if self._release.major == 18 else self._not_found
            return [
                Route("/json/{path:path}", elsewhere, methods=_METHODS),
                Route("/web/version", self._not_found, methods=["GET"]),
            ]
        return [
            Route("/web/version", self._version, methods=["GET"]),
            Route("/json/version", self._version, methods=["GET"]),
            Route("/json/2/{model}/{method}", self._serve, methods=["POST"]),
            Route("/json/2", self._no_call, methods=_METHODS),
            Route("/json/2/{path:path}", self._no_call, methods=_METHODS),
            Route("/json/{path:path}", self._not_found, methods=_METHODS),
        ]

    def error_body(self, status: int) -> tuple[str, bytes]:
        """The answer of a server that broke."""
        broken = _described(BuiltinError(ZeroDivisionError, "division by zero"))
        return "application/json; charset=utf-8", json.dumps(broken).encode()

    def own_errors(self) -> dict[FaultKind, OwnError]:
        """Trouble that only Odoo has, in its words."""
        failure = json.dumps(_described(SerializationFailureError())).encode()
        return {
            "serialization_failure": (500, "application/json; charset=utf-8", failure),
            "database_gone": (404, "text/html; charset=utf-8", _NO_DATABASE.encode()),
        }

    async def _version(self, request: Request) -> Response:
        info = self._release.version_info()
        return _json({"version_info": info["server_version_info"], "version": info["server_version"]})

    async def _to_the_login_page(self, request: Request) -> Response:
        return RedirectResponse(f"/web/login?redirect={quote(request.url.path, safe='')}%3F", 303)

    async def _not_found(self, request: Request) -> Response:
        return HTMLResponse(_NOWHERE, 404)

    async def _no_call(self, request: Request) -> Response:
        if self._database(request) is None:
            return HTMLResponse(_NO_DATABASE, 404)
        return _error(HttpError(404, _DID_YOU_MEAN))

    async def _serve(self, request: Request) -> Response:
        database = self._database(request)
        if database is None:
            return HTMLResponse(_NO_DATABASE, 404)
        body = await request.body()
        if body and request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            return HTMLResponse(_WRONG_TYPE, 415, {"Accept": "application/json"})
        return await run_in_threadpool(self._carry_out, request, database, body)

    def _carry_out(self, request: Request, database: Database, body: bytes) -> Response:
        entry: JournalEntry | None = request.scope.get(ENTRY)
        model, method = request.path_params["model"], request.path_params["method"]
        if entry is not None:
            entry.action = f"{model}.{method}"
        try:
            with database.lock:
                account = _key_holder(database, request.headers.get("authorization", ""))
                if entry is not None:
                    entry.account = account.login
                return _json(_call(database, account, model, method, _arguments(body)))
        except ServerError as error:
            return _error(error)

    def _database(self, request: Request) -> Database | None:
        named = request.headers.get("x-odoo-database")
        if named:
            return self._databases.get(named)
        return next(iter(self._databases.values())) if len(self._databases) == 1 else None


def _key_holder(database: Database, authorization: str) -> Account:
    """The user of the API key, checked again for every request."""
    token = _BEARER.match(authorization)
    if token is None:
        raise HttpError(
            401, "User not authenticated, use an API Key with a Bearer Authorization header.", _ASK_FOR_KEY
        )
    account = database.holder_of_key(token[1])
    if account is None:
        raise HttpError(401, "Invalid apikey", _ASK_FOR_KEY)
    return account


def _arguments(body: bytes) -> dict[str, Any]:
    if not body:
        return {}
    try:
        content = json.loads(body)
    except ValueError as problem:
        raise HttpError(400, f"could not parse the body as json: {problem}") from None
    return content if isinstance(content, dict) else {}


def _call(database: Database, account: Account, model_name: str, method: str, named: dict[str, Any]) -> Any:
    ids, context = named.pop("ids", ()), named.pop("context", None)
    env = Environment(database, account, context or {})
    try:
        model = env.model(model_name)
    except UserError:
        raise HttpError(404, f"the model '{model_name}' does not exist") from None
    try:
        function, on_records = model.public_method(env, method)
    except BuiltinError as missing:
        raise HttpError(404, missing.message) from None
    if ids and not on_records:
        raise HttpError(422, f"cannot call {model_name}.{method} with ids")
    records = [[ids] if isinstance(ids, int) else list(ids)] if on_records else []
    try:
        inspect.signature(function).bind(env, *records, **named)
    except TypeError as problem:
        raise HttpError(422, str(problem)) from None
    with database.transaction(env):
        result = function(env, *records, **named)
    return [result] if method == "create" and isinstance(result, int) else result


def _json(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return JSONResponse(content, status, headers, media_type="application/json; charset=utf-8")


def _error(error: ServerError) -> Response:
    if isinstance(error, HttpError):
        return _json(_described(error), error.status, error.headers)
    return _json(_described(error), _STATUSES.get(error.name, 500))


def _described(error: ServerError) -> dict[str, Any]:
    return {
        "name": error.name,
        "message": error.message,
        "arguments": [error.message, error.status] if isinstance(error, HttpError) else [error.message],
        "context": {},
        "debug": f"Traceback (most recent call last):\n  …\n{error.name}: {error.message}\n",
    }
