"""How tables and people are shown in Dagster: masked addresses, links into both systems, column schemas.

Nothing that leaves this module contains a full address or a name (invariant 10).
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import dagster as dg

from mc_pipeline.ledger.old_opt_outs import OldOptOutsRecord
from mc_pipeline.masking import mask_email, mask_text
from mc_pipeline.settings import CompanySettings, Settings
from mc_pipeline.tables import Table, TableColumns

if TYPE_CHECKING:
    import pandas as pd


SAMPLE_ROWS = 5
LISTED_ROWS = 100

_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>|#~])")


def partner_link(settings: Settings, partner_id: int | None) -> str:
    """Return the address of a partner's form in Odoo (the form works on 17 to 19)."""
    if partner_id is None or _is_missing(partner_id):
        return ""
    return f"{settings.odoo.url.rstrip('/')}/web#id={int(partner_id)}&model=res.partner&view_type=form"


def document_link(settings: Settings, move_id: int) -> str:
    """Return the address of an invoice's or credit note's form in Odoo."""
    return f"{settings.odoo.url.rstrip('/')}/web#id={int(move_id)}&model=account.move&view_type=form"


def order_link(settings: Settings, order_id: int) -> str:
    """Return the address of a sale order's form in Odoo."""
    return f"{settings.odoo.url.rstrip('/')}/web#id={int(order_id)}&model=sale.order&view_type=form"


def audience_link(settings: Settings, company: CompanySettings, list_id: str, web_id: int | None) -> str:
    """Return the address of an audience's contacts in Mailchimp, or in the stand-in for it."""
    account = settings.mailchimp[company.mailchimp]
    if account.base_url:
        return f"{account.base_url.rstrip('/').removesuffix('/3.0')}/audiences/{quote(list_id)}"
    data_centre = account.api_key.get_secret_value().rpartition("-")[2]
    return f"https://{data_centre}.admin.mailchimp.com/lists/members/?id={quote(str(web_id))}"


def column_schema(columns: TableColumns) -> dg.TableSchema:
    """Return the columns as Dagster shows them."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                column.name,
                column.type,
                description=column.description,
                constraints=dg.TableColumnConstraints(nullable=column.nullable),
            )
            for column in columns.columns
        ]
    )


def table_metadata(table: Table) -> dict[str, Any]:
    """Return what every table reports: how many rows, how old, and whether it is the whole truth."""
    return {
        "dagster/row_count": len(table.rows),
        "observed_at": dg.MetadataValue.timestamp(table.observed_at),
        "complete": table.complete,
        **({"incomplete_because": table.incomplete_because} if not table.complete else {}),
    }


def records_table(rows: "pd.DataFrame", limit: int = LISTED_ROWS) -> dg.MetadataValue:
    """Show rows as a table. Addresses are masked, in whatever column they stand."""
    shown = rows.head(limit)
    return dg.MetadataValue.table(
        records=[
            dg.TableRecord({str(name): _cell(str(name), value) for name, value in row.items()})
            for row in shown.to_dict("records")
        ],
        schema=dg.TableSchema(columns=[dg.TableColumn(str(name)) for name in rows.columns]),
    )


def partners_in_odoo(
    settings: Settings, name: str, rows: "pd.DataFrame", limit: int = LISTED_ROWS
) -> dict[str, dg.MetadataValue]:
    """Show rows of partners twice: ``name`` at a glance, ``name_in_odoo`` with links that can be clicked.

    ``rows`` have a column ``partner_id``, which may be empty (a member whom Odoo does not know).
    """
    return listed(name, rows, limit, "partner_id", lambda partner_id: partner_link(settings, partner_id))


def listed(
    name: str, rows: "pd.DataFrame", limit: int, id_column: str, link: Callable[[int], str]
) -> dict[str, dg.MetadataValue]:
    """Show rows of Odoo records as a table and, since tables have no links, as Markdown; nothing if empty."""
    if rows.empty:
        return {}
    return {name: records_table(rows, limit), f"{name}_in_odoo": _markdown(rows, limit, id_column, link)}


def _markdown(
    rows: "pd.DataFrame", limit: int, id_column: str, link: Callable[[int], str]
) -> dg.MetadataValue:
    shown = rows.head(limit)
    lines = [
        f"The first {limit:,} of {len(rows):,}.\n" if len(rows) > limit else "",
        "| " + " | ".join(_plain(column) for column in shown.columns) + " |",
        "|---" * len(shown.columns) + "|",
    ]
    for row in shown.to_dict("records"):
        cells = {str(name): _plain(_cell(str(name), value)) for name, value in row.items()}
        if cells[id_column]:
            cells[id_column] = f"[{cells[id_column]}]({link(row[id_column])})"
        lines.append("| " + " | ".join(cells.values()) + " |")
    return dg.MetadataValue.md("\n".join(filter(None, lines)))


def _plain(value: Any) -> str:
    """Return a value as text that Markdown takes literally: what systems say may hold anything."""
    return "" if value is None else _MARKDOWN.sub(r"\\\1", " ".join(str(value).split()))


def old_opt_outs_metadata(waiting: Sequence[OldOptOutsRecord]) -> dict[str, dg.MetadataValue]:
    """Show old opt-outs that wait for a release, with the id that releases them; nothing when none wait."""
    import pandas as pd

    rows = [{"audience": each.audience, "people": each.people, "release": each.plan_id} for each in waiting]
    return unless_empty(old_opt_outs_that_wait=records_table(pd.DataFrame(rows)))


def unless_empty(**tables: dg.MetadataValue) -> dict[str, dg.MetadataValue]:
    """Leave out tables without a row: nothing to report is no line to read."""
    return {
        name: table
        for name, table in tables.items()
        if not (isinstance(table, dg.TableMetadataValue) and not table.records)
    }


def count_by(rows: "pd.DataFrame", *columns: str, of: str) -> dg.MetadataValue:
    """Count rows by the values of some columns, as a table whose last column says what was counted."""
    return records_table(rows.groupby(list(columns), as_index=False).size().rename(columns={"size": of}))


def counts(series: "pd.Series") -> dict[str, int]:
    """Count the values of a column, the most frequent first."""
    return {str(value): int(count) for value, count in series.value_counts().items()}


def counts_table(named: Mapping[str, int], of: str) -> dg.MetadataValue:
    """Show counts as a two-column table."""
    return dg.MetadataValue.table(
        records=[dg.TableRecord({of: name, "count": count}) for name, count in named.items()],
        schema=dg.TableSchema(columns=[dg.TableColumn(of), dg.TableColumn("count", "int")]),
    )


def _cell(name: str, value: Any) -> str | int | float | bool | None:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if _is_missing(value):
        return None
    if name.endswith("email"):
        return mask_email(value)
    if isinstance(value, str):
        # Mailchimp's own words quote addresses.
        return mask_text(value)
    if isinstance(value, float) and value.is_integer() and name.endswith("_id"):
        return int(value)  # an id among empty ones
    if isinstance(value, (bool, int, float)):
        return value
    if hasattr(value, "item"):
        number: bool | int | float = value.item()  # one of numpy's
        return number
    return str(value)


def _is_missing(value: Any) -> bool:
    import pandas as pd

    return value is None or bool(pd.isna(value))
