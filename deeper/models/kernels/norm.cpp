// Batch norm with ReLU in training, on a processor, in as few passes over memory as it takes: two each way.
//
// `x` is `rows` × `channels`: a picture's positions, channels last. A row begins `stride` elements after the one
// before it, so that a kernel reads or writes a block's share of a wider tensor without a copy.

#include <cmath>
#include <vector>

#include "kernels.h"

namespace {

// Rows of a chunk: what of one tensor fits the second-level cache beside its neighbours. Chunks depend on the shape
// alone, never on the number of threads; so neither do results.
Index chunk_rows(Index channels) { return std::max<Index>(16, 32768 / channels); }

// Batch norm's per-channel results, each `channels` long: what the backward pass needs again.
template <typename A>
struct Saved {
    A *mean, *deviation, *scale, *shift;  // deviation: 1 / √(variance + epsilon); y = (x − mean) · scale + shift
    Saved(A *saved, Index channels)
        : mean(saved), deviation(saved + channels), scale(saved + 2 * channels), shift(saved + 3 * channels) {}
};

// Mean and sum of squared differences of each chunk, two passes over rows that are in the cache after the first. The
// second also sums the differences themselves, which are what the mean is still wrong by.
template <typename T, typename A = Sum<T>>
void chunk_moments(const T *x, Index stride, Index rows, Index channels, A *mean, A *squares) {
    std::fill(mean, mean + channels, A(0));
    std::fill(squares, squares + channels, A(0));
    Index row = 0;
    for (; row + 4 <= rows; row += 4) {
        const T *a = x + row * stride, *b = a + stride, *c = b + stride, *d = c + stride;
#pragma omp simd
        for (Index i = 0; i < channels; ++i) mean[i] += (load(a[i]) + load(b[i])) + (load(c[i]) + load(d[i]));
    }
    for (; row < rows; ++row) {
        const T *a = x + row * stride;
#pragma omp simd
        for (Index i = 0; i < channels; ++i) mean[i] += load(a[i]);
    }
    const A share = A(1) / static_cast<A>(rows);
    for (Index i = 0; i < channels; ++i) mean[i] *= share;
    std::vector<A> left(channels, A(0));
    A *rest = left.data();
    for (row = 0; row + 4 <= rows; row += 4) {
        const T *a = x + row * stride, *b = a + stride, *c = b + stride, *d = c + stride;
#pragma omp simd
        for (Index i = 0; i < channels; ++i) {
            const A m = mean[i];
            const A p = load(a[i]) - m, q = load(b[i]) - m, r = load(c[i]) - m, s = load(d[i]) - m;
            rest[i] += (p + q) + (r + s);
            squares[i] += (p * p + q * q) + (r * r + s * s);
        }
    }
    for (; row < rows; ++row) {
        const T *a = x + row * stride;
#pragma omp simd
        for (Index i = 0; i < channels; ++i) {
            const A p = load(a[i]) - mean[i];
            rest[i] += p;
            squares[i] += p * p;
        }
    }
    for (Index i = 0; i < channels; ++i) {
        squares[i] -= rest[i] * rest[i] * share;
        mean[i] += rest[i] * share;
    }
}

template <typename T, typename A = Sum<T>>
void normalise(const T *x, Index x_stride, T *y, Index y_stride, Index rows, Index channels, const Saved<A> &saved,
               bool relu) {
    const A *mean = saved.mean, *scale = saved.scale, *shift = saved.shift;
    for (Index row = 0; row < rows; ++row) {
        const T *from = x + row * x_stride;
        T *to = y + row * y_stride;
        if (relu) {
#pragma omp simd
            for (Index i = 0; i < channels; ++i) {
                const A value = (load(from[i]) - mean[i]) * scale[i] + shift[i];
                store(to[i], value < A(0) ? A(0) : value);  // so that a NaN passes
            }
        } else {
#pragma omp simd
            for (Index i = 0; i < channels; ++i) store(to[i], (load(from[i]) - mean[i]) * scale[i] + shift[i]);
        }
    }
}

template <typename T, typename A = Sum<T>>
void norm_forward(const T *x, Index x_stride, T *y, Index y_stride, Index rows, Index channels, const A *gamma,
                  const A *beta, double epsilon, double momentum, A *running_mean, A *running_variance,
                  A *saved_values, bool relu, int threads) {
    const Index step = chunk_rows(channels), chunks = (rows + step - 1) / step;
    std::vector<A> means(chunks * channels), squares(chunks * channels);
    Saved<A> saved(saved_values, channels);
#pragma omp parallel for num_threads(threads) schedule(static)
    for (Index chunk = 0; chunk < chunks; ++chunk) {
        const Index first = chunk * step, count = std::min(step, rows - first);
        chunk_moments(x + first * x_stride, x_stride, count, channels, &means[chunk * channels],
                      &squares[chunk * channels]);
    }
    std::vector<double> mean(channels, 0.0), sum(channels, 0.0);
    for (Index chunk = 0; chunk < chunks; ++chunk) {
        const double count = static_cast<double>(std::min(step, rows - chunk * step));
        for (Index i = 0; i < channels; ++i) mean[i] += count * means[chunk * channels + i];
    }
    for (Index i = 0; i < channels; ++i) mean[i] /= static_cast<double>(rows);
    for (Index chunk = 0; chunk < chunks; ++chunk) {
        const double count = static_cast<double>(std::min(step, rows - chunk * step));
        for (Index i = 0; i < channels; ++i) {
            const double difference = means[chunk * channels + i] - mean[i];
            sum[i] += squares[chunk * channels + i] + count * difference * difference;
        }
    }
    for (Index i = 0; i < channels; ++i) {
        const double variance = sum[i] / static_cast<double>(rows);
        saved.mean[i] = static_cast<A>(mean[i]);
        saved.deviation[i] = static_cast<A>(1.0 / std::sqrt(variance + epsilon));
        saved.scale[i] = gamma ? gamma[i] * saved.deviation[i] : saved.deviation[i];
        saved.shift[i] = beta ? beta[i] : A(0);
        if (running_mean) {
            const double unbiased = sum[i] / static_cast<double>(std::max<Index>(rows - 1, 1));
            const A moves = static_cast<A>(momentum);
            running_mean[i] = (A(1) - moves) * running_mean[i] + moves * saved.mean[i];
            running_variance[i] = (A(1) - moves) * running_variance[i] + moves * static_cast<A>(unbiased);
        }
    }
#pragma omp parallel for num_threads(threads) schedule(static)
    for (Index turn = 0; turn < chunks; ++turn) {
        // Backwards: the end of x is still in the cache.
        const Index first = (chunks - 1 - turn) * step, count = std::min(step, rows - first);
        normalise(x + first * x_stride, x_stride, y + first * y_stride, y_stride, count, channels, saved, relu);
    }
}

// What of a gradient passes the ReLU. Computed again from x: one multiplication instead of a tensor more to read.
template <bool relu, typename A>
inline A passing(A gradient, A centred, A scale, A shift) {
    if (!relu) return gradient;
    return centred * scale + shift <= A(0) ? A(0) : gradient;
}

// Sums over a chunk of the gradient that passes the ReLU, and of it times (x − mean).
template <bool relu, typename T, typename A = Sum<T>>
void chunk_gradients(const T *gradient, Index gradient_stride, const T *x, Index x_stride, Index rows, Index channels,
                     const Saved<A> &saved, A *plain, A *weighted) {
    std::fill(plain, plain + channels, A(0));
    std::fill(weighted, weighted + channels, A(0));
    const A *scale = saved.scale, *shift = saved.shift, *mean = saved.mean;
    Index row = 0;
    for (; row + 4 <= rows; row += 4) {
        const T *a = x + row * x_stride, *b = a + x_stride, *c = b + x_stride, *d = c + x_stride;
        const T *e = gradient + row * gradient_stride, *f = e + gradient_stride, *g = f + gradient_stride,
                *h = g + gradient_stride;
#pragma omp simd
        for (Index i = 0; i < channels; ++i) {
            const A m = mean[i], by = scale[i], plus = shift[i];
            const A p = load(a[i]) - m, q = load(b[i]) - m, r = load(c[i]) - m, s = load(d[i]) - m;
            const A t = passing<relu>(load(e[i]), p, by, plus), u = passing<relu>(load(f[i]), q, by, plus);
            const A v = passing<relu>(load(g[i]), r, by, plus), w = passing<relu>(load(h[i]), s, by, plus);
            plain[i] += (t + u) + (v + w);
            weighted[i] += (t * p + u * q) + (v * r + w * s);
        }
    }
    for (; row < rows; ++row) {
        const T *a = x + row * x_stride, *e = gradient + row * gradient_stride;
#pragma omp simd
        for (Index i = 0; i < channels; ++i) {
            const A p = load(a[i]) - mean[i];
            const A t = passing<relu>(load(e[i]), p, scale[i], shift[i]);
            plain[i] += t;
            weighted[i] += t * p;
        }
    }
}

// scale · (passed − mean of passed − (x − mean) · slope), the gradient by x, over some rows.
template <bool relu, typename T, typename A = Sum<T>>
void differentiate(const T *gradient, Index gradient_stride, const T *x, Index x_stride, T *result,
                   Index result_stride, Index rows, Index channels, const Saved<A> &saved, const A *offset,
                   const A *slope) {
    const A *scale = saved.scale, *shift = saved.shift, *mean = saved.mean;
    for (Index row = 0; row < rows; ++row) {
        const T *g = gradient + row * gradient_stride, *from = x + row * x_stride;
        T *to = result + row * result_stride;
        // Each element is read before it is written, and by itself: x and the result may be one.
#pragma omp simd
        for (Index i = 0; i < channels; ++i) {
            const A centred = load(from[i]) - mean[i];
            const A passed = passing<relu>(load(g[i]), centred, scale[i], shift[i]);
            store(to[i], scale[i] * (passed - offset[i] - centred * slope[i]));
        }
    }
}

template <bool relu, typename T, typename A = Sum<T>>
void norm_backward(const T *gradient, Index gradient_stride, const T *x, Index x_stride, T *result,
                   Index result_stride, Index rows, Index channels, A *saved_values, A *gamma_gradient,
                   A *beta_gradient, int threads) {
    const Index step = chunk_rows(channels), chunks = (rows + step - 1) / step;
    std::vector<A> plain(chunks * channels), weighted(chunks * channels);
    const Saved<A> saved(saved_values, channels);
#pragma omp parallel for num_threads(threads) schedule(static)
    for (Index chunk = 0; chunk < chunks; ++chunk) {
        const Index first = chunk * step, count = std::min(step, rows - first);
        chunk_gradients<relu>(gradient + first * gradient_stride, gradient_stride, x + first * x_stride, x_stride, count,
                        channels, saved, &plain[chunk * channels], &weighted[chunk * channels]);
    }
    std::vector<double> sum(channels, 0.0), product(channels, 0.0);
    for (Index chunk = 0; chunk < chunks; ++chunk)
        for (Index i = 0; i < channels; ++i) {
            sum[i] += plain[chunk * channels + i];
            product[i] += weighted[chunk * channels + i];
        }
    std::vector<A> offset(channels), slope(channels);
    for (Index i = 0; i < channels; ++i) {
        const double deviation = saved.deviation[i], count = static_cast<double>(rows);
        if (gamma_gradient) gamma_gradient[i] = static_cast<A>(product[i] * deviation);
        if (beta_gradient) beta_gradient[i] = static_cast<A>(sum[i]);
        offset[i] = static_cast<A>(sum[i] / count);
        slope[i] = static_cast<A>(product[i] * deviation * deviation / count);
    }
    if (!result) return;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (Index turn = 0; turn < chunks; ++turn) {
        const Index first = (chunks - 1 - turn) * step, count = std::min(step, rows - first);
        differentiate<relu>(gradient + first * gradient_stride, gradient_stride, x + first * x_stride, x_stride,
                            result + first * result_stride, result_stride, count, channels, saved, offset.data(),
                            slope.data());
    }
}

}  // namespace

extern "C" {

// `y` ← relu(gamma · (x − mean) / √(variance + epsilon) + beta). `gamma`, `beta`, the running statistics and `relu`
// may be left out (null, 0). `saved`: 4 × channels, for the backward pass.
void deeper_norm_forward(int kind, const void *x, Index x_stride, void *y, Index y_stride, Index rows, Index channels,
                         const void *gamma, const void *beta, double epsilon, double momentum, void *running_mean,
                         void *running_variance, void *saved, int relu, int threads) {
    const auto run = [&](auto element) {
        using T = decltype(element);
        using A = Sum<T>;
        norm_forward(static_cast<const T *>(x), x_stride, static_cast<T *>(y), y_stride, rows, channels,
                     static_cast<const A *>(gamma), static_cast<const A *>(beta), epsilon, momentum,
                     static_cast<A *>(running_mean), static_cast<A *>(running_variance), static_cast<A *>(saved),
                     relu != 0, threads);
    };
    if (kind == BF16) run(bf16{});
    else if (kind == FLOAT) run(float{});
    else run(double{});
}

// `result`, the gradient by x, may lie where `x` does, or be left out, as may those by gamma and beta.
void deeper_norm_backward(int kind, const void *gradient, Index gradient_stride, const void *x, Index x_stride,
                          void *result, Index result_stride, Index rows, Index channels, void *saved,
                          void *gamma_gradient, void *beta_gradient, int relu, int threads) {
    const auto run = [&](auto element) {
        using T = decltype(element);
        using A = Sum<T>;
        const auto chosen = relu ? &norm_backward<true, T> : &norm_backward<false, T>;
        chosen(static_cast<const T *>(gradient), gradient_stride, static_cast<const T *>(x), x_stride,
               static_cast<T *>(result), result_stride, rows, channels, static_cast<A *>(saved),
               static_cast<A *>(gamma_gradient), static_cast<A *>(beta_gradient), threads);
    };
    if (kind == BF16) run(bf16{});
    else if (kind == FLOAT) run(float{});
    else run(double{});
}

}  // extern "C"
