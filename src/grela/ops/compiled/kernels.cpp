// The library's C interface: every kernel for float32 (_f32) and bfloat16 (_bf16) activations. Sizes and pointers
// are checked by the caller; arrays are contiguous unless said otherwise.
#include "feed_forward.h"
#include "mix.h"
#include "norm.h"
#include "softmax.h"

#define FOR_BOTH(DEFINE) DEFINE(f32, float) DEFINE(bf16, bfloat16)

#define DEFINE(NAME, T)                                                                                               \
    extern "C" void normalise_##NAME(const float* x, const float* weight, const float* bias, float eps, int64_t P,    \
                                     int64_t D, T* out, float* mean, float* scale) {                                  \
        normalise(x, weight, bias, eps, P, D, out, mean, scale);                                                      \
    }                                                                                                                 \
    extern "C" void normalise_grad_##NAME(const T* grad_out, const float* grad_residual, const float* x,              \
                                          const float* weight, const float* mean, const float* scale, int64_t P,      \
                                          int64_t D, float* grad_x, float* grad_weight, float* grad_bias) {           \
        normalise_grad(grad_out, grad_residual, x, weight, mean, scale, P, D, grad_x, grad_weight, grad_bias);        \
    }                                                                                                                 \
    extern "C" void add_normalise_##NAME(const float* x, const T* y, const float* y_bias, const float* kept,          \
                                         const float* weight, const float* bias, float eps, int64_t P, int64_t D,     \
                                         float* after, T* out, float* mean, float* scale) {                           \
        add_normalise(x, y, y_bias, kept, weight, bias, eps, P, D, after, out, mean, scale);                          \
    }                                                                                                                 \
    extern "C" void add_normalise_grad_##NAME(                                                                        \
        const T* grad_out, const float* grad_after, const float* after, const float* kept, const float* weight,       \
        const float* mean, const float* scale, int64_t P, int64_t D, float* grad_x, T* grad_y, float* grad_y_bias,    \
        float* grad_weight, float* grad_bias) {                                                                       \
        add_normalise_grad(grad_out, grad_after, after, kept, weight, mean, scale, P, D, grad_x, grad_y, grad_y_bias, \
                           grad_weight, grad_bias);                                                                   \
    }                                                                                                                 \
    extern "C" void gelu_dropout_##NAME(const T* x, const float* bias, double rate, uint64_t seed, int64_t P,         \
                                        int64_t C, T* out) {                                                          \
        gelu_dropout(x, bias, Dropout(rate, seed), P, C, out);                                                        \
    }                                                                                                                 \
    extern "C" void gelu_dropout_grad_##NAME(T* grad, const T* x, const float* bias, double rate, uint64_t seed,      \
                                             int64_t P, int64_t C, T* out, float* grad_bias) {                        \
        gelu_dropout_grad(grad, x, bias, Dropout(rate, seed), P, C, out, grad_bias);                                  \
    }                                                                                                                 \
    extern "C" void add_dropout_##NAME(const float* x, const T* y, const float* bias, double rate, uint64_t seed,     \
                                       int64_t P, int64_t C, float* out) {                                            \
        add_dropout(x, y, bias, Dropout(rate, seed), P, C, out);                                                      \
    }                                                                                                                 \
    extern "C" void add_dropout_grad_##NAME(const float* grad, double rate, uint64_t seed, int64_t P, int64_t C,      \
                                            T* grad_y, float* grad_bias) {                                            \
        add_dropout_grad(grad, Dropout(rate, seed), P, C, grad_y, grad_bias);                                         \
    }                                                                                                                 \
    extern "C" void mix_##NAME(const T* vg, const T* qk, const float* turns, const float* taps,                       \
                               const float* taps_bias, const int64_t* segments, int64_t B, int64_t length, int64_t D, \
                               int64_t H, int64_t W, float eps, float* S, float* z, float* tail, T* u) {              \
        mix(Layer<T>{D, H, W, eps, vg, qk, turns, taps, taps_bias, {}}, segments, B, length, S, z, tail, u);          \
    }                                                                                                                 \
    extern "C" void mix_grad_##NAME(const T* vg, const T* qk, const float* turns, const float* taps,                  \
                                    const float* taps_bias, const int64_t* segments, int64_t B, int64_t length,       \
                                    int64_t D, int64_t H, int64_t W, float eps, const float* S, const float* z,       \
                                    const float* tail, const T* grad_u, T* grad_vg, T* grad_qk, float* grad_taps,     \
                                    float* grad_taps_bias) {                                                          \
        mix_grad(Layer<T>{D, H, W, eps, vg, qk, turns, taps, taps_bias, {}}, segments, B, length, S, z, tail, grad_u, \
                 grad_vg, grad_qk, grad_taps, grad_taps_bias);                                                        \
    }                                                                                                                 \
    extern "C" double softmax_grad_##NAME(T* logits, const int64_t* targets, int64_t P, int64_t N) {                  \
        return softmax_grad(logits, targets, P, N);                                                                   \
    }

FOR_BOTH(DEFINE)

extern "C" void dropout_mask(double rate, uint64_t seed, int64_t P, int64_t C, float* out) {
    dropout_mask(Dropout(rate, seed), P, C, out);
}
