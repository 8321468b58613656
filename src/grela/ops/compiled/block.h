// A whole block, forward and backward: products, norms, the mixing of positions, the feed-forward network.
//
// Everything but the mixing concerns one position at a time, so positions go through in tiles that stay in the
// cache. Backward adds weights' gradients up; they are float32, as all sums are.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "feed_forward.h"
#include "gemm.h"
#include "mix_whole.h"
#include "norm.h"

// P = B x length positions, D width, F = 4 D width of the feed-forward network, H heads, W taps

constexpr int64_t TILE = 96;

struct Shape {
    int64_t B, length, D, F, H, W;
    double norm_eps, eps, rate;
    uint64_t seed_inside, seed_after;  // of the two dropouts of the feed-forward network
    int64_t whole;                     // 1: bidirectional; then there are no states, and B = 1
};

// Parameters, or their gradients, in the order of the modules; matrices [out, in] row by row.
template <class F>
struct Parameters {
    F *norm, *norm_bias, *value, *value_bias, *gate, *gate_bias, *query_key, *query_key_bias, *taps, *taps_bias, *out,
        *out_bias, *second_norm, *second_norm_bias, *up, *up_bias, *down, *down_bias;
    F* log_fading;  // [D]; null: nothing fades
};

struct Inputs {
    const float* x;           // [P, D]
    const float* turns;       // [P, D]
    const int64_t* segments;  // [B, length]
    const float* kept;        // [P]: drop path's factor
};

struct StateArrays {
    float *S, *z, *tail;  // [B, H, d, d], [B, D], [B, W - 1, D]
};

// What forward keeps for backward.
template <class T>
struct Kept {
    T *normed, *vg, *qk, *u, *second_normed, *hidden;      // [P, D], [P, 2 D], [P, 2 D], [P, D], [P, D], [P, F]
    float *middle, *mean, *scale, *second_mean, *second_scale;  // [P, D], then [P] each

    Kept(T* narrow, float* wide, int64_t P, int64_t D) {
        normed = narrow;
        vg = normed + P * D;
        qk = vg + 2 * P * D;
        u = qk + 2 * P * D;
        second_normed = u + P * D;
        hidden = second_normed + P * D;
        middle = wide;
        mean = middle + P * D;
        scale = mean + P;
        second_mean = scale + P;
        second_scale = second_mean + P;
    }
};

// Packed weights and tiles, in memory kept from call to call.
struct Workspace {
    std::vector<uint32_t> packed, tile;
    uint32_t *next_packed, *next_tile;

    void begin(int64_t packed_words, int64_t tile_words) {
        if ((int64_t)packed.size() < packed_words) packed.resize(packed_words);
        if ((int64_t)tile.size() < tile_words) tile.resize(tile_words);
        next_packed = packed.data();
        next_tile = tile.data();
    }

    // Space for a factor of `rows` x `columns` elements of T.
    template <class T>
    uint32_t* factor(int64_t rows, int64_t columns) {
        uint32_t* at = next_packed;
        next_packed += words<T>(rows) * columns;
        return at;
    }

    template <class U>
    U* rows(int64_t count, int64_t columns) {
        U* at = reinterpret_cast<U*>(next_tile);
        next_tile += (count * columns * sizeof(U) + 3) / 4;
        return at;
    }
};

// From u to the block's result: output projection, residual, feed-forward network.
template <class T>
inline void second_half(const Shape& s, const Inputs& in, const Parameters<const float>& w, Kept<T> kept,
                        float* result) {
    static thread_local Workspace space;
    const int64_t P = s.B * s.length, D = s.D, F = s.F;
    space.begin(words<T>(D) * (D + F) + words<T>(F) * D, TILE * (D + F));
    uint32_t* const out = space.factor<T>(D, D);
    uint32_t* const up = space.factor<T>(D, F);
    uint32_t* const down = space.factor<T>(F, D);
    pack_transposed<T>(w.out, D, D, out, D, 0);
    pack_transposed<T>(w.up, F, D, up, F, 0);
    pack_transposed<T>(w.down, D, F, down, D, 0);
    float* const wide = space.rows<float>(TILE, D);
    T* const active = space.rows<T>(TILE, F);
    const Dropout inside(s.rate, s.seed_inside), after(s.rate, s.seed_after);
    for (int64_t low = 0; low < P; low += TILE) {
        const int64_t n = std::min(TILE, P - low);
        float* const middle = kept.middle + low * D;
        T* const hidden = kept.hidden + low * F;
        product<T>(n, D, words<T>(D), rows_of(kept.u + low * D, D), out, D,
                   [=, &w, &in](int64_t p, int64_t c, Floats sums) {
                       const Floats y = sums + load(w.out_bias + c);
                       store(middle + p * D + c, load(in.x + (low + p) * D + c) + in.kept[low + p] * y);
                   });
        for (int64_t p = 0; p < n; ++p)
            normalise_row(middle + p * D, w.second_norm, w.second_norm_bias, s.norm_eps, D,
                          kept.second_normed + (low + p) * D, kept.second_mean + low + p,
                          kept.second_scale + low + p);
        product<T>(n, F, words<T>(D), rows_of(kept.second_normed + low * D, D), up, F,
                   [=, &w](int64_t p, int64_t c, Floats sums) {
                       store(hidden + p * F + c, sums + load(w.up_bias + c));
                   });
        for (int64_t p = 0; p < n; ++p)
            gelu_dropout_row(hidden + p * F, RowMask(inside, low + p), F, active + p * F);
        product<T>(n, D, words<T>(F), rows_of(active, F), down, D, [=, &w](int64_t p, int64_t c, Floats sums) {
            store(wide + p * D + c, sums + load(w.down_bias + c));
        });
        for (int64_t p = 0; p < n; ++p) {
            const RowMask mask(after, low + p);
            for (int64_t c = 0; c < D; c += LANES)
                store(result + (low + p) * D + c, load(middle + p * D + c) + mask(c) * load(wide + p * D + c));
        }
    }
}

// What is left of each key channel's sums after one position, [D]; empty where nothing fades.
inline std::vector<float> fading_of(const Parameters<const float>& w, int64_t D) {
    std::vector<float> found(w.log_fading ? D : 0);
    for (size_t c = 0; c < found.size(); ++c) found[c] = std::exp(w.log_fading[c]);
    return found;
}

template <class T>
inline Layer<T> layer_of(const Shape& s, const Inputs& in, const Parameters<const float>& w, const Kept<T>& kept,
                         const std::vector<float>& fading) {
    const float* const factors = fading.empty() ? nullptr : fading.data();
    return {s.D, s.H, s.W, (float)s.eps, kept.vg, kept.qk, in.turns, w.taps, w.taps_bias, {}, factors};
}

template <class T>
inline void block_forward(const Shape& s, const Inputs& in, const Parameters<const float>& w, StateArrays state,
                          Kept<T> kept, float* result) {
    static thread_local Workspace space;
    const int64_t P = s.B * s.length, D = s.D;
    space.begin(words<T>(D) * 4 * D, 0);
    uint32_t* const value_gate = space.factor<T>(D, 2 * D);
    uint32_t* const query_key = space.factor<T>(D, 2 * D);
    pack_transposed<T>(w.value, D, D, value_gate, 2 * D, 0);
    pack_transposed<T>(w.gate, D, D, value_gate, 2 * D, D);
    pack_transposed<T>(w.query_key, 2 * D, D, query_key, 2 * D, 0);

    for (int64_t low = 0; low < P; low += TILE) {
        const int64_t n = std::min(TILE, P - low);
        for (int64_t p = low; p < low + n; ++p)
            normalise_row(in.x + p * D, w.norm, w.norm_bias, s.norm_eps, D, kept.normed + p * D, kept.mean + p,
                          kept.scale + p);
        T *const vg = kept.vg + low * 2 * D, *const qk = kept.qk + low * 2 * D;
        product<T>(n, 2 * D, words<T>(D), rows_of(kept.normed + low * D, D), value_gate, 2 * D,
                   [=, &w](int64_t p, int64_t c, Floats sums) {
                       store(vg + p * 2 * D + c, sums + load(c < D ? w.value_bias + c : w.gate_bias + c - D));
                   });
        product<T>(n, 2 * D, words<T>(D), rows_of(vg, 2 * D), query_key, 2 * D,
                   [=, &w](int64_t p, int64_t c, Floats sums) {
                       store(qk + p * 2 * D + c, sums + load(w.query_key_bias + c));
                   });
    }
    const std::vector<float> fading = fading_of(w, D);
    const Layer<T> layer = layer_of(s, in, w, kept, fading);
    if (s.whole)
        mix_whole(layer, in.segments, s.length, kept.u);
    else
        mix(layer, in.segments, s.B, s.length, state.S, state.z, state.tail, kept.u);
    second_half(s, in, w, kept, result);
}

// Adds the columns of `rows` rows of T to `sums`.
template <class T>
inline void add_columns(const T* matrix, int64_t rows, int64_t columns, float* sums) {
    for (int64_t r = 0; r < rows; ++r)
        for (int64_t c = 0; c < columns; c += LANES) store(sums + c, load(sums + c) + load(matrix + r * columns + c));
}

// From the gradient of the block's result to those of `middle` and of u, feed-forward network and output projection.
template <class T>
inline void second_half_grad(const Shape& s, const Inputs& in, const Parameters<const float>& w, const Kept<T>& kept,
                             const float* grad, const Parameters<float>& by, float* by_middle, T* by_u) {
    static thread_local Workspace space;
    const int64_t P = s.B * s.length, D = s.D, F = s.F, pairs = words<T>(TILE);
    space.begin(words<T>(D) * (D + F) + words<T>(F) * D, TILE * (3 * D + 2 * F) + pairs * (2 * D + 2 * F));
    uint32_t* const down = space.factor<T>(D, F);
    uint32_t* const up = space.factor<T>(F, D);
    uint32_t* const out = space.factor<T>(D, D);
    pack_weight<T>(w.down, D, F, down);
    pack_weight<T>(w.up, F, D, up);
    pack_weight<T>(w.out, D, D, out);
    T *const by_z = space.rows<T>(TILE, D), *const by_y = space.rows<T>(TILE, D);
    T *const by_hidden = space.rows<T>(TILE, F), *const active = space.rows<T>(TILE, F);
    float* const by_normed = space.rows<float>(TILE, D);
    uint32_t *const narrow_words = space.rows<uint32_t>(pairs, D), *const other_words = space.rows<uint32_t>(pairs, D);
    uint32_t *const hidden_words = space.rows<uint32_t>(pairs, F), *const active_words = space.rows<uint32_t>(pairs, F);
    const Dropout inside(s.rate, s.seed_inside), after(s.rate, s.seed_after);

    for (int64_t low = 0; low < P; low += TILE) {
        const int64_t n = std::min(TILE, P - low), steps = words<T>(n);
        for (int64_t p = 0; p < n; ++p) {
            const RowMask mask(after, low + p);
            for (int64_t c = 0; c < D; c += LANES) {
                const Floats g = mask(c) * load(grad + (low + p) * D + c);
                store(by_z + p * D + c, g);
                store(by.down_bias + c, load(by.down_bias + c) + g);
            }
        }
        product<T>(n, F, words<T>(D), rows_of(by_z, D), down, F,
                   [=](int64_t p, int64_t c, Floats sums) { store(by_hidden + p * F + c, sums); });
        for (int64_t p = 0; p < n; ++p)
            gelu_dropout_row_grad(by_hidden + p * F, kept.hidden + (low + p) * F, RowMask(inside, low + p), F,
                                  active + p * F, by.up_bias);
        pack_rows(by_z, D, n, D, narrow_words);
        pack_rows(active, F, n, F, active_words);
        add_product<T>(steps, narrow_words, D, active_words, F, by.down);
        pack_rows(by_hidden, F, n, F, hidden_words);
        pack_rows(kept.second_normed + low * D, D, n, D, other_words);
        add_product<T>(steps, hidden_words, F, other_words, D, by.up);
        product<T>(n, D, words<T>(F), rows_of(by_hidden, F), up, D,
                   [=](int64_t p, int64_t c, Floats sums) { store(by_normed + p * D + c, sums); });
        for (int64_t p = 0; p < n; ++p) {
            const int64_t row = (low + p) * D;
            normalise_row_grad(by_normed + p * D, grad + row, kept.middle + row, w.second_norm,
                               kept.second_mean[low + p], kept.second_scale[low + p], D, by_middle + row,
                               by.second_norm, by.second_norm_bias);
            for (int64_t c = 0; c < D; c += LANES) {
                const Floats g = in.kept[low + p] * load(by_middle + row + c);
                store(by_y + p * D + c, g);
                store(by.out_bias + c, load(by.out_bias + c) + g);
            }
        }
        pack_rows(by_y, D, n, D, narrow_words);
        pack_rows(kept.u + low * D, D, n, D, other_words);
        add_product<T>(steps, narrow_words, D, other_words, D, by.out);
        product<T>(n, D, words<T>(D), rows_of(by_y, D), out, D,
                   [=](int64_t p, int64_t c, Floats sums) { store(by_u + (low + p) * D + c, sums); });
    }
}

// From the gradients of values, gates, queries and keys to those of x and of their projections and norm.
template <class T>
inline void first_half_grad(const Shape& s, const Inputs& in, const Parameters<const float>& w, const Kept<T>& kept,
                            const float* by_middle, T* by_vg, const T* by_qk, const Parameters<float>& by,
                            float* by_x) {
    static thread_local Workspace space;
    const int64_t P = s.B * s.length, D = s.D, pairs = words<T>(TILE);
    space.begin(words<T>(D) * 4 * D, TILE * D + pairs * 4 * D + 2 * D * D + 2 * D);
    uint32_t* const query_key = space.factor<T>(2 * D, D);
    uint32_t* const value_gate = space.factor<T>(2 * D, D);
    pack_weight<T>(w.query_key, 2 * D, D, query_key);
    pack_weight<T>(w.value, D, D, value_gate);
    pack_weight<T>(w.gate, D, D, value_gate + words<T>(D) * D);
    float* const by_normed = space.rows<float>(TILE, D);
    uint32_t *const wide_words = space.rows<uint32_t>(pairs, 2 * D), *const words_D = space.rows<uint32_t>(pairs, D);
    float *const by_value_gate = space.rows<float>(2 * D, D), *const biases = space.rows<float>(1, 2 * D);
    std::fill_n(by_value_gate, 2 * D * D, 0.0f);
    std::fill_n(biases, 2 * D, 0.0f);

    for (int64_t low = 0; low < P; low += TILE) {
        const int64_t n = std::min(TILE, P - low), steps = words<T>(n);
        T* const vg = by_vg + low * 2 * D;
        const T* const qk = by_qk + low * 2 * D;
        product<T>(n, D, words<T>(2 * D), rows_of(qk, 2 * D), query_key, D,
                   [=](int64_t p, int64_t c, Floats sums) {
                       store(vg + p * 2 * D + c, load(vg + p * 2 * D + c) + sums);
                   });
        add_columns(qk, n, 2 * D, by.query_key_bias);
        add_columns(vg, n, 2 * D, biases);
        pack_rows(qk, 2 * D, n, 2 * D, wide_words);
        pack_rows(kept.vg + low * 2 * D, 2 * D, n, D, words_D);
        add_product<T>(steps, wide_words, 2 * D, words_D, D, by.query_key);
        pack_rows(vg, 2 * D, n, 2 * D, wide_words);
        pack_rows(kept.normed + low * D, D, n, D, words_D);
        add_product<T>(steps, wide_words, 2 * D, words_D, D, by_value_gate);
        product<T>(n, D, words<T>(2 * D), rows_of(vg, 2 * D), value_gate, D,
                   [=](int64_t p, int64_t c, Floats sums) { store(by_normed + p * D + c, sums); });
        for (int64_t p = 0; p < n; ++p)
            normalise_row_grad(by_normed + p * D, by_middle + (low + p) * D, in.x + (low + p) * D, w.norm,
                               kept.mean[low + p], kept.scale[low + p], D, by_x + (low + p) * D, by.norm,
                               by.norm_bias);
    }
    for (int64_t i = 0; i < D * D; ++i) {
        by.value[i] += by_value_gate[i];
        by.gate[i] += by_value_gate[D * D + i];
    }
    for (int64_t c = 0; c < D; ++c) {
        by.value_bias[c] += biases[c];
        by.gate_bias[c] += biases[D + c];
    }
}

template <class T>
inline void block_backward(const Shape& s, const Inputs& in, const Parameters<const float>& w, StateArrays before,
                           const Kept<T>& kept, const float* grad, const Parameters<float>& by, float* by_x) {
    static thread_local std::vector<float> wide;
    static thread_local std::vector<T> narrow;
    const int64_t P = s.B * s.length, D = s.D;
    if ((int64_t)wide.size() < P * D) wide.resize(P * D);
    if ((int64_t)narrow.size() < 5 * P * D) narrow.resize(5 * P * D);
    T *const by_u = narrow.data(), *const by_vg = by_u + P * D, *const by_qk = by_vg + 2 * P * D;
    second_half_grad(s, in, w, kept, grad, by, wide.data(), by_u);
    const std::vector<float> fading = fading_of(w, D);
    const Layer<T> layer = layer_of(s, in, w, kept, fading);
    if (s.whole)
        mix_whole_grad(layer, in.segments, s.length, by_u, by_vg, by_qk, by.taps, by.taps_bias);
    else
        mix_grad(layer, in.segments, s.B, s.length, before.S, before.z, before.tail, by_u, by_vg, by_qk, by.taps,
                 by.taps_bias, by.log_fading);
    first_half_grad(s, in, w, kept, wide.data(), by_vg, by_qk, by, by_x);
}
