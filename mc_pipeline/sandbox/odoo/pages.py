"""The pages on which a person looks at the data and acts."""
from __future__ import annotations
from typing import Any
from starlette.routing import Route


def routes(odoo: Any) -> list[Route]:
    return []
