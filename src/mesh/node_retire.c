/* node_retire.c: see node.h and retired.h. How writers that are over come to be retired.
 *
 * What is agreed on are keys of the strong spaces' space 0, beside invitations (node_roster.c):
 *
 *     'o' writer (8)              node (8), store, whether it was revoked: this writer is over. Its
 *                                 node says so of those that it had before the present one, members
 *                                 of those of revoked nodes
 *     'h' writer (8) member (8)   number of spaces; each, ascending: id (8), dots: what the member
 *                                 has of it. Then the same of spaces that it does not declare, and
 *                                 of which its store has something
 *     'r' group (8) number (8)    a retirement
 *
 * When all members have said the same, of the spaces that they declare in common, and none has more
 * where it does not, the leader says that the writer is retired, and the rest goes. All of them:
 * those that nobody has revoked, alive or not. So who is away for a month holds that up for a
 * month, and nothing else; what is in nobody's store then is nowhere. Of a revoked node's writer a
 * member says something when it knows of that, and takes nothing more from that node: so what is
 * said can only come together. (It says what it has, synced or not. Those who write down that it is
 * retired, most voters, write down what they have of it before, or with it.)
 *
 *     RETIRED_ASK (a message): whether what is over is to be told, too; retirements that are known
 *              here (dots)
 *     RETIRED: how many that are not; each: group (8), number, bytes. Then whether what is over is
 *              told, and if so how many; each: writer (8), node (8), whether it was revoked
 *
 * The first is sent to a peer whose retirements are others, as its sums say; and by nodes that are
 * not in the group, now and then, to one that is. Retirements are believed of who may vote, as what
 * the group decides is theirs. */
#include "mesh/node_int.h"
#include "base/mem.h"

#include <sodium.h>
#include <string.h>

#define LOOK_EACH_NS (1000 * MS)    /* between two looks at what is over */
#define AT_ONCE_NS (20 * MS)        /* and after something was done about it */
#define ASK_MS 4000u                /* for the group to do what is asked */
#define TOLD_NS (1000 * MS)         /* between two askings of a peer */
#define POLL_NS (30000 * MS)        /* the same of a node that is not in the group */
#define SAID_NS (10000 * MS)        /* until the same is said again that is not seen to be known */
#define SAID_FAR_NS (3600000 * MS)  /* the same, where that cannot be seen */
#define SAID_MAX ((size_t)32 << 10) /* bytes of what a member says */
#define OVER_MAX NODE_TOLD_MAX      /* writers that are over at a time */
#define PART ((size_t)128 << 10)    /* bytes of a message, and one retirement more */

/* --- keys ------------------------------------------------------------------------------------- */

struct key {
    char bytes[SLV_ROSTER_KEY + 1]; /* invitations are met on the way */
    size_t n;
};

static void add_id(struct key *k, uint64_t id) {
    for (unsigned i = 0; i < 8; i++)
        k->bytes[k->n++] = (char)(id >> (56 - 8 * i));
}

static struct key key_over(uint64_t writer) {
    struct key k = {{'o'}, 1};
    add_id(&k, writer);
    return k;
}

static struct key key_pair(char kind, uint64_t a, uint64_t b) {
    struct key k = {{kind}, 1};
    add_id(&k, a);
    add_id(&k, b);
    return k;
}

static struct slv_str str_of(const struct key *k) { return (struct slv_str){k->bytes, k->n}; }

static bool read_key(struct slv_str key, char *ret_kind, uint64_t *ret_a, uint64_t *ret_b) {
    struct slv_reader r = slv_reader_of(key.p, key.n);
    *ret_kind = *slv_read_raw(&r, 1).p;
    *ret_a = slv_read_id(&r);
    *ret_b = *ret_kind == 'o' ? 0 : slv_read_id(&r);
    return slv_reader_done(&r) && *ret_kind && strchr("ohr", *ret_kind);
}

/* As this node has it of the group's. False: it is not there. */
static bool look_up(const struct slv_node *n, const struct key *k, struct slv_str *ret) {
    struct slv_strong_result r = {.version = 0};
    if (n->strong.started) slv_strong_get(n->strong.s, 0, str_of(k), &r);
    *ret = r.value;
    return r.version != 0;
}

/* The next key of a kind behind this one, which may be that kind alone: k is it then. */
static bool next_key(const struct slv_node *n, char kind, struct key *k, uint64_t *ret_a,
                     uint64_t *ret_b) {
    struct slv_str next;
    while (n->strong.started && slv_strong_next(n->strong.s, 0, str_of(k), &next)) {
        char is;
        if (next.p[0] != kind || next.n > sizeof k->bytes) return false;
        memcpy(k->bytes, next.p, next.n);
        k->n = next.n;
        if (read_key(next, &is, ret_a, ret_b)) return true;
    }
    return false;
}

/* Whether it has the group's keys, not much behind the leader mostly. */
static bool is_inside(const struct slv_node *n) {
    const struct slv_strong *s = n->strong.s;
    return n->strong.started && slv_strong_leader(s) &&
           slv_strong_role(s, n->conf.id) >= SLV_STRONG_LEARNER;
}

static bool is_leading(const struct slv_node *n) {
    return n->strong.started && slv_strong_leads(n->strong.s);
}

static bool is_revoked(const struct slv_node *n, uint64_t id) {
    const struct slv_statement *s = node_about(n, id);
    return s && s->kind == SLV_REVOKED;
}

/* --- what may be asked ------------------------------------------------------------------------ */

struct over {
    uint64_t node;
    bool is_revoked;
};

static bool read_over(struct slv_str value, uint64_t writer, struct over *ret) {
    struct slv_reader r = slv_reader_of(value.p, value.n);
    *ret = (struct over){.node = slv_read_id(&r)};
    const uint32_t store = (uint32_t)slv_read_number(&r, UINT32_MAX);
    ret->is_revoked = slv_read_number(&r, 1);
    if (slv_reader_done(&r) && slv_mesh_writer(ret->node, store) == writer) return true;
    *ret = (struct over){0};
    return false;
}

static bool look_up_over(const struct slv_node *n, uint64_t writer, struct over *ret) {
    const struct key k = key_over(writer);
    struct slv_str value;
    *ret = (struct over){0};
    return look_up(n, &k, &value) && read_over(value, writer, ret);
}

size_t slv_node_count_over(const struct slv_node *n) {
    struct key k = {{'o'}, 1};
    uint64_t writer, none;
    size_t count = 0;
    while (count < OVER_MAX && next_key(n, 'o', &k, &writer, &none))
        count++;
    return count;
}

/* (Who may vote hands on what others say. How much there may be the leader says.) */
static bool may_say(const struct slv_node *n, uint64_t peer, char kind, uint64_t writer,
                    uint64_t member, struct slv_str value) {
    struct over o;
    const bool votes = node_may_vote(n, peer);
    if (kind == 'h')
        return (member == peer || votes) && value.n <= SAID_MAX &&
               (!is_leading(n) || look_up_over(n, writer, &o));
    if (kind != 'o' || !read_over(value, writer, &o)) return false;
    if (o.is_revoked ? !votes || !is_revoked(n, o.node) : o.node != peer && !votes) return false;
    return !is_leading(n) || slv_node_count_over(n) < OVER_MAX;
}

bool node_retire_may_ask(const struct slv_node *n, uint64_t peer,
                         const struct slv_strong_command *c) {
    uint64_t writer, member;
    char kind;
    if (!read_key(c->key, &kind, &writer, &member) || c->lease) return false;
    if (peer == n->conf.id && is_leading(n) &&
        (c->op == SLV_STRONG_CAS || c->op == SLV_STRONG_DELETE))
        return true;
    return c->op == SLV_STRONG_PUT && may_say(n, peer, kind, writer, member, c->value);
}

/* One thing at a time. False: something is under way, or it cannot be asked. */
static bool ask(struct slv_node *n, enum slv_strong_op op, const struct key *k,
                struct slv_str value) {
    const struct slv_strong_command c = {.op = op, .key = str_of(k), .value = value};
    return !n->retire.ask && !slv_node_ask(n, n->now, &c, ASK_MS, &n->retire.ask);
}

/* The oldest goes for it, where there is no room. */
static void remember(struct slv_node *n) {
    struct node_said *to = &n->retire.said[0];
    for (size_t i = 0; i < NODE_SAID_MAX && to->writer != n->retire.saying.writer; i++) {
        struct node_said *s = &n->retire.said[i];
        if (s->writer == n->retire.saying.writer || s->at < to->at) to = s;
    }
    *to = n->retire.saying;
    to->at = n->now;
}

bool node_retire_answered(struct slv_node *n, uint64_t id, const struct slv_strong_result *r) {
    if (!id || id != n->retire.ask) return false;
    n->retire.ask = 0;
    if (r->status == SLV_STRONG_OK) {
        n->retire.next = n->now + AT_ONCE_NS;
        if (n->retire.saying.writer) remember(n);
    } else {
        n->retire.declare_next = 0;
    }
    n->retire.saying.writer = 0;
    return true;
}

/* --- retirements ------------------------------------------------------------------------------ */

const struct slv_retired *slv_node_retired(const struct slv_node *n) { return &n->retired; }

/* Equal where the same are known; 0 where none is. */
uint64_t node_retire_print(const struct slv_node *n) {
    uint8_t out[16];
    struct slv_buf b;
    if (!n->retired.n) return 0;
    slv_buf_init(&b, PART);
    slv_dots_write(&n->retired.dots, &b);
    crypto_generichash(out, sizeof out, (const uint8_t *)b.data, b.len, NULL, 0);
    slv_buf_fini(&b);
    struct slv_reader r = slv_reader_of(out, sizeof out);
    return slv_read_id(&r);
}

int node_retire_load(struct slv_node *n, struct slv_str key, struct slv_str value) {
    struct slv_reader r = slv_reader_of(key.p + 1, key.n - 1);
    struct slv_dot dot = {.writer = slv_read_id(&r)};
    dot.n = slv_read_id(&r);
    return slv_reader_done(&r) ? slv_retired_add(&n->retired, dot, value, NULL) : SLV_E_FORMAT;
}

/* A writer that is in use, or of which there is more here than anybody else had: a store of long
 * ago was put back, or a node that was shut out has come back. */
static bool is_behind(const struct slv_node *n) {
    if (slv_retired_find(&n->retired, slv_node_writer(n))) return true;
    for (size_t i = 0; i < n->n_space; i++) {
        const struct slv_replica *r = n->space[i]->replica;
        if (slv_replica_let_go(r) != n->retired.n && slv_replica_has_more(r)) return true;
    }
    return false;
}

/* When the store has it, or the node would have to hear of it again when it is opened anew.
 * (Without memory, what a replica let go of and what not differs until the next look.) */
static void let_go(struct slv_node *n) {
    if (!n->retired.n || n->durable < n->retire.ticket) return;
    if (is_behind(n)) {
        node_fail(n, SLV_NODE_OVERTAKEN);
        return;
    }
    if (!n->retire.is_new) return;
    n->retire.is_new = false;
    for (size_t i = 0; i < n->n_space; i++)
        if (slv_replica_retire(n->space[i]->replica)) n->retire.is_new = true;
    n->has_writes = true;
}

/* A group's number is no writer's. */
static bool is_writer(const struct slv_node *n, uint64_t id) {
    for (size_t i = 0; i < n->n_space; i++)
        if (slv_dots_last(&slv_node_read(n, i)->context, id) &&
            !slv_dots_last(&n->retired.dots, id))
            return true;
    return id == slv_node_writer(n);
}

static int take(struct slv_node *n, struct slv_dot dot, struct slv_str bytes, bool *ret_new) {
    const struct key k = key_pair(RECORD_RETIRED, dot.writer, dot.n);
    bool is_new = false;
    int rc =
        is_writer(n, dot.writer) ? SLV_E_FORMAT : slv_retired_add(&n->retired, dot, bytes, &is_new);
    if (rc || !is_new) return rc;
    *ret_new = n->retire.is_new = n->has_writes = true;
    n->retire.ticket = ++n->tickets;
    return node_put(n, str_of(&k), bytes);
}

/* The first number of the group's at which this node knows of no retirement, or (free) the group
 * has none. */
static struct slv_dot next_dot(const struct slv_node *n, bool free) {
    const uint64_t group = n->strong.group;
    struct slv_dot dot = {group, slv_dots_base(&n->retired.dots, group) + 1};
    struct slv_str bytes;
    for (; free; dot.n++) {
        const struct key k = key_pair('r', dot.writer, dot.n);
        if (!look_up(n, &k, &bytes)) break;
    }
    return dot;
}

/* Those that the group, as it is known here, has agreed on. (One that is none is stepped over.) */
static void learn(struct slv_node *n) {
    struct slv_dot dot = next_dot(n, false);
    struct slv_str bytes;
    bool is_new;
    for (int rc = 0; !rc || rc == SLV_E_FORMAT; dot.n++) {
        const struct key k = key_pair('r', dot.writer, dot.n);
        if (!look_up(n, &k, &bytes)) return;
        rc = take(n, dot, bytes, &is_new);
    }
}

/* --- what is over ----------------------------------------------------------------------------- */

static bool is_told(const struct slv_node *n, uint64_t writer) {
    for (size_t i = 0; i < n->retire.n_told; i++)
        if (n->retire.told[i].writer == writer) return true;
    return false;
}

static bool is_known(const struct slv_node *n, uint64_t writer) {
    struct over o;
    return slv_retired_find(&n->retired, writer) ||
           (is_inside(n) ? look_up_over(n, writer, &o) : is_told(n, writer));
}

uint64_t slv_node_writer_of(const struct slv_node *n, uint64_t node) {
    uint64_t found = 0;
    if (node == n->conf.id) return slv_node_writer(n);
    for (size_t i = 0; i < n->n_space; i++) {
        const struct slv_replica *r = n->space[i]->replica;
        for (size_t k = 0; k < slv_replica_writers(r); k++) {
            struct slv_replica_writer w;
            slv_replica_writer(r, k, &w);
            if (w.node != node || is_known(n, w.writer)) continue;
            if (found && found != w.writer) return 0; /* one of them is over */
            found = w.writer;
        }
    }
    return found;
}

static void declare(struct slv_node *n, const struct slv_replica_writer *w) {
    const struct key k = key_over(w->writer);
    struct slv_buf b;
    slv_buf_init(&b, 32);
    slv_write_id(&b, w->node);
    slv_write_number(&b, w->store);
    slv_write_number(&b, w->node != n->conf.id);
    if (!b.status && ask(n, SLV_STRONG_PUT, &k, (struct slv_str){b.data, b.len}) && !is_inside(n))
        n->retire.declare_next = n->now + POLL_NS; /* it hears of what came of it by then */
    slv_buf_fini(&b);
}

/* (A revoked node's is said to be over by the leader, or, where that has nothing of it, by some
 * other.) */
static bool is_over(struct slv_node *n, const struct slv_replica_writer *w) {
    if (w->node == n->conf.id) return w->writer != slv_node_writer(n);
    return is_revoked(n, w->node) && (is_leading(n) || !node_random(n, 16));
}

/* (Of a head alone there is nothing to let go.) */
static void declare_all(struct slv_node *n) {
    if (n->now < n->retire.declare_next && !is_inside(n)) return;
    for (size_t i = 0; i < n->n_space; i++) {
        const struct slv_replica *r = n->space[i]->replica;
        for (size_t k = 0; k < slv_replica_writers(r) && !n->retire.ask; k++) {
            struct slv_replica_writer w;
            slv_replica_writer(r, k, &w);
            if (!slv_dots_last(&slv_replica_space(r)->context, w.writer)) continue;
            if (is_over(n, &w) && !is_known(n, w.writer)) declare(n, &w);
        }
    }
}

/* --- what this node has ----------------------------------------------------------------------- */

/* The space with the next id behind `after`; NULL: there is none. */
static const struct space *space_behind(const struct slv_node *n, uint64_t after) {
    const struct space *next = NULL;
    for (size_t k = 0; k < n->n_space; k++)
        if (n->space[k]->id > after && (!next || n->space[k]->id < next->id)) next = n->space[k];
    return next;
}

/* Of each space that is declared. */
static int write_declared(const struct slv_node *n, uint64_t writer, struct slv_buf *b) {
    const struct space *s = NULL;
    slv_write_number(b, n->n_space);
    while ((s = space_behind(n, s ? s->id : 0)) != NULL) {
        struct slv_dots seen = {0};
        const int rc = slv_replica_seen_of(s->replica, writer, &seen);
        if (rc) return rc;
        slv_write_id(b, s->id);
        slv_dots_write(&seen, b);
        slv_dots_fini(&seen);
    }
    return b->status;
}

/* And of those that are not, where the store has something of it. */
static int write_left(const struct slv_node *n, uint64_t writer, struct slv_buf *b) {
    uint64_t count = 0;
    for (int turn = 0; turn < 2; turn++) {
        for (size_t i = 0; i < n->n_left; i++) {
            const struct slv_dots seen = slv_dots_of(&n->left[i].seen, writer);
            count += !turn && seen.n;
            if (!turn || !seen.n) continue;
            slv_write_id(b, n->left[i].id);
            slv_dots_write(&seen, b);
        }
        if (!turn) slv_write_number(b, count);
    }
    return b->status;
}

/* The same was said: so the group has it; or it was answered, not long ago. */
static bool was_said(struct slv_node *n, const struct node_said *said, const struct key *k,
                     const struct slv_buf *b) {
    const uint64_t lasts = is_inside(n) ? SAID_NS : SAID_FAR_NS;
    struct slv_str value;
    if (is_inside(n) && look_up(n, k, &value) && value.n == b->len &&
        !memcmp(value.p, b->data, b->len))
        return true;
    for (size_t i = 0; i < NODE_SAID_MAX; i++) {
        const struct node_said *s = &n->retire.said[i];
        if (s->writer == said->writer && !memcmp(s->print, said->print, sizeof s->print))
            return n->now - s->at < lasts;
    }
    return false;
}

static void say(struct slv_node *n, uint64_t writer, const struct slv_buf *b) {
    const struct key k = key_pair('h', writer, n->conf.id);
    struct node_said said = {.writer = writer};
    crypto_generichash(said.print, sizeof said.print, (const uint8_t *)b->data, b->len, NULL, 0);
    if (was_said(n, &said, &k, b)) return;
    if (ask(n, SLV_STRONG_PUT, &k, (struct slv_str){b->data, b->len})) n->retire.saying = said;
}

/* (One that is in use, and over for others, is that of a store of long ago that was put back.) */
static void report(struct slv_node *n, uint64_t writer, struct over o) {
    struct slv_buf b;
    if (o.is_revoked && !is_revoked(n, o.node)) return;
    if (writer == slv_node_writer(n)) {
        node_fail(n, SLV_NODE_OVERTAKEN);
        return;
    }
    slv_buf_init(&b, SAID_MAX);
    int rc = write_declared(n, writer, &b);
    if (!rc) rc = write_left(n, writer, &b);
    if (!rc) say(n, writer, &b);
    slv_buf_fini(&b);
}

static void report_all(struct slv_node *n) {
    struct key k = {{'o'}, 1};
    uint64_t writer, none;
    struct over o;
    if (is_inside(n))
        while (!n->failed && !n->retire.ask && next_key(n, 'o', &k, &writer, &none)) {
            if (look_up_over(n, writer, &o)) report(n, writer, o);
        }
    else
        for (size_t i = 0; i < n->retire.n_told && !n->failed && !n->retire.ask; i++) {
            const struct node_told *t = &n->retire.told[i];
            report(n, t->writer, (struct over){t->node, t->is_revoked});
        }
}

/* --- agreeing --------------------------------------------------------------------------------- */

/* What they have said of a writer: of a space, as bytes. */
struct said {
    uint64_t space;
    struct slv_str dots;
};

struct agreement {
    struct said v[SLV_RETIRED_SPACES_MAX]; /* ascending */
    uint32_t n;
    bool is_quick; /* how many are waited for does not matter */
    struct slv_node_over *over;
};

/* False: another has said otherwise of this space. */
static bool agree_on(struct agreement *a, struct said s) {
    uint32_t at = 0;
    while (at < a->n && a->v[at].space < s.space)
        at++;
    if (at < a->n && a->v[at].space == s.space) return !slv_str_compare(a->v[at].dots, s.dots);
    if (a->n == SLV_RETIRED_SPACES_MAX) {
        a->over->is_large = true;
        return true;
    }
    memmove(a->v + at + 1, a->v + at, (a->n - at) * sizeof s);
    a->v[at] = s;
    a->n++;
    return true;
}

/* A space of what a member said, whose dots are the writer's. */
static bool read_said(struct slv_reader *r, uint64_t writer, struct said *ret) {
    struct slv_dots dots = {0};
    ret->space = slv_read_id(r);
    const uint8_t *from = r->p;
    const bool read = !slv_dots_read(r, &dots);
    const bool good = read && (!dots.n || (dots.n == 1 && dots.writer[0].id == writer));
    slv_dots_fini(&dots);
    ret->dots = (struct slv_str){(const char *)from, (size_t)(r->p - from)};
    return good && !r->bad;
}

static bool agree(struct agreement *a, struct slv_reader *r) {
    bool same = true;
    for (uint64_t k = slv_read_number(r, SLV_NODE_SPACES_MAX); k > 0 && same; k--) {
        struct said s;
        same = read_said(r, a->over->writer, &s) && agree_on(a, s);
    }
    return same && !r->bad;
}

static bool covers(struct slv_str all, struct slv_str some) {
    struct slv_reader r = slv_reader_of(all.p, all.n), q = slv_reader_of(some.p, some.n);
    struct slv_dots s = {0}, t = {0};
    const bool ret = !slv_dots_read(&r, &s) && !slv_dots_read(&q, &t) && slv_dots_cover(&s, &t);
    slv_dots_fini(&s);
    slv_dots_fini(&t);
    return ret;
}

/* What it has left of spaces that others declare is not more than they have. */
static bool has_no_more(const struct agreement *a, struct slv_reader *r) {
    bool good = true;
    for (uint64_t k = slv_read_number(r, SLV_NODE_SPACES_MAX); k > 0 && good; k--) {
        struct said s;
        good = read_said(r, a->over->writer, &s);
        for (uint32_t i = 0; i < a->n && good; i++)
            if (a->v[i].space == s.space) good = covers(a->v[i].dots, s.dots);
    }
    return good && slv_reader_done(r);
}

/* What a member has said, from behind what it declares on. */
static void skip_declared(struct slv_reader *r, uint64_t writer) {
    for (uint64_t k = slv_read_number(r, SLV_NODE_SPACES_MAX); k > 0; k--) {
        struct said s;
        if (!read_said(r, writer, &s)) return;
    }
}

static void look_at(const struct slv_node *n, uint64_t writer, struct agreement *a) {
    struct over o;
    uint64_t member;
    *a->over = (struct slv_node_over){.writer = writer};
    if (!look_up_over(n, writer, &o)) return;
    a->over->node = o.node;
    for (int turn = 0; turn < 2; turn++)
        for (size_t i = 0; node_next_member(n, &i, &member);) {
            const struct key k = key_pair('h', writer, member);
            struct slv_str value;
            const bool said = look_up(n, &k, &value);
            struct slv_reader r = slv_reader_of(value.p, value.n);
            if (!said && !turn && !a->over->waits++) a->over->waits_for = member;
            if (a->is_quick && (a->over->waits || a->over->differs || a->over->is_large)) return;
            if (said && turn) skip_declared(&r, writer);
            if (said && !(turn ? has_no_more(a, &r) : agree(a, &r))) a->over->differs = true;
        }
}

/* Not: nobody has anything of it there. */
static bool is_some(const struct said *s) { return s->dots.p[0] != 0; }

/* The retirement of what was agreed on; in how many spaces somebody has something of it. */
static uint32_t write_terms(const struct agreement *a, struct slv_buf *b) {
    uint32_t some = 0;
    slv_write_id(b, a->over->writer);
    slv_write_id(b, a->over->node);
    for (uint32_t i = 0; i < a->n; i++)
        some += is_some(&a->v[i]);
    slv_write_number(b, some);
    for (uint32_t i = 0; i < a->n; i++) {
        if (!is_some(&a->v[i])) continue;
        slv_write_id(b, a->v[i].space);
        slv_buf_add(b, a->v[i].dots.p, a->v[i].dots.n);
    }
    return some;
}

/* It is not asked for what would be understood by nobody. */
static bool is_sound(struct slv_dot dot, const struct slv_buf *b) {
    struct slv_retired t = {0};
    const int rc =
        b->status ? b->status : slv_retired_add(&t, dot, (struct slv_str){b->data, b->len}, NULL);
    slv_retired_fini(&t);
    return !rc;
}

static bool is_agreed(const struct slv_node_over *o) {
    return o->node && !o->waits && !o->differs && !o->is_large;
}

/* (Of whom nobody has anything there is nothing to say.) */
static void retire(struct slv_node *n, const struct agreement *a) {
    const struct slv_dot dot = next_dot(n, true);
    const struct key r = key_pair('r', dot.writer, dot.n), o = key_over(a->over->writer);
    const struct slv_str nothing = {"", 0};
    struct slv_buf b;
    slv_buf_init(&b, SLV_RETIRED_BYTES_MAX);
    const uint32_t some = write_terms(a, &b);
    if (!some) (void)ask(n, SLV_STRONG_DELETE, &o, nothing);
    else if (is_sound(dot, &b)) (void)ask(n, SLV_STRONG_CAS, &r, (struct slv_str){b.data, b.len});
    slv_buf_fini(&b);
}

static bool fits(const struct agreement *a) {
    static const struct slv_dot any = {1, 1};
    struct slv_buf b;
    slv_buf_init(&b, SLV_RETIRED_BYTES_MAX);
    const bool ret = !write_terms(a, &b) || is_sound(any, &b);
    slv_buf_fini(&b);
    return ret;
}

size_t slv_node_overs(const struct slv_node *n, struct slv_node_over *ret, size_t most) {
    struct key k = {{'o'}, 1};
    uint64_t writer, none;
    size_t count = 0;
    while (count < most && next_key(n, 'o', &k, &writer, &none)) {
        struct agreement a = {.over = &ret[count]};
        look_at(n, writer, &a);
        if (is_agreed(&ret[count]) && !fits(&a)) ret[count].is_large = true;
        count += !slv_retired_find(&n->retired, writer);
    }
    return count;
}

static void retire_all(struct slv_node *n) {
    struct key k = {{'o'}, 1};
    uint64_t writer, none;
    while (!n->retire.ask && next_key(n, 'o', &k, &writer, &none)) {
        struct slv_node_over over;
        struct agreement a = {.is_quick = true, .over = &over};
        look_at(n, writer, &a);
        if (is_agreed(&over)) retire(n, &a);
    }
}

/* What was said of those that are retired, or not over. */
static void clean_up(struct slv_node *n, char kind) {
    const struct slv_str nothing = {"", 0};
    struct key k = {{kind}, 1};
    uint64_t writer, none;
    struct over o;
    while (!n->retire.ask && next_key(n, kind, &k, &writer, &none))
        if (slv_retired_find(&n->retired, writer) || !look_up_over(n, writer, &o))
            (void)ask(n, SLV_STRONG_DELETE, &k, nothing);
}

/* --- messages --------------------------------------------------------------------------------- */

static void send(struct slv_node *n, uint64_t peer, struct slv_buf *b) {
    const struct slv_str m = {b->data, b->len};
    if (!b->status && node_message(n, peer, SLV_LANE_REPAIR, node_packed(n, m))) n->stats.unsent++;
    slv_buf_fini(b);
}

static void ask_peer(struct slv_node *n, uint64_t peer) {
    struct slv_buf b;
    slv_buf_init(&b, SLV_LINK_MESSAGE_MAX);
    slv_buf_addc(&b, MSG_RETIRED_ASK);
    slv_write_number(&b, !is_inside(n));
    slv_dots_write(&n->retired.dots, &b);
    send(n, peer, &b);
}

void node_retire_differs(struct slv_node *n, struct peer *p) {
    if (n->now < p->retired_next || !node_may_vote(n, p->id)) return;
    p->retired_next = n->now + TOLD_NS;
    ask_peer(n, p->id);
}

static void write_missing(const struct slv_node *n, const struct slv_dots *theirs,
                          struct slv_buf *b) {
    struct slv_buf all;
    uint64_t k = 0;
    slv_buf_init(&all, SLV_LINK_MESSAGE_MAX);
    for (size_t i = 0; i < n->retired.n && all.len < PART; i++) {
        const struct slv_retirement *t = n->retired.v[i];
        struct slv_buf one;
        if (slv_dots_has(theirs, t->dot)) continue;
        slv_buf_init(&one, SLV_RETIRED_BYTES_MAX);
        slv_retirement_write(t, &one);
        slv_write_id(&all, t->dot.writer);
        slv_write_number(&all, t->dot.n);
        slv_write_bytes(&all, one.data, one.len);
        if (one.status) all.status = one.status;
        slv_buf_fini(&one);
        k++;
    }
    slv_write_number(b, k);
    slv_buf_add(b, all.data, all.len);
    if (all.status) b->status = all.status;
    slv_buf_fini(&all);
}

static void write_over(const struct slv_node *n, struct slv_buf *b) {
    struct slv_buf all;
    struct key k = {{'o'}, 1};
    uint64_t writer, none, count = 0;
    slv_buf_init(&all, SLV_LINK_MESSAGE_MAX);
    struct over o;
    for (; count < NODE_TOLD_MAX && next_key(n, 'o', &k, &writer, &none); count++) {
        (void)look_up_over(n, writer, &o);
        slv_write_id(&all, writer);
        slv_write_id(&all, o.node);
        slv_write_number(&all, o.is_revoked);
    }
    slv_write_number(b, count);
    slv_buf_add(b, all.data, all.len);
    if (all.status) b->status = all.status;
    slv_buf_fini(&all);
}

static void on_ask(struct slv_node *n, struct peer *p, struct slv_reader *m) {
    const bool over = slv_read_number(m, 1) && is_inside(n);
    struct slv_dots theirs = {0};
    struct slv_buf b;
    if (m->bad || slv_dots_read(m, &theirs) || !slv_reader_done(m)) {
        slv_dots_fini(&theirs);
        n->stats.refused++;
        return;
    }
    slv_buf_init(&b, SLV_LINK_MESSAGE_MAX);
    slv_buf_addc(&b, MSG_RETIRED);
    write_missing(n, &theirs, &b);
    slv_write_number(&b, over);
    if (over) write_over(n, &b);
    send(n, p->id, &b);
    slv_dots_fini(&theirs);
}

static void take_over(struct slv_node *n, struct slv_reader *m) {
    struct node_told news[NODE_TOLD_MAX];
    const uint64_t k = slv_read_number(m, NODE_TOLD_MAX);
    for (uint64_t i = 0; i < k; i++) {
        news[i] = (struct node_told){.writer = slv_read_id(m)};
        news[i].node = slv_read_id(m);
        news[i].is_revoked = slv_read_number(m, 1);
    }
    if (m->bad) return;
    memcpy(n->retire.told, news, k * sizeof *news);
    n->retire.n_told = k;
}

/* (Who has told nothing new has something else that is not understood here.) */
static void on_told(struct slv_node *n, struct peer *p, struct slv_reader *m) {
    bool is_new = false;
    int rc = 0;
    for (uint64_t k = slv_read_number(m, SLV_RETIRED_MAX); k > 0 && !rc && !m->bad; k--) {
        struct slv_dot dot = {.writer = slv_read_id(m)};
        dot.n = slv_read_number(m, SLV_DOT_MAX);
        const struct slv_str bytes = slv_read_bytes(m, SLV_RETIRED_BYTES_MAX);
        if (!m->bad) rc = take(n, dot, bytes, &is_new);
    }
    if (!rc && slv_read_number(m, 1)) take_over(n, m);
    if (rc == SLV_E_FORMAT || !slv_reader_done(m)) n->stats.refused++;
    p->retired_next = n->now + (is_new ? 0 : POLL_NS);
    n->retire.next = n->now;
}

void node_retire_receive(struct slv_node *n, struct peer *p, uint64_t kind, struct slv_reader *m) {
    if (kind == MSG_RETIRED_ASK) on_ask(n, p, m);
    else if (node_may_vote(n, p->id)) on_told(n, p, m);
}

/* Who guides it to the group is in it; or else anybody. */
static void poll(struct slv_node *n) {
    if (is_inside(n) || !n->n_peer || n->now < n->retire.poll_next) return;
    const size_t from = (size_t)node_random(n, n->n_peer);
    const struct peer *to = node_peer(n, n->strong.guide);
    if (to && !to->link) to = NULL;
    for (size_t i = 0; i < n->n_peer && !to; i++) {
        const struct peer *p = n->peer[(from + i) % n->n_peer];
        if (p->link && !p->is_guest && node_may_vote(n, p->id)) to = p;
    }
    if (!to) return;
    n->retire.poll_next = n->now + POLL_NS;
    ask_peer(n, to->id);
}

/* --- time ------------------------------------------------------------------------------------- */

uint64_t node_retire_tick(struct slv_node *n) {
    if (n->now < n->retire.next) return n->retire.next;
    n->retire.next = n->now + LOOK_EACH_NS;
    if (n->strong.started) learn(n);
    if (!n->failed) let_go(n);
    if (n->retire.is_new) n->retire.next = n->now + AT_ONCE_NS;
    if (!n->strong.started || n->failed) return n->retire.next;
    declare_all(n);
    report_all(n);
    if (n->failed) return n->retire.next;
    if (is_leading(n)) {
        clean_up(n, 'h');
        clean_up(n, 'o');
        retire_all(n);
    }
    poll(n);
    return n->retire.next;
}

/* --- spaces that are not declared ------------------------------------------------------------- */

/* (A context begins the record, and may have more behind it. Without room, or where it is none, it
 * is left alone: it would be met again with each start.) */
int node_retire_left(struct slv_node *n, uint64_t space, struct slv_str context) {
    struct slv_reader r = slv_reader_of(context.p, context.n);
    void *p = n->left;
    const int rc = slv_mem_grow(&p, n->n_left, &n->room_left, sizeof *n->left, SLV_NODE_SPACES_MAX);
    n->left = p;
    if (rc) return rc == SLV_E_LIMIT ? 0 : rc;
    struct slv_retired_space *to = &n->left[n->n_left];
    *to = (struct slv_retired_space){.id = space};
    const int read = slv_dots_read(&r, &to->seen);
    n->n_left += !read;
    return read == SLV_E_FORMAT ? 0 : read;
}

void node_retire_close(struct slv_node *n) {
    slv_retired_fini(&n->retired);
    for (size_t i = 0; i < n->n_left; i++)
        slv_dots_fini(&n->left[i].seen);
    slv_mem_free(n->left);
}
