"""Every floor by name."""

from collections.abc import Callable

from grela.data.splitting import Split
from grela.evaluation.floors.item_knn import ItemKNN
from grela.evaluation.floors.markov import MarkovChain
from grela.evaluation.floors.own_frequency import OwnFrequency
from grela.evaluation.floors.recent_popularity import RecentPopularity
from grela.evaluation.popularity import Popularity
from grela.evaluation.scorer import Scorer

FLOORS: dict[str, Callable[[Split], Scorer]] = {
    "popularity": Popularity.fit,
    "recent-popularity": RecentPopularity.fit,
    "markov": MarkovChain.fit,
    "item-knn": lambda split: ItemKNN.fit(split, neighbours=4),
    "own-frequency": OwnFrequency.fit,
}
