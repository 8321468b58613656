"""Public data sets by name: found on this machine, or gotten from their publishers."""

from grela.data.sources.catalogue import SOURCES
from grela.data.sources.obtain import Row, get, listing, load
from grela.data.sources.places import cache_home, data_home
from grela.data.sources.source import DataSet, Source

__all__ = ["SOURCES", "DataSet", "Row", "Source", "cache_home", "data_home", "get", "listing", "load"]
