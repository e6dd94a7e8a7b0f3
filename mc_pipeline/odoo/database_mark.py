"""Which database of Odoo this is, whatever its name, address and version are today."""

import hashlib

from mc_pipeline.odoo.client import OdooClient

_MODEL = "res.country"


def database_mark(client: OdooClient) -> str:
    """Make a mark of the database; it stays the same when Odoo is renamed, moved or upgraded.

    Made of when the country with the lowest id was created. Countries are made with the database (measured on
    17 to 19: in its first transaction), belong to no company, and every user sees them all: a user who is
    given another company or another right finds the same. A copy of a database has the mark of the original.
    "" where there is no country.
    """
    if "create_date" not in client.fields_get(_MODEL):
        return ""
    first = client.search_read(_MODEL, [], ["create_date"], limit=1, order="id")
    if not first:
        return ""
    first_record = f"{first[0]['id']} {first[0]['create_date']}"
    return hashlib.sha256(first_record.encode()).hexdigest()[:16]
