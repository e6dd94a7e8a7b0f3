"""Rule 1.1: when a table that was read may be trusted to be the whole truth."""

SHRINK_LIMIT = 0.9
"""Below this share of the last complete read, a read is taken for partial until a person says otherwise."""


def shrunk_because(rows: int, last_complete_rows: int | None) -> str:
    """Say why a read is too small to be believed; empty when it is believable.

    ``last_complete_rows``: of the last complete read, or of a smaller one that a person approved since.
    """
    if last_complete_rows is None or rows >= SHRINK_LIMIT * last_complete_rows:
        return ""
    return (
        f"{rows:,} rows were read, fewer than {SHRINK_LIMIT:.0%} of the {last_complete_rows:,} of the last "
        "complete read: either something was deleted on purpose, or the reader lost rights"
    )
