// Vectors as wide as this processor's, by an extension that gcc and clang have in common.
#pragma once
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <vector>

namespace {

#if defined(__AVX512F__)
constexpr int BYTES = 64;
#elif defined(__AVX__)
constexpr int BYTES = 32;
#else
constexpr int BYTES = 16;
#endif

template <class F> struct Lanes {
    typedef F type __attribute__((vector_size(BYTES)));
    typedef F loose __attribute__((vector_size(BYTES), aligned(sizeof(F)), may_alias));
    typedef std::conditional_t<sizeof(F) == 4, int32_t, int64_t> integer;
    typedef integer whole __attribute__((vector_size(BYTES)));
    static constexpr long count = BYTES / sizeof(F);
};
template <class F> using Vector = typename Lanes<F>::type;

// Numbers, zero at first, that begin where a vector may: a vector across two lines of a cache is read twice.
template <class F> class Zeros {
    struct Aligned {
        Vector<F> lanes;
    };
    std::vector<Aligned> memory;

  public:
    explicit Zeros(long count) : memory((count + Lanes<F>::count - 1) / Lanes<F>::count) {}
    F *begin() { return reinterpret_cast<F *>(memory.data()); }
};

// A whole vector at i, and the rest of a row that fills none.
struct Whole {
    long i;
};
struct Part {
    long i, count;
};
template <class F> inline Vector<F> get(const F *p, Whole at) { return *(const typename Lanes<F>::loose *)(p + at.i); }
template <class F> inline Vector<F> get(const F *p, Part at) {
    Vector<F> v{};
    std::memcpy(&v, p + at.i, at.count * sizeof(F));
    return v;
}
template <class F> inline void put(F *p, Whole at, Vector<F> v) { *(typename Lanes<F>::loose *)(p + at.i) = v; }
template <class F> inline void put(F *p, Part at, Vector<F> v) { std::memcpy(p + at.i, &v, at.count * sizeof(F)); }

template <class F, class Body> inline void for_each(long n, Body body) {
    constexpr long W = Lanes<F>::count;
    long i = 0;
    for (; i + W <= n; i += W) body(Whole{i});
    if (i < n) body(Part{i, n - i});
}

} // namespace
