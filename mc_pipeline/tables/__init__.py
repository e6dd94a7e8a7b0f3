"""Tables between assets: their schemas, and how they are kept as Parquet.

What a table *means* is decided in ``mc_pipeline.domain``; this package only knows columns, types and files.
"""

from mc_pipeline.tables.schemas import Column, TableColumns
from mc_pipeline.tables.table import Table

__all__ = ["Column", "Table", "TableColumns"]
