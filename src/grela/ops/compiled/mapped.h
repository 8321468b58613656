// Hidden states by a linear map beside themselves, h + M h: M [D, D] that of the class of the gap to the next event, or
// that by which the item after the next is foretold.
#pragma once

#include <cstdint>

#include "seen.h"
#include "vectors.h"

struct NextGap {
    const int64_t* classes;    // [P]; null: hidden states are scored as they are
    int64_t K;                 // classes
    const float *when, *maps;  // [K, D], [K, D, D]
    float *by_when, *by_maps;  // their gradients, added to
};

// What follows the targets of Q of a row's positions.
struct AfterNext {
    const int64_t *places, *targets;  // [Q]: of the positions; 0..N-1; null: nothing is foretold
    int64_t Q;
    const int64_t *start, *end;  // [Q]: as in Seen
    const float* map;            // [D, D]
    float* by_map;               // its gradient, added to
    double weight;               // what its loss is multiplied by
};

inline void mapped(const float* map, const float* h, int64_t D, float* out) {
    for (int64_t r = 0; r < D; ++r, map += D) {
        Floats total{};
        for (int64_t c = 0; c < D; c += LANES) total += load(map + c) * load(h + c);
        out[r] = h[r] + sum(total);
    }
}

// grad, by the mapped state, becomes that by h; `given` is room for D numbers.
inline void mapped_grad(const float* map, float* by_map, const float* h, int64_t D, float* given, float* grad) {
    for (int64_t c = 0; c < D; c += LANES) store(given + c, load(grad + c));
    for (int64_t r = 0; r < D; ++r, map += D, by_map += D) {
        const float g = given[r];
        for (int64_t c = 0; c < D; c += LANES) {
            store(grad + c, load(grad + c) + g * load(map + c));
            store(by_map + c, load(by_map + c) + g * load(h + c));
        }
    }
}
