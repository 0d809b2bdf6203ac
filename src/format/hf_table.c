/* hf_table.c: the model types of Hugging Face folders that are read, and the names in them.
 *
 * Sources: the configurations and checkpoints as published (config.json's fields are those of the
 * authors' configuration classes), GGUF's names as in ggml's docs/gguf.md. */
#include "format/hf_int.h"

#include <string.h>

#define U(json, key)                                                                               \
    { json, key, HF_U32, NULL }
#define F(json, key)                                                                               \
    { json, key, HF_F32, NULL }
#define MUST(json, value)                                                                          \
    { json, NULL, HF_MUST, value }
#define END                                                                                        \
    { NULL, NULL, 0, NULL }

static const struct hf_key bert_keys[] = {
    U("hidden_size", "embedding_length"),
    U("num_hidden_layers", "block_count"),
    U("num_attention_heads", "attention.head_count"),
    U("intermediate_size", "feed_forward_length"),
    U("max_position_embeddings", "context_length"),
    U("vocab_size", "vocab_size"),
    {"layer_norm_eps", "attention.layer_norm_epsilon", HF_F32, "1e-12"},
    {"hidden_act", "activation", HF_STR, "gelu"},
    MUST("position_embedding_type", "absolute"),
    MUST("is_decoder", "false"),
    END};

/* What BERT and RoBERTa share. */
#define BERT_NAMES                                                                                 \
    {"embeddings.word_embeddings.weight", "token_embd.weight"},                                    \
        {"embeddings.position_embeddings.weight", "position_embd.weight"},                         \
        {"embeddings.token_type_embeddings.weight", "token_types.weight"},                         \
        {"embeddings.LayerNorm.gamma", "token_embd_norm.weight"},                                  \
        {"embeddings.LayerNorm.beta", "token_embd_norm.bias"},                                     \
        {"embeddings.LayerNorm.*", "token_embd_norm.*"}, {"embeddings.position_ids", NULL},        \
        {"encoder.layer.#.attention.self.query.*", "blk.#.attn_q.*"},                              \
        {"encoder.layer.#.attention.self.key.*", "blk.#.attn_k.*"},                                \
        {"encoder.layer.#.attention.self.value.*", "blk.#.attn_v.*"},                              \
        {"encoder.layer.#.attention.output.dense.*", "blk.#.attn_output.*"},                       \
        {"encoder.layer.#.attention.output.LayerNorm.gamma", "blk.#.attn_output_norm.weight"},     \
        {"encoder.layer.#.attention.output.LayerNorm.beta", "blk.#.attn_output_norm.bias"},        \
        {"encoder.layer.#.attention.output.LayerNorm.*", "blk.#.attn_output_norm.*"},              \
        {"encoder.layer.#.intermediate.dense.*", "blk.#.ffn_up.*"},                                \
        {"encoder.layer.#.output.dense.*", "blk.#.ffn_down.*"},                                    \
        {"encoder.layer.#.output.LayerNorm.gamma", "blk.#.layer_output_norm.weight"},              \
        {"encoder.layer.#.output.LayerNorm.beta", "blk.#.layer_output_norm.bias"}, {               \
        "encoder.layer.#.output.LayerNorm.*", "blk.#.layer_output_norm.*"                          \
    }

static const struct hf_name bert_names[] = {
    BERT_NAMES,
    {"pooler.dense.*", "cls.*"},
    {"classifier.*", "cls.output.*"},
    {"cls.predictions.*", NULL}, /* what pre-training wanted */
    {"cls.seq_relationship.*", NULL},
    {NULL, NULL}};

/* Positions are counted from the padding token's id on, and one more. */
static const struct hf_key roberta_keys[] = {
    U("hidden_size", "embedding_length"),
    U("num_hidden_layers", "block_count"),
    U("num_attention_heads", "attention.head_count"),
    U("intermediate_size", "feed_forward_length"),
    {"max_position_embeddings", "context_length", HF_PLACES, NULL},
    U("vocab_size", "vocab_size"),
    {"layer_norm_eps", "attention.layer_norm_epsilon", HF_F32, "1e-12"},
    {"hidden_act", "activation", HF_STR, "gelu"},
    MUST("position_embedding_type", "absolute"),
    MUST("is_decoder", "false"),
    END};

static const struct hf_name roberta_names[] = {BERT_NAMES,
                                               {"pooler.dense.*", NULL},
                                               {"classifier.dense.*", "cls.*"},
                                               {"classifier.out_proj.*", "cls.output.*"},
                                               {"lm_head.*", NULL},
                                               {NULL, NULL}};

static const struct hf_key distilbert_keys[] = {
    U("dim", "embedding_length"),
    U("n_layers", "block_count"),
    U("n_heads", "attention.head_count"),
    U("hidden_dim", "feed_forward_length"),
    U("max_position_embeddings", "context_length"),
    U("vocab_size", "vocab_size"),
    {"layer_norm_eps", "attention.layer_norm_epsilon", HF_F32, "1e-12"},
    {"activation", "activation", HF_STR, "gelu"},
    END};

static const struct hf_name distilbert_names[] = {
    {"embeddings.word_embeddings.weight", "token_embd.weight"},
    {"embeddings.position_embeddings.weight", "position_embd.weight"},
    {"embeddings.LayerNorm.*", "token_embd_norm.*"},
    {"embeddings.position_ids", NULL},
    {"transformer.layer.#.attention.q_lin.*", "blk.#.attn_q.*"},
    {"transformer.layer.#.attention.k_lin.*", "blk.#.attn_k.*"},
    {"transformer.layer.#.attention.v_lin.*", "blk.#.attn_v.*"},
    {"transformer.layer.#.attention.out_lin.*", "blk.#.attn_output.*"},
    {"transformer.layer.#.sa_layer_norm.*", "blk.#.attn_output_norm.*"},
    {"transformer.layer.#.ffn.lin1.*", "blk.#.ffn_up.*"},
    {"transformer.layer.#.ffn.lin2.*", "blk.#.ffn_down.*"},
    {"transformer.layer.#.output_layer_norm.*", "blk.#.layer_output_norm.*"},
    {"vocab_transform.*", NULL},
    {"vocab_layer_norm.*", NULL},
    {"vocab_projector.*", NULL},
    {NULL, NULL}};

static const struct hf_key nomic_keys[] = {
    U("n_embd", "embedding_length"),
    U("n_layer", "block_count"),
    U("n_head", "attention.head_count"),
    U("n_inner", "feed_forward_length"),
    U("n_positions", "context_length"),
    U("vocab_size", "vocab_size"),
    {"layer_norm_epsilon", "attention.layer_norm_epsilon", HF_F32, "1e-12"},
    {"rotary_emb_base", "rope.freq_base", HF_F32, "10000"},
    MUST("activation_function", "swiglu"),
    MUST("prenorm", "false"),
    MUST("parallel_block", "false"),
    MUST("rotary_emb_fraction", "1"),
    MUST("rotary_emb_interleaved", "false"),
    MUST("rotary_emb_scale_base", "null"),
    MUST("rotary_scaling_factor", "null"),
    MUST("causal", "false"),
    MUST("use_rms_norm", "false"),
    MUST("num_experts", "0"),
    END};

static const struct hf_name nomic_names[] = {
    {"embeddings.word_embeddings.weight", "token_embd.weight"},
    {"embeddings.token_type_embeddings.weight", "token_types.weight"},
    {"emb_ln.*", "token_embd_norm.*"},
    {"encoder.layers.#.attn.Wqkv.*", "blk.#.attn_qkv.*"},
    {"encoder.layers.#.attn.out_proj.*", "blk.#.attn_output.*"},
    {"encoder.layers.#.norm1.*", "blk.#.attn_output_norm.*"},
    {"encoder.layers.#.mlp.fc11.*", "blk.#.ffn_up.*"},
    {"encoder.layers.#.mlp.fc12.*", "blk.#.ffn_gate.*"},
    {"encoder.layers.#.mlp.fc2.*", "blk.#.ffn_down.*"},
    {"encoder.layers.#.norm2.*", "blk.#.layer_output_norm.*"},
    {NULL, NULL}};

/* What every decoder of this table says of its shape. */
#define DECODER_SHAPE                                                                              \
    U("hidden_size", "embedding_length"), U("num_hidden_layers", "block_count"),                   \
        U("num_attention_heads", "attention.head_count"),                                          \
        U("num_key_value_heads", "attention.head_count_kv"),                                       \
        U("head_dim", "attention.key_length"), U("head_dim", "attention.value_length"),            \
        U("intermediate_size", "feed_forward_length"),                                             \
        U("max_position_embeddings", "context_length"), U("vocab_size", "vocab_size")

static const struct hf_key llama_keys[] = {
    DECODER_SHAPE,
    {"rms_norm_eps", "attention.layer_norm_rms_epsilon", HF_F32, "1e-6"},
    MUST("hidden_act", "silu"),
    MUST("use_sliding_window", "false"),
    MUST("pretraining_tp", "1"),
    END};

static const struct hf_key mistral_keys[] = {
    DECODER_SHAPE,
    U("sliding_window", "attention.sliding_window"),
    {"rms_norm_eps", "attention.layer_norm_rms_epsilon", HF_F32, "1e-6"},
    MUST("hidden_act", "silu"),
    END};

static const struct hf_name llama_names[] = {
    {"model.embed_tokens.weight", "token_embd.weight"},
    {"model.norm.weight", "output_norm.weight"},
    {"lm_head.weight", "output.weight"},
    {"model.layers.#.input_layernorm.weight", "blk.#.attn_norm.weight"},
    {"model.layers.#.post_attention_layernorm.weight", "blk.#.ffn_norm.weight"},
    {"model.layers.#.self_attn.q_proj.*", "blk.#.attn_q.*"},
    {"model.layers.#.self_attn.k_proj.*", "blk.#.attn_k.*"},
    {"model.layers.#.self_attn.v_proj.*", "blk.#.attn_v.*"},
    {"model.layers.#.self_attn.o_proj.*", "blk.#.attn_output.*"},
    {"model.layers.#.self_attn.q_norm.weight", "blk.#.attn_q_norm.weight"},
    {"model.layers.#.self_attn.k_norm.weight", "blk.#.attn_k_norm.weight"},
    {"model.layers.#.self_attn.rotary_emb.inv_freq", NULL},
    {"model.layers.#.mlp.gate_proj.*", "blk.#.ffn_gate.*"},
    {"model.layers.#.mlp.up_proj.*", "blk.#.ffn_up.*"},
    {"model.layers.#.mlp.down_proj.*", "blk.#.ffn_down.*"},
    {NULL, NULL}};

static const struct hf_family families[] = {
    {"bert", "bert", bert_keys, bert_names, "bert.", false},
    {"distilbert", "bert", distilbert_keys, distilbert_names, "distilbert.", false},
    {"roberta", "bert", roberta_keys, roberta_names, "roberta.", false},
    {"xlm-roberta", "bert", roberta_keys, roberta_names, "roberta.", false},
    {"nomic_bert", "nomic-bert", nomic_keys, nomic_names, "bert.", false},
    {"llama", "llama", llama_keys, llama_names, NULL, true},
    {"mistral", "llama", mistral_keys, llama_names, NULL, true},
    {"qwen2", "qwen2", llama_keys, llama_names, NULL, false},
    {"qwen3", "qwen3", llama_keys, llama_names, NULL, false},
};

const struct hf_family *hf_family_get(struct slv_str type) {
    for (size_t i = 0; i < sizeof families / sizeof families[0]; i++)
        if (slv_str_is(type, families[i].type)) return &families[i];
    return NULL;
}

/* --- pre-tokenizers --------------------------------------------------------------------------- */

static const struct {
    const char *regex, *name;
} pretoks[] = {
    {"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| "
     "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
     "llama-bpe"},
    {"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| "
     "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
     "qwen2"},
};

const char *hf_pretok_name(struct slv_str regex) {
    for (size_t i = 0; i < sizeof pretoks / sizeof pretoks[0]; i++)
        if (slv_str_is(regex, pretoks[i].regex)) return pretoks[i].name;
    return NULL;
}

/* --- names ------------------------------------------------------------------------------------ */

bool hf_match(const char *pattern, struct slv_str name, struct slv_str *ret_layer,
              struct slv_str *ret_rest) {
    size_t at = 0;
    *ret_layer = *ret_rest = (struct slv_str){"", 0};
    for (const char *p = pattern; *p; p++) {
        const size_t from = at;
        if (*p == '*') {
            *ret_rest = (struct slv_str){name.p + at, name.n - at};
            return name.n > at;
        }
        if (*p != '#') {
            if (at == name.n || name.p[at] != *p) return false;
            at++;
            continue;
        }
        while (at < name.n && name.p[at] >= '0' && name.p[at] <= '9')
            at++;
        if (at == from || at - from > 4) return false;
        *ret_layer = (struct slv_str){name.p + from, at - from};
    }
    return at == name.n;
}
