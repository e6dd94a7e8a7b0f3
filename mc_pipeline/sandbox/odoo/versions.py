"""What differs between the Odoo versions that the stand-in can be: release strings and the wording of errors.

Behaviour that differs (filters on datetimes, which change touches which ``write_date``) is decided where it
happens, by ``Release.major``, and where a version of Odoo Online brought it by ``Release.since``.

17, 18 and 19 are measured on real servers. 19.1 to 19.4 (Odoo Online) and 20 are made by hand after Odoo's
source: no server of theirs was recorded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

SUPPORTED = ((17, 0), (18, 0), (19, 0), (19, 1), (19, 2), (19, 3), (19, 4), (20, 0))
MADE_BY_HAND = tuple(version for version in SUPPORTED if version > (19, 0))
"""Versions after Odoo's source, without a recording of a server."""


@dataclass(frozen=True)
class Release:
    """One Odoo release."""

    major: int
    minor: int = 0

    @classmethod
    def of(cls, version: tuple[int, int]) -> Release:
        """Raises ValueError for a version that the stand-in does not know."""
        if version not in SUPPORTED:
            known = ", ".join(map(str, SUPPORTED))
            raise ValueError(f"version {version!r} is not one that this stand-in can be; use one of {known}")
        return cls(*version)

    @property
    def version(self) -> tuple[int, int]:
        return self.major, self.minor

    def since(self, major: int, minor: int = 0) -> bool:
        """Whether the release is this one or a later one."""
        return self.version >= (major, minor)

    @property
    def is_online(self) -> bool:
        """Whether this version is one of Odoo Online alone, whose names begin with "saas"."""
        return self.minor > 0

    @property
    def serie(self) -> str:
        return f"{'saas~' if self.is_online else ''}{self.major}.{self.minor}"

    @property
    def server_version(self) -> str:
        return {18: "18.0+e-20250520"}.get(self.major, f"{self.serie}{'+e' if self.is_online else ''}")

    def version_info(self) -> dict[str, Any]:
        """The answer of ``/web/webclient/version_info`` and of ``common.version``."""
        major = f"saas~{self.major}" if self.is_online else self.major
        info: dict[str, Any] = {
            "server_version": self.server_version,
            "server_version_info": [major, self.minor, 0, "final", 0, "e" if self.is_online else ""],
            "server_serie": self.serie,
        }
        return info if self.since(20) else {**info, "protocol_version": 1}

    @property
    def error_code(self) -> int:
        """``error.code`` of every JSON-RPC error."""
        return 0 if self.major >= 19 else 200

    def unknown_field(self, model: str, field: str) -> str:
        where = f"'{model}'" if self.major >= 19 else f"model '{model}'"
        return f"Invalid field '{field}' on {where}"

    def unknown_field_in_order(self, model: str, field: str) -> str:
        return f"Invalid field '{field}' on model '{model}'"

    def unknown_field_in_domain(self, model: str, field: str, leaf: tuple[Any, Any, Any]) -> str:
        return f"Invalid field {model}.{field} in {self._leaf} {leaf!r}"

    def unknown_operator(self, leaf: tuple[Any, Any, Any]) -> str:
        if self.major >= 19:
            return f"Invalid operator in condition {leaf!r}"
        return f"Invalid leaf {leaf!r}"

    def no_boolean(self, leaf: tuple[Any, Any, Any]) -> str:
        return f"Invalid condition {leaf!r}: a boolean field is compared with True or False only"

    @property
    def _leaf(self) -> str:
        return "condition" if self.major >= 19 else "leaf"

    def unknown_method(self, model: str, method: str) -> str:
        if self.major >= 18:
            return f"The method '{model}.{method}' does not exist"
        return f"The method '{method}' does not exist on the model '{model}'"

    def private_method(self, model: str, method: str) -> str:
        name = f"'{model}.{method}'" if self.major >= 18 else method
        return f"Private methods (such as {name}) cannot be called remotely."

    def invalid_email(self, email: object) -> str:
        if self.major >= 18:
            return f"Invalid email address “{email}”"
        return f"Invalid email address {str(email)!r}"
