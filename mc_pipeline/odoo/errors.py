"""What can go wrong when speaking to Odoo, as one hierarchy a caller can branch on.

Odoo returns the exception it ended with: over JSON-RPC in ``error.data`` of an HTTP 200 (``error.code`` says
nothing: 200 in Odoo 17 and 18, 0 later), over JSON-2 as the body of an HTTP status. The exception's ``name``
decides in both; the status does not (an unknown field is a 500). ``debug`` is the server's traceback and
never leaves this module; messages are shortened, masked and stripped of record names, because they end in
logs and in Dagster's events.
"""

import re
from collections.abc import Mapping
from enum import Enum
from typing import Any

from mc_pipeline.masking import mask_email, mask_text


class Retry(Enum):
    """When the same call may be sent again."""

    NEVER = "never"
    READS = "reads"  # a write may have been applied: only calls that change nothing are repeated
    ALWAYS = "always"  # the request never reached Odoo, or surely left nothing behind


class OdooError(Exception):
    """Odoo refused or failed a call. ``str()`` is one sentence that says what to do.

    ``name`` is Odoo's own exception name (``odoo.exceptions.AccessError``), empty when Odoo did not answer.
    """

    def __init__(
        self,
        message: str,
        model: str = "",
        method: str = "",
        name: str = "",
        *,
        retry: Retry = Retry.NEVER,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.model = model
        self.method = method
        self.name = name
        self.retry = retry
        self.retry_after = retry_after


class OdooAuthenticationError(OdooError):
    """The user or the secret is wrong, or the secret has expired."""


class OdooDatabaseError(OdooError):
    """The database named in the settings does not exist on that server or is no Odoo database."""


class OdooAccessError(OdooError):
    """The user may not read or write a model, a field, a record or a company."""


class OdooCompanyArchivedError(OdooAccessError):
    """A company of the settings is archived in Odoo, which refuses every call that names it."""


class OdooModelMissingError(OdooError):
    """A model is not there: the module that adds it is not installed."""


class OdooFieldMissingError(OdooError):
    """A field is not there, or the user may not see it."""


class OdooRecordMissingError(OdooError):
    """A record that was to be changed does not exist any more."""


class OdooValidationError(OdooError):
    """Odoo refused the values or the action: a constraint, a business rule, a wrong argument."""


class OdooConnectionError(OdooError):
    """Odoo could not be reached, or the connection broke, after all retries.

    ``may_have_been_applied`` says whether a write could have reached Odoo before the connection broke.
    """

    @property
    def may_have_been_applied(self) -> bool:
        return self.retry is not Retry.ALWAYS


class OdooServerError(OdooError):
    """Odoo, or a proxy before it, failed or answered something that is not Odoo's."""


class OdooVersionError(OdooError):
    """The server's version, or the transport asked for, is not supported."""


_RIGHTS = {
    "mail.blacklist": "Email Marketing / User",
    "mailing.contact": "Email Marketing / User",
    "mailing.list": "Email Marketing / User",
    "mailing.subscription": "Email Marketing / User",
    "sale.order": "Sales / User: All Documents",
    "sale.order.line": "Sales / User: All Documents",
    "account.move": "Invoicing / Auditor (or Billing)",
    "account.move.line": "Invoicing / Auditor (or Billing)",
    "hr.employee": "Employees / Officer",
    "mail.message": "to change the records that it writes notes about",
    "res.partner": "an internal user's rights",
}

_MODULES = {
    "sale.order": "sale_management",
    "sale.order.line": "sale_management",
    "account.move": "account",
    "account.move.line": "account",
    "mail.blacklist": "mail",
    "mail.message": "mail",
    "mail.message.subtype": "mail",
    "mailing.contact": "mass_mailing",
    "mailing.list": "mass_mailing",
    "mailing.subscription": "mass_mailing",
    "hr.employee": "hr",
}

_REFUSED_ARGUMENTS = {
    "builtins.ValueError",
    "builtins.TypeError",
    "builtins.KeyError",
    "werkzeug.exceptions.BadRequest",
    "werkzeug.exceptions.NotFound",
    "werkzeug.exceptions.UnprocessableEntity",
}
_ROLLED_BACK = ("SerializationFailure", "DeadlockDetected", "LockNotAvailable", "TransactionRollbackError")
_NO_MODEL = re.compile(r"^(?:Object|the model) '?(?P<model>[^\s']+)'? (?:doesn't|does not) exist")
_NO_FIELD = re.compile(r"^Invalid field ")
_NO_METHOD = re.compile(r"method .* does not exist")
_NO_DATABASE = re.compile(r'database "?.*"? does not exist')
_QUOTED = re.compile(r"[\"'](.*)[\"']")
_PLAIN_QUOTES = str.maketrans("“”", '""')
_LONGEST_MESSAGE = 400


def module_of(model: str) -> str:
    """The Odoo module that adds a model, or an empty text when it is not known here."""
    return _MODULES.get(model, "")


def model_missing(model: str, method: str = "", name: str = "") -> OdooModelMissingError:
    """The error for a model that Odoo does not have, with the module to install."""
    module = module_of(model)
    fix = f"install its module {module}" if module else "install the module that adds it"
    return OdooModelMissingError(f"Odoo has no model {model}: {fix}", model, method, name)


def from_error_answer(error: Any, model: str, method: str) -> OdooError:
    """Turn the ``error`` object of a JSON-RPC answer into a typed error."""
    data = error.get("data") if isinstance(error, Mapping) else None
    if not isinstance(data, Mapping) or not data.get("name"):
        said = error.get("message") if isinstance(error, Mapping) else None
        return OdooServerError(
            f"Odoo failed {_call(model, method)} without giving a reason "
            f"({_readable(str(said or 'no message'))})",
            model,
            method,
            retry=Retry.READS,
        )
    return from_exception(data, model, method)


def from_exception(data: Mapping[str, Any], model: str, method: str) -> OdooError:
    """Turn an exception as Odoo describes it (``name``, ``message``) into a typed error."""
    name = str(data["name"])
    message = str(data.get("message") or "")
    call = _call(model, method)
    short = name.rpartition(".")[2]
    if (name, message) == ("builtins.KeyError", "res.users"):
        return _no_odoo_database(model, method, name)
    if short == "Unauthorized":
        return OdooAuthenticationError(
            "Odoo refused odoo.secret over JSON-2: it accepts API keys only, no password, and a key "
            "expires (keys of ordinary users last 90 days at most; Odoo 20 takes those of scope RPC only): "
            "make a new key as the user in odoo.user (Preferences / Security), or set odoo.api to jsonrpc "
            "for a password",
            model,
            method,
            name,
        )
    if short in {"AccessDenied", "SessionExpiredException"}:
        return OdooAuthenticationError(
            "Odoo refused the user or the secret (odoo.user, odoo.secret): check both; "
            "an API key may have expired, and a user with two-factor authentication needs an API key",
            model,
            method,
            name,
        )
    if name.startswith("psycopg2") or short == "PoolError":
        return _database_failure(name, message, model, method)
    if short == "AccessError":
        right = _RIGHTS.get(model)
        fix = f"; give the Odoo user the right {right}" if right else ""
        return OdooAccessError(
            f"the Odoo user may not do {call}{fix}. {_access_reason(message)}".strip(),
            model,
            method,
            name,
        )
    if missing := _NO_MODEL.match(message):
        return model_missing(missing["model"], method, name)
    if name == "builtins.ValueError" and _NO_FIELD.match(message):
        return OdooFieldMissingError(
            f"{call}: {_readable(message)}; install the module that adds it, or remove it from the settings",
            model,
            method,
            name,
        )
    if short == "MissingError":
        return OdooRecordMissingError(f"{call}: {_readable(message)}", model, method, name)
    if name in {"builtins.AttributeError", "werkzeug.exceptions.NotFound"} and _NO_METHOD.search(message):
        return OdooValidationError(f"Odoo has no method for {call}", model, method, name)
    if short in {"ValidationError", "UserError", "RedirectWarning"} or name in _REFUSED_ARGUMENTS:
        return OdooValidationError(f"Odoo refused {call}: {_readable(message)}", model, method, name)
    return OdooServerError(f"Odoo failed {call} with {name}: {_readable(message)}", model, method, name)


def _database_failure(name: str, message: str, model: str, method: str) -> OdooError:
    """PostgreSQL's own words name its host and port: they are never repeated."""
    call = _call(model, method)
    if _NO_DATABASE.search(message):
        return OdooDatabaseError(
            "the Odoo server has no such database: correct odoo.database "
            "(Odoo lists its databases at /web/database/selector, where that is allowed)",
            model,
            method,
            name,
        )
    if name.rpartition(".")[2] in ("UndefinedTable", "UndefinedColumn"):
        return _no_odoo_database(model, method, name)
    if name.rpartition(".")[2] in _ROLLED_BACK:
        return OdooServerError(
            f"Odoo gave up {call} because other users changed the same records ({name})",
            model,
            method,
            name,
            retry=Retry.ALWAYS,
        )
    return OdooServerError(
        f"Odoo's database failed during {call} ({name}): look at Odoo's log",
        model,
        method,
        name,
        retry=Retry.READS,
    )


def _no_odoo_database(model: str, method: str, name: str) -> OdooDatabaseError:
    return OdooDatabaseError(
        "the database in odoo.database is no Odoo database, is of another version than the server, or its "
        f"upgrade is unfinished ({_call(model, method)})",
        model,
        method,
        name,
    )


def _call(model: str, method: str) -> str:
    return f"{model}.{method}" if model else method


def _access_reason(message: str) -> str:
    """What an access error says about rights, and nothing of what it says about records and users.

    Odoo lists names of records and of the user in it ("Contact, Ready Mat (res.partner: 10)"), so only the
    sentences and lists that are known to hold none are repeated.
    """
    lines = [line.strip() for line in message.splitlines()]
    for line in lines:
        if line.startswith(("Access to unauthorized", "Private methods")):
            return f"Odoo says: {line}"
    groups = _list_after(lines, "groups:")
    if groups:
        return f"Odoo allows it to the groups {', '.join(groups)}"
    # Odoo 19.4 made record rules into accesses
    rules = _list_after(lines, "rules:") or _list_after(lines, "accesses:")
    if rules:
        return f"Odoo's record rules forbid it: {', '.join(rules)}"
    return ""


def _list_after(lines: list[str], ending: str) -> list[str]:
    """The items (``- Sales/User``) that follow the line with this ending."""
    for position, line in enumerate(lines):
        if line.endswith(ending):
            items = []
            for item in lines[position + 1 :]:
                if not item.startswith("-"):
                    break
                items.append(item.lstrip("- "))
            return items
    return []


def _readable(message: str) -> str:
    """The first paragraph of Odoo's message in one line, with masked addresses, shortened.

    Later paragraphs list what the message is about: names of partners and users.
    """
    paragraph = message.translate(_PLAIN_QUOTES).strip().split("\n\n")[0]
    joined = " ".join(paragraph.split())
    if joined.startswith("Invalid email address"):
        joined = _QUOTED.sub(lambda found: f'"{mask_email(found[1])}"', joined)
    joined = mask_text(joined)
    if len(joined) > _LONGEST_MESSAGE:
        joined = joined[:_LONGEST_MESSAGE].rstrip() + "…"
    return joined or "no message"
