// What the fields of bodies hold that all APIs which generate share, for documents; see parse_sampling.h.
#pragma once

#include <vector>

#include "proto/openai/limits.h"
#include "proto/openai/schema.h"

namespace coppice::openai {

using SchemaMembers = std::vector<Schema::Member>;

// Appends `more`.
void append_members(SchemaMembers& members, SchemaMembers more);

// A name: of a model, a client, a salt.
Schema name_schema(const RequestLimits& limits);
Schema token_id_schema(const RequestLimits& limits);

// The fields that read_sampling() reads.
SchemaMembers sampling_members(const RequestLimits& limits);
// The rows of request_fields.h whose names are given; none: all.
SchemaMembers request_field_members(const RequestLimits& limits, const std::vector<std::string>& names = {});
// One stop string, and a list of them.
Schema stop_schema(const RequestLimits& limits);
Schema stop_list_schema(const RequestLimits& limits);

}  // namespace coppice::openai
