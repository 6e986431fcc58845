// Pools over windows, channels last: what PyTorch does with 8-byte indices and a cleared gradient, with one byte an
// output and one write a gradient.
//
// A position's channels begin `stride` elements after those of the position before it.

#include <vector>

#include "kernels.h"

namespace {

struct Shape {
    Index pictures, height, width, channels, out_height, out_width;
};
struct Window {
    // Along one side. `before`: what is padded before the first position.
    Index kernel, step, before;
    Index first(Index out) const { return out * step - before; }
    // Windows that cover a position: from `lowest` up to and without `end`.
    Index lowest(Index at) const { return at + before < kernel ? 0 : (at + before - kernel) / step + 1; }
    Index end(Index at, Index outs) const { return std::min((at + before) / step + 1, outs); }
};

template <typename T, typename A = Sum<T>>
void max_forward(const T *x, Index x_stride, T *y, Index y_stride, std::uint8_t *winners, Shape s, Window down,
                 Window across, int threads) {
#pragma omp parallel num_threads(threads)
    {
        std::vector<A> best(s.channels);
        std::vector<std::int32_t> at(s.channels);
#pragma omp for schedule(static)
        for (Index line = 0; line < s.pictures * s.out_height; ++line) {
            const Index picture = line / s.out_height, top = down.first(line % s.out_height);
            for (Index column = 0; column < s.out_width; ++column) {
                const Index left = across.first(column), out = line * s.out_width + column;
                bool begun = false;
                for (Index i = std::max<Index>(0, -top); i < std::min(down.kernel, s.height - top); ++i)
                    for (Index j = std::max<Index>(0, -left); j < std::min(across.kernel, s.width - left); ++j) {
                        const T *from = x + ((picture * s.height + top + i) * s.width + left + j) * x_stride;
                        const std::int32_t tap = static_cast<std::int32_t>(i * across.kernel + j);
                        A *b = best.data();
                        std::int32_t *a = at.data();
                        if (!begun) {
#pragma omp simd
                            for (Index c = 0; c < s.channels; ++c) b[c] = load(from[c]), a[c] = tap;
                        } else {
#pragma omp simd
                            for (Index c = 0; c < s.channels; ++c) {
                                const A value = load(from[c]);
                                // As in PyTorch a NaN wins, and only another one against it. No '||', which may keep the
                                // loop from being vectorised.
                                const bool wins = (value > b[c]) | (value != value);
                                b[c] = wins ? value : b[c];
                                a[c] = wins ? tap : a[c];
                            }
                        }
                        begun = true;
                    }
                T *to = y + out * y_stride;
                std::uint8_t *winner = winners + out * s.channels;
#pragma omp simd
                for (Index c = 0; c < s.channels; ++c) store(to[c], best[c]);
                for (Index c = 0; c < s.channels; ++c) winner[c] = static_cast<std::uint8_t>(at[c]);
            }
        }
    }
}

template <typename T, typename A = Sum<T>>
void max_backward(const T *gradient, Index gradient_stride, const std::uint8_t *winners, T *result, Shape s, Window down,
                  Window across, int threads) {
#pragma omp parallel num_threads(threads)
    {
        std::vector<A> sum(s.channels);
#pragma omp for schedule(static)
        for (Index line = 0; line < s.pictures * s.height; ++line) {
            const Index picture = line / s.height, row = line % s.height;
            for (Index column = 0; column < s.width; ++column) {
                A *total = sum.data();
                std::fill(total, total + s.channels, A(0));
                for (Index i = down.lowest(row); i < down.end(row, s.out_height); ++i)
                    for (Index j = across.lowest(column); j < across.end(column, s.out_width); ++j) {
                        const Index out = (picture * s.out_height + i) * s.out_width + j;
                        const T *g = gradient + out * gradient_stride;
                        const std::uint8_t *winner = winners + out * s.channels;
                        const int tap = static_cast<int>((row - down.first(i)) * down.kernel + column - across.first(j));
#pragma omp simd
                        for (Index c = 0; c < s.channels; ++c) total[c] += static_cast<int>(winner[c]) == tap ? load(g[c]) : A(0);
                    }
                T *to = result + (line * s.width + column) * s.channels;
#pragma omp simd
                for (Index c = 0; c < s.channels; ++c) store(to[c], total[c]);
            }
        }
    }
}

// The mean over each position's kernel × kernel surroundings. Its transpose, the gradient, is the same sum over what
// was divided before: `backward`.
template <typename T, typename A = Sum<T>>
void mean_around(const T *x, Index x_stride, T *y, Index y_stride, Shape s, Index kernel, bool counts_padding,
                 bool backward, int threads) {
    const Index reach = kernel / 2;
    const auto covered = [&](Index at, Index size) {
        return std::min(at + reach, size - 1) - std::max<Index>(at - reach, 0) + 1;
    };
    const auto share = [&](Index row, Index column) {
        return A(1) / static_cast<A>(counts_padding ? kernel * kernel
                                                    : covered(row, s.height) * covered(column, s.width));
    };
#pragma omp parallel num_threads(threads)
    {
        std::vector<A> sum(s.channels);
#pragma omp for schedule(static)
        for (Index line = 0; line < s.pictures * s.height; ++line) {
            const Index picture = line / s.height, row = line % s.height;
            for (Index column = 0; column < s.width; ++column) {
                A *total = sum.data();
                std::fill(total, total + s.channels, A(0));
                for (Index i = std::max<Index>(0, row - reach); i <= std::min(row + reach, s.height - 1); ++i)
                    for (Index j = std::max<Index>(0, column - reach); j <= std::min(column + reach, s.width - 1); ++j) {
                        const T *from = x + ((picture * s.height + i) * s.width + j) * x_stride;
                        const A weight = backward ? share(i, j) : A(1);
#pragma omp simd
                        for (Index c = 0; c < s.channels; ++c) total[c] += load(from[c]) * weight;
                    }
                const A weight = backward ? A(1) : share(row, column);
                T *to = y + (line * s.width + column) * y_stride;
#pragma omp simd
                for (Index c = 0; c < s.channels; ++c) store(to[c], total[c] * weight);
            }
        }
    }
}

}  // namespace

extern "C" {

// `shape`: pictures, height, width, channels, height and width of the output. `winners`: the place in its window of
// each output, kernels up to 15; of no stride.
void deeper_max_forward(int kind, const void *x, Index x_stride, void *y, Index y_stride, void *winners,
                        const Index *shape, Index kernel, Index step, Index above, Index left,
                        int threads) {
    const Shape s{shape[0], shape[1], shape[2], shape[3], shape[4], shape[5]};
    const auto run = [&](auto element) {
        using T = decltype(element);
        max_forward(static_cast<const T *>(x), x_stride, static_cast<T *>(y), y_stride,
                    static_cast<std::uint8_t *>(winners), s, Window{kernel, step, above},
                    Window{kernel, step, left}, threads);
    };
    if (kind == BF16) run(bf16{});
    else if (kind == FLOAT) run(float{});
    else run(double{});
}

void deeper_max_backward(int kind, const void *gradient, Index gradient_stride, const void *winners, void *result,
                         const Index *shape, Index kernel, Index step, Index above, Index left,
                        int threads) {
    const Shape s{shape[0], shape[1], shape[2], shape[3], shape[4], shape[5]};
    const auto run = [&](auto element) {
        using T = decltype(element);
        max_backward(static_cast<const T *>(gradient), gradient_stride, static_cast<const std::uint8_t *>(winners),
                     static_cast<T *>(result), s, Window{kernel, step, above},
                    Window{kernel, step, left}, threads);
    };
    if (kind == BF16) run(bf16{});
    else if (kind == FLOAT) run(float{});
    else run(double{});
}

void deeper_mean_around(int kind, const void *x, Index x_stride, void *y, Index y_stride, const Index *shape,
                        Index kernel, int counts_padding, int backward, int threads) {
    const Shape s{shape[0], shape[1], shape[2], shape[3], shape[4], shape[5]};
    const auto run = [&](auto element) {
        using T = decltype(element);
        mean_around(static_cast<const T *>(x), x_stride, static_cast<T *>(y), y_stride, s, kernel, counts_padding != 0,
                    backward != 0, threads);
    };
    if (kind == BF16) run(bf16{});
    else if (kind == FLOAT) run(float{});
    else run(double{});
}

}  // extern "C"
