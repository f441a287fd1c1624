// What the fields may be, and what they mean here.
#include "proto/openai/service_fields.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>

#include "proto/openai/time_text.h"

namespace coppice::openai {
namespace {

using std::chrono::seconds;

constexpr std::size_t kMetadataPairsMax = 16;                    // OpenAI's bound
constexpr std::size_t kMetadataKeyMax = 64;                      // characters; OpenAI's bound
constexpr std::size_t kMetadataValueMax = 512;                   // characters; OpenAI's bound
constexpr std::size_t kSafetyIdentifierMax = 128;                // bytes; twice OpenAI's bound, as its client allows
constexpr std::size_t kCacheKeyMax = 512;                        // bytes, as of other names
constexpr seconds kCacheTimeDefault = std::chrono::minutes{30};  // OpenAI's only ttl
constexpr seconds kCacheTimeMax = std::chrono::hours{24};        // OpenAI's longest retention
// The prompt's end is a breakpoint itself.
constexpr std::size_t kBreakpointsBesideImplicit = kCacheBreakpointsMax - 1;

std::size_t count_characters(std::string_view text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U; }));
}

// "'name' must be "a", "b" or "c"; got …" unless `value` is one of them.
template <std::size_t kCount>
MaybeError check_choice(const char* name, const std::optional<std::string>& value,
                        const std::array<std::string_view, kCount>& allowed) {
  if (!value || std::find(allowed.begin(), allowed.end(), *value) != allowed.end()) {
    return std::nullopt;
  }
  std::string list;
  for (std::size_t i = 0; i < kCount; ++i) {
    list += fmt::format("{}\"{}\"", i == 0 ? "" : i + 1 == kCount ? " or " : ", ", allowed[i]);
  }
  return bad_value(name, fmt::format("'{}' must be {}; got \"{}\"", name, list, value->substr(0, 40)));
}

MaybeError check_length(const char* name, const std::optional<std::string>& value, std::size_t most) {
  if (!value || value->size() <= most) {
    return std::nullopt;
  }
  return bad_value(name, fmt::format("'{}' must have at most {} bytes; got {}", name, most, value->size()));
}

MaybeError check_choices(const ServiceFields& fields) {
  constexpr std::array<std::string_view, 6> kTiers = {"auto", "default", "flex", "scale", "priority", "fast"};
  constexpr std::array<std::string_view, 2> kModes = {"implicit", "explicit"};
  constexpr std::array<std::string_view, 2> kRetentions = {"in_memory", "24h"};
  constexpr std::array<std::string_view, 3> kVerbosities = {"low", "medium", "high"};
  for (MaybeError error : {check_choice("service_tier", fields.service_tier, kTiers),
                           check_choice("prompt_cache_options.mode", fields.cache_mode, kModes),
                           check_choice("prompt_cache_retention", fields.prompt_cache_retention, kRetentions),
                           check_choice("verbosity", fields.verbosity, kVerbosities),
                           check_length("safety_identifier", fields.safety_identifier, kSafetyIdentifierMax),
                           check_length("prompt_cache_key", fields.prompt_cache_key, kCacheKeyMax)}) {
    if (error) {
      return error;
    }
  }
  if (fields.cache_ttl && !parse_time(*fields.cache_ttl, kCacheTimeMax)) {
    return bad_value("prompt_cache_options.ttl",
                     fmt::format("'prompt_cache_options.ttl' must be a time such as \"30m\", from 1s to 24h; got "
                                 "\"{}\"",
                                 fields.cache_ttl->substr(0, 40)));
  }
  return check_metadata(fields.metadata);
}

ServiceTier tier_of(const std::string& name) {
  return name == "flex"                         ? ServiceTier::kFlex
         : name == "priority" || name == "fast" ? ServiceTier::kPriority
                                                : ServiceTier::kDefault;
}

void set_cache_control(const ServiceFields& fields, GenerationRequest& request) {
  const bool is_long = fields.prompt_cache_retention == "24h";
  const seconds time = fields.cache_ttl ? *parse_time(*fields.cache_ttl, kCacheTimeMax)
                       : is_long        ? kCacheTimeMax
                                        : kCacheTimeDefault;
  CacheControl& control = request.cache_control;
  control.is_explicit = fields.cache_mode == "explicit";
  control.field = fields.cache_mode || fields.cache_ttl ? "prompt_cache_options" : "prompt_cache_retention";
  if (!control.is_explicit && (fields.cache_mode || fields.cache_ttl || is_long)) {
    control.keeps_prompt = time;
  }
  if (request.chat.marks.empty()) {
    return;
  }
  for (CacheBreakpoint& mark : request.chat.marks) {
    mark.time_to_live = time;
  }
  CacheBreakpoints& breakpoints = request.cache_breakpoints;
  breakpoints = arrange_breakpoints(std::move(request.chat.marks), *request.chat.messages);
  request.chat.marks.clear();
  if (control.keeps_prompt.count() > 0 && breakpoints.size() > kBreakpointsBesideImplicit) {
    breakpoints.erase(breakpoints.begin());
  }
}

void name_ignored(const ServiceFields& fields, GenerationRequest& request) {
  const auto name = [&request](const char* field, bool is_given) {
    if (is_given) {
      request.ignored.add(field);
    }
  };
  name("prompt_cache_key", fields.prompt_cache_key.has_value());
  name("safety_identifier", fields.safety_identifier.has_value());
  name("user", !request.user.empty());
  name("metadata", !fields.metadata.empty());
  name("verbosity", fields.verbosity.value_or("medium") != "medium");
  name("store", fields.store);
}

}  // namespace

std::string_view service_tier_name(ServiceTier tier) {
  switch (tier) {
    case ServiceTier::kUnset:
      return "";
    case ServiceTier::kDefault:
      return "default";
    case ServiceTier::kFlex:
      return "flex";
    case ServiceTier::kPriority:
      return "priority";
  }
  return "";
}

void read_metadata(FieldReader& reader, std::vector<std::pair<std::string, std::string>>& metadata) {
  const Json* const object = reader.find("metadata");
  if (object == nullptr) {
    return;
  }
  if (!object->is_object()) {
    reader.fail_type("metadata", "an object of texts", *object);
    return;
  }
  for (const auto& [key, value] : object->items()) {
    if (!value.is_string()) {
      reader.fail_type("metadata", "an object of texts", value);
      return;
    }
    metadata.emplace_back(key, value.get<std::string>());
  }
}

MaybeError check_metadata(const std::vector<std::pair<std::string, std::string>>& metadata) {
  if (metadata.size() > kMetadataPairsMax) {
    return bad_value("metadata",
                     fmt::format("'metadata' must have at most {} pairs; got {}", kMetadataPairsMax, metadata.size()));
  }
  for (const auto& [key, value] : metadata) {
    const std::size_t characters = count_characters(key);
    if (characters == 0 || characters > kMetadataKeyMax || count_characters(value) > kMetadataValueMax) {
      return bad_value("metadata",
                       fmt::format("'metadata' must have keys of 1 to {} characters and values of at most {}; got {} "
                                   "and {}",
                                   kMetadataKeyMax, kMetadataValueMax, characters, count_characters(value)));
    }
  }
  return std::nullopt;
}

void read_serving(FieldReader& reader, ServiceFields& fields) {
  reader.read("service_tier", fields.service_tier);
  reader.read("prompt_cache_retention", fields.prompt_cache_retention);
  const Json* const options = reader.find("prompt_cache_options");
  if (options == nullptr) {
    return;
  }
  if (!options->is_object()) {
    reader.fail_type("prompt_cache_options", "an object with 'mode' and 'ttl'", *options);
    return;
  }
  FieldReader inner(*options, "prompt_cache_options.");
  inner.read("mode", fields.cache_mode);
  inner.read("ttl", fields.cache_ttl);
  if (inner.failed()) {
    reader.fail(*inner.error());
  } else if (!fields.cache_mode) {
    fields.cache_mode = "implicit";
  }
}

void read_service(FieldReader& reader, ServiceFields& fields) {
  read_serving(reader, fields);
  reader.read("prompt_cache_key", fields.prompt_cache_key);
  reader.read("safety_identifier", fields.safety_identifier);
  reader.read("verbosity", fields.verbosity);
  reader.read("store", fields.store);
  read_metadata(reader, fields.metadata);
}

MaybeError apply_service(const ServiceFields& fields, GenerationRequest& request) {
  if (MaybeError error = check_choices(fields)) {
    return error;
  }
  if (fields.service_tier) {
    request.service_tier = tier_of(*fields.service_tier);
  }
  set_cache_control(fields, request);
  name_ignored(fields, request);
  return std::nullopt;
}

}  // namespace coppice::openai
