// A bidirectional block at each history's last position alone: keys and values are all that other positions give,
// so gate, query, output projection and feed-forward network are computed for one position a history.
#pragma once

#include "block.h"
#include "mix_last.h"

// B histories in P positions: here Shape.B is B and Shape.length is P

struct LastInputs {
    const float* x;       // [P, D]
    const float* turns;   // [P, D]
    const int64_t* last;  // [B]: where each history ends
    const float* kept;    // [B]: drop path's factor
};

template <class T>
struct KeptLast {
    T *normed, *v, *k;  // [P, D] each
    float *mean, *scale;  // [P] each
    Kept<T> rows;         // of the B last positions, as of any block; of qk only the queries

    KeptLast(T* narrow, float* wide, int64_t P, int64_t B, int64_t D)
        : normed(narrow), v(normed + P * D), k(v + P * D), mean(wide), scale(mean + P),
          rows(narrow + 3 * P * D, wide + 2 * P, B, D) {}
};

template <class T>
LastLayer<T> last_layer(const Shape& s, const LastInputs& in, const Parameters<const float>& w,
                        const KeptLast<T>& kept) {
    return {s.D, s.H, s.W, (float)s.eps, kept.v, kept.k, kept.rows.vg, kept.rows.qk, in.turns, w.taps, w.taps_bias};
}

inline Shape at_last(Shape s) {
    s.length = 1;
    return s;
}

template <class T>
void block_last_forward(const Shape& s, const LastInputs& in, const Parameters<const float>& w, KeptLast<T> kept,
                        float* result) {
    static thread_local Workspace space;
    const int64_t P = s.length, B = s.B, D = s.D;
    space.begin(words<T>(D) * 4 * D, B * D);
    uint32_t *const value = space.factor<T>(D, D), *const key = space.factor<T>(D, D);
    uint32_t *const query = space.factor<T>(D, D), *const gate = space.factor<T>(D, D);
    float* const x_last = space.rows<float>(B, D);
    pack_transposed<T>(w.value, D, D, value, D, 0);
    pack_transposed<T>(w.query_key, D, D, query, D, 0);
    pack_transposed<T>(w.query_key + D * D, D, D, key, D, 0);
    pack_transposed<T>(w.gate, D, D, gate, D, 0);

    for (int64_t low = 0; low < P; low += TILE) {
        const int64_t n = std::min(TILE, P - low);
        for (int64_t p = low; p < low + n; ++p)
            normalise_row(in.x + p * D, w.norm, w.norm_bias, s.norm_eps, D, kept.normed + p * D, kept.mean + p,
                          kept.scale + p);
        T *const v = kept.v + low * D, *const k = kept.k + low * D;
        product<T>(n, D, words<T>(D), rows_of(kept.normed + low * D, D), value, D,
                   [=, &w](int64_t p, int64_t c, Floats sums) { store(v + p * D + c, sums + load(w.value_bias + c)); });
        product<T>(n, D, words<T>(D), rows_of(v, D), key, D, [=, &w](int64_t p, int64_t c, Floats sums) {
            store(k + p * D + c, sums + load(w.query_key_bias + D + c));
        });
    }
    const Kept<T>& rows = kept.rows;
    for (int64_t b = 0; b < B; ++b) {
        const int64_t from = in.last[b] * D;
        std::copy_n(in.x + from, D, x_last + b * D);
        std::copy_n(kept.normed + from, D, rows.normed + b * D);
        std::copy_n(kept.v + from, D, rows.vg + b * 2 * D);
    }
    product<T>(B, D, words<T>(D), rows_of(rows.normed, D), gate, D, [=, &w](int64_t b, int64_t c, Floats sums) {
        store(rows.vg + b * 2 * D + D + c, sums + load(w.gate_bias + c));
    });
    product<T>(B, D, words<T>(D), rows_of(rows.vg, 2 * D), query, D, [=, &w](int64_t b, int64_t c, Floats sums) {
        store(rows.qk + b * 2 * D + c, sums + load(w.query_key_bias + c));
    });
    mix_last(last_layer(s, in, w, kept), in.last, B, rows.u);
    second_half(at_last(s), Inputs{x_last, nullptr, nullptr, in.kept}, w, rows, result);
}

// Gradients by query and gate [B, D] to those of their projections; by_v gains the queries' share, and by_normed
// [B, D] is the gates'.
template <class T>
void last_rows_grad(const Shape& s, const LastInputs& in, const Parameters<const float>& w, const Kept<T>& rows,
                    const T* by_query, const T* by_gate, const Parameters<float>& by, T* by_v, float* by_normed) {
    static thread_local Workspace space;
    const int64_t B = s.B, D = s.D, steps = words<T>(B);
    space.begin(words<T>(D) * 2 * D, 2 * steps * D);
    uint32_t *const query = space.factor<T>(D, D), *const gate = space.factor<T>(D, D);
    uint32_t *const left = space.rows<uint32_t>(steps, D), *const right = space.rows<uint32_t>(steps, D);
    pack_weight<T>(w.query_key, D, D, query);
    pack_weight<T>(w.gate, D, D, gate);
    product<T>(B, D, words<T>(D), rows_of(by_query, D), query, D, [=, &in](int64_t b, int64_t c, Floats sums) {
        T* const at = by_v + in.last[b] * D + c;
        store(at, load(at) + sums);
    });
    product<T>(B, D, words<T>(D), rows_of(by_gate, D), gate, D,
               [=](int64_t b, int64_t c, Floats sums) { store(by_normed + b * D + c, sums); });
    add_columns(by_query, B, D, by.query_key_bias);
    add_columns(by_gate, B, D, by.gate_bias);
    pack_rows(by_query, D, B, D, left);
    pack_rows(rows.vg, 2 * D, B, D, right);
    add_product<T>(steps, left, D, right, D, by.query_key);
    pack_rows(by_gate, D, B, D, left);
    pack_rows(rows.normed, D, B, D, right);
    add_product<T>(steps, left, D, right, D, by.gate);
}

// From gradients by values and keys [P, D] to those of their projections and norm, and of x. At the last positions
// the normalised input gains by_normed_last and x gains by_middle, [B, D] each.
template <class T>
void values_keys_grad(const Shape& s, const LastInputs& in, const Parameters<const float>& w, const KeptLast<T>& kept,
                      T* by_v, const T* by_k, const float* by_normed_last, const float* by_middle,
                      const Parameters<float>& by, float* by_x) {
    static thread_local Workspace space;
    const int64_t P = s.length, D = s.D, pairs = words<T>(TILE);
    space.begin(words<T>(D) * 2 * D, TILE * D + 2 * pairs * D + D);
    uint32_t *const value = space.factor<T>(D, D), *const key = space.factor<T>(D, D);
    uint32_t *const left = space.rows<uint32_t>(pairs, D), *const right = space.rows<uint32_t>(pairs, D);
    float *const by_normed = space.rows<float>(TILE, D), *const nothing = space.rows<float>(1, D);
    pack_weight<T>(w.value, D, D, value);
    pack_weight<T>(w.query_key + D * D, D, D, key);
    std::fill_n(nothing, D, 0.0f);

    int64_t b = 0;
    for (int64_t low = 0; low < P; low += TILE) {
        const int64_t n = std::min(TILE, P - low), steps = words<T>(n);
        T* const v = by_v + low * D;
        const T* const k = by_k + low * D;
        product<T>(n, D, words<T>(D), rows_of(k, D), key, D, [=](int64_t p, int64_t c, Floats sums) {
            store(v + p * D + c, load(v + p * D + c) + sums);
        });
        add_columns(k, n, D, by.query_key_bias + D);
        add_columns(v, n, D, by.value_bias);
        pack_rows(k, D, n, D, left);
        pack_rows(kept.v + low * D, D, n, D, right);
        add_product<T>(steps, left, D, right, D, by.query_key + D * D);
        pack_rows(v, D, n, D, left);
        pack_rows(kept.normed + low * D, D, n, D, right);
        add_product<T>(steps, left, D, right, D, by.value);
        product<T>(n, D, words<T>(D), rows_of(v, D), value, D,
                   [=](int64_t p, int64_t c, Floats sums) { store(by_normed + p * D + c, sums); });
        for (int64_t p = 0; p < n; ++p) {
            const float* residual = nothing;
            const int64_t row = (low + p) * D;
            if (low + p == in.last[b]) {
                for (int64_t c = 0; c < D; c += LANES)
                    store(by_normed + p * D + c, load(by_normed + p * D + c) + load(by_normed_last + b * D + c));
                residual = by_middle + b * D;
                ++b;
            }
            normalise_row_grad(by_normed + p * D, residual, in.x + row, w.norm, kept.mean[low + p],
                               kept.scale[low + p], D, by_x + row, by.norm, by.norm_bias);
        }
    }
}

template <class T>
void block_last_backward(const Shape& s, const LastInputs& in, const Parameters<const float>& w,
                         const KeptLast<T>& kept, const float* grad, const Parameters<float>& by, float* by_x) {
    static thread_local std::vector<float> wide;
    static thread_local std::vector<T> narrow;
    const int64_t P = s.length, B = s.B, D = s.D;
    if ((int64_t)wide.size() < 2 * B * D) wide.resize(2 * B * D);
    if ((int64_t)narrow.size() < (2 * P + 3 * B) * D) narrow.resize((2 * P + 3 * B) * D);
    float *const by_middle = wide.data(), *const by_normed = by_middle + B * D;
    T *const by_v = narrow.data(), *const by_k = by_v + P * D, *const by_u = by_k + P * D;
    T *const by_query = by_u + B * D, *const by_gate = by_query + B * D;
    second_half_grad(at_last(s), Inputs{nullptr, nullptr, nullptr, in.kept}, w, kept.rows, grad, by, by_middle, by_u);
    mix_last_grad(last_layer(s, in, w, kept), in.last, B, by_u, by_v, by_k, by_query, by_gate, by.taps, by.taps_bias);
    last_rows_grad(s, in, w, kept.rows, by_query, by_gate, by, by_v, by_normed);
    values_keys_grad(s, in, w, kept, by_v, by_k, by_normed, by_middle, by, by_x);
}
