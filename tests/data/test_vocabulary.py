"""Raw ids become dense ids and come back as they were."""

import pyarrow as pa
import pytest

from grela.data.vocabulary import Vocabulary
from grela.errors import DataError

NUMBERS = Vocabulary(pa.array([-7, 3, 2**62], pa.int64()), first=1)
WORDS = Vocabulary(pa.array(["007", "a", "ü"]), first=0)


def test_dense_ids_count_from_first_and_come_back_as_raw_ids() -> None:
    assert NUMBERS.encode([3, 2**62, -7]).tolist() == [2, 3, 1]
    assert NUMBERS.decode([3, 1]) == [2**62, -7]
    assert WORDS.encode(["ü", "007"]).tolist() == [2, 0]
    assert WORDS.decode([1]) == ["a"]


def test_what_is_not_there_is_unknown() -> None:
    assert NUMBERS.encode([4]).tolist() == [0]
    assert WORDS.encode(["A", ""]).tolist() == [-1, -1]


def test_an_integer_may_be_given_as_its_text_and_the_reverse() -> None:
    assert NUMBERS.encode(["3", " -7 "]).tolist() == [2, 1]
    assert Vocabulary(pa.array(["196"]), first=0).encode([196]).tolist() == [0]


@pytest.mark.parametrize("text", ["--5", "-", "", "3.0", "٣", "1_0", "9" * 5000])
def test_text_that_is_no_integer_is_unknown_to_integers(text: str) -> None:
    assert NUMBERS.encode([text]).tolist() == [0]


def test_dense_ids_outside_are_refused() -> None:
    with pytest.raises(DataError, match=r"dense id 0 is outside 1\.\.3"):
        NUMBERS.decode([0])


def test_other_ids_than_strings_and_integers_are_refused() -> None:
    with pytest.raises(DataError, match="expected int64 or string"):
        Vocabulary(pa.array([1.5]), first=0)
