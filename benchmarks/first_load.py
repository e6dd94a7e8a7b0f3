"""The first load of a large company: time and memory of the process that runs the pipeline.

``python -m benchmarks.first_load 100000`` starts both stand-in servers in a process of their own, puts so
many customers into Odoo, and syncs the company: up to the plan, which is approved, then the push alone, then
a second sync that writes nothing. Prints of each how long it took, the peak of memory of its process, and
what it asked of Mailchimp.
"""

import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

WAITS_FOR_APPROVAL = 3
PUSH_ALONE = [
    *("dagster", "asset", "materialize", "-m", "mc_pipeline.definitions"),
    *("--select", "audience_push", "--partition", "acme"),
]
KEY = "0123456789abcdef0123456789abcdef-us1"
COMPANIES = """
odoo: {{url: "{odoo}", database: sandbox, user: admin, secret: "${{ODOO_SECRET}}"}}
mailchimp:
  main: {{api_key: "${{MAILCHIMP_API_KEY}}", base_url: "{mailchimp}"}}
companies:
  acme:
    odoo_company_id: 1
    mailchimp: main
    timezone: Europe/Paris
    audiences:
      retail:
        list_id: retail1
        when: {{}}
        merge_fields: {{FNAME: first_name, LNAME: last_name, ORDERS: order_count, SPENT: total_spent}}
        tags: {{B2C: always}}
"""


@dataclass(frozen=True)
class Measured:
    """One sync: what it was, for how long, and its process's peak of memory."""

    what: str
    seconds: float
    requests: dict[str, int]
    peak_megabytes: float

    def __str__(self) -> str:
        asked = ", ".join(f"{count:,} {kind}" for kind, count in sorted(self.requests.items()))
        return f"{self.what}: {self.seconds:.1f} s; peak of {self.peak_megabytes:,.0f} MB; {asked}"


def serve_both(people: int, pipe: Connection) -> None:
    """Run both stand-ins, tell their addresses, and whenever asked what Mailchimp was asked since."""
    from mc_pipeline.sandbox.mailchimp import SandboxMailchimp
    from mc_pipeline.sandbox.odoo import SandboxOdoo
    from mc_pipeline.sandbox.seed.scale import seed_many

    odoo, mailchimp = SandboxOdoo(), SandboxMailchimp({"main": KEY})
    mailchimp.add_audience("retail1", "Retail")
    seed_many(odoo, people)
    with odoo.serve(), mailchimp.serve():
        pipe.send((odoo.url, mailchimp.url))
        while True:
            try:
                pipe.recv()
            except EOFError:
                return
            requests = mailchimp.journal.requests
            pipe.send(
                Counter("operations in batches" if each.batch_id else f"{each.method}s" for each in requests)
            )
            mailchimp.journal.clear()


@dataclass(frozen=True)
class Servers:
    """Both stand-ins in a process of their own."""

    odoo: str
    mailchimp: str
    pipe: Connection

    def requests(self) -> dict[str, int]:
        """What Mailchimp was asked since this was called last."""
        self.pipe.send("requests")
        return dict(self.pipe.recv())


@contextmanager
def both_servers(people: int) -> Iterator[Servers]:
    """Start the servers with so many customers; they are gone afterwards."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=serve_both, args=(people, there), daemon=True)
    process.start()
    there.close()
    try:
        odoo, mailchimp = here.recv()
        yield Servers(odoo, mailchimp, pipe=here)
    finally:
        here.close()
        process.join(timeout=20)
        process.terminate()


def measure(people: int) -> Iterator[Measured]:
    """Sync a company of so many customers, each step in a process of its own."""
    from mc_pipeline.ledger import Ledger

    with tempfile.TemporaryDirectory() as folder, both_servers(people) as servers:
        config = Path(folder) / "companies.yaml"
        config.write_text(COMPANIES.format(odoo=servers.odoo, mailchimp=servers.mailchimp))
        environment = {
            **os.environ,
            "DAGSTER_HOME": folder,
            "MC_PIPELINE_CONFIG": str(config),
            "ODOO_SECRET": "admin",
            "MAILCHIMP_API_KEY": KEY,
        }
        commands = {
            "plan": (["mc-pipeline", "sync", "acme"], WAITS_FOR_APPROVAL),
            "push of the plan, alone": (PUSH_ALONE, 0),
            "second sync": (["mc-pipeline", "sync", "acme"], 0),
        }
        for what, (command, exit_code) in commands.items():
            servers.requests()
            began = time.monotonic()
            process = subprocess.Popen(
                [str(Path(sys.executable).parent / command[0]), *command[1:]],
                env=environment,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            _, status, used = os.wait4(process.pid, 0)
            if os.waitstatus_to_exitcode(status) != exit_code:
                raise RuntimeError(f"{what}: {command[0]} ended with {os.waitstatus_to_exitcode(status)}")
            yield Measured(what, time.monotonic() - began, servers.requests(), used.ru_maxrss / 1024)
            with Ledger.open(f"sqlite:///{folder}/mc_pipeline/ledger.db") as ledger:
                for plan in ledger.plans.waiting("acme"):
                    ledger.plans.approve(plan.plan_id, by="benchmark", reason="measuring")


if __name__ == "__main__":
    for measured in measure(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000):
        print(measured, flush=True)
