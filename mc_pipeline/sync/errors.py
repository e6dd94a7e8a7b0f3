"""The error with which a step of a run ends because of something that a person has to see to."""

from collections.abc import Mapping
from types import MappingProxyType

_NOTHING: Mapping[str, str] = MappingProxyType({})


class SyncError(Exception):
    """A step cannot go on; the message says why, and what to do.

    Attributes:
        message: for people, in full sentences.
        allow_retries: whether the step may be tried again by itself; false where only a person can help.
        about: what is known of the place besides the message: ``part``, ``place``, ``code`` and
            ``what_to_do`` of a trouble.
    """

    def __init__(
        self, message: str, *, allow_retries: bool = True, about: Mapping[str, str] = _NOTHING
    ) -> None:
        super().__init__(message)
        self.message = message
        self.allow_retries = allow_retries
        self.about = about
