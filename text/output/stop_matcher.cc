// A trie of the stop strings with fallbacks; the depth of the state says how much of the stream's end is not certain.
#include "text/output/stop_matcher.h"

#include <deque>
#include <utility>

#include "base/check.h"

namespace coppice::text {

StopStrings::StopStrings(const std::vector<std::string>& stops) : nodes_(1) {
  for (std::size_t index = 0; index < stops.size(); ++index) {
    lengths_.push_back(stops[index].size());
    if (!stops[index].empty()) {
      add(stops[index], static_cast<std::uint32_t>(index));
    }
  }
  nodes_.shrink_to_fit();
  link();
}

StopStrings::State StopStrings::child(State state, char byte) const {
  State found = nodes_[state].first_child;
  while (found != kNone && nodes_[found].byte != byte) {
    found = nodes_[found].next_sibling;
  }
  return found;
}

void StopStrings::add(std::string_view text, std::uint32_t index) {
  State state = 0;
  for (const char byte : text) {
    State next = child(state, byte);
    if (next == kNone) {
      next = static_cast<State>(nodes_.size());
      Node node;
      node.next_sibling = nodes_[state].first_child;
      node.depth = nodes_[state].depth + 1;
      node.byte = byte;
      nodes_.push_back(node);
      nodes_[state].first_child = next;
    }
    state = next;
  }
  if (nodes_[state].index == kNone) {  // of two equal ones the first counts
    nodes_[state].index = index;
  }
}

// Breadth first: a node's fallback is shorter, so it is complete before.
void StopStrings::link() {
  std::deque<State> line = {0};
  while (!line.empty()) {
    const State state = line.front();
    line.pop_front();
    for (State next = nodes_[state].first_child; next != kNone; next = nodes_[next].next_sibling) {
      if (state != 0) {
        nodes_[next].fallback = this->next(nodes_[state].fallback, nodes_[next].byte);
      }
      if (nodes_[next].index == kNone) {
        nodes_[next].index = nodes_[nodes_[next].fallback].index;
      }
      line.push_back(next);
    }
  }
}

StopStrings::State StopStrings::next(State state, char byte) const {
  while (true) {
    const State found = child(state, byte);
    if (found != kNone) {
      return found;
    }
    if (state == 0) {
      return 0;
    }
    state = nodes_[state].fallback;
  }
}

std::optional<StopStrings::Match> StopStrings::match(State state) const {
  const std::uint32_t index = nodes_[state].index;
  if (index == kNone) {
    return std::nullopt;
  }
  return Match{index, lengths_[index]};
}

std::string StopStringMatcher::take(std::size_t count) {
  std::string taken = held_.substr(held_begin_, count);
  held_begin_ += count;
  if (2 * held_begin_ >= held_.size()) {
    held_.erase(0, held_begin_);
    held_begin_ = 0;
  }
  return taken;
}

StopMatch StopStringMatcher::push(std::string_view text) {
  COPPICE_CHECK(!has_matched_, "push() after a match");
  if (empty()) {
    return {std::string(text), std::nullopt};
  }
  const std::size_t before = held_.size() - held_begin_;
  held_ += text;
  for (std::size_t at = 0; at < text.size(); ++at) {
    state_ = stops_->next(state_, text[at]);
    if (const std::optional<StopStrings::Match> complete = stops_->match(state_)) {
      has_matched_ = true;
      const std::size_t end = before + at + 1;
      return {take(include_stop_ ? end : end - complete->length), complete->index};
    }
  }
  return {take(before + text.size() - stops_->depth(state_)), std::nullopt};
}

std::string StopStringMatcher::finish() {
  state_ = 0;
  return take(held_.size() - held_begin_);
}

}  // namespace coppice::text
