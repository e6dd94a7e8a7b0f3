"""The Dagster UI over a world that was synced before, and a browser that notes what goes wrong.

Everything slow but the start of the UI happens in this process, while it starts.
"""

import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
from playwright.sync_api import ConsoleMessage, Page, Request, sync_playwright
from rich.console import Console

from mc_pipeline.cli.dagster_dev import dagster_dev, last_words, wait_until_ready
from mc_pipeline.cli.home import dagster_instance
from mc_pipeline.cli.running import CompanyRun, run_company
from mc_pipeline.cli.stand_ins import StandIns, stand_ins
from mc_pipeline.settings import load_settings
from mc_pipeline.tables.parquet import storage_folder

ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
SLOWEST_STEP_MILLISECONDS = 30_000


@dataclass(frozen=True)
class DagsterUI:
    """The running UI, the stand-ins behind it, and the run that waits for approval."""

    url: str
    servers: StandIns
    run: CompanyRun


@dataclass
class Trouble:
    """What a page should never do."""

    errors: list[str] = field(default_factory=list)
    offsite: list[str] = field(default_factory=list)


@pytest.fixture(scope="session")
def chromium() -> str:
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("chromium is not installed (apt-get install chromium)")
    return path


@pytest.fixture(scope="module")
def dagster_ui(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DagsterUI]:
    before = dict(os.environ)
    home = tmp_path_factory.mktemp("home")
    try:
        with stand_ins(home, partners=300) as servers, dagster_instance() as instance:
            # The first to open the instance lays out its database; two at a time would collide.
            assert instance.get_runs_count() == 0
            storage_folder()  # as after a sync: what is stored must not hide what is imported
            port = _free_port()
            with _nobody_left_behind(home), dagster_dev(home, port) as process:
                run = run_company(load_settings(), "acme_uk", instance, Console(quiet=True))
                assert wait_until_ready(process, port), last_words(home)
                yield DagsterUI(f"http://127.0.0.1:{port}", servers, run)
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def _nobody_left_behind(home: Path) -> Iterator[None]:
    """Fail when at the end another process still has its state in ``home``."""
    yield
    assert [process.cmdline() for process in psutil.process_iter() if _lives_in(process, home)] == []


def _lives_in(process: psutil.Process, home: Path) -> bool:
    try:
        return process.pid != os.getpid() and bool(process.environ().get("DAGSTER_HOME") == str(home))
    except psutil.Error:
        return False  # ended, or somebody else's


def _free_port() -> int:
    with socket.socket() as attempt:
        attempt.bind(("127.0.0.1", 0))
        return int(attempt.getsockname()[1])


@pytest.fixture
def trouble() -> Trouble:
    return Trouble()


@pytest.fixture
def page(chromium: str, trouble: Trouble) -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(ARGUMENTS))
        page = browser.new_page(viewport={"width": 1600, "height": 1200})
        page.set_default_timeout(SLOWEST_STEP_MILLISECONDS)

        def note_message(message: ConsoleMessage) -> None:
            if message.type == "error":
                trouble.errors.append(message.text)

        def note_request(request: Request) -> None:
            parts = urlsplit(request.url)
            if parts.scheme not in ("data", "blob") and parts.hostname != "127.0.0.1":
                trouble.offsite.append(request.url)

        page.on("console", note_message)
        page.on("pageerror", lambda error: trouble.errors.append(str(error)))
        page.on("request", note_request)
        yield page
        browser.close()
