/* bench.h: what the parts of the bench command share: its options, the sessions that are measured,
 * and what this machine could do at most. */
#ifndef SLV_CLI_BENCH_H
#define SLV_CLI_BENCH_H

#include "base/energy.h"
#include "base/json.h"
#include "cli/cmd.h"
#include "cli/engine.h"
#include "engine/model.h"
#include "engine/profile.h"
#include "engine/step.h"

#define SLV_BENCH_BATCH_MAX 64
#define SLV_BENCH_REPEAT_MAX 100

struct slv_bench_opts {
    int64_t prompt, gen, repeat, batch_size;
    struct slv_opt_ints threads, depth, batch;
    int kv; /* enum slv_kv_kind */
    bool membw, raw, ops, tune, no_tuned;
    uint64_t membw_size;
    const char *speculate, *draft, *trace;
    struct slv_cli_model_opts model;
};

/* One run of the command. */
struct slv_bench {
    const struct slv_bench_opts *o;
    const struct slv_cli *cli;
    struct slv_model *m;
    double load_ms;
    /* Where -t does not say: threads, and those of steps of few tokens. */
    size_t threads, threads_few;
    int64_t batch_size; /* tokens of a prompt in one step */
    bool tuned;         /* some of these are what --tune had found */
    struct slv_buf out; /* the JSON document */
    struct slv_json j;
    struct slv_buf path;
    struct {
        size_t threads;
        double gbps;
    } bus[SLV_OPT_LIST_MAX]; /* what --membw found */
    size_t n_bus;
    uint64_t rnd;
    struct slv_energy energy;
    bool has_energy; /* the machine tells what it uses, up to now */
};

/* --- sessions --------------------------------------------------------------------------------- */

/* One session, without what a library's has besides: a team, a runner and a cache. */
struct slv_bench_rig {
    struct slv_team *team;
    struct slv_runner *runner;
    struct slv_kv kv;
    struct slv_step_token *tok;
};

/* Of ctx positions. SLV_E_NOMEM. */
int slv_bench_rig_open(const struct slv_bench *b, size_t threads, uint32_t ctx,
                       struct slv_bench_rig *ret, struct slv_err *err) SLV_MUST_USE;
void slv_bench_rig_close(struct slv_bench_rig *r);

/* Reads n random tokens in steps of --batch-size, the last with logits.
 * SLV_E_CANCELLED: interrupted. */
int slv_bench_read(struct slv_bench *b, struct slv_bench_rig *r, int64_t n,
                   struct slv_err *err) SLV_MUST_USE;
/* Goes back to `depth` tokens; where windows have lost what is seen there, they are read again. */
int slv_bench_rewind(struct slv_bench *b, struct slv_bench_rig *r, int64_t depth,
                     struct slv_err *err) SLV_MUST_USE;
/* n steps of one token, with logits. */
int slv_bench_draw(struct slv_bench *b, struct slv_bench_rig *r, int64_t n,
                   struct slv_err *err) SLV_MUST_USE;

/* SLV_E_USAGE unless the model has room for n tokens after `depth`. */
int slv_bench_check_room(const struct slv_bench *b, int64_t depth, int64_t n,
                         struct slv_err *err) SLV_MUST_USE;

/* How many of so many threads draw tokens for so many sessions. */
size_t slv_bench_drawing(const struct slv_bench *b, size_t threads, size_t sessions);

/* Says so where other programs are at work: for what is told apart by small differences. */
void slv_bench_warn_busy(void);

/* A token to feed: which one makes no difference to speed. */
int32_t slv_bench_token(struct slv_bench *b);

/* Tokens a second of `batch` sessions that draw n tokens each after `depth`, through the library's
 * batches: tps[--repeat], and what all of it used, as slv_bench_energy. */
int slv_bench_batch(struct slv_bench *b, size_t threads, size_t batch, int64_t depth, int64_t n,
                    double *tps, double *ret_joules, struct slv_err *err) SLV_MUST_USE;

/* Joules that the processors have used since slv_bench_energy_begin; negative where the machine
 * does not tell, or where it was too short for its counters. */
void slv_bench_energy_begin(struct slv_bench *b);
double slv_bench_energy(struct slv_bench *b);

/* --- ceilings --------------------------------------------------------------------------------- */

/* How fast so many threads read n bytes of memory from p, 64-byte aligned: GB/s, the best of five
 * rounds. SLV_E_NOMEM; SLV_E_USAGE: n is below 256 kB. */
int slv_bench_bus(size_t threads, const void *p, size_t n, double *ret_gbps) SLV_MUST_USE;

/* What products do when memory is no matter: the kernel of the form that most of the weights have,
 * over a few tiles of them that stay in each core's second-level cache. */
struct slv_bench_product {
    const char *type; /* of the weights, "q4_1" */
    size_t columns;
    double gbps; /* of weights */
    double tops; /* 10^12 operations a second, two for each product that is added up */
};
int slv_bench_product(struct slv_model *m, size_t threads, size_t columns,
                      struct slv_bench_product *ret) SLV_MUST_USE;

/* --- operators -------------------------------------------------------------------------------- */

/* Runs the prompt and the drawing of tokens for each number of threads and depth with a profile:
 * with --ops prints or writes a table of operators for each, as "ops" of the JSON document; with
 * --trace keeps events and writes them to that file. */
int slv_bench_ops(struct slv_bench *b, const size_t *threads, size_t n,
                  struct slv_err *err) SLV_MUST_USE;

/* --- tuning ----------------------------------------------------------------------------------- */

/* Finds and keeps what is fastest, with a table of before and after, or "tune" of the JSON
 * document. */
int slv_bench_tune(struct slv_bench *b, struct slv_err *err) SLV_MUST_USE;

#endif
