// The program a template compiles to: statements and expressions, as plain immutable data. Nodes are owned by the
// Program and point to each other, so that a deep tree is not destroyed by recursion.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "text/jinja/value.h"

namespace coppice::text {

struct Expression;
struct Statement;
using ExpressionPointer = const Expression*;
using SymbolId = std::int32_t;  // a variable name, numbered in the Program
using Block = std::vector<const Statement*>;

enum class UnaryOperator : std::uint8_t { kNot, kNegate, kPlus };
enum class BinaryOperator : std::uint8_t {
  kAdd,
  kSubtract,
  kMultiply,
  kDivide,
  kFloorDivide,
  kModulo,
  kPower,
};
enum class Comparison : std::uint8_t { kEqual, kNotEqual, kLess, kLessEqual, kGreater, kGreaterEqual, kIn, kNotIn };

struct CallArguments {
  std::vector<ExpressionPointer> positional;
  std::vector<std::pair<StringRef, ExpressionPointer>> keywords;
  ExpressionPointer spread_positional = nullptr;  // *args
  ExpressionPointer spread_keywords = nullptr;    // **kwargs
};

struct LiteralExpression {
  Value value;
};
struct NameExpression {
  SymbolId symbol;
  StringRef name;
};
struct TupleExpression {
  std::vector<ExpressionPointer> items;
};
struct ListExpression {
  std::vector<ExpressionPointer> items;
};
struct DictExpression {
  std::vector<std::pair<ExpressionPointer, ExpressionPointer>> entries;
};
struct UnaryExpression {
  UnaryOperator operation;
  ExpressionPointer operand;
};
struct BinaryExpression {
  BinaryOperator operation;
  ExpressionPointer left, right;
};
struct LogicalExpression {
  bool conjunction;  // and, else or
  ExpressionPointer left, right;
};
struct CompareExpression {
  ExpressionPointer first;
  std::vector<std::pair<Comparison, ExpressionPointer>> rest;
};
struct ConcatenateExpression {
  std::vector<ExpressionPointer> parts;
};
struct ConditionalExpression {
  ExpressionPointer condition, when_true, when_false;  // when_false may be null
};
struct AttributeExpression {
  ExpressionPointer object;
  StringRef name;
};
struct SubscriptExpression {
  ExpressionPointer object, index;
};
struct SliceExpression {
  ExpressionPointer object, start, stop, step;  // the last three may be null
};
struct CallExpression {
  ExpressionPointer callee;
  CallArguments arguments;
};
struct FilterExpression {
  ExpressionPointer input;  // null inside a filter block or a set block: the captured text
  std::string name;
  CallArguments arguments;
};
struct TestExpression {
  ExpressionPointer input;
  std::string name;
  CallArguments arguments;
};

struct Expression {
  int line;
  std::variant<LiteralExpression, NameExpression, TupleExpression, ListExpression, DictExpression, UnaryExpression,
               BinaryExpression, LogicalExpression, CompareExpression, ConcatenateExpression, ConditionalExpression,
               AttributeExpression, SubscriptExpression, SliceExpression, CallExpression, FilterExpression,
               TestExpression>
      form;
};

// What set and for assign to: a name, an attribute of a namespace, or a tuple of targets.
struct Target {
  SymbolId symbol = -1;
  StringRef attribute;           // ns.attribute, when not null
  StringRef name;                // of the variable
  std::vector<Target> elements;  // a tuple, when not a name
  bool is_tuple = false;
};

struct MacroParameter {
  SymbolId symbol;
  StringRef name;
  ExpressionPointer default_value = nullptr;
};
// The function made by macro, call and generation.
struct MacroDefinition {
  StringRef name;
  std::vector<MacroParameter> parameters;
  Block body;
  bool uses_caller = false;
  bool uses_varargs = false;
  bool uses_kwargs = false;
};

struct TextStatement {
  std::string text;
};
struct OutputStatement {
  ExpressionPointer value;
};
struct IfStatement {
  std::vector<std::pair<ExpressionPointer, Block>> branches;
  Block otherwise;
};
struct ForStatement {
  Target target;
  ExpressionPointer iterable;
  ExpressionPointer filter = nullptr;
  Block body;
  Block otherwise;
};
struct SetStatement {
  Target target;
  ExpressionPointer value;
};
struct SetBlockStatement {
  Target target;
  ExpressionPointer filter;  // may be null
  Block body;
};
struct MacroStatement {
  SymbolId symbol;
  MacroDefinition definition;
};
struct CallBlockStatement {
  ExpressionPointer call;  // a CallExpression
  MacroDefinition caller;
};
struct FilterBlockStatement {
  ExpressionPointer filter;
  Block body;
};
struct WithStatement {
  std::vector<std::pair<Target, ExpressionPointer>> assignments;
  Block body;
};
// {% generation %}: marks what the assistant says; renders as its body in a scope of its own.
struct GenerationStatement {
  Block body;
};
struct BreakStatement {};
struct ContinueStatement {};

struct Statement {
  int line;
  std::variant<TextStatement, OutputStatement, IfStatement, ForStatement, SetStatement, SetBlockStatement,
               MacroStatement, CallBlockStatement, FilterBlockStatement, WithStatement, GenerationStatement,
               BreakStatement, ContinueStatement>
      form;
};

// Names with a meaning to the evaluator, numbered first in every program.
inline constexpr SymbolId kLoopSymbol = 0, kCallerSymbol = 1, kVarargsSymbol = 2, kKwargsSymbol = 3;

// Owner of all nodes. Thread: immutable once parsed.
struct Program {
  std::deque<Expression> expressions;
  std::deque<Statement> statements;
  std::vector<StringRef> symbols;  // by SymbolId
  Block body;
};

}  // namespace coppice::text
