// Plans stay what they are, to the byte: hashes of the plans of 200 random trees, each made from scratch and then
// updated. A change that alters plans on purpose renews the table; the failing test prints it.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdint>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include "fmt/format.h"
#include "tests/unit/kernels/plan_invariants.h"

namespace coppice::kernels {
namespace {

// 64-bit FNV-1a over the values of a plan, field by field, so that padding does not count.
class PlanHash {
 public:
  void add(const AttentionPlan& plan) {
    number(plan.row_count);
    number(plan.page_size);
    number(plan.window);
    number(plan.partial_count);
    number(std::ssize(plan.items));
    for (const AttentionItem& item : plan.items) {
      for (const std::int32_t value : {item.row_begin, item.row_count, item.key_begin, item.key_end, item.page_begin,
                                       item.slot_begin, item.after, item.partial_begin}) {
        number(value);
      }
      number(item.folds ? 1 : 0);
      number(item.writes_output ? 1 : 0);
    }
    list(plan.pages);
    list(plan.slots);
    list(plan.row_positions);
    list(plan.row_partial_begin);
    list(plan.row_partials);
    number(plan.keys_attended);
    number(plan.keys_read);
    number(plan.shared_items);
    number(plan.depth);
  }

  // The upper and lower half of the hash, folded.
  std::uint32_t value() const { return static_cast<std::uint32_t>(hash_ ^ (hash_ >> 32)); }

 private:
  void number(std::int64_t value) {
    for (int byte = 0; byte < 8; ++byte) {
      hash_ = (hash_ ^ (static_cast<std::uint64_t>(value) >> (8 * byte) & 0xFFU)) * 0x100000001B3ULL;
    }
  }
  template <typename Id>
  void list(const std::vector<Id>& values) {
    number(std::ssize(values));
    for (const Id value : values) {
      number(value);
    }
  }

  std::uint64_t hash_ = 0xCBF29CE484222325ULL;
};

// Counters alone draw the cases: the distributions of the standard library differ between implementations.
class Draw {
 public:
  explicit Draw(std::uint64_t seed) : random_(seed) {}
  int operator()(int least, int most) {
    return least + static_cast<int>(random_() % static_cast<std::uint64_t>(most - least + 1));
  }

 private:
  std::mt19937_64 random_;
};

// Sequences below a random tree of pages, in depth-first order; some with prompt chunks, some with draft trees.
TestStep golden_step(Draw& draw) {
  TestStep step;
  step.page_size = 16 << draw(0, 3);
  const bool is_long = draw(0, 3) == 0;
  const int chunk_most = draw(0, 2) == 0 ? draw(1, 300) : 1;
  const int drafts_most = draw(0, 2) == 0 ? draw(1, 12) : 0;
  std::vector<PageId> path;
  const int count = draw(1, 40);
  for (int i = 0; i < count; ++i) {
    TestSequence sequence;
    // Goes on from a prefix of the sequence before: its whole pages are shared.
    path.resize(path.size() * static_cast<std::size_t>(draw(0, 4)) / 4);
    const int shared = static_cast<int>(path.size()) * step.page_size;
    const int length = shared + (draw(0, 3) == 0 ? 1 : draw(1, is_long ? 3000 : 400));
    const int chunk = std::min(draw(1, chunk_most), length - shared);
    const int drafts = draw(0, drafts_most);
    for (int node = 0; node < drafts; ++node) {
      sequence.draft_parents.push_back(draw(0, 1) == 0 ? node - 1 : draw(-1, node - 1));
    }
    while (static_cast<int>(path.size()) * step.page_size < length + drafts) {
      path.push_back(step.pages_used++);
    }
    sequence.pages = path;
    sequence.position_begin = length - chunk;
    sequence.row_count = chunk + drafts;
    step.sequences.push_back(std::move(sequence));
    path.resize(static_cast<std::size_t>((length - chunk) / step.page_size));
  }
  step.number_rows();
  return step;
}

PlanOptions golden_options(const TestStep& step, Draw& draw) {
  PlanOptions options;
  options.page_size = step.page_size;
  options.sharing = draw(0, 4) != 0;
  options.chaining = draw(0, 3) != 0;
  options.window = draw(0, 2) == 0 ? draw(1, 2000) : 0;
  options.group_size = draw(1, 16);
  options.key_heads = draw(1, 8);
  options.workers = draw(0, 1) == 0 ? draw(1, 4) : draw(1, 64);
  return options;
}

// The plan of a random tree, and those of eight steps in which its sequences grow by a few tokens.
std::uint32_t hash_of_tree(std::uint64_t seed) {
  Draw draw(seed);
  TestStep step = golden_step(draw);
  const PlanOptions options = golden_options(step, draw);
  if (draw(0, 1) == 0) {
    for (std::size_t i = 0; i < step.sequences.size(); ++i) {
      step.sequences[i].identity = i + 1;
    }
  }
  AttentionPlanner planner;
  PlanHash hash;
  for (int i = 0; i < 8; ++i) {
    const std::vector<PlanSequence> sequences = step.plan_sequences();
    const AttentionPlan& plan = planner.plan(sequences, options);
    REQUIRE(find_fault(step, options, plan) == "");
    hash.add(plan);
    const int tokens = draw(0, 3) == 0 ? draw(1, 150) : 1;
    for (TestSequence& sequence : step.sequences) {
      sequence.position_begin += tokens;
      while (std::ssize(sequence.pages) * step.page_size < sequence.position_begin + sequence.row_count) {
        sequence.pages.push_back(step.pages_used++);
      }
    }
  }
  return hash.value();
}

constexpr std::uint32_t kHashes[] = {
    0x4A21CEFE, 0x272BEF2B, 0x88CEFBF6, 0x61A29DA9, 0x5EC09196, 0x4D0132B4, 0x6C70A8B3, 0xE77A1DB3, 0x234B98DD,
    0x0D19C415, 0x18452469, 0x357E2D25, 0x93775BDC, 0x027BAEF9, 0xEF97633A, 0xC77B25AB, 0xE65B1D8C, 0xBA6AF613,
    0xFFC9F2D5, 0x734497DD, 0xB3DEC694, 0x3A5546C8, 0x51834DEC, 0xE80AE256, 0x9539690A, 0x046847F7, 0x94BF7A3C,
    0xC89E6987, 0x1EA3F668, 0xC734688B, 0x228D784F, 0x249BEEAD, 0x3B2F6433, 0x3100E0CD, 0xFE8903B5, 0xD9B7DA78,
    0x5D15E468, 0xC44F4482, 0xBA7E6D62, 0x3478E334, 0x90432F5E, 0xF9549A7C, 0x2A0ECFC5, 0x19DE7EDE, 0xCC944E56,
    0xD464E071, 0xB562ED94, 0xAD5E52A5, 0x287C9F4F, 0x679DA75C, 0xD8F6F815, 0x71E74D1C, 0x8176BBFB, 0x404FF5C0,
    0x7B45DFDF, 0xADC77389, 0x0768B49E, 0x0AF6AD31, 0xBB32450C, 0xB861D642, 0xD2B5EB33, 0x38588C73, 0x33B4EFD2,
    0x967412C1, 0xE1AA0BD5, 0xE248540B, 0xE4275421, 0x44598E94, 0x52D968EE, 0x4DFD4AC2, 0x6249BFB8, 0xFCFA0C7A,
    0x8992011E, 0x7E1A0232, 0x25E52B20, 0xAE0A5965, 0xD51DE1CB, 0x3162C38D, 0xCEC001D3, 0x55334E24, 0xC5CAA88B,
    0x74D130F8, 0x720D4F7F, 0x5348BC0C, 0x5FACCB05, 0x4B895B1D, 0x93374E45, 0x3DF2733B, 0xF6DBCF18, 0x4E4C2079,
    0x55B5A94F, 0xDCBD323B, 0x2172CDE5, 0x968FA42B, 0x2B02514A, 0x6F3E9C26, 0xAB2C3F77, 0x68F79A5E, 0xDA644368,
    0x81F8007F, 0xC6CF67EF, 0x0AA84DEE, 0xED18A6AA, 0xA1403699, 0x1E870015, 0x9F832B8C, 0xEE7F9172, 0xD4DD3973,
    0x5D4838F2, 0x8FBFAB29, 0x09F5C6E9, 0xAC84303E, 0x56D7FFF8, 0x78B5F8DE, 0xC351D710, 0x3DBB1B20, 0x8D37D7FB,
    0xB82F8912, 0x8247AF7A, 0xF7B2AFA4, 0xE5AC8851, 0x67F8F814, 0x6E540788, 0x23FE1A18, 0xD1142E13, 0x88CE28A3,
    0x0925ED6F, 0x299E358B, 0x0B4EE208, 0x79F1C9F3, 0xDC644D30, 0x1E5DBD22, 0x772F45B7, 0x3A70DE81, 0x4CEAB839,
    0x40E9153B, 0x63B7344C, 0xCD69F140, 0xB4377DE9, 0xCE3E4C14, 0xF213B6F9, 0xB2646EA0, 0xE09A3EF8, 0xDAD3FF53,
    0xAE5ED8AF, 0x3AAD847E, 0x19650768, 0xF8778F3D, 0x53D17FD7, 0x046D1DAE, 0xE2A6D843, 0xA25888DC, 0x928DF5DC,
    0x0C2C6F79, 0x3E4BF06D, 0x4E7881E9, 0x698A6CEF, 0xC368D235, 0x6E831789, 0xC37A0F21, 0x2BAD2E0F, 0xE93389B5,
    0x2C2573D9, 0x5DCA3C6D, 0xE1965EDE, 0x1CC0E670, 0x271D44F2, 0x33EB0257, 0xB861D642, 0xA7F3489F, 0xE7EBB3E3,
    0x2F5F16A2, 0x319E9C52, 0x5B8EDC2C, 0x0649334B, 0xA44DC703, 0x3F60C191, 0x58637765, 0x0A20B285, 0x9907AE7D,
    0x20673457, 0x1D068177, 0x13917BD6, 0x3BD1D6D5, 0xD55835DF, 0x502C2726, 0x8B0C98C2, 0x775B89EF, 0x496298A9,
    0xABAC0271, 0x7F5B5A1A, 0xBC0204B8, 0x4195F2F3, 0x5760CC6D, 0x3506B1D8, 0x0CFE0B35, 0x21C3814A, 0xC294EA53,
    0xE773C2CE, 0x5FB47B0D,
};

TEST_CASE("plans of 200 random trees are unchanged to the byte", "[plan]") {
  REQUIRE(std::size(kHashes) == 200);
  std::string table;
  bool same = true;
  for (std::size_t i = 0; i < std::size(kHashes); ++i) {
    const std::uint32_t hash = hash_of_tree(i);
    same = same && hash == kHashes[i];
    fmt::format_to(std::back_inserter(table), "0x{:08X},{}", hash, i % 8 == 7 ? "\n" : " ");
  }
  INFO("the table now:\n" << table);
  CHECK(same);
}

}  // namespace
}  // namespace coppice::kernels
