"""Which database of Odoo this is, whatever its name, address and version are today."""

import hashlib

from mc_pipeline.odoo.client import OdooClient


def database_mark(client: OdooClient) -> str:
    """Make a mark of the database; it stays the same when Odoo is renamed, moved or upgraded.

    Made of when the partner with the lowest id was created: that is the company that Odoo itself makes in a
    new database, it is never made anew and seen by every user. A copy of a database has the mark of the
    original. "" where there is no partner.
    """
    everywhere = client.with_companies(client.user_company_ids)
    if "create_date" not in everywhere.fields_get("res.partner"):
        return ""
    first = everywhere.search_read("res.partner", [], ["create_date"], limit=1, order="id")
    if not first:
        return ""
    told = f"{first[0]['id']} {first[0]['create_date']}"
    return hashlib.sha256(told.encode()).hexdigest()[:16]
