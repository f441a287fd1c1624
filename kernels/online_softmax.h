// The one way in which two partial results of attention become one (online softmax: Milakov and Gimelshein, arXiv
// 1805.02867; the merge of Hydragen, arXiv 2402.05099, appendix A, kept unnormalised). A partial over a set of keys is
// (m, l, o): m the largest score, l the sum of e^(score - m), o the sum of e^(score - m) * value. Every merge, in a
// fold and in the merge of partials, on every device, goes through softmax_merge(), always with the earlier keys first.
#pragma once

namespace coppice::kernels {

// o = o_before * kept + o_added * added, and l likewise; m replaces both. How o is multiplied and added is fixed too:
// fma(o_before, kept, o_added * added).
struct SoftmaxMerge {
  float m;
  float kept;
  float added;
};

// REQUIRES: neither side is empty (m = -infinity): merging with an empty partial is the other one unchanged, and the
// caller does exactly that, so no NaN of (-inf) - (-inf) arises. `exponential`: float -> float, the device's own; of
// base 2 where the device keeps scores, and m, multiplied by log2 e.
template <typename Exponential>
[[gnu::always_inline]] constexpr SoftmaxMerge softmax_merge(float m_before, float m_added, Exponential exponential) {
  const float m = m_before > m_added ? m_before : m_added;
  return {m, exponential(m_before - m), exponential(m_added - m)};
}

}  // namespace coppice::kernels
