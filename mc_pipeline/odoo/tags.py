"""Partner tags (``res.partner.category``) by the names that settings call them."""

from mc_pipeline.odoo.client import OdooClient
from mc_pipeline.odoo.paging import read_all


def read_tag_paths(client: OdooClient) -> dict[int, str]:
    """Every tag's full path, "Parent / Child", in English, by id."""
    found = read_all(client, "res.partner.category", [], ["name", "parent_id"])
    tags = {record["id"]: record for record in found.records}
    paths: dict[int, str] = {}
    for tag in tags:
        parts: list[str] = []
        step: int | bool = tag
        while step and step in tags and len(parts) <= len(tags):
            parts.append(str(tags[step]["name"] or ""))
            step = tags[step]["parent_id"]
        paths[tag] = " / ".join(reversed(parts))
    return paths
