/* hf.h: a folder in Hugging Face's layout, read as if it were a GGUF file.
 *
 *     config.json                      numbers            -> <arch>.* keys
 *     tokenizer.json, or vocab.txt     vocabulary, merges -> tokenizer.ggml.* keys
 *     tokenizer_config.json, special_tokens_map.json, generation_config.json, chat_template.jinja
 *     modules.json, 1_Pooling/config.json                 -> <arch>.pooling_type
 *     config_sentence_transformers.json, sentence_bert_config.json: only looked at
 *     model.safetensors, or model.safetensors.index.json  -> tensors, mapped where they lie
 *
 * Nothing is copied but the metadata: it is written as a GGUF header into memory and read by
 * gguf_parse.c, so that what follows (hparams.c, weights.c, tokenizer.c) knows one kind of model.
 * Which key and which tensor becomes which is data (hf_table.c): a row a family, rows of names in
 * it. What a folder says that would change the result and is not understood is refused.
 *
 * Nothing in the folder is trusted: sizes have limits (jsonin.h, safetensors.h), ids and lengths
 * are checked against each other.
 */
#ifndef SLV_FORMAT_HF_H
#define SLV_FORMAT_HF_H

#include "format/gguf.h"

/* SLV_E_NOENT: no config.json, or no tensors; SLV_E_FORMAT; SLV_E_UNSUPPORTED: a model type,
 * tokenizer or setting that is not known, or a library built without this reader; SLV_E_LIMIT;
 * SLV_E_NOMEM. Messages begin with the path of the file. */
int slv_hf_open(const char *folder, struct slv_gguf **ret, struct slv_err *err) SLV_MUST_USE;

#endif
