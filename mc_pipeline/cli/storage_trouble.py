"""What a full disk or a folder without rights means, in one sentence: it is no fault of the program."""

import errno
import os
import sqlite3
from pathlib import Path

from mc_pipeline.home import HOME_VARIABLE

_FULL = (
    "is full: free some space there (df -h shows the space, df -i the number of files), and start again; "
    "the next run continues from here"
)
_CLOSED = (
    "cannot be written: give the user who runs mc-pipeline the right to write it, or name another folder, "
    "and start again"
)
_BY_NUMBER = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EFBIG: _FULL,
    errno.EROFS: _CLOSED,
    errno.EACCES: _CLOSED,
    errno.EPERM: _CLOSED,
}
_BY_CODE = {
    sqlite3.SQLITE_FULL: _FULL,
    sqlite3.SQLITE_READONLY: _CLOSED,
    sqlite3.SQLITE_PERM: _CLOSED,
    sqlite3.SQLITE_CANTOPEN: f"{_CLOSED}; or it {_FULL}",
    sqlite3.SQLITE_IOERR: f"{_CLOSED}; or it {_FULL}",
}
_LONGEST_CHAIN = 20


def storage_trouble(error: BaseException) -> str:
    """Say which folder an error is about, and what to do; empty where it is about no folder of ours.

    Files of ours name their folder; what names none is Dagster's own storage.
    """
    each: BaseException | None = error
    for _ in range(_LONGEST_CHAIN):
        if each is None:
            return ""
        advice = _advice(each)
        if advice:
            named = getattr(each, "filename", None)
            folder = (
                Path(os.fsdecode(named)).parent if named else os.environ.get(HOME_VARIABLE, ".dagster_home")
            )
            return f"the folder {folder} {advice}"
        each = each.__cause__ or each.__context__
    return ""


def _advice(error: BaseException) -> str:
    if isinstance(error, OSError):
        return _BY_NUMBER.get(error.errno or 0, "")
    if isinstance(error, sqlite3.Error):
        return _BY_CODE.get((getattr(error, "sqlite_errorcode", None) or 0) & 0xFF, "")
    return ""
