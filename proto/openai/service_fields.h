// The fields that say how a request is served rather than what it is answered: its class of service, what of its prompt
// the cache keeps, on whose behalf it comes. None changes an answer. Both front ends read them into ServiceFields;
// apply_service() checks them once for all and says what they mean here.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "proto/openai/api_fields.h"
#include "proto/openai/request.h"

namespace coppice::openai {

// As the client wrote them. Unset: absent.
struct ServiceFields {
  std::optional<std::string> service_tier;
  std::optional<std::string> prompt_cache_key;
  std::optional<std::string> cache_mode;  // prompt_cache_options.mode
  std::optional<std::string> cache_ttl;   // prompt_cache_options.ttl
  std::optional<std::string> prompt_cache_retention;
  std::optional<std::string> safety_identifier;
  std::optional<std::string> verbosity;
  bool store = false;
  std::vector<std::pair<std::string, std::string>> metadata;
};

// The table for docs/api.md. `priority`, `cache_salt` and `user` have members of GenerationRequest.
inline constexpr ApiField kServiceFields[] = {
    {"priority", FieldUse::kHonoured, "32-bit integer; default 0",
     "Lower goes first among its tenant's requests, as if each step had let it come 32 requests earlier."},
    {"service_tier", FieldUse::kHonoured, "`auto`, `default`, `flex`, `scale`, `priority` or `fast`",
     "`priority` and `fast` count as 16 steps of priority, `flex` as 16 steps less. The answer says which of "
     "`default`, `flex` and `priority` it was."},
    {"cache_salt", FieldUse::kHonoured, "text of at most 512 bytes",
     "Prefixes and drafts are shared only between requests of one key with the same salt."},
    {"prompt_cache_options", FieldUse::kHonoured, "`{\"mode\", \"ttl\"}`",
     "`ttl` (`30m`; a number with `s`, `m`, `h` or `d`, up to `24h`): how long the prompt stays in the cache after its "
     "last "
     "use, before others of the tenant. Mode `implicit` keeps all of it and its 3 last breakpoints; `explicit` writes "
     "and keeps only up to its 4 last breakpoints, and without one neither reads nor writes the cache."},
    {"prompt_cache_breakpoint", FieldUse::kHonoured, "`{\"mode\":\"explicit\"}` in a text part (gRPC: of a message)",
     "The prompt is kept up to the end of this part, in whole pages, for the `ttl`."},
    {"prompt_cache_retention", FieldUse::kHonoured, "`in_memory` or `24h`",
     "Deprecated. `24h` is a `ttl` of `24h` where there is none; `in_memory` is the default."},
    {"prompt_cache_key", FieldUse::kIgnored, "text of at most 512 bytes",
     "A hint for routers between servers. Within one, equal prefixes meet without it, and it parts none."},
    {"safety_identifier", FieldUse::kIgnored, "text of at most 128 bytes", "Names the end user."},
    {"user", FieldUse::kIgnored, "text of at most 512 bytes", "Names the end user; deprecated."},
    {"metadata", FieldUse::kIgnored, "16 pairs of text, keys of 64 characters, values of 512",
     "Notes of the client. Batches keep and repeat theirs.", "{}"},
    {"verbosity", FieldUse::kIgnored, "`low`, `medium` or `high`", "A hint for models that were trained on it.",
     "\"medium\""},
    {"store", FieldUse::kIgnored, "true or false", "Completions and chats are not stored.", "false"},
};

// From a body. ERRORS: in `reader`, for wrong types.
void read_service(FieldReader& reader, ServiceFields& fields);
// Of them service_tier and what the cache keeps alone: of APIs with a use of their own for the others.
void read_serving(FieldReader& reader, ServiceFields& fields);

// Checks the fields and sets what they mean: tier, cache control, breakpoints' times, names of those without effect.
// REQUIRES: `request.user` and `request.chat` are set. ERRORS: 400.
MaybeError apply_service(const ServiceFields& fields, GenerationRequest& request);

// What the answer calls it; "" when the request did not ask.
std::string_view service_tier_name(ServiceTier tier);

// Notes of a client: at most 16 pairs, keys of 1 to 64 characters, values of at most 512. ERRORS: 400.
MaybeError check_metadata(const std::vector<std::pair<std::string, std::string>>& metadata);
// The same from a body's `metadata`. ERRORS: in `reader`, for anything but an object of texts.
void read_metadata(FieldReader& reader, std::vector<std::pair<std::string, std::string>>& metadata);

}  // namespace coppice::openai
