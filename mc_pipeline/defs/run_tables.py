"""The I/O manager of all assets: tables as Parquet, without people who were erased by then."""

import dagster as dg

from mc_pipeline.tables.parquet import ParquetTables, storage_folder


@dg.io_manager(
    required_resource_keys={"systems"},
    description="Tables as Parquet, one file per company and month, without people who were erased",
)
def run_tables(context: dg.InitResourceContext) -> ParquetTables:
    """Keep the tables of a run in the folder that the environment names."""
    return ParquetTables(storage_folder(), context.resources.systems)
