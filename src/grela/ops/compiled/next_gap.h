// A hidden state as that of its class of the gap to the next event: h + M h, M [D, D] the class's.
#pragma once

#include <cstdint>

#include "vectors.h"

struct NextGap {
    const int64_t* classes;    // [P]; null: hidden states are scored as they are
    int64_t K;                 // classes
    const float *when, *maps;  // [K, D], [K, D, D]
    float *by_when, *by_maps;  // their gradients, added to
};

inline void mapped(const NextGap& next, int64_t p, const float* h, int64_t D, float* out) {
    const float* map = next.maps + next.classes[p] * D * D;
    for (int64_t r = 0; r < D; ++r, map += D) {
        Floats total{};
        for (int64_t c = 0; c < D; c += LANES) total += load(map + c) * load(h + c);
        out[r] = h[r] + sum(total);
    }
}

// grad, by the mapped state, becomes that by h; `given` is room for D numbers.
inline void mapped_grad(const NextGap& next, int64_t p, const float* h, int64_t D, float* given, float* grad) {
    const float* map = next.maps + next.classes[p] * D * D;
    float* by_map = next.by_maps + next.classes[p] * D * D;
    for (int64_t c = 0; c < D; c += LANES) store(given + c, load(grad + c));
    for (int64_t r = 0; r < D; ++r, map += D, by_map += D) {
        const float g = given[r];
        for (int64_t c = 0; c < D; c += LANES) {
            store(grad + c, load(grad + c) + g * load(map + c));
            store(by_map + c, load(by_map + c) + g * load(h + c));
        }
    }
}
