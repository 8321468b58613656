// Softmax cross-entropy of one block of logits, turned into its own gradient where it lies.
#pragma once

#include <cmath>
#include <vector>

#include "vectors.h"

// P rows, N items

template <class T>
inline float scalar(T x);
template <>
inline float scalar(float x) {
    return x;
}
template <>
inline float scalar(bfloat16 x) {
    const uint32_t word = (uint32_t)x.bits << 16;
    float value;
    std::memcpy(&value, &word, sizeof value);
    return value;
}

inline void put(float* to, float x) { *to = x; }
inline void put(bfloat16* to, float x) {
    bfloat16 sixteen[LANES];
    store(sixteen, splat(x));
    *to = sixteen[0];
}

// logits [P, N] become the gradient of the summed loss by them, softmax - onehot(target); returns the loss.
// A logit of -inf is no candidate.
template <class T>
double softmax_grad(T* logits, const int64_t* targets, int64_t P, int64_t N) {
    static thread_local std::vector<float> wide;
    const int64_t whole = N / LANES * LANES, padded = whole + LANES;
    wide.resize(padded);
    float* row = wide.data();
    double loss = 0;
    for (int64_t p = 0; p < P; ++p) {
        T* out = logits + p * N;
        const int64_t target = targets[p];
        const float aim = scalar(out[target]);
        for (int64_t c = whole; c < padded; ++c) row[c] = c < N ? scalar(out[c]) : -INFINITY;
        Floats top = load(row + whole);
        for (int64_t c = 0; c < whole; c += LANES) {
            const Floats x = load(out + c);
            store(row + c, x);
            top = larger(x, top);
        }
        float most = top[0];
        for (int i = 1; i < LANES; ++i) most = top[i] > most ? top[i] : most;
        Floats total{};
        for (int64_t c = 0; c < padded; c += LANES) {
            const Floats e = exponential(load(row + c) - most);
            store(row + c, e);
            total += e;
        }
        const float mass = sum(total);
        loss += std::log((double)mass) + (double)most - (double)aim;
        const float share = 1.0f / mass;
        for (int64_t c = 0; c < whole; c += LANES) store(out + c, share * load(row + c));
        for (int64_t c = whole; c < N; ++c) put(out + c, share * row[c]);
        put(out + target, share * row[target] - 1.0f);
    }
    return loss;
}
