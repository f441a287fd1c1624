// Words and bounds as apply_service() checks them, or wider where it counts in other units.
#include "proto/openai/service_schema.h"

#include <cstddef>

namespace coppice::openai {
namespace {

constexpr std::size_t kNameMax = 512;  // characters of a name or a note; apply_service() counts a name's bytes

}  // namespace

SchemaMembers serving_members() {
  const Schema cache_options =
      Schema::object({optional("mode", Schema::word({"implicit", "explicit"})),
                      optional("ttl", Schema::string(), "How long after its last use: \"30m\"; from 1s to 24h.")});
  return {optional("service_tier", Schema::word({"auto", "default", "flex", "scale", "priority", "fast"}),
                   "Which of a tenant's requests go first."),
          optional("prompt_cache_options", cache_options, "What of the prompt the cache keeps, and how long."),
          optional("prompt_cache_retention", Schema::word({"in_memory", "24h"}), "Deprecated: 24h is a ttl.")};
}

SchemaMembers service_members() {
  SchemaMembers members = serving_members();
  append_members(members, {optional("prompt_cache_key", Schema::string(0, kNameMax), "No effect."),
                           optional("safety_identifier", Schema::string(0, kNameMax), "Who asks. No effect."),
                           optional("metadata", Schema::map(Schema::string(0, kNameMax)), "Notes. No effect."),
                           optional("verbosity", Schema::word({"low", "medium", "high"}), "No effect."),
                           optional("store", Schema::boolean(), "No effect: nothing is stored.")});
  return members;
}

Schema::Member breakpoint_member() {
  return optional("prompt_cache_breakpoint", Schema::object({optional("mode", Schema::word({"explicit"}))}),
                  "The prompt is kept up to the end of this part.");
}

}  // namespace coppice::openai
