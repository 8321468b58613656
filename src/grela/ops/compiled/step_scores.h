// Scores of all items from users' hidden states and what they have met, and the best of them. The definition is
// RecGRELA.scores.
#pragma once

#include <cmath>
#include <vector>

#include "mapped.h"
#include "met.h"
#include "softmax.h"
#include "step.h"

// N items, K classes of the gap to the next event (1 where scores are logits)

constexpr int64_t PANEL = 64;
constexpr int64_t SCORED_USERS = 6;  // whose logits are formed together

struct Scored {
    const float* hidden;  // [D]
    const MetPlace* table;
    int64_t places, events;
};

// The logits of up to SCORED_USERS users, [users, K, padded N], with what turns each class's into parts of the scores.
struct StepLogits {
    std::vector<float> mapped, logits, offsets;
    int64_t padded = 0, K = 0;

    void take(const StepModel& m, int64_t users) {
        K = std::max<int64_t>(m.scores.K, 1);
        padded = (m.N + PANEL - 1) / PANEL * PANEL;
        mapped.resize(users * K * m.D);
        logits.resize(users * K * padded);
        offsets.resize(users * K);
    }
    float* of(int64_t user, int64_t k) { return logits.data() + (user * K + k) * padded; }
    const float* offset(int64_t user) { return offsets.data() + user * K; }
};

inline void raise_met(const StepModel& m, const Scored& user, float* logits, int64_t padded, int64_t K) {
    for (const MetPlace* at = user.table; at < user.table + user.places; ++at) {
        if (at->item == EMPTY) continue;
        const float by = m.scores.count_bias[half_octave(at->count, COUNTS)] +
                         m.scores.age_bias[half_octave(user.events - at->last, AGES)];
        for (int64_t k = 0; k < K; ++k) logits[k * padded + at->item - 1] += by;
    }
}

// log of the sum of exponentials.
inline float log_mass(const float* logits, int64_t padded) {
    Floats tops[2] = {splat(-INFINITY), splat(-INFINITY)}, mass[2] = {};
    for (int64_t c = 0; c < padded; c += 2 * LANES)
        for (int i = 0; i < 2; ++i) tops[i] = larger(load(logits + c + i * LANES), tops[i]);
    const Floats top = larger(tops[0], tops[1]);
    float most = top[0];
    for (int i = 1; i < LANES; ++i) most = top[i] > most ? top[i] : most;
    for (int64_t c = 0; c < padded; c += 2 * LANES)
        for (int i = 0; i < 2; ++i) mass[i] += exponential(load(logits + c + i * LANES) - most);
    return most + std::log(sum(mass[0] + mass[1]));
}

// log p(class) of one hidden state, [K].
inline void log_when(const StepModel& m, const float* hidden, float* out) {
    const int64_t K = m.scores.K;
    float most = -INFINITY, mass = 0;
    for (int64_t k = 0; k < K; ++k) {
        Floats total{};
        for (int64_t c = 0; c < m.D; c += LANES) total += load(m.scores.when + k * m.D + c) * load(hidden + c);
        out[k] = sum(total);
        most = std::max(most, out[k]);
    }
    for (int64_t k = 0; k < K; ++k) mass += std::exp(out[k] - most);
    for (int64_t k = 0; k < K; ++k) out[k] -= most + std::log(mass);
}

inline void form_logits(const StepModel& m, const Scored* users, int64_t n, StepLogits& found) {
    found.take(m, n);
    const int64_t D = m.D, K = found.K, padded = found.padded;
    for (int64_t u = 0; u < n; ++u)
        for (int64_t k = 0; k < K; ++k) {
            float* const to = found.mapped.data() + (u * K + k) * D;
            if (m.scores.K)
                mapped(m.scores.maps + k * D * D, users[u].hidden, D, to);
            else
                std::memcpy(to, users[u].hidden, sizeof(float) * D);
        }
    for (int64_t low = 0; low < padded; low += PANEL) {
        float* const to = found.logits.data() + low;
        const float* const raise = m.scores.raise + low;
        step_product(n * K, PANEL, D, found.mapped.data(), D, m.scores.panels + low * D,
                     [=](int64_t row, int64_t c, Floats sums) { store(to + row * padded + c, sums + load(raise + c)); });
    }
    for (int64_t u = 0; u < n; ++u) {
        if (m.scores.count_bias) raise_met(m, users[u], found.of(u, 0), padded, K);
        float* const offset = found.offsets.data() + u * K;
        if (!m.scores.K) {
            offset[0] = 0;
            continue;
        }
        log_when(m, users[u].hidden, offset);
        for (int64_t k = 0; k < K; ++k) offset[k] -= log_mass(found.of(u, k), padded);
    }
}

// ln x of x from 1 to 2^20, to about 1e-7: x = 2^e m with m from sqrt(1/2) to sqrt(2); Cephes' polynomial of m - 1.
INLINE Floats logarithm(Floats x) {
    const Words bits = (Words)x, shifted = bits - 0x3f3504f3u;  // of sqrt(1/2)
    const Floats e = __builtin_convertvector((Ints)shifted >> 23, Floats);
    const Floats f = (Floats)(bits - (shifted & 0xff800000u)) - 1.0f;
    Floats p = splat(7.0376836292e-2f);
    for (const float next : {-1.1514610310e-1f, 1.1676998740e-1f, -1.2420140846e-1f, 1.4249322787e-1f,
                             -1.6668057665e-1f, 2.0000714765e-1f, -2.4999993993e-1f, 3.3333331174e-1f})
        p = p * f + next;
    return f * f * f * p - 0.5f * f * f + f + e * 0.69314718f;
}

// Sixteen items' scores, from the logits of all classes.
INLINE Floats mixture(const float* logits, const float* offset, int64_t padded, int64_t K) {
    Floats most = load(logits) + offset[0];
    if (K == 1) return most;
    for (int64_t k = 1; k < K; ++k) most = larger(load(logits + k * padded) + offset[k], most);
    Floats mass{};
    for (int64_t k = 0; k < K; ++k) mass += exponential(load(logits + k * padded) + offset[k] - most);
    return most + logarithm(mass);
}

// out [users, N]
inline void step_scores(const StepModel& m, const Scored* users, int64_t count, float* out) {
    static thread_local StepLogits found;
    for (int64_t low = 0; low < count; low += SCORED_USERS) {
        const int64_t n = std::min(SCORED_USERS, count - low);
        form_logits(m, users + low, n, found);
        for (int64_t u = 0; u < n; ++u) {
            float* const row = out + (low + u) * m.N;
            for (int64_t c = 0; c < m.N; c += LANES) {
                const Floats scores = mixture(found.of(u, 0) + c, found.offset(u), found.padded, found.K);
                std::memcpy(row + c, &scores, sizeof(float) * std::min<int64_t>(LANES, m.N - c));
            }
        }
    }
}

// The best k of the items seen so far, best first; of equals the one that came first.
struct Best {
    int32_t* items;
    float* scores;
    int64_t k, count;

    float bar() const { return count < k ? -INFINITY : scores[k - 1]; }

    void take(int32_t item, float score) {
        if (count == k && !(score > scores[k - 1])) return;
        int64_t at = count < k ? count++ : k - 1;
        for (; at > 0 && score > scores[at - 1]; --at) {
            scores[at] = scores[at - 1];
            items[at] = items[at - 1];
        }
        scores[at] = score;
        items[at] = item;
    }
};

// allowed [N], padded; items and scores [k]. Returns how many there are.
inline int64_t best_of(StepLogits& found, int64_t user, int64_t N, const uint8_t* allowed, int64_t k, int32_t* items,
                       float* scores) {
    const int64_t K = found.K, padded = found.padded;
    const float *const logits = found.of(user, 0), *const offset = found.offset(user);
    const float spread = K > 1 ? std::log((float)K) + 1e-3f : 0.0f;  // a mixture is at most so far above its largest part
    Best best{items, scores, k, 0};
    for (int64_t c = 0; c < N; c += LANES) {
        Floats most = load(logits + c) + offset[0];
        for (int64_t part = 1; part < K; ++part) most = larger(load(logits + part * padded + c) + offset[part], most);
        if (best.count == k) {
            const Ints hopeful = most + spread > splat(best.bar());
            int64_t any[LANES / 2], all = 0;
            std::memcpy(any, &hopeful, sizeof any);
            for (int64_t word : any) all |= word;
            if (!all) continue;
        }
        float sixteen[LANES];
        store(sixteen, mixture(logits + c, offset, padded, K));
        for (int i = 0; i < LANES && c + i < N; ++i)
            if (allowed[c + i]) best.take((int32_t)(c + i + 1), sixteen[i]);
    }
    return best.count;
}

// For each user the best k of the items of `allowed` [N], or of those not met; items and scores [users, k], counts [users].
inline void step_top(const StepModel& m, const Scored* users, int64_t count, const uint8_t* allowed, int64_t filter_seen,
                     int64_t k, int32_t* items, float* scores, int64_t* counts) {
    static thread_local StepLogits found;
    static thread_local std::vector<uint8_t> shown;
    for (int64_t low = 0; low < count; low += SCORED_USERS) {
        const int64_t n = std::min(SCORED_USERS, count - low);
        form_logits(m, users + low, n, found);
        for (int64_t u = 0; u < n; ++u) {
            const Scored& user = users[low + u];
            const uint8_t* mask = allowed;
            if (filter_seen) {
                shown.assign(allowed, allowed + m.N);
                for (const MetPlace* at = user.table; at < user.table + user.places; ++at)
                    if (at->item != EMPTY) shown[at->item - 1] = 0;
                mask = shown.data();
            }
            const int64_t at = (low + u) * k;
            counts[low + u] = best_of(found, u, m.N, mask, k, items + at, scores + at);
        }
    }
}
