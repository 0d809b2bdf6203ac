/* rope.h: rotary position embedding (Su et al. 2021): angles in double, rounded once, so that the
 * same position gives the same bits everywhere. */
#ifndef SLV_ENGINE_ROPE_H
#define SLV_ENGINE_ROPE_H

#include "engine/hparams.h"

/* Angle per position of each of n_rot / 2 pairs: base^(-2 i / n_rot), divided by factors[i] if
 * given, scaled linearly, by YaRN (Peng et al. 2023) or as Llama 3.1 does (its configuration:
 * between linear and not at all by how often a pair turns in the original context), as conf says.
 */
void slv_rope_frequencies(const struct slv_rope_conf *conf, uint32_t n_rot, const float *factors,
                          double *ret_freq);

/* cs[2 i] = mscale cos(pos * freq[i]), cs[2 i + 1] = mscale sin(...), for i < n_rot / 2. */
void slv_rope_angles(const double *freq, uint32_t n_rot, float mscale, uint32_t pos, float *ret_cs);

/* Turns x[n_rot] in place. kind: SLV_ROPE_NORM or SLV_ROPE_NEOX. */
void slv_rope_apply(enum slv_rope_kind kind, uint32_t n_rot, const float *cs, float *x);

#endif
