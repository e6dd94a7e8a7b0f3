"""The safe client: the official mailchimp-marketing library with its way of sending replaced.

Here: one request, from the generated API method to checked data. Which requests make up reading members,
changing tags and so on is in the modules beside this one. What the official library (3.0.80) does and
this one does not: a new connection per call; ``server`` replaced anywhere in the URL; ``/`` in ids
changing the route; errors with an empty body returned as successes; response headers and the text of
errors lost; booleans in queries as ``True``; a text given as ``fields`` split into its characters.
"""

import logging
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http.cookiejar import DefaultCookiePolicy
from typing import Any, NoReturn, Protocol
from urllib.parse import quote, unquote, urlsplit

import mailchimp_marketing
import requests
import urllib3.exceptions
from mailchimp_marketing.api_client import ApiClient
from pydantic import SecretStr
from requests.adapters import HTTPAdapter

from mc_pipeline import __version__
from mc_pipeline.mailchimp.answers import read_answer
from mc_pipeline.mailchimp.bodies import UnsendableValueError, query_value, to_json
from mc_pipeline.mailchimp.connections import ConnectionSlots, InProcessSlots
from mc_pipeline.mailchimp.errors import (
    CHECK_TOO_OLD,
    CONNECTION_FAILED,
    ForbiddenRequestError,
    MailchimpAuthenticationError,
    MailchimpError,
    MailchimpNotSentError,
    MailchimpServerError,
    MailchimpUnknownOutcomeError,
)
from mc_pipeline.mailchimp.guard import refuse_forbidden
from mc_pipeline.mailchimp.retry import (
    RetryPolicy,
    may_be_resent,
    may_retry,
    outcome_is_open,
    says_nothing_about_earlier_attempts,
)
from mc_pipeline.masking import mask_text

_log = logging.getLogger(__name__)
_API_KEY = re.compile(r"[!-,.-~]+-([a-z]+[0-9]+)")
_API_ROOT = "/3.0"
_USER_AGENT = f"mc-pipeline/{__version__} (mailchimp-marketing 3.0.80)"


class Recheck(Protocol):
    """What has to hold shortly before a request is sent, and before it is sent again."""

    def make(self) -> None:
        """Look again, unless that was a moment ago; what is raised ends the request unsent."""
        ...

    def is_recent(self) -> bool:
        """Whether the last look is recent enough to send now."""
        ...


class SafeApiClient(ApiClient):
    """The official ``ApiClient`` with safe sending; the generated API objects call it.

    Thread-safe. Every method of the generated API objects returns decoded data (dict or list), None for
    204 and ``{}``, or raises a :class:`~mc_pipeline.mailchimp.errors.MailchimpError`.
    """

    def __init__(
        self,
        api_key: str,
        api_root: str,
        *,
        max_connections: int,
        timeout: tuple[float, float],
        connections: ConnectionSlots,
        retry: RetryPolicy,
        stop: threading.Event,
    ) -> None:
        super().__init__({"api_key": api_key, "timeout": timeout})
        self.host = api_root
        self.connections = connections
        self.retry = retry
        self.stop = stop
        self.clock_offset = timedelta(0)
        self._rechecks = threading.local()
        self._session = requests.Session()
        adapter = HTTPAdapter(
            pool_connections=1, pool_maxsize=max_connections, max_retries=0, pool_block=True
        )
        self._session.mount("http://", adapter)
        self._session.mount("https://", adapter)
        # Cookies of the network in front of Mailchimp would be shared state between threads.
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))

    def call_api(
        self,
        resource_path: str,
        method: str,
        path_params: Mapping[str, Any] | None = None,
        query_params: Any = None,
        header_params: Mapping[str, Any] | None = None,
        body: Any = None,
        collection_formats: Mapping[str, str] | None = None,
        **kwargs: Any,
    ) -> Any:
        """Build the URL of one generated API method, send it and return checked data."""
        path = _fill(method, resource_path, path_params or {})
        formats = collection_formats or {}
        query = [
            (name, [value] if name in formats and isinstance(value, str) else value)
            for name, value in _pairs(query_params)
            if value is not None
        ]
        headers = {**(header_params or {}), **self.default_headers, "User-Agent": _USER_AGENT}
        return self._send(method, self.host + path, self.parameters_to_tuples(query, formats), headers, body)[
            1
        ]

    def request(
        self, method: str, url: str, query_params: Any = None, headers: Any = None, body: Any = None
    ) -> requests.Response:
        """Send one request through guard, connection slot, retries and checks; return its response.

        Raises:
            ForbiddenRequestError: the request breaks an invariant of the product; nothing was sent.
            MailchimpError: everything but a readable success.
        """
        return self._send(method, url, query_params, headers, body)[0]

    def _send(
        self, method: str, url: str, query_params: Any, headers: Any, body: Any
    ) -> tuple[requests.Response, Any]:
        if not url.startswith(self.host + "/"):
            _refuse(method, urlsplit(url).path, "the API key is sent to this account's own host only")
        path = url.removeprefix(self.host)
        refuse_forbidden(method, path, body)
        try:
            data = None if body is None else to_json(body).encode()
            query = [(name, query_value(value)) for name, value in _pairs(query_params)]
        except UnsendableValueError as error:
            raise MailchimpNotSentError(
                title="Unsendable Value", detail=str(error), method=method, path=path
            ) from None
        resendable = may_be_resent(method, path, body)
        left_open: list[MailchimpError] = []

        # Reading back makes nobody reachable.
        recheck: Recheck | None = getattr(self._rechecks, "present", None) if method != "GET" else None

        def attempt() -> tuple[requests.Response, Any]:
            try:
                return self._attempt(method, url, path, query, headers, data, recheck)
            except MailchimpError as error:
                if outcome_is_open(error, method):
                    left_open.append(error)
                raise

        loop = self.retry.retrying(lambda error: may_retry(error, resendable), self.pause)
        try:
            answered: tuple[requests.Response, Any] = loop(attempt)
            return answered
        except MailchimpError as error:
            error.attempts = int(loop.statistics.get("attempt_number", 1))
            if left_open and says_nothing_about_earlier_attempts(error):
                raise _unknown_outcome(left_open[-1], error) from error
            raise

    @contextmanager
    def rechecked(self, recheck: "Recheck") -> Iterator[None]:
        """Have the check made before each attempt of this thread's requests, for as long as this lasts."""
        self._rechecks.present = recheck
        try:
            yield
        finally:
            self._rechecks.present = None

    def _attempt(
        self,
        method: str,
        url: str,
        path: str,
        query: list[tuple[str, Any]],
        headers: Any,
        data: bytes | None,
        recheck: "Recheck | None" = None,
    ) -> tuple[requests.Response, Any]:
        if recheck is not None:
            self._rechecks.present = None  # the check sends requests of its own
            try:
                recheck.make()
            finally:
                self._rechecks.present = recheck
        with self.connections.slot():
            if recheck is not None and not recheck.is_recent():
                raise MailchimpNotSentError(
                    title=CHECK_TOO_OLD,
                    detail="no connection became free soon enough after the last look for opt-outs",
                    method=method,
                    path=path,
                )
            if self.stop.is_set():
                raise MailchimpNotSentError(
                    title="Stopped", detail="the client was stopped", method=method, path=path
                )
            try:
                response = self._session.request(
                    method,
                    url,
                    params=query,
                    data=data,
                    headers=headers,
                    auth=("user", self.api_key),
                    timeout=self.timeout,
                    # Following a redirect would turn a POST into a GET and send the key along.
                    allow_redirects=False,
                )
            except requests.RequestException as error:
                raise _transport_error(error, method, path) from error
        self._note_clock(response)
        _log.debug("%s %s: %s", method, mask_text(unquote(path)), response.status_code)
        return response, read_answer(response, method, path)

    def pause(self, seconds: float) -> None:
        """Wait, but no longer than until the client is stopped."""
        self.stop.wait(seconds)

    def _note_clock(self, response: requests.Response) -> None:
        try:
            there = parsedate_to_datetime(response.headers.get("Date", ""))
        except ValueError:
            return
        if there.tzinfo is not None:
            self.clock_offset = there - datetime.now(UTC)

    def close(self) -> None:
        """Start no further request, wake the pauses, close idle connections."""
        self.stop.set()
        self._session.close()


class MailchimpClient(mailchimp_marketing.Client):
    """One Mailchimp account, for all threads: ``client.lists``, ``client.batches``, ``client.ecommerce``, …

    Args:
        account: the account's key in the settings; for messages only.
        api_key: with its data centre, ``…-us7``.
        base_url: a stand-in server; ``/3.0`` is added when it has no path.
        max_connections: at most so many simultaneous connections (Mailchimp: 10 per user).
        timeout: seconds to connect, and to wait for each read (Mailchimp's own limit is 120).
        connections: a limit shared beyond this process.
        stop: once set, no request starts and pauses end; set by :meth:`close`.

    Raises:
        MailchimpAuthenticationError: the key has no data centre and no base_url is given.
    """

    def __init__(
        self,
        account: str,
        api_key: str | SecretStr,
        *,
        base_url: str | None = None,
        max_connections: int = 8,
        timeout: tuple[float, float] = (10, 120),
        connections: ConnectionSlots | None = None,
        retry: RetryPolicy | None = None,
        stop: threading.Event | None = None,
    ) -> None:
        key = api_key.get_secret_value() if isinstance(api_key, SecretStr) else api_key
        self.account = account
        api_client = SafeApiClient(
            key,
            _api_root(account, key, base_url),
            max_connections=max_connections,
            timeout=timeout,
            connections=connections or InProcessSlots(max_connections),
            retry=retry or RetryPolicy(),
            stop=stop or threading.Event(),
        )
        super().__init__({})
        for api in vars(self).values():
            if hasattr(api, "api_client"):
                api.api_client = api_client
        self.api_client = api_client

    @property
    def stop(self) -> threading.Event:
        """Set it to start no further request and to end all pauses; for interruptions."""
        return self.api_client.stop

    def pause(self, seconds: float) -> None:
        """Wait between polls: by the retry policy's ``sleep`` or until :attr:`stop` is set."""
        (self.api_client.retry.sleep or self.api_client.pause)(seconds)
        if self.stop.is_set():
            raise MailchimpNotSentError(title="Stopped", detail="the client was stopped")

    def rechecked(self, recheck: Recheck) -> AbstractContextManager[None]:
        """This thread's requests within it are checked before each attempt, repeated ones too."""
        return self.api_client.rechecked(recheck)

    def server_now(self) -> datetime:
        """Return Mailchimp's clock (UTC), judged by its latest answer; ours before the first one."""
        return datetime.now(UTC) + self.api_client.clock_offset

    def close(self) -> None:
        """Start no further request and close the connections."""
        self.api_client.close()

    def __enter__(self) -> "MailchimpClient":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"MailchimpClient({self.account!r}, {self.api_client.host!r})"


def _api_root(account: str, api_key: str, base_url: str | None) -> str:
    if base_url:
        parts = urlsplit(base_url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
            raise MailchimpNotSentError(
                title="Invalid base_url",
                detail=f"mailchimp.{account}.base_url is {base_url!r}: give http(s)://host[:port]",
            )
        return base_url.rstrip("/") + ("" if parts.path.strip("/") else _API_ROOT)
    match = _API_KEY.fullmatch(api_key)
    if match is None:
        raise MailchimpAuthenticationError(
            title="API Key Invalid",
            detail=f"the API key of mailchimp.{account} does not end in its data centre, such as -us7",
        )
    return f"https://{match.group(1)}.api.mailchimp.com{_API_ROOT}"


def _fill(method: str, resource_path: str, path_params: Mapping[str, Any]) -> str:
    for name, value in path_params.items():
        text = str(value)
        if not text or "/" in text or text in {".", ".."}:
            why = f"{name} is {text!r}: ids must not be empty, '.', '..' or contain '/'"
            _refuse(method, resource_path, why)
        resource_path = resource_path.replace("{" + name + "}", quote(text, safe=""))
    return resource_path


def _pairs(query_params: Any) -> list[tuple[str, Any]]:
    if isinstance(query_params, Mapping):
        return list(query_params.items())
    return list(query_params or ())


def _refuse(method: str, path: str, why: str) -> NoReturn:
    raise ForbiddenRequestError(title="Forbidden Request", detail=why, method=method, path=path)


def _transport_error(error: requests.RequestException, method: str, path: str) -> MailchimpError:
    reason = error.args[0] if error.args else None
    cause = getattr(reason, "reason", reason)
    name = type(error if cause is None else cause).__name__

    def not_sent(title: str, detail: str) -> MailchimpError:
        return MailchimpNotSentError(title=title, detail=detail, method=method, path=path)

    if isinstance(error, requests.ConnectTimeout | requests.exceptions.ProxyError) or isinstance(
        cause, urllib3.exceptions.NewConnectionError | urllib3.exceptions.ConnectTimeoutError
    ):
        return not_sent(CONNECTION_FAILED, f"no connection was made ({name})")
    if isinstance(error, requests.exceptions.SSLError) and "CERTIFICATE" in str(error):
        return not_sent("Certificate Refused", "the server's certificate was not accepted")
    if isinstance(error, requests.exceptions.InvalidURL | requests.exceptions.InvalidHeader):
        return not_sent("Invalid Request", name)
    what = "no answer in time" if isinstance(error, requests.Timeout) else "the connection broke"
    detail = f"{what} after sending ({name})"
    return MailchimpServerError(title="No Answer", detail=detail, method=method, path=path)


def _unknown_outcome(open_failure: MailchimpError, last: MailchimpError) -> MailchimpUnknownOutcomeError:
    return MailchimpUnknownOutcomeError(
        status=open_failure.status,
        title=open_failure.title,
        detail=open_failure.detail,
        errors=open_failure.errors,
        method=open_failure.method,
        path=open_failure.path,
        request_id=open_failure.request_id,
        headers=open_failure.headers,
        attempts=last.attempts,
    )
