// Joining of items.
#include "proto/openai/output_item.h"

#include <iterator>
#include <type_traits>
#include <utility>

namespace coppice::openai {
namespace {

bool continues(const TextDelta& /*last*/, const TextDelta& /*item*/) {
  return true;
}
bool continues(const ReasoningDelta& /*last*/, const ReasoningDelta& /*item*/) {
  return true;
}
bool continues(const ToolArgumentsDelta& last, const ToolArgumentsDelta& item) {
  return last.call == item.call;
}

// Pieces of a text can be joined; the other items stand alone.
template <typename Item>
constexpr bool kIsPiece = !std::is_same_v<Item, ToolCallBegin> && !std::is_same_v<Item, Finish>;

}  // namespace

void append_item(std::vector<OutputItem>& items, OutputItem item) {
  const bool is_done = std::visit(
      [&items](auto& piece) {
        using Item = std::decay_t<decltype(piece)>;
        if constexpr (kIsPiece<Item>) {
          if (piece.text.empty() && piece.tokens.empty()) {
            return true;
          }
          Item* const last = items.empty() ? nullptr : std::get_if<Item>(&items.back());
          if (last == nullptr || !continues(*last, piece)) {
            return false;
          }
          last->text += piece.text;
          last->tokens.insert(last->tokens.end(), std::make_move_iterator(piece.tokens.begin()),
                              std::make_move_iterator(piece.tokens.end()));
          return true;
        }
        return false;
      },
      item);
  if (!is_done) {
    items.push_back(std::move(item));
  }
}

}  // namespace coppice::openai
