// The bidirectional form's mixing at each history's last position alone. One query meets a history's keys, so no
// sums S are formed: out = sum_s (q~ . k~_s) v_s, and back again by products of the same size.
#pragma once

#include <cstring>
#include <vector>

#include "mix.h"

// P positions of B histories, of n positions each, one after the other; history b ends at last[b]

template <class T>
struct LastLayer {
    int64_t D, H, W;
    float eps;
    const T *v, *k;      // [P, D] each; keys before the feature map
    const T *vg, *q;     // [B, 2 D] each at the last positions: [values | gate], and queries in the first D
    const float* turns;  // [P, D]
    const float *taps, *taps_bias;
};

// Of one history: the query and its turned form, z, the numerator and the convolution's output, [D] each.
struct Meeting {
    std::vector<float> q, turned_q, z, out, conv, inverse;

    void begin(int64_t D, int64_t H) {
        for (auto* part : {&q, &turned_q, &z, &out, &conv}) part->assign(D, 0.0f);
        inverse.assign(H, 0.0f);
    }
};

// The product of two heads of width d.
INLINE float product_of(const float* a, const float* b, int64_t d) {
    Floats total{};
    for (int64_t c = 0; c < d; c += LANES) total += load(a + c) * load(b + c);
    return sum(total);
}

// Features of the key at position t into `k`, turned into `turned_k`, values into `v`: [D] each, as floats.
template <class T>
INLINE void key_at(const LastLayer<T>& l, int64_t t, float* k, float* turned_k, float* v) {
    for (int64_t c = 0; c < l.D; c += LANES) {
        const Floats key = feature(load(l.k + t * l.D + c));
        store(k + c, key);
        store(turned_k + c, turned(key, load(l.turns + t * l.D + c), 1.0f));
        store(v + c, load(l.v + t * l.D + c));
    }
}

// History b at positions first .. last.
template <class T>
void meet(const LastLayer<T>& l, int64_t b, int64_t first, int64_t last, Meeting& m) {
    static thread_local std::vector<float> at_key;
    const int64_t D = l.D, d = D / l.H;
    m.begin(D, l.H);
    at_key.resize(3 * D);
    float *const k = at_key.data(), *const turned_k = k + D, *const v = turned_k + D;
    for (int64_t c = 0; c < D; c += LANES) {
        const Floats q = feature(load(l.q + b * 2 * D + c));
        store(&m.q[c], q);
        store(&m.turned_q[c], turned(q, load(l.turns + last * D + c), 1.0f));
    }
    for (int64_t t = first; t <= last; ++t) {
        key_at(l, t, k, turned_k, v);
        for (int64_t at = 0; at < D; at += d) {
            const float weight = product_of(&m.turned_q[at], turned_k + at, d);
            for (int64_t c = at; c < at + d; c += LANES) {
                store(&m.z[c], load(&m.z[c]) + load(k + c));
                store(&m.out[c], load(&m.out[c]) + weight * load(v + c));
            }
        }
    }
    inverses(m.q.data(), m.z.data(), l.H, d, l.eps, m.inverse.data());
    for (int64_t c = 0; c < D; ++c) m.conv[c] = l.taps_bias[c];
    for (int64_t back = 0; back < l.W && last - back >= first; ++back) {
        key_at(l, last - back, k, turned_k, v);
        for (int64_t c = 0; c < D; ++c) m.conv[c] += l.taps[c * l.W + l.W - 1 - back] * v[c];
    }
}

// u [B, D], the input of the output projection.
template <class T>
void mix_last(const LastLayer<T>& l, const int64_t* last, int64_t B, T* u) {
    static thread_local Meeting m;
    const int64_t D = l.D, d = D / l.H;
    for (int64_t b = 0; b < B; ++b) {
        meet(l, b, b ? last[b - 1] + 1 : 0, last[b], m);
        for (int64_t c = 0; c < D; c += LANES) {
            const Floats local = load(&m.conv[c]), gate = load(l.vg + b * 2 * D + D + c);
            const Floats mixed = load(&m.out[c]) * m.inverse[c / d] + local * sigmoid(local);
            store(u + b * D + c, mixed * gate * sigmoid(gate));
        }
    }
}

// What flows back from one history's last position: by the numerator, z, the query and its turned form, the
// convolution's output; [D] each.
struct MeetingGrads {
    std::vector<float> out, z, q, turned_q, conv;
};

// Through gate, branches and division; writes the gate's gradient [D].
template <class T>
void last_grad_outer(const LastLayer<T>& l, int64_t b, const Meeting& m, const T* by_u, T* by_gate, MeetingGrads& by) {
    const int64_t D = l.D, d = D / l.H;
    for (auto* part : {&by.out, &by.z, &by.q, &by.turned_q, &by.conv}) part->assign(D, 0.0f);
    for (int64_t h = 0; h < l.H; ++h) {
        Floats dot{};
        for (int64_t c = h * d; c < (h + 1) * d; c += LANES) {
            const Floats local = load(&m.conv[c]), gate = load(l.vg + b * 2 * D + D + c);
            const Floats local_s = sigmoid(local), gate_s = sigmoid(gate), g = load(by_u + b * D + c);
            const Floats attended = load(&m.out[c]) * m.inverse[h], by_mixed = g * gate * gate_s;
            store(by_gate + b * D + c, g * (attended + local * local_s) * silu_slope(gate, gate_s));
            store(&by.conv[c], by_mixed * silu_slope(local, local_s));
            store(&by.out[c], by_mixed * m.inverse[h]);
            dot += by_mixed * attended;
        }
        const float grad = -sum(dot) * m.inverse[h];
        for (int64_t c = h * d; c < (h + 1) * d; c += LANES) {
            store(&by.q[c], grad * load(&m.z[c]));
            store(&by.z[c], grad * load(&m.q[c]));
        }
    }
}

// Gradients by values and keys at positions first .. last, and by the turned query.
template <class T>
void last_grad_inner(const LastLayer<T>& l, int64_t first, int64_t last, const Meeting& m, MeetingGrads& by, T* by_v,
                     T* by_k) {
    static thread_local std::vector<float> at_key;
    const int64_t D = l.D, d = D / l.H;
    at_key.resize(3 * D);
    float *const k = at_key.data(), *const turned_k = k + D, *const v = turned_k + D;
    for (int64_t t = first; t <= last; ++t) {
        key_at(l, t, k, turned_k, v);
        for (int64_t at = 0; at < D; at += d) {
            const float weight = product_of(&m.turned_q[at], turned_k + at, d);
            const float by_weight = product_of(&by.out[at], v + at, d);
            for (int64_t c = at; c < at + d; c += LANES) {
                store(&by.turned_q[c], load(&by.turned_q[c]) + by_weight * load(turned_k + c));
                store(by_v + t * D + c, weight * load(&by.out[c]));
                const Floats by_turned = by_weight * load(&m.turned_q[c]);
                const Floats by_key = load(&by.z[c]) + turned(by_turned, load(l.turns + t * D + c), -1.0f);
                store(by_k + t * D + c, by_key * feature_slope(load(l.k + t * D + c), load(k + c)));
            }
        }
    }
}

// Through the convolution: by_v gains at the last W positions; taps [D, W] and bias are added up.
template <class T>
void last_grad_conv(const LastLayer<T>& l, int64_t first, int64_t last, const MeetingGrads& by, T* by_v,
                    float* by_taps, float* by_taps_bias) {
    const int64_t D = l.D;
    for (int64_t c = 0; c < D; ++c) by_taps_bias[c] += by.conv[c];
    for (int64_t back = 0; back < l.W && last - back >= first; ++back) {
        const int64_t row = (last - back) * D, tap = l.W - 1 - back;
        for (int64_t low = 0; low < D; low += LANES) {
            float v[LANES], taps[LANES];
            store(v, load(l.v + row + low));
            for (int64_t i = 0; i < LANES; ++i) {
                by_taps[(low + i) * l.W + tap] += by.conv[low + i] * v[i];
                taps[i] = l.taps[(low + i) * l.W + tap];
            }
            store(by_v + row + low, load(by_v + row + low) + load(&by.conv[low]) * load(taps));
        }
    }
}

// Backward of mix_last: by_v, by_k [P, D]; by_q, by_gate [B, D].
template <class T>
void mix_last_grad(const LastLayer<T>& l, const int64_t* last, int64_t B, const T* by_u, T* by_v, T* by_k, T* by_q,
                   T* by_gate, float* by_taps, float* by_taps_bias) {
    static thread_local Meeting m;
    static thread_local MeetingGrads by;
    const int64_t D = l.D;
    for (int64_t b = 0; b < B; ++b) {
        const int64_t first = b ? last[b - 1] + 1 : 0;
        meet(l, b, first, last[b], m);
        last_grad_outer(l, b, m, by_u, by_gate, by);
        last_grad_inner(l, first, last[b], m, by, by_v, by_k);
        last_grad_conv(l, first, last[b], by, by_v, by_taps, by_taps_bias);
        for (int64_t c = 0; c < D; c += LANES) {
            const Floats turned_back = turned(load(&by.turned_q[c]), load(l.turns + last[b] * D + c), -1.0f);
            const Floats slope = feature_slope(load(l.q + b * 2 * D + c), load(&m.q[c]));
            store(by_q + b * D + c, (load(&by.q[c]) + turned_back) * slope);
        }
    }
}
