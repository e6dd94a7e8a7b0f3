"""The receiver over real HTTP, as ``mc-pipeline webhooks serve`` runs it."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from starlette.applications import Starlette

from mc_pipeline.webhooks.receiver import server

SECRET = "only the receiver and Mailchimp know this"


@contextmanager
def receiving(app: Starlette) -> Iterator[str]:
    """Serve the app on a free loopback port and give its URL."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        port = listener.getsockname()[1]
        running = server(app, host="127.0.0.1", port=port)
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            running.should_exit = True
            thread.join(timeout=15)
