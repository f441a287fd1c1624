// Rows of the option table for the device and the formats.
#include "server/commands/compute_flags.h"

#include "server/model/model_loader.h"

namespace coppice::server {

void add_compute_rows(OptionTable& table, ComputeOptions& options) {
  table.add_text("device", &options.device, "where to compute", {"auto", "cpu", "cuda"});
  table.add_text("dtype", &options.dtype, "activations and dense weights", {"auto", "f32", "bf16", "f16"});
  table.add_text("quant", &options.quant, "how matrices are stored; auto = as in the model's files", quant_names());
  table.add_text("kv-dtype", &options.kv_dtype, "keys and values in the KV cache; auto = as dtype", kv_dtype_names());
}

}  // namespace coppice::server
