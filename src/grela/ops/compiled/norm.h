// Layer normalisation of one row, and its gradient.
#pragma once

#include <cmath>

#include "vectors.h"

// D width (a multiple of 16)

template <class T>
inline void normalise_row(const float* x, const float* weight, const float* bias, float eps, int64_t D, T* out,
                          float* mean, float* scale) {
    Floats total{};
    for (int64_t c = 0; c < D; c += LANES) total += load(x + c);
    const float middle = sum(total) / D;
    Floats squares{};
    for (int64_t c = 0; c < D; c += LANES) {
        const Floats centred = load(x + c) - middle;
        squares += centred * centred;
    }
    const float s = 1.0f / std::sqrt(sum(squares) / D + eps);
    for (int64_t c = 0; c < D; c += LANES)
        store(out + c, (load(x + c) - middle) * s * load(weight + c) + load(bias + c));
    *mean = middle;
    *scale = s;
}

// grad_x = grad_residual + the gradient of the normalisation, whose weight's and bias's gradients are added up.
inline void normalise_row_grad(const float* grad_out, const float* grad_residual, const float* x, const float* weight,
                               float mean, float scale, int64_t D, float* grad_x, float* grad_weight,
                               float* grad_bias) {
    Floats along_one{}, along_x{};
    for (int64_t c = 0; c < D; c += LANES) {
        const Floats g = load(grad_out + c), unit = (load(x + c) - mean) * scale, inner = g * load(weight + c);
        along_one += inner;
        along_x += inner * unit;
        store(grad_weight + c, load(grad_weight + c) + g * unit);
        store(grad_bias + c, load(grad_bias + c) + g);
    }
    const float one = sum(along_one) / D, by_x = sum(along_x) / D;
    for (int64_t c = 0; c < D; c += LANES) {
        const Floats unit = (load(x + c) - mean) * scale, inner = load(grad_out + c) * load(weight + c);
        store(grad_x + c, load(grad_residual + c) + scale * (inner - one - unit * by_x));
    }
}
