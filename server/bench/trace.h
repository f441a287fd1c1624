// Recorded workloads that `coppice bench serve --trace` plays again. Three forms; the first line decides between CSV
// and JSON:
//   CSV of Azure's public LLM traces: TIMESTAMP,ContextTokens,GeneratedTokens; times like 2023-11-16 18:15:46.6805900
//   JSON lines with text: {"timestamp": microseconds, "input": prompt, "output": answer, "session_id": name}
//   JSON lines with counts, Mooncake's: {"timestamp": milliseconds, "input_length": tokens, "output_length": tokens,
//     "hash_ids": [number, …]}; a number stands for 512 tokens, the same number for the same ones
// Lines need not be in the order of time: recorders write a request when it ends.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace coppice::server {

// What stands for a token where a trace has only text: English has about four bytes in one.
inline constexpr std::int64_t kBytesPerToken = 4;  // bytes; see above

inline constexpr std::int64_t kBlockTokens = 512;  // tokens that one of a trace's hash ids stands for

struct TraceRequest {
  double at_s = 0;                 // since the trace's earliest request
  std::string session;             // empty = none is recorded
  std::string text;                // the prompt; empty: only its length is known
  std::int64_t prompt_tokens = 0;  // as recorded, or the text's at four bytes each; at least 1
  std::int64_t output_tokens = 0;  // likewise; 0 = no text came
  std::vector<std::int64_t>
      blocks;  // names of the prompt's first parts of kBlockTokens each; what is behind is its own
};

// Reads one file, or all *.csv and *.jsonl files of a folder as one trace.
// ENSURES: at least one request; ordered by time, equal times in the order of files' names and lines.
// ERRORS: NotFound; InvalidArgument naming file, line and what is wrong with it.
absl::StatusOr<std::vector<TraceRequest>> read_trace(const std::string& path);

}  // namespace coppice::server
