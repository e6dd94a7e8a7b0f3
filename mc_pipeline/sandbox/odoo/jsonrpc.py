"""JSON-RPC as odoorpc uses it: ``/web/webclient/version_info`` and ``/jsonrpc`` with its services.

Every answer is HTTP 200; an error is named by ``error.data.name``. Passwords never reach the journal.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from mc_pipeline.sandbox.faults import FaultKind
from mc_pipeline.sandbox.journal import JournalEntry
from mc_pipeline.sandbox.odoo.database import Database
from mc_pipeline.sandbox.odoo.environment import Environment
from mc_pipeline.sandbox.odoo.errors import (
    AccessDeniedError,
    BuiltinError,
    DatabaseError,
    SerializationFailureError,
    ServerError,
)
from mc_pipeline.sandbox.odoo.versions import Release
from mc_pipeline.sandbox.serving import ENTRY, OwnError

_SECRET = "•••"


class JsonRpc:
    """The RPC endpoints of one server with one or more databases."""

    def __init__(self, release: Release, databases: Mapping[str, Database]) -> None:
        self._release = release
        self._databases = databases
        self._services: dict[str, Callable[[str, list[Any]], Any]] = {
            "common": self._common,
            "object": self._object,
        }
        if not release.since(19, 1):
            self._services["db"] = self._db

    def routes(self) -> list[Route]:
        return [
            Route("/jsonrpc", self._serve, methods=["POST"]),
            Route("/web/webclient/version_info", self._version_info, methods=["POST"]),
        ]

    async def _version_info(self, request: Request) -> Response:
        call = await _body(request)
        if call is None:
            return _not_json()
        return self._answer(call, {"result": self._release.version_info()})

    async def _serve(self, request: Request) -> Response:
        call = await _body(request)
        if call is None:
            return _not_json()
        params = call.get("params") or {}
        entry: JournalEntry | None = request.scope.get(ENTRY)
        if entry is not None:
            self._describe(entry, call, params)
        return await run_in_threadpool(self._carry_out, call, params)

    def _carry_out(self, call: Mapping[str, Any], params: Mapping[str, Any]) -> Response:
        try:
            service, method = params.get("service", ""), params.get("method", "")
            if service not in self._services:
                raise BuiltinError(KeyError, repr(service))
            result = self._services[service](method, list(params.get("args") or ()))
            return self._answer(call, {"result": result})
        except ServerError as error:
            return self._answer(call, {"error": self._error(error)})

    def _answer(self, call: Mapping[str, Any], content: dict[str, Any]) -> Response:
        return JSONResponse({"jsonrpc": "2.0", "id": call.get("id"), **content})

    def _error(self, error: ServerError) -> dict[str, Any]:
        return {
            "code": self._release.error_code,
            "message": "Odoo Server Error",
            "data": {
                "name": error.name,
                "message": error.message,
                "arguments": [error.message],
                "context": {},
                "debug": f"Traceback (most recent call last):\n  …\n{error.name}: {error.message}\n",
            },
        }

    def internal_error(self) -> dict[str, Any]:
        """The answer of a server that broke."""
        return {"jsonrpc": "2.0", "id": None, "error": self._error(ServerError("division by zero"))}

    def own_errors(self) -> dict[FaultKind, OwnError]:
        """Trouble that only Odoo has, in its words."""

        def answer(error: ServerError) -> OwnError:
            content = {"jsonrpc": "2.0", "id": None, "error": self._error(error)}
            return 200, "application/json", json.dumps(content).encode()

        return {
            "serialization_failure": answer(SerializationFailureError()),
            "database_gone": answer(DatabaseError(next(iter(self._databases)))),
        }

    # services

    def _common(self, method: str, args: list[Any]) -> Any:
        match method, args:
            case "version", _:
                return self._release.version_info()
            case "login" | "authenticate", [database, login, secret, *_]:
                return self._database(database).login(login, secret)
            case _:
                raise BuiltinError(
                    AttributeError, f"module 'odoo.service.common' has no exposed method {method!r}"
                )

    def _db(self, method: str, args: list[Any]) -> Any:
        match method:
            case "list":
                return sorted(self._databases)
            case "db_exist":
                return args[0] in self._databases
            case "server_version":
                return self._release.server_version
            case _:
                raise AccessDeniedError()

    def _object(self, method: str, args: list[Any]) -> Any:
        if method not in ("execute", "execute_kw") or len(args) < 5:
            raise BuiltinError(
                TypeError, f"{method}() takes at least 5 arguments: db, uid, passwd, obj, method"
            )
        name, uid, secret, model_name, model_method, *rest = args
        if method == "execute":
            positional, named = rest, {}
        else:
            positional = list(rest[0] or ()) if rest else []
            named = dict(rest[1] or {}) if len(rest) > 1 else {}
        database = self._database(name)
        with database.lock:
            account = database.authenticated(uid, secret)
            env = Environment(database, account, named.pop("context", None) or {})
            model = env.model(model_name)
            with database.transaction(env):
                return model.call(env, model_method, positional, named)

    def _database(self, name: object) -> Database:
        database = self._databases.get(str(name))
        if database is None:
            raise DatabaseError(str(name))
        return database

    # the journal

    def _describe(self, entry: JournalEntry, call: Mapping[str, Any], params: Mapping[str, Any]) -> None:
        """Say in the journal who calls what, and leave the secret out."""
        args = list(params.get("args") or ())
        if len(args) > 2:
            args[2] = _SECRET
        shown = {**call, "params": {**params, "args": args}}
        entry.raw_body = json.dumps(shown, ensure_ascii=False).encode()
        service, method = params.get("service"), params.get("method")
        entry.action = f"{service}.{method}"
        if service == "common" and len(args) > 1:
            entry.account = str(args[1])
        if service == "object" and len(args) > 4:
            entry.action = f"{args[3]}.{args[4]}"
            database = self._databases.get(str(args[0]))
            account = (
                database.accounts.get(args[1]) if database is not None and isinstance(args[1], int) else None
            )
            entry.account = None if account is None else account.login


async def _body(request: Request) -> dict[str, Any] | None:
    try:
        call = json.loads(await request.body())
    except ValueError:
        return None
    return call if isinstance(call, dict) else None


def _not_json() -> Response:
    return Response(
        "<!doctype html>\n<title>400 Bad Request</title>\n<h1>Bad Request</h1>\n", 400, media_type="text/html"
    )
