"""How soon a run of the opt-outs asks, and how large it grows.

``python -m benchmarks.opt_out_start`` serves both stand-ins in a process of their own and runs ``mc-pipeline
sync --opt-outs`` against them, each time as a new process. Prints of each run the processor time that its
process had used when the first request arrived at a stand-in, that of the whole run, and the peak of memory.
The first run makes the ledger and hears every audience for the first time; the others are as every minute's.
"""

import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

RUNS = 4
COMMAND = ["-c", "from mc_pipeline.cli import main; main()", "sync", "--opt-outs", "acme"]
COMPANIES = """
odoo: {{url: "{odoo}", database: sandbox, user: admin, secret: "${{ODOO_SECRET}}"}}
mailchimp:
  main: {{api_key: "${{MAILCHIMP_API_KEY}}", base_url: "{mailchimp}", hear_every_seconds: 0}}
companies:
  acme:
    odoo_company_id: 1
    mailchimp: main
    timezone: Europe/Paris
    audiences:
      wholesale: {{list_id: wholesale1, when: {{company_type: company}}, merge_fields: {{FNAME: first_name}}}}
      retail: {{list_id: retail1, when: {{}}, merge_fields: {{FNAME: first_name}}}}
"""


@dataclass(frozen=True)
class Measured:
    """One run: seconds of processor time until the first request and in all, and its peak of memory."""

    what: str
    seconds_to_first_request: float
    seconds: float
    peak_megabytes: float

    def __str__(self) -> str:
        return (
            f"{self.what}: first request after {self.seconds_to_first_request:.2f} s of processor time; "
            f"{self.seconds:.2f} s in all; peak of {self.peak_megabytes:,.0f} MB"
        )


def processor_seconds(pid: int) -> float:
    """What a process that is alive has used of the processors by now, with the system's part."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def serve(pipe: Connection) -> None:
    """Run both stand-ins, tell their addresses; for each pid tell what it used until its first request."""
    from mc_pipeline.sandbox.mailchimp import DEFAULT_KEY, SandboxMailchimp
    from mc_pipeline.sandbox.odoo import SandboxOdoo

    odoo, mailchimp = SandboxOdoo(), SandboxMailchimp()
    mailchimp.add_audience("wholesale1", "Wholesale")
    mailchimp.add_audience("retail1", "Retail")
    with odoo.serve(), mailchimp.serve():
        pipe.send((odoo.url, mailchimp.api_url, DEFAULT_KEY))
        while True:
            try:
                pid = pipe.recv()
            except EOFError:
                return
            # Long before its first request: a process that has just been started imports.
            seen = odoo.journal.last_number, mailchimp.journal.last_number
            try:
                while (odoo.journal.last_number, mailchimp.journal.last_number) == seen:
                    time.sleep(0.001)
                    processor_seconds(pid)
                pipe.send(processor_seconds(pid))
            except FileNotFoundError:  # it ended, and asked nothing
                pipe.send(None)


@contextmanager
def served() -> Iterator[tuple[dict[str, str], str, Connection]]:
    """Start the stand-ins; gives the secrets, the settings of a company, and the pipe to the stand-ins."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=serve, args=(there,), daemon=True)
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


def measure(runs: int) -> Iterator[Measured]:
    """Carry the opt-outs of a company so many times, each time in a process of its own."""
    with tempfile.TemporaryDirectory() as folder, served() as (secrets, settings, pipe):
        config = Path(folder) / "companies.yaml"
        config.write_text(settings)
        environment = {**os.environ, **secrets, "DAGSTER_HOME": folder, "MC_PIPELINE_CONFIG": str(config)}
        for number in range(runs):
            process = subprocess.Popen(
                [sys.executable, *COMMAND],
                env=environment,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            pipe.send(process.pid)
            _, status, used = os.wait4(process.pid, 0)
            until_asked = pipe.recv()
            if os.waitstatus_to_exitcode(status) != 0 or until_asked is None:
                raise RuntimeError(f"mc-pipeline ended with {os.waitstatus_to_exitcode(status)}")
            yield Measured(
                f"run {number + 1}" if number else "run 1, of a new home",
                until_asked,
                used.ru_utime + used.ru_stime,
                used.ru_maxrss / 1024,
            )


if __name__ == "__main__":
    for measured in measure(int(sys.argv[1]) if len(sys.argv) > 1 else RUNS):
        print(measured, flush=True)
