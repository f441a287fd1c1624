// What a model takes on a device, for `coppice inspect` and before weights are loaded.
#pragma once

#include "kernels/device.h"
#include "models/inspect.h"
#include "models/model_config.h"
#include "models/weights.h"

namespace coppice::server {

// Weights that the device does not multiply with in their own format count as what they are widened to.
inline models::ModelFacts facts_on(const kernels::Device& device, const models::ModelConfig& config,
                                   const models::WeightSource& weights, const kernels::ModelFormats& formats) {
  return models::model_facts(config, weights.stored(), formats, [&](kernels::WeightFormat format) {
    return device.supports(kernels::PackingOptions{formats.compute, format}) != kernels::Support::kNone;
  });
}

}  // namespace coppice::server
