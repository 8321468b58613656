"""The data sets that `grela` knows by name."""

from grela.data.sources.amazon import AMAZON
from grela.data.sources.gowalla import GOWALLA
from grela.data.sources.lfm import LFM
from grela.data.sources.movielens import MOVIELENS
from grela.data.sources.netflix import NETFLIX
from grela.data.sources.source import Source
from grela.data.sources.steam import STEAM
from grela.data.sources.tmall import TMALL
from grela.data.sources.yambda import YAMBDA
from grela.errors import SourceError

SOURCES: dict[str, Source] = {
    source.name: source for source in (*MOVIELENS, NETFLIX, LFM, TMALL, GOWALLA, AMAZON, STEAM, YAMBDA)
}


def lookup(name: str) -> Source:
    """The source of a name such as `ml-1m` or `yambda/50m`; SourceError for a name that is not here."""
    base, slash, variant = name.partition("/")
    source = SOURCES.get(base)
    if source is None:
        raise SourceError(f"no data set is called {name!r}; there are {', '.join(SOURCES)}")
    if source.variant is None:
        if slash:
            raise SourceError(f"{base} has no parts, got {name!r}; ask for {base!r}")
        return source
    if variant not in source.variants:
        raise SourceError(
            f"{base} comes in parts, got {name!r}; ask for one of "
            + ", ".join(f"{base}/{v}" for v in source.variants)
        )
    return source.variant(variant)
