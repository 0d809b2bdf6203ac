/* lora.h: what adapters (adapter.h) add to the operators of a step.
 *
 * Tokens that follow each other in the step and have the same adapters are a run; long ones are
 * cut, so that there is work for all threads. An operator with adapters has two stages: its own
 * product beside all u = A x of all runs, whose units are tiles of a run's A, so that nobody waits
 * for a chain that takes long; then B u is added to the rows that the product has made.
 *
 *     u: [n_batch][ld] floats; a token's row: first adapter's u | second's | ...
 *
 * A runner has no room for u until a session with adapters asks for it, outside of a step.
 * Threads: within a step any, as the stages say; else one. */
#ifndef SLV_ENGINE_LORA_H
#define SLV_ENGINE_LORA_H

#include "engine/adapter.h"
#include "engine/step.h"

/* Tokens, or rows of logits, [from, from + n) with one set. */
struct slv_lora_run {
    uint32_t from, n;
    const struct slv_adapter_set *set;
};

/* Runs of the tokens of a step, or of its rows of logits. */
struct slv_lora_runs {
    struct slv_lora_run *v; /* [n_batch] */
    size_t n;
};

struct slv_lora {
    float *u;
    size_t ld; /* floats a row; 0: there is no room yet */
    struct slv_lora_runs tokens, logits;
};

/* Bytes that slv_lora_reserve takes; 0 if that overflows. */
size_t slv_lora_bytes(uint32_t n_batch, size_t width);

/* Room for steps of n_batch tokens with sets of that width, from now on. SLV_E_NOMEM, and nothing
 * has changed. */
int slv_lora_reserve(struct slv_lora *l, uint32_t n_batch, size_t width) SLV_MUST_USE;
void slv_lora_fini(struct slv_lora *l);

/* Finds the runs of a step of n tokens, n_out of which have logits: row i of those is token
 * out_row[i]. False: there is no room for one's adapters. */
bool slv_lora_begin(struct slv_lora *l, const struct slv_step_token *tok, uint32_t n,
                    const uint32_t *out_row, uint32_t n_out);

/* One operator's share of a step. */
struct slv_lora_work {
    const struct slv_lora_runs *runs; /* of the rows that it reads */
    const struct slv_kernels *kern;
    size_t op; /* its number in the plan */
    float *u;
    size_t ldu;
};

/* Units of u = A x; 0: nothing is added to this operator. */
size_t slv_lora_units(const struct slv_lora_work *w);

/* Does units [from, to) of them. x: [tokens or rows of logits][ldx], what the operator reads. */
void slv_lora_run(const struct slv_lora_work *w, const float *x, size_t ldx, size_t from,
                  size_t to);

/* Adds what belongs to tiles [t0, t1) of part `part` to y: [tokens or rows of logits][ldy], when
 * all u are there. */
void slv_lora_add(const struct slv_lora_work *w, size_t part, size_t t0, size_t t1, float *y,
                  size_t ldy);

/* Adds to the embedding x[n_embd] of a token. */
void slv_lora_embed(const struct slv_adapter_set *s, const struct slv_kernels *kern, int32_t id,
                    float *x);

#endif
