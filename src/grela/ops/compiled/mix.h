// Causal linear attention, short convolution and gate of one GRELA layer, from its projections to the input of the
// output projection, and back: u = (attention(q, k, v) + silu(conv(v))) * silu(gate).
//
// One position after the other, with a head's sums in registers: exact in float32, without chunks or masks.
// Four sums of the kind  A_t = A_{t-1} + a_t b_t^T,  out_t = c_t^T A_t  are all that forward and backward need:
//
//     numerator  n_t     a = k~, b = v,  c = q~          forward in time
//     grad of q~         a = v,  b = k~, c = g           forward in time     (g = the numerator's gradient)
//     grad of v          a = q~, b = g,  c = k~          backward in time
//     grad of k~         a = g,  b = q~, c = v           backward in time
#pragma once

#include <algorithm>
#include <vector>

#include "vectors.h"

// n positions of one history, D width, H heads, d = D / H (a multiple of 16), W taps

// How A decays before a position is added: not, by row, or by column, each by its own factor.
enum class Fading { none, rows, columns };

template <Fading fading>
INLINE Floats faded(Floats sums, const float* factors, int row, int column) {
    if constexpr (fading == Fading::rows) return sums * factors[row];
    if constexpr (fading == Fading::columns) return sums * load(factors + column);
    return sums;
}

// Adds to A [d, d] over n positions and contracts; rows of a, b, c, out lie `stride` apart, backwards if negative.
template <int d, Fading fading>
void sweep(int64_t n, int64_t stride, const float* a, const float* b, const float* c, const float* factors, float* A,
           float* out) {
    constexpr int R = d / LANES;
    for (int64_t t = 0; t < n; ++t, a += stride, b += stride, c += stride, out += stride) {
        Floats right[R], found[R] = {};
        for (int r = 0; r < R; ++r) right[r] = load(b + r * LANES);
        for (int i = 0; i < d; ++i)
            for (int r = 0; r < R; ++r) {
                const Floats before = load(A + i * d + r * LANES);
                const Floats sums = faded<fading>(before, factors, i, r * LANES) + a[i] * right[r];
                store(A + i * d + r * LANES, sums);
                found[r] += c[i] * sums;
            }
        for (int r = 0; r < R; ++r) store(out + r * LANES, found[r]);
    }
}

// Sixteen rows of sixteen fit into registers.
template <Fading fading>
inline void sweep_sixteen(int64_t n, int64_t stride, const float* a, const float* b, const float* c,
                          const float* factors, float* A, float* out) {
    Floats sums[LANES];
    for (int i = 0; i < LANES; ++i) sums[i] = load(A + i * LANES);
    for (int64_t t = 0; t < n; ++t, a += stride, b += stride, c += stride, out += stride) {
        const Floats right = load(b);
        Floats even{}, odd{};  // two sums, as each addition waits for the one before
#pragma GCC unroll 16
        for (int i = 0; i < LANES; i += 2) {
            sums[i] = faded<fading>(sums[i], factors, i, 0) + a[i] * right;
            sums[i + 1] = faded<fading>(sums[i + 1], factors, i + 1, 0) + a[i + 1] * right;
            even += c[i] * sums[i];
            odd += c[i + 1] * sums[i + 1];
        }
        store(out, even + odd);
    }
    for (int i = 0; i < LANES; ++i) store(A + i * LANES, sums[i]);
}

template <int d>
void sweep_by(Fading fading, int64_t n, int64_t stride, const float* a, const float* b, const float* c,
              const float* factors, float* A, float* out) {
    const auto go = [&]<Fading how>() {
        if constexpr (d == LANES)
            sweep_sixteen<how>(n, stride, a, b, c, factors, A, out);
        else
            sweep<d, how>(n, stride, a, b, c, factors, A, out);
    };
    if (!factors) return go.template operator()<Fading::none>();
    if (fading == Fading::rows) return go.template operator()<Fading::rows>();
    return go.template operator()<Fading::columns>();
}

template <int d>
void transpose(const float* from, float* to) {
    for (int i = 0; i < d; ++i)
        for (int j = 0; j < d; ++j) to[j * d + i] = from[i * d + j];
}

// (x[2i], x[2i+1]) times (cos, sin) or, if sign is -1, (cos, -sin), pair by pair.
INLINE Floats turned(Floats x, Floats turns, float sign) {
    const Floats swapped = __builtin_shufflevector(x, x, 1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14);
    const Floats cos = __builtin_shufflevector(turns, turns, 0, 0, 2, 2, 4, 4, 6, 6, 8, 8, 10, 10, 12, 12, 14, 14);
    const Floats sin = __builtin_shufflevector(turns, turns, 1, 1, 3, 3, 5, 5, 7, 7, 9, 9, 11, 11, 13, 13, 15, 15);
    const Floats signs = {-1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1};
    return x * cos + sign * signs * swapped * sin;
}

// elu(x) + 1 and its slope.
INLINE Floats feature(Floats x) { return x > Floats{} ? x + 1.0f : exponential(x); }
INLINE Floats feature_slope(Floats x, Floats feature) { return x > Floats{} ? splat(1.0f) : feature; }

// What a layer's kernels work on. Rows of vg are [values | gate] and of qk [queries | keys], before the feature map.
template <class T>
struct Layer {
    int64_t D, H, W;
    float eps;
    const T *vg, *qk;                // [P, 2 D] each
    const float* turns;              // [P, D]: cos and sin of each pair
    const float *taps, *taps_bias;   // [D, W], [D]
    std::vector<float> tap_columns;  // [W, D]: tap by tap
    const float* fading;             // [D]: what is left of a key channel's sums after one position; null: all

    const float* fading_at(int64_t channel) const { return fading ? fading + channel : nullptr; }

    Floats faded_sum(Floats sums, int64_t channel) const { return fading ? sums * load(fading + channel) : sums; }

    void arrange_taps() {
        tap_columns.resize(W * D);
        for (int64_t c = 0; c < D; ++c)
            for (int64_t w = 0; w < W; ++w) tap_columns[w * D + c] = taps[c * W + w];
    }
};

// The arrays of one history's n positions, [n, D] each, side by side in memory kept from call to call.
struct Scratch {
    std::vector<float> memory;
    int64_t size = 0;
    void take(int arrays, int64_t n, int64_t D) {
        size = n * D;
        if ((int64_t)memory.size() < arrays * size) memory.resize(arrays * size);
    }
    float* operator[](int i) { return memory.data() + i * size; }
};

enum { Q, K, QR, KR, V, OUT, CONV, G, DQ, DK, DQR, DKR, DV, ARRAYS };
constexpr int FORWARD_ARRAYS = CONV + 1;

// Widens and transforms positions first .. first + n of the row: features, turned features, values.
template <class T>
void prepare(const Layer<T>& layer, int64_t first, int64_t n, Scratch& s) {
    const int64_t D = layer.D;
    for (int64_t t = 0; t < n; ++t)
        for (int64_t c = 0; c < D; c += LANES) {
            const int64_t from = (first + t) * 2 * D + c, to = t * D + c;
            const Floats turns = load(layer.turns + (first + t) * D + c);
            const Floats q = feature(load(layer.qk + from)), k = feature(load(layer.qk + from + D));
            store(s[Q] + to, q);
            store(s[K] + to, k);
            store(s[QR] + to, turned(q, turns, 1.0f));
            store(s[KR] + to, turned(k, turns, 1.0f));
            store(s[V] + to, load(layer.vg + from));
        }
}

// conv_t = bias + sum_j taps[W-1-j] v_{t-j}; `tail` [W - 1, D] holds the values before the first.
template <class T>
void convolve(const Layer<T>& layer, int64_t n, Scratch& s, const float* tail) {
    const int64_t D = layer.D, past = layer.W - 1;
    for (int64_t t = 0; t < n; ++t)
        for (int64_t c = 0; c < D; c += LANES) {
            Floats y = load(layer.taps_bias + c);
            for (int64_t back = 0; back <= past; ++back) {
                const float* x = t >= back ? s[V] + (t - back) * D : tail + (past + t - back) * D;
                y += load(layer.tap_columns.data() + (past - back) * D + c) * load(x + c);
            }
            store(s[CONV] + t * D + c, y);
        }
}

template <int d, class T>
void one_head(const Layer<T>& layer, int64_t n, int64_t at, Scratch& s, float* S) {
    sweep_by<d>(Fading::rows, n, layer.D, s[KR] + at, s[V] + at, s[QR] + at, layer.fading_at(at), S, s[OUT] + at);
}

// The numerators of all heads; S [H, d, d] goes from the state before to the state after.
template <class T>
void numerators(const Layer<T>& layer, int64_t n, Scratch& s, float* S) {
    const int64_t D = layer.D, d = D / layer.H;
    for (int64_t h = 0; h < layer.H; ++h) {
        const int64_t at = h * d;
        switch (d) {
            case 16: one_head<16>(layer, n, at, s, S + at * d); break;
            case 32: one_head<32>(layer, n, at, s, S + at * d); break;
            case 64: one_head<64>(layer, n, at, s, S + at * d); break;
        }
    }
}

// 1 / (q_t . z_t + eps) of each head, into inverse [H]; z [D] is z_t.
inline void inverses(const float* q, const float* z, int64_t H, int64_t d, float eps, float* inverse) {
    for (int64_t h = 0; h < H; ++h) {
        Floats product{};
        for (int64_t c = 0; c < d; c += LANES) product += load(q + h * d + c) * load(z + h * d + c);
        inverse[h] = 1.0f / (sum(product) + eps);
    }
}

// The state of a history after `n` more positions; S and z are updated where they are used.
inline void keep_tail(const float* values, int64_t n, int64_t D, int64_t past, float* tail) {
    const int64_t old = std::max<int64_t>(0, past - n);
    for (int64_t i = 0; i < old; ++i) std::copy_n(tail + (i + past - old) * D, D, tail + i * D);
    for (int64_t i = old; i < past; ++i) std::copy_n(values + (n - past + i) * D, D, tail + i * D);
}

// Positions first .. first + n of one history, in pieces that fit the cache; the state goes from before to after.
template <class T>
void mix_history(const Layer<T>& layer, int64_t first, int64_t n, float* S, float* z, float* tail, T* u) {
    constexpr int64_t PIECE = 64;
    static thread_local Scratch s;
    const int64_t D = layer.D, d = D / layer.H;
    s.take(FORWARD_ARRAYS, std::min(n, PIECE), D);
    std::vector<float> inverse(layer.H);
    for (int64_t low = 0; low < n; low += PIECE) {
        const int64_t count = std::min(PIECE, n - low);
        prepare(layer, first + low, count, s);
        convolve(layer, count, s, tail);
        numerators(layer, count, s, S);
        for (int64_t t = 0; t < count; ++t) {
            for (int64_t c = 0; c < D; c += LANES)
                store(z + c, layer.faded_sum(load(z + c), c) + load(s[K] + t * D + c));
            inverses(s[Q] + t * D, z, layer.H, d, layer.eps, inverse.data());
            for (int64_t c = 0; c < D; c += LANES) {
                const Floats local = load(s[CONV] + t * D + c);
                const Floats gate = load(layer.vg + (first + low + t) * 2 * D + D + c);
                const Floats mixed = load(s[OUT] + t * D + c) * inverse[c / d] + local * sigmoid(local);
                store(u + (first + low + t) * D + c, mixed * gate * sigmoid(gate));
            }
        }
        keep_tail(s[V], count, D, layer.W - 1, tail);
    }
}

// Gradients by the convolution's kernel, as [W, D] columns, and its bias [D]: added up.
struct TapGrads {
    std::vector<float> columns;
    float* bias;
};

// One head at one position, through gate and branches: fills G (by the numerator) and CONV (by the convolution's
// output), writes the gate's gradient, and returns that of the denominator.
template <class T>
inline float branches_grad(const Layer<T>& layer, int64_t first, int64_t t, int64_t h, float inverse, Scratch& s,
                           const T* grad_u, T* grad_vg) {
    const int64_t D = layer.D, d = D / layer.H, at = t * D, wide = (first + t) * 2 * D;
    Floats dot{};
    for (int64_t c = h * d; c < (h + 1) * d; c += LANES) {
        const Floats local = load(s[CONV] + at + c), gate = load(layer.vg + wide + D + c);
        const Floats local_s = sigmoid(local), gate_s = sigmoid(gate), g = load(grad_u + (first + t) * D + c);
        const Floats attended = load(s[OUT] + at + c) * inverse;
        const Floats by_mixed = g * gate * gate_s;
        store(grad_vg + wide + D + c, g * (attended + local * local_s) * silu_slope(gate, gate_s));
        store(s[CONV] + at + c, by_mixed * silu_slope(local, local_s));
        store(s[G] + at + c, by_mixed * inverse);
        dot += by_mixed * attended;
    }
    return -sum(dot) * inverse;
}

// Through gate, branches and division: fills G (by the numerator), DQ, DK (by the denominator's parts) and
// CONV (by the convolution's output), and writes the gate's gradient.
template <class T>
void mix_grad_outer(const Layer<T>& layer, int64_t first, int64_t n, Scratch& s, const float* z_before, const T* grad_u,
                    T* grad_vg) {
    const int64_t D = layer.D, H = layer.H, d = D / H;
    std::vector<float> inverse(H), z(z_before, z_before + D), by_z(D), by_denominator(n * H);
    for (int64_t t = 0; t < n; ++t) {
        const int64_t at = t * D;
        for (int64_t c = 0; c < D; c += LANES)
            store(&z[c], layer.faded_sum(load(&z[c]), c) + load(s[K] + at + c));
        inverses(s[Q] + at, z.data(), H, d, layer.eps, inverse.data());
        for (int64_t h = 0; h < H; ++h) {
            const float grad = branches_grad(layer, first, t, h, inverse[h], s, grad_u, grad_vg);
            by_denominator[t * H + h] = grad;
            for (int64_t c = h * d; c < (h + 1) * d; c += LANES) store(s[DQ] + at + c, grad * load(&z[c]));
        }
    }
    for (int64_t t = n - 1; t >= 0; --t)
        for (int64_t c = 0; c < D; c += LANES) {
            const Floats by_z_t = load(&by_z[c]) + by_denominator[t * H + c / d] * load(s[Q] + t * D + c);
            store(s[DK] + t * D + c, by_z_t);
            store(&by_z[c], layer.faded_sum(by_z_t, c));
        }
}

// The three gradient sums of one head of width d.
template <int d, class T>
void head_grads(const Layer<T>& layer, int64_t n, int64_t at, Scratch& s, const float* S_before) {
    const int64_t D = layer.D;
    const float* const factors = layer.fading_at(at);
    float A[d * d];
    transpose<d>(S_before, A);
    sweep_by<d>(Fading::columns, n, D, s[V] + at, s[KR] + at, s[G] + at, factors, A, s[DQR] + at);
    const int64_t last = (n - 1) * D + at;
    std::fill_n(A, d * d, 0.0f);
    sweep_by<d>(Fading::rows, n, -D, s[QR] + last, s[G] + last, s[KR] + last, factors, A, s[DV] + last);
    std::fill_n(A, d * d, 0.0f);
    sweep_by<d>(Fading::columns, n, -D, s[G] + last, s[QR] + last, s[V] + last, factors, A, s[DKR] + last);
}

// Adds to `by` [D] the gradient by the logarithm of each channel's fading. A pair of positions t >= s has a share that
// fades by f^(t-s): it is part of q_t . dq_t and of k_s . dk_s alike, so their sums weighted by t and by s tell the
// pairs' distances. What came before the first position has the distance t + 1.
template <class T>
void fading_grad(const Layer<T>& layer, int64_t n, Scratch& s, float* by) {
    const int64_t D = layer.D;
    for (int64_t c = 0; layer.fading && c < D; ++c) {
        double total = 0;
        for (int64_t t = 0; t < n; ++t) {
            const int64_t at = t * D + c;
            const float by_q = s[QR][at] * s[DQR][at] + s[Q][at] * s[DQ][at];
            const float by_k = s[KR][at] * s[DKR][at] + s[K][at] * s[DK][at];
            total += (double)(t + 1) * (by_q - by_k);
        }
        by[c] += (float)total;
    }
}

// The convolution's gradients: DV gains what its output's gradient (CONV) sends back; taps and bias are added up.
template <class T>
void convolve_grad(const Layer<T>& layer, int64_t n, Scratch& s, const float* tail, TapGrads& grads) {
    const int64_t D = layer.D, past = layer.W - 1;
    for (int64_t t = 0; t < n; ++t)
        for (int64_t c = 0; c < D; c += LANES) {
            const Floats g = load(s[CONV] + t * D + c);
            store(grads.bias + c, load(grads.bias + c) + g);
            for (int64_t back = 0; back <= past; ++back) {
                const int64_t tap = (past - back) * D + c;
                const float* x = t >= back ? s[V] + (t - back) * D : tail + (past + t - back) * D;
                store(&grads.columns[tap], load(&grads.columns[tap]) + g * load(x + c));
                if (t >= back) {
                    float* by_x = s[DV] + (t - back) * D + c;
                    store(by_x, load(by_x) + g * load(layer.tap_columns.data() + tap));
                }
            }
        }
}

// Backward of mix_history over a whole history, from the state before it.
template <class T>
void mix_history_grad(const Layer<T>& layer, int64_t first, int64_t n, const float* S, const float* z,
                      const float* tail, const T* grad_u, T* grad_vg, T* grad_qk, TapGrads& taps, float* by_fading) {
    static thread_local Scratch s;
    const int64_t D = layer.D, d = D / layer.H;
    s.take(ARRAYS, n, D);
    std::vector<float> running(S, S + D * d);
    prepare(layer, first, n, s);
    convolve(layer, n, s, tail);
    numerators(layer, n, s, running.data());
    mix_grad_outer(layer, first, n, s, z, grad_u, grad_vg);
    for (int64_t h = 0; h < layer.H; ++h) {
        switch (d) {
            case 16: head_grads<16>(layer, n, h * d, s, S + h * d * d); break;
            case 32: head_grads<32>(layer, n, h * d, s, S + h * d * d); break;
            case 64: head_grads<64>(layer, n, h * d, s, S + h * d * d); break;
        }
    }
    fading_grad(layer, n, s, by_fading);
    convolve_grad(layer, n, s, tail, taps);
    for (int64_t t = 0; t < n; ++t)
        for (int64_t c = 0; c < D; c += LANES) {
            const int64_t at = t * D + c, wide = (first + t) * 2 * D + c;
            const Floats turns = load(layer.turns + (first + t) * D + c);
            const Floats by_q = load(s[DQ] + at) + turned(load(s[DQR] + at), turns, -1.0f);
            const Floats by_k = load(s[DK] + at) + turned(load(s[DKR] + at), turns, -1.0f);
            store(grad_qk + wide, by_q * feature_slope(load(layer.qk + wide), load(s[Q] + at)));
            store(grad_qk + wide + D, by_k * feature_slope(load(layer.qk + wide + D), load(s[K] + at)));
            store(grad_vg + wide, load(s[DV] + at));
        }
}

// The end of the history that begins at `first` in a row of T segments.
inline int64_t history_end(const int64_t* segments, int64_t first, int64_t T) {
    int64_t end = first + 1;
    while (end < T && segments[end] == segments[first]) ++end;
    return end;
}

// B rows of T positions; row b begins with the state b, and leaves there the state of its last history.
template <class T>
void mix(Layer<T> layer, const int64_t* segments, int64_t B, int64_t length, float* S, float* z, float* tail, T* u) {
    const int64_t D = layer.D, d = D / layer.H, past = layer.W - 1;
    layer.arrange_taps();
    for (int64_t b = 0; b < B; ++b) {
        float *S_b = S + b * D * d, *z_b = z + b * D, *tail_b = tail + b * past * D;
        for (int64_t low = 0; low < length;) {
            const int64_t high = history_end(segments + b * length, low, length);
            if (low > 0) {
                std::fill_n(S_b, D * d, 0.0f);
                std::fill_n(z_b, D, 0.0f);
                std::fill_n(tail_b, past * D, 0.0f);
            }
            mix_history(layer, b * length + low, high - low, S_b, z_b, tail_b, u);
            low = high;
        }
    }
}

// Backward of `mix` given the states before; no gradient flows into them.
template <class T>
void mix_grad(Layer<T> layer, const int64_t* segments, int64_t B, int64_t length, const float* S, const float* z,
              const float* tail, const T* grad_u, T* grad_vg, T* grad_qk, float* grad_taps, float* grad_taps_bias,
              float* by_fading) {
    const int64_t D = layer.D, d = D / layer.H, past = layer.W - 1;
    layer.arrange_taps();
    TapGrads taps{std::vector<float>(layer.W * D), grad_taps_bias};
    const std::vector<float> empty(D * std::max(d, past));
    for (int64_t b = 0; b < B; ++b)
        for (int64_t low = 0; low < length;) {
            const int64_t high = history_end(segments + b * length, low, length);
            const bool goes_on = low == 0;
            mix_history_grad(layer, b * length + low, high - low, goes_on ? S + b * D * d : empty.data(),
                             goes_on ? z + b * D : empty.data(), goes_on ? tail + b * past * D : empty.data(), grad_u,
                             grad_vg, grad_qk, taps, by_fading);
            low = high;
        }
    for (int64_t c = 0; c < D; ++c)
        for (int64_t w = 0; w < layer.W; ++w) grad_taps[c * layer.W + w] += taps.columns[w * D + c];
}
