// What the fields of output_format.h hold, for documents.
#pragma once

#include "proto/openai/limits.h"
#include "proto/openai/sampling_schema.h"
#include "proto/openai/schema.h"

namespace coppice::openai {

Schema response_format_schema(const RequestLimits& limits);
// What read_flat_format() reads.
Schema flat_format_schema(const RequestLimits& limits);
// What read_server_formats() reads.
SchemaMembers server_format_members();

}  // namespace coppice::openai
