/* profile.c: see profile.h. */
#include "engine/profile.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/team.h"

#include <string.h>

/* Pieces of one operator on one member with less than this between them are one event. */
#define PAUSE_NS 2000

/* What a member has done of an operator in the step that runs. */
struct part {
    uint64_t busy, end;
};

struct member {
    _Alignas(64) struct part *part; /* [n_ops] */
    struct slv_profile_event *event;
    size_t n;
    bool lost; /* an event of the step that runs */
};

struct slv_profile {
    const struct slv_plan *plan;
    size_t members, room; /* events of each member */
    struct slv_profile_row *row;
    struct slv_profile_step *step;
    size_t n_steps; /* of which events are kept */
    struct slv_profile_sum sum;
    uint64_t begun;
    bool keeps; /* the events of the step that runs */
    struct member *member;
};

static uint64_t now(void) { return slv_clock_mono(&slv_clock_system); }

int slv_profile_open(const struct slv_plan *plan, size_t members, size_t n_events,
                     struct slv_profile **ret) {
    if (members < 1 || members > SLV_TEAM_MAX || n_events > SLV_PROFILE_EVENTS_MAX)
        return SLV_E_USAGE;
    struct slv_profile *p = slv_mem_calloc(1, sizeof *p);
    if (!p) return SLV_E_NOMEM;
    *p = (struct slv_profile){.plan = plan, .members = members, .room = n_events / members};
    p->row = slv_mem_calloc(plan->n_ops, sizeof *p->row);
    p->member = slv_mem_alloc_aligned(64, members * sizeof *p->member);
    if (p->member) memset(p->member, 0, members * sizeof *p->member);
    if (n_events) p->step = slv_mem_calloc(SLV_PROFILE_STEPS_MAX, sizeof *p->step);
    bool ok = p->row && p->member && (p->step || !n_events);
    for (size_t i = 0; i < members && ok; i++) {
        struct member *m = &p->member[i];
        m->part = slv_mem_calloc(plan->n_ops, sizeof *m->part);
        if (n_events) m->event = slv_mem_calloc(p->room + 1, sizeof *m->event);
        ok = m->part && (m->event || !n_events);
    }
    if (!ok) {
        slv_profile_close(p);
        return SLV_E_NOMEM;
    }
    *ret = p;
    return 0;
}

void slv_profile_close(struct slv_profile *p) {
    if (!p) return;
    for (size_t i = 0; i < p->members && p->member; i++) {
        slv_mem_free(p->member[i].part);
        slv_mem_free(p->member[i].event);
    }
    slv_mem_free(p->member);
    slv_mem_free(p->step);
    slv_mem_free(p->row);
    slv_mem_free(p);
}

void slv_profile_clear(struct slv_profile *p) {
    memset(p->row, 0, p->plan->n_ops * sizeof *p->row);
    for (size_t i = 0; i < p->members; i++)
        p->member[i].n = 0;
    p->sum = (struct slv_profile_sum){0};
    p->n_steps = 0;
}

const struct slv_profile_row *slv_profile_row(const struct slv_profile *p, size_t op) {
    return &p->row[op];
}

void slv_profile_sum(const struct slv_profile *p, struct slv_profile_sum *ret) { *ret = p->sum; }

const struct slv_profile_event *slv_profile_events(const struct slv_profile *p, size_t member,
                                                   size_t *ret_n) {
    *ret_n = p->member[member].n;
    return p->member[member].event;
}

const struct slv_profile_step *slv_profile_steps(const struct slv_profile *p, size_t *ret_n) {
    *ret_n = p->n_steps;
    return p->step;
}

/* --- what a step reads and multiplies --------------------------------------------------------- */

static void add_product(const struct slv_op *op, uint64_t n, struct slv_profile_row *row) {
    for (size_t i = 0; i < op->n_parts; i++) {
        const struct slv_mat *mat = &op->part[i].lin->mat;
        row->weight_bytes += (mat->rows + SLV_TILE_ROWS - 1) / SLV_TILE_ROWS * mat->tile_bytes;
        row->macs += (uint64_t)mat->rows * mat->cols * n;
    }
}

/* Tokens of one cache stand together; what they see lies together. */
static void add_attention(const struct slv_hparams *h, uint32_t layer,
                          const struct slv_step_token *tok, uint32_t n,
                          struct slv_profile_row *row) {
    for (uint32_t i = 0; i < n;) {
        const struct slv_kv *kv = tok[i].kv;
        uint64_t first = UINT64_MAX, end = 0, seen = 0;
        for (; i < n && tok[i].kv == kv; i++) {
            uint64_t to = tok[i].end ? tok[i].end : (uint64_t)tok[i].pos + 1;
            uint64_t from = h->window && h->windowed[layer] && to > h->window ? to - h->window : 0;
            if (from < first) first = from;
            if (to > end) end = to;
            seen += to - from;
        }
        row->kv_bytes += (end - first) * h->n_head_kv * (kv->block_bytes / SLV_KV_BLOCK);
        row->macs += seen * h->n_head * ((uint64_t)h->head_k + h->head_v);
    }
}

static void add_cost(const struct slv_plan *plan, const struct slv_op *op,
                     const struct slv_step_token *tok, uint32_t n, uint32_t n_logits,
                     struct slv_profile_row *row) {
    if (op->kind == SLV_OP_MATMUL) add_product(op, n, row);
    else if (op->kind == SLV_OP_LOGITS) add_product(op, n_logits, row);
    else if (op->kind == SLV_OP_ATTN) add_attention(plan->h, op->layer, tok, n, row);
}

/* --- what a runner tells ---------------------------------------------------------------------- */

void slv_profile_begin_step(struct slv_profile *p) {
    bool fits = p->step && p->n_steps < SLV_PROFILE_STEPS_MAX;
    for (size_t i = 0; i < p->members; i++) {
        fits = fits && p->room - p->member[i].n >= p->plan->n_ops * 2;
        memset(p->member[i].part, 0, p->plan->n_ops * sizeof *p->member[i].part);
    }
    p->keeps = fits;
    if (p->step && !fits) p->sum.lost_steps++;
    p->begun = now();
}

void slv_profile_piece(struct slv_profile *p, size_t op, uint64_t begin) {
    uint64_t end = now();
    size_t who = slv_team_member();
    if (who >= p->members) return;
    struct member *m = &p->member[who];
    m->part[op].busy += end - begin;
    m->part[op].end = end;
    if (!p->keeps) return;
    uint32_t step = (uint32_t)p->n_steps;
    struct slv_profile_event *last = m->n ? &m->event[m->n - 1] : NULL;
    bool goes_on = last && last->op == op && last->step == step && begin - last->end < PAUSE_NS;
    if (goes_on) last->end = end;
    else if (m->n == p->room) m->lost = true;
    else m->event[m->n++] = (struct slv_profile_event){begin, end, (uint32_t)op, step};
}

/* The time of one operator, for members whose operators before it ended at before[]. */
static void add_times(struct slv_profile *p, size_t op, bool alone, size_t members,
                      uint64_t *before) {
    struct slv_profile_row *row = &p->row[op];
    uint64_t last = 0;
    for (size_t m = 0; m < members; m++)
        if (p->member[m].part[op].end > last) last = p->member[m].part[op].end;
    for (size_t m = 0; m < members && last; m++) {
        const struct part *part = &p->member[m].part[op];
        const uint64_t end = alone ? part->end : last, all = end > before[m] ? end - before[m] : 0;
        const uint64_t wait = all > part->busy ? all - part->busy : 0;
        row->busy_ns += part->busy;
        row->wait_ns += wait;
        p->sum.busy_ns += part->busy;
        p->sum.wait_ns += wait;
        if (end > before[m]) before[m] = end;
    }
    row->calls += last != 0;
}

void slv_profile_end_step(struct slv_profile *p, const struct slv_step_token *tok, uint32_t n,
                          uint32_t n_logits, size_t n_alone, size_t members) {
    uint64_t end = now(), before[SLV_TEAM_MAX];
    if (members > p->members) members = p->members;
    for (size_t m = 0; m < members; m++)
        before[m] = p->begun;
    for (size_t i = 0; i < p->plan->n_ops; i++) {
        const uint64_t calls = p->row[i].calls;
        add_times(p, i, i < n_alone, members, before);
        if (p->row[i].calls > calls)
            add_cost(p->plan, &p->plan->ops[i], tok, n, n_logits, &p->row[i]);
    }
    for (size_t m = 0; m < members; m++)
        p->sum.idle_ns += end - before[m];
    p->sum.step_ns += end - p->begun;
    p->sum.steps++;
    p->sum.tokens += n;
    if (!p->keeps) return;
    p->step[p->n_steps++] = (struct slv_profile_step){p->begun, end, n};
    p->sum.events = 0;
    bool lost = false;
    for (size_t m = 0; m < p->members; m++) {
        p->sum.events += p->member[m].n;
        lost = lost || p->member[m].lost;
        p->member[m].lost = false;
    }
    if (lost) p->sum.lost_steps++;
}
