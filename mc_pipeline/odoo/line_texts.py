"""What an order line without a text is called.

From Odoo 20 on a line has no text of its own unless its product has a sales description (``sale.order.line``
of 20.0: ``name`` is empty, ``label`` has the product's name above it). What a customer ordered is then the
product. ``label`` is computed, so it is asked once per product and not per line, and Odoo refuses it where
the user may not see one of the products.
"""

from collections.abc import Sequence

from mc_pipeline.odoo.client import OdooClient, Record
from mc_pipeline.odoo.errors import (
    OdooAccessError,
    OdooFieldMissingError,
    OdooServerError,
    OdooValidationError,
)

UNTITLED = "Order line"
"""The text of a line for which Odoo gives no text and no product name."""

_AT_ONCE = 1000
_NOT_SHOWN = (OdooAccessError, OdooFieldMissingError, OdooServerError, OdooValidationError)


def texts_of_lines(client: OdooClient, lines: Sequence[Record]) -> tuple[dict[int, str], int]:
    """Texts, by line, for the ordinary lines that have none; and how many of them have no text at all.

    The line's ``label``, where Odoo has it and returns it; else the product's name; else ``UNTITLED``. Lines
    have ``id``, ``name``, ``product_id`` and ``display_type``. Raises OdooConnectionError and the like; a
    text that Odoo does not return stops nothing.
    """
    nameless = [line for line in lines if not line["name"] and not line["display_type"]]
    if not nameless:
        return {}, 0
    one_line_of = {line["product_id"]: line["id"] for line in reversed(nameless) if line["product_id"]}
    names: dict[int, str] = {}
    if "label" in client.fields_get("sale.order.line"):
        labels = _texts_of(client, "sale.order.line", sorted(one_line_of.values()), "label")
        names = {product: labels[line] for product, line in one_line_of.items() if line in labels}
    names |= _texts_of(client, "product.product", sorted(one_line_of.keys() - names.keys()), "display_name")
    texts = {line["id"]: names.get(line["product_id"], UNTITLED) for line in nameless}
    return texts, sum(bool(line["product_id"]) and line["product_id"] not in names for line in nameless)


def _texts_of(client: OdooClient, model: str, ids: Sequence[int], field: str) -> dict[int, str]:
    """A text field by id, without those that are empty or that Odoo does not return."""
    texts: dict[int, str] = {}
    for start in range(0, len(ids), _AT_ONCE):
        try:
            # A search leaves out what rules hide, where a read of it would fail.
            some = [("id", "in", list(ids[start : start + _AT_ONCE]))]
            records = client.search_read(model, some, [field])
        except _NOT_SHOWN:
            continue
        texts |= {record["id"]: str(record[field]).strip() for record in records if record[field]}
    return {record: text for record, text in texts.items() if text}
