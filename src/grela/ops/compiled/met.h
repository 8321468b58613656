// The table of items met of grela.serving.met: linear probing, at most half full.
#pragma once

#include <cstdint>

#include "seen.h"

constexpr int32_t EMPTY = 0;

struct MetPlace {
    int32_t item, count, last;
};

// Where the item is, or would be, in a table of 2^k places.
inline MetPlace* met_place(MetPlace* table, int64_t places, int32_t item) {
    uint32_t at = ((uint32_t)item * 2654435769u) >> (32 - __builtin_ctzll(places));
    while (table[at].item != item && table[at].item != EMPTY) at = (at + 1) & (uint32_t)(places - 1);
    return table + at;
}

// Notes events at places first, first + 1, ...; returns how many, fewer than n where the table has to grow first.
inline int64_t met_note_events(MetPlace* table, int64_t places, int64_t* used, const int32_t* items, int64_t n, int64_t first) {
    for (int64_t e = 0; e < n; ++e) {
        MetPlace* const at = met_place(table, places, items[e]);
        if (at->item == EMPTY) {
            if (2 * (*used + 1) > places) return e;
            at->item = items[e];
            ++*used;
        }
        ++at->count;
        at->last = (int32_t)(first + e);
    }
    return n;
}
