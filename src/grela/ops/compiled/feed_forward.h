// Dropout and GELU. Masks are never kept: a counter and a seed say again in backward what they said in forward.
#pragma once

#include "vectors.h"

// C columns (a multiple of 16)

// Which elements of a matrix a dropout keeps, and by what the kept ones are multiplied.
struct Dropout {
    uint64_t seed;
    uint32_t threshold;  // of 2^32: the share that is dropped
    float scale;

    Dropout(double rate, uint64_t seed)
        : seed(seed), threshold((uint32_t)(rate * 4294967296.0)), scale((float)(1.0 / (1.0 - rate))) {}
};

// The random words of one row: SplitMix64 of (seed, row) keys a hash of the column after Wellons' lowbias32.
struct RowMask {
    uint32_t first, second;
    const Dropout& dropout;

    RowMask(const Dropout& dropout, int64_t row) : dropout(dropout) {
        uint64_t z = dropout.seed + 0x9e3779b97f4a7c15ull * (uint64_t)(row + 1);
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
        z ^= z >> 31;
        first = (uint32_t)z;
        second = (uint32_t)(z >> 32);
    }

    INLINE Floats operator()(int64_t column) const {
        if (dropout.threshold == 0) return splat(1.0f);
        // Only high bits are compared, so the last multiplication needs nothing after it.
        const Words lane = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
        Words x = (lane * 0x9e3779b9u + (first + (uint32_t)column * 0x9e3779b9u)) * 0x7feb352du;
        x = (x ^ (x >> 16) ^ second) * 0x846ca68bu;
        return x >= dropout.threshold + Words{} ? splat(dropout.scale) : Floats{};
    }
};

// Phi(x), the normal distribution function, and phi(x), its density: Abramowitz and Stegun 7.1.26, error 1.5e-7.
INLINE void normal(Floats x, Floats* distribution, Floats* density) {
    const Floats bell = exponential(-0.5f * x * x);
    const Floats t = reciprocal(1.0f + 0.3275911f * 0.70710678f * magnitude(x));
    Floats p = splat(1.061405429f);
    p = p * t - 1.453152027f;
    p = p * t + 1.421413741f;
    p = p * t - 0.284496736f;
    p = p * t + 0.254829592f;
    const Floats tail = 0.5f * p * t * bell;  // 1 - Phi(|x|)
    *distribution = x > Floats{} ? 1.0f - tail : tail;
    *density = 0.39894228f * bell;
}

// out = dropout(gelu(x)) of one row of C columns
template <class T>
inline void gelu_dropout_row(const T* x, const RowMask& mask, int64_t C, T* out) {
    for (int64_t c = 0; c < C; c += LANES) {
        const Floats h = load(x + c);
        Floats distribution, density;
        normal(h, &distribution, &density);
        store(out + c, h * distribution * mask(c));
    }
}

// Given grad = the gradient of `out`: overwrites it with that of x, forms `out` again, adds it to the columns' sums.
template <class T>
inline void gelu_dropout_row_grad(T* grad, const T* x, const RowMask& mask, int64_t C, T* out, float* sums) {
    for (int64_t c = 0; c < C; c += LANES) {
        const Floats h = load(x + c), kept = mask(c);
        Floats distribution, density;
        normal(h, &distribution, &density);
        store(out + c, h * distribution * kept);
        const Floats g = load(grad + c) * kept * (distribution + h * density);
        store(grad + c, g);
        store(sums + c, load(sums + c) + g);
    }
}

inline void dropout_mask(Dropout dropout, int64_t P, int64_t C, float* out) {
    for (int64_t p = 0; p < P; ++p) {
        const RowMask mask(dropout, p);
        for (int64_t c = 0; c < C; c += LANES) store(out + p * C + c, mask(c));
    }
}
