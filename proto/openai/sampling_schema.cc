// Members from the tables, and those with a form of their own.
#include "proto/openai/sampling_schema.h"

#include <algorithm>
#include <iterator>
#include <limits>
#include <optional>
#include <type_traits>
#include <utility>

#include "base/sampling.h"
#include "proto/openai/format_schema.h"
#include "proto/openai/request_fields.h"

namespace coppice::openai {

void append_members(SchemaMembers& members, SchemaMembers more) {
  members.insert(members.end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
}

Schema name_schema(const RequestLimits& limits) {
  return Schema::string(0, static_cast<std::size_t>(limits.name_bytes_max));
}

Schema token_id_schema(const RequestLimits& limits) {
  return Schema::integer(0, limits.vocab - 1);
}

SchemaMembers sampling_members(const RequestLimits& limits) {
  SchemaMembers members;
  base::SamplingChoices knobs;
  base::for_each_sampling_knob(
      [&](const base::SamplingKnob& knob, const auto& value) {
        if constexpr (std::is_same_v<std::decay_t<decltype(value)>, std::optional<double>>) {
          members.push_back(optional(knob.name, Schema::number(knob.least, knob.most), knob.meaning));
        } else {
          const std::int64_t most = std::min(static_cast<std::int64_t>(knob.most), limits.vocab);
          members.push_back(
              optional(knob.name, Schema::integer(static_cast<std::int64_t>(knob.least), most), knob.meaning));
        }
      },
      knobs);
  const auto stop_tokens_max = static_cast<std::size_t>(limits.stop_tokens_max);
  constexpr double kBiasMax = 100;  // of a logit, as OpenAI
  append_members(
      members,
      {optional("seed", Schema::integer(), "Names the random numbers. Default: another one for each request."),
       optional("logit_bias", Schema::map(Schema::number(-kBiasMax, kBiasMax)),
                "Token ids with what is added to their logits."),
       optional("stop_token_ids", Schema::array(token_id_schema(limits), 0, stop_tokens_max, "token ids"),
                "End the answer as the model's end tokens do."),
       optional("add_special_tokens", Schema::boolean(),
                "Puts the model's BOS and the like around the prompt. Default: true; for conversations false."),
       optional("priority",
                Schema::integer(std::numeric_limits<std::int32_t>::min(), std::numeric_limits<std::int32_t>::max()),
                "Lower runs first."),
       optional("cache_salt", name_schema(limits), "Only requests of the same salt share cached prefixes."),
       optional("user", name_schema(limits), "Who asks. No effect.")});
  append_members(members, server_format_members());
  return members;
}

SchemaMembers request_field_members(const RequestLimits& limits, const std::vector<std::string>& names) {
  SchemaMembers members;
  GenerationRequest request;
  for_each_request_field(request, [&](const RequestField& field, const auto& value) {
    constexpr bool kIsSwitch = std::is_same_v<std::decay_t<decltype(value)>, bool>;
    if (names.empty() || std::find(names.begin(), names.end(), field.name) != names.end()) {
      members.push_back(optional(field.name,
                                 kIsSwitch ? Schema::boolean() : Schema::integer(field.least, field.most_of(limits)),
                                 field.meaning));
    }
  });
  return members;
}

Schema stop_schema(const RequestLimits& limits) {
  return Schema::string(1, static_cast<std::size_t>(limits.stop_bytes_max));
}

Schema stop_list_schema(const RequestLimits& limits) {
  return Schema::array(stop_schema(limits), 0, static_cast<std::size_t>(limits.stop_max), "strings");
}

}  // namespace coppice::openai
