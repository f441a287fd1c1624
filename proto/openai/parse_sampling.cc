// The fields that all APIs share, one function a group of them; the first wrong field ends the reading.
#include "proto/openai/parse_sampling.h"

#include <fmt/format.h>

#include <charconv>

namespace coppice::openai {
namespace {

// Fields that change what the answer must be and that this server cannot honour: better refused than ignored.
constexpr const char* kRefused[] = {"logits_processors", "prompt_embeds",          "audio",          "bad_words",
                                    "allowed_token_ids", "truncate_prompt_tokens", "use_beam_search"};

void read_seed(FieldReader& reader, SamplingFields& sampling) {
  const Json* const value = reader.find("seed");
  if (value == nullptr) {
    return;
  }
  if (value->is_number_unsigned()) {
    sampling.seed = value->get<std::uint64_t>();
  } else if (const std::optional<std::int64_t> number = as_integer(*value)) {
    sampling.seed = static_cast<std::uint64_t>(*number);
  } else {
    reader.fail_type("seed", "a 64-bit integer", *value);
  }
}

void read_logit_bias(FieldReader& reader, SamplingFields& sampling) {
  const Json* const object = reader.find("logit_bias");
  if (object == nullptr) {
    return;
  }
  if (!object->is_object()) {
    reader.fail_type("logit_bias", "an object from token ids to numbers", *object);
    return;
  }
  for (const auto& [key, bias] : object->items()) {
    std::int64_t token = 0;
    const auto [end, problem] = std::from_chars(key.data(), key.data() + key.size(), token);
    // One spelling only: "1" and "01" would be two biases of one token.
    if (problem != std::errc() || end != key.data() + key.size() || key != fmt::to_string(token)) {
      reader.fail(
          bad_value("logit_bias", fmt::format("'logit_bias' keys must be token ids; got \"{}\"", key.substr(0, 40))));
      return;
    }
    if (!is_number(bias)) {
      reader.fail_type("logit_bias", "an object from token ids to numbers", bias);
      return;
    }
    sampling.logit_bias.emplace_back(token, as_double(bias));
  }
}

ApiError too_many(const char* name, std::int64_t most, const char* what, std::size_t got) {
  return bad_value(name, fmt::format("'{}' must have at most {} {}; got {}", name, most, what, got));
}

void read_stop_tokens(FieldReader& reader, const RequestLimits& limits, SamplingFields& sampling) {
  const Json* const tokens = reader.find("stop_token_ids");
  if (tokens == nullptr) {
    return;
  }
  if (!tokens->is_array()) {
    reader.fail_type("stop_token_ids", "an array of token ids", *tokens);
    return;
  }
  if (tokens->size() > static_cast<std::size_t>(limits.stop_tokens_max)) {
    reader.fail(too_many("stop_token_ids", limits.stop_tokens_max, "tokens", tokens->size()));
    return;
  }
  for (const Json& token : *tokens) {
    const std::optional<std::int64_t> id = as_integer(token);
    if (!id.has_value()) {
      reader.fail_type("stop_token_ids", "an array of token ids", token);
      return;
    }
    sampling.stop_token_ids.push_back(*id);
  }
}

}  // namespace

ApiError unsupported_field(const std::string& name) {
  return not_supported(name, fmt::format("'{}' is not supported yet: leave it out", name));
}

void refuse_unsupported(FieldReader& reader) {
  for (const char* const name : kRefused) {
    if (const Json* value = reader.find(name); value != nullptr && !is_empty(*value) && *value != false) {
      reader.fail(unsupported_field(name));
    }
  }
  if (const Json* const kinds = reader.find("modalities"); kinds != nullptr && kinds->is_array()) {
    for (const Json& kind : *kinds) {
      if (kind != "text") {
        reader.fail(not_supported("modalities", "'modalities' may hold \"text\" alone; got " + describe(kind)));
      }
    }
  }
}

void read_stop(FieldReader& reader, const char* name, const RequestLimits& limits, std::vector<std::string>& stop) {
  const Json* const given = reader.find(name);
  if (given == nullptr) {
    return;
  }
  if (given->is_string()) {
    stop.push_back(given->get_ref<const std::string&>());
    return;
  }
  if (!given->is_array()) {
    reader.fail_type(name, "a string or an array of strings", *given);
    return;
  }
  if (given->size() > static_cast<std::size_t>(limits.stop_max)) {
    reader.fail(too_many(name, limits.stop_max, "strings", given->size()));
    return;
  }
  for (const Json& item : *given) {
    if (!item.is_string()) {
      reader.fail_type(name, "a string or an array of strings", item);
      return;
    }
    stop.push_back(item.get_ref<const std::string&>());
  }
}

void read_sampling(FieldReader& reader, const RequestLimits& limits, GenerationRequest& request) {
  base::for_each_sampling_knob([&](const base::SamplingKnob& knob, auto& value) { reader.read(knob.name, value); },
                               request.sampling);
  read_seed(reader, request.sampling);
  read_logit_bias(reader, request.sampling);
  read_stop_tokens(reader, limits, request.sampling);
  read_server_formats(reader, request);
  reader.read("add_special_tokens", request.add_special_tokens);
  reader.read("priority", request.priority);
  reader.read("cache_salt", request.cache_salt);
  reader.read("user", request.user);
}

}  // namespace coppice::openai
