"""The API keys of the Odoo user, and when they end.

Odoo 18 and 19 make every key with an end, 90 days away at most for ordinary users; Odoo 17 knows no end.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from mc_pipeline.odoo.client import OdooClient
from mc_pipeline.odoo.reading import now

_MODEL = "res.users.apikeys"


@dataclass(frozen=True)
class ApiKey:
    """A key, by the name that its user gave it. ``ends_at`` (UTC) None: never."""

    name: str
    ends_at: datetime | None


def read_api_keys(client: OdooClient) -> list[ApiKey]:
    """The keys with which the client's user may log in now, the one that ends first first.

    Odoo does not tell which of them is in use. Raises OdooError.
    """
    user = client.execute("res.users", "context_get")["uid"]
    has_end = "expiration_date" in client.fields_get(_MODEL)
    fields = ["name", "scope", *(["expiration_date"] if has_end else [])]
    records = client.search_read(_MODEL, [("user_id", "=", user)], fields, order="id")
    keys = [
        ApiKey(str(record["name"]), _moment(record.get("expiration_date")))
        for record in records
        if record["scope"] in (False, "rpc")
    ]
    present = now()
    valid = [key for key in keys if key.ends_at is None or key.ends_at > present]
    return sorted(valid, key=lambda key: key.ends_at or datetime.max.replace(tzinfo=UTC))


def _moment(value: object) -> datetime | None:
    """Odoo's "2027-02-21 00:00:00" (UTC); its False is None."""
    return datetime.strptime(str(value), "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC) if value else None
