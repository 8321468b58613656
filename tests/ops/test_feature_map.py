"""elu(x) + 1 is what it says, and positive."""

import torch

from grela.ops.feature_map import positive_features, positive_features_naive


def test_features_equal_their_definition_in_values_and_gradients():
    x = torch.linspace(-30, 30, 241, dtype=torch.float64)
    leaves = x.clone().requires_grad_(), x.clone().requires_grad_()
    found, expected = positive_features(leaves[0]), positive_features_naive(leaves[1])
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-15)
    found.square().sum().backward()
    expected.square().sum().backward()
    torch.testing.assert_close(leaves[0].grad, leaves[1].grad, rtol=1e-12, atol=1e-15)


def test_features_are_positive_and_rise():
    features = positive_features(torch.linspace(-15, 15, 301, dtype=torch.float64))
    assert (features > 0).all()
    assert (features.diff() > 0).all()


def test_features_never_fall_below_zero():
    assert (positive_features(torch.tensor([-1e30, -200.0, -50.0])) >= 0).all()
