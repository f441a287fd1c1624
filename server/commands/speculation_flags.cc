// Rows of the option table for speculation.
#include "server/commands/speculation_flags.h"

namespace coppice::server {

void SpeculationFlags::add_to(OptionTable& table, engine::EngineOptions& options, bool compares) {
  engine::SuffixSpeculatorOptions& suffix = options.suffix;
  if (compares) {
    table.add_text("speculation", &mode, "draft tokens from past outputs; both: off and on in turn, compared",
                   {"suffix", "on", "off", "both"});
  } else {
    table.add_text("speculation", &mode, "draft tokens from past outputs", {"suffix", "on", "off"});
  }
  table.add_integer("speculation-depth", &suffix.depth, 2, 255, "tokens of the longest match that is looked for");
  // The trees number their nodes of 36 bytes with 32 bits.
  constexpr std::size_t kMemoryMost = std::size_t{128} << 30;
  table.add_bytes("speculation-memory", &suffix.memory_bytes, 0, kMemoryMost, "memory for past outputs; the oldest go");
  table.add_integer("speculation-max-draft", &suffix.draft_max, 1, 128, "most drafted tokens of a sequence in a step");
  table.add_text("speculation-scoring", &scoring, "how likely a draft is: blended, or the published rule",
                 {"blended", "published"});
  table.add_number("speculation-alpha", &alpha, 0, 64, "published rule: drafted tokens for each token of the match");
  table.add_switch("speculation-shared", &suffix.shared_between_tenants,
                   "tenants draft from one another's outputs: faster, but timing reveals their text");
}

void SpeculationFlags::apply(engine::EngineOptions& options) const {
  options.speculation = mode != "off";
  options.suffix.scoring = scoring == "published" ? engine::DraftScoring::kPublished : engine::DraftScoring::kBlended;
  options.suffix.published.alpha = alpha;
}

}  // namespace coppice::server
