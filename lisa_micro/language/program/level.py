"""One level of the grammar: a non-deterministic automaton over characters, made deterministic as it is used."""

from __future__ import annotations

from collections.abc import Iterable

DIGITS = "0123456789"
Fragment = tuple[int, int]
"""Entry and exit node of a part of an automaton."""


class Level:
    """One automaton: nodes that read one character each, made deterministic as it is used."""

    def __init__(self) -> None:
        self._free: list[list[int]] = []
        self._read: list[tuple[str, int] | None] = []
        self._end = -1
        self._sets: list[frozenset[int]] = []
        self._numbers: dict[frozenset[int], int] = {}
        self._steps: dict[tuple[int, str], int] = {}
        self._nexts: dict[int, str] = {}

    # building

    def _node(self) -> int:
        self._free.append([])
        self._read.append(None)
        return len(self._free) - 1

    def one(self, allowed: str) -> Fragment:
        """One of some characters."""
        entry, leave = self._node(), self._node()
        self._read[entry] = (allowed, leave)
        return entry, leave

    def text(self, text: str) -> Fragment:
        """Exactly this text."""
        return self.then(*map(self.one, text))

    def then(self, *parts: Fragment) -> Fragment:
        """One after the other."""
        for (_, leave), (entry, _) in zip(parts, parts[1:], strict=False):
            self._free[leave].append(entry)
        return parts[0][0], parts[-1][1]

    def link(self, node: int, after: int) -> None:
        """Let ``after`` follow ``node`` without reading anything."""
        self._free[node].append(after)

    def any(self, *parts: Fragment) -> Fragment:
        """Any one of them."""
        entry, leave = self._node(), self._node()
        for first, last in parts:
            self._free[entry].append(first)
            self._free[last].append(leave)
        return entry, leave

    def texts(self, texts: Iterable[str]) -> Fragment:
        """Any of some texts."""
        return self.any(*map(self.text, texts))

    def maybe(self, part: Fragment) -> Fragment:
        """A part, or nothing."""
        entry, leave = self._node(), self._node()
        self._free[entry] += [part[0], leave]
        self._free[part[1]].append(leave)
        return entry, leave

    def many(self, part: Fragment) -> Fragment:
        """A part any number of times, also none."""
        entry, leave = self._node(), self._node()
        self._free[entry] += [part[0], leave]
        self._free[part[1]].append(entry)
        return entry, leave

    def digits(self, most: int) -> Fragment:
        """1 to ``most`` digits."""
        first = self.one(DIGITS)
        return first if most == 1 else self.then(first, self.maybe(self.digits(most - 1)))

    def counting(self, most: int) -> Fragment:
        """A number from 1 with 1 to ``most`` digits, without a leading zero."""
        first = self.one(DIGITS[1:])
        return first if most == 1 else self.then(first, self.maybe(self.digits(most - 1)))

    def number(self, whole: int = 6) -> Fragment:
        """A number as it is rendered: no leading zeros, up to three decimals, the last of them not zero."""
        decimals = self.any(*[self.then(*[self.one(DIGITS) for _ in range(k)], self.one(DIGITS[1:])) for k in range(3)])
        return self.then(
            self.any(self.text("0"), self.counting(whole)), self.maybe(self.then(self.text("."), decimals))
        )

    def finish(self, whole: Fragment) -> Level:
        """Make a part the whole language."""
        self._end = whole[1]
        self._state(self._closure({whole[0]}))
        return self

    # reading

    def _closure(self, nodes: set[int]) -> frozenset[int]:
        seen, todo = set(nodes), list(nodes)
        while todo:
            for node in self._free[todo.pop()]:
                if node not in seen:
                    seen.add(node)
                    todo.append(node)
        return frozenset(n for n in seen if self._read[n] is not None or n == self._end)

    def _state(self, nodes: frozenset[int]) -> int:
        if not nodes:
            return -1
        if nodes not in self._numbers:
            self._numbers[nodes] = len(self._sets)
            self._sets.append(nodes)
        return self._numbers[nodes]

    def step(self, state: int, character: str) -> int:
        """The state after a character, -1 where it is not allowed."""
        key = (state, character)
        after = self._steps.get(key)
        if after is None:
            nodes = {self._read[n][1] for n in self._sets[state] if self._read[n] and character in self._read[n][0]}
            after = self._steps[key] = self._state(self._closure(nodes))
        return after

    def alphabet(self) -> set[str]:
        """All characters that any text of the level uses."""
        return {character for read in self._read if read for character in read[0]}

    def accepts(self, state: int) -> bool:
        """Whether the text so far is complete."""
        return self._end in self._sets[state]

    def following(self, state: int) -> str:
        """The characters that may follow."""
        found = self._nexts.get(state)
        if found is None:
            characters = {c for n in self._sets[state] if self._read[n] for c in self._read[n][0]}
            found = self._nexts[state] = "".join(sorted(characters))
        return found
