// The flags that say where and in what a model computes, the same for every command that runs one.
#pragma once

#include "server/config/option_table.h"
#include "server/model/compute_options.h"

namespace coppice::server {

// --device, --dtype, --quant, --kv-dtype.
void add_compute_rows(OptionTable& table, ComputeOptions& options);

}  // namespace coppice::server
