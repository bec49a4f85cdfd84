// The Lanczos process of lanczos.py for one matrix after the other: each stays in the nearest cache meanwhile. In a
// batch each step would read all matrices again, from a cache far away, and all would go on until the slowest is
// settled.
//
// The process runs in double, with every vector kept orthogonal to all before it. Rows are served eight at a time and
// are padded with zeros to whole vectors. Every sum has an order that depends on the sizes alone.
#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "vectors.h"

namespace {

using Row = Vector<double>;
constexpr long W = Lanes<double>::count, EIGHT = 8;
constexpr long WIDEST = BYTES == 64 ? 8 : 4; // vectors of sums that stay in registers, twice

// Numbers of which only ratios count are divided by this where they fall below it.
constexpr double TINY = 1e-100;
// A coupling below this, relative to theta, ends the process; the next vector would be nothing but rounding errors.
constexpr double ENDED = 1e-12;

inline long padded(long m) { return (m + EIGHT - 1) / EIGHT * EIGHT; }

inline Row load(const double *p) { return *(const Lanes<double>::loose *)p; }
inline void store(double *p, Row v) { *(Lanes<double>::loose *)p = v; }

inline double total(Row v) {
    double sum = 0;
    for (long i = 0; i < W; ++i) sum += v[i];
    return sum;
}

// The lanes of a and b that the numbers name, those of b counted on.
template <long... lane> inline Row pick(Row a, Row b, std::integer_sequence<long, lane...>) {
#ifdef __clang__
    return __builtin_shufflevector(a, b, lane...);
#else
    return __builtin_shuffle(a, b, Lanes<double>::whole{lane...});
#endif
}
template <long apart, long shift, long... l> constexpr auto lanes(std::integer_sequence<long, l...>) {
    return std::integer_sequence<long, (l / apart % 2 ? W - apart : 0) + l + shift...>{};
}

// Lane l holds the sum of the l-th of W vectors: neighbours in pairs, then pairs of pairs.
template <long apart = 1> inline Row totals(Row *v) {
    if constexpr (apart == W) return v[0];
    else {
        using all = std::make_integer_sequence<long, W>;
        for (long i = 0; i < W / apart / 2; ++i)
            v[i] = pick(v[2 * i], v[2 * i + 1], lanes<apart, 0>(all{})) +
                   pick(v[2 * i], v[2 * i + 1], lanes<apart, apart>(all{}));
        return totals<2 * apart>(v);
    }
}

// y = v'A for N vectors of columns; even and odd rows have sums of their own, so that none waits for the other.
template <int N> inline void columns(const double *v, const double *A, long rows, long width, double *y) {
    Row even[N]{}, odd[N]{};
    for (long i = 0; i < rows; i += 2)
        for (int j = 0; j < N; ++j) {
            even[j] += v[i] * load(A + i * width + j * W);
            odd[j] += v[i + 1] * load(A + (i + 1) * width + j * W);
        }
    for (int j = 0; j < N; ++j) store(y + j * W, even[j] + odd[j]);
}
void rows_times(const double *v, const double *A, long rows, long width, double *y) {
    const long blocks = (width / W + WIDEST - 1) / WIDEST;
    for (long c = 0, left = blocks; left; --left) {
        const long many = (width / W - c + left - 1) / left;
        const double *at = A + c * W;
        double *out = y + c * W;
        switch (many) {
        case 8: columns<8>(v, at, rows, width, out); break;
        case 7: columns<7>(v, at, rows, width, out); break;
        case 6: columns<6>(v, at, rows, width, out); break;
        case 5: columns<5>(v, at, rows, width, out); break;
        case 4: columns<4>(v, at, rows, width, out); break;
        case 3: columns<3>(v, at, rows, width, out); break;
        case 2: columns<2>(v, at, rows, width, out); break;
        case 1: columns<1>(v, at, rows, width, out); break;
        }
        c += many;
    }
}

// w = Ay
void times_column(const double *A, long rows, long width, const double *y, double *w) {
    for (long i = 0; i < rows; i += EIGHT) {
        Row sum[EIGHT]{};
        for (long j = 0; j < width; j += W) {
            const Row of_y = load(y + j);
            for (long r = 0; r < EIGHT; ++r) sum[r] += of_y * load(A + (i + r) * width + j);
        }
        for (long r = 0; r < EIGHT; r += W) store(w + i + r, totals(sum + r));
    }
}

inline double dot(const double *a, const double *b, long count) {
    Row sum{};
    for (long i = 0; i < count; i += W) sum += load(a + i) * load(b + i);
    return total(sum);
}

// What one thread works with.
struct Room {
    const long m, n, rows, width;
    Zeros<double> matrix, vectors, start_, y_, w_, overlap_, known_, s_;
    std::vector<double> a, b;
    double *const A, *const V, *const start, *const y, *const w, *const overlap, *const known, *const s;

    Room(long m, long n, const double *given)
        : m(m), n(n), rows(padded(m)), width(padded(n)), matrix(rows * width), vectors(rows * rows), start_(rows),
          y_(width), w_(rows), overlap_(rows), known_(rows), s_(rows), a(m), b(m), A(matrix.begin()),
          V(vectors.begin()), start(start_.begin()), y(y_.begin()), w(w_.begin()), overlap(overlap_.begin()),
          known(known_.begin()), s(s_.begin()) {
        std::copy(given, given + m, start);
    }

    double square() const {
        Row sum[4]{};
        for (long i = 0; i < rows; i += 4)
            for (long j = 0; j < width; j += W)
                for (long r = 0; r < 4; ++r) {
                    const Row entries = load(A + (i + r) * width + j);
                    sum[r] += entries * entries;
                }
        return total((sum[0] + sum[1]) + (sum[2] + sum[3]));
    }

    // Copy M to A, and return the scale that was divided by and the square of A's Frobenius norm. The scale is 1 unless
    // squares would leave the range of a number; 0 for nothing but zeros, infinite where an entry is not finite.
    template <class F> std::pair<double, double> take(const F *M) {
        for (long i = 0; i < m; ++i) std::copy(M + i * n, M + (i + 1) * n, A + i * width);
        const double first = square();
        if (1e-280 < first && first < 1e280) return {1.0, first};
        double scale = 0;
        for (long i = 0; i < rows * width; ++i) {
            if (!std::isfinite(A[i])) return {std::numeric_limits<double>::infinity(), first};
            scale = std::max(scale, std::fabs(A[i]));
        }
        if (scale == 0) return {0.0, first};
        for (long i = 0; i < rows * width; ++i) A[i] /= scale;
        return {scale, square()};
    }

    // A start of length 1 near to a guess, with a tenth of the random one: it must have a part along every vector.
    // Returns that share, 1 without a guess: the residual has to be smaller by as much, see lanczos.py.
    double mix(const double *near) {
        std::fill(V, V + EIGHT * rows, 0.0);
        std::copy(near, near + m, V);
        const double share = dot(V, start, rows) >= 0.0 ? 0.1 : -0.1, length = dot(V, V, rows);
        for (long i = 0; i < rows; i += W) store(V + i, load(V + i) + share * load(start + i));
        const double unit = 1 / std::sqrt(dot(V, V, rows));
        for (long i = 0; i < rows; i += W) store(V + i, load(V + i) * unit);
        return length > 0.0 ? 0.1 : 1.0;
    }

    // One step: a[k], b[k], and in w what the next vector is made of.
    void step(long k, double square) {
        const double *v = V + k * rows, *older = V + std::max(0L, k - 1) * rows;
        rows_times(v, A, rows, width, y);
        times_column(A, rows, width, y, w);
        const double small = 1 / square, beta = k ? b[k - 1] : 0.0;
        a[k] = dot(v, w, rows) * small;
        for (long i = 0; i < rows; i += W)
            store(w + i, load(w + i) * small - (a[k] * load(v + i) + beta * load(older + i)));
        // What is left is small, and so are its parts along older vectors: taken away earlier, rounding errors grow.
        times_column(V, padded(k + 1), rows, w, overlap);
        rows_times(overlap, V, padded(k + 1), rows, known);
        for (long i = 0; i < rows; i += W) store(w + i, load(w + i) - load(known + i));
        b[k] = std::sqrt(dot(w, w, rows));
    }

    struct Ritz {
        double theta, residual, gap;
    };

    // Largest eigenvalue of T, the residual of its vector s, and less than how far the next one lies below it.
    // Laguerre's method on the characteristic polynomial: from above all roots it comes down to the largest without
    // passing it, and triples its digits with every step.
    Ritz largest_ritz(long k) {
        double reach = 0, square = 0;
        for (long j = 0; j < k; ++j) {
            const double right = j < k - 1 ? b[j] : 0.0;
            reach = std::max(reach, a[j] + right + (j ? b[j - 1] : 0.0));
            square += a[j] * a[j] + 2 * right * right;
        }
        double x = std::min(reach, std::sqrt(square)) * (1 + 1e-12), gap = x;
        for (int turn = 0; turn < 50; ++turn) {
            double p = 1, d = 0, e = 0, p_older = 0, d_older = 0, e_older = 0; // p, p' and p'', by three terms
            for (long j = 0; j < k; ++j) {
                const double shifted = a[j] - x, coupling = j ? b[j - 1] * b[j - 1] : 0.0;
                const double p_newer = shifted * p - coupling * p_older, d_newer = shifted * d - coupling * d_older - p,
                             e_newer = shifted * e - coupling * e_older - 2 * d;
                p_older = p, d_older = d, e_older = e, p = p_newer, d = d_newer, e = e_newer;
                // only ratios count, and a product of many distances would leave the range of a number
                if (std::fabs(p) < TINY)
                    for (double *each : {&p_older, &d_older, &e_older, &p, &d, &e}) *each /= TINY;
            }
            gap = e != 0 ? std::min(x, std::fabs(2 * d / e)) : x;
            const double G = d / p, H = G * G - e / p;
            // on the root, or past it by a rounding error
            if (!(0 < G && G < std::numeric_limits<double>::infinity())) break;
            const double down = k / (G + std::sqrt(std::max(0.0, (k - 1) * (k * H - G * G))));
            x -= down;
            if (down <= 1e-7 * x) break;
        }
        std::fill(s, s + padded(k), 0.0);
        s[k - 1] = square = 1;
        for (long j = k - 1; j > 0; --j) {
            s[j - 1] = ((x - a[j]) * s[j] - (j < k - 1 ? b[j] * s[j + 1] : 0.0)) / b[j - 1];
            square += s[j - 1] * s[j - 1];
        }
        const double last = 1 / std::sqrt(square);
        for (long j = 0; j < k; ++j) s[j] *= last;
        return {x, b[k - 1] * last, gap};
    }

    // The largest singular value of M; the guess is replaced by its vector.
    template <class F> double largest(const F *M, double *near, double residual_at_most, double error_at_most, long first) {
        const auto [scale, square] = take(M);
        if (scale == 0 || std::isinf(scale)) return scale;
        const double asked = residual_at_most * mix(near);
        double trace = 0;
        for (long k = 0, check = first;;) {
            step(k, square);
            trace += a[k++];
            const bool ended = b[k - 1] <= ENDED * a[0];
            if (k >= check || ended) {
                const Ritz ritz = largest_ritz(k);
                const double apart = ritz.gap - std::max(0.0, 1 - trace);
                double excess = ritz.residual / (asked * ritz.theta);
                if (apart > 0)
                    excess = std::min(excess, ritz.residual * ritz.residual / (apart * error_at_most * ritz.theta));
                if (excess <= 1 || ended || k == m) {
                    rows_times(s, V, padded(k), rows, w);
                    std::copy(w, w + m, near);
                    return std::sqrt(ritz.theta * square) * scale;
                }
                // no step is expected to gain two digits
                check = std::min(m, k + std::max(1L, long(0.5 * std::log10(excess))));
            }
            if (k % EIGHT == 0) std::fill(V + k * rows, V + (k + EIGHT) * rows, 0.0);
            const double unit = 1 / b[k - 1];
            for (long i = 0; i < rows; i += W) store(V + k * rows + i, load(w + i) * unit);
        }
    }
};

template <class F>
void norms(long N, long m, long n, long threads, const F *M, const double *start, double *near, double residual_at_most,
           double error_at_most, long first, F *out) {
#pragma omp parallel num_threads(threads)
    {
        Room room(m, n, start);
#pragma omp for schedule(dynamic, 8)
        for (long i = 0; i < N; ++i)
            out[i] = F(room.largest(M + i * m * n, near + i * m, residual_at_most, error_at_most, first));
    }
}

} // namespace

extern "C" {
#define NORMS(F, name)                                                                                                 \
    void norms_##name(long N, long m, long n, long threads, const F *M, const double *start, double *near,              \
                      double residual_at_most, double error_at_most, long first, F *out) {                             \
        norms<F>(N, m, n, threads, M, start, near, residual_at_most, error_at_most, first, out);                       \
    }
NORMS(float, float32)
NORMS(double, float64)
}
