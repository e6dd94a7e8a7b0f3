"""HTTP below odoorpc: one pooled keep-alive session, with timeouts, whose answers are checked.

odoorpc 0.10.1 opens a new connection for every call (urllib sends ``Connection: close``), follows redirects,
and fails on an HTML page with a JSON error. It accepts an opener in place of urllib's; the one here sends
through a requests session to the address in the settings, which may have a path, and turns every other answer
than Odoo's into an error that says what to do. Redirects are never followed: the secret is in the body.
"""

import io
import json
import logging
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.cookiejar import DefaultCookiePolicy
from typing import Any
from urllib.parse import urlsplit
from urllib.request import Request

import odoorpc
import odoorpc.error
import requests
import urllib3.exceptions
from requests.adapters import HTTPAdapter

from mc_pipeline.masking import mask_text
from mc_pipeline.odoo.errors import (
    OdooConnectionError,
    OdooError,
    OdooServerError,
    Retry,
    from_error_answer,
)

# At level DEBUG odoorpc logs every request whole, the secret and the records included.
logging.getLogger("odoorpc.rpc.jsonrpclib").setLevel(logging.WARNING)

CONNECT_TIMEOUT_SECONDS = 10.0
_ADDRESS_FIX = (
    "odoo.url must be Odoo's address without /web or /odoo, and where several databases share a host, "
    "the host name must select the one in odoo.database"
)
_TITLE = re.compile(rb"<title[^>]*>(.*?)</title>", re.IGNORECASE | re.DOTALL)


class PooledOpener:
    """What odoorpc calls in place of a urllib opener.

    Safe to use from several threads: the pool hands each its own connection, and no cookies are kept (every
    JSON-RPC call carries its credentials).
    """

    def __init__(self, url: str, connections: int) -> None:
        parts = urlsplit(url)
        self._base = url.rstrip("/")
        self.shown = f"{parts.scheme}://{parts.hostname}" + (f":{parts.port}" if parts.port else "")
        self.shown += parts.path.rstrip("/")
        self._session = requests.Session()
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        adapter = HTTPAdapter(pool_connections=1, pool_maxsize=connections, max_retries=0, pool_block=True)
        self._session.mount("http://", adapter)
        self._session.mount("https://", adapter)

    def open(self, request: Request, timeout: float | None = None) -> io.BytesIO:
        """Send odoorpc's request; return a readable with the JSON body of Odoo's answer.

        Raises OdooConnectionError when nothing (whole) came back, OdooServerError when what came back is not
        Odoo's JSON.
        """
        try:
            answer = self._session.post(
                self._base + urlsplit(request.full_url).path,
                data=_body(request),
                headers={"Content-Type": "application/json"},
                timeout=(CONNECT_TIMEOUT_SECONDS, timeout),
                allow_redirects=False,
            )
        except requests.RequestException as error:
            raise self._connection_error(error) from None
        self._check(answer)
        return io.BytesIO(answer.content)

    def close(self) -> None:
        self._session.close()

    def _connection_error(self, error: requests.RequestException) -> OdooError:
        where = f"Odoo at {self.shown}"
        if isinstance(error, requests.exceptions.SSLError):
            if "CERTIFICATE_VERIFY_FAILED" not in str(error):
                return OdooConnectionError(
                    f"{where} does not speak HTTPS as expected: check scheme and port in odoo.url "
                    "(a server without HTTPS needs http://)"
                )
            return OdooConnectionError(
                f"{where} has a certificate that is not trusted here: check odoo.url, or name the "
                "certificate authority's file in the environment variable REQUESTS_CA_BUNDLE"
            )
        if isinstance(error, requests.exceptions.ProxyError):
            return OdooConnectionError(
                f"the proxy on the way to {where} refused: check HTTPS_PROXY and NO_PROXY", retry=Retry.ALWAYS
            )
        if isinstance(error, requests.exceptions.ConnectTimeout) or _never_connected(error):
            return OdooConnectionError(
                f"{where} cannot be reached: check the host and port in odoo.url, that the server runs, "
                "and the network",
                retry=Retry.ALWAYS,
            )
        if isinstance(error, requests.exceptions.Timeout):
            return OdooConnectionError(
                f"{where} did not answer in time: raise odoo.timeout_seconds, or look at the server's load",
                retry=Retry.READS,
            )
        if isinstance(error, requests.exceptions.ConnectionError | requests.exceptions.ChunkedEncodingError):
            return OdooConnectionError(f"{where} broke the connection off", retry=Retry.READS)
        if isinstance(
            error,
            requests.exceptions.InvalidURL
            | requests.exceptions.InvalidSchema
            | requests.exceptions.MissingSchema,
        ):
            return OdooConnectionError(f"odoo.url is no usable address: {self.shown}")
        return OdooConnectionError(f"{where} could not be asked: {type(error).__name__}", retry=Retry.READS)

    def _check(self, answer: requests.Response) -> None:
        where = f"Odoo at {self.shown}"
        status = answer.status_code
        if 300 <= status < 400:
            raise self._redirected(answer)
        if status in (401, 407):
            raise OdooServerError(
                f"a server before {where} asks for a login of its own (HTTP {status}): "
                "let /jsonrpc through there"
            )
        if status == 403:
            raise OdooServerError(
                f"a server before {where} forbids the request (HTTP 403{_title(answer)}): "
                "allow this machine's address and the path /jsonrpc there"
            )
        if status in (404, 405):
            raise OdooServerError(
                f"there is no Odoo JSON-RPC at {self.shown} (HTTP {status}{_title(answer)}): {_ADDRESS_FIX}"
            )
        if status == 429:
            raise OdooServerError(
                f"{where} asks to slow down (HTTP 429)", retry=Retry.READS, retry_after=_retry_after(answer)
            )
        if status >= 500:
            raise OdooServerError(
                f"{where} or a proxy before it failed (HTTP {status}{_title(answer)})",
                retry=Retry.READS,
                retry_after=_retry_after(answer),
            )
        if status != 200:
            raise OdooServerError(f"{where} refused the request (HTTP {status}{_title(answer)})")
        if not answer.content.strip():
            raise OdooServerError(f"{where} answered with an empty body", retry=Retry.READS)
        if answer.content.lstrip()[:1] == b"<":
            raise OdooServerError(
                f"{self.shown} answered with a web page{_title(answer)} and not as Odoo's JSON-RPC: "
                f"{_ADDRESS_FIX}; and no login page or proxy may stand before /jsonrpc"
            )

    def _redirected(self, answer: requests.Response) -> OdooError:
        target = urlsplit(answer.headers.get("Location", ""))
        here = urlsplit(self._base)
        if target.scheme and target.hostname:
            base = f"{target.scheme}://{target.hostname}" + (f":{target.port}" if target.port else "")
            if target.scheme != here.scheme and target.hostname == here.hostname:
                return OdooServerError(
                    f"{self.shown} redirects to {target.scheme}: set odoo.url to {base}{here.path}"
                )
            if target.hostname != here.hostname:
                return OdooServerError(
                    f"{self.shown} redirects to {base}: set odoo.url to the address Odoo has now"
                )
        return OdooServerError(
            f"{self.shown} redirects to the page {target.path or '(none)'} (HTTP {answer.status_code}): "
            f"{_ADDRESS_FIX}"
        )


class PooledOdoo(odoorpc.ODOO):
    """odoorpc's ODOO over a pooled session, with typed errors.

    Raises OdooError and its subclasses only.
    """

    def __init__(self, url: str, *, timeout: float, connections: int) -> None:
        parts = urlsplit(url)
        self._opener = PooledOpener(url, connections)
        try:
            # The opener knows scheme and path; odoorpc's "jsonrpc+ssl" would ask for the version twice.
            super().__init__(
                host=parts.hostname or "",
                protocol="jsonrpc",
                port=parts.port or (443 if parts.scheme == "https" else 80),
                timeout=timeout,
                opener=self._opener,
            )
        except (KeyError, TypeError, json.JSONDecodeError, UnicodeDecodeError):
            raise OdooServerError(
                f"{self._opener.shown} answers, but not as Odoo does: check odoo.url"
            ) from None

    @property
    def address(self) -> str:
        """The server's address for messages, without credentials."""
        return self._opener.shown

    def json(self, url: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """Send one JSON-RPC request; return the answer's envelope, which has no ``error``."""
        model, method = _called(params)
        try:
            data = self._connector.proxy_json(url, params)
        except (json.JSONDecodeError, UnicodeDecodeError):
            raise OdooServerError(
                f"Odoo at {self.address} sent an answer that is cut off or no JSON",
                model,
                method,
                retry=Retry.READS,
            ) from None
        except OdooError as error:
            error.model, error.method = model, method
            raise
        if not isinstance(data, dict) or not ({"result", "error", "jsonrpc"} & data.keys()):
            raise OdooServerError(
                f"{self.address} answers JSON, but not Odoo's: check odoo.url and the proxies before it",
                model,
                method,
            )
        if data.get("error"):
            raise from_error_answer(data["error"], model, method) from None
        return data

    def close(self) -> None:
        self._opener.close()


def _called(params: Mapping[str, Any]) -> tuple[str, str]:
    """Model and method of a request, for messages; arguments hold the secret and are left out."""
    if params.get("service") == "object":
        return str(params["args"][3]), str(params["args"][4])
    return "", str(params.get("method", ""))


def _body(request: Request) -> bytes:
    if not isinstance(request.data, bytes):
        raise TypeError("odoorpc sends its requests as bytes")
    return request.data


def _never_connected(error: requests.RequestException) -> bool:
    """Whether no connection was made, so that nothing can have been sent."""
    reason: Any = error.args[0] if error.args else None
    reason = getattr(reason, "reason", reason)
    return isinstance(
        reason,
        urllib3.exceptions.NewConnectionError
        | urllib3.exceptions.NameResolutionError
        | urllib3.exceptions.ConnectTimeoutError,
    )


def _title(answer: requests.Response) -> str:
    """The title of an HTML page, which tells a login page from a proxy's error."""
    found = _TITLE.search(answer.content[:20_000])
    if not found:
        return ""
    text = mask_text(" ".join(found[1].decode("utf-8", "replace").split()))
    return f", page “{text[:60]}”" if text else ""


def _retry_after(answer: requests.Response) -> float | None:
    value = answer.headers.get("Retry-After", "").strip()
    if value.isdigit():
        return float(value)
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):
        return None
