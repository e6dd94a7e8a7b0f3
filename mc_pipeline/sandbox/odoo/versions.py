"""What differs between the Odoo versions that the stand-in can be: release strings and the wording of errors.

Behaviour that differs (filters on datetimes, which change touches which ``write_date``) is decided where it
happens, by ``Release.major``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

SUPPORTED = (17, 18, 19)


@dataclass(frozen=True)
class Release:
    """One Odoo release."""

    major: int
    server_version: str

    @classmethod
    def of(cls, version: tuple[int, int]) -> Release:
        """Raises ValueError for a version that the stand-in does not know."""
        if version[0] not in SUPPORTED or version[1] != 0:
            known = ", ".join(f"({major}, 0)" for major in SUPPORTED)
            raise ValueError(f"version {version!r} is not one that this stand-in can be; use one of {known}")
        names = {17: "17.0", 18: "18.0+e-20250520", 19: "19.0"}
        return cls(version[0], names[version[0]])

    @property
    def serie(self) -> str:
        return f"{self.major}.0"

    def version_info(self) -> dict[str, Any]:
        """The answer of ``/web/webclient/version_info`` and of ``common.version``."""
        return {
            "server_version": self.server_version,
            "server_version_info": [self.major, 0, 0, "final", 0, ""],
            "server_serie": self.serie,
            "protocol_version": 1,
        }

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
