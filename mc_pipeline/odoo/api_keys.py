"""The API keys of the Odoo user, and when they end.

Odoo 18 and newer make every key with an end, 90 days away at most for ordinary users; Odoo 17 knows no end.
Until 19 a key without a scope is good for RPC too; 20 takes keys of the scope "rpc" alone, and gives users of
the role Light User one day, of Regular User 90 days (``res.users.apikeys`` of 20.0, from its source).
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from mc_pipeline.odoo.client import OdooClient
from mc_pipeline.odoo.reading import now

_MODEL = "res.users.apikeys"
_SCOPED_SINCE = (20, 0)


@dataclass(frozen=True)
class ApiKey:
    """A key, by the name that its user gave it. ``ends_at`` (UTC) None: never."""

    name: str
    ends_at: datetime | None


def read_api_keys(client: OdooClient) -> list[ApiKey]:
    """The keys with which the client's user may log in now, the one that ends first first.

    Odoo does not say which of them is in use. Raises OdooError.
    """
    user = client.execute("res.users", "context_get")["uid"]
    has_end = "expiration_date" in client.fields_get(_MODEL)
    fields = ["name", "scope", *(["expiration_date"] if has_end else [])]
    records = client.search_read(_MODEL, [("user_id", "=", user)], fields, order="id")
    keys = [
        ApiKey(str(record["name"]), _moment(record.get("expiration_date")))
        for record in records
        if record["scope"] == "rpc" or (not record["scope"] and client.version < _SCOPED_SINCE)
    ]
    present = now()
    valid = [key for key in keys if key.ends_at is None or key.ends_at > present]
    return sorted(valid, key=lambda key: key.ends_at or datetime.max.replace(tzinfo=UTC))


def new_key_advice(version: tuple[int, int]) -> str:
    """How a user makes a new key that lasts, by version: a clause for people."""
    where = "in Odoo as that user (My Preferences, Security, Add API Key"
    if version < _SCOPED_SINCE:
        return f"Make a new key {where})"
    return (
        f"Make a new key {where}, scope RPC; as duration the longest offered: the role Light User gets one "
        "day, Regular User 90 days, only administrators make keys for a year or without an end)"
    )


def _moment(value: object) -> datetime | None:
    """Odoo's "2027-02-21 00:00:00" (UTC); its False is None."""
    return datetime.strptime(str(value), "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC) if value else None
