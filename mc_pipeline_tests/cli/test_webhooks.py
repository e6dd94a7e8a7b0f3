"""Webhooks registered, listed and removed at the terminal, and received."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from mc_pipeline.cli.at_once import AtOnce
from mc_pipeline.cli.webhooks import opt_outs_runner
from mc_pipeline.ledger import Ledger
from mc_pipeline.ledger.database import utc_now
from mc_pipeline.webhooks.hooks import SECRET_VARIABLE, hooks_of
from mc_pipeline.webhooks.receiver import receiver_app
from mc_pipeline_tests.cli.conftest import configure, mc_pipeline
from mc_pipeline_tests.webhooks.receiving import receiving
from mc_pipeline_tests.world import World

SECRET = "0123456789abcdef0123456789abcdef"
ADA = "ada@example.org"


@pytest.fixture
def world(served: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """The module's world without webhooks, and a secret for them."""
    monkeypatch.setenv(SECRET_VARIABLE, SECRET)
    for list_id in ("wholesale1", "retail1"):
        served.mailchimp.audience(list_id).webhooks.clear()
    served.mailchimp.state.asks_webhooks_first = True
    configure(served)
    return served


@contextmanager
def receiver(world: World) -> Iterator[str]:
    """The receiver of the command ``serve``, in a thread, with the environment as it is now."""
    hooks = hooks_of(list(world.settings.companies.values()), os.environ)
    with Ledger.open() as ledger, receiving(receiver_app(hooks, ledger.inbox.keep, utc_now)) as url:
        yield url


def register(world: World) -> str:
    """Register the webhooks of acme; return what was printed for the environment."""
    with receiver(world) as url:
        registered = mc_pipeline("webhooks", "register", "acme", "--url", f"{url}/hooks")
    assert registered.exit_code == 0, registered.output
    return registered.output


def signing_lines(output: str) -> dict[str, str]:
    lines = [line for line in output.splitlines() if line.startswith("MC_PIPELINE_WEBHOOK_SIGNING_")]
    return dict(line.split("=", 1) for line in lines)


def test_each_audience_gets_a_webhook_for_people_and_one_for_administrators(world: World) -> None:
    output = register(world)
    for list_id in ("wholesale1", "retail1"):
        made = list(world.mailchimp.audience(list_id).webhooks.values())
        assert [sorted(name for name, on in each.sources.items() if on) for each in made] == [
            ["user"],
            ["admin"],
        ]
        assert {name for each in made for name, on in each.events.items() if on} == {
            "subscribe",
            "unsubscribe",
            "cleaned",
            "upemail",
        }
        assert len({each.url for each in made}) == 2
        lines = signing_lines(output)
        assert lines[f"MC_PIPELINE_WEBHOOK_SIGNING_{list_id.upper()}_USER"] == made[0].signing_secret
    assert len(lines) == 4
    bodies = [entry.body for entry in world.mailchimp.journal.matching("POST", "/webhooks")]
    assert all(set(body["sources"]) == {"user", "admin", "api"} for body in bodies)
    for each in made:
        assert each.url.rpartition("/")[2] not in output


def test_registering_again_makes_nothing_and_shows_no_secret(world: World) -> None:
    with receiver(world) as url:
        first = mc_pipeline("webhooks", "register", "acme", "--url", url)
        before = {
            id for audience in ("wholesale1", "retail1") for id in world.mailchimp.audience(audience).webhooks
        }
        world.mailchimp.journal.clear()
        again = mc_pipeline("webhooks", "register", "acme", "--url", f"{url}/")
    assert (first.exit_code, again.exit_code) == (0, 0)
    assert again.in_one_line.count("there already") == 4
    assert signing_lines(again.output) == {}
    assert world.mailchimp.journal.writes == []
    after = {
        id for audience in ("wholesale1", "retail1") for id in world.mailchimp.audience(audience).webhooks
    }
    assert after == before


def test_one_that_was_changed_by_hand_is_named_and_left(world: World) -> None:
    with receiver(world) as url:
        mc_pipeline("webhooks", "register", "acme", "--url", url)
        changed = next(iter(world.mailchimp.audience("retail1").webhooks.values()))
        changed.sources["api"] = True
        world.mailchimp.journal.clear()
        again = mc_pipeline("webhooks", "register", "acme", "--url", url)
    assert again.exit_code == 1
    assert "sources.api is true. Remove it, and register it again" in again.in_one_line
    assert world.mailchimp.journal.writes == []
    assert "sources.api is true" in mc_pipeline("webhooks", "list").in_one_line


def test_without_a_receiver_nothing_is_made_and_what_to_do_is_said(world: World) -> None:
    refused = mc_pipeline("webhooks", "register", "acme", "--url", "http://127.0.0.1:9/hooks")
    assert refused.exit_code == 1
    assert "start mc-pipeline webhooks serve first" in refused.in_one_line
    assert "Traceback" not in refused.output
    assert world.mailchimp.audience("wholesale1").webhooks == {}
    for hook in hooks_of(list(world.settings.companies.values()), os.environ):
        assert hook.path not in refused.output


def test_the_list_shows_whose_they_are_and_no_secret(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    output = register(world)
    name, value = next(iter(signing_lines(output).items()))
    monkeypatch.setenv(name, value)
    world.mailchimp.state.asks_webhooks_first = False
    client = world.mailchimp
    with world.systems() as systems:
        body = {
            "url": "https://elsewhere.example/s3cret",
            "sources": {"user": True, "admin": True, "api": False},
        }
        systems.mailchimp(systems.company("acme")).lists.create_list_webhook("retail1", body)
    shown = mc_pipeline("webhooks", "list", "acme")
    assert shown.exit_code == 0
    rows = [" ".join(line.split()) for line in shown.output.splitlines()]
    assert sum("ours" in row for row in rows) == 4
    assert sum("not checked" in row for row in rows) == 3
    assert [row for row in rows if "another's" in row] == [
        "acme / retail another's admin, user https://elsewhere.example/…"
    ]
    for audience in ("wholesale1", "retail1"):
        for webhook in client.audience(audience).webhooks.values():
            assert webhook.url.rpartition("/")[2] not in shown.output
            assert webhook.signing_secret not in shown.output


def test_what_is_not_registered_is_listed_as_missing(world: World) -> None:
    assert mc_pipeline("webhooks", "list").in_one_line.count("not registered") == 4


def test_removing_takes_ours_and_leaves_those_of_others(world: World) -> None:
    register(world)
    world.mailchimp.state.asks_webhooks_first = False
    with world.systems() as systems:
        body = {"url": "https://elsewhere.example/", "sources": {"user": True, "admin": True, "api": False}}
        systems.mailchimp(systems.company("acme")).lists.create_list_webhook("retail1", body)
    removed = mc_pipeline("webhooks", "remove", "acme")
    assert removed.in_one_line == "acme / wholesale: 2 removed acme / retail: 2 removed"
    assert [each.url for each in world.mailchimp.audience("retail1").webhooks.values()] == [
        "https://elsewhere.example/"
    ]
    assert world.mailchimp.audience("wholesale1").webhooks == {}


@pytest.mark.parametrize(
    ("secret", "complaint"),
    [
        ("", "MC_PIPELINE_WEBHOOK_SECRET is not set"),
        ("too short", "MC_PIPELINE_WEBHOOK_SECRET has 9 characters"),
    ],
)
@pytest.mark.parametrize("command", [["list"], ["remove", "acme"], ["serve"]])
def test_without_a_secret_it_says_how_to_make_one(
    world: World, monkeypatch: pytest.MonkeyPatch, command: list[str], secret: str, complaint: str
) -> None:
    monkeypatch.setenv(SECRET_VARIABLE, secret)
    refused = mc_pipeline("webhooks", *command)
    assert refused.exit_code == 1
    assert complaint in refused.in_one_line
    assert "openssl rand -hex 32" in refused.in_one_line


@pytest.mark.parametrize(
    "url", ["http://example.com/hooks", "example.com", "https://user:pw@example.com", "https://e.com/?a=1"]
)
def test_an_address_that_will_not_do_is_refused(world: World, url: str) -> None:
    refused = mc_pipeline("webhooks", "register", "acme", "--url", url)
    assert refused.exit_code == 1
    assert "give https://host/path" in refused.in_one_line


def test_a_click_on_unsubscribe_reaches_the_inbox_signed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    with receiver(world) as url:
        output = mc_pipeline("webhooks", "register", "acme", "--url", url).output
    for name, value in signing_lines(output).items():
        monkeypatch.setenv(name, value)
    world.mailchimp.add_member("retail1", ADA)
    with receiver(world) as url:
        for webhook in world.mailchimp.audience("retail1").webhooks.values():
            webhook.url = f"{url}/{webhook.url.rpartition('/')[2]}"
        world.mailchimp.unsubscribe("retail1", ADA)
        assert world.mailchimp.deliver_webhooks(times=2) == [200, 200]
        world.mailchimp.sign_up("retail1", ADA)
        for delivery in world.mailchimp.state.webhook_deliveries:
            delivery["signing_secret"] = "guessed"
        assert world.mailchimp.deliver_webhooks() == [404]
    with Ledger.open() as ledger:
        (kept,) = ledger.inbox.waiting(["retail1"])
    assert (kept.type, kept.email, kept.source) == ("unsubscribe", ADA, "user")


def test_a_port_that_is_taken_is_named(world: World) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        refused = mc_pipeline("webhooks", "serve", "--port", str(taken.getsockname()[1]))
    assert refused.exit_code == 1
    assert "cannot be listened on" in refused.in_one_line


def test_the_receivers_output_holds_no_address_and_no_secret(world: World) -> None:
    """The whole command in a process of its own: its output is all that anybody will read."""
    email = "carl@example.org"
    world.mailchimp.add_member("retail1", email)
    code = "from mc_pipeline.cli import main; main()"
    serving = subprocess.Popen(
        [sys.executable, "-c", code, "webhooks", "serve", "--port", "0"],
        stderr=subprocess.STDOUT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert serving.stdout is not None
    said: list[str] = []
    try:
        for line in serving.stdout:
            said.append(line)
            if "Receiving webhooks of acme on " in line:
                break
        url = said[-1].partition("acme on ")[2].partition(". Stop")[0]
        assert mc_pipeline("webhooks", "register", "acme", "--url", url).exit_code == 0
        world.mailchimp.unsubscribe("retail1", email)
        assert world.mailchimp.deliver_webhooks(times=2) == [200, 200]
        serving.send_signal(signal.SIGTERM)
        said.append(serving.communicate(timeout=60)[0])
    finally:
        serving.kill()
        serving.wait()
    output = "".join(said)
    assert output.count("unsubscribe of audience retail1 (user)") == 2
    urls = [webhook.url for webhook in world.mailchimp.audience("retail1").webhooks.values()]
    for secret in (email, SECRET, *(url.rpartition("/")[2] for url in urls)):
        assert secret not in output


def test_a_delivery_is_carried_out_at_once(world: World) -> None:
    email = "dora@example.org"
    world.mailchimp.add_member("retail1", email)
    hooks = hooks_of(list(world.settings.companies.values()), os.environ)
    run = opt_outs_runner(world.settings)
    done = threading.Event()
    with Ledger.open() as ledger, AtOnce(lambda key: (run(key), done.set())[0], lambda key: False) as at_once:
        app = receiver_app(
            hooks, ledger.inbox.keep, utc_now, on_new=lambda hook: at_once.notice(hook.company)
        )
        with receiving(app) as url:
            assert mc_pipeline("webhooks", "register", "acme", "--url", url).exit_code == 0
            world.mailchimp.unsubscribe("retail1", email)
            assert world.mailchimp.deliver_webhooks() == [200]
            assert done.wait(180)
        (event,) = ledger.consent.events(email=email)
    assert (event.event, event.list_id) == ("opt_out", "retail1")
