// Matrix products with float32 sums, of float32 or bfloat16 factors.
//
// Both kinds are handled in words of 32 bits: one float, or two bfloat16 that are neighbours along the summed axis.
// A word of the left factor meets sixteen words of the right one in one instruction. A right factor is packed, row
// by row of words: packed[s][c] holds M[s][c], or M[2 s][c] and M[2 s + 1][c].
#pragma once

#include <algorithm>
#include <vector>

#include "vectors.h"

template <class T>
constexpr int64_t PER_WORD = sizeof(uint32_t) / sizeof(T);

// Words of the summed axis for `length` elements; an odd last element is paired with zero.
template <class T>
constexpr int64_t words(int64_t length) {
    return (length + PER_WORD<T> - 1) / PER_WORD<T>;
}

INLINE Words load(const uint32_t* from) {
    Words x;
    std::memcpy(&x, from, sizeof x);
    return x;
}

INLINE void store(uint32_t* to, Words x) { std::memcpy(to, &x, sizeof x); }

template <class T>
INLINE Floats multiply_add(Floats sums, Words left, Words right);

template <>
INLINE Floats multiply_add<float>(Floats sums, Words left, Words right) {
    return sums + (Floats)left * (Floats)right;
}

template <>
INLINE Floats multiply_add<bfloat16>(Floats sums, Words left, Words right) {
#ifdef __AVX512BF16__
    return (Floats)_mm512_dpbf16_ps((__m512)sums, (__m512bh)right, (__m512bh)left);
#else
    const Floats first = (Floats)(left << 16) * (Floats)(right << 16);
    return sums + first + (Floats)(left & 0xffff0000u) * (Floats)(right & 0xffff0000u);
#endif
}

// A left factor: word s of row m lies at words[m * row + s * step].
struct Left {
    const uint32_t* words;
    int64_t row, step;
};

// M rows by 16 B columns of the product, from `row` and `column` on.
template <class T, int M, int B>
INLINE void tile_sums(int64_t steps, Left left, const uint32_t* right, int64_t right_step, int64_t row, int64_t column,
                      Floats (&sums)[M][B]) {
    const uint32_t* l = left.words + row * left.row;
    const uint32_t* r = right + column;
    for (int64_t s = 0; s < steps; ++s, l += left.step, r += right_step) {
        Words across[B];
#pragma GCC unroll 4
        for (int b = 0; b < B; ++b) across[b] = load(r + b * LANES);
#pragma GCC unroll 6
        for (int m = 0; m < M; ++m) {
            const Words word = l[m * left.row] + Words{};
#pragma GCC unroll 4
            for (int b = 0; b < B; ++b) sums[m][b] = multiply_add<T>(sums[m][b], word, across[b]);
        }
    }
}

// A tile whose sums are handed straight to emit(row, column, sixteen sums).
template <class T, int M, int B, class Emit>
INLINE void product_tile(int64_t steps, Left left, const uint32_t* right, int64_t right_step, int64_t row,
                         int64_t column, Emit&& emit) {
    Floats sums[M][B] = {};
    tile_sums<T, M, B>(steps, left, right, right_step, row, column, sums);
#pragma GCC unroll 6
    for (int m = 0; m < M; ++m)
#pragma GCC unroll 4
        for (int b = 0; b < B; ++b) emit(row + m, column + b * LANES, sums[m][b]);
}

// A tile at an edge, by way of memory, so that it is compiled once and not for every emit.
constexpr int TILE_ROWS = 6, TILE_BLOCKS = 4;  // 24 of 32 registers hold sums

struct Edge {
    float sums[TILE_ROWS][TILE_BLOCKS * LANES];
};

template <class T, int M, int B>
__attribute__((noinline)) void edge_tile(int64_t steps, Left left, const uint32_t* right, int64_t right_step,
                                         int64_t row, int64_t column, Edge& edge) {
    Floats sums[M][B] = {};
    tile_sums<T, M, B>(steps, left, right, right_step, row, column, sums);
    for (int m = 0; m < M; ++m)
        for (int b = 0; b < B; ++b) store(edge.sums[m] + b * LANES, sums[m][b]);
}

template <class T, int B>
inline int edge_rows(int64_t rows, int64_t steps, Left left, const uint32_t* right, int64_t right_step, int64_t row,
                     int64_t column, Edge& edge) {
    if (rows >= 6) return edge_tile<T, 6, B>(steps, left, right, right_step, row, column, edge), 6;
    if (rows >= 2) return edge_tile<T, 2, B>(steps, left, right, right_step, row, column, edge), 2;
    return edge_tile<T, 1, B>(steps, left, right, right_step, row, column, edge), 1;
}

// left [rows, steps words] times packed right [steps words, columns]; columns are a multiple of 16.
template <class T, class Emit>
inline void product(int64_t rows, int64_t columns, int64_t steps, Left left, const uint32_t* right,
                    int64_t right_step, Emit&& emit) {
    for (int64_t column = 0; column < columns;) {
        const int64_t blocks = std::min<int64_t>(TILE_BLOCKS, (columns - column) / LANES);
        int64_t row = 0;
        if (blocks == TILE_BLOCKS) {
            for (; row + 6 <= rows; row += 6)
                product_tile<T, 6, TILE_BLOCKS>(steps, left, right, right_step, row, column, emit);
            for (; row + 4 <= rows; row += 4)
                product_tile<T, 4, TILE_BLOCKS>(steps, left, right, right_step, row, column, emit);
        }
        const int wide = blocks == 3 ? 2 : (int)blocks;
        while (row < rows) {
            Edge edge;
            const int done =
                wide == 4   ? edge_rows<T, 4>(rows - row, steps, left, right, right_step, row, column, edge)
                : wide == 2 ? edge_rows<T, 2>(rows - row, steps, left, right, right_step, row, column, edge)
                            : edge_rows<T, 1>(rows - row, steps, left, right, right_step, row, column, edge);
            for (int m = 0; m < done; ++m)
                for (int b = 0; b < wide; ++b)
                    emit(row + m, column + b * LANES, load(edge.sums[m] + b * LANES));
            row += done;
        }
        column += wide * LANES;
    }
}

// Rows of a matrix in memory as a left factor summed along its columns.
template <class T>
inline Left rows_of(const T* matrix, int64_t stride) {
    return {reinterpret_cast<const uint32_t*>(matrix), stride / PER_WORD<T>, 1};
}

// The word(s) of sixteen columns of rows s * PER_WORD ...: `second` is null where there is no second row.
INLINE Words interleaved(const float* first, const float*) { return (Words)load(first); }

INLINE Words interleaved(const bfloat16* first, const bfloat16* second) {
    Halves low, high{};
    std::memcpy(&low, first, sizeof low);
    if (second) std::memcpy(&high, second, sizeof high);
    return __builtin_convertvector(low, Words) | (__builtin_convertvector(high, Words) << 16);
}

// M [rows, columns], rows `stride` apart, packed as a factor that is summed along its rows.
template <class T>
inline void pack_rows(const T* matrix, int64_t stride, int64_t rows, int64_t columns, uint32_t* packed) {
    for (int64_t s = 0; s < words<T>(rows); ++s) {
        const T* first = matrix + s * PER_WORD<T> * stride;
        const T* second = (s + 1) * PER_WORD<T> <= rows ? first + stride : nullptr;
        for (int64_t c = 0; c < columns; c += LANES)
            store(packed + s * columns + c, interleaved(first + c, second ? second + c : nullptr));
    }
}

// W [rows, columns] float32 packed for x W^T, into columns `at` .. of a packed matrix `width` wide. Rows past the
// last, up to a multiple of 16, are zero.
template <class T>
inline void pack_transposed(const float* W, int64_t rows, int64_t columns, uint32_t* packed, int64_t width,
                            int64_t at) {
    T narrow[LANES][LANES];
    uint32_t square[LANES][LANES];
    constexpr int64_t steps = LANES / PER_WORD<T>;
    for (int64_t r = 0; r < rows; r += LANES)
        for (int64_t c = 0; c < columns; c += LANES) {
            for (int64_t i = 0; i < LANES; ++i)
                store(narrow[i], r + i < rows ? load(W + (r + i) * columns + c) : Floats{});
            for (int64_t i = 0; i < LANES; ++i) {
                uint32_t row[LANES];
                std::memcpy(row, narrow[i], sizeof(T) * LANES);
                for (int64_t s = 0; s < steps; ++s) square[s][i] = row[s];
            }
            for (int64_t s = 0; s < steps; ++s)
                std::memcpy(packed + (c / PER_WORD<T> + s) * width + at + r, square[s], sizeof square[s]);
        }
}

// W [rows, columns] float32 packed for x W.
template <class T>
inline void pack_weight(const float* W, int64_t rows, int64_t columns, uint32_t* packed) {
    std::vector<T> narrow(rows * columns);
    for (int64_t i = 0; i < rows * columns; i += LANES) store(narrow.data() + i, load(W + i));
    pack_rows(narrow.data(), columns, rows, columns, packed);
}

// C [columns of A, columns of B] += A^T B of packed A and B with `steps` words along their rows.
template <class T>
inline void add_product(int64_t steps, const uint32_t* A, int64_t a_columns, const uint32_t* B, int64_t b_columns,
                        float* C) {
    product<T>(a_columns, b_columns, steps, Left{A, 1, a_columns}, B, b_columns,
               [=](int64_t row, int64_t column, Floats sums) {
                   float* at = C + row * b_columns + column;
                   store(at, load(at) + sums);
               });
}
