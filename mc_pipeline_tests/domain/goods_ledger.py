"""What is left of a sale, told move by move: the other way to say it, for tests to hold the rule against.

No sum of all invoices or of all credit notes stands here. A line of an order is so many pieces of money, and
each move shifts pieces between where they can be, one by one, in the order in which things happened.
"""

from dataclasses import dataclass, field


@dataclass
class Pieces:
    """The pieces of one amount of one order line, by what happened to them.

    ``open``: ordered, not billed. ``sold``: ordered and billed. ``returned``: ordered, billed, given back.
    ``surplus``: billed though nobody ordered it (any more). ``settled``: such a surplus, given back.
    ``in_advance``: given back though it was not billed, and maybe never will be.
    """

    open: int = 0
    sold: int = 0
    returned: int = 0
    surplus: int = 0
    settled: int = 0
    in_advance: int = 0

    def order_more(self) -> None:
        """One piece more is wanted: one that was billed already, if there is one."""
        if self.surplus:
            self.surplus, self.sold = self.surplus - 1, self.sold + 1
        elif self.settled:
            self.settled, self.returned = self.settled - 1, self.returned + 1
        else:
            self.open += 1

    def order_less(self) -> None:
        """One piece is wanted no more: one that was never billed, else one given back, else one sold."""
        if self.open:
            self.open -= 1
        elif self.returned:
            self.returned, self.settled = self.returned - 1, self.settled + 1
        else:
            self.sold, self.surplus = self.sold - 1, self.surplus + 1

    def bill(self) -> None:
        """One piece is billed: one still open, else one given back is sold again, else it is surplus."""
        if self.open and self.in_advance:
            self.open, self.in_advance, self.returned = self.open - 1, self.in_advance - 1, self.returned + 1
        elif self.open:
            self.open, self.sold = self.open - 1, self.sold + 1
        elif self.in_advance:
            self.in_advance, self.settled = self.in_advance - 1, self.settled + 1
        elif self.returned:
            self.returned, self.sold, self.settled = self.returned - 1, self.sold + 1, self.settled + 1
        else:
            self.surplus += 1

    def give_back(self) -> None:
        """One piece is given back: first what was billed for nothing, then what was sold."""
        if self.surplus:
            self.surplus, self.settled = self.surplus - 1, self.settled + 1
        elif self.sold:
            self.sold, self.returned = self.sold - 1, self.returned + 1
        else:
            self.in_advance += 1

    @property
    def kept(self) -> int:
        """What the customer ordered and did not get money back for."""
        return self.open + self.sold - self.in_advance


@dataclass
class Amount:
    """One amount of a line, of either sign: a discount is a line whose pieces are taken off."""

    sign: int = 1
    pieces: Pieces = field(default_factory=Pieces)
    ordered: int = 0

    def order(self, amount: int) -> None:
        """The line says another amount now."""
        wanted = self.sign * amount
        for _ in range(wanted - self.ordered):
            self.pieces.order_more()
        for _ in range(self.ordered - wanted):
            self.pieces.order_less()
        self.ordered = wanted

    def bill(self, amount: int) -> None:
        for _ in range(self.sign * amount):
            self.pieces.bill()

    def give_back(self, amount: int) -> None:
        for _ in range(self.sign * amount):
            self.pieces.give_back()

    @property
    def kept(self) -> int:
        return self.sign * self.pieces.kept
