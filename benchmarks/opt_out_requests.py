"""What one opt-out costs in a large company, in both directions; and what many old ones cost.

``python -m benchmarks.opt_out_requests 1000 100000`` serves both stand-ins in a process of their own, with so
many partners who are members of two audiences, and runs ``mc-pipeline sync --opt-outs`` against them: at
first, when nothing happened, after somebody unsubscribed in Mailchimp, and after somebody was blacklisted in
Odoo. Each opt-out has to be in the other system and in the other audience afterwards. Then an audience that
50,000 partners left long ago (``OLD`` in the environment is another number, 0 none) is heard for the first
time, and once more. Prints of each run what it asked of both systems, its processor time, and its peak of
memory.
"""

import gc
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path

from benchmarks.opt_out_start import COMMAND, COMPANIES

OLD = int(os.environ.get("OLD", "50000"))
LISTS = ("wholesale1", "retail1")
UNSUBSCRIBED, BLACKLISTED = "customer1@example.com", "customer2@example.com"
LONG_AGO = datetime(2024, 2, 1, 8, tzinfo=UTC)
WAITS_FOR_APPROVAL = 3


@dataclass(frozen=True)
class Measured:
    """One run: what it asked, how long it took and used the processor, and its peak of memory."""

    what: str
    of_mailchimp: int
    of_odoo: int
    seconds: float
    processor_seconds: float
    peak_megabytes: float

    def __str__(self) -> str:
        return (
            f"{self.what}: {self.of_mailchimp:,} requests to Mailchimp, {self.of_odoo:,} to Odoo; "
            f"{self.seconds:.1f} s, {self.processor_seconds:.1f} s of processor time; "
            f"peak of {self.peak_megabytes:,.0f} MB"
        )


def serve(people: int, old: int, pipe: Connection) -> None:
    """Run both stand-ins and tell their addresses; then do what is told, and tell what they were asked."""
    from mc_pipeline.sandbox.mailchimp import DEFAULT_KEY, SandboxMailchimp
    from mc_pipeline.sandbox.odoo import SandboxOdoo
    from mc_pipeline.sandbox.seed.scale import add_many_members, seed_many

    odoo, mailchimp = SandboxOdoo(), SandboxMailchimp()
    seed_many(odoo, people, orders_each=0)
    for list_id in LISTS:
        mailchimp.add_audience(list_id, list_id)
        emails = (f"customer{number}@example.com" for number in range(1, people + 1))
        add_many_members(mailchimp, list_id, emails, at=LONG_AGO)
    seed_many(odoo, old, orders_each=0, prefix="left")
    left = (f"left{number}@example.com" for number in range(1, old + 1))
    add_many_members(mailchimp, LISTS[0], left, "unsubscribed", at=LONG_AGO)
    # What was built stays: the collector need not look at it again and again.
    gc.freeze()
    with odoo.serve(), mailchimp.serve():
        pipe.send((odoo.url, mailchimp.api_url, DEFAULT_KEY))
        while True:
            try:
                told = pipe.recv()
            except EOFError:
                return
            asked = len(mailchimp.journal.requests), len(odoo.journal.requests)
            if told == "unsubscribe":
                mailchimp.unsubscribe(LISTS[1], UNSUBSCRIBED)
            elif told == "blacklist":
                odoo.blacklist(BLACKLISTED)
            out = {
                email: all(
                    (member := mailchimp.state.audiences[list_id].find(email)) is not None
                    and member.status == "unsubscribed"
                    for list_id in LISTS
                )
                and bool(odoo.search("mail.blacklist", [("email", "=", email)]))
                for email in (UNSUBSCRIBED, BLACKLISTED)
                if people
            }
            mailchimp.journal.clear()
            odoo.journal.clear()
            pipe.send((asked, out))


@contextmanager
def served(people: int, old: int) -> Iterator[tuple[dict[str, str], str, Connection]]:
    """Start the stand-ins; gives the secrets, the settings of a company, and the pipe to the stand-ins."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=serve, args=(people, old, there), daemon=True)
    process.start()
    there.close()
    try:
        odoo, mailchimp, key = here.recv()
        secrets = {"ODOO_SECRET": "admin", "MAILCHIMP_API_KEY": key}
        yield secrets, COMPANIES.format(odoo=odoo, mailchimp=mailchimp), here
    finally:
        here.close()
        process.join(timeout=20)
        process.terminate()


def measure(people: int, old: int) -> Iterator[Measured]:
    """Carry opt-outs in a company of so many people, each time in a process of its own."""
    with tempfile.TemporaryDirectory() as folder, served(people, old) as (secrets, settings, pipe):
        config = Path(folder) / "companies.yaml"
        config.write_text(settings)
        environment = {**os.environ, **secrets, "DAGSTER_HOME": folder, "MC_PIPELINE_CONFIG": str(config)}

        def run(what: str, exit_code: int = 0) -> Measured:
            began = time.monotonic()
            process = subprocess.Popen(
                [sys.executable, *COMMAND],
                env=environment,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            _, status, used = os.wait4(process.pid, 0)
            seconds = time.monotonic() - began
            if os.waitstatus_to_exitcode(status) != exit_code:
                raise RuntimeError(f"{what}: mc-pipeline ended with {os.waitstatus_to_exitcode(status)}")
            pipe.send("count")
            (of_mailchimp, of_odoo), out = pipe.recv()
            expected = {"unsubscribed": UNSUBSCRIBED, "blacklisted": BLACKLISTED}.get(what.split()[0])
            if expected and not out[expected]:
                raise RuntimeError(f"{what}: the opt-out is not everywhere")
            return Measured(
                f"{people:,} people, {old:,} old opt-outs, {what}",
                of_mailchimp,
                of_odoo,
                seconds,
                used.ru_utime + used.ru_stime,
                used.ru_maxrss / 1024,
            )

        exit_code = WAITS_FOR_APPROVAL if old else 0
        yield run("first hearing", exit_code)
        yield run("nothing new", exit_code)
        if not people:
            return
        for act, what in (("unsubscribe", "unsubscribed in Mailchimp"), ("blacklist", "blacklisted in Odoo")):
            pipe.send(act)
            pipe.recv()
            yield run(what)


if __name__ == "__main__":
    for size in map(int, sys.argv[1:] or ["1000", "100000"]):
        for measured in measure(size, 0):
            print(measured, flush=True)
    for measured in measure(0, OLD) if OLD else ():
        print(measured, flush=True)
