"""The tables of a company as they were last stored."""

from mc_pipeline.tables import Table, schemas
from mc_pipeline.tables.parquet import stored_table


def read_stored(name: str, company: str) -> Table | None:
    """Return the stored table of an asset; None when it was never made, or is damaged."""
    return stored_table(schemas.ALL[name], company)
