// The library's C interface: every kernel for float32 (_f32) and bfloat16 (_bf16) activations. Sizes and addresses
// are the caller's duty; arrays are contiguous.
#include "block_last.h"
#include "row.h"

#define FOR_BOTH(DEFINE) DEFINE(f32, float) DEFINE(bf16, bfloat16)

#define DEFINE(NAME, T)                                                                                               \
    extern "C" void block_forward_##NAME(const Shape* shape, const Inputs* inputs,                                    \
                                         const Parameters<const float>* weights, const StateArrays* state, T* narrow, \
                                         float* wide, float* result) {                                                \
        block_forward(*shape, *inputs, *weights, *state,                                                              \
                      Kept<T>(narrow, wide, shape->B * shape->length, shape->D), result);                   \
    }                                                                                                                 \
    extern "C" void block_backward_##NAME(const Shape* shape, const Inputs* inputs,                                   \
                                          const Parameters<const float>* weights, const StateArrays* before,          \
                                          T* narrow, float* wide, const float* grad, const Parameters<float>* by,     \
                                          float* by_x) {                                                              \
        block_backward(*shape, *inputs, *weights, *before,                                                            \
                       Kept<T>(narrow, wide, shape->B * shape->length, shape->D), grad, *by, by_x);         \
    }                                                                                                                 \
    extern "C" void block_last_forward_##NAME(const Shape* shape, const LastInputs* inputs,                           \
                                              const Parameters<const float>* weights, T* narrow, float* wide,         \
                                              float* result) {                                                        \
        block_last_forward(*shape, *inputs, *weights,                                                                 \
                           KeptLast<T>(narrow, wide, shape->length, shape->B, shape->D), result);                     \
    }                                                                                                                 \
    extern "C" void block_last_backward_##NAME(const Shape* shape, const LastInputs* inputs,                          \
                                               const Parameters<const float>* weights, T* narrow, float* wide,        \
                                               const float* grad, const Parameters<float>* by, float* by_x) {         \
        block_last_backward(*shape, *inputs, *weights,                                                                \
                            KeptLast<T>(narrow, wide, shape->length, shape->B, shape->D), grad, *by, by_x);           \
    }                                                                                                                 \
    extern "C" double softmax_loss_##NAME(const T* hidden, const float* weight, const int64_t* targets,               \
                                          const Seen* seen, const ItemBias* items, int64_t P, int64_t N, int64_t D,   \
                                          int64_t tile, T* grad_hidden, float* grad_weight) {                         \
        return softmax_loss(hidden, weight, targets, *seen, *items, P, N, D, tile, grad_hidden, grad_weight);         \
    }                                                                                                                 \
    extern "C" double row_gradients_##NAME(                                                                           \
        const Shape* shapes, const Row* row, const Embedding<const float>* embedding,                                 \
        const Parameters<const float>* weights, const StateArrays* before, const StateArrays* after,                  \
        const Embedding<float>* by_embedding, const Parameters<float>* by_blocks) {                                   \
        return row_gradients<T>(shapes, *row, *embedding, weights, before, after, *by_embedding, by_blocks);          \
    }

FOR_BOTH(DEFINE)

extern "C" void dropout_mask(double rate, uint64_t seed, int64_t P, int64_t C, float* out) {
    dropout_mask(Dropout(rate, seed), P, C, out);
}
