/* family.c: the table. Sources: the model cards and configurations of each family; names and tensor
 * layout as GGUF files have them. Mistral, TinyLlama, SmolLM2, Falcon3 and Llama 2 to 3.3 are all
 * "llama"; Phi-3, 3.5 and 4-mini are "phi3"; OLMo 3 is "olmo2" with windows. MiniLM, BGE, GTE,
 * E5 and DistilBERT are "bert". */
#include "engine/family.h"

#include <string.h>

static const struct slv_family families[] = {
    {.arch = "llama", .rope = SLV_ROPE_NORM, .pre_norm = true, .window = SLV_WINDOW_ALL},
    {.arch = "mistral3", .rope = SLV_ROPE_NORM, .pre_norm = true, .window = SLV_WINDOW_ALL},
    {.arch = "smollm3", .rope = SLV_ROPE_NORM, .pre_norm = true, .nope_step = 4},
    {.arch = "qwen2", .rope = SLV_ROPE_NEOX, .pre_norm = true},
    {.arch = "qwen3", .rope = SLV_ROPE_NEOX, .pre_norm = true, .qk_norm = SLV_QKN_HEAD},
    {.arch = "gemma",
     .rope = SLV_ROPE_NEOX,
     .act = SLV_ACT_GELU,
     .pre_norm = true,
     .embd_sqrt = true},
    {.arch = "gemma2",
     .rope = SLV_ROPE_NEOX,
     .act = SLV_ACT_GELU,
     .pre_norm = true,
     .post_norm = true,
     .embd_sqrt = true,
     .window = SLV_WINDOW_PATTERN,
     .pattern = 2,
     .window_default = 4096,
     .caps = true,
     .big_layers = 46},
    {.arch = "gemma3",
     .rope = SLV_ROPE_NEOX,
     .act = SLV_ACT_GELU,
     .pre_norm = true,
     .post_norm = true,
     .embd_sqrt = true,
     .qk_norm = SLV_QKN_HEAD,
     .window = SLV_WINDOW_PATTERN,
     .pattern = 6,
     .swa_plain = true,
     .swa_base = 10000,
     .big_layers = 62},
    {.arch = "phi2",
     .norm = SLV_NORM_LAYER,
     .rope = SLV_ROPE_NEOX,
     .act = SLV_ACT_GELU,
     .ffn = SLV_FFN_PLAIN,
     .pre_norm = true,
     .parallel = true},
    {.arch = "phi3", .rope = SLV_ROPE_NEOX, .pre_norm = true, .ffn = SLV_FFN_FUSED},
    {.arch = "stablelm",
     .norm = SLV_NORM_LAYER,
     .rope = SLV_ROPE_NEOX,
     .pre_norm = true,
     .parallel = true,
     .qk_norm = SLV_QKN_HEADS},
    {.arch = "granite", .rope = SLV_ROPE_NORM, .pre_norm = true, .scales = true},
    {.arch = "olmo2",
     .rope = SLV_ROPE_NEOX,
     .post_norm = true,
     .qk_norm = SLV_QKN_ROW,
     .window = SLV_WINDOW_PATTERN,
     .pattern = 4,
     .swa_plain = true},
    {.arch = "starcoder2",
     .norm = SLV_NORM_LAYER,
     .rope = SLV_ROPE_NEOX,
     .act = SLV_ACT_GELU,
     .ffn = SLV_FFN_PLAIN,
     .pre_norm = true},
    {.arch = "gpt2",
     .norm = SLV_NORM_LAYER,
     .rope = SLV_ROPE_NONE,
     .act = SLV_ACT_GELU,
     .ffn = SLV_FFN_PLAIN,
     .pre_norm = true},
    {.arch = "bert",
     .norm = SLV_NORM_LAYER,
     .rope = SLV_ROPE_NONE,
     .act = SLV_ACT_GELU_ERF,
     .ffn = SLV_FFN_PLAIN,
     .post_ln = true,
     .encoder = true,
     .types = true},
    {.arch = "nomic-bert",
     .norm = SLV_NORM_LAYER,
     .rope = SLV_ROPE_NEOX,
     .post_ln = true,
     .encoder = true,
     .types = true},
};

const struct slv_family *slv_family_at(size_t i) {
    return i < sizeof families / sizeof families[0] ? &families[i] : NULL;
}

const struct slv_family *slv_family_get(struct slv_str arch) {
    for (size_t i = 0; i < sizeof families / sizeof families[0]; i++)
        if (strlen(families[i].arch) == arch.n && !memcmp(families[i].arch, arch.p, arch.n))
            return &families[i];
    return NULL;
}
