"""The example of docs/evaluation.md runs and shows what it says."""

import re
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs" / "evaluation.md"


def test_the_example_of_the_page_runs(capsys):
    (example,) = re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), flags=re.DOTALL)
    names: dict[str, object] = {}
    exec(compile(example, str(DOCS), "exec"), names)
    model, floor = names["model"], names["floor"]
    assert model.filtered["mrr"] > 2 * floor.filtered["mrr"]
    shown = capsys.readouterr().out
    assert f"MRR {model.filtered['mrr']:.2f}, popularity {floor.filtered['mrr']:.2f}" in shown
    better = model.filtered["mrr"] - floor.filtered["mrr"]
    assert f"better by PairedDifference(difference={better:.3f}" in shown
