/* levels.h: the instruction-set levels that the kernels' checks run, and what of them was covered.
 *
 * Every level of this architecture that the build knows is a subject: natively where the machine
 * has it, and on x86 over an emulation too (emulated/immintrin.h) from AVX-VNNI on, whatever the
 * machine has. A level that is neither is named, so that a test can say that it was left out.
 */
#ifndef SLV_TEST_LEVELS_H
#define SLV_TEST_LEVELS_H

#include "kernel/kernels.h"

#define SUBJECTS_MAX (2 * SLV_CPU_LEVELS)
#define SHAPES_MAX 32

struct subject {
    char name[40]; /* "avx2", "avx512 (emulated)" */
    enum slv_cpu_level level;
    bool emulated;
    const char *missing;              /* why it cannot run, or NULL */
    struct slv_kernels k;             /* where it can */
    uint32_t covered[SLV_FORM_COUNT]; /* bit s: product of this form, of shape s, was compared */
    bool ok;                          /* of the check at hand */
};

/* Fills ret[SUBJECTS_MAX] and returns how many there are. */
size_t subjects_init(struct subject *ret);

/* Whether they are all the levels that the build knows for this architecture. */
bool subjects_complete(void);

/* Whether all that an emulated subject did until now is allowed and left no state behind, tiles of
 * AMX that were not released. */
bool emulation_sound(const struct subject *s);

/* Whether a subject used what its level is about: AMX must have multiplied tiles, and its own trial
 * must go well. */
bool emulation_used(const struct subject *s);

/* How many pairs of form and shape a subject covered; *ret_whole: all of them, each by a function
 * that is not the definition's own. */
size_t subject_coverage(const struct subject *s, const struct slv_kernels *definition,
                        size_t n_shapes, bool *ret_whole);

#endif
