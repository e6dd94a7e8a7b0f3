"""What the Odoo user may do with a model, asked without doing it."""

from typing import Literal

from mc_pipeline.odoo.client import OdooClient

Operation = Literal["read", "create", "write", "unlink"]


def may(client: OdooClient, model: str, operation: Operation) -> bool:
    """Whether the user's groups give a right on a model; record rules may still hide single records.

    Raises OdooModelMissingError and the other errors of the client.
    """
    if client.version < (18, 0):
        return bool(client.execute(model, "check_access_rights", operation=operation, raise_exception=False))
    return bool(client.execute(model, "has_access", [], operation=operation))
