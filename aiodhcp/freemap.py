"""FreeMap: the free addresses of a pool as marks in a map, to find the next one from anywhere without a search.

Knows integers and octets only. What is random here follows from a seed: the engine's owner gives it one.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from hashlib import blake2b
from itertools import accumulate
from typing import Final, Literal

__all__ = ["ADDRESS_CHOICES", "AddressChoice", "FreeMap", "Start", "drawn", "hashed", "lowest"]

AddressChoice = Literal["least-recently-used", "sequential", "random", "hash"]
ADDRESS_CHOICES: Final = ("least-recently-used", "sequential", "random", "hash")
"""How an address is chosen for a client that has none."""

WORD: Final = 1024
"""Bits: a word is looked at in one step, and so are the marks of which words have any."""

Start = Callable[[bytes], int]
"""From where on to look, for a client; any number."""


def lowest(client: bytes) -> int:
    """From the first address on."""
    return 0


def hashed(client: bytes) -> int:
    """From the address on that belongs to a client: the same on every server, and after every start."""
    return int.from_bytes(blake2b(client, digest_size=8).digest(), "big")


def drawn(seed: Callable[[], bytes]) -> Start:
    """From anywhere on: numbers that whoever does not know the seed can't guess."""
    count = 0

    def draw(client: bytes) -> int:
        nonlocal count
        count += 1
        return int.from_bytes(blake2b(count.to_bytes(8, "big"), digest_size=8, key=seed()).digest(), "big")

    return draw


class FreeMap:
    """Which address of a pool to give next: the first free one from where a client is to begin, the first of all
    after the last.

    As ``FreeAddresses`` it may name an address that is taken: the caller's test decides, and what it refuses comes
    back by ``give_back`` when it is free again. A bit an address is all that it keeps.

    Args:
        ranges: the first and the last address of each, in order.
        start: from where on to look.
        found: how the address was found, in words.
    """

    def __init__(self, ranges: Sequence[tuple[int, int]], start: Start, found: str) -> None:
        self.found = found
        self._start = start
        self._ranges = list(ranges)
        self._firsts = [first for first, _ in self._ranges]
        # How many addresses there are before each range, and in all.
        self._before = list(accumulate((last - first + 1 for first, last in self._ranges), initial=0))
        self.size = self._before[-1]
        whole, rest = divmod(self.size, WORD)
        self._words = [(1 << WORD) - 1] * whole + [(1 << rest) - 1]
        self._filled = (1 << len(self._words)) - 1
        if not rest:
            self._filled >>= 1

    def give_back(self, address: int) -> None:
        """The address is free again."""
        word, bit = divmod(self._place(address), WORD)
        self._words[word] |= 1 << bit
        self._filled |= 1 << word

    def take_out(self, address: int) -> None:
        """The address is not free."""
        self._clear(self._place(address))

    def take(self, never_used: Callable[[int], bool], free: Callable[[int], bool], client: bytes = b"") -> int | None:
        """The next address, or None when the pool is empty.

        Args:
            never_used: not asked.
            free: whether an address is free.
            client: for whom.
        """
        if not self._filled:
            return None
        place = self._start(client) % self.size
        while True:
            place = self._next(place)
            if place < 0:
                place = self._next(0)
                if place < 0:
                    return None
            self._clear(place)
            at = bisect_right(self._before, place) - 1
            address = self._firsts[at] + place - self._before[at]
            if free(address):
                return address

    def _place(self, address: int) -> int:
        at = bisect_right(self._firsts, address) - 1
        return self._before[at] + address - self._firsts[at]

    def _clear(self, place: int) -> None:
        word, bit = divmod(place, WORD)
        self._words[word] &= ~(1 << bit)
        if not self._words[word]:
            self._filled &= ~(1 << word)

    def _next(self, place: int) -> int:
        """The first marked place from this one on; -1 if there is none."""
        word, bit = divmod(place, WORD)
        rest = self._words[word] >> bit
        if rest:
            return place + (rest & -rest).bit_length() - 1
        words = self._filled >> (word + 1)
        if not words:
            return -1
        word += (words & -words).bit_length()
        rest = self._words[word]
        return word * WORD + (rest & -rest).bit_length() - 1
