// The bidirectional form's mixing of positions: every position meets its whole history, so the sums S and z are one
// a history. Twice over the positions forward, to form the sums and to use them, and the same way back.
#pragma once

#include "mix.h"

constexpr int64_t WIDEST_HEAD = 64;

// A [d, d] += sum over n positions of a_t b_t^T, rows of which lie `stride` apart; in squares that fit into registers.
inline void accumulate(int64_t n, int64_t stride, int64_t d, const float* a, const float* b, float* A) {
    for (int64_t row = 0; row < d; row += LANES)
        for (int64_t column = 0; column < d; column += LANES) {
            float* const square = A + row * d + column;
            Floats sums[LANES];
            for (int i = 0; i < LANES; ++i) sums[i] = load(square + i * d);
            const float *left = a + row, *right = b + column;
            for (int64_t t = 0; t < n; ++t, left += stride, right += stride) {
                const Floats across = load(right);
#pragma GCC unroll 16
                for (int i = 0; i < LANES; ++i) sums[i] += left[i] * across;
            }
            for (int i = 0; i < LANES; ++i) store(square + i * d, sums[i]);
        }
}

// out_t = c_t^T A for n positions.
inline void contract(int64_t n, int64_t stride, int64_t d, const float* c, const float* A, float* out) {
    for (int64_t column = 0; column < d; column += LANES)
        for (int64_t row = 0; row < d; row += LANES) {
            Floats rows[LANES];
            for (int i = 0; i < LANES; ++i) rows[i] = load(A + (row + i) * d + column);
            const float* left = c + row;
            float* to = out + column;
            for (int64_t t = 0; t < n; ++t, left += stride, to += stride) {
                Floats even = row ? load(to) : Floats{}, odd{};  // two sums, as each addition waits for the one before
#pragma GCC unroll 16
                for (int i = 0; i < LANES; i += 2) {
                    even += left[i] * rows[i];
                    odd += left[i + 1] * rows[i + 1];
                }
                store(to, even + odd);
            }
        }
}

inline void transpose(int64_t d, const float* from, float* to) {
    for (int64_t i = 0; i < d; ++i)
        for (int64_t j = 0; j < d; ++j) to[j * d + i] = from[i * d + j];
}

// One head's numerators; leaves S = sum_s k~_s v_s^T in `S`. The head's columns begin at `at`.
inline void whole_head(int64_t n, int64_t D, int64_t d, int64_t at, Scratch& s, float* S) {
    std::fill_n(S, d * d, 0.0f);
    accumulate(n, D, d, s[KR] + at, s[V] + at, S);
    contract(n, D, d, s[QR] + at, S, s[OUT] + at);
}

// The gradients of one head's q~, v and k~ from G, the numerators' gradient.
inline void whole_head_grads(int64_t n, int64_t D, int64_t d, int64_t at, Scratch& s, const float* S) {
    float turned_over[WIDEST_HEAD * WIDEST_HEAD], by_S[WIDEST_HEAD * WIDEST_HEAD];
    transpose(d, S, turned_over);
    contract(n, D, d, s[G] + at, turned_over, s[DQR] + at);
    std::fill_n(by_S, d * d, 0.0f);
    accumulate(n, D, d, s[QR] + at, s[G] + at, by_S);
    contract(n, D, d, s[KR] + at, by_S, s[DV] + at);
    transpose(d, by_S, turned_over);
    contract(n, D, d, s[V] + at, turned_over, s[DKR] + at);
}

// What both directions need of one history: its arrays, the sums S [H, d, d] and z [D], the numerators.
template <class T>
void prepare_whole(const Layer<T>& layer, int64_t first, int64_t n, Scratch& s, float* S, float* z) {
    const int64_t D = layer.D, d = D / layer.H;
    const std::vector<float> no_past(D * layer.W);
    prepare(layer, first, n, s);
    convolve(layer, n, s, no_past.data());
    for (int64_t h = 0; h < layer.H; ++h) whole_head(n, D, d, h * d, s, S + h * d * d);
    std::fill_n(z, D, 0.0f);
    for (int64_t t = 0; t < n; ++t)
        for (int64_t c = 0; c < D; c += LANES) store(z + c, load(z + c) + load(s[K] + t * D + c));
}

template <class T>
void mix_history_whole(const Layer<T>& layer, int64_t first, int64_t n, T* u) {
    static thread_local Scratch s;
    const int64_t D = layer.D, d = D / layer.H;
    s.take(FORWARD_ARRAYS, n, D);
    std::vector<float> S(D * d), z(D), inverse(layer.H);
    prepare_whole(layer, first, n, s, S.data(), z.data());
    for (int64_t t = 0; t < n; ++t) {
        inverses(s[Q] + t * D, z.data(), layer.H, d, layer.eps, inverse.data());
        for (int64_t h = 0; h < layer.H; ++h)
            for (int64_t c = h * d; c < (h + 1) * d; c += LANES) {
                const Floats local = load(s[CONV] + t * D + c);
                const Floats gate = load(layer.vg + (first + t) * 2 * D + D + c);
                const Floats mixed = load(s[OUT] + t * D + c) * inverse[h] + local * sigmoid(local);
                store(u + (first + t) * D + c, mixed * gate * sigmoid(gate));
            }
    }
}

// Through gate, branches and division: fills G, DQ and CONV as mix_grad_outer does, and by_z [D]; writes the gate's
// gradient.
template <class T>
void whole_grad_outer(const Layer<T>& layer, int64_t first, int64_t n, Scratch& s, const float* z, const T* grad_u,
                      T* grad_vg, float* by_z) {
    const int64_t D = layer.D, H = layer.H, d = D / H;
    std::vector<float> inverse(H);
    for (int64_t t = 0; t < n; ++t) {
        const int64_t at = t * D;
        inverses(s[Q] + at, z, H, d, layer.eps, inverse.data());
        for (int64_t h = 0; h < H; ++h) {
            const float grad = branches_grad(layer, first, t, h, inverse[h], s, grad_u, grad_vg);
            for (int64_t c = h * d; c < (h + 1) * d; c += LANES) {
                store(s[DQ] + at + c, grad * load(z + c));
                store(by_z + c, load(by_z + c) + grad * load(s[Q] + at + c));
            }
        }
    }
}

template <class T>
void mix_history_whole_grad(const Layer<T>& layer, int64_t first, int64_t n, const T* grad_u, T* grad_vg, T* grad_qk,
                            TapGrads& taps) {
    static thread_local Scratch s;
    const int64_t D = layer.D, d = D / layer.H;
    s.take(ARRAYS, n, D);
    std::vector<float> S(D * d), z(D), by_z(D);
    const std::vector<float> no_past(D * layer.W);
    prepare_whole(layer, first, n, s, S.data(), z.data());
    whole_grad_outer(layer, first, n, s, z.data(), grad_u, grad_vg, by_z.data());
    for (int64_t h = 0; h < layer.H; ++h) whole_head_grads(n, D, d, h * d, s, S.data() + h * d * d);
    convolve_grad(layer, n, s, no_past.data(), taps);
    for (int64_t t = 0; t < n; ++t)
        for (int64_t c = 0; c < D; c += LANES) {
            const int64_t at = t * D + c, wide = (first + t) * 2 * D + c;
            const Floats turns = load(layer.turns + (first + t) * D + c);
            const Floats by_q = load(s[DQ] + at) + turned(load(s[DQR] + at), turns, -1.0f);
            const Floats by_k = load(&by_z[c]) + turned(load(s[DKR] + at), turns, -1.0f);
            store(grad_qk + wide, by_q * feature_slope(load(layer.qk + wide), load(s[Q] + at)));
            store(grad_qk + wide + D, by_k * feature_slope(load(layer.qk + wide + D), load(s[K] + at)));
            store(grad_vg + wide, load(s[DV] + at));
        }
}

// A row of T positions, histories told apart by `segments`.
template <class T>
void mix_whole(Layer<T> layer, const int64_t* segments, int64_t length, T* u) {
    layer.arrange_taps();
    for (int64_t low = 0, high; low < length; low = high) {
        high = history_end(segments, low, length);
        mix_history_whole(layer, low, high - low, u);
    }
}

template <class T>
void mix_whole_grad(Layer<T> layer, const int64_t* segments, int64_t length, const T* grad_u, T* grad_vg, T* grad_qk,
                    float* grad_taps, float* grad_taps_bias) {
    const int64_t D = layer.D;
    layer.arrange_taps();
    TapGrads taps{std::vector<float>(layer.W * D), grad_taps_bias};
    for (int64_t low = 0, high; low < length; low = high) {
        high = history_end(segments, low, length);
        mix_history_whole_grad(layer, low, high - low, grad_u, grad_vg, grad_qk, taps);
    }
    for (int64_t c = 0; c < D; ++c)
        for (int64_t w = 0; w < layer.W; ++w) grad_taps[c * layer.W + w] += taps.columns[w * D + c];
}
