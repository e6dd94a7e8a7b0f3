"""A new ledger without its migrations: they run once for a process of tests, and every test takes a copy.

What the migrations do is tested in ``ledger/``.
"""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from mc_pipeline.ledger import Ledger


def put_new_ledger(file: Path) -> None:
    """Make the ledger's file as opening it would make it, unless there is one."""
    if not file.exists():
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file.touch(mode=0o600)
        file.write_bytes(_migrated())


@cache
def _migrated() -> bytes:
    with TemporaryDirectory() as folder:
        file = Path(folder) / "ledger.db"
        Ledger.open(f"sqlite:///{file}").close()
        assert [each.name for each in file.parent.iterdir()] == [file.name]
        return file.read_bytes()
