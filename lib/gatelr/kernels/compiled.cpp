// The forward and the adjoint sweep, one slice of one replica's batch after the other: weights and states of a slice
// stay in the nearest caches from the first step to the last.
//
// Rows are sequences and columns are features, so that no product needs a transpose: each slice packs the weights as it
// reads them, transposed for the way forward, padded to whole vectors. A product is made in blocks of ROWS x COLUMNS numbers that stay in registers.
// Every sum has an order that depends on the sizes alone, never on the number of threads.
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "vectors.h"

namespace {

constexpr int WIDE = BYTES == 32 ? 2 : 4;
constexpr int ROWS = 6;
constexpr int TOGETHER = 8; // steps whose gradients are added at once
constexpr int FLUSH_EVERY = 8; // as in sweep.py

template <class F> struct Format;
template <> struct Format<float> {
    static constexpr int mantissa = 23, bias = 127, terms = 7;
    // ln 2 in two parts, of which the first times a whole number below 2^8 is exact
    static constexpr float limit = 87, ln2_high = 0x1.62ep-1f, ln2_low = 0x1.0bfbe8p-15f;
};
template <> struct Format<double> {
    static constexpr int mantissa = 52, bias = 1023, terms = 13;
    static constexpr double limit = 708, ln2_high = 0x1.62e42fee00000p-1, ln2_low = 0x1.a39ef35793c76p-33;
};

// exp(x) - 1 = 2^k (exp(r) - 1) + (2^k - 1), |r| <= ln 2 / 2, by Taylor's series; exact to some units in the last place,
// near 0 too. Beyond the limit it stays what it is there; NaN stays NaN.
template <class F> inline Vector<F> expm1_of(Vector<F> x) {
    using A = Format<F>;
    using I = typename Lanes<F>::whole;
    x = x > A::limit ? Vector<F>{} + A::limit : x;
    x = x < -A::limit ? Vector<F>{} - A::limit : x;
    const I raised = __builtin_convertvector(x * F(1.4426950408889634) + (A::bias + F(0.5)), I);
    const Vector<F> k = __builtin_convertvector(raised, Vector<F>) - F(A::bias);
    const Vector<F> r = (x - k * A::ln2_high) - k * A::ln2_low, power = (Vector<F>)(raised << A::mantissa);
    Vector<F> sum{};
    F coefficient[A::terms];
    for (int i = 0; i < A::terms; ++i) coefficient[i] = (i ? coefficient[i - 1] : F(1)) / F(i + 1);
    sum += coefficient[A::terms - 1];
    for (int i = A::terms - 2; i > 0; --i) sum = sum * r + coefficient[i];
    return power * (r + r * (r * sum)) + (power - 1);
}
template <class F> inline Vector<F> tanh_of(Vector<F> x) {
    const Vector<F> e = expm1_of<F>(x + x);
    return e / (e + 2);
}
template <class F> inline Vector<F> sigmoid_of(Vector<F> x) { return 1 / (expm1_of<F>(-x) + 2); }

// left (rows x depth, any strides) times right (depth x columns, its rows so far apart as `product` says).
template <class F> struct Factor {
    const F *left;
    long row, deep;
    const F *right;
    long depth;
};

template <class F, int R, int N>
inline void block(F *C, long ldc, long ldr, const F *start, bool from_c, const Factor<F> *factors, int many, long r0,
                  long c0) {
    using T = Vector<F>;
    using L = typename Lanes<F>::loose;
    constexpr long W = Lanes<F>::count;
    T sum[R][N];
    for (int r = 0; r < R; ++r)
        for (int j = 0; j < N; ++j) {
            if (from_c) sum[r][j] = *(const L *)(C + r * ldc + j * W);
            else if (start) sum[r][j] = *(const L *)(start + c0 + j * W);
            else sum[r][j] = T{};
        }
    for (int f = 0; f < many; ++f) {
        const F *left = factors[f].left + r0 * factors[f].row, *right = factors[f].right + c0;
        const long row = factors[f].row, deep = factors[f].deep, depth = factors[f].depth;
        for (long d = 0; d < depth; ++d) {
            T b[N];
            for (int j = 0; j < N; ++j) b[j] = *(const L *)(right + d * ldr + j * W);
            for (int r = 0; r < R; ++r) {
                const F a = left[r * row + d * deep];
                for (int j = 0; j < N; ++j) sum[r][j] += a * b[j];
            }
        }
    }
    for (int r = 0; r < R; ++r)
        for (int j = 0; j < N; ++j) *(L *)(C + r * ldc + j * W) = sum[r][j];
}

template <class F, int N>
inline void panel(F *C, long ldc, long rows, long ldr, const F *start, bool from_c, const Factor<F> *f, int many,
                  long c0) {
    // blocks of nearly equal height: a low last one would wait for its sums
    long r = 0;
    for (long left = (rows + ROWS - 1) / ROWS; left; --left) {
        const long height = (rows - r + left - 1) / left;
        F *at = C + r * ldc + c0;
        switch (height) {
        case 6: block<F, 6, N>(at, ldc, ldr, start, from_c, f, many, r, c0); break;
        case 5: block<F, 5, N>(at, ldc, ldr, start, from_c, f, many, r, c0); break;
        case 4: block<F, 4, N>(at, ldc, ldr, start, from_c, f, many, r, c0); break;
        case 3: block<F, 3, N>(at, ldc, ldr, start, from_c, f, many, r, c0); break;
        case 2: block<F, 2, N>(at, ldc, ldr, start, from_c, f, many, r, c0); break;
        case 1: block<F, 1, N>(at, ldc, ldr, start, from_c, f, many, r, c0); break;
        }
        r += height;
    }
}

// C = (C, or a row for all, or 0) + the products; `columns` is a whole number of vectors.
template <class F>
void product(F *C, long ldc, long rows, long columns, long ldr, const F *start, bool from_c, const Factor<F> *f,
             int many) {
    constexpr long W = Lanes<F>::count;
    long c = 0;
    for (; c + WIDE * W <= columns; c += WIDE * W) panel<F, WIDE>(C, ldc, rows, ldr, start, from_c, f, many, c);
    for (; c < columns; c += W) panel<F, 1>(C, ldc, rows, ldr, start, from_c, f, many, c);
}

template <class F> struct Sizes {
    long T, S, B, n, m, h, slice;
    long k, kp, np, mp, slices, q;
    bool bias;
    Sizes(const long *s)
        : T(s[0]), S(s[1]), B(s[2]), n(s[3]), m(s[4]), h(s[5]), slice(s[6]), bias(s[7]) {
        k = n + h;
        auto whole = [](long x) { return (x + Lanes<F>::count - 1) / Lanes<F>::count * Lanes<F>::count; };
        kp = whole(k), np = whole(n), mp = whole(m);
        q = n + m + bias;
        slices = (B + slice - 1) / slice;
    }
};

template <class F>
void forward_slice(const Sizes<F> &z, long s, long b0, long rows, const F *u, const F *weights, const F *alpha,
                   F *x, F *phi, F *g, F *a) {
    const long n = z.n, m = z.m, h = z.h, kp = z.kp;
    Zeros<F> buffer((rows + z.q) * kp);
    F *Z = buffer.begin(), *W = Z + rows * kp;
    for (long i = 0; i < z.k; ++i)
        for (long j = 0; j < z.q; ++j) W[j * kp + i] = weights[(s * z.k + i) * z.q + j];
    const F *bias = z.bias ? W + (n + m) * kp : nullptr;
    // x holds T + 1 states, of which the first is there already
    for (long t = 0; t < z.T; ++t) {
        const long here = (t * z.S + s) * z.B + b0, next = ((t + 1) * z.S + s) * z.B + b0;
        const Factor<F> f[2] = {{x + here * n, n, 1, W, n}, {u + here * m, m, 1, W + n * kp, m}};
        product(Z, kp, rows, kp, kp, bias, false, f, 2);
        if (a)
            for (long b = 0; b < rows; ++b) std::memcpy(a + (here + b) * z.k, Z + b * kp, z.k * sizeof(F));
        for (long b = 0; b < rows; ++b) {
            const F *row = Z + b * kp, *xb = x + (here + b) * n;
            F *out = x + (next + b) * n, *p = phi ? phi + (here + b) * n : out, *gb = g + (here + b) * h;
            const bool own = h == n && n > 1, shared = h && !own;
            const Vector<F> gate = shared ? sigmoid_of<F>(Vector<F>{} + row[n]) : Vector<F>{};
            if (shared) *gb = gate[0];
            auto step = [&](auto at, auto write) {
                const Vector<F> candidate = tanh_of<F>(get(row, at)), before = get(xb, at);
                put(p, at, candidate);
                put(out, at, before + write(at) * (candidate - before));
            };
            if (own)
                for_each<F>(n, [&](auto at) {
                    step(at, [&](auto at) {
                        const Vector<F> each = sigmoid_of<F>(get(row + n, at));
                        put(gb, at, each);
                        return each;
                    });
                });
            else if (shared) for_each<F>(n, [&](auto at) { step(at, [&](auto) { return gate; }); });
            else if (alpha) for_each<F>(n, [&](auto at) { step(at, [&](auto at) { return get(alpha, at); }); });
            else for_each<F>(n, [&](auto at) { put(out, at, tanh_of<F>(get(row, at))); });
        }
    }
}

enum { FULL, GATE_DROPPED, DIAGONAL, ORDER_0 }; // as sweep.BACKWARD has them

template <class F>
void adjoint_slice(const Sizes<F> &z, long carry, long s, long b0, long rows, const F *u, const F *weights,
                   const F *alpha, const F *x, const F *phi, const F *g, const F *delta, bool every, F *grad_u,
                   F *grad_x0, F *Gt, F *costates, F *signals) {
    const long n = z.n, m = z.m, h = z.h, kp = z.kp, np = z.np, mp = z.mp;
    const F *W = weights + s * z.k * z.q;
    Zeros<F> packed(z.k * (np + mp) + 2 * n);
    F *Ws = packed.begin(), *Wu = Ws + z.k * np, *own_r = Wu + z.k * mp, *own_g = own_r + n;
    for (long i = 0; i < z.k; ++i) {
        std::memcpy(Ws + i * np, W + i * z.q, n * sizeof(F));
        std::memcpy(Wu + i * mp, W + i * z.q + n, m * sizeof(F));
    }
    for (long i = 0; i < n; ++i) { // with which a neuron, and its gate or the gate of all, read the neuron itself
        own_r[i] = W[i * z.q + i];
        if (h) own_g[i] = W[(h == n ? n + i : n) * z.q + i];
    }
    const F small = std::numeric_limits<F>::min() / std::numeric_limits<F>::epsilon();
    Zeros<F> space(rows * (np + TOGETHER * kp + mp));
    F *adj = space.begin(), *U = adj + rows * np, *signal = U + rows * mp;
    Factor<F> by_x[TOGETHER], by_u[TOGETHER], by_one[TOGETHER];
    int held = 0;
    std::vector<F> one(rows, F(1)), each(n);
    const long last = every ? ((z.T - 1) * z.S + s) * z.B + b0 : s * z.B + b0;
    for (long b = 0; b < rows; ++b) std::memcpy(adj + b * np, delta + (last + b) * n, n * sizeof(F));
    for (long t = z.T - 1; t >= 0; --t) {
        const long here = (t * z.S + s) * z.B + b0, next = ((t + 1) * z.S + s) * z.B + b0;
        F *D = signal + held * rows * kp;
        for (long b = 0; b < rows; ++b) {
            const F *xb = x + (here + b) * n, *p = phi ? phi + (here + b) * n : x + (next + b) * n;
            const F *gb = g + (here + b) * h;
            F *l = adj + b * np, *d = D + b * kp;
            if (h == n && n > 1)
                for_each<F>(n, [&](auto at) {
                    const Vector<F> gate = get(gb, at), candidate = get(p, at), along = get(l, at) * gate,
                                    leak = get(l, at) - along;
                    put(d, at, along * (1 - candidate * candidate));
                    put(d + n, at, (candidate - get(xb, at)) * gate * leak);
                    put(l, at, leak);
                });
            else if (h) {
                const F gate = *gb, slope = gate * (1 - gate);
                Vector<F> sum{};
                for_each<F>(n, [&](auto at) {
                    const Vector<F> candidate = get(p, at), adjoint = get(l, at), along = adjoint * gate,
                                    part = (candidate - get(xb, at)) * adjoint * slope;
                    put(each.data(), at, part);
                    put(d, at, along * (1 - candidate * candidate));
                    put(l, at, adjoint - along);
                    sum += part;
                });
                F total = 0;
                for (long i = 0; i < Lanes<F>::count; ++i) total += sum[i];
                d[n] = total;
                if (carry == DIAGONAL)
                    for (long i = 0; i < n; ++i) l[i] += own_g[i] * each[i];
            } else
                for_each<F>(n, [&](auto at) {
                    const Vector<F> candidate = get(p, at), adjoint = get(l, at),
                                    along = alpha ? adjoint * get(alpha, at) : adjoint;
                    put(d, at, along * (1 - candidate * candidate));
                    put(l, at, alpha ? adjoint - along : Vector<F>{});
                });
            if (carry == DIAGONAL) {
                for (long i = 0; i < n; ++i) l[i] += own_r[i] * d[i];
                if (h == n && n > 1)
                    for (long i = 0; i < n; ++i) l[i] += own_g[i] * d[n + i];
            }
        }
        if (carry == FULL || carry == GATE_DROPPED) {
            const Factor<F> f[1] = {{D, kp, 1, Ws, carry == FULL ? z.k : n}};
            product(adj, np, rows, np, np, (const F *)nullptr, true, f, 1);
        }
        if (signals)
            for (long b = 0; b < rows; ++b) std::memcpy(signals + (here + b) * z.k, D + b * kp, z.k * sizeof(F));
        if (Gt) {
            // the gradients of some steps are added together: their sums are read and written once for all
            const long i = held++;
            by_x[i] = {x + here * n, 1, n, D, rows};
            by_u[i] = {u + here * m, 1, m, D, rows};
            by_one[i] = {one.data(), 0, 1, D, rows};
            if (held == TOGETHER || t == 0) {
                product(Gt, kp, n, kp, kp, (const F *)nullptr, true, by_x, held);
                product(Gt + n * kp, kp, m, kp, kp, (const F *)nullptr, true, by_u, held);
                if (z.bias) product(Gt + (n + m) * kp, kp, 1, kp, kp, (const F *)nullptr, true, by_one, held);
                held = 0;
            }
        }
        if (grad_u) {
            const Factor<F> f[1] = {{D, kp, 1, Wu, z.k}};
            product(U, mp, rows, mp, mp, (const F *)nullptr, false, f, 1);
            for (long b = 0; b < rows; ++b) std::memcpy(grad_u + (here + b) * m, U + b * mp, m * sizeof(F));
        }
        if (every && t)
            for (long b = 0; b < rows; ++b) {
                const F *more = delta + (((t - 1) * z.S + s) * z.B + b0 + b) * n;
                for (long i = 0; i < n; ++i) adj[b * np + i] += more[i];
            }
        if (t % FLUSH_EVERY == 0) // denormal numbers cost a processor a hundred times as much
            for (long i = 0; i < rows * np; ++i) adj[i] = std::fabs(adj[i]) <= small ? F(0) : adj[i]; // NaN stays
        if (costates)
            for (long b = 0; b < rows; ++b) std::memcpy(costates + (here + b) * n, adj + b * np, n * sizeof(F));
    }
    if (costates) {
        const long end = (z.T * z.S + s) * z.B + b0;
        for (long b = 0; b < rows; ++b) std::memcpy(costates + (end + b) * n, delta + (last + b) * n, n * sizeof(F));
    }
    for (long b = 0; b < rows; ++b)
        std::memcpy(grad_x0 + (s * z.B + b0 + b) * n, adj + b * np, n * sizeof(F));
}

template <class F>
void forward(const long *sizes, long threads, const F *u, const F *W, const F *alpha, F *x, F *phi, F *g, F *a) {
    const Sizes<F> z(sizes);
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads)
    for (long unit = 0; unit < z.S * z.slices; ++unit) {
        const long s = unit / z.slices, b0 = unit % z.slices * z.slice, rows = std::min(z.slice, z.B - b0);
        forward_slice(z, s, b0, rows, u, W, alpha, x, phi, g, a);
    }
}

template <class F>
void adjoint(const long *sizes, long carry, long threads, const F *u, const F *W, const F *alpha, const F *x,
             const F *phi, const F *g, const F *delta, long every, F *grad_u, F *grad_x0, F *grad_W, F *costates,
             F *signals) {
    const Sizes<F> z(sizes);
    const long each = z.q * z.kp;
    Zeros<F> sums(grad_W ? z.S * z.slices * each : 0); // of every slice, transposed
#pragma omp parallel num_threads(threads)
    {
#pragma omp for schedule(dynamic, 1)
        for (long unit = 0; unit < z.S * z.slices; ++unit) {
            const long s = unit / z.slices, b0 = unit % z.slices * z.slice, rows = std::min(z.slice, z.B - b0);
            adjoint_slice(z, carry, s, b0, rows, u, W, alpha, x, phi, g, delta, every != 0, grad_u, grad_x0,
                          grad_W ? sums.begin() + unit * each : nullptr, costates, signals);
        }
        if (grad_W) { // at the states, then at the inputs, then at the biases, of all replicas each
            F *const at_inputs = grad_W + z.S * z.k * z.n, *const at_biases = at_inputs + z.S * z.k * z.m;
#pragma omp for schedule(static)
            for (long row = 0; row < z.S * z.k; ++row)
                for (long j = 0; j < z.q; ++j) {
                    const F *first = sums.begin() + row / z.k * z.slices * each + j * z.kp + row % z.k;
                    F sum = 0;
                    for (long slice = 0; slice < z.slices; ++slice) sum += first[slice * each];
                    (j < z.n             ? grad_W[row * z.n + j]
                     : j < z.n + z.m     ? at_inputs[row * z.m + j - z.n]
                                         : at_biases[row]) = sum;
                }
        }
    }
}

// C (rows x n) = left (rows x n) right (n x n) for every b; a thread takes some rows at a time.
template <class F>
void tall(long B, long rows, long n, long left_stride, long right_stride, long out_stride, long threads,
          const F *left, const F *right, F *C) {
    constexpr long SOME = 96;
    const long np = (n + Lanes<F>::count - 1) / Lanes<F>::count * Lanes<F>::count, parts = (rows + SOME - 1) / SOME;
#pragma omp parallel num_threads(threads)
    {
        std::vector<F> padded(np == n ? 0 : n * np), aside(np == n ? 0 : SOME * np);
#pragma omp for schedule(static)
        for (long unit = 0; unit < B * parts; ++unit) {
            const long b = unit / parts, r0 = unit % parts * SOME, some = std::min(SOME, rows - r0);
            const F *R = right + b * right_stride;
            F *out = C + b * out_stride + r0 * n;
            if (np != n)
                for (long i = 0; i < n; ++i) std::memcpy(padded.data() + i * np, R + i * n, n * sizeof(F));
            const Factor<F> f[1] = {{left + b * left_stride + r0 * n, n, 1, np == n ? R : padded.data(), n}};
            product(np == n ? out : aside.data(), np, some, np, np, (const F *)nullptr, false, f, 1);
            if (np != n)
                for (long i = 0; i < some; ++i) std::memcpy(out + i * n, aside.data() + i * np, n * sizeof(F));
        }
    }
}

} // namespace

extern "C" {
int bytes_of_a_vector() { return BYTES; }
#define BOTH(F, name)                                                                                                  \
    void forward_##name(const long *sizes, long threads, const F *u, const F *W, const F *alpha, F *x, F *phi, F *g,     \
                        F *a) {                                                                                        \
        forward<F>(sizes, threads, u, W, alpha, x, phi, g, a);                                                         \
    }                                                                                                                  \
    void adjoint_##name(const long *sizes, long carry, long threads, const F *u, const F *W, const F *alpha, const F *x, \
                        const F *phi, const F *g, const F *delta, long every, F *grad_u, F *grad_x0, F *grad_W,         \
                        F *costates, F *signals) {                                                                     \
        adjoint<F>(sizes, carry, threads, u, W, alpha, x, phi, g, delta, every, grad_u, grad_x0, grad_W, costates,     \
                   signals);                                                                                           \
    }                                                                                                                  \
    void tall_##name(long B, long rows, long n, long left_stride, long right_stride, long out_stride, long threads,     \
                     const F *left, const F *right, F *C) {                                                            \
        tall<F>(B, rows, n, left_stride, right_stride, out_stride, threads, left, right, C);                           \
    }
BOTH(float, float32)
BOTH(double, float64)
}
