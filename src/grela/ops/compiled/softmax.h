// Full-catalogue softmax cross-entropy with its projection: logits of a tile of positions are formed, turned into
// their own gradient, and spent on both gradients before the next tile's, so that they stay in the cache.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "gemm.h"
#include "seen.h"

// P positions, N items, D width

// What each item's logit is raised by, [N], and its gradient, added to; null: nothing.
struct ItemBias {
    const float* bias;
    float* by;
};

// A row of logits, padded by -inf to a multiple of 16, becomes weight (softmax - onehot(target)) as T; returns its loss,
// weight times -log softmax(target).
template <class T>
inline double softmax_row(float* row, int64_t padded, int64_t target, float weight, T* gradient) {
    const float aim = row[target];
    Floats tops[2] = {splat(-INFINITY), splat(-INFINITY)};
    for (int64_t c = 0; c < padded; c += LANES) tops[c / LANES % 2] = larger(load(row + c), tops[c / LANES % 2]);
    const Floats top = larger(tops[0], tops[1]);
    float most = top[0];
    for (int i = 1; i < LANES; ++i) most = top[i] > most ? top[i] : most;
    Floats total{};
    for (int64_t c = 0; c < padded; c += LANES) {
        const Floats e = exponential(load(row + c) - most);
        store(row + c, e);
        total += e;
    }
    const float mass = sum(total), share = weight / mass;
    const float at_target = row[target];
    for (int64_t c = 0; c < padded; c += LANES) store(gradient + c, share * load(row + c));
    T sixteen[LANES];
    store(sixteen, splat(share * at_target - weight));
    gradient[target] = sixteen[0];
    return (double)weight * (std::log((double)mass) + (double)most - (double)aim);
}

// Gradients of what raises met items: sums over all positions, whose parts cancel.
struct ByMet {
    double by_count[COUNTS]{}, by_age[AGES]{};
};

// softmax_row after the items met before have been raised; adds to the gradients of what raised them.
template <class T>
inline double raised_row(const std::vector<Met::Item>& items, const Seen& seen, float* row, int64_t padded,
                         int64_t target, float weight, T* gradient, ByMet& by) {
    for (const Met::Item& i : items) row[i.column] += seen.count_bias[i.count] + seen.age_bias[i.age];
    const double loss = softmax_row(row, padded, target, weight, gradient);
    for (const Met::Item& i : items) {
        const float by_logit = scalar(gradient[i.column]);
        by.by_count[i.count] += by_logit;
        by.by_age[i.age] += by_logit;
    }
    return loss;
}

// The items that a position has met are no candidates, save its target.
inline void leave_out(const Seen& seen, int64_t p, int64_t target, float* row) {
    const float aim = row[target];
    for (int64_t e = seen.start[p]; e < seen.end[p]; ++e) row[seen.history[e] - 1] = -INFINITY;
    row[target] = aim;
}

// The loss summed over positions, times `weighing`. hidden [P, D]; weight [N, D]; targets [P] in 0..N-1. Overwrites grad_hidden [P, D]
// and adds to grad_weight [N, D].
template <class T>
double softmax_loss(const T* hidden, const float* weight, const int64_t* targets, Seen seen, ItemBias items,
                    int64_t P, int64_t N, int64_t D, int64_t tile, T* grad_hidden, float* grad_weight,
                    double weighing = 1) {
    static thread_local std::vector<uint32_t> across, down, hidden_words, gradient_words;
    static thread_local std::vector<float> logits;
    static thread_local std::vector<T> gradient;
    const int64_t padded = (N + LANES - 1) / LANES * LANES;
    across.resize(words<T>(D) * padded);
    down.resize(words<T>(padded) * D);
    hidden_words.resize(words<T>(tile) * D);
    gradient_words.resize(words<T>(tile) * padded);
    logits.resize(tile * padded);
    gradient.resize(tile * padded);
    pack_transposed<T>(weight, N, D, across.data(), padded, 0);
    std::fill(down.begin() + N / PER_WORD<T> * D, down.end(), 0u);
    pack_weight<T>(weight, N, D, down.data());
    float* const row = logits.data();
    Met met(seen.count_bias ? N : 0);
    ByMet by_met;
    std::vector<float> raise(padded, -INFINITY), by_items(items.bias ? padded : 0);
    std::fill(raise.begin(), raise.begin() + N, 0.0f);
    if (items.bias) std::copy(items.bias, items.bias + N, raise.begin());

    double loss = 0;
    for (int64_t low = 0; low < P; low += tile) {
        const int64_t n = std::min(tile, P - low), steps = words<T>(n);
        product<T>(n, padded, words<T>(D), rows_of(hidden + low * D, D), across.data(), padded,
                   [=](int64_t p, int64_t c, Floats sums) { store(row + p * padded + c, sums); });
        for (int64_t p = 0; p < n; ++p) {
            float* const at = row + p * padded;
            const int64_t target = targets[low + p];
            T* const by = gradient.data() + p * padded;
            for (int64_t c = 0; c < padded; c += LANES) store(at + c, load(at + c) + load(raise.data() + c));
            if (seen.count_bias) {
                loss += raised_row(met.before(seen, low + p), seen, at, padded, target, (float)weighing, by, by_met);
            } else {
                if (seen.history) leave_out(seen, low + p, target, at);
                loss += softmax_row(at, padded, target, (float)weighing, by);
            }
            for (int64_t c = 0; items.bias && c < padded; c += LANES)
                store(by_items.data() + c, load(by_items.data() + c) + load(by + c));
        }
        product<T>(n, D, words<T>(padded), rows_of(gradient.data(), padded), down.data(), D,
                   [=](int64_t p, int64_t c, Floats sums) { store(grad_hidden + (low + p) * D + c, sums); });
        pack_rows(gradient.data(), padded, n, padded, gradient_words.data());
        pack_rows(hidden + low * D, D, n, D, hidden_words.data());
        // Only the first N rows: the padding has no weights.
        product<T>(N, D, steps, Left{gradient_words.data(), 1, padded}, hidden_words.data(), D,
                   [=](int64_t item, int64_t c, Floats sums) {
                       float* by = grad_weight + item * D + c;
                       store(by, load(by) + sums);
                   });
    }
    for (int64_t c = 0; items.bias && c < N; ++c) items.by[c] += by_items[c];
    for (int64_t b = 0; seen.count_bias && b < COUNTS; ++b) seen.by_count[b] += (float)by_met.by_count[b];
    for (int64_t b = 0; seen.count_bias && b < AGES; ++b) seen.by_age[b] += (float)by_met.by_age[b];
    return loss;
}
