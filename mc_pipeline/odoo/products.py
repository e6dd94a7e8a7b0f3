"""Products of a company: the variants that order lines name, with their templates."""

from collections.abc import Iterable, Mapping, Sequence

from mc_pipeline.chunks import chunks_of
from mc_pipeline.odoo.client import OdooClient, Record
from mc_pipeline.odoo.fields import available_fields, optional_model_fields
from mc_pipeline.odoo.paging import read_all
from mc_pipeline.odoo.reading import (
    OdooRead,
    flags,
    frame,
    ids,
    joined,
    names_of,
    now,
    numbers,
    texts,
    times,
)

_FIELDS = ("product_tmpl_id", "active", "name", "default_code", "list_price", "write_date")
_ATTRIBUTES = "product_template_attribute_value_ids"
_ATTRIBUTE_VALUES = "product.template.attribute.value"
_AT_ONCE = 1000


def read_products(client: OdooClient, company_id: int, product_ids: Iterable[int]) -> OdooRead:
    """The products named, archived ones included. One that was deleted has no row.

    Name and price are the template's and change without a date on the variant, so all are read each time.

    Columns: product_id (product.product), product_template_id int64, active bool, name, variant_name (the
    values of its attributes, "L, Red"; the name where it has none), default_code, list_price (company
    currency, taxed or not as the company enters prices), write_date (UTC).

    Not complete when Odoo lists a product that the user may not read. Raises the client's errors.
    """
    observed_at = now()
    limited = client.with_companies([company_id])
    fields = available_fields(limited, "product.product", _FIELDS, [_ATTRIBUTES])
    wanted = sorted(set(product_ids))
    reads = [
        read_all(limited, "product.product", [("id", "in", some)], fields)
        for some in chunks_of(_AT_ONCE, wanted)
    ]
    records = [record for each in reads for record in each.records]
    values = _attribute_values(limited, records)
    rows = frame(
        {
            "product_id": ids(record["id"] for record in records),
            "product_template_id": ids(record["product_tmpl_id"] for record in records),
            "active": flags(record["active"] for record in records),
            "name": names_of(record["name"] for record in records),
            "variant_name": texts(_variant_name(record, values) for record in records),
            "default_code": texts(record["default_code"] for record in records),
            "list_price": numbers(record["list_price"] for record in records),
            "write_date": times(record["write_date"] for record in records),
        }
    )
    because = joined(each.incomplete_because for each in reads)
    return OdooRead(rows, observed_at, not because, because)


def _attribute_values(client: OdooClient, records: Sequence[Record]) -> dict[int, str]:
    """Names of the attribute values that distinguish variants, such as Red."""
    wanted = sorted({value for record in records for value in record.get(_ATTRIBUTES) or ()})
    if not wanted or optional_model_fields(client, _ATTRIBUTE_VALUES) is None:
        return {}
    return {
        value["id"]: str(value["name"] or "")
        for some in chunks_of(_AT_ONCE, wanted)
        for value in client.read(_ATTRIBUTE_VALUES, some, ["name"])
    }


def _variant_name(record: Record, values: Mapping[int, str]) -> str:
    named = [values[value] for value in record.get(_ATTRIBUTES) or () if values.get(value)]
    return ", ".join(named) or str(record["name"] or "")
