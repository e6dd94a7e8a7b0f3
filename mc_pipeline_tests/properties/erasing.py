"""Erases people of the small world by the job's own function, at any moment of a run."""

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from mc_pipeline.defs.consent.erasure import ErasePerson, erase_people
from mc_pipeline_tests.properties.runs import decorated
from mc_pipeline_tests.properties.small_world import SmallWorld

KEY = "a key of the small world"


def erase(world: SmallWorld, *, run_id: str = "erasure", **who: Any) -> dict[str, Any]:
    """Erase people (``partner_ids``, ``emails``) as another process does; return what the job reports."""
    reported: dict[str, Any] = {}
    context = SimpleNamespace(
        run_id=run_id, log=logging.getLogger(__name__), add_output_metadata=reported.update
    )
    config = ErasePerson(reason="asked on 3 May", requested_by="Eve", dry_run=False, **who)
    systems = world.systems()
    try:
        decorated(erase_people)(context, config, systems)
    finally:
        systems.close()
    return reported


def traces(world: SmallWorld, *texts: str) -> list[str]:
    """Files of ours in which one of the texts stands, as bytes or in a table."""
    import pyarrow.parquet as pq

    with world._ledger_of_a_person() as systems:
        systems.ledger.erasures.wipe()
    found = []
    for path in sorted(Path(world.folder).rglob("*")):
        if not path.is_file() or path.name == "companies.yaml":
            continue
        content = path.read_bytes()
        if path.suffix == ".parquet":
            content += str(pq.read_table(path).to_pylist()).encode()
        found += [f"{path.relative_to(world.folder)}: {text}" for text in texts if text.encode() in content]
    return found
