"""Which column holds what: by the name given, else by the usual names."""

from collections.abc import Mapping, Sequence

from grela.errors import ColumnError

# Compared after lower-casing and removing everything but letters and digits.
USUAL_NAMES: Mapping[str, tuple[str, ...]] = {
    "user": (
        *(
            "user",
            "userid",
            "uid",
            "username",
            "reviewerid",
            "customer",
            "customerid",
            "visitorid",
            "memberid",
        ),
        *("accountid", "profileid", "playerid", "listenerid"),
    ),
    "item": (
        *(
            "item",
            "itemid",
            "iid",
            "movie",
            "movieid",
            "product",
            "productid",
            "asin",
            "parentasin",
            "sku",
            "skuid",
        ),
        *(
            "track",
            "trackid",
            "song",
            "songid",
            "artistid",
            "book",
            "bookid",
            "game",
            "gameid",
            "appid",
            "article",
        ),
        *(
            "articleid",
            "newsid",
            "videoid",
            "recipeid",
            "businessid",
            "venueid",
            "locationid",
            "poi",
            "poiid",
        ),
        *("goodsid", "merchantid", "listingid", "contentid"),
    ),
    "time": (
        *(
            "time",
            "timestamp",
            "ts",
            "date",
            "datetime",
            "unixtime",
            "unixtimestamp",
            "unixreviewtime",
            "eventtime",
        ),
        *("eventtimestamp", "eventdate", "createdat", "timestampms"),
    ),
    "title": (
        *("title", "name", "itemtitle", "itemname", "movietitle", "moviename", "productname", "producttitle"),
        *("tracktitle", "trackname", "songtitle", "songname", "booktitle", "gametitle", "appname"),
    ),
}


def _plain(name: str) -> str:
    return "".join(c for c in name.lower() if c.isalnum())


def _listed(names: Sequence[str]) -> str:
    cut = [n if len(n) <= 40 else f"{n[:37]}..." for n in names[:20]]
    more = f" and {len(names) - 20} more" if len(names) > 20 else ""
    return ", ".join(repr(n) for n in cut) + more


def find_columns(
    name: str, how: str, header: Sequence[str], wanted: Mapping[str, str | None]
) -> tuple[int, ...]:
    """The position in `header` of each wanted role ("user", "item", "time", "title"), in the order of `wanted`.

    `wanted` maps a role to the column's exact name, or to None to look for its usual names.
    Raises ColumnError if a column is missing, is there twice, could be several, or would serve two roles.
    """
    found: dict[int, str] = {}
    for role, given in wanted.items():
        position = (
            _usual(name, how, header, role) if given is None else _given(name, how, header, role, given)
        )
        if position in found:
            raise ColumnError(
                f"{name}: column {header[position]!r} would be both {found[position]} and {role}; "
                f"name one column for each"
            )
        found[position] = role
    return tuple(found)


def _given(name: str, how: str, header: Sequence[str], role: str, given: str) -> int:
    positions = [j for j, column in enumerate(header) if column == given]
    if len(positions) == 1:
        return positions[0]
    problem = "there is no column" if not positions else f"{len(positions)} columns are named"
    raise ColumnError(f"{name}: {problem} {given!r} for {role}; columns found ({how}): {_listed(header)}")


def _usual(name: str, how: str, header: Sequence[str], role: str) -> int:
    positions = [j for j, column in enumerate(header) if _plain(column) in USUAL_NAMES[role]]
    if len(positions) == 1:
        return positions[0]
    if positions:
        raise ColumnError(
            f"{name}: {role} could be any of the columns {_listed([header[j] for j in positions])}; "
            f"say which with {role}=NAME"
        )
    raise ColumnError(
        f"{name}: no column for {role}; columns found ({how}): {_listed(header)}; name it with {role}=NAME "
        f"(the first row must be a header where the format has one)"
    )
