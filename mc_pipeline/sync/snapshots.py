"""Keeps what was read from Odoo, record by record, for the next run to build upon.

One Parquet file per company, table and model, beside the tables and as private as they are: they hold the
same personal data. A file that is missing or damaged costs one whole read and nothing else.
"""

import json
import logging
from datetime import datetime
from typing import TYPE_CHECKING, Any

from upath import UPath

from mc_pipeline.tables import Table, schemas
from mc_pipeline.tables.parquet import ErasedByNow, read_table, storage_folder, store_table

if TYPE_CHECKING:
    import pandas as pd

    from mc_pipeline.odoo.changes import Reading, Snapshot


_log = logging.getLogger(__name__)


class StoredSnapshots:
    """The snapshots of one table of one company, by model."""

    def __init__(self, company: str, table: str) -> None:
        self._folder: UPath = storage_folder() / schemas.ODOO_RECORDS.name / company / table

    def load(self, model: str) -> "Snapshot | None":
        """Return the last complete read of a model; None when there is none, or its file is damaged."""
        from mc_pipeline.odoo.changes import Snapshot

        path = self._path(model)
        try:
            table = read_table(schemas.ODOO_RECORDS, path)
            records = table.rows["record_json"].map(json.loads)
            return Snapshot(
                records=dict(zip(table.rows["record_id"].tolist(), records, strict=True)),
                observed_at=table.observed_at,
                whole_at=datetime.fromisoformat(table.facts["whole_at"]),
                asked=table.facts["asked"],
            )
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, OSError) as error:
            _log.warning("%s cannot be updated (%s): %s is read completely", path, error, model)
            return None

    def keep(self, reading: "Reading", people: ErasedByNow) -> None:
        """Store what a run read, in place of what earlier runs read; nothing of people who were erased.

        The next run finds such a record missing, reads it again and drops it again.
        """
        for model, snapshot in reading.snapshots.items():
            table = Table(
                _rows(snapshot),
                snapshot.observed_at,
                facts={"whole_at": snapshot.whole_at.isoformat(), "asked": snapshot.asked},
            )
            store_table(schemas.ODOO_RECORDS, table, self._path(model), people)

    def drop(self) -> None:
        """Forget everything: the next run reads whole."""
        if self._folder.exists():
            for path in list(self._folder.iterdir()):
                path.unlink()

    def _path(self, model: str) -> UPath:
        return self._folder / f"{model}.parquet"


def _rows(snapshot: "Snapshot") -> "pd.DataFrame":
    import pandas as pd

    kept = snapshot.records

    def text(record: dict[str, Any]) -> str:
        return json.dumps(record, ensure_ascii=False, separators=(",", ":"))

    return pd.DataFrame(
        {
            "record_id": pd.Series(list(kept), dtype="int64"),
            "record_json": pd.Series([text(record) for record in kept.values()], dtype="str"),
        }
    )
