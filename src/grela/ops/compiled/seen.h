// What a position's user has met before it: which items, how often, how many events ago.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

// Position p has met the items history[start[p]:end[p]], counted from 1. Their logits are raised by a bias; without
// one they are left out, but its target.
struct Seen {
    const int32_t* history;  // null: met items are as others
    const int64_t *start, *end;
    const float *count_bias, *age_bias;  // [COUNTS], [AGES]: of buckets of how often and how many events ago; or null
    float *by_count, *by_age;            // their gradients, added to
};

constexpr int64_t COUNTS = 16, AGES = 48;

// floor(2 log2 x), or the last bucket.
inline int half_octave(uint64_t x, int64_t buckets) {
    const int octave = 63 - __builtin_clzll(x);
    return (int)std::min<int64_t>(2 * octave + (x * x >= (uint64_t)2 << 2 * octave), buckets - 1);
}

// The items that a position has met, once each.
class Met {
  public:
    struct Item {
        int32_t column, count, age;  // 0..N-1, and buckets
    };

    explicit Met(int64_t N) : met_at(N + 1, -1), counts(N + 1) {}

    const std::vector<Item>& before(const Seen& seen, int64_t p) {
        items.clear();
        for (int64_t e = seen.end[p] - 1; e >= seen.start[p]; --e) {
            const int32_t item = seen.history[e];
            if (met_at[item] != p) {
                met_at[item] = p;
                counts[item] = 0;
                items.push_back({item - 1, 0, half_octave(seen.end[p] - e, AGES)});
            }
            ++counts[item];
        }
        for (Item& item : items) item.count = half_octave(counts[item.column + 1], COUNTS);
        return items;
    }

  private:
    std::vector<int64_t> met_at, counts;
    std::vector<Item> items;
};
