# What of XGrammar's sources is changed after unpacking. Each change must find its place: another release stops here.
#   xgrammar_change(FILE BEFORE AFTER)
function(xgrammar_change file before after)
  file(READ ${xgrammar_root}/cpp/${file} text)
  string(REPLACE "${before}" "${after}" changed "${text}")
  if(changed STREQUAL text)
    message(FATAL_ERROR "${xgrammar_root}/cpp/${file}: a place to change is not there")
  endif()
  file(WRITE ${xgrammar_root}/cpp/${file} "${changed}")
endfunction()

# A string with a length takes no control characters, which JSON forbids in strings, and no surrogates, which UTF-8 has
# not.
xgrammar_change(json_schema_converter.cc
  [[({{'"', '"'}, {'\\', '\\'}, {'\r', '\r'}, {'\n', '\n'}}, true)]]
  [[({{0, 0x1f}, {'"', '"'}, {'\\', '\\'}, {0xd800, 0xdfff}}, true)]])

# A call can be ended from inside: what takes time counts its work, and text/grammar/xgrammar_calls.cc throws when more
# was done than the caller allows. A step is about 20 ns.
xgrammar_change(support/logging.h
  [[// Provide support for customized logging.]]
  [[// Steps that this thread may still do. OnWorkSpent() throws, or sets it anew.
extern __thread int64_t work_left;
void OnWorkSpent();
inline void CountWork(int64_t steps) {
  if ((work_left -= steps) < 0) {
    OnWorkSpent();
  }
}

// Provide support for customized logging.]])
xgrammar_change(support/logging.h
  [[#include <ctime>]]
  [[#include <cstdint>
#include <ctime>]])
xgrammar_change(earley_parser.h
  [[#include "support/compact_2d_array.h"]]
  [[#include "support/compact_2d_array.h"
#include "support/logging.h"]])
xgrammar_change(earley_parser.h
  [[    if (!IsStateVisitedInQueue(state)) {]]
  [[    CountWork(1);
    if (!IsStateVisitedInQueue(state)) {]])
xgrammar_change(earley_parser.cc
  [[const auto& parent_states_map = rule_id_to_completable_states_[state.rule_start_pos];]]
  [[const auto& parent_states_map = rule_id_to_completable_states_[state.rule_start_pos];
  CountWork(1 + parent_states_map.size() / 8);]])
xgrammar_change(earley_parser.cc
  [[if (!in_vec(parent_state)) {]]
  [[CountWork(1 + rule_id_to_completable_states_.Back().size() / 8);
          if (!in_vec(parent_state)) {]])
xgrammar_change(earley_parser.cc
  [[void EarleyParser::Scan(const ParserState& state, const uint8_t ch) {]]
  [[void EarleyParser::Scan(const ParserState& state, const uint8_t ch) {
  CountWork(1);]])
xgrammar_change(earley_parser.cc
  [[  for (const auto& edge : current_fsm.GetFsm().GetFsm().GetEdges(state.element_id)) {
    if ((!edge.IsCharRange())]]
  [[  const auto& edges_here = current_fsm.GetFsm().GetFsm().GetEdges(state.element_id);
  CountWork(edges_here.size() / 16);
  for (const auto& edge : edges_here) {
    if ((!edge.IsCharRange())]])
xgrammar_change(grammar_matcher.cc
  [[    const auto& adaptive_token_mask = *adaptive_token_mask_pointer;]]
  [[    const auto& adaptive_token_mask = *adaptive_token_mask_pointer;
    CountWork(1 + tokenizer_info_.GetVocabSize() / 8192 +
              (adaptive_token_mask.accepted_indices.size() + adaptive_token_mask.rejected_indices.size() +
               adaptive_token_mask.uncertain_indices.size()) / 16);]])
xgrammar_change(grammar_matcher.cc
  [[        const int32_t budget = info->Upper() - parent_state.repeat_count;]]
  [[        const int32_t budget = info->Upper() - parent_state.repeat_count;
        CountWork(1 + adaptive_token_mask.repeat_exit_tokens.size() / 16);]])
xgrammar_change(grammar_compiler.cc
  [[AdaptiveTokenMask GrammarMatcherForTokenMaskCache::GetAdaptiveTokenMask(bool is_root_rule) {]]
  [[AdaptiveTokenMask GrammarMatcherForTokenMaskCache::GetAdaptiveTokenMask(bool is_root_rule) {
  CountWork(8 + tokenizer_info_.GetVocabSize() / 16);]])
xgrammar_change(fsm.cc
  [[  int AddState() {
    edges_.emplace_back();]]
  [[  int AddState() {
    CountWork(1);
    edges_.emplace_back();]])
xgrammar_change(fsm.cc
  [[  void AddEdge(int from, int to, int32_t min, int32_t max) {
]]
  [[  void AddEdge(int from, int to, int32_t min, int32_t max) {
    CountWork(1);
]])
xgrammar_change(fsm.cc
  [[      std::unordered_set<int> next_closure;
      for (const auto& state : closures[now_process]) {]]
  [[      std::unordered_set<int> next_closure;
      CountWork(1 + closures[now_process].size());
      for (const auto& state : closures[now_process]) {]])
xgrammar_change(grammar_builder.cc
  [[int32_t GrammarBuilder::AddGrammarExpr(const GrammarExpr& grammar_expr) {
]]
  [[int32_t GrammarBuilder::AddGrammarExpr(const GrammarExpr& grammar_expr) {
  CountWork(1 + grammar_expr.data_len / 8);
]])
xgrammar_change(earley_parser.cc
  [[      rule_is_nullable_(grammar->NumRules(), 0) {]]
  [[      rule_is_nullable_(grammar->NumRules(), 0) {
  CountWork(1 + grammar->NumRules() / 2);]])
xgrammar_change(earley_parser.cc
  [[    flags_cache.resize(fsm.NumStates());]]
  [[    CountWork(1 + fsm.NumStates() / 512);
    flags_cache.resize(fsm.NumStates());]])
xgrammar_change(fsm.cc
  [[    int current = queue.front();]]
  [[    CountWork(2);
    int current = queue.front();]])
xgrammar_change(fsm.cc
  [[  std::vector<std::vector<FSMEdge>> new_edges(new_num_states);]]
  [[  CountWork(4 * edges_.size() + 2 * new_num_states);
  std::vector<std::vector<FSMEdge>> new_edges(new_num_states);]])
xgrammar_change(fsm.cc
  [[        const auto& partition = partitions[i];]]
  [[        const auto& partition = partitions[i];
        CountWork(1 + partition.size());]])
xgrammar_change(earley_parser.cc
  [[  if (size_ > transition_threshold_) {
    visited_set_.insert(state);]]
  [[  if (size_ > transition_threshold_) {
    CountWork(4);
    visited_set_.insert(state);]])
