/* stream.h: text as it is generated: ids in one at a time, whole characters out.
 *
 * A token's bytes may end in the middle of a character. What is complete is given out at once, up
 * to three bytes are held back until more comes or the end shows that they are broken. What comes
 * out, all together, is what slv_detokenize makes of the same ids. Threads: one a stream. */
#ifndef SLV_FORMAT_STREAM_H
#define SLV_FORMAT_STREAM_H

#include "format/tokenizer.h"

struct slv_stream {
    const struct slv_tokenizer *t;
    bool special; /* control tokens are written out */
    bool raw;     /* bytes as they are: nothing is held back or repaired */
    bool begun;   /* a token has given text: SentencePiece's first space is behind us */
    unsigned char n_held;
    char held[3]; /* the beginning of a character */
};

/* Borrows t. Needs no fini. */
void slv_stream_init(struct slv_stream *s, const struct slv_tokenizer *t, bool special, bool raw);

/* Appends what id completes to out: valid UTF-8 unless raw, perhaps nothing. SLV_E_USAGE for an id
 * outside the vocabulary; else out's status. After an error the stream is where it was. */
int slv_stream_add(struct slv_stream *s, int32_t id, struct slv_buf *out);

/* The end: appends U+FFFD for a character that was begun and never finished. The stream is as
 * after init. */
int slv_stream_end(struct slv_stream *s, struct slv_buf *out);

#endif
