"""HTTP below both transports: one pooled keep-alive session per Odoo, with timeouts and typed failures.

Redirects are never followed, because every request contains the secret. No cookies are kept: every call sends
its credentials, and Odoo refuses a session together with ``X-Odoo-Database``. What an answer says is for the
transports to read.
"""

import os
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.cookiejar import DefaultCookiePolicy
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3.exceptions
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase

from mc_pipeline import __version__
from mc_pipeline.masking import mask_text
from mc_pipeline.odoo.errors import OdooConnectionError, OdooError, OdooServerError, Retry
from mc_pipeline.odoo.pace import Pace

CONNECT_TIMEOUT_SECONDS = 10.0
ADDRESS_FIX = (
    "odoo.url must be Odoo's address without /web or /odoo, and where several databases share a host, "
    "the host name must select the one in odoo.database"
)
_CERTIFICATES = "REQUESTS_CA_BUNDLE"
_CERTIFICATE_FILES = (_CERTIFICATES, "CURL_CA_BUNDLE", "SSL_CERT_FILE")
_TITLE = re.compile(rb"<title[^>]*>(.*?)</title>", re.IGNORECASE | re.DOTALL)


class OdooConnection:
    """The pooled session with one Odoo server. Every request keeps ``pace``.

    Safe to use from several threads: the pool hands each its own connection. Certificates are checked against
    the file in REQUESTS_CA_BUNDLE, CURL_CA_BUNDLE or SSL_CERT_FILE, without them against the public ones.
    """

    def __init__(self, url: str, connections: int, timeout_seconds: float, pace: Pace | None = None) -> None:
        parts = urlsplit(url)
        self.base = url.rstrip("/")
        self.timeout_seconds = timeout_seconds
        self._pace = pace or Pace()
        self.shown = f"{parts.scheme}://{parts.hostname}" + (f":{parts.port}" if parts.port else "")
        self.shown += parts.path.rstrip("/")
        self._session = requests.Session()
        self._session.headers["User-Agent"] = f"mc-pipeline/{__version__}"
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        # requests itself reads the first two variables and lets them win over this
        self._session.verify = os.environ.get("SSL_CERT_FILE") or True
        adapter = HTTPAdapter(pool_connections=1, pool_maxsize=connections, max_retries=0, pool_block=True)
        self._session.mount("http://", adapter)
        self._session.mount("https://", adapter)

    def request(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        auth: AuthBase | None = None,
        timeout_seconds: float | None = None,
    ) -> requests.Response:
        """Send one request to a path below Odoo's address; return the whole answer, whatever its status.

        Raises OdooConnectionError when nothing (whole) came back.
        """
        try:
            with self._pace.call():
                return self._session.request(
                    method,
                    self.base + path,
                    data=body,
                    headers=dict(headers or {}),
                    auth=auth,
                    timeout=(CONNECT_TIMEOUT_SECONDS, timeout_seconds or self.timeout_seconds),
                    allow_redirects=False,
                )
        except requests.RequestException as error:
            raise self._connection_error(error) from None
        except OSError:  # what requests raises when a file of certificates is not there
            raise OdooConnectionError(
                f"the certificates to check Odoo at {self.shown} with cannot be read: correct the file named "
                f"in the environment variable {_certificates_variable()}"
            ) from None

    def close(self) -> None:
        """Close all connections."""
        self._session.close()

    def redirected(self, answer: requests.Response, fix: str = ADDRESS_FIX) -> OdooError:
        """The error for a redirect, which is not followed; ``fix`` if its target suggests none."""
        target = urlsplit(answer.headers.get("Location", ""))
        here = urlsplit(self.base)
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
            f"{self.shown} redirects to the page {target.path or '(none)'} (HTTP {answer.status_code}): {fix}"
        )

    def passing_trouble(self, answer: requests.Response) -> OdooError | None:
        """The error for an answer that another try may better: too many requests, or a failure (5xx)."""
        where, status = f"Odoo at {self.shown}", answer.status_code
        if status == 429:
            said = f"{where} asks to slow down (HTTP 429)"
        elif status >= 500:
            said = f"{where} or a proxy before it failed (HTTP {status}{title(answer)})"
        else:
            return None
        return OdooServerError(said, retry=Retry.READS, retry_after=_retry_after(answer))

    def _connection_error(self, error: requests.RequestException) -> OdooError:
        where = f"Odoo at {self.shown}"
        if isinstance(error, requests.exceptions.SSLError):
            if "CERTIFICATE_VERIFY_FAILED" not in str(error):
                return OdooConnectionError(
                    f"{where} does not speak HTTPS as expected: check scheme and port in odoo.url "
                    "(a server without HTTPS needs http://)"
                )
            if "mismatch" in str(error):
                return OdooConnectionError(
                    f"{where} has a certificate for another host name: set odoo.url to the name it is for"
                )
            if "certificate has expired" in str(error):
                return OdooConnectionError(f"{where} has a certificate that has expired: renew it there")
            return OdooConnectionError(
                f"{where} has a certificate that is not trusted here: check odoo.url, or name the "
                f"certificate authority's file in the environment variable {_certificates_variable()}"
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
            return OdooConnectionError(f"{where} closed the connection", retry=Retry.READS)
        if isinstance(
            error,
            requests.exceptions.InvalidURL
            | requests.exceptions.InvalidSchema
            | requests.exceptions.MissingSchema,
        ):
            return OdooConnectionError(f"odoo.url is no usable address: {self.shown}")
        return OdooConnectionError(f"{where} could not be asked: {type(error).__name__}", retry=Retry.READS)


def title(answer: requests.Response) -> str:
    """The title of an HTML page, which distinguishes a login page from a proxy's error."""
    found = _TITLE.search(answer.content[:20_000])
    if not found:
        return ""
    text = mask_text(" ".join(found[1].decode("utf-8", "replace").split()))
    return f", page “{text[:60]}”" if text else ""


def is_page(answer: requests.Response) -> bool:
    """Whether an answer is a web page, whatever it calls itself."""
    return answer.content.lstrip()[:1] == b"<"


def _certificates_variable() -> str:
    """The environment variable that names the certificate authorities now, or the one to set."""
    return next((name for name in _CERTIFICATE_FILES if os.environ.get(name)), _CERTIFICATES)


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


def _retry_after(answer: requests.Response) -> float | None:
    value = answer.headers.get("Retry-After", "").strip()
    if value.isdigit():
        return float(value)
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):
        return None
