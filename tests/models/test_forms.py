"""Which form computes the blocks, and what is said where the fastest cannot be had."""

import pytest
import torch

from grela.errors import ConfigError, KernelError
from grela.models.forms import TORCH, choose_form
from grela.models.recgrela import RecGRELA, RecGRELAConfig
from grela.models.sasrec import SASRec, SASRecConfig
from grela.nn.block import PACKED, Block
from grela.nn.compiled_block import compiled_block
from grela.nn.compiled_packed_block import COMPILED_PACKED
from grela.ops.compiled import build


@pytest.fixture
def no_compiler(monkeypatch):
    build.load_library.cache_clear()
    monkeypatch.setenv("CXX", "a-compiler-that-nobody-has")
    yield
    build.load_library.cache_clear()


def make(**settings) -> RecGRELA:
    return RecGRELA(RecGRELAConfig(**{"num_items": 9} | settings), rng=torch.Generator().manual_seed(0))


def test_torch_is_had_for_the_asking():
    assert choose_form(make(), "torch") is TORCH
    assert TORCH.block is Block.forward
    assert TORCH.packed is PACKED


def test_without_a_compiler_auto_is_torch_and_says_why(no_compiler):
    chosen = choose_form(make(), "auto")
    assert chosen.block is Block.forward
    assert chosen.packed is PACKED
    assert "a-compiler-that-nobody-has" in chosen.why_not_compiled
    with pytest.raises(KernelError, match="a-compiler-that-nobody-has"):
        choose_form(make(), "compiled")


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("form", ["causal", "bidirectional"])
def test_with_a_compiler_auto_is_compiled_for_either_form(form):
    chosen = choose_form(make(form=form), "auto")
    assert chosen.name == "compiled"
    assert chosen.block is compiled_block
    assert chosen.packed is COMPILED_PACKED
    assert chosen.why_not_compiled is None


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_on_cuda_auto_is_triton_for_what_it_knows_and_torch_for_the_rest():
    pytest.importorskip("triton", reason="Triton is not installed")
    assert choose_form(make().to("cuda"), "auto").name == "triton"
    bidirectional = choose_form(make(form="bidirectional").to("cuda"), "auto")
    assert (bidirectional.block, bidirectional.packed) == (Block.forward, PACKED)
    assert "for the causal form" in bidirectional.why_not_compiled


@pytest.mark.parametrize("form", ["causal", "bidirectional"])
@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"gate": False}, "gate"),
        ({"rotation": False}, "rotation"),
        ({"local_branch": False}, "local branch"),
        ({"heads": 8}, "8 wide"),
    ],
)
def test_a_model_that_the_kernels_do_not_know_is_computed_by_torch(settings, said, form):
    model = make(form=form, **settings)
    chosen = choose_form(model, "auto")
    assert said in chosen.why_not_compiled
    assert (chosen.block, chosen.packed) == (Block.forward, PACKED)
    assert chosen.softmax is TORCH.softmax
    with pytest.raises(KernelError, match=said):
        choose_form(model, "compiled")


def test_a_rival_has_pytorchs_form_and_no_other():
    rival = SASRec(9, SASRecConfig(), rng=torch.Generator().manual_seed(0))
    assert choose_form(rival, "auto") is TORCH
    for kernels in ("compiled", "triton"):
        with pytest.raises(KernelError, match=f"no {kernels} kernels for a SASRec"):
            choose_form(rival, kernels)


def test_another_word_is_refused():
    with pytest.raises(ConfigError, match="'fast'"):
        choose_form(make(), "fast")


@pytest.mark.usefixtures("kernels")
def test_where_nothing_may_be_compiled_auto_takes_what_is_there(monkeypatch, tmp_path):
    assert choose_form(make(), "auto", compile_now=False).name == "compiled"
    monkeypatch.setattr("grela.models.forms.library_path", lambda: tmp_path / "nothing.so")
    chosen = choose_form(make(), "auto", compile_now=False)
    assert chosen.block is Block.forward
    assert "not compiled yet" in chosen.why_not_compiled
