"""How an erased person is still recognised, without anybody knowing who they were (rule 10.1).

An address is replaced by an HMAC of it. With the key, the same address gives the same pseudonym, so that
whoever was erased is known when Odoo or Mailchimp shows them again; without it, a pseudonym says nothing.
"""

import hashlib
import hmac
from collections.abc import Collection

import pandas as pd

from mc_pipeline.domain.errors import RuleError

_PREFIX = "erased:"
SHORTEST_KEY = 16


class Pseudonyms:
    """Makes the pseudonyms of one secret key.

    ``key_id`` tells keys apart without telling the key: a tombstone made with another key recognises nobody.

    Raises:
        RuleError: the key is shorter than 16 characters, so that addresses could be guessed.
    """

    def __init__(self, key: str) -> None:
        if len(key) < SHORTEST_KEY:
            raise RuleError(f"the key has {len(key)} characters; use at least {SHORTEST_KEY}")
        self._key = key.encode()
        self.key_id = self._digest("mc_pipeline erasure key")[:16]

    def of(self, email: str) -> str:
        """The pseudonym of an address; case and surrounding space make no difference."""
        return _PREFIX + self._digest(email.strip().lower())

    def erased(self, addresses: pd.Series, pseudonyms: Collection[str]) -> pd.Series:
        """Mark the addresses whose pseudonym is one of ``pseudonyms``; a missing address is nobody's."""
        return addresses.map(
            lambda address: isinstance(address, str) and self.of(address) in pseudonyms
        ).astype(bool)

    def _digest(self, text: str) -> str:
        return hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()


def with_former_addresses(email: str, renames: Collection[tuple[str, str]]) -> list[str]:
    """The address and every one that the person had before, as far as ``renames`` (old, new) tell; sorted.

    One of them may have been passed on since, and be somebody else's now: that is not told by renames.
    """
    known = {email}
    found = {email}
    while found:
        found = {old for old, new in renames if new in found} - known
        known |= found
    return sorted(known)
