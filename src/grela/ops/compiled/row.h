// A row of packed histories from items to the gradients of all parameters, in one call: embedding, blocks, softmax.
#pragma once

#include "block.h"
#include "mapped.h"
#include "softmax.h"

// P positions, D width, M blocks, N items

struct Row {
    const int64_t *items, *targets, *segments;  // [P]: 1..N, 0..N-1, equal within a history
    const float* turns;                         // [P, D]
    const float* kept;                          // [M, P]: drop path's factors
    const float* added;                         // [P, D]: added to the items' embeddings; null: nothing
    float* by_added;                            // [P, D]: its gradient
    Seen seen;
    ItemBias item_bias;
    NextGap next;
    AfterNext after;
    int64_t M, N, tile;  // blocks; items; positions whose logits are formed together
    double rate;         // of the embedding's dropout
    uint64_t seed;
    double share;  // what the loss summed over the row's positions is multiplied by
};

// The item table with padding in row 0, and the norm of embeddings; or their gradients.
template <class F>
struct Embedding {
    F *table, *norm, *norm_bias;
};

inline void embedded_row(const float* table, const Row& row, int64_t p, const RowMask& mask, int64_t D, float* out) {
    const float* const of_item = table + row.items[p] * D;
    for (int64_t c = 0; c < D; c += LANES) {
        const Floats item = load(of_item + c);
        store(out + c, (row.added ? item + load(row.added + p * D + c) : item) * mask(c));
    }
}

// Adds each embedding's gradient to its item's row of the table's, and sets that of what was added to it.
inline void embedding_grad(const Shape& s, const Row& row, const Embedding<const float>& w, const float* mean,
                           const float* scale, const float* grad, const Embedding<float>& by) {
    const Dropout dropout(row.rate, row.seed);
    const std::vector<float> none(s.D);
    std::vector<float> raw(s.D), by_raw(s.D);
    for (int64_t p = 0; p < s.length; ++p) {
        const RowMask mask(dropout, p);
        embedded_row(w.table, row, p, mask, s.D, raw.data());
        normalise_row_grad(grad + p * s.D, none.data(), raw.data(), w.norm, mean[p], scale[p], s.D, by_raw.data(),
                           by.norm, by.norm_bias);
        float* const to = by.table + row.items[p] * s.D;
        for (int64_t c = 0; c < s.D; c += LANES) {
            const Floats by_sum = mask(c) * load(by_raw.data() + c);
            store(to + c, load(to + c) + by_sum);
            if (row.added) store(row.by_added + p * s.D + c, by_sum);
        }
    }
}

// Returns the loss summed over positions, those of the gaps' classes and of what follows targets too; adds the gradients of share times it to `by`
// and `by_blocks` [M], and to those that the row names.
// shapes [M] differ in their seeds alone; after [M] hold the states before and are left with those after.
template <class T>
double row_gradients(const Shape* shapes, const Row& row, const Embedding<const float>& w,
                     const Parameters<const float>* weights, const StateArrays* before, const StateArrays* after,
                     const Embedding<float>& by, const Parameters<float>* by_blocks) {
    static thread_local std::vector<float> xs, wide, norms, grads;
    static thread_local std::vector<T> narrow, hidden, by_unmapped, later, by_later;
    const Shape& s = shapes[0];
    const int64_t P = s.length, D = s.D, M = row.M;
    const int64_t narrow_size = P * (7 * D + s.F), wide_size = P * (D + 4);
    xs.resize((M + 1) * P * D);
    wide.resize(M * wide_size);
    norms.resize(2 * P);
    grads.resize(2 * P * D);
    narrow.resize(M * narrow_size);
    hidden.resize(2 * P * D);
    float *const mean = norms.data(), *const scale = mean + P;

    const Dropout dropout(row.rate, row.seed);
    std::vector<float> raw(D);
    for (int64_t p = 0; p < P; ++p) {
        embedded_row(w.table, row, p, RowMask(dropout, p), D, raw.data());
        normalise_row(raw.data(), w.norm, w.norm_bias, s.norm_eps, D, xs.data() + p * D, mean + p, scale + p);
    }
    const auto inputs = [&](int64_t m) {
        return Inputs{xs.data() + m * P * D, row.turns, row.segments, row.kept + m * P};
    };
    const auto kept = [&](int64_t m) {
        return Kept<T>(narrow.data() + m * narrow_size, wide.data() + m * wide_size, P, D);
    };
    for (int64_t m = 0; m < M; ++m)
        block_forward(shapes[m], inputs(m), weights[m], after[m], kept(m), xs.data() + (m + 1) * P * D);

    const float* const last = xs.data() + M * P * D;
    T* const by_hidden = hidden.data() + P * D;
    for (int64_t i = 0; i < P * D; i += LANES) store(hidden.data() + i, load(last + i));
    double loss = 0;
    const AfterNext& after_next = row.after;
    if (after_next.places) {
        later.resize(after_next.Q * D);
        by_later.resize(after_next.Q * D);
        for (int64_t q = 0; q < after_next.Q; ++q) {
            mapped(after_next.map, last + after_next.places[q] * D, D, raw.data());
            for (int64_t c = 0; c < D; c += LANES) store(later.data() + q * D + c, load(raw.data() + c));
        }
        Seen seen = row.seen;
        seen.start = after_next.start;
        seen.end = after_next.end;
        loss = softmax_loss(later.data(), w.table + D, after_next.targets, seen, row.item_bias, after_next.Q, row.N, D,
                            row.tile, by_later.data(), by.table + D, after_next.weight);
    }
    if (row.next.classes) {
        by_unmapped.resize(P * D);
        loss += softmax_loss(hidden.data(), row.next.when, row.next.classes, Seen{}, ItemBias{}, P, row.next.K, D,
                             row.tile, by_unmapped.data(), row.next.by_when);
        for (int64_t p = 0; p < P; ++p) {
            mapped(row.next.maps + row.next.classes[p] * D * D, last + p * D, D, raw.data());
            for (int64_t c = 0; c < D; c += LANES) store(hidden.data() + p * D + c, load(raw.data() + c));
        }
    }
    loss += softmax_loss(hidden.data(), w.table + D, row.targets, row.seen, row.item_bias, P, row.N, D, row.tile,
                         by_hidden, by.table + D);
    const float share = (float)row.share;
    for (int64_t i = 0; row.item_bias.bias && i < row.N; ++i) row.item_bias.by[i] *= share;
    for (int64_t b = 0; row.seen.count_bias && b < COUNTS; ++b) row.seen.by_count[b] *= share;
    for (int64_t b = 0; row.seen.count_bias && b < AGES; ++b) row.seen.by_age[b] *= share;
    for (int64_t i = 0; i < (row.N + 1) * D; i += LANES) store(by.table + i, share * load(by.table + i));

    float *grad = grads.data(), *next = grad + P * D;
    for (int64_t i = 0; i < P * D; i += LANES) store(grad + i, share * load(by_hidden + i));
    for (int64_t p = 0; row.next.classes && p < P; ++p) {
        const int64_t map = row.next.classes[p] * D * D;
        mapped_grad(row.next.maps + map, row.next.by_maps + map, last + p * D, D, raw.data(), grad + p * D);
        for (int64_t i = p * D; i < (p + 1) * D; i += LANES)
            store(grad + i, load(grad + i) + share * load(by_unmapped.data() + i));
    }
    for (int64_t q = 0; after_next.places && q < after_next.Q; ++q) {
        const int64_t at = after_next.places[q] * D;
        for (int64_t c = 0; c < D; c += LANES) store(next + c, share * load(by_later.data() + q * D + c));
        mapped_grad(after_next.map, after_next.by_map, last + at, D, raw.data(), next);
        for (int64_t c = 0; c < D; c += LANES) store(grad + at + c, load(grad + at + c) + load(next + c));
    }
    float* const by_when = row.next.by_when;
    for (int64_t i = 0; i < row.next.K * D; i += LANES) store(by_when + i, share * load(by_when + i));
    for (int64_t m = M - 1; m >= 0; --m) {
        block_backward(shapes[m], inputs(m), weights[m], before[m], kept(m), grad, by_blocks[m], next);
        std::swap(grad, next);
    }
    embedding_grad(s, row, w, mean, scale, grad, by);
    return loss;
}
