"""The receiver over real HTTP, as ``mc-pipeline webhooks serve`` runs it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from starlette.applications import Starlette

from mc_pipeline.webhooks.connections import HEAD_TIMEOUT
from mc_pipeline.webhooks.receiver import listen, server


@contextmanager
def receiving(app: Starlette, *, head_timeout: timedelta = HEAD_TIMEOUT) -> Iterator[str]:
    """Serve the app on a free loopback port and give its URL."""
    with listen("127.0.0.1", 0) as listener:
        running = server(app, head_timeout=head_timeout)
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            running.should_exit = True
            thread.join(timeout=15)
