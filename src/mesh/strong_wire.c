/* strong_wire.c: see strong_wire.h. */
#include "mesh/strong_wire.h"

/* --- members and entries ---------------------------------------------------------------------- */

void strong_members_write(const struct strong_members *m, struct slv_buf *b) {
    slv_write_number(b, m->n);
    for (uint32_t i = 0; i < m->n; i++) {
        slv_write_id(b, m->v[i].id);
        slv_write_number(b, (uint64_t)m->v[i].role);
    }
}

/* Their order is kept: it is that in which they came. */
bool strong_members_read(struct slv_reader *r, struct strong_members *ret) {
    ret->n = (uint32_t)slv_read_number(r, SLV_STRONG_MEMBERS_MAX);
    for (uint32_t i = 0; i < ret->n && !r->bad; i++) {
        ret->v[i].id = slv_read_id(r);
        ret->v[i].role = (enum slv_strong_role)slv_read_number(r, SLV_STRONG_VOTER);
        if (!ret->v[i].id || ret->v[i].role == SLV_STRONG_GONE) r->bad = true;
        for (uint32_t k = 0; k < i; k++)
            if (ret->v[k].id == ret->v[i].id) r->bad = true;
    }
    if (!ret->n) r->bad = true;
    return !r->bad;
}

void strong_entry_write(const struct strong_entry *e, struct slv_buf *b) {
    slv_write_number(b, e->term);
    slv_write_number(b, e->type);
    slv_write_bytes(b, e->payload.p, e->payload.n);
}

static bool payload_ok(const struct strong_entry *e) {
    struct slv_reader r = slv_reader_of(e->payload.p, e->payload.n);
    if (e->type == STRONG_MEMBERS) {
        struct strong_members m;
        return strong_members_read(&r, &m) && slv_reader_done(&r);
    }
    struct slv_strong_command c;
    return e->type == STRONG_COMMAND && strong_command_read(&r, &c) && c.op != SLV_STRONG_GET;
}

bool strong_entry_read(struct slv_reader *r, struct strong_entry *ret) {
    struct strong_entry e = {.term = slv_read_number(r, STRONG_TERM_MAX)};
    e.type = (unsigned)slv_read_number(r, STRONG_MEMBERS);
    e.payload = slv_read_bytes(r, STRONG_COMMAND_MAX);
    if (r->bad || !e.term || !payload_ok(&e)) {
        r->bad = true;
        return false;
    }
    *ret = e;
    return true;
}

/* --- messages --------------------------------------------------------------------------------- */

enum {
    HAS_TERM = 1,
    HAS_INDEX = 2, /* and its term */
    HAS_COMMIT = 4,
    HAS_FLAGS = 8,
    HAS_NUMBER = 16,
    HAS_ENTRIES = 32,
    HAS_PIECE = 64,
    HAS_AT = 128,
    HAS_COMMAND = 256,
    HAS_RESULT = 512
};

static const uint16_t has[STRONG_MESSAGES] = {
    [STRONG_VOTE] = HAS_TERM | HAS_INDEX | HAS_FLAGS,
    [STRONG_VOTE_RESULT] = HAS_TERM | HAS_FLAGS,
    [STRONG_APPEND] = HAS_TERM | HAS_INDEX | HAS_COMMIT | HAS_ENTRIES,
    [STRONG_APPEND_RESULT] = HAS_TERM | HAS_COMMIT | HAS_AT, /* last index, rejected */
    [STRONG_TIMEOUT_NOW] = HAS_TERM | HAS_INDEX,
    [STRONG_PIECE] = HAS_TERM | HAS_INDEX | HAS_COMMIT | HAS_AT | HAS_PIECE,
    [STRONG_PIECE_RESULT] = HAS_INDEX | HAS_AT,
    [STRONG_CALL] = HAS_FLAGS | HAS_NUMBER | HAS_COMMAND,
    [STRONG_ANSWER] = HAS_NUMBER | HAS_RESULT,
    [STRONG_DAMAGED] = HAS_NUMBER,
    [STRONG_READMIT] = HAS_NUMBER | HAS_TERM | HAS_COMMIT,
};

static void write_result(const struct slv_strong_result *r, struct slv_buf *b) {
    slv_write_number(b, (uint64_t)r->status);
    slv_write_number(b, r->index);
    slv_write_number(b, r->version);
    slv_write_id(b, r->hint);
    slv_write_bytes(b, r->value.p, r->value.n);
}

static void read_result(struct slv_reader *r, struct slv_strong_result *ret) {
    ret->status = (enum slv_strong_status)slv_read_number(r, SLV_STRONG_STATUSES - 1);
    ret->index = slv_read_number(r, STRONG_NUMBER_MAX);
    ret->version = slv_read_number(r, STRONG_NUMBER_MAX);
    ret->hint = slv_read_id(r);
    ret->value = slv_read_bytes(r, SLV_STRONG_VALUE_MAX);
}

void strong_msg_write(const struct strong_msg *m, struct slv_buf *b) {
    const unsigned f = has[m->kind];
    slv_write_number(b, STRONG_WIRE_VERSION);
    slv_write_number(b, (uint64_t)m->kind);
    if (f & HAS_TERM) slv_write_number(b, m->term);
    if (f & HAS_INDEX) {
        slv_write_number(b, m->index);
        slv_write_number(b, m->index_term);
    }
    if (f & HAS_COMMIT) slv_write_number(b, m->commit);
    if (f & HAS_FLAGS) slv_write_number(b, m->flags);
    if (f & HAS_NUMBER) slv_write_id(b, m->number);
    if (f & HAS_AT) slv_write_number(b, m->at);
    if (f & HAS_PIECE) {
        strong_members_write(&m->members, b);
        slv_write_number(b, m->size);
        slv_write_bytes(b, m->bytes.p, m->bytes.n);
    }
    if (f & HAS_ENTRIES) {
        slv_write_number(b, m->n);
        slv_buf_add(b, m->bytes.p, m->bytes.n);
    }
    if (f & HAS_COMMAND) strong_command_write(&m->command, b);
    if (f & HAS_RESULT) write_result(&m->result, b);
}

static void read_entries(struct slv_reader *r, struct strong_msg *m) {
    uint64_t term = m->index_term;
    m->n = (unsigned)slv_read_number(r, STRONG_ENTRIES_MAX);
    m->bytes.p = (const char *)r->p;
    for (unsigned i = 0; i < m->n && !r->bad; i++) {
        struct strong_entry e;
        if (!strong_entry_read(r, &e)) return;
        if (e.term < term || e.term > m->term) r->bad = true;
        term = e.term;
    }
    m->bytes.n = (size_t)((const char *)r->p - m->bytes.p);
}

static void read_piece(struct slv_reader *r, struct strong_msg *m) {
    if (!strong_members_read(r, &m->members)) return;
    m->size = slv_read_number(r, STRONG_SNAPSHOT_MAX);
    m->bytes = slv_read_bytes(r, SLV_STRONG_PIECE_MAX);
    if (m->at > m->size || m->bytes.n > m->size - m->at || !m->bytes.n || !m->index || !m->commit ||
        m->commit > m->index)
        r->bad = true;
}

bool strong_msg_read(struct slv_str bytes, struct strong_msg *m) {
    if (bytes.n > SLV_STRONG_MESSAGE_MAX) return false;
    struct slv_reader reader = slv_reader_of(bytes.p, bytes.n), *r = &reader;
    memset(m, 0, sizeof *m);
    m->bytes = m->result.value = (struct slv_str){"", 0};
    if (slv_read_number(r, STRONG_WIRE_VERSION) != STRONG_WIRE_VERSION) return false;
    m->kind = (enum strong_kind_of_message)slv_read_number(r, STRONG_MESSAGES - 1);
    if (r->bad || !m->kind) return false;
    const unsigned f = has[m->kind];
    if (f & HAS_TERM) m->term = slv_read_number(r, STRONG_TERM_MAX);
    if (f & HAS_INDEX) {
        m->index = slv_read_number(r, STRONG_NUMBER_MAX);
        m->index_term = slv_read_number(r, STRONG_TERM_MAX);
        if (!m->index != !m->index_term) return false;
        if ((f & HAS_TERM) && m->index_term > m->term) return false;
    }
    if (f & HAS_COMMIT) m->commit = slv_read_number(r, STRONG_NUMBER_MAX);
    if (f & HAS_FLAGS) m->flags = (unsigned)slv_read_number(r, 3);
    if (f & HAS_NUMBER) m->number = slv_read_id(r);
    if (f & HAS_AT) m->at = slv_read_number(r, STRONG_NUMBER_MAX);
    if (r->bad || ((f & HAS_TERM) && !m->term)) return false;
    if (f & HAS_PIECE) read_piece(r, m);
    if (f & HAS_ENTRIES) read_entries(r, m);
    if ((f & HAS_COMMAND) && !strong_command_read(r, &m->command)) return false;
    if ((f & HAS_RESULT)) read_result(r, &m->result);
    return slv_reader_done(r);
}
