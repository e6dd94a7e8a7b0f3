"""Errors as Odoo reports them: the name that a client can branch on, the arguments, the message."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


class ServerError(Exception):
    """Ends a call with an error answer; everything the call changed is undone.

    ``name`` is what Odoo sends as ``error.data.name``.
    """

    name = "odoo.exceptions.UserError"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class UserError(ServerError):
    """A business rule refuses."""


class ValidationError(ServerError):
    """A constraint refuses: a mandatory field, a value that must be unique."""

    name = "odoo.exceptions.ValidationError"


class AccessError(ServerError):
    """The user lacks a right, a company, or a record rule hides the record."""

    name = "odoo.exceptions.AccessError"


class AccessDeniedError(ServerError):
    """Wrong password in a call on a model."""

    name = "odoo.exceptions.AccessDenied"

    def __init__(self) -> None:
        super().__init__("Access Denied")


class MissingError(ServerError):
    """The record does not exist, or not any more."""

    name = "odoo.exceptions.MissingError"

    @classmethod
    def of(cls, model: str, ids: Sequence[int], uid: int) -> MissingError:
        """In Odoo's words: which records, which user."""
        return cls(
            "Record does not exist or has been deleted.\n"
            f"(Record: {model}({', '.join(map(str, ids))},), User: {uid})"
        )


class BuiltinError(ServerError):
    """An exception of Python itself that Odoo lets through, such as ValueError or KeyError."""

    def __init__(self, kind: type[Exception], message: str) -> None:
        super().__init__(message)
        self.name = f"builtins.{kind.__name__}"


class DatabaseError(ServerError):
    """The database that a call names does not exist."""

    name = "psycopg2.OperationalError"

    def __init__(self, database: str) -> None:
        super().__init__(
            'connection to server at "localhost" (127.0.0.1), port 5432 failed: '
            f'FATAL:  database "{database}" does not exist\n'
        )


class SerializationFailureError(ServerError):
    """Other transactions changed the same rows; Odoo tried five times. The transaction was rolled back."""

    name = "psycopg2.errors.SerializationFailure"

    def __init__(self) -> None:
        super().__init__("could not serialize access due to concurrent update\n")


_HTTP_NAMES = {400: "BadRequest", 401: "Unauthorized", 404: "NotFound", 422: "UnprocessableEntity"}


class HttpError(ServerError):
    """What Odoo's web server itself refuses, before a model is asked: known to JSON-2 only."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers
        self.name = f"werkzeug.exceptions.{_HTTP_NAMES[status]}"
