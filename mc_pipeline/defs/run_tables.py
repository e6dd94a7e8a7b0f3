"""The I/O manager of all assets: tables as Parquet, without people who were erased by then."""

import dagster as dg
from upath import UPath

from mc_pipeline.defs.failures import shows_failures
from mc_pipeline.tables import Table
from mc_pipeline.tables.parquet import ParquetTables, storage_folder


class RunTables(ParquetTables):
    """The tables of a run; where nobody knows who was erased, a step fails as it does for other reasons."""

    @shows_failures
    def dump_to_path(self, context: dg.OutputContext, obj: Table, path: UPath) -> None:
        super().dump_to_path(context, obj, path)

    @shows_failures
    def load_from_path(self, context: dg.InputContext, path: UPath) -> Table:
        return super().load_from_path(context, path)


@dg.io_manager(
    required_resource_keys={"systems"},
    description="Tables as Parquet, one file per company and month, without people who were erased",
)
def run_tables(context: dg.InitResourceContext) -> ParquetTables:
    """Keep the tables of a run in the folder that the environment names."""
    return RunTables(storage_folder(), context.resources.systems)
