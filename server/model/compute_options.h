// ComputeOptions: where and in what a model computes, as the user named it.
#pragma once

#include <string>

namespace coppice::server {

// A value. open_backend() and choose_formats() know the names.
struct ComputeOptions {
  std::string device = "auto";    // auto, cpu, cuda
  std::string dtype = "auto";     // auto, f32, bf16, f16
  std::string quant = "auto";     // as choose_storage() has it
  std::string kv_dtype = "auto";  // as choose_kv_format() has it
};

}  // namespace coppice::server
