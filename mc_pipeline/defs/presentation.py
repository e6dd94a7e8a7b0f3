"""How tables and people are shown in Dagster: masked addresses, links into both systems, column schemas.

Nothing that leaves this module carries a full address or a name (invariant 10).
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import dagster as dg
import pyarrow as pa

from mc_pipeline.masking import mask_email, mask_text
from mc_pipeline.settings import CompanySettings, Settings
from mc_pipeline.tables import Table, TableColumns

if TYPE_CHECKING:
    import pandas as pd

SAMPLE_ROWS = 5
LISTED_ROWS = 100


def partner_link(settings: Settings, partner_id: int | None) -> str:
    """Return the address of a partner's form in Odoo (the form works on 17 to 19)."""
    if partner_id is None or _is_missing(partner_id):
        return ""
    return f"{settings.odoo.url.rstrip('/')}/web#id={int(partner_id)}&model=res.partner&view_type=form"


def document_link(settings: Settings, move_id: int) -> str:
    """Return the address of an invoice's or credit note's form in Odoo."""
    return f"{settings.odoo.url.rstrip('/')}/web#id={int(move_id)}&model=account.move&view_type=form"


def audience_link(settings: Settings, company: CompanySettings, web_id: int | None) -> str:
    """Return the address of an audience's contacts in Mailchimp."""
    account = settings.mailchimp[company.mailchimp]
    if account.base_url:
        return account.base_url.removesuffix("/3.0").rstrip("/")
    data_centre = account.api_key.get_secret_value().rpartition("-")[2]
    return f"https://{data_centre}.admin.mailchimp.com/lists/members/?id={quote(str(web_id))}"


def column_schema(columns: TableColumns) -> dg.TableSchema:
    """Return the columns as Dagster shows them."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                column.name,
                "string" if column.type == pa.string() else str(column.type),
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
    if isinstance(value, (bool, int, float)):
        return value
    if hasattr(value, "item"):
        return value.item()
    return str(value)


def _is_missing(value: Any) -> bool:
    import pandas as pd

    return value is None or bool(pd.isna(value))
