"""Odoo's e-mail blacklist: addresses that must get no marketing, of all companies."""

from mc_pipeline.odoo.client import OdooClient
from mc_pipeline.odoo.fields import available_fields
from mc_pipeline.odoo.paging import read_all
from mc_pipeline.odoo.reading import OdooRead, flags, frame, ids, now, texts, times

_MODEL = "mail.blacklist"


def read_blacklist(client: OdooClient) -> OdooRead:
    """All rows of ``mail.blacklist``, removed (archived) ones included.

    Columns: blacklist_id int64, email (as Odoo normalised it), active bool (False = removed), write_date
    (UTC; missing where Odoo has none).

    Raises OdooAccessError when the user lacks the right Email Marketing / User.
    """
    observed_at = now()
    fields = available_fields(client, _MODEL, ["email", "active", "write_date"])
    found = read_all(client, _MODEL, [], fields)
    records = found.records
    rows = frame(
        {
            "blacklist_id": ids(record["id"] for record in records),
            "email": texts(record["email"] for record in records),
            "active": flags(record["active"] for record in records),
            "write_date": times(record["write_date"] for record in records),
        }
    )
    return OdooRead(rows, observed_at, found.complete, found.incomplete_because)
