// The library's C interface: every kernel for float32 (_f32) and bfloat16 (_bf16) activations. Sizes and addresses
// are the caller's duty; arrays are contiguous.
#include "block_last.h"
#include "row.h"
#include "step.h"
#include "step_scores.h"

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

// The first event whose item is not of 1..N, when nothing is done; else -1.
extern "C" int64_t step_users(const StepModel* model, const StepLayer* layers, const Coming* coming) {
    const int64_t P = coming->users ? coming->end[coming->users - 1] : 0;
    for (int64_t e = 0; e < P; ++e)
        if (coming->items[e] < 1 || coming->items[e] > model->N) return e;
    step_users(*model, layers, *coming);
    return -1;
}

// One event of one user, of an item of 1..N, noted in the table of which `used` places are taken. Returns how many are then;
// or -1, and nothing is done, if the table has to grow first.
extern "C" int64_t step_one(const StepModel* model, const StepLayer* layers, float* state, int64_t events, int64_t item,
                            int64_t gap, MetPlace* table, int64_t places, int64_t used) {
    const int64_t end = 1;
    const int32_t items = (int32_t)item;
    const uint8_t gaps = (uint8_t)gap;
    if (!met_note_events(table, places, &used, &items, 1, events)) return -1;
    step_users(*model, layers, Coming{1, &state, &end, &events, &items, &gaps});
    return used;
}

// used [1]; see met.h.
extern "C" int64_t met_note(MetPlace* table, int64_t places, int64_t* used, const int32_t* items, int64_t n,
                            int64_t first) {
    return met_note_events(table, places, used, items, n, first);
}

// `met_note` of many users; tables, places, used, noted [users], end and events as in Coming.
extern "C" void met_note_users(int64_t users, MetPlace* const* tables, const int64_t* places, int64_t* used,
                               const int64_t* end, const int64_t* events, const int32_t* items, int64_t* noted) {
    for (int64_t u = 0, begin = 0; u < users; begin = end[u], ++u)
        noted[u] = met_note_events(tables[u], places[u], used + u, items + begin, end[u] - begin, events[u]);
}

extern "C" void step_scores(const StepModel* model, const Scored* users, int64_t count, float* out) {
    step_scores(*model, users, count, out);
}

extern "C" void step_top(const StepModel* model, const Scored* users, int64_t count, const uint8_t* allowed,
                         int64_t filter_seen, int64_t k, int32_t* items, float* scores, int64_t* counts) {
    step_top(*model, users, count, allowed, filter_seen, k, items, scores, counts);
}
