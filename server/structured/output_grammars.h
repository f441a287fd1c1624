// OutputGrammars: the grammars of requests that say what their output has to match. Each is compiled once for all that
// want it, on threads of its own: no other request waits for a compile.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "proto/openai/api_error.h"
#include "proto/openai/output_format.h"
#include "server/metrics/metrics.h"
#include "server/structured/grammar_constraint.h"
#include "server/work/work_pool.h"
#include "text/grammar/grammar_cache.h"

namespace coppice::server {

struct OutputGrammarsOptions {
  std::size_t memory_bytes = std::size_t{256} << 20U;  // of compiled grammars that are kept; some hundreds
  std::vector<TokenId> marks = {};                     // special tokens that grammars of tool calls name
  std::int32_t threads = 2;  // that compile; at least 2, see WorkPool: a large grammar never holds up all small ones
};

// What a request wants compiled. Immutable once made.
struct GrammarOrder {
  text::GrammarSpec spec;
  std::string key;    // the same for the same grammar
  std::string field;  // that it came in, for messages
  std::string name;   // that the client gave a schema; may be empty
};

// Owner: the host. Thread: any. The tokenizer outlives it.
class OutputGrammars {
 public:
  using Grammar = openai::Result<std::shared_ptr<const GrammarSource>>;
  using Done = std::function<void(Grammar)>;

  // `vocab_size`, `end_tokens`: of the model.
  OutputGrammars(const text::Tokenizer& tokenizer, std::int32_t vocab_size, std::vector<TokenId> end_tokens,
                 const OutputGrammarsOptions& options = {});
  ~OutputGrammars();  // close()
  OutputGrammars(const OutputGrammars&) = delete;
  OutputGrammars& operator=(const OutputGrammars&) = delete;

  // REQUIRES: a format that is not free. ERRORS: 400 for one that is too large to look at.
  static openai::Result<std::shared_ptr<const GrammarOrder>> order(openai::OutputFormat format);

  // Looks at the order as a compile would, and makes nothing. ERRORS: 400, as of get().
  static openai::MaybeError check(const GrammarOrder& order);

  // Returns about how much memory compiling takes.
  static std::size_t compile_bytes(const GrammarOrder& order);

  // Returns the grammar if it is kept, else null.
  std::shared_ptr<const GrammarSource> find(const GrammarOrder& order);

  // Calls `done` once with the grammar: at once on this thread, or on one that compiles. ERRORS: 400 naming the field
  // and what is wrong with it; 429 when too many wait; 503 after close().
  void get(const std::shared_ptr<const GrammarOrder>& order, std::string_view tenant, Done done);
  // The same, compiled on this thread unless another compiles it already; then waits.
  Grammar get(const std::shared_ptr<const GrammarOrder>& order);

  // Ends the threads; what waits for one is refused.
  void close();

  GrammarNumbers numbers() const;

 private:
  class Job;
  absl::StatusOr<text::CompiledGrammar> compile(const GrammarOrder& order);
  absl::StatusOr<const text::GrammarCompiler*> compiler();

  const text::Tokenizer& tokenizer_;
  const std::int32_t vocab_size_;
  const std::vector<TokenId> end_tokens_;
  const std::vector<TokenId> marks_;
  std::mutex compiler_mutex_;
  std::unique_ptr<text::GrammarCompiler> compiler_;  // made by the first who needs it: it sorts the whole vocabulary
  text::GrammarCache cache_;
  std::atomic<std::int64_t> compile_ns_{0};
  std::atomic<bool> is_closed_{false};
  WorkPool pool_;  // last: its jobs use the others
};

// What a header of the answer says of a grammar's keywords that are not enforced: JSON pointers as fragments of URIs,
// each with its keyword: "#/properties/a not, # uniqueItems". Bounded; empty where all are.
std::string unenforced_header(std::span<const text::UnenforcedKeyword> unenforced);

}  // namespace coppice::server
