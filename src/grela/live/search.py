"""Items that may be recommended by their titles, the more popular first."""

from bisect import bisect_right
from itertools import accumulate

import numpy as np

from grela.live.bodies import Item
from grela.live.served import Served


class Search:
    """All titles as one text, so that finding is a scan of memory: 1 ms for some 10 MB of titles.

    An item without a title is found by its id.
    """

    def __init__(self, served: Served) -> None:
        order = np.argsort(-served.fallback, kind="stable")
        order = order[served.shown[order]]
        self._items = [Item(served.items[j], served.titles[j]) for j in order.tolist()]
        self._by_id = {one.item: one for one in self._items}
        lines = [(one.title or one.item).replace("\n", " ").casefold() + "\n" for one in self._items]
        self._text = "".join(lines)
        self._starts = list(accumulate(map(len, lines), initial=0))[:-1]

    def find(self, query: str, limit: int) -> list[Item]:
        """At most `limit` items with `query` in their titles, in whatever case; the item of that id, if any, first."""
        exact = self._by_id.get(query)
        found = [] if exact is None else [exact]
        wanted, at = query.casefold().replace("\n", " "), 0
        while len(found) < limit and (at := self._text.find(wanted, at)) >= 0:
            line = bisect_right(self._starts, at) - 1
            if self._items[line] is not exact:
                found.append(self._items[line])
            if line + 1 == len(self._items):
                break
            at = self._starts[line + 1]
        return found
