"""The command in a process of its own that notes which modules it had loaded when it made its first request.

``python -m mc_pipeline_tests.cli.first_request FILE sync --opt-outs acme`` writes the port that it asked,
and their names, into FILE.
"""

import sys
from pathlib import Path
from typing import Any


def note_at_first_connection(file: Path) -> None:
    """Write the port and the names of all modules into the file when the first connection is made."""

    def hear(event: str, arguments: tuple[Any, ...]) -> None:
        # A path is a socket of this machine; servers have an address and a port.
        if event == "socket.connect" and isinstance(arguments[1], tuple) and not file.exists():
            file.write_text("\n".join([str(arguments[1][1]), *sorted(sys.modules)]))

    sys.addaudithook(hear)


if __name__ == "__main__":
    note_at_first_connection(Path(sys.argv.pop(1)))
    from mc_pipeline.cli import main

    main()
