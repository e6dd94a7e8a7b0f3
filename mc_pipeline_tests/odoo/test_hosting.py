"""Where people's Odoo is: under a sub-path, beside other databases, behind a private certificate authority.

And API keys, which end.
"""

import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import uvicorn
from pydantic import SecretStr
from starlette.types import ASGIApp, Receive, Scope, Send

from mc_pipeline.odoo.client import ConnectedClient, connect
from mc_pipeline.odoo.errors import OdooAuthenticationError, OdooConnectionError, OdooDatabaseError, OdooError
from mc_pipeline.sandbox.odoo import SandboxOdoo
from mc_pipeline.sandbox.serving import serve, server_config
from mc_pipeline_tests.odoo.connection import OdooAt, Patience

TRANSPORTS = ["jsonrpc", "json2"]


def administrator(odoo: SandboxOdoo) -> int:
    return odoo.search("res.users", [("login", "=", "admin")])[0]


def log_in(
    odoo: SandboxOdoo, url: str, api: str, *, database: str = "sandbox", key: str = ""
) -> ConnectedClient:
    """Connect as the administrator: by the key given, else by a new one, over JSON-RPC by the password."""
    if not key and api != "jsonrpc":
        key = odoo.add_api_key(administrator(odoo), database=database)
    settings = OdooAt(url, database=database, user="admin", secret=SecretStr(key or "admin"), api=api)
    return connect(settings, [1], retry=Patience(attempts=2).policy)


# sub-paths


class UnderPath:
    """A proxy that has Odoo under a path and something else at the root."""

    def __init__(self, app: ASGIApp, path: str) -> None:
        self._app, self._path = app, path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            if not scope["path"].startswith(f"{self._path}/"):
                await send({"type": "http.response.start", "status": 404, "headers": []})
                await send({"type": "http.response.body", "body": b"<title>The shop</title>"})
                return
            path = scope["path"].removeprefix(self._path)
            scope = {**scope, "path": path, "raw_path": path.encode()}
        await self._app(scope, receive, send)


@pytest.fixture(scope="module")
def under_path() -> Iterator[tuple[SandboxOdoo, str]]:
    odoo = SandboxOdoo((19, 0))
    with serve(UnderPath(odoo.app, "/odoo")) as url:
        yield odoo, url


@pytest.mark.parametrize("api", TRANSPORTS)
@pytest.mark.parametrize("ending", ["", "/"])
def test_odoo_under_a_sub_path_is_reached(under_path, api, ending):
    odoo, url = under_path
    with log_in(odoo, f"{url}/odoo{ending}", api) as client:
        assert client.search_count("res.company", []) == 1
        assert client.address == f"{url}/odoo"
        assert client.transport == api


@pytest.mark.parametrize("api", TRANSPORTS)
def test_the_path_that_was_forgotten_is_reported(under_path, api):
    odoo, url = under_path
    with pytest.raises(OdooError, match=r"HTTP 404, page “The shop”.*odoo\.url"):
        log_in(odoo, url, api)


# several databases


@pytest.fixture(scope="module")
def two_databases() -> Iterator[SandboxOdoo]:
    with SandboxOdoo((19, 0), databases=("first", "second")).serve() as odoo:
        superuser = odoo.databases["second"].superuser()
        odoo.databases["second"].models["res.partner"].create_records(superuser, [{"name": "Of the second"}])
        yield odoo


@pytest.mark.parametrize("api", TRANSPORTS)
def test_the_database_of_the_settings_is_the_one_that_is_read(two_databases, api):
    found = {}
    for database in ("first", "second"):
        with log_in(two_databases, two_databases.url, api, database=database) as client:
            found[database] = client.search_count("res.partner", [("name", "=", "Of the second")])
    assert found == {"first": 0, "second": 1}


@pytest.mark.parametrize("api", TRANSPORTS)
def test_a_database_that_is_not_there_is_named(two_databases, api):
    key = two_databases.add_api_key(administrator(two_databases))
    with pytest.raises(OdooDatabaseError, match=r"'third'.*odoo\.database"):
        log_in(two_databases, two_databases.url, api, database="third", key=key)


def test_a_key_of_one_database_is_none_in_another(two_databases):
    key = two_databases.add_api_key(administrator(two_databases), database="first")
    with pytest.raises(OdooAuthenticationError):
        log_in(two_databases, two_databases.url, "json2", database="second", key=key)


# keys that end


@pytest.fixture(scope="module")
def odoo19() -> Iterator[SandboxOdoo]:
    with SandboxOdoo((19, 0)).serve() as odoo:
        yield odoo


def test_a_key_that_ends_while_it_is_used_stops_json2_at_once(odoo19):
    key = odoo19.add_api_key(administrator(odoo19))
    with log_in(odoo19, odoo19.url, "json2", key=key) as client:
        assert client.search_count("res.company", []) == 1
        odoo19.expire_api_key(administrator(odoo19), key)
        with pytest.raises(OdooAuthenticationError, match=r"expires.*90 days.*make a new key"):
            client.search_count("res.company", [])


@pytest.mark.parametrize("api", [*TRANSPORTS, "auto"])
def test_a_key_that_has_ended_is_no_login(odoo19, api):
    past = datetime.now(UTC) - timedelta(minutes=1)
    key = odoo19.add_api_key(administrator(odoo19), expires=past)
    with pytest.raises(OdooAuthenticationError, match=r"odoo\.secret.*90 days"):
        log_in(odoo19, odoo19.url, api, key=key)


def test_a_key_that_has_not_ended_yet_is_taken(odoo19):
    key = odoo19.add_api_key(administrator(odoo19), expires=datetime.now(UTC) + timedelta(days=90))
    with log_in(odoo19, odoo19.url, "auto", key=key) as client:
        assert client.transport == "json2"


def test_a_login_that_a_user_with_two_factors_may_use_is_a_key(odoo19):
    uid = odoo19.add_user("careful", "secret", two_factor=True)
    settings = OdooAt(odoo19.url, database="sandbox", user="careful", secret=SecretStr("secret"))
    with pytest.raises(OdooAuthenticationError, match="two-factor authentication needs"):
        connect(settings, [1], retry=Patience().policy)
    key = OdooAt(odoo19.url, "sandbox", "careful", SecretStr(odoo19.add_api_key(uid)))
    with connect(key, [1], retry=Patience().policy) as client:
        assert client.transport == "json2"


# a private certificate authority


def _openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a private authority (ca.pem), another (other.pem), and certificates for 127.0.0.1."""
    if shutil.which("openssl") is None:
        pytest.skip("the openssl command, which makes the certificates, is not installed")
    folder = tmp_path_factory.mktemp("authority")
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    for name in ("ca", "other"):
        _openssl(
            folder, "req", "-x509", *key, "-keyout", f"{name}.key", "-out", f"{name}.pem", "-days", "2",
            "-subj", f"/CN=Private authority {name}", "-addext", "keyUsage=critical,keyCertSign",
        )  # fmt: skip
    _openssl(folder, "req", *key, "-keyout", "odoo.key", "-out", "odoo.csr", "-subj", "/CN=odoo")
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1\n", encoding="utf-8")
    sign = ["x509", "-req", "-in", "odoo.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial"]
    for name, days in (("odoo.pem", "2"), ("expired.pem", "0")):
        _openssl(folder, *sign, "-out", name, "-days", days, "-extfile", "names")
    return folder


@contextmanager
def over_https(app: ASGIApp, authority: Path, certificate: str = "odoo.pem") -> Iterator[str]:
    """Serve an app with a certificate of the private authority."""
    started = threading.Event()

    class Server(uvicorn.Server):
        async def startup(self, sockets: object = None) -> None:
            await super().startup(sockets)  # type: ignore[arg-type]
            started.set()

    server = Server(
        server_config(
            app,
            port=0,
            ssl_certfile=str(authority / certificate),
            ssl_keyfile=str(authority / "odoo.key"),
        )
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    assert started.wait(10)
    try:
        yield f"https://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)


@pytest.fixture(scope="module")
def with_private_certificate(authority: Path) -> Iterator[tuple[SandboxOdoo, str]]:
    odoo = SandboxOdoo((19, 0))
    with over_https(odoo.app, authority) as url:
        yield odoo, url


@pytest.fixture(autouse=True)
def no_certificates_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"])
@pytest.mark.parametrize("api", [*TRANSPORTS, "auto"])
def test_a_private_authority_named_in_the_environment_is_trusted(
    with_private_certificate, authority, monkeypatch, api, variable
):
    odoo, url = with_private_certificate
    monkeypatch.setenv(variable, str(authority / "ca.pem"))
    with log_in(odoo, url, api) as client:
        assert client.search_count("res.company", []) == 1


@pytest.mark.parametrize("api", TRANSPORTS)
@pytest.mark.parametrize("named", ["", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"])
def test_a_certificate_that_is_not_trusted_is_reported_with_the_fix(
    with_private_certificate, authority, monkeypatch, api, named
):
    odoo, url = with_private_certificate
    if named:
        monkeypatch.setenv(named, str(authority / "other.pem"))
    asked = len(odoo.journal.requests)
    with pytest.raises(OdooConnectionError) as raised:
        log_in(odoo, url, api)
    message = str(raised.value)
    assert "certificate that is not trusted" in message
    assert f"environment variable {named or 'REQUESTS_CA_BUNDLE'}" in message
    assert "\n" not in message
    assert len(odoo.journal.requests) == asked, "nothing is sent to a server that is not known"


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"])
def test_a_file_of_certificates_that_is_not_there_is_reported(
    with_private_certificate, authority, monkeypatch, variable
):
    odoo, url = with_private_certificate
    monkeypatch.setenv(variable, str(authority / "gone.pem"))
    with pytest.raises(OdooConnectionError, match=rf"correct the file named in .*{variable}"):
        log_in(odoo, url, "jsonrpc")


def test_a_certificate_for_another_host_is_reported(with_private_certificate, authority, monkeypatch):
    odoo, url = with_private_certificate
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority / "ca.pem"))
    with pytest.raises(OdooConnectionError, match=r"for another host name: set odoo\.url to the name"):
        log_in(odoo, url.replace("127.0.0.1", "localhost"), "jsonrpc")


def test_a_certificate_that_has_expired_is_reported(authority, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority / "ca.pem"))
    odoo = SandboxOdoo((19, 0))
    with (
        over_https(odoo.app, authority, "expired.pem") as url,
        pytest.raises(OdooConnectionError, match="has expired: renew it there"),
    ):
        log_in(odoo, url, "json2")
