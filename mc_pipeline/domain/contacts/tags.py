"""Tags of Odoo (``res.partner.category``) as settings name them: by id, by full path, or by a bare name.

A bare name that several tags have is refused: guessing would send people to the wrong audience.
"""

import re
from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from mc_pipeline.domain.columns import items
from mc_pipeline.domain.errors import RuleError

_SEPARATOR = re.compile(r"\s*/\s*")


def _folded(path: str) -> str:
    return _SEPARATOR.sub(" / ", path.strip()).casefold()


class TagCatalogue:
    """The tags of a company by id and full path (``Parent / Child``).

    ``complete`` says that every tag of Odoo is in it, so that a name it lacks is a mistake. Made from
    partners it knows only the tags that somebody has; a name it lacks is then held by nobody.
    """

    def __init__(self, paths: Mapping[int, str], *, complete: bool = False) -> None:
        self.paths = dict(paths)
        self.complete = complete
        self._by_name: dict[str, set[int]] = {}
        for tag, path in self.paths.items():
            folded = _folded(path)
            # Every ending of the path is a name people use: "B / C" and "C" for "A / B / C".
            parts = folded.split(" / ")
            for start in range(len(parts)):
                self._by_name.setdefault(" / ".join(parts[start:]), set()).add(tag)

    @classmethod
    def from_partners(cls, partners: pd.DataFrame) -> "TagCatalogue":
        """Collect the tags of all partners (columns ``tag_ids`` and ``tag_names``, in the same order).

        Raises:
            RuleError: a partner has a different number of ids and names.
        """
        paths: dict[int, str] = {}
        columns = zip(partners["partner_id"], partners["tag_ids"], partners["tag_names"], strict=True)
        for partner, tag_ids, tag_names in columns:
            numbers, names = items(tag_ids), items(tag_names)
            if len(numbers) != len(names):
                raise RuleError(
                    f"partner {partner} has {len(numbers)} tag_ids but {len(names)} tag_names; read it again"
                )
            paths.update(zip(map(int, numbers), names, strict=True))
        return cls(paths)

    def find(self, name: str | int) -> int | None:
        """Return the id of a tag named in the settings, None when nobody has such a tag.

        Raises:
            RuleError: the name fits several tags, or none of a complete catalogue.
        """
        if isinstance(name, int):
            if self.complete and name not in self.paths:
                raise RuleError(f"no tag in Odoo has the id {name}; name an existing tag")
            return name
        folded = _folded(name)
        found = self._by_name.get(folded, set())
        if len(found) > 1:
            choices = ", ".join(f"{tag} ({self.paths[tag]})" for tag in sorted(found))
            raise RuleError(f"the tag name {name!r} fits several tags: {choices}; name one by its id")
        if not found and self.complete:
            raise RuleError(f"no tag in Odoo is named {name!r}; name an existing tag by id or full path")
        return next(iter(found), None)

    def unknown(self, names: Iterable[str | int]) -> list[str | int]:
        """Return the names that no tag of this catalogue has, in the given order."""
        return [name for name in names if self.find(name) not in self.paths]

    def describe(self, name: str | int) -> str:
        """Return the full path of a tag named in the settings, or the name itself."""
        tag = self.find(name)
        return self.paths.get(tag, str(name)) if tag is not None else str(name)


class TagHolders:
    """Which rows of a table have which tags, of their own or through their commercial partner."""

    def __init__(self, own: pd.Series, commercial: pd.Series) -> None:
        """Take two columns of lists of tag ids, one row per contact."""
        self._size = len(own)
        rows: dict[int, list[int]] = {}
        for column in (own, commercial):
            for row, tag_ids in enumerate(column):
                for tag in items(tag_ids):
                    rows.setdefault(int(tag), []).append(row)
        self._rows = {tag: np.array(sorted(set(found)), dtype=np.intp) for tag, found in rows.items()}

    def having(self, tag: int | None) -> np.ndarray:
        """Return for every row whether it has the tag; nobody has a tag that does not exist (None)."""
        held = np.zeros(self._size, dtype=bool)
        if tag in self._rows:
            held[self._rows[tag]] = True
        return held
