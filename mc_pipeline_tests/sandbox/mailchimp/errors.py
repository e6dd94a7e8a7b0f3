"""Reading the official client's errors, whose text is a JSON string for Mailchimp's own error documents."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from mailchimp_marketing.api_client import ApiClientError


@contextmanager
def refused(status: int, title: str | None = None, detail: str = "") -> Iterator[list[dict[str, Any]]]:
    """Expect an error document; it is the one item of the list that this gives."""
    documents: list[dict[str, Any]] = []
    with pytest.raises(ApiClientError) as caught:
        yield documents
    assert caught.value.status_code == status
    documents.append(json.loads(caught.value.text))
    if title is not None:
        assert documents[0]["title"] == title
    assert detail in documents[0]["detail"]


def status_of(call: Callable[[], Any]) -> int:
    """The status of a call whose success has a body and whose error may have one."""
    try:
        answer = call()
    except ApiClientError as error:
        return int(error.status_code)
    return int(getattr(answer, "status_code", 200))
