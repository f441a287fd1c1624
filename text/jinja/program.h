// The program a template compiles to: expressions and statements as functions of a rendering. Each function refers to
// the parts of its construct by pointer; the Program owns them all, so that a deep tree is not destroyed by recursion.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "text/jinja/budget.h"
#include "text/jinja/value.h"

namespace coppice::jinja {

class Rendering;
using SymbolId = std::int32_t;  // a variable name, numbered in the Program

struct Expression {
  int line;
  std::function<Value(Rendering&)> evaluate;
};
using ExpressionPointer = const Expression*;

enum class Flow : std::uint8_t { kNormal, kBreak, kContinue };
struct Statement {
  int line;
  std::function<Flow(Rendering&)> execute;
};
using Block = std::vector<const Statement*>;

struct CallArguments {
  std::vector<ExpressionPointer> positional;
  std::vector<std::pair<StringRef, ExpressionPointer>> keywords;
};

// What set and for assign to: a name, an attribute of a namespace, or a tuple of targets.
struct Target {
  SymbolId symbol = -1;
  StringRef attribute;           // ns.attribute, when not null
  std::vector<Target> elements;  // a tuple, when not empty
};

// The function that a macro makes.
struct Macro {
  struct Parameter {
    SymbolId symbol;
    ExpressionPointer default_value = nullptr;
  };
  SymbolId symbol = -1;
  std::vector<Parameter> parameters;
  Block body;
};

// The name "loop", numbered first in every program.
inline constexpr SymbolId kLoopSymbol = 0;

// Owner of all parts. Thread: immutable once parsed.
struct Program {
  std::deque<Expression> expressions;
  std::deque<Statement> statements;
  std::vector<StringRef> symbols;  // names, by SymbolId
  std::unordered_map<std::string_view, SymbolId> symbol_ids;
  std::string literals;  // its texts and strings, each between two zero bytes
  Block body;

  const StringRef& name(SymbolId symbol) const { return symbols[static_cast<std::size_t>(symbol)]; }
};

// Compiles a template. ERRORS: kInvalidArgument "chat template line N: what" for syntax that is wrong or not supported;
// kResourceExhausted beyond the limits.
absl::StatusOr<std::shared_ptr<const Program>> parse_template(std::string_view source, const Limits& limits);

}  // namespace coppice::jinja
