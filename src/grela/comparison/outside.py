"""Models of other libraries that can be compared by name; `pip install 'grela[rivals]'` brings them."""

from grela.data.splitting import Split
from grela.errors import ConfigError
from grela.evaluation.outside.implicit_models import ImplicitScorer
from grela.evaluation.outside.lenskit_models import LensKitScorer
from grela.evaluation.scorer import Scorer


def implicit_als(split: Split) -> Scorer:
    """Alternating least squares of implicit: 64 factors, its defaults otherwise."""
    try:
        from implicit.als import AlternatingLeastSquares
        from threadpoolctl import threadpool_limits
    except ImportError as error:
        raise _missing("implicit", error) from error
    with threadpool_limits(1, "blas"):  # it warns of other BLAS threads when it is made
        model = AlternatingLeastSquares(factors=64, random_state=0)
    return ImplicitScorer.fit(split, model)


def lenskit_knn(split: Split) -> Scorer:
    """Item-item neighbours of LensKit: 100 of them, its defaults otherwise."""
    try:
        from lenskit.knn import ItemKNNScorer
    except ImportError as error:
        raise _missing("lenskit", error) from error
    return LensKitScorer.fit(split, ItemKNNScorer(max_nbrs=100, feedback="implicit"), seed=0)


def _missing(name: str, error: ImportError) -> ConfigError:
    return ConfigError(
        f"this model is {name}'s, which is not installed ({error}): `pip install 'grela[rivals]'`"
    )
