// Layer normalisation with what surrounds it in a block: the residual sum before it, its gradient's sum after it.
#pragma once

#include <cmath>
#include <vector>

#include "vectors.h"

// P rows, D width (a multiple of 16)

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

template <class T>
void normalise(const float* x, const float* weight, const float* bias, float eps, int64_t P, int64_t D, T* out,
               float* mean, float* scale) {
    for (int64_t p = 0; p < P; ++p)
        normalise_row(x + p * D, weight, bias, eps, D, out + p * D, mean + p, scale + p);
}

// after = x + kept[p] * (y + y_bias), then its normalisation.
template <class T>
void add_normalise(const float* x, const T* y, const float* y_bias, const float* kept, const float* weight,
                   const float* bias, float eps, int64_t P, int64_t D, float* after, T* out, float* mean,
                   float* scale) {
    for (int64_t p = 0; p < P; ++p) {
        const int64_t row = p * D;
        for (int64_t c = 0; c < D; c += LANES)
            store(after + row + c, load(x + row + c) + kept[p] * (load(y + row + c) + load(y_bias + c)));
        normalise_row(after + row, weight, bias, eps, D, out + row, mean + p, scale + p);
    }
}

// grad_x = grad_residual + the gradient of the normalisation, whose weight's and bias's gradients are added up.
template <class T>
inline void normalise_row_grad(const T* grad_out, const float* grad_residual, const float* x, const float* weight,
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

template <class T>
void normalise_grad(const T* grad_out, const float* grad_residual, const float* x, const float* weight,
                    const float* mean, const float* scale, int64_t P, int64_t D, float* grad_x, float* grad_weight,
                    float* grad_bias) {
    for (int64_t p = 0; p < P; ++p)
        normalise_row_grad(grad_out + p * D, grad_residual + p * D, x + p * D, weight, mean[p], scale[p], D,
                           grad_x + p * D, grad_weight, grad_bias);
}

// As normalise_grad; grad_x is `after`'s, and grad_y = kept[p] * grad_x that of y; its bias's is added up.
template <class T>
void add_normalise_grad(const T* grad_out, const float* grad_after, const float* after, const float* kept,
                        const float* weight, const float* mean, const float* scale, int64_t P, int64_t D,
                        float* grad_x, T* grad_y, float* grad_y_bias, float* grad_weight, float* grad_bias) {
    for (int64_t p = 0; p < P; ++p) {
        const int64_t row = p * D;
        normalise_row_grad(grad_out + row, grad_after + row, after + row, weight, mean[p], scale[p], D, grad_x + row,
                           grad_weight, grad_bias);
        for (int64_t c = 0; c < D; c += LANES) {
            const Floats g = kept[p] * load(grad_x + row + c);
            store(grad_y + row + c, g);
            store(grad_y_bias + c, load(grad_y_bias + c) + g);
        }
    }
}
