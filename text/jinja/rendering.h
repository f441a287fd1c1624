// One rendering of a Program: its values, its variables and its output. Scopes follow jinja2: for, macro,
// filter, set and generation blocks have their own; if has none; what is set in a scope is not seen outside it.
#pragma once

#include <ctime>
#include <deque>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "absl/status/statusor.h"
#include "text/jinja/heap.h"
#include "text/jinja/program.h"

namespace coppice::jinja {

// Variables of one scope, few in number; the template's own top level is Rendering::top_level_ instead.
struct Scope {
  Scope* parent = nullptr;  // null: the top level
  std::vector<std::pair<SymbolId, Value>> variables;
  bool captured = false;  // a macro refers to it: it must not be used again for another iteration
};

// Owner: the caller of render(). Thread: one. The Program outlives it.
class Rendering {
 public:
  Rendering(const Program& program, const Limits& limits) : program_(program), heap_(limits) {}
  Rendering(const Rendering&) = delete;
  Rendering& operator=(const Rendering&) = delete;

  // The text of the program over `context` (a JSON object) and the global functions; strftime_now() formats `now`.
  // ERRORS: kFailedPrecondition from raise_exception(), kInvalidArgument, kResourceExhausted.
  absl::StatusOr<std::string> run(const nlohmann::ordered_json& context, const std::tm& now);
  // Where in the template the failure of run() arose, 0 if unknown.
  int error_line() const { return error_line_; }

  Heap& heap() { return heap_; }
  // None for a null expression, and once the rendering has failed.
  Value evaluate(ExpressionPointer expression);
  Arguments evaluate(const CallArguments& arguments);
  Flow execute(const Block& block);
  Flow execute_in(const Block& block, Scope* scope);
  void write(std::string_view text);
  // A block's output, in a scope of its own, as a value.
  Value capture(const Block& block, Flow* flow);

  Value lookup(SymbolId symbol);
  void assign(const Target& target, Value value);
  Scope* new_scope();
  // The present scope: variables are set in it. Null is the top level.
  Scope* scope() const { return scope_; }
  void enter_scope(Scope* scope) { scope_ = scope; }

  // Forgets the scope's variables.
  void clear(Scope& scope);

  // A macro's value, which remembers the present scope.
  Value make_macro(const Macro& macro);
  // Sets a variable of the present scope.
  void set(SymbolId symbol, Value value);
  Value call(const Value& callee, Arguments& arguments);

  // What the filter of a filter block or set block is applied to.
  Value captured;

 private:
  // Returns the variable's place in the scope, or null. Spends what the search costs.
  Value* find(Scope& scope, SymbolId symbol);
  void define_variables(const nlohmann::ordered_json& context, const std::tm& now);
  Value call_macro(const Macro& macro, Scope* closure, Arguments& arguments);
  void bind_macro(const Macro& macro, Arguments& arguments);

  const Program& program_;
  Heap heap_;
  std::vector<std::optional<Value>> top_level_;  // by SymbolId: globals, context, then what the template sets
  std::deque<Scope> scopes_;
  Scope* scope_ = nullptr;
  TextBuilder* output_ = nullptr;
  int error_line_ = 0;
};

}  // namespace coppice::jinja
