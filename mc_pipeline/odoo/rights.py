"""What the Odoo user may do with a model, asked without doing it."""

from typing import Literal

from mc_pipeline.odoo.client import OdooClient
from mc_pipeline.odoo.errors import OdooAccessError

Operation = Literal["read", "create", "write", "unlink"]

_BY_RECORD_SINCE = (19, 4)
"""Where rights are rows of ``ir.access``, which may give a right for some records alone."""


def may(client: OdooClient, model: str, operation: Operation) -> bool:
    """Whether the user's groups give a right on a model; record rules may still hide single records.

    From 19.4 on a right to change or delete is asked for one record: every internal user may write its own
    partner there, so that Odoo, asked without records, says yes to everybody (``res_partner_rule_write_self``
    in ``odoo/addons/base/security/ir.access.csv``). Nothing gives a right to create for some records alone.

    Raises OdooModelMissingError and the other errors of the client.
    """
    if client.version < (18, 0):
        return bool(client.execute(model, "check_access_rights", operation=operation, raise_exception=False))
    asked = _some_record(client, model) if operation in ("write", "unlink") else []
    return bool(client.execute(model, "has_access", asked, operation=operation))


def _some_record(client: OdooClient, model: str) -> list[int]:
    """The id of a record that the user sees and that is not itself; none where rights are by model."""
    if client.version < _BY_RECORD_SINCE:
        return []
    others = [("partner_share", "=", True)] if model == "res.partner" else []
    try:
        return client.search(model, others, order="id", limit=1)
    except OdooAccessError:
        return []
