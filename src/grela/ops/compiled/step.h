// Users' states from before some events to after them: many users at once, each with as many events as it has. The
// definition is RecGRELA.step.
//
// Products take a tile of events whosever they are; what joins a user's events, sums and convolution, goes from one to
// the next in the user's own memory. A state is laid out as grela.serving.state.Layout says.
#pragma once

#include <cmath>
#include <vector>

#include "feed_forward.h"
#include "gemm.h"
#include "mix.h"
#include "norm.h"

// P events, D width (a multiple of 16), F = 4 D, H heads, d = D / H, W taps (0: no local branch), M layers, N items

constexpr int64_t STEP_TILE = 48;

// What scores are made of besides hidden states and what was met; see step_scores.h.
struct StepScores {
    int64_t K;            // classes of the gap to the next event; 0: scores are logits
    const float* panels;  // [ceil(N / 64), D, 64]: the items' embeddings, 64 items side by side
    const float* raise;   // [ceil(N / 64) 64]: the items' biases; far below everything past N
    const float *count_bias, *age_bias;  // [COUNTS], [AGES]; null: items met are as others
    const float *when, *maps;            // [K, D], [K, D, D]
};

struct StepModel {
    int64_t M, D, F, H, W, N, places;
    double norm_eps, eps;
    const double* pace;                     // [D / 2]: by what each pair turns from event to event; null: not at all
    const float *items, *positions, *gaps;  // [N + 1, D], [places, D], [BUCKETS, D]; the last two may be null
    const float *norm, *norm_bias;
    StepScores scores;
};

// Matrices are packed for products: [in, out] row by row.
struct StepLayer {
    const float *norm, *norm_bias;
    const float *inward, *inward_bias;        // [D, 2 D]: values, and gate where there is one
    const float *query_key, *query_key_bias;  // [D, 2 D]
    const float *taps, *taps_bias;            // [W, D], [D]
    const float* fading;                      // [D]: what is left of a key channel's sums after an event; null: all
    const float *out, *out_bias, *second_norm, *second_norm_bias, *up, *up_bias, *down, *down_bias;
    int64_t gated;
};

// Whose events, one user's after the other's: user u's end at end[u]; before them there were events[u].
struct Coming {
    int64_t users;
    float* const* states;
    const int64_t *end, *events;
    const int32_t* items;  // [P]: 1..N
    const uint8_t* gaps;   // [P]
};

// cos and sin of each pair's angle at a position, formed in double: [D].
inline void turns_at(const StepModel& m, int64_t position, float* turns) {
    for (int64_t i = 0; i < m.D / 2; ++i) {
        const double angle = (double)position * m.pace[i];
        turns[2 * i] = (float)std::cos(angle);
        turns[2 * i + 1] = (float)std::sin(angle);
    }
}

// The rows of a tile of events, [n, ...] each, in memory kept from call to call.
struct StepRows {
    std::vector<float> memory;
    float *x, *normed, *turns, *q, *turned_q, *turned_k, *v, *out, *u, *inward, *qk, *hidden;

    void take(int64_t n, int64_t D, int64_t F) {
        const int64_t needed = n * (13 * D + F);
        if ((int64_t)memory.size() < needed) memory.resize(needed);
        float* at = memory.data();
        for (float** rows : {&x, &normed, &turns, &q, &turned_q, &turned_k, &v, &out, &u}) *rows = at, at += n * D;
        inward = at;
        qk = inward + 2 * n * D;
        hidden = qk + 2 * n * D;
    }
};

template <class Emit>
INLINE void step_product(int64_t n, int64_t columns, int64_t depth, const float* left, int64_t stride,
                         const float* right, Emit&& emit) {
    product<float>(n, columns, depth, Left{reinterpret_cast<const uint32_t*>(left), stride, 1},
                   reinterpret_cast<const uint32_t*>(right), columns, emit);
}

inline void embed(const StepModel& m, int32_t item, uint8_t gap, int64_t position, float* raw, float* x) {
    const float* const of_item = m.items + item * m.D;
    const float* const of_gap = m.gaps ? m.gaps + gap * m.D : nullptr;
    const float* const of_place = m.positions ? m.positions + std::min(position, m.places - 1) * m.D : nullptr;
    for (int64_t c = 0; c < m.D; c += LANES) {
        Floats sum = load(of_item + c);
        if (of_place) sum += load(of_place + c);
        if (of_gap) sum += load(of_gap + c);
        store(raw + c, sum);
    }
    float mean, scale;
    normalise_row(raw, m.norm, m.norm_bias, (float)m.norm_eps, m.D, x, &mean, &scale);
}

// Features of n events of one user from row `first` on, and what they add to the running sum z of keys; leaves each
// head's denominators' inverses in the first H numbers of the event's row of qk.
inline void step_features(const StepModel& m, const StepLayer& l, int64_t first, int64_t n, float* z, StepRows& r) {
    const int64_t D = m.D;
    for (int64_t t = first; t < first + n; ++t) {
        const float *const qk = r.qk + 2 * t * D, *const v = r.inward + (1 + l.gated) * t * D;
        for (int64_t c = 0; c < D; c += LANES) {
            const int64_t at = t * D + c;
            const Floats q = feature(load(qk + c)), k = feature(load(qk + D + c));
            const Floats before = l.fading ? load(z + c) * load(l.fading + c) : load(z + c);
            store(z + c, before + k);
            store(r.q + at, q);
            store(r.v + at, load(v + c));
            store(r.turned_q + at, m.pace ? turned(q, load(r.turns + at), 1.0f) : q);
            store(r.turned_k + at, m.pace ? turned(k, load(r.turns + at), 1.0f) : k);
        }
        inverses(r.q + t * D, z, m.H, D / m.H, (float)m.eps, r.qk + 2 * t * D);
    }
}

// silu(conv) + attention, times silu(gate): u of one event from its row; takes the tail one further.
inline void step_joined(const StepModel& m, const StepLayer& l, int64_t t, float* tail, StepRows& r) {
    const int64_t D = m.D, d = D / m.H, past = (m.W - 1) * D;
    const float *const v = r.v + t * D, *const gates = r.inward + 2 * t * D + D;
    const float* const inverse = r.qk + 2 * t * D;
    for (int64_t c = 0; c < D; c += LANES) {
        Floats mixed = load(r.out + t * D + c) * inverse[c / d];
        if (m.W) {
            Floats local = load(l.taps_bias + c) + load(l.taps + past + c) * load(v + c);
            for (int64_t back = 0; back < past; back += D) local += load(l.taps + back + c) * load(tail + back + c);
            mixed += local * sigmoid(local);
        }
        if (l.gated) {
            const Floats gate = load(gates + c);
            mixed *= gate * sigmoid(gate);
        }
        store(r.u + t * D + c, mixed);
    }
    if (m.W > 1) {
        std::memmove(tail, tail + D, sizeof(float) * (past - D));
        std::memcpy(tail + past - D, v, sizeof(float) * D);
    }
}

// One user's n events from row `first` on, in one layer, whose part of the state begins at `state`.
template <int d>
void step_mixed(const StepModel& m, const StepLayer& l, int64_t first, int64_t n, float* state, StepRows& r) {
    const int64_t D = m.D, at = first * D;
    float *const z = state + D * d, *const tail = z + D;
    step_features(m, l, first, n, z, r);
    for (int64_t c = 0; c < D; c += d)
        sweep_by<d>(Fading::rows, n, D, r.turned_k + at + c, r.v + at + c, r.turned_q + at + c,
                    l.fading ? l.fading + c : nullptr, state + c * d, r.out + at + c);
    for (int64_t t = first; t < first + n; ++t) step_joined(m, l, t, tail, r);
}

inline void step_mixed(const StepModel& m, const StepLayer& l, int64_t first, int64_t n, float* state, StepRows& r) {
    switch (m.D / m.H) {
        case 16: return step_mixed<16>(m, l, first, n, state, r);
        case 32: return step_mixed<32>(m, l, first, n, state, r);
        default: return step_mixed<64>(m, l, first, n, state, r);
    }
}

// Numbers of one layer in a state.
inline int64_t layer_size(const StepModel& m) { return m.D * (m.D / m.H + 1 + (m.W ? m.W - 1 : 0)); }

// Asks for memory that is needed soon, so that it is not waited for.
inline void fetch(const float* from, int64_t size) {
    for (int64_t i = 0; i < size; i += LANES) __builtin_prefetch(from + i, 1);
}

// Which rows of a tile are one user's.
struct StepRun {
    int64_t user, first, n;
};

inline void step_layer(const StepModel& m, const StepLayer& l, const std::vector<StepRun>& runs, const Coming& coming,
                       int64_t n, int64_t state_at, StepRows& r) {
    const int64_t D = m.D, F = m.F, inside = (1 + l.gated) * D;
    float mean, scale;
    const auto norm = [&](const float* weight, const float* bias) {
        for (int64_t t = 0; t < n; ++t)
            normalise_row(r.x + t * D, weight, bias, (float)m.norm_eps, D, r.normed + t * D, &mean, &scale);
    };
    const auto onto = [&](int64_t depth, const float* left, const float* right, const float* bias) {
        step_product(n, D, depth, left, depth, right, [=, &r](int64_t t, int64_t c, Floats sums) {
            store(r.x + t * D + c, load(r.x + t * D + c) + sums + load(bias + c));
        });
    };
    norm(l.norm, l.norm_bias);
    step_product(n, inside, D, r.normed, D, l.inward, [=, &l, &r](int64_t t, int64_t c, Floats sums) {
        store(r.inward + t * inside + c, sums + load(l.inward_bias + c));
    });
    step_product(n, 2 * D, D, r.inward, inside, l.query_key, [=, &l, &r](int64_t t, int64_t c, Floats sums) {
        store(r.qk + t * 2 * D + c, sums + load(l.query_key_bias + c));
    });
    const int64_t of_layer = layer_size(m);
    for (size_t i = 0; i < runs.size(); ++i) {
        if (i + 1 < runs.size()) fetch(coming.states[runs[i + 1].user] + state_at, of_layer);
        step_mixed(m, l, runs[i].first, runs[i].n, coming.states[runs[i].user] + state_at, r);
    }
    onto(D, r.u, l.out, l.out_bias);
    norm(l.second_norm, l.second_norm_bias);
    step_product(n, F, D, r.normed, D, l.up, [=, &l, &r](int64_t t, int64_t c, Floats sums) {
        const Floats h = sums + load(l.up_bias + c);
        Floats distribution, density;
        normal(h, &distribution, &density);
        store(r.hidden + t * F + c, h * distribution);
    });
    onto(F, r.hidden, l.down, l.down_bias);
}

// Events low .. low + n of `coming`, which `runs` divides.
inline void step_tile(const StepModel& m, const StepLayer* layers, const Coming& coming, int64_t low, int64_t n,
                      const std::vector<StepRun>& runs, StepRows& r) {
    const int64_t D = m.D, of_layer = layer_size(m);
    for (const StepRun& run : runs) {
        const int64_t begin = run.user ? coming.end[run.user - 1] : 0;
        for (int64_t t = run.first; t < run.first + run.n; ++t) {
            const int64_t position = coming.events[run.user] + low + t - begin;
            if (m.pace) turns_at(m, position, r.turns + t * D);
            embed(m, coming.items[low + t], coming.gaps[low + t], position, r.normed + t * D, r.x + t * D);
        }
    }
    for (int64_t layer = 0; layer < m.M; ++layer)
        step_layer(m, layers[layer], runs, coming, n, layer * of_layer, r);
    for (const StepRun& run : runs)
        std::memcpy(coming.states[run.user] + m.M * of_layer, r.x + (run.first + run.n - 1) * D, sizeof(float) * D);
}

inline void step_users(const StepModel& m, const StepLayer* layers, const Coming& coming) {
    static thread_local StepRows rows;
    static thread_local std::vector<StepRun> runs;
    const int64_t P = coming.users ? coming.end[coming.users - 1] : 0;
    rows.take(std::min(P, STEP_TILE), m.D, m.F);
    for (int64_t low = 0, user = 0; low < P;) {
        const int64_t high = std::min(low + STEP_TILE, P), begin = low;
        runs.clear();
        while (low < high) {
            while (coming.end[user] <= low) ++user;
            const int64_t until = std::min(coming.end[user], high);
            runs.push_back({user, low - begin, until - low});
            low = until;
        }
        step_tile(m, layers, coming, begin, high - begin, runs, rows);
    }
}
