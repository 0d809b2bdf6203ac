/* hf_none.c: in the place of hf.c where the library is built without it (-Dhf=false). */
#include "format/hf.h"

int slv_hf_open(const char *folder, struct slv_gguf **ret, struct slv_err *err) {
    (void)ret;
    return slv_err_set(err, SLV_E_UNSUPPORTED,
                       "%s: folders are not read: built without Hugging Face folders", folder);
}
