/* pack_dict.h: the bytes of pack.dict, which the build puts into a C file (tools/embed.py). */
#ifndef SLV_MESH_PACK_DICT_H
#define SLV_MESH_PACK_DICT_H

#include <stddef.h>

extern const unsigned char slv_pack_dict[];
extern const size_t n_slv_pack_dict;

#endif
