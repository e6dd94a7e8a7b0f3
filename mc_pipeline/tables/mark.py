"""Which ledger the tables were made with, kept in a small file beside them: ``ledger.json``.

A ledger that was lost, replaced by an older copy or named wrongly is found out by it. Who has no tables has
no such file, and any ledger will do.
"""

import json
import logging
from dataclasses import asdict, dataclass

from mc_pipeline.tables.files import storage_folder, whole_file
from mc_pipeline.tables.schemas import COMPANY_STATUS

_NAME = "ledger.json"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TablesMark:
    """The id of the ledger, and how far it had come when a table was stored last."""

    ledger_id: str
    count: int


UNKNOWN = TablesMark("unknown", 0)
"""Of tables that were made before such files were kept, with a ledger that is not there any more."""


def read_mark() -> TablesMark | None:
    """What is kept beside the tables; None where nothing is, or nothing that can be read."""
    path = storage_folder() / _NAME
    try:
        found = json.loads(path.read_bytes())
        return TablesMark(str(found["ledger_id"]), int(found["count"]))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        _log.warning("the file %s is damaged (%s): it is rebuilt", path, type(error).__name__)
        return None


def write_mark(mark: TablesMark) -> None:
    """Keep this beside the tables. Of two who write at once, the lower count may stay: that is made good by
    the next table.
    """
    with whole_file(storage_folder() / _NAME) as file:
        file.write(json.dumps(asdict(mark)).encode())


def has_tables() -> bool:
    """Whether any table is stored that a ledger's history belongs to.

    How a company stands is stored without a ledger too: it says why none could be opened.
    """
    return any(path.parent.name != COMPANY_STATUS.name for path in storage_folder().glob("*/*.parquet"))
