"""Which store should hold which order of a company, by the tables and by what the ledger knows."""

from collections.abc import Mapping
from datetime import datetime

import pandas as pd

from mc_pipeline.domain.store.orders import OrderTables, build_store_orders
from mc_pipeline.settings import CompanySettings
from mc_pipeline.sync.bound_orders import orders_bound
from mc_pipeline.sync.systems import Systems
from mc_pipeline.tables import schemas
from mc_pipeline.tables.parquet import stored_table


def store_orders_of(
    systems: Systems, company: CompanySettings, tables: OrderTables, elsewhere: Mapping[int, str]
) -> pd.DataFrame:
    """Return the rows of ``store_orders``; ``elsewhere`` as for ``build_store_orders``."""
    stores, erased = systems.ledger.stores, systems.erased.partner_ids
    return build_store_orders(
        tables,
        company,
        fixed_rates=stores.fixed_rates(company.key),
        held_orders=stores.held_orders(company.key),
        cancelled_since=_cancelled_since(systems, company),
        erased_partners=erased,
        elsewhere=elsewhere,
        bound_orders=orders_bound(
            systems.ledger, company.key, tables.partners, tables.orders, others={*elsewhere, *erased}
        ),
    )


def _cancelled_since(systems: Systems, company: CompanySettings) -> dict[int, datetime]:
    """Return since when orders are cancelled, as earlier runs saw it.

    Odoo keeps no such date. If the table is lost, what the stores hold shows it, so that no order is written
    again for that.
    """
    held = systems.ledger.stores.cancelled_since(company.key)
    table = stored_table(schemas.STORE_ORDERS, company.key, names=["order_id", "cancelled_at"])
    if table is None:
        return held
    cancelled = table.rows[table.rows["cancelled_at"].notna()]
    return held | dict(zip(cancelled["order_id"], cancelled["cancelled_at"], strict=True))
