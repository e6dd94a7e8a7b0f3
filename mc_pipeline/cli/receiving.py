"""Receives webhooks of a company during the demo, as ``webhooks serve --apply`` does permanently."""

import os
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from mc_pipeline.cli.at_once import AtOnce, opt_outs_under_way
from mc_pipeline.settings import CompanySettings

if TYPE_CHECKING:
    from mc_pipeline.mailchimp.client import MailchimpClient
    from mc_pipeline.webhooks.hooks import Hook

_PATIENCE_SECONDS = 120.0


@contextmanager
def receiving(
    company: CompanySettings, client: "MailchimpClient", run_opt_outs: Callable[[str], None]
) -> Iterator[Callable[[], bool]]:
    """Register webhooks for the company's audiences and receive them, on a free port of this machine.

    Gives a function that waits until opt-outs were applied after a delivery; it returns False when that took
    longer than two minutes. The webhooks are removed at the end.
    """
    from mc_pipeline.ledger import Ledger
    from mc_pipeline.ledger.database import utc_now
    from mc_pipeline.webhooks.hooks import SECRET_VARIABLE, hooks_of
    from mc_pipeline.webhooks.receiver import listen, receiver_app, server
    from mc_pipeline.webhooks.registration import register, remove

    os.environ[SECRET_VARIABLE] = secrets.token_hex(32)
    hooks = hooks_of([company], os.environ)
    carried_out = threading.Event()

    def run(key: str) -> None:
        run_opt_outs(key)
        carried_out.set()

    with Ledger.open() as ledger, ExitStack() as stack:
        at_once = stack.enter_context(AtOnce(run, opt_outs_under_way(ledger.runs)))

        def on_new(hook: "Hook") -> None:
            at_once.notice(hook.company)

        app = receiver_app(hooks, ledger.inbox.keep, utc_now, on_new=on_new)
        listener = stack.enter_context(listen("127.0.0.1", 0))
        receiver = server(app)
        thread = threading.Thread(target=receiver.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            base = f"http://127.0.0.1:{listener.getsockname()[1]}"
            for hook in hooks:
                made = register(client, hook, base).webhook
                if made.signing_secret:
                    os.environ[hook.signing_variable] = made.signing_secret
            # From here on only what is signed is believed.
            hooks[:] = hooks_of([company], os.environ)
            yield lambda: carried_out.wait(_PATIENCE_SECONDS)
        finally:
            for audience in company.audiences.values():
                remove(client, audience.list_id, hooks)
            receiver.should_exit = True
            thread.join()
