// Sixteen floats at a time, in the compiler's own vectors, so that one text serves every instruction set.
#pragma once

#include <cstdint>
#include <cstring>

#ifdef __AVX512F__
#include <immintrin.h>
#endif

constexpr int LANES = 16;

// For small functions inside hot loops, which a compiler would otherwise call once they are used often.
#define INLINE __attribute__((always_inline)) inline

typedef float Floats __attribute__((vector_size(64)));
typedef int32_t Ints __attribute__((vector_size(64)));
typedef uint32_t Words __attribute__((vector_size(64)));
typedef uint16_t Halves __attribute__((vector_size(32)));

struct bfloat16 {
    uint16_t bits;
};

INLINE Floats splat(float x) { return Floats{} + x; }

INLINE Floats load(const float* from) {
    Floats x;
    std::memcpy(&x, from, sizeof x);
    return x;
}

INLINE void store(float* to, Floats x) { std::memcpy(to, &x, sizeof x); }

INLINE Floats load(const bfloat16* from) {
    Halves bits;
    std::memcpy(&bits, from, sizeof bits);
    return (Floats)(__builtin_convertvector(bits, Words) << 16);
}

INLINE float scalar(float x) { return x; }

INLINE float scalar(bfloat16 x) {
    uint16_t bits;
    std::memcpy(&bits, &x, sizeof bits);
    const uint32_t word = (uint32_t)bits << 16;
    float wide;
    std::memcpy(&wide, &word, sizeof wide);
    return wide;
}

// Rounds to the nearest, ties to even, as PyTorch does.
INLINE void store(bfloat16* to, Floats x) {
#ifdef __AVX512BF16__
    const __m256bh bits = _mm512_cvtneps_pbh((__m512)x);
#else
    const Words word = (Words)x;
    const Words rounded = (word + 0x7fffu + ((word >> 16) & 1u)) >> 16;
    const Halves bits = __builtin_convertvector(rounded, Halves);
#endif
    std::memcpy(to, &bits, sizeof bits);
}

INLINE float sum(Floats x) {
    x += __builtin_shufflevector(x, x, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7);
    x += __builtin_shufflevector(x, x, 4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11);
    x += __builtin_shufflevector(x, x, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13);
    x += __builtin_shufflevector(x, x, 1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14);
    return x[0];
}

INLINE Floats larger(Floats a, Floats b) { return a > b ? a : b; }

INLINE Floats smaller(Floats a, Floats b) { return a < b ? a : b; }

INLINE Floats magnitude(Floats x) { return (Floats)((Words)x & 0x7fffffffu); }

// e^x to about 1e-7 of its value; 0 far below zero, -inf included. x may be 88 at most. A NaN stays one.
// x = n ln 2 + r; e^r by Cephes' polynomial; 2^n by adding n to the exponent.
INLINE Floats exponential(Floats x) {
    const Floats least = splat(-87.0f), inside = least > x ? least : x;
#ifdef __AVX512F__
    const Floats n = (Floats)_mm512_roundscale_ps((__m512)(inside * 1.44269504f), 0);
#else
    const Floats magic = splat(12582912.0f);  // 1.5 * 2^23: adding it rounds to an integer in the low bits
    const Floats shifted = inside * 1.44269504f + magic;
    const Floats n = shifted - magic;
#endif
    const Floats r = inside - n * 0.693359375f + n * 2.12194440e-4f;
    Floats p = splat(1.9875691500e-4f);
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
#ifdef __AVX512F__
    return (Floats)_mm512_maskz_scalef_ps(_mm512_cmp_ps_mask((__m512)x, (__m512)least, _CMP_NLT_UQ), (__m512)p,
                                          (__m512)n);
#else
    const Floats result = (Floats)((Words)p + ((Words)shifted << 23));
    return x < least ? Floats{} : result;
#endif
}

// 1 / x of a finite x, to about 1e-7 of its value.
INLINE Floats reciprocal(Floats x) {
#ifdef __AVX512F__
    const Floats guess = (Floats)_mm512_rcp14_ps((__m512)x);  // right to 14 bits; Newton's step doubles them
    return guess * (2.0f - x * guess);
#else
    return 1.0f / x;
#endif
}

INLINE Floats sigmoid(Floats x) { return reciprocal(1.0f + exponential(smaller(-x, splat(88.0f)))); }

// silu(x) = x sigmoid(x), and its derivative given s = sigmoid(x).
INLINE Floats silu_slope(Floats x, Floats s) { return s * (1.0f + x * (1.0f - s)); }
